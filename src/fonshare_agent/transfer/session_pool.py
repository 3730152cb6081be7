"""Keeps ticket sessions open between transfers: opening one costs several round trips.

Owns the idle sessions, a few in all, at most one use at a time. Any thread may borrow
and give back; one that is being prepared for the next ticket is waited for. Must not
know what is transferred.
"""

import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Final

from fonshare_agent.errors import ConnectionLost, FonshareError
from fonshare_agent.transfer.resumption import Resumptions
from fonshare_agent.transfer.session import Credentials, Dial, Session
from fonshare_agent.transfer.wire import POLL_S, Address, Patience, connect

IDLE_MAX: Final = 4  # each holds 50 KiB of TLS here and a slot at a friend's door
IDLE_S: Final = 600.0
NOOP_S: Final = 40.0  # before the door's minute of silence is over
NOOP_PATIENCE_S: Final = 5.0


class SessionPool:
    """Immutable: context, clock. Guarded by the lock: the idle sessions, and whose are
    being prepared."""

    def __init__(self, context: ssl.SSLContext, clock: Callable[[], float]) -> None:
        self._context, self._clock = context, clock
        self._resumptions = Resumptions()
        self._lock = threading.Condition()
        self._idle: list[tuple[float, Session]] = []  # since when; the newest last
        self._preparing: set[bytes] = set()
        self._rest = Patience(clock, _never, NOOP_PATIENCE_S)

    def borrow(
        self,
        addresses: Sequence[Address],
        fingerprint: bytes,
        credentials: Credentials,
        patience: Patience,
        dial: Dial = connect,
        *,
        ahead: bool = False,
    ) -> Session:
        """Return a session with that peer that has redeemed the ticket; *ahead*: and
        has the port for what will be moved at once."""
        while (session := self._await(fingerprint, patience)) is not None:
            try:
                session.be_patient(patience)
                session.take_ticket(credentials, ahead=ahead)
            except ConnectionLost:
                session.close()  # it had died unnoticed; the ticket is unused
            except BaseException:
                session.close()
                raise
            else:
                return session
        session = Session.open(
            addresses,
            self._context,
            fingerprint,
            credentials,
            patience,
            dial,
            ahead=ahead,
        )
        session.resumptions = self._resumptions
        return session

    def give_back(self, session: Session) -> None:
        """Keep a session that is in order; the oldest one gives way."""
        session.be_patient(self._rest)  # not as who used it, with all that it brought
        with self._lock:
            self._idle.append((self._clock(), session))
            spare = self._idle[:-IDLE_MAX]
            self._idle = self._idle[-IDLE_MAX:]
        for _, one in spare:
            one.close()

    def prepare(self, fingerprint: bytes, patience: Patience) -> None:
        """Have an idle session with that peer, if there is one, open the connection on
        which data will come. Waits for the peer, so on a thread that may."""
        with self._lock:
            if fingerprint in self._preparing:
                return
            self._preparing.add(fingerprint)
        try:
            session = self._find(fingerprint)
            if session is not None:
                self._prepare(session, patience)
        finally:
            with self._lock:
                self._preparing.remove(fingerprint)
                self._lock.notify_all()

    def _prepare(self, session: Session, patience: Patience) -> None:
        try:
            session.be_patient(patience)
            session.prepare()
        except BaseException:
            session.close()
            raise
        self.give_back(session)

    def tend(self) -> None:
        """Keep idle sessions alive, and end those nobody needs. Call twice a minute.

        Waits for peers, so on a thread that may.
        """
        with self._lock:
            taken, self._idle = self._idle, []
        for since, session in taken:
            if self._clock() - since < IDLE_S and self._is_well(session):
                with self._lock:
                    self._idle.insert(0, (since, session))
            else:
                session.close()

    def close(self) -> None:
        """End all idle sessions."""
        with self._lock:
            taken, self._idle = self._idle, []
        for _, session in taken:
            session.close()

    def _is_well(self, session: Session) -> bool:
        if not session.is_alive():
            return False
        if not session.is_ready:
            session.drop_ready()
        if self._clock() - session.used_at < NOOP_S:
            return True
        try:
            session.stay_open()
        except FonshareError:
            return False
        return True

    def _await(self, fingerprint: bytes, patience: Patience) -> Session | None:
        """As `_find`, but wait for one that is being prepared."""
        while True:
            with self._lock:
                is_settled = fingerprint not in self._preparing
            session = self._find(fingerprint)
            if session is not None or is_settled:
                return session
            with self._lock:
                if fingerprint in self._preparing:
                    self._lock.wait(POLL_S)
            patience.demand(patience.clock())

    def _find(self, fingerprint: bytes) -> Session | None:
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index][1].fingerprint == fingerprint:
                    _, session = self._idle.pop(index)
                    break
            else:
                return None
        if session.is_alive():
            return session
        session.close()
        return self._find(fingerprint)


def _never() -> bool:
    return False
