"""The agent as a service runs it: `fonshare agent` without what only commands need.

`python -m fonshare_agent.resident [SETTINGS]`; without, the settings are the default
file. Errors read as they do at the command line.
"""

from __future__ import annotations

import sys

from fonshare_agent import compact_copies
from fonshare_agent.lean_imports import import_lean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fonshare_agent.errors import FonshareError


def load() -> Callable[[str | None], int]:
    """Import the agent; return what runs it with a file of settings."""
    import_lean()
    from fonshare_agent.agent import run_agent
    from fonshare_agent.config import load_settings

    return lambda path: run_agent(load_settings(path))


def main() -> int:
    """Run the agent until it is told to stop; the exit status."""
    try:
        run = load()
        compact_copies.forget_texts()
    except ModuleNotFoundError as error:  # a part of Python that its packager split off
        print(
            f"fonshare: Python's module `{error.name}` is missing: install what the "
            "package fonshare-agent depends on, then `service fonshare restart`",
            file=sys.stderr,
        )
        return 1
    except (ImportError, SyntaxError, NameError, AttributeError) as error:
        # What we ship imports. The power went while files of an upgrade were written.
        kind = type(error).__name__
        print(
            f"fonshare: the package is damaged ({kind}: {error}), maybe by an upgrade "
            "that was cut off: install fonshare-agent again",
            file=sys.stderr,
        )
        return 1
    from fonshare_agent.errors import FonshareError  # not before `load`: dataclasses

    try:
        return run(sys.argv[1] if len(sys.argv) > 1 else None)
    except FonshareError as error:
        _show(error)
        return error.exit_status


def _show(error: FonshareError) -> None:
    """Say why the agent ends, in the words of the command line: loaded only now."""
    try:
        from fonshare_agent.terminal import show_error

        show_error(error, as_json=False)
    except ImportError:  # it may be the disk that is gone, and it lay there
        print(f"fonshare: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
