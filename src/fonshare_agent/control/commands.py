"""THE TABLE: every command of FonShare, once.

The command line, its help and completion, docs/cli.md, the check at the control
socket's door and the rights LuCI gets are all made from `COMMANDS`; whoever adds a
command adds a row to its group's file, `table_*.py` beside this one, and a method to
`control/handlers.py`, nothing else. These modules know only words: no socket, no
terminal, no agent.
"""

from fonshare_agent.control.rows import Command, Place
from fonshare_agent.control.table_box import BOX_COMMANDS
from fonshare_agent.control.table_files import FILE_COMMANDS, KINDS
from fonshare_agent.control.table_follows import FOLLOW_COMMANDS
from fonshare_agent.control.table_fxp import FXP_COMMANDS
from fonshare_agent.control.table_groups import GROUP_COMMANDS
from fonshare_agent.control.table_jobs import JOB_COMMANDS
from fonshare_agent.control.table_node import NODE_COMMANDS
from fonshare_agent.control.table_ratings import RATING_COMMANDS
from fonshare_agent.control.table_shares import SHARE_COMMANDS

COMMANDS: tuple[Command, ...] = (
    *NODE_COMMANDS,
    *SHARE_COMMANDS,
    *GROUP_COMMANDS,
    *FILE_COMMANDS,
    *FOLLOW_COMMANDS,
    *RATING_COMMANDS,
    *JOB_COMMANDS,
    *FXP_COMMANDS,
    *BOX_COMMANDS,
)

BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}

AGENT_COMMANDS = tuple(row for row in COMMANDS if row.place is Place.AGENT)

__all__ = ["AGENT_COMMANDS", "BY_NAME", "COMMANDS", "KINDS"]
