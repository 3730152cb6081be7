"""`fonshare`: reads a command, has it done, shows the outcome, ends with its status.

Knows the terminal and the control socket, nothing of groups or files. It imports what a
command needs only when that command runs: on the router each import is felt.
"""

import os
import sys
from collections.abc import Sequence

from fonshare_agent import __version__, command_line, words
from fonshare_agent.command_line import CommandLine
from fonshare_agent.control import client
from fonshare_agent.control.rows import Place
from fonshare_agent.errors import FonshareError
from fonshare_agent.terminal import accept_any_name, show_error

INTERRUPTED = 130  # what a shell reports for Ctrl-C
READER_GONE = 141  # what a shell reports for a program whose pipe was closed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in *argv* and return the exit status. Never raises."""
    typed = sys.argv[1:] if argv is None else list(argv)
    words.choose_language(os.environ)
    try:
        try:
            status = run(typed)
        except FonshareError as error:
            show_error(error, as_json=command_line.asks_for_json(typed))
            status = 2 if client.is_usage(error) else error.exit_status
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return READER_GONE
    return status


def _silence_stdout() -> None:
    """Let the interpreter's own flush at exit have somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def run(argv: Sequence[str]) -> int:
    """Do what *argv* says; errors are raised."""
    accept_any_name()
    line = command_line.parse(argv)
    if line.wants_version:
        print(f"fonshare {__version__}")
        return 0
    if line.wants_help or line.command is None:
        print_help(line)
        return 0
    if line.command.place is Place.HERE:
        from fonshare_agent.local_commands import run_here

        return run_here(line, line.command)
    from fonshare_agent.agent_commands import run_at_agent

    return run_at_agent(line, line.command)


def print_help(line: CommandLine) -> None:
    from fonshare_agent.help_texts import command_help, overview

    print(command_help(line.command) if line.command else overview(line.topic), end="")
