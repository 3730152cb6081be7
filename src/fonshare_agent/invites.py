"""Invites and joins of this node: drives the pure sessions, keeps them over restarts.

A session's state is a document in state.db, stored before any frame that speaks of it
leaves (protocol/invite.py). Codes are secrets: they are never logged. Core thread.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from fonshare_agent.channel import ControlChannel
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import (
    AlreadyExists,
    BadCode,
    FonshareError,
    NotAllowed,
    NotFound,
    PeerError,
)
from fonshare_agent.groups import Groups, pick_node
from fonshare_agent.index.state import StateStore
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.links import Links
from fonshare_agent.listening import sealing_keys
from fonshare_agent.model import GroupId, NodeId, base32
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.protocol.codes import InviteCode
from fonshare_agent.protocol.group import GroupMachine
from fonshare_agent.protocol.invite import (
    AdmissionWanted,
    Admitted,
    Expired,
    Finished,
    Invitation,
    InviteEvent,
    InviterState,
    JoinerKnown,
    JoinerState,
    Joining,
    Refused,
    SecondJoinerRefused,
    StateChanged,
)
from fonshare_agent.protocol.keys import KeyStatement, node_id_text

log = logging.getLogger(__name__)

INVITE, JOIN = "invite/", "join/"  # names of the documents
SESSION_ID_BYTES = 5
MEMBER = "member"
ASKING = (InviterState.CONFIRMING, InviterState.AWAITING_OWNER)
FAILED = (JoinerState.REFUSED, JoinerState.REFUSING, JoinerState.EXPIRED)


@dataclass(slots=True)
class _Session:
    name: str  # of its document
    machine: Invitation | Joining
    broker: str
    group: GroupId | None = None  # which one is invited to
    label: str = ""  # joining: what this node will call the group
    sure: bool = True  # joining: go on whoever the inviter is
    timer: Timer | None = None
    is_pumping: bool = False


class Invites:
    """All open invites and joins."""

    def __init__(
        self,
        core: Core,
        store: Worker,
        state: StateStore,
        keys: NodeKeys,
        node_name: str,
        groups: Groups,
        channel: ControlChannel,
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._store, self._state = core, store, state
        self._keys, self._node_name = keys, node_name
        self._groups, self._channel, self._draw = groups, channel, draw
        self._sessions: dict[str, _Session] = {}
        self._ended: dict[str, JSON] = {}  # how joins of this run ended, by label
        self._links: Links | None = None
        self.second_joiners: list[str] = []  # labels of groups whose code leaked

    def wire(self, links: Links) -> None:
        self._links = links

    # --- the owner's verbs ---

    async def invite(self, group: GroupId, *, accept_first: bool) -> str:
        """Make a code for *group*; it is durable when this returns."""
        machine = self._channel.machine(group)
        if not machine.roster.is_admin(machine.me):
            raise NotAllowed("only an admin of the group may invite")
        broker = self._meeting_place(machine)
        url = BrokerUrl.parse(broker)
        session = _Session(
            self._new_name(INVITE),
            Invitation.begin(
                self._keys.signer,
                self._keys.statement(self._node_name),
                self._groups.label(group),
                replace(url, ca=None, pin=None).encode(),
                self._draw,
                self._core.clock(),
                ca_pin=url.pin,
                accept_first=accept_first,
            ),
            broker,
            group,
        )
        self._sessions[session.name] = session
        self._refresh_now()
        await self._drain(session)
        assert isinstance(session.machine, Invitation)
        return session.machine.code.encode()

    def _meeting_place(self, machine: GroupMachine) -> str:
        """Return the group's first broker that answers now: a code names only one."""
        links, brokers = self._links, machine.roster.brokers
        up = [one for one in brokers if links is not None and links.is_connected(one)]
        return (up or brokers)[0]

    async def join(self, text: str, label: str | None, *, sure: bool) -> JSON:
        """Begin to join with a code; a code in use already goes on where it is."""
        code = InviteCode.parse(text)
        same = self._find_join(code)
        if same is not None:
            return {"group": same.label, "state": self._state_of(same)}
        if code.fingerprint == self._keys.signer.node_id[: len(code.fingerprint)]:
            raise BadCode("this node made that code itself", thing="code")
        wanted = label or code.label
        if any(one.label == wanted for one in self._joins()):
            raise AlreadyExists(f"a join of {wanted!r} is under way", thing=wanted)
        session = _Session(
            self._new_name(JOIN),
            Joining(
                code,
                self._keys.signer,
                self._keys.statement(self._node_name),
                lambda: sealing_keys(self._keys),
                self._draw,
                self._core.clock(),
            ),
            _broker_of(code),
            label=self._groups.free_label(wanted),
            sure=sure,
        )
        self._sessions[session.name] = session
        self._ended.pop(session.label, None)
        self._refresh_now()
        await self._drain(session)
        return {"group": session.label, "state": self._state_of(session)}

    def joining(self, label: str) -> JSON:
        """Tell how far the join of *label* is, and who the inviter is once known."""
        for session in self._joins():
            if session.label == label:
                peer = session.machine.peer
                words: list[JSON] = list(peer.words) if peer else []
                return {
                    "group": label,
                    "state": self._state_of(session),
                    "inviter": {"id": node_id_text(peer.node_id), "name": peer.name}
                    if peer
                    else None,
                    "words": words,
                }
        if self._groups.find(label) is not None:
            return _ended(label, MEMBER)
        if label in self._ended:
            return self._ended[label]
        raise NotFound(f"nothing called {label!r} is being joined", thing=label)

    async def confirm(self, label: str, *, sure: bool) -> JSON:
        """The owner has seen the inviter, and says yes or no."""
        for session in self._joins():
            if session.label == label:
                machine = session.machine
                assert isinstance(machine, Joining)
                if sure:
                    machine.accept()
                else:
                    machine.refuse()
                await self._drain(session)
                return {"group": label, "state": self._state_of(session)}
        raise NotFound(f"nothing called {label!r} is being joined", thing=label)

    def requests(self) -> JSON:
        """Who waits for this node's owner to accept."""
        return [
            {
                "group": self._groups.label(session.group),
                "id": node_id_text(peer.node_id),
                "name": peer.name,
                "words": list(peer.words),
            }
            for session in self._asking()
            if session.group is not None and (peer := session.machine.peer)
        ]

    async def accept(self, group: GroupId, text: str) -> NodeId:
        """Admit the node that asks to join *group* and is called *text*."""
        session, node = self._asked(group, text)
        session.machine.accept()
        await self._drain(session)
        return node

    async def refuse(self, group: GroupId, text: str) -> NodeId:
        session, node = self._asked(group, text)
        session.machine.refuse()
        await self._drain(session)
        return node

    def _asked(self, group: GroupId, text: str) -> tuple[_Session, NodeId]:
        by_node = {
            peer.node_id: (session, peer.name)
            for session in self._asking()
            if session.group == group and (peer := session.machine.peer)
        }
        named = [node for node, (_, name) in by_node.items() if name == text]
        node = pick_node(named, list(by_node), text)
        return by_node[node][0], node

    def _asking(self) -> list[_Session]:
        return [
            session
            for session in self._sessions.values()
            if isinstance(session.machine, Invitation)
            and session.machine.state in ASKING
        ]

    def _joins(self) -> list[_Session]:
        return [s for s in self._sessions.values() if isinstance(s.machine, Joining)]

    def _find_join(self, code: InviteCode) -> _Session | None:
        for session in self._joins():
            if isinstance(session.machine, Joining) and session.machine.code == code:
                return session
        return None

    def _state_of(self, session: _Session) -> str:
        state = session.machine.state
        if state is JoinerState.REFUSING or session.machine.reason:
            return "expired" if state is JoinerState.EXPIRED else "refused"
        if state is JoinerState.ADMITTED or state is JoinerState.OVER:
            return MEMBER
        return str(state.value)

    def _new_name(self, kind: str) -> str:
        return kind + base32(self._draw(SESSION_ID_BYTES))

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

    def _restore(self, kind: str, name: str, kept: JSON) -> _Session | None:
        """Return the session in a document, None if its group is gone."""
        assert isinstance(kept, dict)
        document, now, signer = kept["session"], self._core.clock(), self._keys.signer
        assert isinstance(document, dict)
        if kind == JOIN:
            keys = self._keys
            joining = Joining.from_dict(
                document, signer, lambda: sealing_keys(keys), self._draw, now
            )
            broker = _broker_of(joining.code)
            label, sure = str(kept["label"]), bool(kept["sure"])
            return _Session(name, joining, broker, label=label, sure=sure)
        group = GroupId(bytes.fromhex(str(kept["group"])))
        machine = self._channel.find_machine(group)
        if machine is None:
            return None
        invitation = Invitation.from_dict(document, signer, self._draw, now)
        return _Session(name, invitation, _broker_of(invitation.code), group)

    async def drop_group(self, group: GroupId) -> None:
        """The group is gone: its open codes are void."""
        for session in [s for s in self._sessions.values() if s.group == group]:
            await self._forget(session)

    async def _forget(self, session: _Session) -> None:
        self._sessions.pop(session.name, None)
        if session.timer is not None:
            session.timer.cancel()
        await self._store.run(self._state.put_document, session.name, None)
        self._refresh()

    async def _keep(self, session: _Session, changed: StateChanged) -> None:
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

    def _pump(self, session: _Session) -> None:
        if not session.is_pumping:
            self._core.spawn_service("invite", self._drain(session))

    async def _drain(self, session: _Session) -> None:
        if session.is_pumping:
            return
        session.is_pumping = True
        try:
            while session.name in self._sessions and await self._step(session):
                pass
        finally:
            session.is_pumping = False
        self._arm(session)

    async def _step(self, session: _Session) -> bool:
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

    async def _act(self, session: _Session, event: InviteEvent) -> None:
        machine = session.machine
        match event:
            case JoinerKnown():
                log.info("a node asks to join a group: see `fonshare group requests`")
                if isinstance(machine, Invitation) and machine.accept_first:
                    machine.accept()
            case AdmissionWanted(statement, node):
                await self._admit(session, KeyStatement.decode(statement), node)
            case Admitted():
                await self._joined(session, event)
            case SecondJoinerRefused():
                log.warning("a second node used an invite code: it was refused")
                if session.group is not None:
                    self._note_second_joiner(self._groups.label(session.group))
            case Refused(reason, _):
                self._note_end(session, "refused")
                log.info("an invite ended without a member: %s", reason)
            case Expired():
                self._note_end(session, "expired")
            case Finished():
                await self._forget(session)
        is_new = (
            isinstance(machine, Joining) and machine.state is JoinerState.CONFIRMING
        )
        if is_new and session.sure and isinstance(machine, Joining):
            machine.accept()

    async def _admit(
        self, session: _Session, statement: KeyStatement, node: NodeId
    ) -> None:
        """Both persons agree: make the operation and the grant, then give them."""
        invitation, group = session.machine, session.group
        machine = None if group is None else self._channel.find_machine(group)
        assert isinstance(invitation, Invitation)
        if machine is None:
            invitation.refuse()
            return
        try:
            if not machine.roster.is_member(node):
                machine.admit(statement, self._core.clock())
        except FonshareError as error:
            log.warning("a joiner could not be admitted: %s", error.code)
            invitation.refuse()
            return
        await self._channel.flush(machine.group)
        invitation.admit(*_admission(machine))

    async def _joined(self, session: _Session, admitted: Admitted) -> None:
        group = await self._groups.join(
            session.label, list(admitted.operations), list(admitted.grants)
        )
        label = self._groups.find_label(group) or session.label
        if label != session.label:  # it was another group's here
            self._ended[session.label] = _ended(label, MEMBER)
            session.label = label
        log.info("joined a group")

    def _note_second_joiner(self, label: str) -> None:
        if label not in self.second_joiners:
            self.second_joiners.append(label)

    def _note_end(self, session: _Session, state: str) -> None:
        if isinstance(session.machine, Joining):
            self._ended[session.label] = _ended(session.label, state)

    def _arm(self, session: _Session) -> None:
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        due = session.machine.next_deadline()
        if due is not None and session.name in self._sessions:
            delay = due - self._core.clock()
            session.timer = self._core.call_later(delay, lambda: self._tick(session))

    def _tick(self, session: _Session) -> None:
        session.machine.handle_timer(self._core.clock())
        self._pump(session)
        if not session.is_pumping:
            self._arm(session)

    def _refresh_now(self) -> None:
        """Subscribe before anything is said that may be answered."""
        if self._links is not None:
            self._links.refresh_now()

    def _refresh(self) -> None:
        if self._links is not None:
            self._links.refresh()


def _broker_of(code: InviteCode) -> str:
    url = BrokerUrl.parse(code.broker_url)
    return replace(url, ca=None, pin=code.ca_pin).encode()


def _admission(
    machine: GroupMachine,
) -> tuple[list[bytes], list[bytes], tuple[str, ...]]:
    grants = [one.raw for one in machine.grants if one.epoch == machine.sending_epoch]
    return machine.log.raw_operations(), grants, machine.roster.brokers


def _ended(label: str, state: str) -> JSON:
    return {"group": label, "state": state, "inviter": None, "words": []}
