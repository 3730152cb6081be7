"""The methods behind the command table, one a command, loaded theme by theme.

A command's first word tells its theme, whose module is loaded with the first command of
it (on_demand.py).
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.on_demand import OnDemand

if TYPE_CHECKING:
    from fonshare_agent.control.file_handlers import FileHandlers
    from fonshare_agent.control.follow_handlers import FollowHandlers
    from fonshare_agent.control.fxp_handlers import FxpHandlers
    from fonshare_agent.control.group_handlers import GroupHandlers
    from fonshare_agent.control.node_handlers import NodeHandlers
    from fonshare_agent.control.rating_handlers import RatingHandlers
    from fonshare_agent.control.search_handlers import SearchHandlers
    from fonshare_agent.control.settings_handlers import SettingsHandlers

Method = Callable[[dict[str, JSON]], Coroutine[Any, Any, JSON]]


class Handlers:
    """Everything the control socket can ask of a running node."""

    def __init__(self, parts: Parts, home_broker: str) -> None:
        self._parts, self._home_broker = parts, home_broker
        node = OnDemand(parts.files, self._load_node)
        file = OnDemand(parts.files, self._load_file)
        search = OnDemand(parts.files, self._load_search)
        follow = OnDemand(parts.files, self._load_follow)
        self._themes: dict[str, OnDemand[Any]] = {
            **dict.fromkeys(("status", "doctor", "share", "disk", "limits"), node),
            "group": OnDemand(parts.files, self._load_group),
            **dict.fromkeys(("ls", "get", "jobs"), file),
            **dict.fromkeys(("find", "search"), search),
            **dict.fromkeys(("follow", "unfollow", "keep"), follow),
            "rate": OnDemand(parts.files, self._load_rating),
            "fxp": OnDemand(parts.files, self._load_fxp),
            **dict.fromkeys(
                ("settings", "restart"), OnDemand(parts.files, self._load_settings)
            ),
        }

    def __getattr__(self, handler: str) -> Method:
        """Return the method of a command; AttributeError if it has no theme."""
        if handler.partition("_")[0] not in self._themes:
            raise AttributeError(handler)
        return partial(self._run, handler)

    async def _run(self, handler: str, arguments: dict[str, JSON]) -> JSON:
        return await (await self.load_method(handler))(arguments)

    async def load_method(self, handler: str) -> Method:
        """Return the method itself; raises DiskMissing if it cannot be loaded."""
        theme = await self._themes[handler.partition("_")[0]].get()
        method: Method = getattr(theme, handler)
        return method

    def _load_node(self) -> Callable[[], "NodeHandlers"]:
        from fonshare_agent.control.node_handlers import NodeHandlers

        return lambda: NodeHandlers(self._parts)

    def _load_group(self) -> Callable[[], "GroupHandlers"]:
        from fonshare_agent.control.group_handlers import GroupHandlers

        return lambda: GroupHandlers(self._parts, self._home_broker)

    def _load_file(self) -> Callable[[], "FileHandlers"]:
        from fonshare_agent.control.file_handlers import FileHandlers

        return lambda: FileHandlers(self._parts)

    def _load_search(self) -> Callable[[], "SearchHandlers"]:
        from fonshare_agent.control.search_handlers import SearchHandlers

        return lambda: SearchHandlers(self._parts)

    def _load_follow(self) -> Callable[[], "FollowHandlers"]:
        from fonshare_agent.control.follow_handlers import FollowHandlers

        return lambda: FollowHandlers(self._parts)

    def _load_rating(self) -> Callable[[], "RatingHandlers"]:
        from fonshare_agent.control.rating_handlers import RatingHandlers

        return lambda: RatingHandlers(self._parts)

    def _load_fxp(self) -> Callable[[], "FxpHandlers"]:
        from fonshare_agent.control.fxp_handlers import FxpHandlers

        return lambda: FxpHandlers(self._parts)

    def _load_settings(self) -> Callable[[], "SettingsHandlers"]:
        from fonshare_agent.control.settings_handlers import SettingsHandlers

        return lambda: SettingsHandlers(self._parts)
