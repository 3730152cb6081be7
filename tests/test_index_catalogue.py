"""Own catalogues, their deltas, and copies of others': index/offers, replicas."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.index.place import Place
from fonshare_agent.index.records import (
    Applied,
    Delta,
    Gap,
    Listing,
    seen_file,
)
from fonshare_agent.index.replicas import DROPPED_MAX
from fonshare_agent.index.walk import Walk
from fonshare_agent.model import IndexId, Root, SharePath
from fonshare_agent.protocol.fields import Change
from index_nodes import ALICE, BOB, CLUB, FAMILLE, Node

FIRST, SECOND, THIRD = (IndexId(bytes([number]) * 8) for number in (1, 2, 3))


@pytest.fixture
def alice(tmp_path):
    node = Node(tmp_path / "alice", ALICE)
    yield node
    node.close()


@pytest.fixture
def bob(tmp_path):
    node = Node(tmp_path / "bob", BOB)
    yield node
    node.close()


def write(node, path, content=b"x", share="Films"):
    file = node.share(share) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def change(path, *, size=1, modified=1, root=None, deleted=False, share="Films"):
    return Change(share, SharePath.parse(path), size, modified, root, deleted)


def delta(index_id, after, *changes, upto=None):
    return Delta(
        index_id, after, after + len(changes) if upto is None else upto, changes
    )


# --- the own log ----------------------------------------------------------------------


def test_an_entry_appears_unhashed_at_once_and_its_root_follows(alice, bob):
    write(alice, "a.txt")
    alice.index.publish({"Films": frozenset([FAMILLE])})
    alice.scanner.set_shares({"Films": alice.share()})
    while not alice.delta(FAMILLE).changes:
        assert alice.scanner.step()
    alice.deltas(FAMILLE, bob)
    assert [found.root for found in bob.index.search("a.txt").found] == [None]

    alice.settle()
    alice.deltas(FAMILLE, bob)

    (found,) = bob.index.search("a.txt").found
    assert found.root == alice.hashed[0][2]
    assert FAMILLE in alice.moved


def test_a_share_is_seen_only_by_the_groups_it_is_published_to(alice, bob):
    write(alice, "a.txt", share="Films")
    write(alice, "b.txt", share="Photos")
    alice.publish(Films=[FAMILLE], Photos=[FAMILLE, CLUB])
    assert alice.listed(CLUB, ALICE) < alice.listed(FAMILLE, ALICE)
    assert [change.share for change in alice.delta(CLUB).changes] == ["Photos"]

    place = ("Films", SharePath.parse("a.txt"))
    assert alice.index.own_file(FAMILLE, *place) is not None
    assert alice.index.own_file(CLUB, *place) is None


def test_one_groups_changes_do_not_show_in_anothers_numbers(alice):
    write(alice, "b.txt", share="Photos")
    alice.publish(Films=[FAMILLE], Photos=[CLUB])
    before = alice.index.own_head(CLUB)
    write(alice, "a.txt", share="Films")
    alice.rescan()
    alice.publish(Films=[FAMILLE], Photos=[CLUB, FAMILLE])
    assert alice.index.own_head(CLUB) == before


def test_withdrawing_a_share_acts_at_once_and_then_reaches_the_members(alice, bob):
    for number in range(7):
        write(alice, f"{number}/a.txt")
    alice.publish(Films=[FAMILLE, CLUB])
    alice.deltas(FAMILLE, bob)
    place = ("Films", SharePath.parse("1/a.txt"))

    alice.index.publish({"Films": frozenset([CLUB])})

    assert alice.index.own_file(FAMILLE, *place) is None
    assert not alice.index.is_published(FAMILLE, "Films")
    assert alice.index.own_file(CLUB, *place) is not None
    alice.scanner.tidy()
    alice.settle()
    alice.deltas(FAMILLE, bob, entries=2)
    assert bob.listed(FAMILLE, ALICE) == alice.listed(FAMILLE, ALICE) == set()
    assert len(alice.listed(CLUB, ALICE)) == 7


def test_publishing_goes_on_after_a_restart_in_its_middle(alice, bob):
    for number in range(9):
        write(alice, f"{number}.txt")
    alice.publish(Films=[CLUB])
    alice.index.publish({"Films": frozenset([CLUB, FAMILLE])})
    assert alice.index.tidy_some(limit=4) == (True, FAMILLE)
    # One file comes by a scan while the others are still being published.
    write(alice, "10.txt")
    seen = seen_file(b"10.txt", (alice.share() / "10.txt").stat())
    alice.index.take_listings("Films", [Listing((), [seen])])
    alice.index.close()
    alice.index.open()

    alice.scanner.tidy()
    alice.settle()

    alice.deltas(FAMILLE, bob)
    assert len(bob.listed(FAMILLE, ALICE)) == 10
    # Nine entries with their roots, one that was hashed later: none numbered twice.
    assert alice.index.own_head(FAMILLE)[1] == 9 + 2


def test_a_share_no_longer_in_the_settings_is_forgotten(alice):
    write(alice, "a.txt")
    alice.publish(Films=[FAMILLE])
    root = alice.hashed[0][2]
    assert alice.index.counts() == (1, 1)
    assert len(alice.index.blocks(root, 0, 10)) == 1

    alice.publish()

    assert alice.index.counts() == (0, 0)
    assert alice.listed(FAMILLE, ALICE) == set()
    assert alice.index.find_own("Films", SharePath.parse("a.txt")) is None
    assert alice.index.blocks(root, 0, 10) == []
    assert alice.delta(FAMILLE).changes[-1].deleted


def test_pages_of_a_delta_are_bounded_and_lose_nothing(alice, bob):
    for number in range(20):
        write(alice, f"{number:02}.txt")
    alice.publish(Films=[FAMILLE])
    page = alice.delta(FAMILLE, entries=3)
    assert (page.after, page.upto, len(page.changes)) == (0, page.upto, 3)
    own_id, head = alice.index.own_head(FAMILLE)
    small = alice.index.delta(FAMILLE, own_id, 0, max_bytes=1)
    assert len(small.changes) == 1
    end = alice.index.delta(FAMILLE, own_id, head)
    assert (end.after, end.upto, end.changes) == (head, head, ())

    alice.deltas(FAMILLE, bob, entries=3)

    assert bob.listed(FAMILLE, ALICE) == alice.listed(FAMILLE, ALICE)


def take(node, folder, numbers, size=1):
    files = [(b"%03d" % number, size, 1, number) for number in numbers]
    node.index.take_listings("Films", [Listing((folder,), files)])


def test_entries_that_came_together_are_told_like_any_others(alice, bob):
    alice.index.publish({"Films": frozenset([FAMILLE, CLUB])})
    alice.index.tidy_some()
    for folder in (b"a", b"b", b"c"):
        take(alice, folder, range(20))
    every = alice.delta(FAMILLE).changes
    assert len(every) == 60 == alice.index.own_head(FAMILLE)[1]
    for after in range(60):
        page = alice.delta(FAMILLE, after, entries=7)
        assert page.changes == every[after : after + 7]
        assert page.upto == min(60, after + 7)
    alice.deltas(FAMILLE, bob, entries=7)

    take(alice, b"a", range(3), size=2)  # changed
    alice.index.mark_gone("Films", (b"b",), [b"005"], [])
    alice.index.drop_gone("Films")
    take(alice, b"b", range(20, 40))  # more of them in a known folder
    take(alice, b"b", range(40, 42))  # a few

    late = alice.delta(FAMILLE, 60).changes
    assert len(late) == 3 + 1 + 20 + 2
    assert len(alice.delta(FAMILLE).changes) == 60 - 1 + len(late) - 3
    for after in range(60, 60 + len(late)):
        assert alice.delta(FAMILLE, after).changes == late[after - 60 :]
    alice.deltas(FAMILLE, bob, entries=7)
    assert bob.listed(FAMILLE, ALICE) == alice.listed(FAMILLE, ALICE)


def test_files_offered_before_keep_their_numbers_when_others_join_them(alice):
    alice.index.publish({"Films": frozenset([FAMILLE])})
    take(alice, b"a", range(10))
    alice.index.publish({"Films": frozenset()})
    alice.index.publish({"Films": frozenset([FAMILLE])})
    take(alice, b"a", range(10, 30))

    while alice.index.tidy_some()[0]:
        pass

    assert len(alice.delta(FAMILLE).changes) == 30
    assert alice.index.own_head(FAMILLE)[1] == 30


def test_entries_and_tombstones_come_in_the_order_of_their_numbers(alice, bob):
    for name in "abc":
        write(alice, f"{name}.txt")
    alice.publish(Films=[FAMILLE])
    for gone, come in (("a", "d"), ("b", "e"), ("d", "a")):
        (alice.share() / f"{gone}.txt").unlink()
        alice.rescan()
        write(alice, f"{come}.txt")
        alice.rescan()
    names = [
        (change.path.wire(), change.deleted) for change in alice.delta(FAMILLE).changes
    ]
    assert names == [
        ("c.txt", False),
        ("a.txt", True),
        ("b.txt", True),
        ("e.txt", False),
        ("d.txt", True),
        ("a.txt", False),
    ]
    alice.deltas(FAMILLE, bob, entries=1)
    assert bob.listed(FAMILLE, ALICE) == alice.listed(FAMILLE, ALICE)


def test_a_share_is_shown_from_its_first_file_to_its_last(alice, bob):
    def shares():
        alice.rescan()
        alice.deltas(FAMILLE, bob)
        for node in (alice, bob):
            yield [one.name for one in node.index.browse(group=FAMILLE, member=ALICE)]

    alice.publish(Films=[FAMILLE])
    assert list(shares()) == [[], []]
    write(alice, "a.txt")
    assert list(shares()) == [[b"Films"], [b"Films"]]
    (alice.share() / "a.txt").unlink()
    assert list(shares()) == [[], []]


def test_folders_left_empty_are_no_longer_shown(alice, bob):
    write(alice, "a/b/c.txt")
    write(alice, "d.txt")
    alice.publish(Films=[FAMILLE])
    alice.deltas(FAMILLE, bob)
    (alice.share() / "a/b/c.txt").unlink()
    alice.rescan()
    alice.deltas(FAMILLE, bob)
    for node in (alice, bob):
        listed = node.index.browse(group=FAMILLE, member=ALICE, share="Films")
        assert [one.name for one in listed] == [b"d.txt"]


def test_a_page_may_hold_many_folders_and_twice_the_same_place(bob):
    """Pages are taken folder by folder; the result is as if one after another."""
    paths = [f"{n % 3}/{n % 70}" for n in range(240)] + ["top"]
    changes = [
        *(change(path, size=7) for path in paths),
        change("0/0", size=9),
        change("1/1", deleted=True),
        change("2/2", size=2, share="Musique"),
        change("2/2", deleted=True),
        change("2/2", size=5),
    ]
    for after in (0, 300):  # the second time all of it is there already
        part = delta(FIRST, after, *changes, upto=after + 300)
        answer = bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=0)
        assert answer == Applied(after + 300, 0)
    expected = {f"Films/{path}": 7 for path in paths} | {"Films/0/0": 9}
    expected |= {"Films/2/2": 5, "Musique/2/2": 2}
    del expected["Films/1/1"]
    listed = {name: size for name, size, *_ in bob.listed(FAMILLE, ALICE)}
    assert listed == expected


def test_what_changes_while_a_share_is_withdrawn_is_right_when_it_is_back(alice, bob):
    for number in range(6):
        write(alice, f"{number}.txt")
    alice.publish(Films=[FAMILLE], Musique=[FAMILLE])
    alice.deltas(FAMILLE, bob)
    alice.index.publish({"Films": frozenset(), "Musique": frozenset([FAMILLE])})
    alice.index.tidy_some(limit=1)  # and then the owner thinks better of it
    share = alice.share()
    for number in range(5):
        (share / f"{number}.txt").unlink()
    write(alice, "5.txt", b"longer")
    write(alice, "new.txt")
    # Elsewhere the scanner does the withdrawing first, unless it is in a scan.
    walk = Walk(
        Place.open("Films", share), alice.index, lambda work: work(), lambda: None
    )
    for _ in itertools.chain(walk.steps(), walk.drop_gone()):
        pass
    walk._place.close()

    alice.publish(Films=[FAMILLE], Musique=[FAMILLE])
    alice.deltas(FAMILLE, bob)

    expected = {"Films/5.txt": 6, "Films/new.txt": 1}
    for node in (alice, bob):
        listed = node.listed(FAMILLE, ALICE)
        assert {name: size for name, size, *_ in listed} == expected


def test_an_unknown_index_or_a_number_beyond_ours_starts_from_the_beginning(alice):
    write(alice, "a.txt")
    alice.publish(Films=[FAMILLE])
    own_id, head = alice.index.own_head(FAMILLE)
    assert alice.index.delta(FAMILLE, None, 5).after == 0
    assert alice.index.delta(FAMILLE, IndexId(b"x" * 8), head).after == 0
    assert alice.index.delta(FAMILLE, own_id, head + 1).after == 0
    assert alice.index.delta(FAMILLE, own_id, head).after == head


def test_index_ids_are_drawn_for_each_group_and_kept(alice):
    ids = {alice.index.own_head(group)[0] for group in (FAMILLE, CLUB)}
    assert len(ids) == 2
    alice.index.close()
    alice.index.open()
    assert {alice.index.own_head(group)[0] for group in (FAMILLE, CLUB)} == ids
    fresh = alice.index.reset_index_id(CLUB)
    assert fresh not in ids
    assert alice.index.own_head(CLUB)[0] == fresh


def test_a_new_index_gives_no_tombstones_of_the_old_one(alice, bob):
    write(alice, "a.txt")
    write(alice, "b.txt")
    alice.publish(Films=[FAMILLE])
    alice.deltas(FAMILLE, bob)
    (alice.share() / "a.txt").unlink()
    alice.rescan()
    assert [one.deleted for one in alice.delta(FAMILLE).changes] == [False, True]

    alice.index.reset_index_id(FAMILLE)

    assert [one.deleted for one in alice.delta(FAMILLE).changes] == [False]
    alice.deltas(FAMILLE, bob)
    assert bob.listed(FAMILLE, ALICE) == alice.listed(FAMILLE, ALICE)


def test_no_number_leaves_before_it_is_synced_to_the_disk(alice, monkeypatch):
    write(alice, "a.txt")
    alice.publish(Films=[FAMILLE])
    settings_seen = []
    connection = alice.index._connection
    connection.set_trace_callback(settings_seen.append)

    alice.index.delta(FAMILLE, None, 0)
    first, settings_seen[:] = list(settings_seen), []
    alice.index.own_head(FAMILLE)
    second, settings_seen[:] = list(settings_seen), []
    write(alice, "b.txt")
    alice.rescan()
    settings_seen.clear()
    alice.index.own_head(FAMILLE)

    connection.set_trace_callback(None)
    for seen, is_needed in ((first, True), (second, False), (settings_seen, True)):
        assert ("PRAGMA synchronous = FULL" in seen) is is_needed
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


# --- the copies -----------------------------------------------------------------------


def test_a_delta_out_of_place_changes_nothing_and_tells_the_head(bob):
    def apply(part):
        return bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=9)

    assert apply(delta(FIRST, 5, change("late"))) == Gap(0)
    assert apply(delta(FIRST, 0, change("a"))) == Applied(1, 0)
    assert apply(delta(FIRST, 0, change("b"))) == Gap(1)
    assert apply(delta(FIRST, 2, change("b"))) == Gap(1)
    assert apply(delta(FIRST, 1, change("c"), upto=0)) == Gap(1)
    assert bob.names("films") == ["Films/a"]
    assert bob.index.replica_head(FAMILLE, ALICE) == (FIRST, 1)
    assert bob.index.replica_head(CLUB, ALICE) == (None, 0)


def test_the_old_copy_is_shown_until_the_new_one_is_complete(bob):
    def apply(part):
        return bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=3)

    apply(delta(FIRST, 0, change("old-1"), change("old-2"), change("both")))
    old = bob.index.resolve(FAMILLE, ALICE, "Films", SharePath.parse("both"))

    apply(delta(SECOND, 0, change("both", size=9), change("new-1")))
    assert bob.names("films") == ["Films/both", "Films/old-1", "Films/old-2"]
    assert bob.index.get(old.id).size == 1
    assert bob.index.replica_head(FAMILLE, ALICE) == (SECOND, 2)
    apply(delta(SECOND, 2, change("new-2")))

    assert bob.names("films") == ["Films/both", "Films/new-1", "Films/new-2"]
    assert bob.index.get(old.id).size == 9
    while bob.index.tidy_some(limit=1)[0]:
        pass
    assert bob.names("films") == ["Films/both", "Films/new-1", "Films/new-2"]
    assert rows_of(bob, "entry") == 3
    check_search(bob)
    assert rows_of(bob, "catalogue") == 1


def rows_of(node, table):
    return node.index._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def check_search(node):
    """Hold that every file is found, with its trigrams and before it has them."""
    check_found(node)
    while node.index.index_names():
        pass
    check_found(node)


def check_found(node):
    connection = node.index._connection
    connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms"
        " USING fts5vocab('main', 'search', 'instance')"
    )
    texts = {row for (row,) in connection.execute("SELECT DISTINCT doc FROM terms")}
    rows = connection.execute("SELECT id, name FROM entry").fetchall()
    (upto,) = connection.execute("SELECT upto FROM search_state").fetchone()
    assert texts == {number for number, _ in rows if number <= upto}
    for _, name in rows:
        found = node.index.search(name.decode(), limit=999).found
        assert name in {one.name for one in found}


def test_a_third_index_replaces_one_that_never_became_complete(bob):
    for index_id in (FIRST, SECOND, THIRD):
        bob.index.apply_delta(
            FAMILLE, ALICE, delta(index_id, 0, change(index_id.hex())), complete_at=2
        )
    assert bob.names("films") == [f"Films/{FIRST.hex()}"]
    stray = delta(SECOND, 1, change("y"))
    assert bob.index.apply_delta(FAMILLE, ALICE, stray, complete_at=0) == Gap(0)
    assert bob.index.replica_head(FAMILLE, ALICE) == (THIRD, 1)
    bob.index.apply_delta(FAMILLE, ALICE, delta(THIRD, 1, change("x")), complete_at=2)
    assert bob.names("films") == [f"Films/{THIRD.hex()}", "Films/x"]
    assert bob.index.apply_delta(
        FAMILLE, ALICE, delta(SECOND, 1, change("y")), complete_at=0
    ) == Gap(0)


def test_who_begins_anew_all_the_time_leaves_no_more_than_can_be_removed(bob):
    for number in range(50):
        part = delta(IndexId(bytes([number]) * 8), 0, change("a"), change("b"))
        bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=9)
    (rows,) = bob.index._connection.execute(
        "SELECT count(*) FROM catalogue WHERE NOT own"
    ).fetchone()
    assert rows == 2 + DROPPED_MAX
    while bob.index.tidy_some()[0]:
        pass
    part = delta(IndexId(b"lastone8"), 0, change("c"))
    assert bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=1) == Applied(1, 0)
    assert bob.names("films") == ["Films/c"]


HOSTILE = {
    "parent": SharePath((b"..", b"etc", b"passwd")),
    "absolute": SharePath((b"", b"etc", b"passwd")),
    "NUL": SharePath((b"a\0b",)),
    "dot": SharePath((b"a", b".", b"b")),
    "private": SharePath((b".FonShare", b"keys")),
    "slash inside": SharePath((b"a/../../b",)),
    "long name": SharePath((b"x" * 256,)),
    "long path": SharePath((b"x" * 200,) * 30),
    "deep": SharePath((b"x",) * 65),
    "empty": SharePath(()),
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("deleted", [False, True])
def test_a_path_that_breaks_the_rules_is_left_out_and_counted(bob, path, deleted):
    bad = Change("Films", path, 1, 1, None, deleted)
    part = delta(FIRST, 0, change("good-1"), bad, change("good-2"))
    answer = bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=3)
    assert answer == Applied(3, 1)
    assert bob.names("films") == ["Films/good-1", "Films/good-2"]


@pytest.mark.parametrize(
    "bad",
    [
        change("bad", size=-1),
        change("bad", size=2**63),
        change("bad", modified=-1),
        change("bad", modified=2**63),
        change("bad", root=b"short"),
        change("bad", share="a/b"),
        change("bad", share=".."),
        change("bad", share=""),
        change("bad", share="x" * 65),
        change("bad", share="a\nb"),
        change("bad", share="\udce9"),
    ],
    ids=lambda bad: f"{bad.share[:8]!a} {bad.size} {bad.modified} {bad.root}",
)
def test_an_entry_that_breaks_the_rules_is_left_out_and_counted(bob, bad):
    answer = bob.index.apply_delta(
        FAMILLE, ALICE, delta(FIRST, 0, bad, change("good")), complete_at=2
    )
    assert answer == Applied(2, 1)
    assert bob.names("good") == ["Films/good"]
    assert len(bob.listed(FAMILLE, ALICE)) == 1


def test_a_member_cannot_offer_more_entries_than_the_limit(bob, monkeypatch):
    monkeypatch.setattr(bob.index._replicas, "_entries_max", 3)

    def apply(after, *names, deleted=False):
        changes = [change(name, deleted=deleted) for name in names]
        return bob.index.apply_delta(
            FAMILLE, ALICE, delta(FIRST, after, *changes), complete_at=0
        )

    assert apply(0, "a", "b") == Applied(2, 0)
    assert apply(2, "c", "d", "e") == Applied(5, 2)
    assert apply(5, "a", "b") == Applied(7, 0)  # known ones may still change
    assert apply(7, "a", deleted=True) == Applied(8, 0)
    assert apply(8, "f") == Applied(9, 0)
    assert bob.names("films") == ["Films/b", "Films/c", "Films/f"]


def test_long_paths_and_deep_folders_weigh_as_much_as_they_cost(bob, monkeypatch):
    """A million folders deep, or four kilobytes of names: the quota counts them."""
    monkeypatch.setattr(bob.index._replicas, "_entries_max", 40)

    def apply(after, *names, deleted=False):
        changes = [change(name, deleted=deleted) for name in names]
        return bob.index.apply_delta(
            FAMILLE, ALICE, delta(FIRST, after, *changes), complete_at=0
        )

    deep = [f"{number}/" + "d/" * 62 + "f" for number in range(10)]  # nine each
    long = [f"{number}/" + "/".join(["n" * 200] * 10) for number in range(10)]  # ditto
    assert apply(0, *deep) == Applied(10, 6)
    assert apply(10, *deep[:4], deleted=True) == Applied(14, 0)
    assert apply(14, *long) == Applied(24, 6)
    assert apply(24, *long[:4], deleted=True) == Applied(28, 0)
    assert apply(28, *(f"{number}.txt" for number in range(41))) == Applied(69, 1)


def test_what_a_member_or_a_group_offered_is_gone_when_dropped(alice, bob):
    write(alice, "mine.txt")
    alice.publish(Films=[FAMILLE])
    own_id, _ = alice.index.own_head(FAMILLE)
    for group in (FAMILLE, CLUB):
        alice.index.apply_delta(
            group, BOB, delta(FIRST, 0, change("his.txt")), complete_at=1
        )
    alice.index.drop_member(FAMILLE, BOB)
    assert alice.names("his", group=FAMILLE) == []
    assert alice.names("his", group=CLUB) == ["Films/his.txt"]
    assert alice.index.replica_head(FAMILLE, BOB) == (None, 0)
    assert alice.names("mine") == ["Films/mine.txt"]

    alice.index.drop_group(FAMILLE)

    assert alice.names("films") == ["Films/his.txt"]
    path = SharePath.parse("mine.txt")
    assert alice.index.own_file(FAMILLE, "Films", path) is None
    alice.scanner.tidy()
    alice.settle()
    assert rows_of(alice, "entry") == 1
    assert rows_of(alice, "publication") == 0
    # Joining again is a new catalogue: nothing of the old numbering remains.
    assert alice.index.own_head(FAMILLE) != (own_id, 0)
    assert alice.index.own_head(FAMILLE)[1] == 0


def test_only_what_is_shown_counts_as_a_source(bob):
    root = Root(b"r" * 32)
    for index_id in (FIRST, SECOND):
        only_in_second = root if index_id == SECOND else None
        part = delta(index_id, 0, change("a", root=only_in_second))
        bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=2)
    assert bob.index.sources(FAMILLE, root) == []
    bob.index.apply_delta(FAMILLE, ALICE, delta(SECOND, 1, change("b")), complete_at=2)
    assert bob.index.sources(FAMILLE, root) == [ALICE]
    bob.index.drop_member(FAMILLE, ALICE)
    assert bob.index.sources(FAMILLE, root) == []


def test_catalogues_survive_a_restart(alice, bob):
    write(alice, "a/b.txt")
    alice.publish(Films=[FAMILLE])
    alice.deltas(FAMILLE, bob)
    before = (bob.listed(FAMILLE, ALICE), bob.index.replica_head(FAMILLE, ALICE))
    bob.index.close()
    bob.index.open()
    assert (
        bob.listed(FAMILLE, ALICE),
        bob.index.replica_head(FAMILLE, ALICE),
    ) == before


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "d/e", "f", "d/é", "d/E\u0301"])
CHANGES = st.builds(
    change,
    PATHS,
    size=st.integers(0, 9),
    root=st.sampled_from([None, b"r" * 32]),
    deleted=st.booleans(),
    share=st.sampled_from(["Films", "Photos"]),
)


@settings(max_examples=40)
@given(
    changes=st.lists(CHANGES, max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=4),
    seed=st.integers(0, 99),
)
def test_deltas_doubled_and_reordered_end_in_the_same_copy(
    tmp_path_factory, changes, cuts, seed
):
    places = sorted({0, len(changes), *(cut for cut in cuts if cut < len(changes))})
    parts = [
        delta(FIRST, start, *changes[start:end])
        for start, end in itertools.pairwise(places)
    ]
    bob = Node(tmp_path_factory.mktemp("bob"), BOB)
    try:
        draw = random.Random(seed)
        head = 0
        while head < len(changes):
            part = draw.choice(parts)
            answer = bob.index.apply_delta(FAMILLE, ALICE, part, complete_at=0)
            assert answer == (
                Applied(part.upto, 0) if part.after == head else Gap(head)
            ) or (head == 0 and answer == Gap(0))
            head = answer.head
        expected = {}
        for one in changes:
            key = f"{one.share}/{one.path.wire()}"
            expected.pop(key, None)
            if not one.deleted:
                expected[key] = (key, one.size, one.modified, one.root)
        assert bob.listed(FAMILLE, ALICE) == set(expected.values())
        assert rows_of(bob, "entry") == len(expected)
        check_search(bob)
    finally:
        bob.close()
