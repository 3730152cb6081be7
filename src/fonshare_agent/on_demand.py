"""Parts of the agent that are loaded on first use (docs/decisions/0048).

An idle node has none of them in memory; what was used once stays. Reading files blocks,
so a part of the core thread's is loaded by the files thread; other threads may load
theirs where they need them (loading.py).
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from fonshare_agent.core import Worker
from fonshare_agent.loading import loading

T_co = TypeVar("T_co", covariant=True)


class OnDemand(Generic[T_co]):
    """One part of the core thread's. *load* imports it, on the files thread.

    What *load* returns then makes the part, on the core thread and without waiting.
    """

    def __init__(self, files: Worker, load: Callable[[], Callable[[], T_co]]) -> None:
        self._files, self._load = files, load
        self.made: T_co | None = None  # None: nobody has used it yet

    async def get(self) -> T_co:
        """Return the part; raises DiskMissing if it cannot be loaded now."""
        if self.made is None:
            make = await self._files.run(self._load_now)
            if self.made is None:  # still, after the wait
                self.made = make()
        return self.made

    def _load_now(self) -> Callable[[], T_co]:
        with loading():
            return self._load()
