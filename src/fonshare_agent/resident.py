"""The agent as a service runs it: `fonshare agent` without what only commands need.

`python -m fonshare_agent.resident` takes no arguments; the settings are the default
file. Errors read as they do at the command line.
"""

import sys
from collections.abc import Callable

from fonshare_agent.deferring import deferring


def load() -> Callable[[], int]:
    """Import the agent; return what runs it."""
    # dataclasses writes a signature as the docstring of each class that has none: all,
    # under -OO. Nothing else of `inspect` is used, and it takes half a megabyte.
    with deferring("inspect", known={"inspect.signature": lambda _class: ""}):
        import dataclasses  # noqa: F401

    from fonshare_agent.agent import run_agent
    from fonshare_agent.config import load_settings

    return lambda: run_agent(load_settings())


def main() -> int:
    """Run the agent until it is told to stop; the exit status."""
    run = load()
    from fonshare_agent.errors import FonshareError  # not before `load`: dataclasses

    try:
        return run()
    except FonshareError as error:
        # Not before it is needed: it brings the command line.
        from fonshare_agent.terminal import show_error

        show_error(error, as_json=False)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
