"""Handlers of `fxp start` and what follows: copies between others' FTP servers.

Loaded on first use.
"""

from fonshare_agent.control.fxp_runs import FxpRuns
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON


class FxpHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: FxpRuns | None = None

    @property
    def _runs(self) -> FxpRuns:
        if self._known is None:
            settings = self._parts.published.settings
            self._known = FxpRuns(settings.run, settings.disk)
        return self._known

    async def fxp_start(self, arguments: dict[str, JSON]) -> JSON:
        return await self._parts.files.run(self._runs.begin, arguments)

    async def fxp_ls(self, arguments: dict[str, JSON]) -> JSON:
        return await self._parts.files.run(self._runs.rows)

    async def fxp_stop(self, arguments: dict[str, JSON]) -> JSON:
        return await self._parts.files.run(self._runs.stop, str(arguments["id"]))

    async def fxp_rm(self, arguments: dict[str, JSON]) -> JSON:
        return await self._parts.files.run(self._runs.forget, str(arguments["id"]))
