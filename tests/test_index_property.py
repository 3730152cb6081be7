"""Whatever is done to the files, the index ends up equal to the tree.

Once with what the kernel tells the watcher and no scan at all, once with scans alone.
The watcher is not run as a thread here: what the kernel noted is read between two
steps, so that a failure repeats.
"""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fonshare_agent.index import holdback, offering, walk
from fonshare_agent.index.watcher import Watcher
from fonshare_agent.protocol.content import RootHasher
from index_nodes import ALICE, BOB, FAMILLE, Node

NAMES = [
    b"a",
    b"b",
    b"B",
    "é".encode(),
    "e\u0301".encode(),
    b"\xff\xfe",
    b"new\nline",
    b" x ",
    b"-rf",
    b"n" * 255,
]
# Few names are drawn often, so that operations meet each other's files.
names = st.one_of(st.sampled_from(NAMES[:2]), st.sampled_from(NAMES))
places = st.lists(names, min_size=1, max_size=3).map(b"/".join)


def root_of(content):
    hasher = RootHasher(len(content))
    hasher.update(content)
    return hasher.finish()


def is_folder(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def remove(path: bytes) -> None:
    """Remove whatever is there; rmtree would wait at a pipe for somebody to write."""
    if is_folder(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


class Tree(RuleBasedStateMachine):
    """Random operations on one share; subclasses say how the index hears of them."""

    hears = True

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fonshare-tree-"))
        self.node = Node(self.folder / "alice")
        self.share = os.fsencode(self.node.share())
        self.version = 0
        self.is_published = True
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(walk, "BATCH", 3)
        self.patch.setattr(offering, "RUN_LEAST", 2)
        self.friend = Node(self.folder / "bob", BOB)
        self.watcher = Watcher(self.heard, self.node.scanner.rescan)
        self.node.publish(Films=[FAMILLE])
        self.watcher.set_shares({"Films": self.node.share()})
        self.watcher._follow_wishes()

    def heard(self, path):
        if self.hears:
            self.node.scanner.on_change(path)

    def teardown(self):
        try:
            self.compare()
        finally:
            self.watcher.stop()
            self.node.close()
            self.friend.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    @initialize(count=st.integers(0, 3))
    def begin(self, count):
        """Some files more than a handful, so that most may go missing at once."""
        for number in range(count * 5):
            self.put(b"d%d/%d" % (number % 3, number), b"begin")

    # --- operations ---

    def at(self, place):
        return self.share + b"/" + place

    def put(self, place, content):
        path = self.at(place)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK  # a pipe blocks
        with open(os.open(path, flags, 0o666), "wb") as file:
            file.write(content)
        self.date(path)

    def date(self, path):
        """Give *path* a time of its own: within a tick of the clock two are equal."""
        self.version += 1
        os.utime(path, (self.version * 10, self.version * 10))

    @rule(place=places, size=st.integers(0, 9))
    def write(self, place, size):
        with impossible_is_fine():
            self.put(place, os.urandom(size))

    @rule(place=places)
    def make_folder(self, place):
        with impossible_is_fine():
            os.makedirs(self.at(place))

    @rule(place=places, size=st.integers(0, 9))
    def cut(self, place, size):
        with impossible_is_fine(), self.only(place) as path, open(path, "r+b") as file:
            file.truncate(size)
            file.flush()
            self.date(path)

    @rule(place=places)
    def rewrite_in_place(self, place):
        """The same size, other bytes, another time."""
        with impossible_is_fine(), self.only(place) as path, open(path, "r+b") as file:
            file.write(os.urandom(os.fstat(file.fileno()).st_size))
            file.flush()
            self.date(path)

    @contextlib.contextmanager
    def only(self, place):
        """A file under one name: what is written under another, nobody is told."""
        path = self.at(place)
        info = os.stat(path, follow_symlinks=False)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise FileNotFoundError(errno.ENOENT, "another name")
        yield path

    @rule(place=places)
    def touch(self, place):
        with impossible_is_fine(), self.only(place) as path:
            self.date(path)

    @rule(place=places, new=places)
    def rename(self, place, new):
        with impossible_is_fine():
            os.rename(self.at(place), self.at(new))

    @rule(place=places, new=places, inside=names)
    def rename_a_folder_and_use_it(self, place, new, inside):
        with impossible_is_fine():
            self.put(place + b"/" + inside, b"before")
            self.work(2)
            os.rename(self.at(place), self.at(new))
            self.work(2)
            self.put(new + b"/" + inside, b"after")

    @rule(place=places)
    def carry_out_and_back(self, place):
        """Out of the share and in again, by another name."""
        outside = os.fsencode(self.folder / "outside")
        with impossible_is_fine():
            os.rename(self.at(place), outside)
            self.work(2)
            self.put(b"carried/in", b"beside")
            os.rename(outside, self.at(b"carried/back"))
        with contextlib.suppress(FileNotFoundError):
            remove(outside)

    @rule(place=places)
    def delete(self, place):
        with impossible_is_fine():
            remove(self.at(place))

    @rule(place=places, inside=names)
    def replace_a_file_by_a_folder(self, place, inside):
        with impossible_is_fine():
            os.unlink(self.at(place))
            self.put(place + b"/" + inside, b"inside")

    @rule(place=places)
    def replace_a_folder_by_a_file(self, place):
        with impossible_is_fine():
            if is_folder(self.at(place)):
                remove(self.at(place))
                self.put(place, b"was a folder")

    @rule(place=places, leads_to=st.sampled_from([b".", b"a", b"/etc", b"nowhere"]))
    def link_symbolically(self, place, leads_to):
        with impossible_is_fine():
            os.symlink(leads_to, self.at(place))

    @rule(place=places, new=places)
    def link_hard(self, place, new):
        with impossible_is_fine():
            os.link(self.at(place), self.at(new), follow_symlinks=False)

    @rule(place=places, mode=st.sampled_from([0o000, 0o755]))
    def change_the_mode(self, place, mode):
        with impossible_is_fine():
            if not os.path.islink(self.at(place)):
                os.chmod(self.at(place), mode)

    @rule(place=places)
    def make_a_pipe(self, place):
        with impossible_is_fine():
            os.mkfifo(self.at(place))

    # --- the index ---

    @rule(steps=st.integers(1, 9))
    def work(self, steps):
        """Let the index hear and do a little, in the middle of it all."""
        self.watcher.read_events()
        for _ in range(steps):
            self.node.scanner.step()

    @rule()
    def wait(self):
        self.node.clock += 70
        self.work(3)

    @rule(is_published=st.booleans())
    def publish(self, is_published):
        """The share is withdrawn, or back, perhaps before all of it has gone."""
        groups = frozenset({FAMILLE} if is_published else ())
        self.node.index.publish({"Films": groups})
        self.is_published = is_published
        self.node.scanner.set_shares({"Films": self.node.share()})

    @rule()
    def restart_the_index(self):
        self.node.index.close()
        self.node.index.open()

    @rule(pages=st.integers(1, 4), limit=st.integers(1, 5))
    def tell_the_friend(self, pages, limit):
        """Some pages go to a friend, in the middle of it all."""
        _, head = self.node.index.own_head(FAMILLE)
        for _ in range(pages):
            known = self.friend.index.replica_head(FAMILLE, ALICE)
            delta = self.node.index.delta(FAMILLE, *known, max_entries=limit)
            assert delta.upto <= head
            numbered = len(delta.changes) <= delta.upto - delta.after
            assert numbered, "each change has a number of its own"
            self.friend.index.apply_delta(FAMILLE, ALICE, delta, complete_at=head)

    @rule(limit=st.integers(1, 5))
    def compare(self, limit=1):
        self.quiesce()
        offered = self.tree() if self.is_published else set()
        assert self.node.listed(FAMILLE, ALICE) == offered
        self.node.deltas(FAMILLE, self.friend, limit)
        assert self.friend.listed(FAMILLE, ALICE) == offered
        assert self.node.index.counts() == self.sums()

    def quiesce(self):
        """Let it hear all, and wait until what most of a share misses is believed."""
        for _ in range(3):
            self.watcher.read_events()
            self.node.clock += holdback.HOLD_S + 1
            self.node.settle()

    def tree(self):
        found = set()
        for folder, _, files in os.walk(self.share):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                shown = os.fsdecode(b"Films" + path[len(self.share) :])
                info = os.stat(path)
                with open(path, "rb") as content:
                    root = root_of(content.read())
                found.add((shown, info.st_size, int(info.st_mtime), root))
        return found

    def sums(self):
        tree = self.tree()
        return len(tree), sum(size for _, size, _, _ in tree)


class WithoutHints(Tree):
    """Only scans tell."""

    hears = False

    def quiesce(self):
        for _ in range(2):
            self.node.clock += holdback.HOLD_S + 1
            self.node.rescan()


@contextlib.contextmanager
def impossible_is_fine():
    """Many an operation drawn meets no file, or a folder, or goes below itself."""
    try:
        yield
    except (
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
        PermissionError,  # a link to a folder
    ):
        pass
    except OSError as error:
        known = (errno.ELOOP, errno.EINVAL, errno.ENOTEMPTY, errno.ENXIO, errno.ENODEV)
        if error.errno not in known:
            raise


TestWithHints = Tree.TestCase
TestWithHints.settings = settings(max_examples=15, stateful_step_count=25)
TestWithoutHints = WithoutHints.TestCase
TestWithoutHints.settings = settings(max_examples=10, stateful_step_count=25)
