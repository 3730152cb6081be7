"""Sorting, filters, pages and sources of a search: index/finder.py, index/search.py."""

import random

import pytest

from fonshare_agent.errors import UsageError
from fonshare_agent.index import cursors
from fonshare_agent.index.finder import WINDOW, Finder
from fonshare_agent.index.media import MEDIA, medium_of
from fonshare_agent.index.query import Order, Query
from fonshare_agent.index.records import Delta, Mark
from fonshare_agent.index.search import TWINS_MAX
from fonshare_agent.index.text import Matcher, fold_name
from fonshare_agent.model import IndexId, Root, SharePath
from fonshare_agent.protocol.fields import Change
from index_nodes import ALICE, BOB, CAROL, CLUB, FAMILLE, Node, shown

BEST = Order.RELEVANCE


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "alice")
    yield node
    node.close()


def root(number: int) -> Root:
    return Root(number.to_bytes(8, "big") * 4)


def change(node, changes, member=BOB, group=FAMILLE):
    """Let *member* tell of *changes*: (path, size, modified, root), None: deleted."""
    index_id, head = node.index.replica_head(group, member)
    upto = head + len(changes)
    listed = [
        Change("Films", SharePath.parse(path), 0, 0, None, True)
        if data is None
        else Change("Films", SharePath.parse(path), *data, False)
        for path, data in changes
    ]
    delta = Delta(index_id or IndexId(b"12345678"), head, upto, listed)
    node.index.apply_delta(group, member, delta, complete_at=upto)


def offer(node, *paths, member=BOB, group=FAMILLE, size=7, modified=1000, root=None):
    change(node, [(path, (size, modified, root)) for path in paths], member, group)


def page(node, words, order=BEST, limit=100, after=None, window=WINDOW, **options):
    query = Query(words, **options)
    finder = Finder(node.index._connection, lambda: node.clock, window)
    search = finder.begin(query, order, limit, after)
    assert search.run()
    return search.result()


def names(result):
    return [found.path.wire() for found in result.found]


# --- the order ----------------------------------------------------------------------


def test_whole_words_in_the_name_come_first_then_the_name_then_folders(node):
    offer(
        node,
        "ile de brehat/plage.jpg",
        "brehat/plage/vent.jpg",
        "plage/x brehat.jpg",
        "plages bréhatines.jpg",
        "Plage de Bréhat.jpg",
        modified=1000,
    )
    offer(node, "brehat/plage/calme.jpg", modified=900)
    assert names(page(node, "brehat plage")) == [
        "Plage de Bréhat.jpg",
        "plages bréhatines.jpg",
        "plage/x brehat.jpg",
        "ile de brehat/plage.jpg",
        "brehat/plage/vent.jpg",
        "brehat/plage/calme.jpg",
    ]


@pytest.mark.parametrize(
    ("words", "above", "name", "rank"),
    [
        (["mer"], "films/", "la mer.avi", 0),
        (["mer"], "films/", "la_mer-2.avi", 0),
        (["mer"], "films/", "merle.avi", 1),
        (["me"], "films/", "merle.avi", 1),
        (["me"], "films/", "comme.avi", None),
        (["c++"], "films/", "c++ c.txt", 0),
        (["c++"], "films/", "abc++.txt", 1),
        (["%"], "", "50% rabais.txt", 0),
        (["mer", "bleu"], "bleu/", "mer.avi", 2),
        (["mer", "bleu"], "mer/bleu/", "x.avi", 3),
        (["mer", "vert"], "mer/bleu/", "x.avi", None),
    ],
)
def test_the_rank_of_a_match(words, above, name, rank):
    assert Matcher(words).rank(fold_name(name.encode()), lambda: above) == rank


def test_the_other_orders_sort_all_that_matches(node):
    change(
        node,
        [
            ("bé a.txt", (30, 3, None)),
            ("Ba a.txt", (10, 2, None)),
            ("bc a.txt", (20, 9, None)),
            ("a.txt", (99, 5, None)),
        ],
    )
    found = {order: names(page(node, "a", order, window=1)) for order in Order}
    assert found[Order.NEWEST] == ["bc a.txt", "a.txt", "bé a.txt", "Ba a.txt"]
    assert found[Order.SIZE] == ["a.txt", "bé a.txt", "bc a.txt", "Ba a.txt"]
    assert found[Order.NAME] == ["a.txt", "Ba a.txt", "bc a.txt", "bé a.txt"]
    assert found[BEST] != found[Order.NEWEST]


def test_by_relevance_an_older_window_follows_a_newer_one(node):
    offer(node, "song.ogg", *(f"song/{number}.ogg" for number in range(4)))
    assert names(page(node, "song", window=100))[0] == "song.ogg"
    assert names(page(node, "song", window=2)) == [
        *("song/3.ogg", "song/2.ogg", "song/1.ogg", "song/0.ogg"),
        "song.ogg",
    ]


# --- filters ------------------------------------------------------------------------


def test_filters_narrow_to_kind_size_and_age(node):
    change(
        node,
        [
            ("a.MKV", (700, 100, None)),
            ("a.ogg", (70, 200, None)),
            ("a.mkv.part", (7, 300, None)),
            ("mkv a", (7, 300, None)),
        ],
    )

    def found(**options):
        return sorted(names(page(node, "a", **options)))

    assert found(medium="video") == ["a.MKV"]
    assert found(medium="audio") == ["a.ogg"]
    assert found(medium="document") == []
    assert found(size_min=70) == ["a.MKV", "a.ogg"]
    assert found(size_max=70) == ["a.mkv.part", "a.ogg", "mkv a"]
    assert found(size_min=8, size_max=699) == ["a.ogg"]
    assert found(modified_min=200, modified_max=200) == ["a.ogg"]


def test_each_ending_belongs_to_one_kind():
    endings = [ending for kind in MEDIA.values() for ending in kind]
    assert len(endings) == len(set(endings))
    assert all(ending == ending.lower() for ending in endings)
    assert [medium_of(n) for n in (b"x.Mp3", b"mp3", b".mp3", b"x.", b"")] == [
        *("audio", None, "audio", None, None)
    ]


def test_online_is_who_can_be_asked_now_and_this_node_itself(node):
    (node.share() / "a own.txt").write_bytes(b"x")
    node.publish(Films=[FAMILLE])
    offer(node, "a bob.txt", member=BOB)
    offer(node, "a carol.txt", member=CAROL)
    offer(node, "a club.txt", member=CAROL, group=CLUB)
    online = frozenset({(FAMILLE, CAROL)})
    found = page(node, "a", online=online, is_online_only=True)
    assert sorted(names(found)) == ["a carol.txt", "a own.txt"]
    assert len(page(node, "a", online=online).hits) == 4


# --- one content, several sources ---------------------------------------------------


def sources(result):
    return [
        sorted((one.group, one.member, shown(one)) for one in hit.sources)
        for hit in result.hits
    ]


def test_a_content_of_several_members_and_groups_is_one_hit(node):
    offer(node, "brehat.mkv", member=BOB, root=root(1))
    offer(node, "brehat (copy).mkv", member=CAROL, root=root(1))
    offer(node, "x/brehat.mkv", member=CAROL, group=CLUB, root=root(1))
    offer(node, "another name.mkv", member=BOB, group=CLUB, root=root(1))
    offer(node, "brehat.mkv", member=CAROL, root=None)
    offer(node, "brehat two.mkv", member=CAROL, root=root(2))

    for order in Order:
        result = page(node, "brehat", order)
        assert result.is_complete
        assert sorted(map(len, sources(result))) == [1, 1, 4]
    many = next(hit for hit in result.hits if len(hit.sources) == 4)
    # What does not match is a source, but never stands for the hit.
    assert {one.path.wire() for one in many.sources[:3]} == {
        *("brehat.mkv", "brehat (copy).mkv", "x/brehat.mkv")
    }
    assert sources(page(node, "brehat", groups=frozenset([CLUB]))) == [
        [(CLUB, BOB, "Films/another name.mkv"), (CLUB, CAROL, "Films/x/brehat.mkv")]
    ]


def test_own_comes_before_online_before_newest(node):
    (node.share() / "a 1.txt").write_bytes(b"content")
    node.publish(Films=[FAMILLE])
    [own] = page(node, "a").found
    offer(node, "a 2.txt", member=BOB, root=own.root)
    offer(node, "a 3.txt", member=CAROL, root=own.root)
    [hit] = page(node, "a").hits
    assert [one.member for one in hit.sources] == [ALICE, CAROL, BOB]
    [hit] = page(node, "a", online=frozenset({(FAMILLE, BOB)})).hits
    assert [one.member for one in hit.sources] == [ALICE, BOB, CAROL]
    assert hit.found == own


def test_what_one_member_offers_to_two_groups_is_two_hits_until_another_has_it(node):
    offer(node, "a.txt", group=FAMILLE, root=root(1))
    offer(node, "a.txt", group=CLUB, root=root(1))
    for order in Order:
        assert list(map(len, sources(page(node, "a", order, window=1)))) == [1, 1]
    offer(node, "a.txt", member=CAROL, root=root(1))
    for order in Order:
        assert list(map(len, sources(page(node, "a", order, window=1)))) == [3]


def test_copies_of_one_member_are_hits_of_their_own_until_another_has_it(node):
    offer(node, "a 1.txt", "a 2.txt", root=root(1))
    for order in Order:
        assert len(page(node, "a", order, window=1).hits) == 2
    offer(node, "a 3.txt", member=CAROL, root=root(1))
    for order in Order:
        assert list(map(len, sources(page(node, "a", order, window=1)))) == [3]


# --- pages --------------------------------------------------------------------------


def pages(node, words, order, limit, window, between=lambda: None):
    """All pages of a search, with the sources of each hit."""
    after, all_pages = None, []
    while True:
        result = page(node, words, order, limit, after, window)
        all_pages.append(result)
        assert len(result.hits) <= limit
        if result.is_complete:
            assert result.more is None
            return all_pages
        assert result.hits
        after = result.more
        assert len(all_pages) < 1000
        between()


def entries(result_pages):
    return [
        (one.member, one.path.wire())
        for result in result_pages
        for hit in result.hits
        for one in hit.sources
    ]


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("window", [1, 3, 7, 1000])
def test_pages_together_are_the_whole_and_nothing_comes_twice(node, order, window):
    draw = random.Random(window)
    for member in (BOB, CAROL):
        change(
            node,
            [
                (
                    f"{draw.choice(('x', 'song'))}/song {number}",
                    (
                        draw.randrange(4),
                        draw.randrange(4),
                        draw.choice((None, root(draw.randrange(12)))),
                    ),
                )
                for number in range(30)
            ],
            member,
        )
    whole = pages(node, "song", order, 1000, window)
    assert len(whole) == 1
    assert len(set(entries(whole))) == 60
    for limit in (1, 2, 5, 59):
        parts = pages(node, "song", order, limit, window)
        together = [shown(hit.found) for part in parts for hit in part.hits]
        assert together == [shown(hit.found) for hit in whole[0].hits]


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("seed", range(4))
def test_what_stays_is_shown_once_while_others_come_and_go(node, order, seed):
    draw = random.Random(seed)
    there = {f"song {number}" for number in range(40)}

    def data():
        return draw.randrange(5), draw.randrange(5), None

    change(node, [(path, data()) for path in sorted(there)])
    stayed, came = set(there), 0

    def between():
        nonlocal came
        gone = draw.sample(sorted(there), 2)
        there.difference_update(gone)
        stayed.difference_update(gone)
        new = [f"song new {came + number}" for number in range(2)]
        came += 2
        there.update(new)
        changes = [(path, None) for path in gone] + [(path, data()) for path in new]
        change(node, changes)

    found = pages(node, "song", order, 6, 10, between)
    seen = [path for _, path in entries(found)]
    assert len(seen) == len(set(seen))
    assert set(seen) >= stayed
    assert came > 4


@pytest.mark.parametrize("order", Order)
def test_a_content_that_was_shown_does_not_come_again_with_a_new_source(node, order):
    change(node, [("song a", (9, 9, root(1))), ("song b", (8, 8, root(2)))])
    first = page(node, "song", order, 1)
    assert [hit.found.root for hit in first.hits] == [root(1)]
    change(node, [("x/song z", (9, 1, root(1)))], CAROL)
    rest = page(node, "song", order, 9, first.more)
    assert [hit.found.root for hit in rest.hits] == [root(2)]


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "WzFd", "e30", "MQ", "bnVsbA", "=" * 9, "A" * 8000]
)
def test_what_is_no_cursor_is_a_usage_error(node, order, cursor):
    offer(node, "a.txt")
    with pytest.raises(UsageError, match="--after"):
        page(node, "a", order, after=cursor)


@pytest.mark.parametrize(
    "values",
    [
        ("newest", 1, 0, 0, 0),
        ("relevance", 1, 2, 3),
        ("relevance", 1, 2, 3, 4, 5, True),
        ("relevance", 1, 2, 3, 4, 5, 2**63),
        ("relevance", 1, 2, 3, 4, 5, "6"),
    ],
)
def test_a_cursor_of_another_shape_is_a_usage_error(node, values):
    offer(node, "a.txt")
    with pytest.raises(UsageError, match="--after"):
        page(node, "a", after=cursors.write(*values))


def test_any_numbers_in_a_cursor_do_no_harm(node):
    offer(node, "a.txt", root=root(1))
    for number in (-(2**63) + 1, -1, 0, 1, 2**63 - 1):
        cursor = cursors.write("relevance", *[number] * 6)
        assert len(page(node, "a", after=cursor).hits) <= 1
        cursor = cursors.write("name", number, number, "\udcff\ud800", number)
        assert len(page(node, "a", Order.NAME, after=cursor).hits) <= 1


# --- time ---------------------------------------------------------------------------


def test_a_search_goes_on_where_its_slice_ended(node):
    offer(node, *(f"song {number}" for number in range(9)), root=root(1))
    offer(node, "song other", member=CAROL, root=root(1))
    for order in Order:
        search = node.index.begin_search(Query("song"), order, 100)
        slices = 0
        while (
            result := node.index.go_on_searching(search, None, node.clock)
        ) is None and slices < 100:
            slices += 1
        assert slices > 5
        assert result == page(node, "song", order)


def test_an_entry_that_goes_between_two_slices_is_left_out(node):
    offer(node, "x/song 1", "y/song 2")
    search = node.index.begin_search(Query("song"), BEST, 100)
    assert node.index.go_on_searching(search, None, node.clock) is None
    change(node, [("y/song 2", None)])
    result = node.index.go_on_searching(search, None)
    assert names(result) == ["x/song 1"]


def test_a_deadline_ends_with_what_was_found_and_a_way_to_go_on(node):
    offer(node, *(f"song {number}" for number in range(9)))
    search = node.index.begin_search(Query("song"), BEST, 100)
    for _ in range(4):
        assert node.index.go_on_searching(search, None, node.clock) is None
    first = node.index.go_on_searching(search, node.clock - 1)
    assert first.is_cut
    assert not first.is_complete
    rest = page(node, "song", after=first.more)
    assert sorted(names(first) + names(rest)) == [f"song {n}" for n in range(9)]
    assert first.hits
    assert rest.hits

    nothing = node.index.begin_search(Query("song"), BEST, 100)
    early = node.index.go_on_searching(nothing, node.clock - 1)
    assert early.hits == ()
    assert len(page(node, "song", after=early.more).hits) == 9


def test_a_deadline_in_a_window_shown_in_part_begins_it_anew(node):
    offer(node, *(f"song {number}" for number in range(9)))
    first = page(node, "song", limit=3, window=5)
    search = node.index.begin_search(Query("song"), BEST, 100, first.more)
    assert node.index.go_on_searching(search, None, node.clock) is None
    cut = node.index.go_on_searching(search, node.clock - 1)
    assert (cut.hits, cut.is_cut, cut.more) == ((), True, first.more)


def test_by_other_orders_there_is_no_way_on_from_a_deadline(node):
    offer(node, *(f"song {number}" for number in range(9)))
    search = node.index.begin_search(Query("song"), Order.SIZE, 2)
    for _ in range(4):
        assert node.index.go_on_searching(search, None, node.clock) is None
    cut = node.index.go_on_searching(search, node.clock - 1)
    assert len(cut.hits) == 2
    assert (cut.is_cut, cut.is_complete, cut.more) == (True, False, None)


def test_only_a_bounded_number_of_twins_is_looked_at(node):
    for member in (BOB, CAROL):
        offer(node, *(f"a {n}" for n in range(TWINS_MAX)), member=member, root=root(1))
    offer(node, "b a", member=BOB, root=root(1))
    [hit] = page(node, "a").hits
    assert 1 < len(hit.sources) <= 32


@pytest.mark.parametrize("group", [None, CLUB])
def test_the_plans_of_all_questions_use_an_index(node, group):
    offer(node, "song.ogg", group=CLUB, root=root(1))
    plans = []
    connection = node.index._connection

    def explain(statement):
        if statement.startswith("SELECT"):
            plans.append(statement)

    connection.set_trace_callback(explain)
    for order in Order:
        page(node, "song", order, groups=group and frozenset([group]))
        page(node, "%", order)
    place = {"group": CLUB, "member": BOB, "share": "Films"}
    for kind in ("folder", "file"):
        node.index.browse(**place, limit=3, after=Mark(kind, b"a", CLUB, BOB))
    connection.set_trace_callback(None)
    assert len(plans) > 10
    for statement in plans:
        for *_, step in connection.execute("EXPLAIN QUERY PLAN " + statement):
            assert step not in ("SCAN e", "SCAN f"), statement
            assert not step.startswith("USE TEMP"), statement
