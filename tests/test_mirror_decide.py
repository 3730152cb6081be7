"""What a mirror does with each file: a listing, what is noted, what lies there."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.mirror.decide import (
    Act,
    Gone,
    Known,
    Local,
    decide,
    decide_asked,
    is_same_day,
    is_surely,
    judge,
    judge_one,
)
from fonshare_agent.transfer.fxp_listing import Entry, Kind

LAID = Local(10, 1_000_000_000)
KNOWN = Known(10, b"20260101120000", None, LAID)
ENTRY = Entry(b"a", Kind.FILE, 10, b"20260101120000")


@pytest.mark.parametrize(
    ("entry", "known", "local", "act"),
    [
        (ENTRY, None, None, Act.FETCH),
        (ENTRY, KNOWN, None, Act.FETCH),  # deleted here: it is still there
        (ENTRY, KNOWN, LAID, Act.KEEP),
        (replace(ENTRY, size=11), KNOWN, LAID, Act.FETCH),
        (replace(ENTRY, modified=b"20260101120001"), KNOWN, LAID, Act.FETCH),
        (replace(ENTRY, modified=None), KNOWN, LAID, Act.KEEP),  # no date is told
        # What the mirror did not lay, or somebody changed, is the owner's.
        (ENTRY, None, Local(11, 0), Act.LEAVE),
        (ENTRY, None, LAID, Act.COMPARE),
        (replace(ENTRY, size=None), None, Local(11, 0), Act.COMPARE),
        (replace(ENTRY, size=11), KNOWN, Local(10, 5), Act.LEAVE),
        (replace(ENTRY, size=11), KNOWN, Local(9, 1_000_000_000), Act.LEAVE),
    ],
)
def test_one_file_of_a_listing(entry, known, local, act):
    assert decide(entry, known, local) is act


def test_a_listing_without_seconds_is_asked_about_once_and_when_its_date_differs():
    listed = replace(ENTRY, modified=None, stamp=b"Jan  1 12:00")
    assert decide(listed, KNOWN, LAID) is Act.ASK
    assert decide_asked(ENTRY, KNOWN) is Act.KEEP
    noted = replace(KNOWN, stamp=b"Jan  1 12:00")
    assert decide(listed, noted, LAID) is Act.KEEP
    later = replace(listed, stamp=b"Jan  1 12:01")
    assert decide(later, noted, LAID) is Act.ASK
    changed = replace(ENTRY, modified=b"20260101120101")
    assert decide_asked(changed, noted) is Act.FETCH
    assert decide_asked(None, noted) is Act.KEEP


def test_half_a_year_later_the_same_date_has_a_year_instead_of_a_time():
    assert is_same_day(b"Jan  1 12:00", b"Jan  1  2026")
    assert not is_same_day(b"Jan  1 12:00", b"Jan  1 12:01")
    assert not is_same_day(b"Jan  2 12:00", b"Jan  1  2026")
    assert not is_same_day(b"Jan  1  2025", b"Jan  1  2026")
    assert not is_same_day(b"Jan  1 12:00", None)


def test_a_server_that_tells_no_date_but_the_listings_is_believed_by_that():
    no_date = Known(10, None, None, LAID)
    found = replace(ENTRY, modified=None)
    assert decide_asked(found, no_date) is Act.KEEP
    assert decide_asked(found, replace(no_date, stamp=b"Jan  1 12:00")) is Act.FETCH


def test_what_lies_there_with_the_same_size_and_date_is_not_read():
    assert is_surely(Local(10, 7_000_000_000), ENTRY, 8)  # FAT's two seconds
    assert not is_surely(Local(10, 7_000_000_000), ENTRY, 10)
    assert not is_surely(Local(11, 7_000_000_000), ENTRY, 7)
    assert not is_surely(Local(10, 7_000_000_000), ENTRY, None)


def test_most_of_a_mirror_going_at_once_is_held_back_until_it_is_confirmed():
    assert judge(20, 11, is_confirmed=False) is Gone.HOLD
    assert judge(20, 10, is_confirmed=False) is None
    assert judge(20, 20, is_confirmed=True) is None
    assert judge(10, 9, is_confirmed=False) is None  # so few go by two listings
    assert judge_one(KNOWN, is_confirmed=False) is Gone.WAIT
    assert judge_one(replace(KNOWN, missed=1), is_confirmed=False) is Gone.DELETE
    assert judge_one(KNOWN, is_confirmed=True) is Gone.DELETE


@pytest.mark.parametrize("count", [1, 2, 8, 10, 11])
def test_the_last_file_never_goes_unless_it_is_confirmed(count):
    assert judge(count, count, is_confirmed=False) is Gone.HOLD
    assert judge(count, count, is_confirmed=True) is None
    assert judge(0, 0, is_confirmed=False) is None


# --- a world ------------------------------------------------------------------------


@dataclass
class World:
    """A server, a disk and what a mirror notes: contents are numbers."""

    server: dict[str, int] = field(default_factory=dict)
    disk: dict[str, int] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)  # what the owner laid
    fresh: set[str] = field(default_factory=set)  # since a reading that held nothing

    def local(self, path: str) -> Local | None:
        return Local(10, self.disk[path]) if path in self.disk else None

    def read(self) -> None:
        """One complete reading, as reading.py does it."""
        before = set(self.known)
        for path, content in sorted(self.server.items()):
            entry = Entry(path.encode(), Kind.FILE, 10, b"%014d" % content)
            known, local = self.known.get(path), self.local(path)
            act = decide(entry, known, local)
            if act is Act.COMPARE:
                if self.disk[path] == content:
                    self.known[path] = Known(10, entry.modified, None, local)
                    self.owners.pop(path, None)  # it is the server's file, too
            elif act is Act.FETCH:
                assert path not in self.owners
                self.disk[path] = content
                self.known[path] = Known(10, entry.modified, None, self.local(path))
            if path in self.known:
                self.known[path] = replace(self.known[path], missed=0)
        gone = [path for path in self.known if path not in self.server]
        self.fresh |= self.known.keys() - before
        old = self.known.keys() - self.fresh
        for known_before in (before, old):
            missing = len(known_before & set(gone))
            if judge(len(known_before), missing, is_confirmed=False) is Gone.HOLD:
                return
        self.fresh.clear()
        for path in gone:
            known = self.known[path]
            if judge_one(known, is_confirmed=False) is Gone.WAIT:
                self.known[path] = replace(known, missed=known.missed + 1)
                continue
            del self.known[path]
            if self.local(path) == known.local:
                del self.disk[path]


PATHS = st.sampled_from([f"file {number}" for number in range(14)])
CONTENT = st.integers(1, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PATHS, CONTENT),
        st.tuples(st.just("drop"), PATHS, CONTENT),
        st.tuples(st.just("own"), PATHS, CONTENT),
        st.tuples(st.just("read"), PATHS, CONTENT),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_the_owners_files_stay_and_the_servers_come(steps):
    world = World()
    for step, path, content in steps:
        match step:
            case "put":
                world.server[path] = content
            case "drop":
                world.server.pop(path, None)
            case "own":
                world.disk[path] = world.owners[path] = content + 100
            case _:
                before, listed = dict(world.disk), set(world.server)
                old = world.known.keys() - world.fresh
                world.read()
                # What goes was missing twice; and never most of it at once.
                went = before.keys() - world.disk.keys()
                assert not went & listed
                assert len(went) <= max(9, len(old) // 2)
                assert not old or went < old
        assert world.owners.items() <= world.disk.items()
    for _ in range(2):
        world.read()
    for path, content in world.server.items():
        assert world.disk[path] in (content, world.owners.get(path))
