"""The inviter's side of an invite: answers, and gives the admission.

Owns `Invitation` (theory of operation: invite.py; states: invite_states.py). Rules: the
first knock spends the code, and nobody else's is ever answered but with a refusal; the
same question gets the same answer; after `admit` there is no way back. Knows no topics
but its own two, no roster, no storage.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final, Self

from fonshare_agent.errors import ForgedInvite, MalformedMessage, NotAllowed
from fonshare_agent.protocol.admission import Admission
from fonshare_agent.protocol.codes import (
    SECRET_BYTES,
    InviteCode,
    identity_fingerprint,
    words,
)
from fonshare_agent.protocol.invite_messages import (
    FRESH_BYTES,
    Kind,
    Reveal,
    make_notice,
    make_page,
    make_reply,
    page_count,
    read_agreement,
    read_reveal,
    transcript,
)
from fonshare_agent.protocol.invite_session import (
    ACCEPT_FIRST_LIFE_S,
    BY_PERSON,
    CODE_EXPIRED,
    CODE_LIFE_S,
    LINGER_S,
    PATIENCE_S,
    SECOND_JOINER,
    AdmissionWanted,
    CodeSpent,
    Expired,
    Finished,
    InviteSession,
    JoinerAdmitted,
    JoinerKnown,
    Peer,
    Refused,
    SecondJoinerRefused,
)
from fonshare_agent.protocol.invite_states import (
    INVITER_STEPS,
    InviterState,
    InviterStep,
)
from fonshare_agent.protocol.keys import (
    HASH_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    Context,
    KeyStatement,
    Signer,
    seal_to,
)
from fonshare_agent.protocol.signed import read_bytes, to_text

_S, _E = InviterState, InviterStep
_CODE_LIVES: Final = {
    _S.OPEN,
    _S.ANSWERED,
    _S.CONFIRMING,
    _S.AWAITING_JOINER,
    _S.AWAITING_OWNER,
}
_FAILED: Final = {_S.REFUSED, _S.EXPIRED}


class Invitation(InviteSession):
    """The inviter's machine. One owner thread; holds the code's secret."""

    def __init__(
        self,
        code: InviteCode,
        signer: Signer,
        statement: KeyStatement,
        draw: Callable[[int], bytes],
        now: float,
        *,
        accept_first: bool = False,
    ) -> None:
        life = ACCEPT_FIRST_LIFE_S if accept_first else CODE_LIFE_S
        super().__init__(code.secret, True, life, draw, now)
        self.code = code
        self.accept_first = accept_first
        self.state = InviterState.OPEN
        self.reason = ""
        self._signer, self._statement = signer, statement
        self._knock = self._nonce = self._reply = b""
        self._reveal: Reveal | None = None
        self._sealed = b""  # the admission
        self._was_second_reported = False
        self._change()

    @classmethod
    def begin(
        cls,
        signer: Signer,
        statement: KeyStatement,
        label: str,
        broker_url: str,
        draw: Callable[[int], bytes],
        now: float,
        *,
        ca_pin: bytes | None = None,
        accept_first: bool = False,
    ) -> Self:
        """Make a new code, and the machine that waits for its joiner."""
        fingerprint = identity_fingerprint(signer.public)
        secret = draw(SECRET_BYTES)
        code = InviteCode(broker_url, secret, fingerprint, label, ca_pin)
        return cls(code, signer, statement, draw, now, accept_first=accept_first)

    @property
    def peer(self) -> Peer | None:
        """Who joins, once known."""
        if self._reveal is None:
            return None
        statement = self._reveal.statement
        return Peer(statement.name, statement.node_id, words(self._transcript()))

    # --- the person and the caller ------------------------------------------------

    def accept(self) -> None:
        """The person agrees to the joiner of `JoinerKnown`; again does nothing."""
        if self.state in (_S.AWAITING_JOINER, _S.ADMITTING, _S.ADMITTED, _S.DELIVERED):
            return
        if not self._step(_E.OWNER_ACCEPTED):
            raise NotAllowed(f"there is nobody to accept: the invite is {self._name()}")
        self._want_admission()

    def refuse(self, reason: str = BY_PERSON) -> None:
        """End the invite, whether anybody used it or not; the joiner is told why."""
        if self.state in _FAILED or self.state is _S.OVER:
            return
        if not self._step(_E.REFUSED_HERE, reason):
            raise NotAllowed(f"it is too late to refuse: the invite is {self._name()}")
        self._report(Refused(reason, by_peer=False))
        self._answer_refused()

    def admit(
        self,
        operations: tuple[bytes, ...] | list[bytes],
        grants: tuple[bytes, ...] | list[bytes],
        brokers: tuple[str, ...],
    ) -> None:
        """Give what makes the joiner a member: the answer to `AdmissionWanted`."""
        if self.state in (_S.ADMITTED, _S.DELIVERED):
            return
        joiner = self._reveal
        if joiner is None or self.state is not _S.ADMITTING:
            raise NotAllowed(
                f"nobody waits for admission: the invite is {self._name()}"
            )
        admission = Admission(
            tuple(operations), tuple(grants), brokers, self.code.label
        )
        self._sealed = seal_to(
            joiner.statement.sealing,
            admission.encode(),
            self._draw(KEY_BYTES),
            self._draw(NONCE_BYTES),
            Context.SEALED_INVITE,
        )
        self._step(_E.GIVEN)
        self._report(JoinerAdmitted(joiner.statement.name, joiner.statement.node_id))
        self._send_page(0)

    # --- what arrives -------------------------------------------------------------

    def _on_frame(self, kind: int, content: bytes) -> None:
        match kind:
            case _ if self.state is _S.OVER:
                return
            case Kind.KNOCK:
                self._on_knock(content)
            case Kind.REVEAL:
                self._on_reveal(read_reveal(content, Kind.REVEAL, self._invite))
            case Kind.ACCEPT:
                self._on_accept(content)
            case Kind.DONE:
                self._on_done(content)
            case Kind.REFUSE:
                self._on_refuse(read_reveal(content, Kind.REFUSE, self._invite))
            case _:
                raise MalformedMessage(f"an inviter gets no frame of kind {kind}")

    def _on_knock(self, knock: bytes) -> None:
        if len(knock) != HASH_BYTES:
            raise MalformedMessage("a knock is a hash")
        if self.state is _S.OPEN:
            self._spend(knock)
        if not hmac.compare_digest(knock, self._knock):
            self._refuse_other(knock)
        elif not self._answer_refused():
            self._send(Kind.REPLY, self._reply)

    def _spend(self, knock: bytes) -> None:
        self._knock, self._nonce = knock, self._draw(FRESH_BYTES)
        self._reply = make_reply(
            self._signer,
            self._invite,
            knock,
            self._statement,
            self._nonce,
            self.code.label,
        )
        self._step(_E.KNOCKED)
        self._report(CodeSpent())

    def _refuse_other(self, knock: bytes) -> None:
        reason = SECOND_JOINER if self._knock else self.reason
        self._send_notice(Kind.REFUSE, knock, reason)
        if self._knock and not self._was_second_reported:
            self._was_second_reported = True
            self._report(SecondJoinerRefused())

    def _on_reveal(self, reveal: Reveal) -> None:
        self._expect_knock(reveal)
        if reveal.seen != hashlib.sha256(self._reply).digest():
            raise ForgedInvite("a joiner answers a reply that was not given")
        if self._reveal is None and self.state is _S.ANSWERED:
            self._reveal = reveal
            self._step(_E.REVEALED)
            peer = self.peer
            assert peer is not None
            self._report(JoinerKnown(peer.name, peer.node_id, peer.words))
            if self.accept_first:
                self.accept()
        if not self._answer_refused():
            self._send(Kind.NONCE, self._nonce)

    def _on_accept(self, content: bytes) -> None:
        want = self._read_agreement(content, Kind.ACCEPT)
        if self.state is _S.ADMITTED or self.state is _S.DELIVERED:
            self._send_page(want)
        elif not self._answer_refused() and self._step(_E.JOINER_ACCEPTED):
            self._want_admission()

    def _on_done(self, content: bytes) -> None:
        self._read_agreement(content, Kind.DONE)
        self._step(_E.RECEIVED)
        self._send_notice(Kind.CLOSED, self._knock)

    def _on_refuse(self, reveal: Reveal) -> None:
        # A joiner whose knock never came, or came second, must be able to stop too.
        if hmac.compare_digest(reveal.knock, self._knock) and self._step(
            _E.REFUSED_THERE, reveal.reason
        ):
            self._report(Refused(reveal.reason, by_peer=True))
        self._send_notice(Kind.CLOSED, reveal.knock)

    def _expect_knock(self, reveal: Reveal) -> None:
        if not self._knock or not hmac.compare_digest(reveal.knock, self._knock):
            raise ForgedInvite("a joiner reveals what it did not commit to")

    def _read_agreement(self, content: bytes, kind: Kind) -> int:
        identity, seen, want = read_agreement(content, kind, self._invite)
        if (
            self._reveal is None
            or identity != self._reveal.statement.identity
            or not hmac.compare_digest(seen, self._transcript())
        ):
            raise ForgedInvite("a message is not the joiner's, or of other words")
        return want

    # --- what is sent -------------------------------------------------------------

    def _want_admission(self) -> None:
        if self.state is _S.ADMITTING and self._reveal is not None:
            statement = self._reveal.statement
            self._report(AdmissionWanted(statement.encode(), statement.node_id))

    def _answer_refused(self) -> bool:
        """Tell the joiner that it ended, if it did."""
        if self.state not in _FAILED:
            return False
        if self._knock:
            self._send_notice(Kind.REFUSE, self._knock, self.reason)
        return True

    def _send_page(self, part: int) -> None:
        if part < page_count(self._sealed):
            seen = self._transcript()
            page = make_page(self._signer, self._invite, seen, self._sealed, part)
            self._send(Kind.PAGE, page)

    def _send_notice(self, kind: Kind, knock: bytes, reason: str = "") -> None:
        notice = make_notice(self._signer, kind, self._invite, knock, reason)
        self._send(kind, notice)

    def _transcript(self) -> bytes:
        assert self._reveal is not None
        return transcript(self._knock, self._reply, self._reveal.raw, self._nonce)

    # --- states and time ----------------------------------------------------------

    def _step(self, step: InviterStep, reason: str = "") -> bool:
        state = INVITER_STEPS.get((self.state, step))
        if state is None:
            return False
        self.state = state
        self.reason = reason or self.reason
        self._enter()
        return True

    def _name(self) -> str:
        return self.state.value.replace("_", " ")

    def _expiry(self) -> float | None:
        if self.state in _CODE_LIVES:
            return self._began + self._life_s
        if self.state is _S.ADMITTED:
            return self._since + PATIENCE_S
        if self.state is _S.ADMITTING or self.state is _S.OVER:
            return None
        return self._since + LINGER_S

    def _on_expiry(self) -> None:
        if self.state in _CODE_LIVES:
            self._step(_E.TIMED_OUT, CODE_EXPIRED)
            self._report(Expired())
            self._answer_refused()
        elif self._step(_E.TIMED_OUT):
            self._report(Finished())

    # --- storing ------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON can hold it, secrets included."""
        return {
            "format": 1,
            "code": self.code.encode(),
            "accept_first": self.accept_first,
            "state": self.state.value,
            "reason": self.reason,
            "statement": to_text(self._statement.encode()),
            "knock": to_text(self._knock),
            "nonce": to_text(self._nonce),
            "reply": to_text(self._reply),
            "reveal": to_text(self._reveal.raw if self._reveal else b""),
            "sealed": to_text(self._sealed),
            **self._times(),
        }

    @classmethod
    def from_dict(
        cls,
        document: dict[str, Any],
        signer: Signer,
        draw: Callable[[int], bytes],
        now: float,
    ) -> Self:
        """Go on where `to_dict` was stored. A wanted admission is wanted again."""
        code = InviteCode.parse(document["code"])
        statement = KeyStatement.decode(read_bytes(document["statement"]))
        accept_first = bool(document["accept_first"])
        session = cls(code, signer, statement, draw, now, accept_first=accept_first)
        session._restore_times(document)
        session.state = InviterState(document["state"])
        session.reason = document["reason"]
        session._knock = read_bytes(document["knock"])
        session._nonce = read_bytes(document["nonce"])
        session._reply = read_bytes(document["reply"])
        session._sealed = read_bytes(document["sealed"], most=2**24)
        reveal = read_bytes(document["reveal"])
        if reveal:
            session._reveal = read_reveal(reveal, Kind.REVEAL, session._invite)
        session._want_admission()
        if session.state is _S.OVER:
            session._report(Finished())
        return session
