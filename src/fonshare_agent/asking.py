"""Questions to other members and their answers, by request number. Core thread.

A question that gets no answer in time ends in `NoAnswer`; one that could not be sent at
all ends at once. An answer counts only from the member who was asked.
"""

from collections.abc import Callable
from typing import NamedTuple

from fonshare_agent.core import Core, Promise, Timer
from fonshare_agent.errors import PeerError
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.fields import NONCE_BYTES
from fonshare_agent.protocol.messages import Message

ANSWER_TIMEOUT_S = 15.0
QUESTIONS_PER_S = 4.0
QUESTIONS_BURST = 35.0


class NoAnswer(PeerError):
    """A member did not answer a question in time."""

    code = "peer.silent"
    advice = "The job asks again by itself."


class _Question(NamedTuple):
    member: NodeId
    promise: Promise[Message]
    timer: Timer
    owner: str


class Asking:
    """Questions that wait for their answers."""

    def __init__(
        self,
        core: Core,
        send: Callable[[GroupId, NodeId | None, Message], bool],
        draw: Callable[[int], bytes],
    ) -> None:
        self._core, self._send, self._draw = core, send, draw
        self._is_stopped = False
        self._levels: dict[tuple[GroupId, NodeId], tuple[float, float]] = {}
        self._open: dict[bytes, _Question] = {}

    def ask(
        self,
        group: GroupId,
        member: NodeId,
        make: Callable[[bytes], Message],
        timeout_s: float = ANSWER_TIMEOUT_S,
        is_alive: Callable[[], bool] = lambda: False,
        owner: str = "",
    ) -> Promise[Message]:
        """Send what *make* makes of a fresh request number; await the answer.

        While *is_alive* says so whenever the time is over, it begins anew. *owner* may
        give up all that it has asked.
        """
        request = self._draw(NONCE_BYTES)
        promise: Promise[Message] = Promise()
        pause_s = self._pace(group, member)

        def wait_or_give_up() -> None:
            if request in self._open and is_alive():
                timer = self._core.call_later(timeout_s, wait_or_give_up)
                self._open[request] = _Question(member, promise, timer, owner)
            else:
                self._give_up(request)

        def send() -> None:
            if request in self._open and not self._send(group, member, make(request)):
                self._give_up(request)

        timer = self._core.call_later(pause_s + timeout_s, wait_or_give_up)
        self._open[request] = _Question(member, promise, timer, owner)
        if self._is_stopped:
            self._give_up(request)
        elif pause_s:
            self._core.call_later(pause_s, send)
        else:
            send()
        return promise

    def _pace(self, group: GroupId, member: NodeId) -> float:
        """Return how long to wait, so that *member* does not have to drop us.

        Its allowance for us is 5 a second, 50 at once (protocol/peers.py); some of it
        is left to what is not a question.
        """
        now, key = self._core.clock(), (group, member)
        level, since = self._levels.get(key, (QUESTIONS_BURST, now))
        level = min(QUESTIONS_BURST, level + (now - since) * QUESTIONS_PER_S) - 1
        self._levels[key] = (level, now)
        return max(0.0, -level / QUESTIONS_PER_S)

    def answer(self, member: NodeId, request: bytes, message: Message) -> None:
        """Take *member*'s answer; one that nobody waits for is dropped."""
        waiting = self._open.get(request)
        if waiting is not None and waiting.member == member:
            del self._open[request]
            waiting.timer.cancel()
            waiting.promise.resolve(message)

    def give_up(self, owner: str) -> None:
        """Whatever *owner* has asked ends now, in NoAnswer."""
        for request in [r for r, one in self._open.items() if one.owner == owner]:
            self._give_up(request)

    def stop(self) -> None:
        """Nobody answers any more: every question ends now, and new ones at once."""
        self._is_stopped = True
        for request in list(self._open):
            self._give_up(request)

    def _give_up(self, request: bytes) -> None:
        waiting = self._open.pop(request, None)
        if waiting is not None:
            waiting.timer.cancel()
            waiting.promise.reject(NoAnswer("a member did not answer"))
