"""The queue of jobs over a real state.db; the attempts are the test's own."""

import os
import time
from pathlib import Path

import pytest

from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.downloads import Downloads
from fonshare_agent.errors import NotAllowed, NotFound
from fonshare_agent.fetching import target_place
from fonshare_agent.index.records import Found
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_ended import OVER_KEPT
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.job_adding import JobAdding
from fonshare_agent.model import GroupId, JobState, NodeId, SharePath
from fonshare_agent.pauses import RETRY_MAX_S, Pauses
from fonshare_agent.protocol.messages import TicketRefuse
from fonshare_agent.reasons import Postponed
from fonshare_agent.sources import Sources
from waiting import PATIENCE_S


class Attempts:
    """Stands for the attempts: notes whose turn it was, then does what it is told."""

    def __init__(self, disk) -> None:
        self.turns: list[str] = []
        self.given_up: list[str] = []
        self.expected: list[object] = []
        self.places: dict[str, int] = {}
        self.disk = disk
        self.how = lambda job: Postponed("source.silent")

    def expect(self, group, source):
        self.expected.append(source)

    async def bring(self, job, watch):
        self.turns.append(job.id)
        raise self.how(job)

    def give_up(self, job_id):
        self.given_up.append(job_id)

    def place(self, job_id):
        return self.places.get(job_id)

    def is_queued_at(self, job_id, source):
        return job_id in self.places

    def end(self, job):
        """Also of one that was stopped before its turn had begun."""


class Limits:
    transfers = 1


class Settings:
    limits = Limits()
    disk = downloads_folder = Path("/t")


class Queue:
    def __init__(self, path) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.state = StateStore(path / "state.db", "disk", time.monotonic)
        (path / "disk").mkdir()
        disk = Disk(path / "disk", path / "disk-id", os.urandom)
        disk.open()
        self.attempts = Attempts(disk)
        self.downloads = Downloads(
            *(self.core, self.store, self.files, None, self.state, self.attempts),
            *(Settings(), lambda group, member: ("g", "m"), os.urandom),
        )

    def add(self, name: str) -> None:
        path = SharePath.parse(name)
        place = GroupId(bytes(32)), NodeId(bytes(32)), "Films", path
        job = Job(name, *place, kind="file", name=name, target=b"/t", created=0)
        self.state.add_job(job, [JobFile(name, 0, path, 1, 1, None)])

    def run_until(self, condition, within_s=PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.attempts.turns
            self.core.call_later(0.01, lambda: None)
            self.core.run_once()

    def run_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.run_until(lambda: time.monotonic() >= until)

    def run_whole(self, work):
        done = self.core.spawn(work)
        self.run_until(lambda: done.is_settled)
        return done.result()


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path)
    for name in ("a", "b", "c"):
        queue.add(name)
    queue.store.start()
    queue.files.start()
    yield queue
    queue.store.run_and_wait(queue.state.close)
    queue.store.stop()
    queue.files.stop()


def test_an_attempt_that_fails_by_a_bug_is_not_made_again_at_once(queue):
    queue.attempts.how = lambda job: RuntimeError("a bug")
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 3)
    queue.run_for(0.3)
    assert sorted(queue.attempts.turns) == ["a", "b", "c"]


def test_every_job_has_its_turn_however_often_the_queue_is_woken(queue):
    def silent(job):
        queue.downloads.wake()
        return Postponed("source.silent")

    queue.attempts.how = silent
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 9)
    assert {queue.attempts.turns.count(name) for name in "abc"} == {3}


def attempt(queue, code: str, done_bytes: int = 0) -> None:
    """Have job a tried once; it ends in *code* when so many bytes have come."""
    before = len(queue.attempts.turns)

    async def bring(job, watch):
        queue.attempts.turns.append(job.id)
        watch.done_bytes = done_bytes
        raise Postponed(code)

    queue.attempts.bring = bring
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) > before)
    queue.run_until(lambda: not queue.downloads.is_busy)


def waits(caplog) -> list[str]:
    lines = [one.getMessage() for one in caplog.records]
    return [one.split()[-1] for one in lines if one.startswith("job a waits: ")]


def test_why_a_job_waits_is_logged_when_it_changes_not_at_every_attempt(queue, caplog):
    caplog.set_level("INFO", "fonshare_agent.downloads")
    for name in "bc":
        queue.state.update_job(name, JobState.PAUSED)
    for code in ("vanished", "vanished", "vanished", "offline", "offline", "vanished"):
        attempt(queue, f"source.{code}")
    assert queue.attempts.turns == ["a"] * 6
    assert waits(caplog) == [f"source.{c}" for c in ("vanished", "offline", "vanished")]


def test_why_a_job_waits_is_logged_again_after_bytes_have_come(queue, caplog):
    caplog.set_level("INFO", "fonshare_agent.downloads")
    for name in "bc":
        queue.state.update_job(name, JobState.PAUSED)
    attempt(queue, "source.lost")
    attempt(queue, "source.lost", done_bytes=1)
    assert waits(caplog) == ["source.lost"] * 2


def test_stopping_does_not_wait_for_an_attempt_that_hangs(queue, monkeypatch):
    monkeypatch.setattr("fonshare_agent.downloads.STOP_S", 0.2)
    hangs = queue.core.sleep(3600)

    async def hang(job, watch):
        queue.attempts.turns.append(job.id)
        await hangs

    queue.attempts.bring = hang
    queue.downloads.wake()
    queue.run_until(lambda: queue.attempts.turns)
    stopped = queue.core.spawn(queue.downloads.stop())
    queue.run_until(lambda: stopped.is_settled)


class NoTransfers:
    transfers = 0


def a_film(name: str) -> Found:
    place = GroupId(bytes(32)), NodeId(bytes(32)), "Films", SharePath.parse(name)
    return Found("id", "file", *place, 1, 1, None, own=False)


def test_two_who_ask_for_one_entry_in_the_same_instant_share_a_job(queue):
    queue.downloads.set_limits(NoTransfers())
    both = [queue.core.spawn(queue.downloads.add(a_film("d"), None)) for _ in "12"]
    queue.run_until(lambda: all(one.is_settled for one in both))
    assert both[0].result().id == both[1].result().id
    assert len(queue.state.jobs()) == 4


@pytest.mark.parametrize(
    ("refuses_names", "top", "inside", "name"),
    [
        (False, "Famille: été", "Side A: calm", "what?"),
        (True, "Famille_ été", "Side A_ calm", "what_"),
    ],
)
def test_where_a_file_goes_has_names_that_the_disk_takes(
    tmp_path, refuses_names, top, inside, name
):
    disk = Disk(tmp_path / "a:b", tmp_path / "disk-id", os.urandom)
    disk.refuses_names = refuses_names

    class Place:
        disk = downloads_folder = tmp_path / "a:b"

    adding = JobAdding(
        *(None, None, None, None, Place, disk),
        *(lambda group, member: ("Famille: été", "m"), os.urandom),
    )
    target = adding.target(a_film("Side A: calm/what?"), None)
    place = GroupId(bytes(32)), NodeId(bytes(32)), "Films", None
    job = Job("a", *place, kind="folder", name="Films", target=target, created=0)
    file = JobFile("a", 0, SharePath.parse("Side A: calm/what?"), 1, 1, None)

    assert target == os.fsencode(disk.path / top / "m")
    assert target_place(job, file, disk) == (
        os.fsencode(disk.path / top / "m" / "Films" / inside),
        os.fsencode(name),
    )


def test_a_cancelled_job_waits_for_no_answer(queue):
    question = Promise()

    async def ask(job, watch):
        queue.attempts.turns.append(job.id)
        await question

    def give_up(job_id):
        queue.attempts.given_up.append(job_id)
        question.reject(Postponed("source.silent"))

    queue.attempts.bring, queue.attempts.give_up = ask, give_up
    queue.downloads.wake()
    queue.run_until(lambda: queue.attempts.turns)
    cancelled = queue.core.spawn(queue.downloads.cancel("a"))
    queue.run_until(lambda: cancelled.is_settled)
    assert cancelled.result()["state"] == "cancelled"
    assert queue.attempts.given_up == ["a"]
    queue.run_until(lambda: not queue.downloads.is_busy)


def test_the_jobs_of_a_group_that_was_left_are_forgotten_the_ended_ones_too(queue):
    queue.downloads.set_limits(NoTransfers())
    queue.state.update_job("b", JobState.DONE)
    dropped = queue.core.spawn(queue.downloads.history.drop_group(GroupId(b"x" * 32)))
    queue.run_until(lambda: dropped.is_settled)
    assert len(queue.state.jobs()) == 3
    dropped = queue.core.spawn(queue.downloads.history.drop_group(GroupId(bytes(32))))
    queue.run_until(lambda: dropped.is_settled)
    assert queue.state.jobs() == []


def test_the_jobs_of_a_group_are_forgotten_while_the_disk_is_away_too(queue, tmp_path):
    (tmp_path / "disk").rename(tmp_path / "pulled")
    queue.run_whole(queue.downloads.history.drop_group(GroupId(bytes(32))))
    assert queue.state.jobs() == []


def test_ended_jobs_go_from_the_list_failed_ones_only_by_hand(queue):
    queue.downloads.set_limits(NoTransfers())
    for number in range(OVER_KEPT):
        queue.add(f"done{number}")
        queue.state.update_job(f"done{number}", JobState.DONE)
    queue.state.update_job("a", JobState.FAILED, "disk.full", "the disk is full")
    queue.state.update_job("b", JobState.CANCELLED)
    history = queue.downloads.history
    queue.run_whole(queue.downloads.streaming.mark("done0"))

    queue.run_whole(history.drop_old())
    names = {one.id for one in queue.state.jobs(limit=1000)}
    assert names == {"a", "b", "c", *(f"done{n}" for n in range(1, OVER_KEPT))}
    assert queue.state.document_names() == [], "nothing is left of it"

    gone = queue.run_whole(history.remove_over())
    assert len(gone) == OVER_KEPT
    assert {one.id for one in queue.state.jobs()} == {"a", "c"}
    assert queue.run_whole(history.remove("a"))["error"]["code"] == "disk.full"
    with pytest.raises(NotAllowed):
        queue.run_whole(history.remove("c"))
    with pytest.raises(NotFound):
        queue.run_whole(history.remove("a"))


def test_what_does_not_change_soon_is_tried_less_and_less_often_until_a_wake():
    pauses = Pauses(lambda: 0.0, os.urandom)
    reason = Postponed("unreachable").reason
    waits = [pauses.postpone("a", reason) for _ in range(12)]
    assert waits[0] >= 60
    assert max(waits) <= RETRY_MAX_S
    assert min(waits[6:]) >= RETRY_MAX_S / 2
    assert len(set(waits[6:])) > 1, "friends must not come all at once"
    assert pauses.postpone("a", Postponed("source.silent").reason) == 15.0
    assert pauses.is_paused("a")
    pauses.end_all()
    assert not pauses.is_paused("a")
    assert pauses.postpone("a", reason) <= 120


def test_what_breaks_off_each_time_is_tried_less_often_until_bytes_come():
    pauses = Pauses(lambda: 0.0, os.urandom)
    lost = Postponed("source.lost").reason
    waits = [pauses.postpone("a", lost) for _ in range(12)]
    assert 3 <= waits[0] <= 6
    assert min(waits[6:]) >= 7.5
    assert max(waits) <= 15
    pauses.end("a")
    assert pauses.postpone("a", lost) <= 6
    far = pauses.postpone("a", Postponed("unreachable").reason)
    assert far >= 60, "the one reason's steps are not the other's"


def test_room_on_the_disk_frees_those_that_wait_for_it_and_no_others():
    pauses = Pauses(lambda: 0.0, os.urandom)
    pauses.postpone("a", Postponed("disk.full").reason)
    pauses.postpone("b", Postponed("unreachable").reason)
    pauses.put("c", 5.0)
    pauses.end_all("disk.full")
    assert [pauses.is_paused(job) for job in "abc"] == [False, True, True]


def test_a_wake_that_comes_while_a_job_is_tried_ends_the_wait_that_follows():
    pauses, silent = Pauses(lambda: 0.0, os.urandom), Postponed("source.silent").reason
    full = Postponed("disk.full").reason
    pauses.begin("a", ())
    pauses.end_all()  # it has been asked for in vain just before
    assert pauses.postpone("a", silent) == 0
    assert not pauses.is_paused("a")
    pauses.begin("a", ())
    assert pauses.postpone("a", silent) > 0  # once, not for ever
    pauses.begin("a", ())
    pauses.begin("b", ("a",))
    pauses.end_all("disk.full")
    pauses.wake("b")
    assert pauses.postpone("a", silent) > 0
    assert pauses.postpone("b", silent) == 0
    pauses.begin("a", ())
    pauses.end_all("disk.full")
    assert pauses.postpone("a", full) == 0


def test_who_comes_while_it_is_asked_for_in_vain_is_asked_again_at_once(queue):
    def silent(job):
        if queue.attempts.turns == ["a"]:
            queue.downloads.wake()  # a member is back; its answer would come now
        return Postponed("unreachable")

    queue.attempts.how = silent
    queue.downloads.wake()
    queue.run_until(lambda: queue.attempts.turns.count("a") == 2)
    queue.run_for(0.3)
    assert sorted(queue.attempts.turns) == ["a", "a", "b", "c"]


@pytest.mark.parametrize("reason", ["disk", "hours"])
def test_a_source_without_disk_or_outside_its_hours_is_to_call_and_shows_no_place(
    reason,
):
    sources, anna = Sources(*[None] * 10), NodeId(b"a" * 32)
    sources.note_place("job", anna, TicketRefuse(b"r" * 16, reason, 0))
    assert sources.is_queued_at("job", anna)
    assert sources.place("job") is None
    sources.note_place("job", anna, TicketRefuse(b"r" * 16, "busy", 0))
    assert not sources.is_queued_at("job", anna)


# --- the owner's order --------------------------------------------------------------


def ask(queue, work):
    asked = queue.core.spawn(work)
    queue.run_until(lambda: asked.is_settled)
    return asked.result()


def hang_until_cancelled(queue):
    """Let attempts run until they are stopped; return who runs now."""
    running = []

    async def bring(job, watch):
        queue.attempts.turns.append(job.id)
        running.append(job.id)
        while not watch.is_cancelled:
            await queue.core.sleep(0.01)
        running.remove(job.id)
        return False

    queue.attempts.bring = bring
    return running


def names_of(queue):
    return [job.id for job in queue.state.jobs()]


def test_a_job_put_first_is_tried_before_all_others_and_takes_a_place_at_once(queue):
    running = hang_until_cancelled(queue)
    queue.downloads.wake()
    queue.run_until(lambda: running == ["a"])
    view = ask(queue, queue.downloads.move("c", to_front=True))
    assert view["first"]
    queue.run_until(lambda: running == ["c"])
    assert names_of(queue) == ["c", "a", "b"]
    assert queue.state.get_job("a").state is JobState.QUEUED
    ask(queue, queue.downloads.move("b", to_front=True))
    queue.run_for(0.1)
    assert running == ["c"], "what was put first itself is not driven out"
    ask(queue, queue.downloads.pause("c"))
    queue.run_until(lambda: running == ["b"])


def test_a_job_put_last_lets_the_others_go_before(queue):
    running = hang_until_cancelled(queue)
    queue.downloads.wake()
    queue.run_until(lambda: running == ["a"])
    ask(queue, queue.downloads.move("a", to_front=False))
    queue.run_until(lambda: running == ["b"])
    assert names_of(queue) == ["b", "c", "a"]
    ask(queue, queue.downloads.pause("b"))
    queue.run_until(lambda: running == ["c"])
    ask(queue, queue.downloads.pause("c"))
    queue.run_until(lambda: running == ["a"])


def test_the_order_survives_a_restart_and_new_jobs_come_behind_it(queue, tmp_path):
    for name in ("b", "c"):
        queue.state.move_job(name, to_front=True)
    queue.state.move_job("a", to_front=False)
    queue.add("d")
    queue.state.close()
    again = StateStore(tmp_path / "state.db", "disk", time.monotonic)
    jobs = again.jobs()
    assert [job.id for job in jobs] == ["c", "b", "a", "d"]
    assert [job.is_first for job in jobs] == [True, True, False, False]
    assert [job.id for job in again.jobs(jobs[0].position, limit=2)] == ["b", "a"]
    queue.state = again


def test_one_put_first_that_fails_does_not_starve_the_others(queue):
    queue.state.move_job("a", to_front=True)

    def silent(job):
        queue.downloads.wake()
        return Postponed("source.silent")

    queue.attempts.how = silent
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 9)
    assert queue.attempts.turns[0] == "a"
    assert {"b", "c"} <= set(queue.attempts.turns)


def test_all_jobs_may_be_paused_and_go_on_the_failed_and_ended_ones_stay(queue):
    running = hang_until_cancelled(queue)
    queue.add("d")
    queue.state.update_job("c", JobState.FAILED)
    queue.state.update_job("d", JobState.DONE)
    queue.downloads.wake()
    queue.run_until(lambda: running == ["a"])
    paused = ask(queue, queue.downloads.pause_all())
    assert [view["id"] for view in paused] == ["a", "b"]
    queue.run_until(lambda: not running)
    states = {job.id: job.state for job in queue.state.jobs()}
    assert states["a"] is states["b"] is JobState.PAUSED
    resumed = ask(queue, queue.downloads.resume_all())
    assert [view["id"] for view in resumed] == ["a", "b"]
    queue.run_until(lambda: len(running) == 1)
    assert queue.state.get_job("c").state is JobState.FAILED
    ask(queue, queue.downloads.pause_all())
    queue.run_until(lambda: not running)


def test_a_job_that_is_stopped_before_its_attempt_began_is_not_tried(queue):
    running = hang_until_cancelled(queue)
    queue.downloads.start(queue.state.get_job("a"))
    queue.downloads.break_off("a")
    queue.run_until(lambda: not queue.downloads.is_running("a"))
    assert queue.attempts.turns == []
    queue.run_until(lambda: running)
    assert queue.state.get_job(running[0]).state is not JobState.DONE
    ask(queue, queue.downloads.pause_all())
    queue.run_until(lambda: not running)


def test_a_place_is_free_again_though_the_end_of_an_attempt_went_wrong(queue):
    def fail(job):
        raise RuntimeError("a bug")

    queue.attempts.end = fail
    queue.downloads.wake()
    queue.run_until(lambda: len(queue.attempts.turns) >= 3)
    assert sorted(queue.attempts.turns[:3]) == ["a", "b", "c"]
    queue.downloads.set_limits(NoTransfers())
    queue.run_until(lambda: not queue.downloads.is_busy)


# --- hours, and places at a source --------------------------------------------------


def test_when_the_hours_are_over_what_runs_ends_and_jobs_say_what_they_wait_for(queue):
    running, why = hang_until_cancelled(queue), ""
    queue.downloads.wire_limits(lambda limits: None, lambda: why)
    queue.downloads.wake()
    queue.run_until(lambda: running == ["a"])
    ask(queue, queue.downloads.pause("c"))
    why = "waits for the hours 23:00-07:00"
    queue.downloads.look_at_hours()
    queue.run_until(lambda: not queue.downloads.is_busy)
    queue.downloads.wake()
    queue.run_for(0.1)
    assert not running
    views = {view["id"]: view for view in ask(queue, queue.downloads.views())}
    for name in "ab":
        assert views[name]["state"] == "queued"
        assert views[name]["error"] == {"code": "hours.closed", "message": why}
    assert views["c"]["state"] == "paused"
    assert views["c"]["error"] is None
    why = ""
    queue.downloads.look_at_hours()
    queue.run_until(lambda: len(running) == 1)
    assert ask(queue, queue.downloads.views())[0]["error"] is None
    ask(queue, queue.downloads.pause_all())
    queue.run_until(lambda: not running)


def test_the_place_in_a_sources_queue_is_shown_and_its_call_heard_at_once(queue):
    for name in "bc":
        queue.state.update_job(name, JobState.PAUSED)
    queue.attempts.places = {"a": 3}
    attempt(queue, "source.queued")
    queue.run_until(lambda: queue.state.get_job("a").error_code == "source.queued")
    view = ask(queue, queue.downloads.views())[0]
    assert view["place"] == 3
    assert view["error"]["message"].endswith("place 3")
    source = NodeId(bytes(32))
    queue.downloads.note_place_free(source, "b")
    queue.downloads.note_place_free(source, "unknown")
    queue.downloads.note_place_free(source, "a")
    queue.run_until(lambda: len(queue.attempts.turns) == 2)
    assert queue.attempts.turns == ["a", "a"]
    # Who rests waits for nobody.
    assert ask(queue, queue.downloads.pause("a"))["place"] is None
    assert queue.attempts.given_up == ["a"]


# --- what only a follow wants -------------------------------------------------------


def test_what_a_follow_wants_gives_its_place_to_what_the_owner_gets(queue):
    for name in "abc":
        queue.state.delete_job(name)
    running = hang_until_cancelled(queue)
    followed = ask(queue, queue.downloads.add(a_film("d"), None, follow="f"))
    queue.run_until(lambda: running == [followed.id])
    wanted = ask(queue, queue.downloads.add(a_film("e"), None))
    queue.run_until(lambda: running == [wanted.id])
    ask(queue, queue.downloads.move(wanted.id, to_front=False))
    queue.run_until(lambda: running == [wanted.id])
    ask(queue, queue.downloads.pause(wanted.id))
    queue.run_until(lambda: running == [followed.id])
    assert ask(queue, queue.downloads.view(followed))["follow"] == "f"


def test_what_the_owner_gets_of_a_follow_is_the_owners_reading_it_is_not(queue):
    queue.downloads.set_limits(NoTransfers())
    told = []
    queue.downloads.on_followed = told.append
    job = ask(queue, queue.downloads.add(a_film("d"), None, follow="f"))
    opened = ask(queue, queue.downloads.add(a_film("d"), None, False))
    assert (opened.id, opened.follow) == (job.id, "f")
    again = ask(queue, queue.downloads.add(a_film("d"), None, follow="other"))
    assert (again.id, again.follow) == (job.id, "f")
    ask(queue, queue.downloads.pause(job.id))
    assert told == [job.id]
    ask(queue, queue.downloads.resume(job.id))
    wanted = ask(queue, queue.downloads.add(a_film("d"), None))
    assert (wanted.id, wanted.follow) == (job.id, None)
    assert queue.state.get_job(job.id).follow is None


def test_a_source_is_expected_before_its_job_is_written_if_it_can_begin(queue):
    for name in "abc":
        queue.state.delete_job(name)
    hang_until_cancelled(queue)
    member = NodeId(bytes(32))
    first = ask(queue, queue.downloads.add(a_film("d"), None))
    assert queue.attempts.expected == [member]
    queue.run_until(lambda: queue.downloads.is_running(first.id))
    ask(queue, queue.downloads.add(a_film("e"), None))  # has to wait for that one
    assert queue.attempts.expected == [member]
    closed = "waits for the hours"
    ask(queue, queue.downloads.pause(first.id))
    queue.downloads.wire_limits(lambda limits: None, lambda: closed)
    ask(queue, queue.downloads.add(a_film("f"), None))
    assert queue.attempts.expected == [member]


def test_the_list_of_jobs_asks_the_store_a_page_at_a_time(queue):
    for number in range(120):
        queue.add(f"{number:03}")
    visits = []
    run = queue.store.run
    queue.store.run = lambda *words: visits.append(words) or run(*words)
    rows = queue.run_whole(queue.downloads.views())
    assert [row["name"] for row in rows][:4] == ["a", "b", "c", "000"]
    assert len(rows) == 123
    assert len(visits) <= 6
