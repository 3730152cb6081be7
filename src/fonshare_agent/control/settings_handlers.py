"""Handlers of `settings` and `restart`: what the node was told, and to begin anew.

Loaded on first use.
"""

from fonshare_agent.config_shown import rows
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.restarting import restart
from fonshare_agent.control.rows import JSON


class SettingsHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def settings(self, arguments: dict[str, JSON]) -> JSON:
        return [*rows(self._parts.published.settings)]

    async def restart(self, arguments: dict[str, JSON]) -> JSON:
        parts = self._parts
        return await parts.files.run(restart, parts.published.settings)
