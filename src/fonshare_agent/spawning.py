"""Processes that the agent begins for one piece of work, each running one module.

`posix_spawn`, since `subprocess` would stay in the agent's memory. Loaded by who begins
one.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any


def spawn(module: str, actions: Sequence[tuple[Any, ...]]) -> int:
    """Start a process that runs *module*; return its id. Its errors go where ours go.

    *actions* are `posix_spawn`'s, on descriptors; its output goes nowhere.
    """
    # Optimised as the agent is: that is how the package was compiled.
    how = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    words = [sys.executable, *how, "-P", "-m", module]
    nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    return os.posix_spawn(words[0], words, os.environ, file_actions=[*actions, nowhere])
