"""What the command line prints: results, errors."""

import json
import sys

from fonshare_agent.command_line import CommandLine, with_flag
from fonshare_agent.control.rows import JSON, Command, Page
from fonshare_agent.errors import FonshareError
from fonshare_agent.words import say, translate


def accept_any_name() -> None:
    """A name that this terminal cannot show must not end the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def show_result(result: JSON, line: CommandLine, command: Command) -> None:
    """Print one JSON value, or the table or text for people."""
    if line.wants_json:
        print_json(result)
        return
    from fonshare_agent.render import render

    print(render(command.name, result), end="")


def show_rest(page: Page, line: CommandLine) -> None:
    """Say on stderr that there is more than *page*, and how to see it."""
    from fonshare_agent.layout import visible

    if page.is_cut:
        cut = say(
            "the time was over before everything was looked at; more words or filters"
            " make it faster"
        )
        print(f"fonshare: {cut}", file=sys.stderr)
    if page.has_more:
        import shlex

        argv = list(line.argv)
        if page.more is not None:
            argv = with_flag(argv, "--after", page.more)
        again = visible(shlex.join(["fonshare", *argv]))
        print(say("more: {}", again), file=sys.stderr)


def print_json(value: JSON) -> None:
    print(json.dumps(value))  # not dump: it would write token by token


def show_error(error: FonshareError, *, as_json: bool) -> None:
    """Say what, to which thing and what happens next, in one line."""
    if as_json:
        print_json({"error": dict(error.as_dict())})
        return
    from fonshare_agent.layout import visible

    text = translate(str(error))
    if error.thing and error.thing not in str(error):
        text = say("{}: {}", text, error.thing)
    # Settings complain in several lines, one for each option.
    shown = "\n  ".join(visible(part) for part in text.split("\n"))
    if error.next:
        shown = say("{}; {}", shown, visible(_inside(translate(error.next))))
    print(f"fonshare: {shown}", file=sys.stderr)


def _inside(sentence: str) -> str:
    """Return *sentence* as it stands inside a line: `Try:` becomes `try:`."""
    is_word = sentence[1:2].islower() or sentence[1:2] == " "
    return sentence[0].lower() + sentence[1:] if is_word else sentence
