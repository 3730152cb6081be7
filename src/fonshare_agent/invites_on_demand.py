"""Invites, loaded when somebody invites or joins: they take 0.4 MB and are rarely used.

Loaded at the start if a session is under way, so what goes on over restarts needs no
file later. Core thread; on_demand.py says how it is loaded.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Worker
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.links import Links
from fonshare_agent.model import GroupId
from fonshare_agent.on_demand import OnDemand

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
        self._store, self._state, self._build = store, state, build
        self._part = OnDemand(files, self._load)
        self._links: Links | None = None

    def wire(self, links: Links) -> None:
        self._links = links

    @property
    def _invites(self) -> "Invites | None":
        return self._part.made

    async def get(self) -> "Invites":
        """Return the invites; raises DiskMissing if they cannot be loaded now."""
        return await self._part.get()

    def _load(self) -> Callable[[], "Invites"]:
        import fonshare_agent.invites  # noqa: F401

        return self._make

    def _make(self) -> "Invites":
        invites = self._build()
        if self._links is not None:
            invites.wire(self._links)
        return invites

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
