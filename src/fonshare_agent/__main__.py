"""`python -m fonshare_agent` is `fonshare`, as lean as the service: the router's way.

Beside the agent a router has little memory left for a command, and what does not fit
is read from the disk again and again.
"""

import sys

from fonshare_agent.lean_imports import import_lean_for_a_command

import_lean_for_a_command()

from fonshare_agent.cli import main  # noqa: E402  # not before the line above

sys.exit(main())
