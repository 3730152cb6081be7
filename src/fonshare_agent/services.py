"""One service a thread: run it, and start it again when it fails.

With the core's report this is the only place that catches every exception: a bug in one
service is logged whole and costs a restart after a pause, never the agent. A service is
a callable that serves until it is stopped; returning means that it was.
"""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

RESTART_S = (1.0, 2.0, 5.0, 15.0, 60.0)


class Service:
    """A restarted thread. *serve* blocks until *end* makes it return."""

    def __init__(
        self, name: str, serve: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self._name, self._serve, self._end = name, serve, end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the service and wait for its thread."""
        self._stopping.set()
        self._end()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("service %s did not end within %.0f s", self._name, timeout_s)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._serve()
            except Exception:
                log.exception("service %s failed: this is a bug", self._name)
                pause_s = RESTART_S[min(failures, len(RESTART_S) - 1)]
                failures += 1
                self._stopping.wait(pause_s)
            else:
                return
