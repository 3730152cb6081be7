"""Invites and joins of this node: the owner's verbs, and what the sessions ask for.

The sessions themselves are invite_sessions.py's. Codes are secrets: they are never
logged. Core thread.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from fonshare_agent.channel import ControlChannel
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import (
    AlreadyExists,
    BadCode,
    FonshareError,
    NotAllowed,
    NotFound,
)
from fonshare_agent.groups import Groups, pick_node
from fonshare_agent.index.state import StateStore
from fonshare_agent.invite_sessions import (
    INVITE,
    JOIN,
    InviteSessions,
    Session,
    broker_of,
)
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.links import Links
from fonshare_agent.listening import sealing_keys
from fonshare_agent.model import GroupId, NodeId
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
)
from fonshare_agent.protocol.keys import KeyStatement, node_id_text

log = logging.getLogger(__name__)

MEMBER = "member"
ASKING = (InviterState.CONFIRMING, InviterState.AWAITING_OWNER)


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
        self._core, self._keys, self._node_name = core, keys, node_name
        self._groups, self._channel, self._draw = groups, channel, draw
        self.sessions = InviteSessions(
            core,
            store,
            state,
            keys,
            draw,
            lambda group: channel.find_machine(group) is not None,
            self._act,
        )
        self._ended: dict[str, JSON] = {}  # how joins of this run ended, by label
        self._links: Links | None = None
        self.second_joiners: list[str] = []  # labels of groups whose code leaked

    def wire(self, links: Links) -> None:
        self._links = links
        self.sessions.wire(links)

    # --- the owner's verbs ---

    async def invite(self, group: GroupId, *, accept_first: bool) -> str:
        """Make a code for *group*; it is durable when this returns."""
        machine = self._channel.machine(group)
        if not machine.roster.is_admin(machine.me):
            raise NotAllowed("only an admin of the group may invite")
        broker = self._meeting_place(machine)
        url = BrokerUrl.parse(broker)
        invitation = Invitation.begin(
            self._keys.signer,
            self._keys.statement(self._node_name),
            self._groups.label(group),
            replace(url, ca=None, pin=None).encode(),
            self._draw,
            self._core.clock(),
            ca_pin=url.pin,
            accept_first=accept_first,
        )
        name = self.sessions.new_name(INVITE)
        await self.sessions.begin(Session(name, invitation, broker, group))
        return invitation.code.encode()

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
        if any(one.label == wanted for one, _ in self.sessions.joins()):
            raise AlreadyExists(f"a join of {wanted!r} is under way", thing=wanted)
        session = Session(
            self.sessions.new_name(JOIN),
            Joining(
                code,
                self._keys.signer,
                self._keys.statement(self._node_name),
                lambda: sealing_keys(self._keys),
                self._draw,
                self._core.clock(),
            ),
            broker_of(code),
            label=self._groups.free_label(wanted),
            sure=sure,
        )
        self._ended.pop(session.label, None)
        await self.sessions.begin(session)
        return {"group": session.label, "state": self._state_of(session)}

    def joining(self, label: str) -> JSON:
        """Tell how far the join of *label* is, and who the inviter is once known."""
        for session, _ in self.sessions.joins():
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
        raise NotFound(
            f"nothing called {label!r} is being joined",
            thing=label,
            next="See `fonshare group ls`.",
        )

    async def confirm(self, label: str, *, sure: bool) -> JSON:
        """The owner has seen the inviter, and says yes or no."""
        for session, machine in self.sessions.joins():
            if session.label == label:
                if sure:
                    machine.accept()
                else:
                    machine.refuse()
                await self.sessions.drain(session)
                return {"group": label, "state": self._state_of(session)}
        raise NotFound(
            f"nothing called {label!r} is being joined",
            thing=label,
            next="See `fonshare group ls`.",
        )

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
        await self.sessions.drain(session)
        return node

    async def refuse(self, group: GroupId, text: str) -> NodeId:
        session, node = self._asked(group, text)
        session.machine.refuse()
        await self.sessions.drain(session)
        return node

    def _asked(self, group: GroupId, text: str) -> tuple[Session, NodeId]:
        by_node = {
            peer.node_id: (session, peer.name)
            for session in self._asking()
            if session.group == group and (peer := session.machine.peer)
        }
        named = [node for node, (_, name) in by_node.items() if name == text]
        node = pick_node(named, list(by_node), text)
        return by_node[node][0], node

    def _asking(self) -> list[Session]:
        sessions = self.sessions.invitations()
        return [session for session, one in sessions if one.state in ASKING]

    def _find_join(self, code: InviteCode) -> Session | None:
        for session, joining in self.sessions.joins():
            if joining.code == code:
                return session
        return None

    def _state_of(self, session: Session) -> str:
        state = session.machine.state
        if state is JoinerState.REFUSING or session.machine.reason:
            return "expired" if state is JoinerState.EXPIRED else "refused"
        if state is JoinerState.ADMITTED or state is JoinerState.OVER:
            return MEMBER
        return str(state.value)

    # --- carrying out ---

    async def _act(self, session: Session, event: InviteEvent) -> None:
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
                await self.sessions.forget(session)
        is_new = (
            isinstance(machine, Joining) and machine.state is JoinerState.CONFIRMING
        )
        if is_new and session.sure and isinstance(machine, Joining):
            machine.accept()

    async def _admit(
        self, session: Session, statement: KeyStatement, node: NodeId
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

    async def _joined(self, session: Session, admitted: Admitted) -> None:
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

    def _note_end(self, session: Session, state: str) -> None:
        if isinstance(session.machine, Joining):
            self._ended[session.label] = _ended(session.label, state)


def _admission(
    machine: GroupMachine,
) -> tuple[list[bytes], list[bytes], tuple[str, ...]]:
    grants = [one.raw for one in machine.grants if one.epoch == machine.sending_epoch]
    return machine.log.raw_operations(), grants, machine.roster.brokers


def _ended(label: str, state: str) -> JSON:
    return {"group": label, "state": state, "inviter": None, "words": []}
