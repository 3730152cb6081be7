"""Threads that do for the FTP loop what may block: the disk, and password hashing.

A job's function runs on a worker; its outcome comes back on the loop's thread. A
session has one job at a time and keeps its further commands until then, so two threads
never work for one session and the order of its commands holds.

Threads are daemons: a disk that never answers must not keep the agent from ending.
"""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from fonshare_agent.errors import FonshareError, MemoryShort

T = TypeVar("T")
log = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
Job = Callable[[MemoryShort | None], None]  # told why it is not done, if it is not


class WorkerFailed(FonshareError):
    """A job ended by an error that nobody foresaw; the thread's traceback names it."""

    code: ClassVar[str] = "ftp.worker"


class Outcome(Generic[T]):
    """A job's result, or its error."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any, error: OSError | FonshareError | None) -> None:
        self._value, self._error = value, error

    @property
    def error(self) -> OSError | FonshareError | None:
        return self._error

    def get(self) -> T:
        """Return the value or raise the error."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]


class Runs(Protocol):
    """Whoever does something elsewhere and gives the outcome on the loop's thread."""

    def run(
        self, function: Callable[..., T], *args: Any, then: Callable[[Outcome[T]], None]
    ) -> None:
        """Do ``function(*args)``, then ``then(outcome)`` on the loop."""


class Elsewhere:
    """For functions that end at once and are told whom to answer, from any thread:
    their last argument is called with a value and None, or None and an error."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def run(
        self, function: Callable[..., T], *args: Any, then: Callable[[Outcome[T]], None]
    ) -> None:
        def answer(value: Any, error: OSError | FonshareError | None) -> None:
            self._post(lambda: then(Outcome(value, error)))

        function(*args, answer)


class WorkerPool:
    """At most *threads* jobs at once, started when first needed."""

    def __init__(self, name: str, threads: int, post: Post) -> None:
        self._name, self._limit, self._post = name, threads, post
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_short = False  # the last thread that was wanted could not be had
        self._waiting = 0  # jobs not yet ended
        self._unsettled = 0  # jobs whose outcome was not dealt with yet; loop thread

    def run(
        self, function: Callable[..., T], *args: Any, then: Callable[[Outcome[T]], None]
    ) -> None:
        """Do ``function(*args)`` on a worker, then ``then(outcome)`` on the loop.

        Loop thread only, so that `is_settled` holds there. Where there is no memory for
        a worker, or for what it does, the outcome is MemoryShort.
        """

        def settle(outcome: Outcome[T]) -> None:
            try:
                then(outcome)
            finally:
                self._unsettled -= 1

        def job(refusal: MemoryShort | None) -> None:
            # What is neither the world's nor a deliberate error is our bug: it ends
            # this thread with a traceback (the pool starts another), and the session
            # still gets its answer.
            bug = WorkerFailed("internal error")
            outcome: Outcome[T] = Outcome(None, refusal or bug)
            try:
                if refusal is None:
                    outcome = Outcome(function(*args), None)
            except MemoryError:
                outcome = Outcome(None, MemoryShort())
            except (OSError, FonshareError) as error:
                outcome = Outcome(None, error)
            finally:
                with self._lock:
                    self._waiting -= 1
                self._post(lambda: settle(outcome))

        self._unsettled += 1
        with self._lock:
            self._waiting += 1
            self._start_if_few()
            self._jobs.put(job)
            is_served = bool(self._threads)
        if not is_served:
            self._refuse_waiting()

    @property
    def is_settled(self) -> bool:
        """Whether no job runs and every outcome was dealt with. Loop thread only."""
        return self._unsettled == 0

    def _start_if_few(self) -> None:
        if len(self._threads) >= min(self._limit, self._waiting):
            return
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no memory for its stack
            if not self._is_short:
                log.warning("memory is short: no thread %s: %s", self._name, error)
            self._is_short = True
        else:
            self._threads.append(thread)
            self._is_short = False

    def _refuse_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job(MemoryShort())

    def stop(self, timeout_s: float) -> bool:
        """End the threads after the queued jobs; False if some still hang."""
        with self._lock:
            self._limit = 0
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join(timeout_s / len(threads))
        return not any(thread.is_alive() for thread in threads)

    def _serve(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job(None)
                del job  # as in core.Worker: nothing is kept while waiting
        finally:
            with self._lock:
                self._threads.remove(threading.current_thread())
                self._start_if_few()  # we may be dying with jobs left
                is_served = bool(self._threads)
            if not is_served:
                self._refuse_waiting()
