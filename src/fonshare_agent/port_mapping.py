"""Keeps the friends' ports forwarded by the router upstream, while that is needed.

Needed is it where this host has no public IPv4 address but a private one, and the owner
does not say `node.port_mapping: off`. What does the asking (links/mapping.py) is loaded
only then, and blocks on a thread of its own. A lease is renewed when half of it is
over, and every quarter of an hour at least: a router that was switched off has
forgotten everything. All times are the core clock's, which no owner sets. When the node
stops, what was forwarded is taken back, also what it was just asking for. Core thread.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from fonshare_agent.core import Core, Promise, Timer, Worker
from fonshare_agent.links.mapped import Mapped, Outcome, Unmapped, Wish

log = logging.getLogger(__name__)

RENEW_S: Final = 900.0
RENEW_MIN_S: Final = 2.0  # whatever lease a router gives
AGAIN_S: Final = 60.0  # where nobody helps; twice as long each time
AGAIN_MAX_S: Final = 3600.0
STOP_S: Final = 5.0  # a node that stops waits so long for a router that was just asked


class PortMapping:
    """Call `consider` at the start and whenever this host's addresses change."""

    def __init__(
        self,
        core: Core,
        closer: Worker,
        wish: Callable[[], Wish | None],
        on_changed: Callable[[Mapped | None], None],
    ) -> None:
        """*wish* returns None where nothing is needed. *on_changed* hears what is
        forwarded from now on."""
        self._core, self._closer = core, closer
        self._wish, self._on_changed = wish, on_changed
        self.outcome: Outcome | None = None  # None: not needed, or not known yet
        self._wished: Wish | None = None  # what `outcome` is about
        self._worker: Worker | None = None
        self._timer: Timer | None = None
        self._is_asking = self._is_stale = self._is_stopped = False
        self._failures = 0
        self._asked: Promise[None] = Promise()  # settled when nothing is under way
        self._asked.resolve(None)

    def consider(self) -> None:
        """Look what is needed now, and see to it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_asking:
            self._is_stale = True
        elif not self._is_stopped:
            self._is_asking, self._asked = True, Promise()
            self._core.spawn_service("port mapping", self._ask(self._asked))

    async def _ask(self, asked: Promise[None]) -> None:
        try:
            await self._ask_and_take()
        finally:
            asked.resolve(None)

    async def _ask_and_take(self) -> None:
        try:
            wish = self._wish()
            outcome = None if wish is None else await self._forward(wish)
        finally:
            self._is_asking = False
        if self._is_stopped:
            if wish is not None and isinstance(outcome, Mapped):
                self.outcome = None  # renewed or new, it is taken back here
                await self._withdraw(wish, outcome)
            return
        await self._leave_others(wish)
        self._take(wish, outcome)
        if self._is_stopped:
            return
        if self._is_stale:
            self._is_stale = False
            self.consider()
        elif wish is not None:
            self._timer = self._core.call_later(self._pause_s(), self.consider)

    async def _forward(self, wish: Wish) -> Outcome:
        if self._worker is None:
            self._worker = Worker("mapping", self._core)
            self._worker.start()
        try:
            return await self._worker.run(_forward, wish)
        except (ImportError, OSError) as error:  # our files lay on a disk that is gone
            return Unmapped("silent", str(error))

    async def _leave_others(self, wish: Wish | None) -> None:
        """Take back what is not needed any more, or was asked for from elsewhere."""
        if isinstance(self.outcome, Mapped) and wish is None and self._wished:
            await self._withdraw(self._wished, self.outcome)

    def _take(self, wish: Wish | None, outcome: Outcome | None) -> None:
        before = self.outcome if isinstance(self.outcome, Mapped) else None
        now = outcome if isinstance(outcome, Mapped) else None
        self.outcome, self._wished = outcome, wish
        self._failures = 0 if now or outcome is None else self._failures + 1
        if _reach_of(before) == _reach_of(now):
            return
        if now is not None:
            log.info("friends' ports are forwarded, asked for by %s", now.method)
        elif before is not None:
            log.warning("friends' ports are not forwarded any more")
        self._on_changed(now)

    def _pause_s(self) -> float:
        if isinstance(self.outcome, Mapped):
            half_s = self.outcome.lifetime_s / 2 or RENEW_S
            return max(RENEW_MIN_S, min(half_s, RENEW_S))
        # Up to the seventh power: beyond it the ceiling holds.
        return min(AGAIN_S * 2.0 ** min(self._failures - 1, 7), AGAIN_MAX_S)

    async def stop(self) -> None:
        """Take back what is forwarded. Takes some seconds at most.

        A router that is slower than STOP_S is not waited for: what it forwards then is
        taken back while the node still runs, or lapses with its lease.
        """
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._worker is not None:
            self._worker.dismiss()
        await self._settled()
        outcome, self.outcome = self.outcome, None
        if isinstance(outcome, Mapped) and self._wished is not None:
            await self._withdraw(self._wished, outcome)

    async def _settled(self) -> None:
        """Wait for the question that is under way, but not for ever."""
        ended: Promise[None] = Promise()
        timer = self._core.call_later(STOP_S, lambda: ended.resolve(None))
        self._asked.when_settled(lambda: ended.resolve(None))
        await ended
        timer.cancel()

    async def _withdraw(self, wish: Wish, mapped: Mapped) -> None:
        try:
            await self._closer.run(partial(_withdraw, wish, mapped))
        except (ImportError, OSError) as error:
            log.warning("what is forwarded is left to lapse: %s", error)


def _reach_of(mapped: Mapped | None) -> object:
    return mapped and (mapped.address, dict(mapped.ports))


def _forward(wish: Wish) -> Outcome:
    from fonshare_agent.links.mapping import forward  # not in the memory of most nodes

    return forward(wish)


def _withdraw(wish: Wish, mapped: Mapped) -> None:
    from fonshare_agent.links.mapping import withdraw

    withdraw(wish, mapped)
