"""The joiner's side of an invite: asks until it is answered.

Owns `Joining` (theory of operation: invite.py; states: invite_states.py). Rules: only
the inviter whose fingerprint is in the code is believed; what is said is repeated, with
growing pauses, until the answer comes; an admission counts only if its roster has this
node and an epoch's key opens. Knows no topics but its own two and stores nothing.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from fonshare_agent.errors import (
    BadRoster,
    ForgedInvite,
    MalformedMessage,
    NotAllowed,
    PeerError,
    UnsealError,
)
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.admission import Admission
from fonshare_agent.protocol.codes import InviteCode, identity_fingerprint, words
from fonshare_agent.protocol.epochs import EpochGrant, choose_sending_epoch
from fonshare_agent.protocol.invite_messages import (
    FRESH_BYTES,
    Kind,
    Page,
    Reply,
    commit,
    make_agreement,
    make_reveal,
    read_notice,
    read_page,
    read_reply,
    transcript,
)
from fonshare_agent.protocol.invite_session import (
    BAD_ADMISSION,
    BY_PERSON,
    CODE_EXPIRED,
    CODE_LIFE_S,
    LINGER_S,
    PATIENCE_S,
    Admitted,
    Expired,
    Finished,
    InviterKnown,
    InviteSession,
    Peer,
    Refused,
)
from fonshare_agent.protocol.invite_states import JOINER_STEPS, JoinerState, JoinerStep
from fonshare_agent.protocol.keys import (
    Context,
    KeyStatement,
    SealingKey,
    Signer,
    open_sealed,
)
from fonshare_agent.protocol.roster import OperationLog
from fonshare_agent.protocol.signed import read_bytes, to_text

# The first pauses are for a lossy line, the last for a person who thinks it over.
RETRY_S: Final = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)

_S, _E = JoinerState, JoinerStep
_CODE_LIVES: Final = {_S.KNOCKING, _S.REVEALING, _S.CONFIRMING}
_TELLING: Final = {_S.ADMITTED, _S.REFUSING, _S.EXPIRED}


class Joining(InviteSession):
    """The joiner's machine. One owner thread; holds the code's secret."""

    def __init__(
        self,
        code: InviteCode,
        signer: Signer,
        statement: KeyStatement,
        sealing_keys: Callable[[], Iterable[SealingKey]],
        draw: Callable[[int], bytes],
        now: float,
    ) -> None:
        super().__init__(code.secret, False, CODE_LIFE_S, draw, now)
        self.code = code
        self.state = JoinerState.KNOCKING
        self.reason = ""
        self._signer, self._statement = signer, statement
        self._sealing_keys = sealing_keys
        self._nonce = draw(FRESH_BYTES)
        self._reply: Reply | None = None
        self._peer_nonce = b""
        self._pages: list[bytes] = []  # not stored: they can be asked for again
        self._digest = b""
        self._reveal = b""  # made when the reply has come
        self._tries = 0
        self._retry = now
        self._change()

    @property
    def peer(self) -> Peer | None:
        """Who invites, once the words are known."""
        if self._reply is None or not self._peer_nonce:
            return None
        statement = self._reply.statement
        return Peer(statement.name, statement.node_id, words(self._transcript()))

    # --- the person ---------------------------------------------------------------

    def accept(self) -> None:
        """The person agrees to the inviter of `InviterKnown`; again does nothing."""
        if self.state in (_S.ACCEPTED, _S.ADMITTED):
            return
        if not self._step(_E.OWNER_ACCEPTED):
            raise NotAllowed(
                f"there is nobody to accept: the joining is {self._name()}"
            )

    def refuse(self, reason: str = BY_PERSON) -> None:
        """Give up; the inviter is told why. Not after `accept`."""
        if self.state in (_S.REFUSING, _S.REFUSED, _S.EXPIRED, _S.OVER):
            return
        if not self._step(_E.REFUSED_HERE, reason):
            raise NotAllowed(f"it is too late to refuse: the joining is {self._name()}")
        self._report(Refused(reason, by_peer=False))

    # --- what arrives -------------------------------------------------------------

    def _on_frame(self, kind: int, content: bytes) -> None:
        match kind:
            case Kind.REPLY:
                self._on_reply(read_reply(content, self._invite))
            case Kind.NONCE:
                self._on_nonce(content)
            case Kind.PAGE:
                self._on_page(read_page(content, self._invite))
            case Kind.REFUSE:
                self._on_refuse(content)
            case Kind.CLOSED:
                self._read_notice(content, Kind.CLOSED)
                self._finish(_E.CLOSED)
            case _:
                raise MalformedMessage(f"a joiner gets no frame of kind {kind}")

    def _on_reply(self, reply: Reply) -> None:
        self._expect_inviter(reply.statement.identity)
        self._expect_own_knock(reply.knock)
        if self.state is _S.KNOCKING:
            self._reply = reply
            self._step(_E.ANSWERED)

    def _on_nonce(self, nonce: bytes) -> None:
        if self.state is not _S.REVEALING or self._reply is None:
            return
        promised = commit(nonce, self._reply.statement.encode(), self._knock())
        if len(nonce) != FRESH_BYTES or not hmac.compare_digest(
            promised, self._reply.commitment
        ):
            raise ForgedInvite("an inviter shows a nonce that it did not commit to")
        self._peer_nonce = nonce
        self._step(_E.SHOWN_NONCE)
        peer = self.peer
        assert peer is not None
        label = self._reply.label
        self._report(InviterKnown(peer.name, peer.node_id, peer.words, label))

    def _on_page(self, page: Page) -> None:
        self._expect_inviter(page.identity)
        if self.state is not _S.ACCEPTED:
            return
        if not hmac.compare_digest(page.transcript, self._transcript()):
            raise ForgedInvite("an admission is for other words")
        if page.digest != self._digest:
            self._digest, self._pages = page.digest, []
        if page.part != len(self._pages):
            return  # doubled, or not the one asked for
        self._pages.append(page.chunk)
        if len(self._pages) < page.parts:
            self._ask_soon()
            return
        sealed, self._pages = b"".join(self._pages), []
        self._judge(sealed)

    def _judge(self, sealed: bytes) -> None:
        try:
            if hashlib.sha256(sealed).digest() != self._digest:
                raise MalformedMessage("an admission's pages do not fit together")
            admitted = self._check_admission(Admission.decode(self._open(sealed)))
        except PeerError:
            # The inviter is who it must be and yet this is no admission: a fault, which
            # asking again would not mend. Its person hears of it.
            self._step(_E.RECEIVED_BAD, BAD_ADMISSION)
            self._report(Refused(BAD_ADMISSION, by_peer=False))
            return
        self._step(_E.RECEIVED)
        self._report(admitted)

    def _open(self, sealed: bytes) -> bytes:
        for key in self._sealing_keys():
            try:
                return open_sealed(key, sealed, Context.SEALED_INVITE)
            except UnsealError:
                continue  # sealed to the key before
        raise UnsealError("an admission is sealed to none of this node's keys")

    def _check_admission(self, admission: Admission) -> Admitted:
        me: NodeId = self._signer.node_id
        log = OperationLog.from_raw(admission.operations)
        grants = [EpochGrant.decode(raw) for raw in admission.grants]
        roster = log.fold()
        assert self._reply is not None
        inviter = self._reply.statement.node_id
        if not roster.is_member(me) or not roster.is_admin(inviter):
            raise BadRoster("an admission's roster lacks the joiner or the inviter")
        epoch = choose_sending_epoch(log, grants, me)
        for grant in grants:
            if grant.epoch == epoch and me in grant.sealed:
                grant.open_for(me, self._sealing_keys())
                return Admitted(
                    log.group,
                    admission.label,
                    admission.operations,
                    admission.grants,
                    admission.brokers,
                )
        raise BadRoster("an admission holds no epoch that its joiner can send under")

    def _on_refuse(self, content: bytes) -> None:
        reason = self._read_notice(content, Kind.REFUSE)
        if self._step(_E.REFUSED_THERE, reason):
            self._report(Refused(reason, by_peer=True))

    def _read_notice(self, content: bytes, kind: Kind) -> str:
        identity, knock, reason = read_notice(content, kind, self._invite)
        self._expect_inviter(identity)
        self._expect_own_knock(knock)
        return reason

    def _expect_inviter(self, identity: bytes) -> None:
        fingerprint = identity_fingerprint(identity)
        if not hmac.compare_digest(fingerprint, self.code.fingerprint):
            raise ForgedInvite("a message is not by the node that the code names")

    def _expect_own_knock(self, knock: bytes) -> None:
        if not hmac.compare_digest(knock, self._knock()):
            raise ForgedInvite("a message answers another joiner's knock")

    # --- what is sent -------------------------------------------------------------

    def _on_retry(self) -> None:
        """Say (again) what this state has to say."""
        match self.state:
            case JoinerState.KNOCKING:
                self._send(Kind.KNOCK, self._knock())
            case JoinerState.REVEALING:
                self._send(Kind.REVEAL, self._reveal_record())
            case JoinerState.ACCEPTED:
                self._send_agreement(Kind.ACCEPT, len(self._pages))
            case JoinerState.ADMITTED:
                self._send_agreement(Kind.DONE)
            case JoinerState.REFUSING | JoinerState.EXPIRED:
                self._send(Kind.REFUSE, self._make_reveal(Kind.REFUSE))
            case JoinerState.CONFIRMING:
                # Nothing to say, but the inviter's refusal must be able to reach us.
                self._send(Kind.REVEAL, self._reveal_record())
            case _:
                return
        self._retry = self._now + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
        self._tries += 1

    def _ask_soon(self) -> None:
        self._tries, self._retry = 0, self._now
        self._on_retry()

    def _send_agreement(self, kind: Kind, want: int = 0) -> None:
        seen = self._transcript()
        record = make_agreement(self._signer, kind, self._invite, seen, want)
        self._send(kind, record)

    def _reveal_record(self) -> bytes:
        if not self._reveal:
            self._reveal = self._make_reveal(Kind.REVEAL)
        return self._reveal

    def _make_reveal(self, kind: Kind) -> bytes:
        reply = self._reply.raw if self._reply else b""
        return make_reveal(
            self._signer,
            kind,
            self._invite,
            self._statement,
            self._nonce,
            reply,
            self.reason,
        )

    def _knock(self) -> bytes:
        return commit(self._nonce, self._statement.encode())

    def _transcript(self) -> bytes:
        assert self._reply is not None
        reveal = self._reveal_record()
        return transcript(self._knock(), self._reply.raw, reveal, self._peer_nonce)

    # --- states and time ----------------------------------------------------------

    def _step(self, step: JoinerStep, reason: str = "") -> bool:
        state = JOINER_STEPS.get((self.state, step))
        if state is None:
            return False
        self.state = state
        self.reason = reason or self.reason
        self._enter()
        self._ask_soon()
        return True

    def _finish(self, step: JoinerStep) -> None:
        if self._step(step):
            self._report(Finished())

    def _name(self) -> str:
        return self.state.value

    def _retry_at(self) -> float | None:
        is_quiet = self.state is _S.REFUSED or self.state is _S.OVER
        return None if is_quiet else self._retry

    def _expiry(self) -> float | None:
        if self.state in _CODE_LIVES:
            return self._began + self._life_s
        match self.state:
            case JoinerState.ACCEPTED:
                return self._since + PATIENCE_S
            case JoinerState.OVER:
                return None
            case JoinerState.REFUSED:
                return self._since
            case _:
                return self._since + LINGER_S

    def _on_expiry(self) -> None:
        if self.state in _CODE_LIVES or self.state is _S.ACCEPTED:
            self._step(_E.TIMED_OUT, CODE_EXPIRED)
            self._report(Expired())
        else:
            self._finish(_E.TIMED_OUT)

    # --- storing ------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON can hold it, secrets included."""
        return {
            "format": 1,
            "code": self.code.encode(),
            "state": self.state.value,
            "reason": self.reason,
            "statement": to_text(self._statement.encode()),
            "nonce": to_text(self._nonce),
            "reply": to_text(self._reply.raw if self._reply else b""),
            "peer_nonce": to_text(self._peer_nonce),
            **self._times(),
        }

    @classmethod
    def from_dict(
        cls,
        document: dict[str, Any],
        signer: Signer,
        sealing_keys: Callable[[], Iterable[SealingKey]],
        draw: Callable[[int], bytes],
        now: float,
    ) -> Self:
        """Go on where `to_dict` was stored; what was said last is said again."""
        code = InviteCode.parse(document["code"])
        statement = KeyStatement.decode(read_bytes(document["statement"]))
        session = cls(code, signer, statement, sealing_keys, draw, now)
        session._restore_times(document)
        session.state = JoinerState(document["state"])
        session.reason = document["reason"]
        session._nonce = read_bytes(document["nonce"])
        session._peer_nonce = read_bytes(document["peer_nonce"])
        reply = read_bytes(document["reply"])
        if reply:
            session._reply = read_reply(reply, session._invite)
        if session.state is _S.OVER:
            session._report(Finished())
        return session
