"""The invite sessions under way: kept over restarts, fed by brokers and timers.

A session's state is a document in state.db, stored before any frame that speaks of it
leaves (protocol/invite.py). What its events ask for is invites.py's to do: *act* is
called for each, before the state that follows from it is stored. Core thread.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import PeerError
from fonshare_agent.index.state import StateStore
from fonshare_agent.invites_on_demand import DOCUMENTS
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.links import Links
from fonshare_agent.listening import sealing_keys
from fonshare_agent.model import GroupId, base32
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.codes import InviteCode
from fonshare_agent.protocol.invite import (
    Invitation,
    InviteEvent,
    Joining,
    StateChanged,
)

log = logging.getLogger(__name__)

INVITE, JOIN = DOCUMENTS
SESSION_ID_BYTES = 5


@dataclass(slots=True)
class Session:
    """One invite or join."""

    name: str  # of its document
    machine: Invitation | Joining
    broker: str
    group: GroupId | None = None  # which one is invited to
    label: str = ""  # joining: what this node will call the group
    sure: bool = True  # joining: go on whoever the inviter is
    timer: Timer | None = None
    is_pumping: bool = False


Act = Callable[[Session, InviteEvent], Awaitable[None]]


class InviteSessions:
    """All sessions by the name of their document. *is_here* tells known groups."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        state: StateStore,
        keys: NodeKeys,
        draw: Callable[[int], bytes],
        is_here: Callable[[GroupId], bool],
        act: Act,
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._keys, self._draw = keys, draw
        self._is_here, self._act = is_here, act
        self._sessions: dict[str, Session] = {}
        self._links: Links | None = None

    def wire(self, links: Links) -> None:
        self._links = links

    def new_name(self, kind: str) -> str:
        return kind + base32(self._draw(SESSION_ID_BYTES))

    async def begin(self, session: Session) -> None:
        """Take a new session up: subscribed before it says anything, and stored."""
        self._sessions[session.name] = session
        if self._links is not None:
            self._links.refresh_now()
        await self.drain(session)

    def invitations(self) -> list[tuple[Session, Invitation]]:
        return [
            (session, session.machine)
            for session in self._sessions.values()
            if isinstance(session.machine, Invitation)
        ]

    def joins(self) -> list[tuple[Session, Joining]]:
        return [
            (session, session.machine)
            for session in self._sessions.values()
            if isinstance(session.machine, Joining)
        ]

    # --- over restarts ---

    async def load(self) -> None:
        """Go on with every session that was stored."""
        for kind in (INVITE, JOIN):
            for name in await self._store.run(self._state.document_names, kind):
                kept = await self._store.run(self._state.get_document, name)
                session = self._restore(kind, name, kept)
                if session is None:
                    await self._store.run(self._state.put_document, name, None)
                else:
                    self._sessions[name] = session
                    self._pump(session)
        self._refresh()

    def _restore(self, kind: str, name: str, kept: JSON) -> Session | None:
        """Return the session in a document, None if its group is gone."""
        assert isinstance(kept, dict)
        document, now, signer = kept["session"], self._core.clock(), self._keys.signer
        assert isinstance(document, dict)
        if kind == JOIN:
            keys = self._keys
            joining = Joining.from_dict(
                document, signer, lambda: sealing_keys(keys), self._draw, now
            )
            broker = broker_of(joining.code)
            label, sure = str(kept["label"]), bool(kept["sure"])
            return Session(name, joining, broker, label=label, sure=sure)
        group = GroupId(bytes.fromhex(str(kept["group"])))
        if not self._is_here(group):
            return None
        invitation = Invitation.from_dict(document, signer, self._draw, now)
        return Session(name, invitation, broker_of(invitation.code), group)

    async def drop_group(self, group: GroupId) -> None:
        """The group is gone: its open codes are void."""
        for session in [s for s in self._sessions.values() if s.group == group]:
            await self.forget(session)

    async def forget(self, session: Session) -> None:
        self._sessions.pop(session.name, None)
        if session.timer is not None:
            session.timer.cancel()
        await self._store.run(self._state.put_document, session.name, None)
        self._refresh()

    async def _keep(self, session: Session, changed: StateChanged) -> None:
        document: JSON = {
            "session": changed.state,
            "group": session.group.hex() if session.group else "",
            "label": session.label,
            "sure": session.sure,
        }
        await self._store.run(self._state.put_document, session.name, document)
        session.machine.stored(changed.version)

    # --- the broker's side ---

    def brokers(self) -> set[str]:
        return {session.broker for session in self._sessions.values()}

    def topics(self, broker: str) -> set[str]:
        return {
            topic
            for session in self._sessions.values()
            if session.broker == broker
            for topic in session.machine.topics()
        }

    def receive(self, broker: str, topic: str, payload: bytes) -> bool:
        """Take a frame; False if no session wants that topic."""
        for session in list(self._sessions.values()):
            if session.broker == broker and topic in session.machine.topics():
                try:
                    session.machine.receive(payload, self._core.clock())
                except PeerError as error:
                    log.debug("dropped an invite frame: %s", error)
                self._pump(session)
                return True
        return False

    def on_connected(self, broker: str) -> None:
        """What was said while the broker was away is said again."""
        for session in list(self._sessions.values()):
            if session.broker == broker:
                session.machine.handle_timer(self._core.clock())
                self._pump(session)

    # --- carrying out ---

    def _pump(self, session: Session) -> None:
        if not session.is_pumping:
            self._core.spawn_service("invite", self.drain(session))

    async def drain(self, session: Session) -> None:
        """Carry out all that *session* wants now."""
        if session.is_pumping:
            return
        session.is_pumping = True
        try:
            while session.name in self._sessions and await self._step(session):
                pass
        finally:
            session.is_pumping = False
        self._arm(session)

    async def _step(self, session: Session) -> bool:
        events = session.machine.take_events()
        for event in events:
            if isinstance(event, StateChanged):
                await self._keep(session, event)
            else:
                await self._act(session, event)
        if self._links is not None:
            for topic, payload in session.machine.take_frames():
                self._links.publish(session.broker, topic, payload)
        return bool(events)

    def _arm(self, session: Session) -> None:
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        due = session.machine.next_deadline()
        if due is not None and session.name in self._sessions:
            delay = due - self._core.clock()
            session.timer = self._core.call_later(delay, lambda: self._tick(session))

    def _tick(self, session: Session) -> None:
        session.machine.handle_timer(self._core.clock())
        self._pump(session)
        if not session.is_pumping:
            self._arm(session)

    def _refresh(self) -> None:
        if self._links is not None:
            self._links.refresh()


def broker_of(code: InviteCode) -> str:
    """Return the URL of the broker that *code* names, pin included."""
    url = BrokerUrl.parse(code.broker_url)
    return replace(url, ca=None, pin=code.ca_pin).encode()
