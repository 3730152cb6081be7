"""The core thread: it runs coroutines, one at a time, and never waits for the disk.

Coroutines of the language serve without asyncio (6 MB on the router, DESIGN
decision 0001): awaiting a `Promise` suspends the caller until some thread settles it.
All state that deciders (sharing, downloads) hold belongs to this thread; other threads
reach it only by `Core.post`, which is bounded and never blocks the core itself.
"""

import collections
import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from fonshare_agent.errors import FonshareError, Starting

T = TypeVar("T")
P = ParamSpec("P")
log = logging.getLogger(__name__)

QUEUE_MAX = 4096  # calls waiting; each is small, and a full queue slows its producer


class Promise(Generic[T]):
    """A result that arrives later. Settled on the core thread, awaited there."""

    __slots__ = ("_callbacks", "_error", "_settled", "_value")

    def __init__(self) -> None:
        self._settled = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_settled(self) -> bool:
        return self._settled

    def resolve(self, value: T) -> None:
        """Give the result; a second settling is ignored."""
        self._settle(value, None)

    def reject(self, error: BaseException) -> None:
        """Give an error instead; a second settling is ignored."""
        self._settle(None, error)

    def _settle(self, value: T | None, error: BaseException | None) -> None:
        if self._settled:
            return
        self._settled, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_settled(self, callback: Callable[[], None]) -> None:
        if self._settled:
            callback()
        else:
            self._callbacks.append(callback)

    def result(self) -> T:
        """Return the value or raise the error of a settled promise."""
        if not self._settled:
            raise RuntimeError("promise is not settled")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def __await__(self) -> Generator["Promise[Any]", None, T]:
        if not self._settled:
            yield self
        return self.result()


class Turns:
    """Lets coroutines do their work one after another, in the order they came."""

    __slots__ = ("_core", "_is_taken", "_waiting")

    def __init__(self, core: "Core") -> None:
        self._core, self._is_taken = core, False
        self._waiting: collections.deque[Promise[None]] = collections.deque()

    async def take(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do *work* when all that came before has ended, well or not."""
        if self._is_taken:
            turn: Promise[None] = Promise()
            self._waiting.append(turn)
            await turn
        self._is_taken = True
        try:
            return await work()
        finally:
            self._is_taken = bool(self._waiting)
            if self._waiting:
                # By way of the loop, so that a long queue is no deep stack.
                next_one = self._waiting.popleft()
                self._core.post(lambda: next_one.resolve(None))


class Timer:
    """A call due at a time; `cancel` makes it do nothing."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]):
        self.due, self.call = due, call

    def cancel(self) -> None:
        self.call = _nothing


def _nothing() -> None:
    return None


class Core:
    """One thread's loop: posted calls and timers. *clock* is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        # SimpleQueue: a signal handler may post while this thread waits in `get`.
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopping = False
        self._thread: int | None = None
        self._room = threading.BoundedSemaphore(QUEUE_MAX)

    def post(self, call: Callable[[], None]) -> None:
        """Run *call* on the core thread. From any thread; waits only if the queue is
        full and the caller is not the core itself."""
        counted = threading.get_ident() != self._thread
        if counted:
            self._room.acquire()
        self._calls.put(_Released(call, self._room) if counted else call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run *call* after *delay_s*; core thread only."""
        timer = Timer(self.clock() + max(0.0, delay_s), call)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def sleep(self, delay_s: float) -> Promise[None]:
        promise: Promise[None] = Promise()
        self.call_later(delay_s, lambda: promise.resolve(None))
        return promise

    def spawn(self, work: Coroutine[Any, Any, T]) -> Promise[T]:
        """Run *work* as far as it goes now; the promise holds its outcome.

        An error nobody awaits is logged by `spawn_service`, not here.
        """
        promise: Promise[T] = Promise()
        _step(work, promise)
        return promise

    def spawn_service(self, what: str, work: Coroutine[Any, Any, Any]) -> None:
        """Run *work* for nobody in particular: its errors are logged, not lost.

        A deliberate error is a warning by its code alone: the text may hold a name.
        Anything else is a bug and is logged whole.
        """
        promise = self.spawn(work)
        promise.when_settled(lambda: _report(what, promise))

    def run_once(self) -> None:
        """Wait for the next call or due timer and run it."""
        now = self.clock()
        if self._timers and self._timers[0][0] <= now:
            _, _, timer = heapq.heappop(self._timers)
            timer.call()
            return
        wait_s = self._timers[0][0] - now if self._timers else None
        try:
            call = self._calls.get(timeout=wait_s)
        except queue.Empty:
            return
        call()

    def run(self) -> None:
        """Serve until `stop`. A call that fails costs that one call, not the agent."""
        self._thread = threading.get_ident()
        while not self._stopping:
            try:
                self.run_once()
            except Exception:
                log.exception("a call failed: this is a bug")

    def stop(self) -> None:
        """End `run` after the calls already posted. From any thread."""
        self.post(self._stop)

    def _stop(self) -> None:
        self._stopping = True


def _report(what: str, promise: Promise[Any]) -> None:
    try:
        promise.result()
    except FonshareError as error:
        log.warning("%s: %s", what, error.code)
        log.debug("%s: %s", what, error)
    except Exception:
        log.exception("%s failed: this is a bug", what)


class _Released:
    __slots__ = ("_call", "_room")

    def __init__(self, call: Callable[[], None], room: threading.BoundedSemaphore):
        self._call, self._room = call, room

    def __call__(self) -> None:
        self._room.release()
        self._call()


def _step(work: Coroutine[Any, Any, T], promise: Promise[T]) -> None:
    try:
        awaited = work.send(None)
    except StopIteration as stop:
        promise.resolve(stop.value)
    except Exception as error:
        promise.reject(error)
    else:
        awaited.when_settled(lambda: _step(work, promise))


class Worker:
    """A thread that runs functions one after another for the core.

    `run` is called on the core thread; the function runs here; its result or error
    settles the promise back on the core thread, in order.
    """

    def __init__(self, name: str, core: Core) -> None:
        self._core = core
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_ending = False  # guarded by the lock, with the queue's last word
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Promise[T]:
        """Queue the call; await its outcome on the core thread.

        Once the worker ends it is rejected: who waits must not wait for ever.
        """
        promise: Promise[T] = Promise()

        def call() -> None:
            try:
                value = function(*args, **kwargs)
            except Exception as error:
                failure = error
                self._core.post(lambda: promise.reject(failure))
            else:
                self._core.post(lambda: promise.resolve(value))

        if not self._queue(call):
            promise.reject(Starting("this part of the node has ended"))
        return promise

    def _queue(self, call: Callable[[], None]) -> bool:
        with self._lock:
            if not self._is_ending:
                self._work.put(call)
            return not self._is_ending

    def run_and_wait(self, function: Callable[[], T]) -> T:
        """Run *function* here and wait for it: for threads other than the core."""
        answer: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

        def call() -> None:
            try:
                value = function()
            except Exception as error:
                failure = error
                answer.put(lambda: _raise(failure))
            else:
                answer.put(lambda: value)

        if not self._queue(call):
            raise Starting("this part of the node has ended")
        return answer.get()()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the work already queued and end the thread; tell whether it did.

        With *timeout_s* a thread that hangs in a dead disk is left behind.
        """
        self.dismiss()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def dismiss(self) -> None:
        """End the thread after the work already queued, without waiting for it."""
        with self._lock:
            self._is_ending = True
            self._work.put(None)

    def _serve(self) -> None:
        while (call := self._work.get()) is not None:
            call()
            del call  # it may hold much, and the next may be long in coming


def _raise(error: Exception) -> NoReturn:
    raise error
