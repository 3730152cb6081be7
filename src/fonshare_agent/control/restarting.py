"""`restart`: the agent ends and starts again with its settings as they are now.

Loaded on first use. On a router its service does that, which also sees to folders and
to the firewall.
"""

import os
import signal

from fonshare_agent.config import load_settings
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import NotAllowed
from fonshare_agent.settings import Settings


def restart(settings: Settings) -> JSON:
    """Send this agent its signal; raises SettingsError if it could not start then."""
    check_can_restart(settings)
    os.kill(os.getpid(), signal.SIGHUP)
    return {"restarting": True}


def check_can_restart(settings: Settings) -> None:
    """Raise what speaks against it. May block on the disk."""
    if settings.is_on_router:
        raise NotAllowed(
            "on a router its service starts the agent again",
            thing="restart",
            next="Run `/etc/init.d/fonshare restart`.",
        )
    load_settings(settings.path, needs_hashes=False)
