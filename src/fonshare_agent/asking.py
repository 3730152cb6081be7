"""Questions to other members and their answers, by request number. Core thread.

A question that gets no answer in time ends in `NoAnswer`; one that could not be sent at
all ends at once. An answer counts only from the member who was asked.
"""

from collections.abc import Callable

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
        self._open: dict[bytes, tuple[NodeId, Promise[Message], Timer]] = {}

    def ask(
        self,
        group: GroupId,
        member: NodeId,
        make: Callable[[bytes], Message],
        timeout_s: float = ANSWER_TIMEOUT_S,
        is_alive: Callable[[], bool] = lambda: False,
    ) -> Promise[Message]:
        """Send what *make* makes of a fresh request number; await the answer.

        While *is_alive* says so whenever the time is over, it begins anew.
        """
        request = self._draw(NONCE_BYTES)
        promise: Promise[Message] = Promise()
        pause_s = self._pace(group, member)

        def wait_or_give_up() -> None:
            if request in self._open and is_alive():
                timer = self._core.call_later(timeout_s, wait_or_give_up)
                self._open[request] = (member, promise, timer)
            else:
                self._give_up(request)

        def send() -> None:
            if request in self._open and not self._send(group, member, make(request)):
                self._give_up(request)

        timer = self._core.call_later(pause_s + timeout_s, wait_or_give_up)
        self._open[request] = (member, promise, timer)
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
        if waiting is not None and waiting[0] == member:
            del self._open[request]
            waiting[2].cancel()
            waiting[1].resolve(message)

    def stop(self) -> None:
        """Nobody answers any more: every question ends now, and new ones at once."""
        self._is_stopped = True
        for request in list(self._open):
            self._give_up(request)

    def _give_up(self, request: bytes) -> None:
        waiting = self._open.pop(request, None)
        if waiting is not None:
            waiting[2].cancel()
            waiting[1].reject(NoAnswer("a member did not answer"))
