"""What a running node does now and then: sessions, backups, the sealing key.

Owns the count of the node's uptime, by which the sealing key is renewed (DESIGN section
4, Keys): the clock may be wrong, the uptime is not. Core thread.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fonshare_agent import clock
from fonshare_agent.channel import ControlChannel
from fonshare_agent.ftp.server import FtpService
from fonshare_agent.ground import Ground
from fonshare_agent.leave_notices import LeaveNotices

log = logging.getLogger(__name__)

UPTIME = "uptime"  # the document: seconds
UPTIME_SAVED_S = 3600.0  # what a power cut takes from the count at most
UPLOADS_KEPT_S = 7 * 24 * 3600.0  # an interrupted upload nobody goes on with


@dataclass(slots=True)
class Upkeep:
    """Call `tend` twice a minute."""

    ground: Ground
    channel: ControlChannel
    tend_sessions: Callable[[], Awaitable[None]]
    ftp: FtpService
    save_seen: Callable[[], Awaitable[None]]  # with what is written hourly
    leaving: LeaveNotices
    _uptime_s: float | None = field(default=None, init=False)
    _counted_at: float = field(default=0.0, init=False)
    _saved_s: float = field(default=0.0, init=False)

    async def tend(self) -> None:
        await self.tend_sessions()
        await self.ground.store.run(self.ground.state.back_up_if_due)
        uptime_s = await self._count_uptime()
        await self._renew_sealing(uptime_s)
        self.channel.age(uptime_s)
        self.leaving.tend(uptime_s)
        if clock.is_known():
            await self.ground.closer.run(self.ftp.purge_uploads, UPLOADS_KEPT_S)

    async def _count_uptime(self) -> int:
        now = self.ground.core.clock()
        if self._uptime_s is None:
            kept = await self.ground.store.run(self.ground.state.get_document, UPTIME)
            self._uptime_s = self._saved_s = float(kept or 0)
        else:
            self._uptime_s += now - self._counted_at
        self._counted_at = now
        if self._uptime_s - self._saved_s >= UPTIME_SAVED_S:
            self._saved_s = self._uptime_s
            whole = int(self._uptime_s)
            await self.ground.store.run(self.ground.state.put_document, UPTIME, whole)
            await self.save_seen()
        return int(self._uptime_s)

    async def _renew_sealing(self, uptime_s: int) -> None:
        if await self.ground.files.run(
            self.ground.keys.renew_sealing, uptime_s, self.ground.draw
        ):
            log.info("the sealing key was renewed")
            self.channel.renew_keys()
