"""Follows over a real index, state.db and disk; what jobs bring is put there here."""

import os
import stat
import time
from dataclasses import replace

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import UsageError
from fonshare_agent.index.records import Delta
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_follows import FILE_BYTES_MIN, Follow
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import IndexId, JobState, Root, SharePath
from fonshare_agent.protocol.fields import Change
from fonshare_agent.social.follow import FULL_RETRY_S, LOOK_S, RETRY_S, Following
from fonshare_agent.social.holding import Holding
from index_nodes import ALICE, BOB, FAMILLE, Node
from waiting import PATIENCE_S

SIZE = 7000
INDEX = IndexId(b"12345678")


def root(text: str) -> Root:
    return Root(text.encode().ljust(32, b"."))


class Jobs:
    """Stands for the queue of jobs: keeps them in state.db."""

    def __init__(self, world) -> None:
        self.world, self.made = world, 0

    async def add(self, found, to, mark=None, follow=None):
        return await self.world.store.run(self._add, found, to, follow)

    def _add(self, found, to, follow):
        place = found.group, found.member, found.share, found.path
        state = self.world.state
        same = state.find_same(*place)
        self.made += 1
        job = Job(
            *(f"j{self.made}", *place, "file", str(found.path), os.fsencode(to), 0),
            follow=follow,
        )
        file = JobFile(job.id, 0, found.path, found.size, found.modified, found.root)
        return same or state.add_job(job, [file])

    async def cancel(self, job_id):
        state = self.world.state
        await self.world.store.run(state.update_job, job_id, JobState.CANCELLED)


class World:
    def __init__(self, folder) -> None:
        self.folder = folder
        self.node = Node(folder / "alice")
        self.index = self.node.index
        self.now = 1000.0
        self.core = Core(lambda: self.now)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.state = StateStore(folder / "state.db", "disk", lambda: self.now)
        (folder / "disk").mkdir()
        self.disk = Disk(folder / "disk", folder / "disk-id", os.urandom)
        self.disk.open()
        self.store.start()
        self.files.start()
        self.jobs = Jobs(self)
        self.begin()

    def begin(self):
        """As after a start."""
        holding = Holding(self.store, self.files, self.state, self.disk)
        self.follows = Following(
            *(self.core, self.store, self.index, self.state, self.jobs, holding),
            lambda group, member: str(self.folder / "disk" / "downloads"),
            ALICE,
        )
        self.run(self.follows.load())

    def run(self, work):
        promise = self.core.spawn(work)
        self.run_until(lambda: promise.is_settled)
        return promise.result()

    def run_until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            self.core.post(lambda: time.sleep(0.0002))  # the other threads' turn
            self.core.run_once()

    def settle(self, after_s=LOOK_S):
        """Let all looks end that are due within that time."""
        self.now += after_s

        turns = iter(range(20))  # timers that are due come first

        def rests():
            self.now += 0.001
            states = self.follows._states.values()
            return next(turns, None) is None and not any(
                one.is_looking for one in states
            )

        self.run_until(rests)

    def tell(self, *changes, index=INDEX):
        """Let bob tell of (path, root or None while it is hashed, size)."""
        known, head = self.index.replica_head(FAMILLE, BOB)
        head = head if known == index else 0
        listed = [
            Change("Films", SharePath.parse(path), size, 1000, of, deleted=size < 0)
            for path, of, size in (((*one, SIZE)[:3]) for one in changes)
        ]
        upto = head + len(listed)
        delta = Delta(index, head, upto, listed)
        self.store.run_and_wait(
            lambda: self.index.apply_delta(FAMILLE, BOB, delta, complete_at=upto)
        )
        self.follows.note_changes(FAMILLE, BOB, listed)
        self.settle()

    def offer(self, *names):
        self.tell(*((name, root(name)) for name in names))

    def follow(self, path=None, budget=1_000_000, wants_all=False, **more):
        path = None if path is None else SharePath.parse(path)
        found = self.store.run_and_wait(
            lambda: self.index.resolve(FAMILLE, BOB, "Films", path)
        )
        follow = Follow(
            *(0, found.id, FAMILLE, BOB, "Films", path, budget, wants_all), **more
        )
        self.run(self.follows.add(follow))
        self.settle()
        [kept] = [one for one in self.follows.all() if one.id == follow.id]
        return kept

    def wanted(self):
        """The names of the follows' jobs that there are."""
        jobs = self.store.run_and_wait(self.state.jobs)
        return [job.name for job in jobs if job.follow]

    def place(self, job):
        return os.path.join(os.fsdecode(job.target), job.name.rpartition("/")[2])

    def finish(self, name):
        """Let the newest job of that name bring its file; return its place."""
        jobs = self.store.run_and_wait(self.state.jobs)
        job = [one for one in jobs if one.name == name][-1]
        file = self.store.run_and_wait(lambda: self.state.get_file(job.id, 0))
        os.makedirs(job.target, exist_ok=True)
        place = self.place(job)
        with open(place, "wb") as there:
            there.write(bytes(file.size))
        os.utime(place, (file.modified, file.modified))
        done = replace(
            file, state=JobState.DONE, final_name=file.path.name, done_bytes=file.size
        )
        self.store.run_and_wait(lambda: self.state.update_file(done))
        self.store.run_and_wait(lambda: self.state.update_job(job.id, JobState.DONE))
        self.run(self.follows._settle(job.id))
        self.settle()
        return place

    def view(self, follow):
        return self.run(self.follows.view(follow))

    def close(self):
        self.store.run_and_wait(self.state.close)
        self.store.run_and_wait(self.node.close)
        self.store.stop()
        self.files.stop()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def test_what_was_there_is_left_and_what_comes_is_fetched_once(world):
    world.offer("old.mkv", "sub/older.mkv")
    follow = world.follow()
    assert world.wanted() == []
    assert world.view(follow) == ("following", 0, 0)
    world.offer("new.mkv", "sub/newer.mkv")
    assert world.wanted() == ["new.mkv", "sub/newer.mkv"]
    assert world.view(follow) == ("following", 2 * SIZE, 0)
    world.offer("new.mkv")  # said again
    world.tell(("moved.mkv", root("old.mkv")), ("again.mkv", root("new.mkv")))
    assert world.wanted() == ["new.mkv", "sub/newer.mkv"]
    world.tell(("old.mkv", root("another cut")))
    assert world.wanted()[2:] == ["old.mkv"]


@pytest.mark.full
def test_all_that_is_there_is_fetched_too_if_asked(world):
    world.offer("a", "b/c")
    world.follow(wants_all=True)
    assert world.wanted() == ["a", "b/c"]
    job = world.store.run_and_wait(world.state.jobs)[1]
    assert os.fsdecode(job.target).endswith("/downloads/Films/b")


@pytest.mark.full
def test_a_folder_is_followed_without_its_neighbours(world):
    world.offer("sub/a", "subway", "x")
    world.follow("sub")
    world.offer("sub/deep/b", "sub/c", "subway 2", "y/sub/d")
    assert sorted(world.wanted()) == ["sub/c", "sub/deep/b"]


@pytest.mark.full
def test_a_file_that_is_being_hashed_is_waited_for(world):
    world.tell(("old", None), ("gone", None))
    world.follow()
    world.tell(("new", None))
    assert world.wanted() == []
    world.tell(("old", root("old")), ("new", root("new")))
    assert world.wanted() == ["new"]  # the other one was there at the beginning
    world.tell(("old", root("changed")))
    assert world.wanted() == ["new", "old"]


@pytest.mark.full
def test_it_goes_on_over_a_restart_and_whatever_numbers_anew(world):
    world.offer("old")
    world.follow()
    world.offer("new")
    world.finish("new")
    known, head = world.index.replica_head(FAMILLE, BOB)
    change = Change("Films", SharePath.parse("missed"), SIZE, 9, root("missed"), False)
    delta = Delta(known, head, head + 1, [change])
    world.store.run_and_wait(
        lambda: world.index.apply_delta(FAMILLE, BOB, delta, complete_at=head + 1)
    )
    world.begin()  # the agent died before it looked
    world.settle()
    assert world.wanted() == ["new", "missed"]
    other = IndexId(b"87654321")
    world.tell(
        *((name, root(name)) for name in ("old", "new", "missed", "newer")), index=other
    )
    world.begin()
    world.settle()
    assert world.wanted() == ["new", "missed", "newer"]


@pytest.mark.full
def test_what_the_owner_has_deleted_does_not_come_again(world):
    world.offer("old")
    world.follow()
    world.offer("new")
    os.unlink(world.finish("new"))
    world.offer("new")
    world.begin()
    world.settle()
    world.tell(("copy", root("new")))
    assert world.wanted() == ["new"]


@pytest.mark.full
def test_a_withdrawn_share_waits_and_goes_on(world):
    world.offer("old")
    follow = world.follow()
    world.tell(("old", None, -1))
    assert world.view(follow)[0] == "gone"
    world.begin()
    world.settle()
    world.offer("old", "new")
    assert world.wanted() == ["new"]
    assert world.view(follow)[0] == "following"


@pytest.mark.full
def test_a_used_budget_stops_it_and_room_lets_it_go_on(world):
    world.offer("old")
    follow = world.follow(budget=2 * SIZE)
    world.tell(("huge", root("huge"), 3 * SIZE))
    world.offer("a", "b", "c")
    assert world.wanted() == ["a", "b"]
    assert world.view(follow) == ("full", 2 * SIZE, 0)
    places = [world.finish(name) for name in "ab"]
    assert world.wanted() == ["a", "b"]
    assert world.view(follow) == ("full", 2 * SIZE, 2)
    world.settle(FULL_RETRY_S)
    assert world.wanted() == ["a", "b"]
    os.unlink(places[0])  # the owner makes room
    world.settle(FULL_RETRY_S)
    world.settle()
    assert world.wanted() == ["b", "c"]
    assert world.view(follow) == ("following", 2 * SIZE, 1)


def test_the_smallest_file_takes_four_kibibytes_of_the_budget(world):
    world.offer("old")
    follow = world.follow(budget=2 * FILE_BYTES_MIN)
    world.tell(*((name, root(name), 1) for name in ("a", "b", "c")))
    assert world.wanted() == ["a", "b"]
    world.finish("a")
    assert world.view(follow) == ("full", 2 * FILE_BYTES_MIN, 1)


def test_the_files_are_summed_up_once_a_look_not_for_each_new_one(world, monkeypatch):
    world.offer("old")
    world.follow()
    sums, tables = [], world.state.follows
    sum_up = tables.used_bytes

    def count(follow):
        sums.append(follow)
        return sum_up(follow)

    monkeypatch.setattr(tables, "used_bytes", count)
    world.offer("a", "b", "c", "d", "e")
    assert world.wanted() == ["a", "b", "c", "d", "e"]
    assert len(sums) == 1


@pytest.mark.full
def test_a_budget_that_takes_no_file_at_all_is_refused(world):
    world.offer("old")
    with pytest.raises(UsageError, match="used before the first file"):
        world.follow(budget=FILE_BYTES_MIN - 1)
    assert world.follows.all() == []


def test_a_larger_budget_lets_it_go_on_and_keeps_what_was_seen(world):
    world.offer("old")
    world.follow(budget=SIZE)
    world.offer("a", "b")
    assert world.wanted() == ["a"]
    world.follow(budget=5 * SIZE)
    assert world.wanted() == ["a", "b"]


@pytest.mark.full
def test_a_missing_disk_is_no_room(world):
    world.offer("old")
    follow = world.follow(budget=SIZE)
    world.offer("a")
    world.finish("a")
    away = world.folder / "away"
    os.rename(world.folder / "disk", away)
    (world.folder / "disk").mkdir()  # an empty mount point
    world.offer("b")
    assert world.wanted() == ["a"]
    assert world.view(follow)[1:] == (SIZE, 1)
    os.rmdir(world.folder / "disk")
    os.rename(away, world.folder / "disk")
    world.settle(RETRY_S)
    world.settle()
    assert world.wanted() == ["a"]
    assert world.view(follow) == ("full", SIZE, 1)


@pytest.mark.full
def test_only_so_many_jobs_are_open_at_once(world, monkeypatch):
    monkeypatch.setattr("fonshare_agent.social.follow.OPEN_JOBS_MAX", 2)
    world.offer("a", "b", "c", "d")
    world.follow(wants_all=True)
    assert world.wanted() == ["a", "b"]
    world.finish("a")
    assert world.wanted() == ["a", "b", "c"]
    world.finish("b")
    world.finish("c")
    assert world.wanted() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("kind", ["fifo", "socket", "link"])
def test_what_lies_in_a_files_place_is_not_the_file(world, kind):
    world.offer("old")
    follow = world.follow(budget=SIZE)
    world.offer("a", "b")
    place = world.finish("a")
    os.unlink(place)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, 0o600 | stat.S_IFSOCK)
    else:
        os.symlink("/dev/null", place)
    world.settle(FULL_RETRY_S)
    world.settle()
    assert world.wanted() == ["b"]
    assert world.view(follow) == ("following", SIZE, 0)


def test_what_is_to_be_looked_at_is_bounded_while_a_walk_goes_on(world, monkeypatch):
    monkeypatch.setattr("fonshare_agent.social.follow.PATHS_MAX", 3)
    world.offer("old")
    follow = world.follow()
    [state] = world.follows._states.values()
    state.is_looking = True  # it goes on for long
    for number in range(10):
        path = SharePath.parse(f"new{number}")
        change = Change("Films", path, SIZE, 9, root(f"{number}"), False)
        world.follows.note_changes(FAMILLE, BOB, [change])
        assert len(state.paths) <= 3
    assert state.is_whole
    state.is_looking = False
    world.offer("new")
    assert world.wanted() == ["new"]
    assert world.view(follow)[0] == "following"


@pytest.mark.full
def test_two_follows_do_not_fetch_one_content_twice(world):
    world.offer("sub/old")
    world.follow("sub")
    world.follow()
    world.offer("sub/new")
    assert world.wanted() == ["sub/new"]
    world.tell(("copy", root("sub/new")))
    assert world.wanted() == ["sub/new"]


@pytest.mark.full
def test_the_owner_who_stops_following_keeps_what_came(world):
    world.offer("old")
    follow = world.follow()
    world.offer("a", "b")
    place = world.finish("a")
    world.run(world.follows.remove(follow))
    assert os.path.exists(place)
    states = {
        job.name: (job.state, job.follow)
        for job in world.store.run_and_wait(world.state.jobs)
    }
    assert states == {"a": (JobState.DONE, None), "b": (JobState.CANCELLED, None)}
    world.offer("c")
    world.begin()
    assert world.follows.all() == []
    assert len(world.store.run_and_wait(world.state.jobs)) == 2


@pytest.mark.full
def test_what_the_owner_gets_is_the_owners(world):
    world.offer("old")
    follow = world.follow()
    world.offer("a")
    world.finish("a")
    job = world.store.run_and_wait(world.state.jobs)[0]
    world.store.run_and_wait(lambda: world.state.follows.claim(job.id))
    assert world.view(follow) == ("following", 0, 0)


@pytest.mark.full
def test_leaving_the_group_ends_its_follows(world):
    world.offer("old")
    world.follow()
    world.follows.drop_group(FAMILLE)
    world.store.run_and_wait(lambda: world.state.forget_group(FAMILLE))
    assert world.follows.all() == []
    assert not world.store.run_and_wait(world.state.has_follows)


@pytest.mark.full
def test_a_file_is_on_record_though_the_agent_died_when_it_came(world):
    world.offer("old")
    follow = world.follow()
    world.offer("a")
    world.follows.stop()

    async def dies(job):
        """Nothing is put on record any more."""

    world.follows._settle = dies
    world.finish("a")
    assert world.view(follow) == ("following", SIZE, 0)
    world.begin()
    assert world.view(follow) == ("following", SIZE, 1)


@pytest.mark.full
def test_what_is_kept_goes_to_its_own_folder_as_the_place_has_it(world):
    world.offer("2020/a.mkv", "2020/deep/b.mkv", "c.mkv")
    world.follow("2020", wants_all=True, folder=b"kept/Famille/2020")
    assert world.wanted() == ["2020/a.mkv", "2020/deep/b.mkv"]
    below = str(world.folder / "disk" / "kept" / "Famille" / "2020")
    assert world.finish("2020/a.mkv") == below + "/a.mkv"
    assert world.finish("2020/deep/b.mkv") == below + "/deep/b.mkv"
    world.begin()
    world.offer("2020/new.mkv")
    assert world.finish("2020/new.mkv") == below + "/new.mkv"


@pytest.mark.full
def test_what_another_follow_has_brought_is_fetched_once_more_to_be_kept(world):
    world.offer("a.mkv")
    world.follow(wants_all=True)
    world.finish("a.mkv")
    world.tell(("2020/copy.mkv", root("a.mkv")))
    assert world.wanted() == ["a.mkv"]
    world.follow("2020", wants_all=True, folder=b"kept/x")
    assert world.wanted() == ["a.mkv", "2020/copy.mkv"]
