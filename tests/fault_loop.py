"""Three friends whose boxes, line and owners do whatever a seed says.

`FaultLoop.step` does one thing at random: takes an agent or the broker away or back,
freezes an agent, lets an owner fetch, pause, resume or cancel, changes files at a
source. What must hold at any moment is checked at any moment; `settle` then brings
everything back and waits until all that was promised has come true.
"""

import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brokers import Mosquitto
from nodes import CommandFailed, NodeProcess, eventually

GROUP, SHARE, FOLDER = "Famille", "Films", "films"
KIB = 1024
AWAY = ("no_agent", "starting", "disk.missing")
NUMBERED = re.compile(r" \(\d+\)(?=\.bin$)")
FILES_MAX = 8  # at each source, so that owners meet what others change


@dataclass
class Member:
    """One node, and what its owner has done."""

    node: NodeProcess
    offered: dict[str, bytes] = field(default_factory=dict)  # the tree as it is now
    ever: dict[str, set[bytes]] = field(default_factory=dict)  # all it ever was
    jobs: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # id: (of whom, name)
    paused: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)  # seen done or cancelled
    away_until: float | None = None
    frozen_until: float | None = None

    @property
    def films(self) -> Path:
        return self.node.disk / FOLDER

    @property
    def answers(self) -> bool:
        return self.away_until is None and self.frozen_until is None

    def ask(self, *words: str) -> Any:
        """The command's answer; None while the agent is only coming up."""
        try:
            return self.node(*words)
        except CommandFailed as failed:
            if failed.code not in AWAY:
                raise
            return None


class FaultLoop:
    """The loop over a group that is befriended already, each sharing FOLDER."""

    def __init__(
        self, seed: int, broker: Mosquitto, *nodes: NodeProcess, size_max: int
    ) -> None:
        self.random, self.broker, self.size_max = random.Random(seed), broker, size_max
        self.members = {node.name: Member(node) for node in nodes}
        self.broker_away_until: float | None = None
        self.files = 0
        self.history: list[str] = []
        self.actions: list[tuple[Callable[[Member], object], int]] = [
            (self.get, 8),
            (self.add_file, 3),
            (self.rename_file, 2),
            (self.delete_file, 1),
            (self.replace_file, 1),
            (self.pause, 2),
            (self.resume, 3),
            (self.cancel, 1),
            (self.kill, 2),
            (self.restart, 1),
            (self.freeze, 2),
            (self.stop_broker, 1),
        ]

    def note(self, text: str) -> None:
        self.history.append(f"{time.strftime('%H:%M:%S')} {text}")

    # --- the loop ---

    def run(self, seconds: float) -> None:
        for member in self.members.values():
            for _ in range(4):
                self.add_file(member)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step()
            self.check()
            time.sleep(self.random.uniform(0.0, 0.4))

    def step(self) -> None:
        self.bring_back(time.monotonic())
        acts, weights = zip(*self.actions, strict=True)
        [act] = self.random.choices(acts, weights)
        act(self.random.choice(list(self.members.values())))

    def bring_back(self, now: float) -> None:
        """End what has lasted long enough."""
        for member in self.members.values():
            if member.frozen_until is not None and member.frozen_until <= now:
                self.note(f"{member.node.name} thaws")
                member.frozen_until = None
                self._signal(member, signal.SIGCONT)
            if member.away_until is not None and member.away_until <= now:
                self.note(f"{member.node.name} starts")
                member.away_until = None
                member.node.launch()
        if self.broker_away_until is not None and self.broker_away_until <= now:
            self.note("the broker starts")
            self.broker_away_until = None
            self.broker.start()

    def _for_a_while(self) -> float:
        return time.monotonic() + self.random.choice((0.0, 1.0, 2.0, 5.0))

    # --- faults ---

    def kill(self, member: Member) -> None:
        if member.answers:
            self.note(f"{member.node.name} is killed")
            member.node.kill()
            member.away_until = self._for_a_while()

    def restart(self, member: Member) -> None:
        if member.answers:
            self.note(f"{member.node.name} stops")
            # One that has hardly begun knows no other end than the kernel's.
            assert member.node.stop() in (0, -signal.SIGTERM)
            member.away_until = self._for_a_while()

    def freeze(self, member: Member) -> None:
        if member.answers:
            self.note(f"{member.node.name} freezes")
            self._signal(member, signal.SIGSTOP)
            member.frozen_until = self._for_a_while()

    def _signal(self, member: Member, number: signal.Signals) -> None:
        assert member.node.process is not None
        member.node.process.send_signal(number)

    def stop_broker(self, _member: Member) -> None:
        if self.broker_away_until is None:
            self.note("the broker is killed")
            self.broker.kill()
            self.broker_away_until = self._for_a_while()

    # --- owners who fetch ---

    def get(self, member: Member) -> None:
        if not member.answers:
            return
        rows = [row for row in member.ask("find", "bin") or () if not row["own"]]
        if not rows:
            return
        row = self.random.choice(rows)
        try:
            jobs = member.ask("get", row["id"])
        except CommandFailed as failed:
            if failed.code != "not_found":  # gone since it was found
                raise
            return
        for job in jobs or ():
            self.note(f"{member.node.name} wants {row['name']}: {job['id']}")
            member.jobs[job["id"]] = (row["member"], row["name"])

    def pause(self, member: Member) -> None:
        self._tell(member, "pause", member.jobs.keys() - member.paused, member.paused)

    def resume(self, member: Member) -> None:
        if (job := self._tell(member, "resume", member.paused)) is not None:
            member.paused.discard(job)

    def cancel(self, member: Member) -> None:
        self._tell(member, "cancel", member.jobs.keys(), member.cancelled)

    def _tell(
        self, member: Member, verb: str, jobs: Any, done: set[str] | None = None
    ) -> str | None:
        """Say *verb* to one of *jobs*; return which if it was heard."""
        open_jobs = sorted(set(jobs) - member.cancelled)
        if not member.answers or not open_jobs:
            return None
        job = self.random.choice(open_jobs)
        answer = member.ask("jobs", verb, job)
        if answer is None:
            return None
        self.note(f"{member.node.name} {verb}s {job}: {answer[0]['state']}")
        if done is not None and answer[0]["state"] in ("paused", "cancelled"):
            done.add(job)
        return job

    # --- owners who change their files ---

    def add_file(self, member: Member) -> None:
        if len(member.offered) < FILES_MAX:
            self.files += 1
            self._write(member, f"{member.node.name} {self.files}.bin")

    def replace_file(self, member: Member) -> None:
        if member.offered:
            self._write(member, self._any_file(member))

    def _write(self, member: Member, name: str) -> None:
        self.note(f"{member.node.name} writes {name}")
        content = self.random.randbytes(self.random.randint(0, self.size_max))
        beside = member.node.disk / "unfinished"
        beside.write_bytes(content)
        # What it may be is known before anybody can have fetched it.
        member.ever.setdefault(name, set()).add(content)
        member.offered[name] = content
        beside.rename(member.films / name)

    def rename_file(self, member: Member) -> None:
        if member.offered:
            old = self._any_file(member)
            self.files += 1
            new = f"{member.node.name} {self.files}.bin"
            self.note(f"{member.node.name} renames {old} to {new}")
            member.offered[new] = member.offered.pop(old)
            member.ever[new] = {member.offered[new]}
            (member.films / old).rename(member.films / new)

    def delete_file(self, member: Member) -> None:
        if member.offered:
            name = self._any_file(member)
            self.note(f"{member.node.name} deletes {name}")
            del member.offered[name]
            (member.films / name).unlink()

    def _any_file(self, member: Member) -> str:
        return self.random.choice(sorted(member.offered))

    # --- what must hold ---

    def check(self) -> None:
        for member in self.members.values():
            self.check_content(member)
            if member.away_until is None:
                process = member.node.process
                assert process is not None
                assert process.poll() is None, f"{member.node.name} ended"
            log = member.node.log.read_text(errors="replace")
            for word in ("this is a bug", "Traceback"):
                assert word not in log, f"{member.node.name}: {word}"
            if member.answers:
                self.check_jobs(member)

    def check_content(self, member: Member) -> None:
        """Whatever has its final name is whole, and just what was offered under it."""
        fetched = member.node.fetched()
        for path, content in fetched.items():
            _, of, name = os.fsdecode(path).split("/")
            known = self.members[of].ever[NUMBERED.sub("", name)]
            assert content in known, f"{member.node.name} has a wrong {name}"
            twins = [one for one in fetched if fetched[one] == content]
            assert len(twins) == 1 or not NUMBERED.search(name), twins

    def check_jobs(self, member: Member) -> None:
        rows = member.ask("jobs")
        if rows is None:
            return
        states = {row["id"]: row["state"] for row in rows}
        over = {job for job in states if states[job] in ("done", "cancelled")}
        member.over |= over  # of those the list forgets the oldest
        assert states.keys() | member.over >= member.jobs.keys(), "a job is lost"
        for job, state in states.items():
            assert state != "failed", job
            assert (state == "cancelled") == (job in member.cancelled), (job, state)
            assert state != "paused" or job in member.paused, (job, state)

    # --- the end ---

    def settle(self, within_s: float) -> None:
        """Bring everything back, and wait until all is as it was promised."""
        self.bring_back(float("inf"))
        for member in self.members.values():
            eventually(lambda m=member: m.node.is_up(), f"{member.node.name} is up")
            for job in member.paused - member.cancelled:
                member.node("jobs", "resume", job)
            member.paused.clear()
        self.note("everything is back")
        for member in self.members.values():
            for other in self.members.values():
                self.wait_for_catalogue(member, other, within_s)
        for member in self.members.values():
            self.wait_for_jobs(member, within_s)
        self.check()

    def wait_for_catalogue(self, member: Member, of: Member, within_s: float) -> None:
        place = f"{GROUP}/{of.node.name}/{SHARE}"
        wanted = {name: len(content) for name, content in of.offered.items()}

        def shown() -> dict[str, int]:
            try:
                rows = member.node("ls", place)
            except CommandFailed as failure:
                # A share is seen by its files: the last one may have been deleted.
                if failure.code != "not_found":
                    raise
                return {}
            return {row["name"]: row["size"] for row in rows}

        try:
            eventually(lambda: shown() == wanted, "it converges", within_s)
        except AssertionError:
            raise AssertionError(
                f"{member.node.name} sees {shown()} of {of.node.name}, not {wanted}"
            ) from None

    def wait_for_jobs(self, member: Member, within_s: float) -> None:
        """Each job that was not cancelled is done if what it wants is still offered."""

        def missing() -> list[Any]:
            rows = [row for row in member.node("jobs") if row["state"] != "done"]
            return [row for row in rows if self.must_come(member, row["id"])]

        try:
            eventually(lambda: not missing(), "the jobs are done", within_s)
        except AssertionError:
            raise AssertionError(f"{member.node.name}: {missing()}") from None
        for row in member.node("jobs"):
            if row["state"] == "done":
                of, name = member.jobs[row["id"]]
                content = Path(row["path"]).read_bytes()
                assert content in self.members[of].ever[name], row
        self.check_partials(member)

    def must_come(self, member: Member, job: str) -> bool:
        of, name = member.jobs[job]
        return job not in member.cancelled and name in self.members[of].offered

    def check_partials(self, member: Member) -> None:
        """What was kept of a job goes with it."""
        partials = member.node.disk / ".fonshare" / "partial"
        ended = {
            row["id"]
            for row in member.node("jobs")
            if row["state"] in ("done", "cancelled")
        }
        kept = {path.name.rpartition("-")[0] for path in partials.glob("*-*")}
        assert not kept & ended, f"{member.node.name} keeps {kept & ended}"
