"""The watcher: what the kernel tells becomes paths to look at."""

import os

import pytest

from fonshare_agent import libc
from fonshare_agent.group_side import GroupSide
from fonshare_agent.index import scanner as scanner_module
from fonshare_agent.index import watcher as watcher_module
from fonshare_agent.index.watcher import Watcher
from fonshare_agent.settings import ShareSettings
from index_nodes import FAMILLE, Node
from waiting import wait_until


class Heard:
    def __init__(self):
        self.paths, self.unseen = [], []

    def names(self):
        return {os.fsdecode(os.path.basename(path)) for path in self.paths}


@pytest.fixture
def watch(tmp_path):
    """Return what watches *tmp_path*/share; it hears into a Heard."""
    watchers = []

    def begin(**options):
        heard = Heard()
        watcher = Watcher(heard.paths.append, heard.unseen.append, **options)
        watchers.append(watcher)
        watcher.start()
        share = tmp_path / "share"
        share.mkdir(exist_ok=True)
        watcher.set_shares({"Films": share})
        probe = share / "probe"

        def is_watching():
            probe.write_bytes(b"x")
            return "probe" in heard.names()

        wait_until(is_watching, "the share is watched")
        return watcher, heard, share

    yield begin
    for watcher in watchers:
        watcher.stop()


def test_a_file_is_announced_when_it_is_closed_and_not_before(watch):
    _, heard, share = watch()
    with (share / "slow").open("wb") as file:
        file.write(b"begun")
        file.flush()
        (share / "marker").write_bytes(b"")
        wait_until(lambda: "marker" in heard.names(), "the marker is heard")
        assert "slow" not in heard.names()
    wait_until(lambda: "slow" in heard.names(), "the file is heard")


def test_a_share_that_is_away_is_watched_when_it_comes_back(watch, tmp_path):
    _, heard, share = watch()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "private.txt").write_bytes(b"x")
    share.rename(tmp_path / "away")
    wait_until(lambda: heard.paths[-1] == os.fsencode(share), "it went")
    share.mkdir()
    (share / "first").mkdir()

    def is_watching():
        (share / "first" / "new").write_bytes(b"x")
        return "new" in heard.names()

    wait_until(is_watching, "what is in it is heard")
    assert os.fsencode(share) in heard.paths
    assert not {"beside", "private.txt", "away"} & heard.names()


def test_renaming_deleting_and_linking_are_heard(watch, tmp_path):
    _, heard, share = watch()
    (share / "a").write_bytes(b"")
    (share / "a").rename(share / "b")
    (share / "c").hardlink_to(share / "b")
    (tmp_path / "out").write_bytes(b"")
    (tmp_path / "out").rename(share / "in")
    wait_until(lambda: {"a", "b", "c", "in"} <= heard.names(), "all are heard")
    heard.paths.clear()
    (share / "b").unlink()
    wait_until(lambda: "b" in heard.names(), "the deletion is heard")


def test_what_happens_in_a_new_folder_is_heard_but_not_in_our_own(watch):
    _, heard, share = watch()
    (share / ".fonshare").mkdir()
    (share / ".fonshare" / "secret").write_bytes(b"")
    (share / "new").mkdir()
    wait_until(lambda: "new" in heard.names(), "the folder is heard")

    def is_heard():
        (share / "new" / "inside").write_bytes(b"")
        return "inside" in heard.names()

    wait_until(is_heard, "the file in the new folder is heard")
    assert not {".fonshare", "secret"} & heard.names()


def test_without_watches_left_folders_are_counted_and_the_rest_still_works(watch):
    watcher, heard, share = watch(watches_max=1)
    (share / "unwatched").mkdir()
    wait_until(lambda: watcher.report().unwatched == 1, "the folder is counted")
    (share / "seen").write_bytes(b"")
    wait_until(lambda: "seen" in heard.names(), "the share itself is watched")


def test_a_share_that_is_no_longer_wanted_is_not_heard(watch, tmp_path):
    watcher, heard, share = watch()
    other = tmp_path / "other"
    other.mkdir()
    watcher.set_shares({"Other": other})

    def is_watching():
        (other / "probe2").write_bytes(b"")
        return "probe2" in heard.names()

    wait_until(is_watching, "the other share is watched")
    heard.paths.clear()
    (share / "unheard").write_bytes(b"")
    (other / "heard").write_bytes(b"")
    wait_until(lambda: "heard" in heard.names(), "the other share is heard")
    assert "unheard" not in heard.names()


def test_a_renamed_folder_is_heard_under_its_new_name(watch):
    watcher, heard, share = watch()
    (share / "old" / "deep").mkdir(parents=True)
    wait_until(lambda: watcher.report().watched == 3, "all are watched")
    (share / "old").rename(share / "new")
    wait_until(lambda: "new" in heard.names(), "the renaming is heard")
    (share / "new" / "one").write_bytes(b"x")
    (share / "new" / "deep" / "two").write_bytes(b"x")
    wait_until(lambda: {"one", "two"} <= heard.names(), "what is in it is heard")
    assert os.fsencode(share / "new" / "one") in heard.paths


def test_a_folder_that_is_carried_away_gives_its_watches_back(watch, tmp_path):
    watcher, heard, share = watch()
    (share / "a" / "b" / "c").mkdir(parents=True)
    wait_until(lambda: watcher.report().watched == 4, "all are watched")
    (share / "a").rename(tmp_path / "elsewhere")
    wait_until(lambda: watcher.report().watched == 1, "the share alone is")
    (tmp_path / "elsewhere" / "b" / "secret").write_bytes(b"x")
    (share / "marker").write_bytes(b"x")
    wait_until(lambda: "marker" in heard.names(), "the share is heard")
    assert "secret" not in heard.names()


def test_nothing_is_missed_while_the_shares_are_said_anew(watch):
    watcher, heard, share = watch()
    for number in range(50):
        watcher.watch_anew()
        (share / str(number)).write_bytes(b"x")
    names = {str(number) for number in range(50)}
    wait_until(lambda: names <= heard.names(), "every file is heard")


def refusing(monkeypatch, refuse):
    """Let *refuse* see every call of the kernel first, while it is in the list."""
    refusals = [refuse]

    def libc_call(name, *kinds):
        really = libc.libc_call(name, *kinds)

        def call(*arguments):
            for refuse in refusals:
                refuse(name, arguments)
            return really(*arguments)

        return call

    monkeypatch.setattr(watcher_module, "libc_call", libc_call)
    return refusals


def test_a_kernel_without_watches_left_is_not_asked_again_and_again(watch, monkeypatch):
    asked = []

    def refuse(name, arguments):
        if name == "inotify_add_watch" and b"more" in arguments[1]:
            asked.append(arguments[1])
            raise OSError(28, "No space left on device")

    kernel = refusing(monkeypatch, refuse)
    watcher, heard, share = watch()
    for number in range(20):
        (share / f"more{number}").mkdir()
    wait_until(lambda: watcher.report().unwatched == 20, "all are counted")
    assert len(asked) == 1
    (share / "seen").write_bytes(b"x")
    wait_until(lambda: "seen" in heard.names(), "the share itself is watched")
    kernel.clear()  # the limit was raised
    watcher.watch_anew()
    wait_until(lambda: watcher.report().unwatched == 0, "now all are watched")


def test_without_an_inotify_instance_it_lives_and_tries_later(tmp_path, monkeypatch):
    def refuse(name, arguments):
        if name == "inotify_init1":
            raise OSError(24, "Too many open files")

    kernel = refusing(monkeypatch, refuse)
    heard = Heard()
    watcher = Watcher(heard.paths.append, heard.unseen.append)
    watcher.start()
    try:
        (tmp_path / "share").mkdir()
        watcher.set_shares({"Films": tmp_path / "share"})
        wait_until(lambda: watcher.report().unwatched, "it says so")
        assert watcher.report().lacks_instance
        kernel.clear()
        watcher.watch_anew()

        def is_heard():
            (tmp_path / "share" / "a").write_bytes(b"x")
            return "a" in heard.names()

        wait_until(is_heard, "an instance is free")
        assert not watcher.report().lacks_instance
    finally:
        watcher.stop()


# --- what changes before it is watched ---


class Watched:
    """A node and its watcher, wired as in the agent; each acts when a test says so."""

    def __init__(self, folder):
        self.node = Node(folder)
        self.scanner = self.node.scanner
        self.watcher = Watcher(self.scanner.on_change, self.scanner.rescan)
        self._on_shares = lambda shares: None

    def set_shares(self, *names):
        self.node.index.publish({name: frozenset([FAMILLE]) for name in names})
        shares = [ShareSettings(name, self.node.share(name), ()) for name in names]
        GroupSide._set_shares(self, tuple(shares))

    def watch(self):
        """Do what the watcher's thread does when it is woken."""
        if self.watcher._is_due():
            self.watcher._follow_wishes()
        self.watcher.read_events()

    def settle(self):
        """Let both threads do all they have to do."""
        for _ in range(3):
            self.watch()
            self.node.clock += 1.0  # the scanner waits that long for the same place
            self.node.settle()

    def found(self):
        return self.node.names("mkv")


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path / "alice")
    yield made
    made.watcher.stop()
    made.node.close()


def test_what_comes_into_a_new_share_before_it_is_watched_is_found(watched):
    watched.set_shares("Films")
    watched.node.settle()  # the scanner's thread is the quicker one
    share = watched.node.share()
    (share / "early.mkv").write_bytes(b"x")
    (share / "folder").mkdir()
    (share / "folder" / "deep.mkv").write_bytes(b"x")
    watched.settle()
    assert watched.found() == ["Films/early.mkv", "Films/folder/deep.mkv"]


def test_what_is_written_on_while_its_share_is_not_yet_watched_is_seen_whole(watched):
    share = watched.node.share()
    with (share / "slow.mkv").open("wb") as file:
        file.write(b"x")
        file.flush()
        watched.set_shares("Films")
        watched.node.settle()
        file.write(b"y" * 9)
    watched.settle()
    [found] = watched.node.index.search("slow").found
    assert found.size == 10


def test_a_share_that_nobody_ever_says_is_watched_is_scanned_all_the_same(watched):
    (watched.node.share() / "a.mkv").write_bytes(b"x")
    watched.set_shares("Films")
    watched.node.settle()
    assert watched.node.scanner.report().is_scanning  # not: all is seen
    watched.node.clock += scanner_module.WATCH_S
    watched.node.settle()
    assert watched.found() == ["Films/a.mkv"]
    assert not watched.node.scanner.report().is_scanning


def test_a_share_that_goes_and_comes_back_at_once_is_scanned(watched):
    watched.set_shares("Films")
    watched.settle()
    watched.set_shares()
    (watched.node.share() / "a.mkv").write_bytes(b"x")
    watched.set_shares("Films")
    watched.settle()
    assert watched.found() == ["Films/a.mkv"]


def test_shares_said_again_are_not_scanned_again(watched):
    watched.set_shares("Films")
    watched.settle()
    watched.set_shares("Films", "Music")
    watched.watch()
    assert watched.node.scanner._schedule.next_due() > watched.node.clock + 1000


def test_what_another_disk_has_under_the_same_name_is_found(watched):
    watched.set_shares("Films")
    watched.settle()
    share = watched.node.share()
    share.rename(share.with_name("old"))
    watched.watcher.read_events()
    watched.node.settle()
    (share / "new").mkdir(parents=True)
    (share / "new" / "a.mkv").write_bytes(b"x")
    watched.watcher.watch_anew()
    watched.settle()
    (share / "new" / "b.mkv").write_bytes(b"x")
    watched.settle()
    assert watched.found() == ["Films/new/a.mkv", "Films/new/b.mkv"]


def test_after_more_than_the_kernel_keeps_new_folders_are_watched_as_well(watched):
    watched.set_shares("Films")
    watched.settle()
    share = watched.node.share()
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        kept = int(file.read())
    places = [share / "a.mkv", share / "b.mkv"]
    for place in places:
        place.write_bytes(b"x")
    for number in range(kept + 1):  # in turns: the kernel keeps one of two alike
        os.utime(places[number % 2])
    (share / "new").mkdir()
    watched.settle()
    (share / "new" / "c.mkv").write_bytes(b"x")
    watched.settle()
    assert watched.found() == ["Films/a.mkv", "Films/b.mkv", "Films/new/c.mkv"]
