"""Who is signed in: random tokens, of which only hashes are kept, in memory alone.

A session ends when nobody has used it for a while, at an age that nothing extends, on
sign-out, and when this process ends. Pure but for its lock: the clock, which must not
stop while the machine sleeps, and the random bytes are arguments.
"""

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TOKEN_BYTES: Final = 32
IDLE_S: Final = 12 * 3600.0  # a phone that is put away for the night asks again
AGE_MAX_S: Final = 7 * 86400.0  # a page that is left open for ever, too
SESSIONS_MAX: Final = 64  # a household's browsers; the one longest unused goes


@dataclass(slots=True)
class Session:
    """One browser that is signed in."""

    user: str
    opened_at: float
    used_at: float


class Sessions:
    """The sessions of one server. Any thread."""

    def __init__(
        self,
        clock: Callable[[], float],
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._clock, self._draw = clock, draw
        self._lock = threading.Lock()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # by last use

    def open(self, user: str) -> str:
        """Sign *user* in and return the token that its browser keeps."""
        token = self._draw(TOKEN_BYTES).hex()
        now = self._clock()
        with self._lock:
            while len(self._sessions) >= SESSIONS_MAX:
                self._sessions.popitem(last=False)
            self._sessions[_digest(token)] = Session(user, now, now)
        return token

    def find(self, token: str) -> Session | None:
        """Return the living session of *token* and count this as a use of it."""
        digest, now = _digest(token), self._clock()
        with self._lock:
            session = self._sessions.get(digest)
            if session is None:
                return None
            if now - session.used_at > IDLE_S or now - session.opened_at > AGE_MAX_S:
                del self._sessions[digest]
                return None
            session.used_at = now
            self._sessions.move_to_end(digest)
            return session

    def end(self, token: str) -> None:
        """Sign out; a token that is none changes nothing."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def end_all(self) -> None:
        """Sign everybody out."""
        with self._lock:
            self._sessions.clear()

    def __len__(self) -> int:
        return len(self._sessions)


def _digest(token: str) -> bytes:
    # Looked up by its hash: how long that takes tells nothing about a token.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
