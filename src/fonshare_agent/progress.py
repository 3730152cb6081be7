"""Waiting for jobs, with a progress bar on a terminal.

The agent owns the jobs: stopping to wait stops nothing, and an agent that restarts
meanwhile goes on with them, so the wait goes on too.
"""

import os
from collections.abc import Callable
from typing import Any, Self, TextIO

from fonshare_agent import model
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import NoAgent, NotFound
from fonshare_agent.joining import Ask
from fonshare_agent.layout import human_size, pad, visible
from fonshare_agent.words import say

POLL_S = 0.5  # a bar that moves twice a second looks alive and costs the box little
RESTART_S = 30.0  # an agent is back from an upgrade, or a crash, by then
ENDED = tuple(state.value for state in model.ENDED)
BAR_CELLS = 24
ROWS_MAX = 8  # job lines drawn at once; the rest is counted in one line

Job = dict[str, Any]


def wait_for_jobs(
    ask: Ask,
    jobs: JSON,
    screen: "Screen | None",
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> list[JSON]:
    """Return *jobs* as they are when all have ended."""
    mine: list[Job] = _list(jobs)
    wanted = [job["id"] for job in mine]
    answered_at = clock()
    while any(job["state"] not in ENDED for job in mine):
        if screen:
            screen.draw(mine, clock())
        sleep(POLL_S)
        try:
            known = {job["id"]: job for job in _list(ask("jobs", {}))}
        except NoAgent:
            if clock() - answered_at > RESTART_S:
                raise
            continue
        answered_at = clock()
        mine = [_get_job(known, job_id) for job_id in wanted]
    if screen:
        screen.clear()
    return list(mine)


def is_done(jobs: list[JSON]) -> bool:
    """Tell whether every job has brought its entry."""
    return all(job["state"] == "done" for job in _list(jobs))


def _list(jobs: Any) -> list[Job]:
    return list(jobs)


def _get_job(known: dict[JSON, Job], job_id: JSON) -> Job:
    if job_id not in known:
        raise NotFound(
            "the agent has forgotten the job",
            thing=str(job_id),
            next="Its group was left; fetch the entry again if it is still offered.",
        )
    return known[job_id]


class Screen:
    """Some lines at the bottom of a terminal, drawn over again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = 0
        self._seen: tuple[float, int] | None = None
        self._speed = 0.0

    @classmethod
    def on_terminal(cls, stream: TextIO) -> Self | None:
        """Return a screen, or None where nobody watches."""
        return cls(stream) if stream.isatty() else None

    def draw(self, jobs: list[Job], now: float) -> None:
        width = self._width()
        active = [job for job in jobs if job["state"] not in ENDED]
        lines = [job_line(job, width) for job in active[:ROWS_MAX]]
        if len(active) > ROWS_MAX:
            lines.append(say("... and {} more", len(active) - ROWS_MAX)[:width])
        lines.append(self._total_line(jobs, now)[:width])
        self.clear()
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
        self._lines = len(lines)

    def clear(self) -> None:
        if self._lines:
            self._stream.write(f"\x1b[{self._lines}A\x1b[J")
            self._stream.flush()
        self._lines = 0

    def _width(self) -> int:
        try:
            return max(20, os.get_terminal_size(self._stream.fileno()).columns - 1)
        except OSError:
            return 79

    def _total_line(self, jobs: list[Job], now: float) -> str:
        done = sum(job["done_bytes"] or 0 for job in jobs)
        total = sum(job["size"] or 0 for job in jobs)
        if self._seen is not None and now > self._seen[0]:
            speed = max(0, done - self._seen[1]) / (now - self._seen[0])
            self._speed = speed if self._speed == 0 else (self._speed * 3 + speed) / 4
        self._seen = (now, done)
        ended = sum(job["state"] in ENDED for job in jobs)
        return say(
            "{} of {}  {} of {}  {}/s",
            *(ended, len(jobs), human_size(done), human_size(total)),
            human_size(int(self._speed)),
        )


def job_line(job: Job, width: int) -> str:
    """Return one line of at most *width* cells: name, bar, share done, state."""
    size, done = job["size"] or 0, job["done_bytes"] or 0
    share = min(1.0, done / size) if size else 0.0
    filled = int(share * BAR_CELLS)
    bar = "#" * filled + "-" * (BAR_CELLS - filled)
    right = f" [{bar}] {share:4.0%} {human_size(size):>9} {say(job['state'])}"
    name_cells = width - len(right)
    if name_cells < 8:
        return right.strip()[:width]
    return pad(visible(str(job["name"])), name_cells) + right
