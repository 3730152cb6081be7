"""Invites, loaded when somebody invites or joins: they take 0.4 MB and are rarely used.

Loaded at the start if a session is under way, so what goes on over restarts needs no
file later. Where the files are gone (a router's /usr may lie on the disk that was
pulled) the command that wanted them says so, and the next one tries again.

Core thread; reading the modules from the disk is the files thread's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Worker
from fonshare_agent.errors import DiskMissing
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.links import Links
from fonshare_agent.model import GroupId

if TYPE_CHECKING:
    from fonshare_agent.invites import Invites

DOCUMENTS = ("invite/", "join/")  # of sessions, by what their names begin with


class InvitesOnDemand:
    """What a node asks of its invites while there may be none. *build* makes them."""

    def __init__(
        self,
        files: Worker,
        store: Worker,
        state: StateStore,
        build: Callable[[], "Invites"],
    ) -> None:
        self._files, self._store, self._state = files, store, state
        self._build = build
        self._invites: Invites | None = None
        self._links: Links | None = None

    def wire(self, links: Links) -> None:
        self._links = links

    async def get(self) -> "Invites":
        """Return the invites; raises DiskMissing if they cannot be loaded now."""
        if self._invites is None:
            try:
                await self._files.run(_import_invites)
            except (ImportError, OSError) as error:
                raise DiskMissing(
                    f"a part of the agent cannot be read now: {error}"
                ) from error
        if self._invites is None:  # still, after the wait
            self._invites = self._build()
            if self._links is not None:
                self._invites.wire(self._links)
        return self._invites

    async def load(self) -> None:
        """Go on with the sessions that were stored, if there are any."""
        for kind in DOCUMENTS:
            if await self._store.run(self._state.document_names, kind):
                await (await self.get()).sessions.load()
                return

    async def drop_group(self, group: GroupId) -> None:
        if self._invites is not None:
            await self._invites.sessions.drop_group(group)

    @property
    def second_joiners(self) -> list[str]:
        """Labels of groups whose code leaked."""
        return [] if self._invites is None else self._invites.second_joiners

    def requests(self) -> JSON:
        return [] if self._invites is None else self._invites.requests()

    # --- the broker's side ---

    def brokers(self) -> set[str]:
        return set() if self._invites is None else self._invites.sessions.brokers()

    def topics(self, broker: str) -> set[str]:
        return set() if self._invites is None else self._invites.sessions.topics(broker)

    def receive(self, broker: str, topic: str, payload: bytes) -> bool:
        """Take a frame; False if no session wants that topic."""
        return self._invites is not None and self._invites.sessions.receive(
            broker, topic, payload
        )

    def on_connected(self, broker: str) -> None:
        if self._invites is not None:
            self._invites.sessions.on_connected(broker)


def _import_invites() -> None:
    import fonshare_agent.invites  # noqa: F401
