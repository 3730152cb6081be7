"""state.db against a plain model, killed at every step, damaged, and brought back."""

import contextlib
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import (
    DatabaseDamaged,
    DatabaseTooNew,
    NotFound,
    StorageError,
)
from fonshare_agent.index import database
from fonshare_agent.index.state import BACKUP_PERIOD_S, StateStore
from fonshare_agent.index.state_backup import back_up
from fonshare_agent.index.state_follows import Fetched, Follow
from fonshare_agent.index.state_ratings import Head
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, JobState, NodeId, Root, SharePath

GROUP, OTHER = GroupId(b"\x01" * 32), GroupId(b"\x02" * 32)
ANNA, BOB = NodeId(b"\x0a" * 32), NodeId(b"\x0b" * 32)
PATH = SharePath.parse("été/Bréhat.mkv")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def store(place, clock):
    opened = StateStore(place, "disk", clock)
    yield opened
    opened.close()


def reopened(store, place, disk_id="disk"):
    store.close()
    return StateStore(place, disk_id, Clock())


def job(job_id="one", **changes):
    made = Job(
        id=job_id,
        group=GROUP,
        member=ANNA,
        share="Films",
        path=PATH,
        kind="folder",
        name="Bréhat.mkv",
        target=b"/mnt/disk/downloads/\xff",
        created=1700000000,
    )
    return replace(made, **changes)


def file(number=0, job_id="one", **changes):
    path = SharePath.parse(b"a/\xff%d" % number)
    return replace(JobFile(job_id, number, path, size=10, modified=5), **changes)


# --- counters ----------------------------------------------------


def test_leased_counters_never_overlap_also_after_a_restart(store, place):
    assert store.lease_counters(GROUP, 1, 100) == 1
    assert store.lease_counters(GROUP, 1, 5) == 101
    assert store.lease_counters(GROUP, 2, 5) == 1
    assert store.lease_counters(OTHER, 1, 5) == 1

    again = reopened(store, place)
    assert again.lease_counters(GROUP, 1, 1) == 106
    again.forget_group(GROUP)
    assert again.lease_counters(GROUP, 1, 1) == 107
    with pytest.raises(ValueError, match="cannot lease"):
        again.lease_counters(GROUP, 1, 0)
    again.close()


def test_documents_are_kept_replaced_and_removed(store, place):
    store.put_document("presence/a", {"version": 1, "name": "\udcff é"})
    store.put_document("presence/a", {"version": 2})
    store.put_document("presence/b", [1])
    store.put_document("else", False)
    store.put_document("presence/b", None)

    again = reopened(store, place)
    assert again.get_document("presence/a") == {"version": 2}
    assert again.get_document("presence/b") is None
    assert again.get_document("else") is False
    assert again.document_names() == ["else", "presence/a"]
    assert again.document_names("presence/") == ["presence/a"]
    again.close()


# --- jobs -----------------------------------------------------------------------------


def test_a_job_and_its_files_survive_a_restart(store, place):
    made = store.add_job(job(), (file(n, root=Root(b"r" * 32)) for n in range(250)))
    assert (made.position, made.files, made.size) == (1, 250, 2500)

    again = reopened(store, place)
    assert again.get_job("one") == made
    first = again.files("one", limit=100)
    rest = again.files("one", after=first[-1].number, limit=1000)
    assert first + rest == [file(n, root=Root(b"r" * 32)) for n in range(250)]
    again.close()


def test_where_a_job_goes_may_change_until_its_file_gets_its_place(store):
    store.add_job(job(), [file()])
    assert store.retarget_job("one", b"/disk/kino").target == b"/disk/kino"
    store.update_file(replace(file(), state=JobState.VERIFYING))
    assert store.retarget_job("one", b"/disk/late").target == b"/disk/kino"


def test_the_sums_of_a_job_follow_its_files(store):
    store.add_job(job(), [file(0), file(1)])
    done = file(1, state=JobState.DONE, done_bytes=10, final_name=b"x (2).\xff")
    store.update_file(file(0, done_bytes=4))
    store.update_file(done)
    store.add_files("one", [file(2, size=7)])

    found = store.get_job("one")
    assert (found.files, found.files_done) == (3, 1)
    assert (found.size, found.done_bytes) == (27, 14)
    assert store.get_file("one", 1) == done
    assert store.files("one", [JobState.DONE]) == [done]
    store.update_file(file(0, size=8, done_bytes=0))
    assert store.get_job("one").done_bytes == 10
    assert store.get_job("one").size == 25


def test_sizes_that_a_friend_invents_do_not_pass_what_a_number_holds(store):
    most = 2**63 - 1
    store.add_job(job(), [file(0, size=most), file(1, size=most)])
    assert store.get_job("one").size == most
    store.update_file(file(1, size=most, done_bytes=most))
    store.update_file(file(0, size=5, done_bytes=most))
    assert store.get_job("one").done_bytes == most
    store.update_file(file(1, size=5))
    assert store.get_job("one").size >= 0
    follow = Follow(0, "f", GROUP, ANNA, "Films", None, 1 << 20, False)
    store.follows.put(follow)
    for name in ("two", "three"):
        wanted = replace(job(), id=name, follow="f")
        store.add_job(wanted, [file(0, name, size=most)])
    [follow] = store.follows.all()
    assert store.follows.used_bytes(follow) > follow.budget


def test_no_member_counts_its_ratings_so_high_that_nothing_can_be_told(store):
    for member in (ANNA, BOB):
        begin, root = Head(b"log-here", 0), Root(b"r" * 32)
        store.ratings.take(GROUP, member, begin, [(root, 5)], 2**63 - 1)
    before = store.rating_changes()
    store.ratings.rate(GROUP, NodeId(b"\x0c" * 32), Root(b"s" * 32), 3)
    assert store.rating_changes() != before


def test_jobs_are_listed_in_the_order_of_the_queue_page_by_page(store):
    for number in range(7):
        store.add_job(job(f"job{number}"))
    store.update_job("job3", JobState.FAILED, "changed", "the entry changed")

    first = store.jobs(limit=4)
    rest = store.jobs(after=first[-1].position, limit=4)
    assert [one.id for one in first + rest] == [f"job{n}" for n in range(7)]
    assert [one.id for one in store.jobs(states=[JobState.FAILED])] == ["job3"]
    assert store.get_job("job3").error_code == "changed"
    assert store.get_job("job3").error_text == "the entry changed"
    assert store.totals()[JobState.QUEUED] == 6
    assert store.totals()[JobState.FAILED] == 1
    assert store.totals()[JobState.DONE] == 0


def test_the_same_entry_finds_its_job_until_it_ended(store):
    store.add_job(job())
    store.add_job(job("top", path=None))
    same = (GROUP, ANNA, "Films", PATH)
    assert store.find_same(*same).id == "one"
    assert store.find_same(GROUP, ANNA, "Films", None).id == "top"
    assert store.find_same(OTHER, *same[1:]) is None
    assert store.find_same(GROUP, BOB, *same[2:]) is None
    assert store.find_same(GROUP, ANNA, "Music", PATH) is None

    store.update_job("one", JobState.CANCELLED)
    assert store.find_same(*same) is None
    assert store.find_same(*same, also_ended=True).id == "one"


def test_forgetting_a_group_forgets_its_jobs_and_their_files_only(store):
    store.add_job(job(), [file()])
    store.add_job(job("kept", group=OTHER), [file(job_id="kept")])
    store.forget_group(GROUP)

    assert [one.id for one in store.jobs()] == ["kept"]
    assert store.files("kept") == [file(job_id="kept")]
    with pytest.raises(NotFound):
        store.files("one")


def test_the_jobs_that_ended_last_are_kept_failed_ones_for_themselves(store):
    for number in range(7):
        store.add_job(job(f"job{number}"))
    for number in (5, 0, 6, 1):  # not as they were asked for
        store.update_job(f"job{number}", JobState.DONE)
    store.update_job("job3", JobState.FAILED)
    store.update_job("job4", JobState.FAILED)

    assert store.ended.surplus(over=2, failed=2) == ["job0", "job5"]
    assert store.ended.surplus(over=4, failed=1) == ["job3"]
    assert store.ended.over() == ["job1", "job6", "job0", "job5"]
    store.update_job("job3", JobState.QUEUED)
    assert store.ended.surplus(over=4, failed=1) == []


def test_the_jobs_of_follows_push_nobody_elses_off_and_stay_until_recorded(store):
    store.follows.put(Follow(0, "f", GROUP, ANNA, "Films", None, 1 << 20, False))
    store.add_job(job("owners"))
    store.update_job("owners", JobState.DONE)
    for number in range(4):
        store.add_job(job(f"job{number}", follow="f"))
        store.update_job(f"job{number}", JobState.DONE)
    assert store.ended.surplus(over=1) == []
    for number in range(3):
        store.follows.add_file("f", Fetched(0, f"job{number}", b"x", 1, 1))
    assert store.ended.surplus(over=1) == ["job1", "job0"]
    for number in range(4):
        store.add_job(job(f"gone{number}", follow="gone"))
        store.update_job(f"gone{number}", JobState.DONE)
    assert len(store.ended.surplus(over=1)) == 6, "whose follow has ended need not wait"


def test_of_a_folder_that_is_over_only_the_sums_are_kept(store):
    files = [file(n, str(n)) for n in range(3)]
    for name in ("folder", "file", "failed"):
        kind = "file" if name == "file" else "folder"
        rows = [replace(one, job=name) for one in files]
        store.add_job(replace(job(name), kind=kind), rows)
    assert store.ended.with_files() == []
    store.update_job("folder", JobState.DONE)
    store.update_job("file", JobState.DONE)
    store.update_job("failed", JobState.FAILED)  # it may go on
    assert store.ended.with_files() == ["folder"]
    store.ended.forget_files("folder")
    assert store.ended.with_files() == store.files("folder") == []
    assert store.get_job("folder").files == 3
    assert len(store.files("file")) == len(store.files("failed")) == 3


def test_a_state_of_the_first_version_gets_the_order_of_ending(tmp_path):
    path, schema = tmp_path / "state.db", tmp_path / "schema"
    schema.mkdir()
    first = database.SCHEMA_FOLDER / "state-0001.sql"
    (schema / first.name).write_bytes(first.read_bytes())
    connection = database.open_database(
        path, "state", synchronous="FULL", schema_folder=schema
    )
    for number, state in enumerate(("done", "failed", "done")):
        connection.execute(
            "INSERT INTO job (number, id, grp, member, share, path, kind, name, target,"
            " state, error_code, error_text, created, position)"
            " VALUES (?, ?, x'', x'', '', x'', 'file', '', x'', ?, '', '', 0, ?)",
            (number, f"job{number}", state, number),
        )
    database.close_database(connection, path)
    store = StateStore(path, "disk", clock=lambda: 0.0)
    try:
        assert store.ended.surplus(over=1) == ["job0"]
        store.update_job("job0", JobState.DONE)
        assert store.ended.surplus(over=1) == ["job2"]
    finally:
        store.close()


def test_unknown_jobs_and_files_are_told_as_such(store):
    store.add_job(job(), [file(3)])
    store.delete_job("unknown")
    for ask in (
        lambda: store.get_job("unknown"),
        lambda: store.update_job("unknown", JobState.DONE),
        lambda: store.files("unknown"),
        lambda: store.add_files("unknown", []),
        lambda: store.get_file("one", 2),
        lambda: store.update_file(file(4)),
    ):
        with pytest.raises(NotFound):
            ask()
    with pytest.raises(NotFound) as caught:
        store.get_job("unknown")
    assert caught.value.next == "See `fonshare jobs`."


# --- a model, and a kill at every statement -----------------------------------------

NUMBERS = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.just("lease"), st.integers(1, 50)),
    st.tuples(st.just("document"), NUMBERS, st.none() | st.integers()),
    st.tuples(st.just("add"), NUMBERS, st.integers(0, 60)),
    st.tuples(st.just("update"), NUMBERS, st.integers(0, 60), st.integers(0, 10)),
    st.tuples(st.just("delete"), NUMBERS),
)


def act(store, action):
    """Do *action* on a store; what cannot be done is nothing."""
    match action:
        case ("lease", count):
            store.lease_counters(GROUP, 1, count)
        case ("document", number, value):
            store.put_document(f"d{number}", value)
        case ("add", number, count) if not store.find_job(f"j{number}"):
            name = f"j{number}"
            files = (file(n, name, root=Root(os.urandom(32))) for n in range(count))
            store.add_job(job(name), files)
        case ("update", number, index, done):
            if (found := store.find_job(f"j{number}")) and index < found.files:
                old = store.get_file(found.id, index)
                state = JobState.DONE if done == 10 else JobState.RUNNING
                store.update_file(replace(old, done_bytes=done, state=state))
        case ("delete", number):
            store.delete_job(f"j{number}")


def picture(store):
    """Everything in the store, as one comparable value."""
    tables = ("counter", "document", "job", "job_file")
    return {name: store._rows(f"SELECT * FROM {name}") for name in tables}


def check_sums(store):
    for one in store.jobs():
        files = store.files(one.id, limit=1000)
        assert one.files == len(files)
        assert one.files_done == sum(f.state is JobState.DONE for f in files)
        assert one.size == sum(f.size for f in files)
        assert one.done_bytes == sum(f.done_bytes for f in files)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)
@given(actions=st.lists(ACTIONS, max_size=8), seed=st.integers(0, 100))
def test_a_kill_at_any_statement_leaves_all_of_an_action_or_nothing(
    tmp_path_factory, actions, seed
):
    place = tmp_path_factory.mktemp("killed") / "state.db"
    store = StateStore(place, "disk", Clock())
    store._connection.execute("PRAGMA cache_size = 3")  # pages reach the disk early
    copies: list[Path] = []

    def snapshot(_statement):
        # What a kill would leave: the files as they are now, journal and all.
        count = snapshot.count = snapshot.count + 1
        if (count + seed) % 5 == 0 and len(copies) < 8:
            copy = place.parent / f"copy{len(copies)}"
            copy.mkdir()
            for found in place.parent.glob("state.db*"):
                shutil.copy(found, copy)
            copies.append(copy)

    snapshot.count = 0
    for action in actions:
        before = picture(store)
        copies.clear()
        store._connection.set_trace_callback(snapshot)
        act(store, action)
        store._connection.set_trace_callback(None)
        after = picture(store)
        for copy in copies:
            killed = StateStore(copy / "state.db", "disk", Clock())
            assert killed.recovered is None
            assert picture(killed) in (before, after)
            check_sums(killed)
            killed.close()
            shutil.rmtree(copy)
    check_sums(store)
    store.close()


# --- damage, backups, lives ---------------------------------------------------------


def damage(place):
    place.write_bytes(place.read_bytes()[:1000] + b"\xff" * 5000)
    (place.parent / "state.db-clean").unlink(missing_ok=True)


def test_a_damaged_state_is_brought_back_from_the_newest_backup(store, place, clock):
    for number in range(3):
        store.add_job(job(f"job{number}"))
        store.back_up()
    store.begin_life(b"life")
    store.back_up()
    store.add_job(job("lost"))
    store.close()
    damage(place)

    again = StateStore(place, "disk", clock)
    assert "brought back from state.db.backup-" in again.recovered
    assert [one.id for one in again.jobs()] == ["job0", "job1", "job2"]
    assert again.life() is None
    assert (place.parent / "state.db.damaged").exists()
    again.close()
    assert StateStore(place, "disk", clock).recovered is None


def test_when_the_newest_backup_is_damaged_too_the_other_serves(store, place, clock):
    store.add_job(job("old"))
    store.back_up()
    store.add_job(job("new"))
    store.back_up()
    store.close()
    newest = max(place.parent.glob("*.backup-?"), key=lambda p: p.stat().st_mtime_ns)
    for path in (place, newest):
        damage(path)

    again = StateStore(place, "disk", clock)
    assert [one.id for one in again.jobs()] == ["old"]
    again.close()


def test_a_state_that_is_gone_is_brought_back_too(store, place, clock):
    store.add_job(job())
    store.back_up()
    store.begin_life(b"life")
    store.close()
    place.unlink()

    again = StateStore(place, "disk", clock)
    assert "gone" in again.recovered
    assert again.find_job("one")
    assert again.life() is None
    again.close()


def test_with_no_good_backup_the_state_begins_anew_and_says_so(store, place, clock):
    store.add_job(job())
    store.close()
    damage(place)
    (place.parent / "state.db.backup-1").write_bytes(b"rubbish")

    again = StateStore(place, "disk", clock)
    assert "begins anew" in again.recovered
    assert again.jobs() == []
    again.close()


def test_a_state_of_a_newer_version_is_left_alone(store, place, clock):
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    before = place.read_bytes()

    with pytest.raises(DatabaseTooNew):
        StateStore(place, "disk", clock)
    assert place.read_bytes() == before


def test_backups_are_made_once_per_period_and_only_after_a_change(store, place, clock):
    def backups():
        return sorted(path.name for path in place.parent.glob("*.backup-*"))

    store.put_document("a", 1)
    assert not store.back_up_if_due()
    clock.now = BACKUP_PERIOD_S
    assert store.back_up_if_due()
    assert not store.back_up_if_due()
    clock.now *= 2
    assert not store.back_up_if_due()
    assert len(backups()) == 1
    store.put_document("a", 2)
    assert store.back_up_if_due()
    assert backups() == ["state.db.backup-1", "state.db.backup-2"]


def test_a_backup_that_fails_leaves_the_one_before(store, place, clock, monkeypatch):
    store.add_job(job())
    store.back_up()
    store.back_up()
    good = {path: path.read_bytes() for path in place.parent.glob("*.backup-?")}
    assert len(good) == 2

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, StorageError)):
        store.back_up()
    assert {path: path.read_bytes() for path in good} == good


def test_a_backup_that_is_not_sound_does_not_take_the_place_of_a_good_one(store, place):
    store.back_up()
    store.back_up()
    good = {path: path.read_bytes() for path in place.parent.glob("*.backup-?")}

    class Failing:
        def __getattr__(self, name):
            return getattr(store._connection, name)

        def backup(self, copy):
            store._connection.backup(copy)
            copy.execute("PRAGMA writable_schema = ON")
            copy.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'job'")

    with pytest.raises(DatabaseDamaged):
        back_up(Failing(), place)
    assert {path: path.read_bytes() for path in good} == good


def test_a_backup_carries_no_life_even_if_it_gets_the_inode_of_the_lost_file(
    store, place
):
    store.begin_life(b"life")
    store.back_up()

    with contextlib.closing(sqlite3.connect(f"{place}.backup-2")) as backup:
        assert backup.execute("SELECT life FROM meta").fetchone() == (None,)


def test_only_the_owner_can_read_the_state_and_its_backups(store, place):
    store.back_up()
    modes = {path.stat().st_mode & 0o777 for path in place.parent.glob("state.db*")}
    assert modes == {0o600}


def test_a_life_holds_until_the_file_is_copied_or_on_another_disk(store, place):
    assert store.life() is None
    store.begin_life(b"life")
    again = reopened(store, place)
    assert again.life() == b"life"
    other = reopened(again, place, disk_id="another")
    assert other.life() is None
    other.close()
    shutil.copy(place, place.with_suffix(".tar"))
    place.with_suffix(".tar").replace(place)  # as somebody's own backup would do

    assert StateStore(place, "disk", Clock()).life() is None


def test_a_thousand_updates_of_a_large_job_stay_quick(store):
    """The sums must not be counted anew with each change."""
    steps = []
    store.add_job(job(), (file(n) for n in range(20_000)))
    store._connection.execute("PRAGMA synchronous = OFF")
    store._connection.set_progress_handler(lambda: steps.append(1), 100)
    for number in range(300):
        store.update_file(file(number, state=JobState.DONE, done_bytes=10))
    store._connection.set_progress_handler(None, 0)
    # Instructions of SQLite's machine, in hundreds; adding up takes 20,000 a row.
    assert len(steps) < 300 * 20
    assert store.get_job("one").files_done == 300
