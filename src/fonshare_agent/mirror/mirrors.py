"""Which mirror is read when, and what is told of it.

Owns the times: one reading at a time, each mirror once an hour, soon after the node's
start, at once when asked, and sooner again after one that broke off. Outside the hours
in which files move nothing is read. Core thread; the reading itself is a child's
(conversation.py). Must not know FTP.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fonshare_agent import clock
from fonshare_agent.core import Core, Timer, Worker
from fonshare_agent.errors import (
    AgentBusy,
    FonshareError,
    MirrorEnded,
    NotFound,
    StorageError,
)
from fonshare_agent.mirror import kept
from fonshare_agent.mirror.conversation import Conversation, FindFlow
from fonshare_agent.mirror.line import Message, error_fields
from fonshare_agent.settings import Settings, ShareSettings

PERIOD_S: Final = 3600.0  # a listing of 10,000 files costs an old server a minute
BEGIN_S: Final = 30.0  # after the node's start: first it is to be up
AGAIN_S: Final = 120.0  # after a reading that broke off; then twice that, and so on
END_S: Final = 1.0  # at the node's end: then the child is ended
LOOKS_MAX: Final = 2  # servers that are tried at once: each is a process
HOURS_S: Final = 30.0  # between two looks at whether files may move

log = logging.getLogger(__name__)


class ToldError(FonshareError):
    """An error that a child reported, with its own code."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields["message"], thing=fields["thing"], next=fields["next"])
        self._fields = fields

    def as_dict(self) -> dict[str, str]:
        return dict(self._fields)


@dataclass(slots=True)
class Mirror:
    """One share that is a mirror, and how its last reading went."""

    share: ShareSettings
    due: float
    report: Message = field(default_factory=dict)
    progress: Message = field(default_factory=dict)
    readings: int = 0  # that have ended since the node began
    failures: int = 0  # of these, in a row, that broke off
    is_confirmed: bool = False
    is_asked_for: bool = False  # while it is being read: then once more


class Mirrors:
    """See the module's text. `follow` tells it the shares, `stop` ends it."""

    def __init__(
        self,
        core: Core,
        files: Worker,
        settings: Settings,
        find_flow: FindFlow,
        may_move: Callable[[], bool],
        on_moved: Callable[[ShareSettings], None],
    ) -> None:
        """*on_moved* hears that a reading has changed a share's files."""
        self._core, self._files, self._settings = core, files, settings
        self._find_flow, self._may_move, self._on_moved = find_flow, may_move, on_moved
        self._mirrors: dict[str, Mirror] = {}
        self._worker: Worker | None = None
        self._timer: Timer | None = None
        self._running: tuple[str, Conversation] | None = None
        self._is_stopped = self._has_begun = False
        self._looks = 0

    async def follow(self, shares: Iterable[ShareSettings]) -> None:
        """These are the mirrors now."""
        named = {share.name: share for share in shares}
        for name in [one for one in self._mirrors if one not in named]:
            del self._mirrors[name]
            self._stop_reading(name)
        due = self._core.clock() + (0 if self._has_begun else BEGIN_S)
        self._has_begun = True
        for name, share in named.items():
            if name in self._mirrors:
                self._mirrors[name].share = share
                continue
            self._mirrors[name] = mirror = Mirror(share, due)
            read = partial(kept.read_report, self._settings, share)
            mirror.report = await self._files.run(read)
        self._consider()

    def shares(self) -> list[ShareSettings]:
        """Return the mirrors that are known."""
        return [mirror.share for mirror in self._mirrors.values()]

    async def look(self, share: ShareSettings, password: str) -> None:
        """Raise unless the server lets us in, and has the folder."""
        if self._looks >= LOOKS_MAX:
            raise AgentBusy("other servers are being tried")
        task = kept.task(self._settings, share, password, looks_only=True)
        talk = Conversation(self._find_flow, lambda message: None)
        looker = Worker("mirror look", self._core)  # the other may read for days
        looker.start()
        self._looks += 1
        try:
            report = await looker.run(talk.hold, task)
        finally:
            self._looks -= 1
            looker.dismiss()
        error = _ended() if report is None else report.get("error")
        if error is not None:
            raise ToldError(error)

    def refresh(self, name: str) -> None:
        """Read that mirror as soon as it can be."""
        mirror = self._find(name)
        mirror.due = self._core.clock()
        mirror.is_asked_for = self._is_reading(name)
        self._consider()

    def confirm(self, name: str) -> int:
        """What is gone from the server is to be deleted here; return how much is."""
        mirror = self._mirrors.get(name)
        held = int(mirror.report.get("held", 0)) if mirror is not None else 0
        if mirror is not None and held:
            mirror.is_confirmed = True
            self.refresh(name)
        return held

    def told(self, name: str) -> Message | None:
        """Return what is known of a mirror; None if the share is none."""
        mirror = self._mirrors.get(name)
        if mirror is None:
            return None
        is_reading = self._is_reading(name)
        state = "reading" if is_reading else "waiting"
        if not is_reading and not self._may_move():
            state = "closed"
        next_s = max(0, round(mirror.due - self._core.clock()))
        return {
            **kept.EMPTY,
            **mirror.report,
            **(mirror.progress if is_reading else {}),
            "url": mirror.share.mirror_of,
            "state": state,
            "next_s": None if is_reading else next_s,
            "readings": mirror.readings,
        }

    def _is_reading(self, name: str) -> bool:
        return self._running is not None and self._running[0] == name

    def _find(self, name: str) -> Mirror:
        if name not in self._mirrors:
            raise NotFound(
                f"share {name!r} is no mirror of a server",
                thing=name,
                next="See `fonshare share ls`.",
            )
        return self._mirrors[name]

    # --- reading -------------------------------------------------------------------

    def _consider(self) -> None:
        """Begin what is due, or wait until something is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_stopped or self._running is not None or not self._mirrors:
            return
        mirror = min(self._mirrors.values(), key=lambda one: one.due)
        wait_s = mirror.due - self._core.clock()
        if wait_s <= 0 and self._may_move():
            talk = Conversation(self._find_flow, self._on_told(mirror))
            self._running = (mirror.share.name, talk)
            self._core.spawn_service("mirror", self._read(mirror, talk))
            return
        if wait_s <= 0:
            wait_s = HOURS_S
        self._timer = self._core.call_later(wait_s, self._consider)

    async def _read(self, mirror: Mirror, talk: Conversation) -> None:
        mirror.progress, was_confirmed = {}, mirror.is_confirmed
        mirror.due = self._core.clock() + PERIOD_S  # whatever becomes of this one
        watch = self._core.call_later(HOURS_S, lambda: self._watch_hours(talk))
        try:
            report = await self._hold(mirror, talk)
            self._running = None
            await self._take(mirror, report, was_confirmed=was_confirmed)
        finally:
            watch.cancel()
            self._running = None
            self._consider()

    async def _hold(self, mirror: Mirror, talk: Conversation) -> Message:
        try:
            task = await self._files.run(
                kept.task_with_password,
                self._settings,
                mirror.share,
                is_confirmed=mirror.is_confirmed,
            )
            worker = self._get_worker()
            return await worker.run(talk.hold, task) or {"error": _ended()}
        except (FonshareError, OSError, ImportError) as error:
            return {"error": error_fields(_as_ours(error))}

    def _watch_hours(self, talk: Conversation) -> None:
        if self._running is None or self._running[1] is not talk:
            return
        if not self._may_move():
            talk.stop("hours")
        self._core.call_later(HOURS_S, lambda: self._watch_hours(talk))

    def _on_told(self, mirror: Mirror) -> Callable[[Message], None]:
        def take(message: Message) -> None:
            mirror.progress = message

        return lambda message: self._core.post(lambda: take(message))

    async def _take(
        self, mirror: Mirror, report: Message, *, was_confirmed: bool
    ) -> None:
        is_whole = "error" not in report and "stopped" not in report
        now = self._core.clock()
        if is_whole:
            mirror.failures = 0
            mirror.is_confirmed = mirror.is_confirmed and not was_confirmed
            mirror.due = now + PERIOD_S
            report["read_at"] = int(time.time()) if clock.is_known() else None
        else:
            pause_s = min(AGAIN_S * 2.0 ** min(mirror.failures, 8), PERIOD_S)
            mirror.due = now + pause_s
            mirror.failures += "error" in report
            for name in ("read_at", "waiting", "held"):  # only a whole one tells
                report[name] = mirror.report.get(name, kept.EMPTY[name])
            if report.get("stopped") == "hours":
                mirror.due = now
        if mirror.is_asked_for:
            mirror.due, mirror.is_asked_for = now, False
        if report.get("fetched") or report.get("deleted"):
            self._on_moved(mirror.share)
        mirror.readings += 1
        mirror.report = {**mirror.report, **report}
        for name in ("error", "stopped"):
            if name not in report:
                mirror.report.pop(name, None)
        if mirror.share.name in self._mirrors:
            await self._files.run(
                kept.write_report, self._settings, mirror.share, mirror.report
            )

    # --- the end -------------------------------------------------------------------

    async def forget(self, share: ShareSettings) -> None:
        """The share is none any more: its password and what is noted of it go."""
        self._stop_reading(share.name)
        await self._files.run(kept.forget, self._settings, share)

    def _stop_reading(self, name: str) -> None:
        if self._running is not None and self._running[0] == name:
            self._running[1].stop("removed")

    def _get_worker(self) -> Worker:
        if self._worker is None:
            self._worker = Worker("mirror", self._core)
            self._worker.start()
        return self._worker

    async def stop(self) -> None:
        """End what is read, within seconds: what has come is safe at any time."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            self._running[1].stop("the node ends", END_S)
        if self._worker is not None:
            await self._worker.run(_nothing)  # behind the reading that ends
            self._worker.dismiss()


def _ended() -> dict[str, str]:
    return error_fields(MirrorEnded("the process that reads the server has ended"))


def _nothing() -> None:
    return None


def _as_ours(error: Exception) -> FonshareError:
    if isinstance(error, FonshareError):
        return error
    return StorageError(str(error))
