"""Saved searches: what is new of them, through restarts, rebuilds and renumbering."""

import pytest

from fonshare_agent.errors import AlreadyExists, NotFound, UsageError
from fonshare_agent.index.news import News, Record
from fonshare_agent.index.query import Query, Wish
from fonshare_agent.index.records import Delta
from fonshare_agent.index.saved import SavedSearches
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_searches import SAVED_MAX
from fonshare_agent.model import IndexId, Root, SharePath
from fonshare_agent.protocol.fields import Change
from index_nodes import BOB, CAROL, CLUB, FAMILLE, Node

ROOT = Root(b"r" * 32)
WISH = Wish(("song",))
QUERY = Query("song")


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "alice")
    yield node
    node.close()


@pytest.fixture
def state(tmp_path):
    state = StateStore(tmp_path / "state.db", "disk", lambda: 0.0)
    yield state
    state.close()


@pytest.fixture
def saved(node, state):
    return SavedSearches(state, node.index)


def tell(node, *changes, member=BOB, group=FAMILLE, index_id=None, complete_at=None):
    """Let *member* tell of (path, root) or, as None, of a path that is gone."""
    known, head = node.index.replica_head(group, member)
    if index_id is not None and index_id != known:
        known, head = index_id, 0
    listed = [
        Change("Films", SharePath.parse(path), 7, 1000, root or None, root is None)
        for path, root in changes
    ]
    upto = head + len(listed)
    delta = Delta(known or IndexId(b"12345678"), head, upto, listed)
    node.index.apply_delta(group, member, delta, complete_at=complete_at or upto)


def add(node, *paths, **options):
    tell(node, *((path, b"") for path in paths), **options)


def remove(node, *paths, **options):
    tell(node, *((path, None) for path in paths), **options)


def new(saved, limit=100, query=QUERY, **options):
    result = saved.new("s", query, limit, **options)
    assert not result.is_cut
    return [found.path.wire() for found in result.found]


def test_what_was_there_is_not_new_and_what_comes_is_new_once(node, saved):
    add(node, "song 1", "other")
    saved.save("s", WISH, QUERY)
    assert new(saved) == []
    add(node, "song 2", "song 3", "something else")
    assert new(saved, is_kept=True) == ["song 3", "song 2"]
    assert new(saved) == ["song 3", "song 2"]
    assert new(saved) == []


def test_what_is_new_survives_a_restart(node, state, saved, tmp_path):
    saved.save(
        "s", Wish(("sóng", "\udce9"), FAMILLE, BOB, "audio", 1, 2, 3, 4, True), QUERY
    )
    add(node, "song 1")
    assert new(saved) == ["song 1"]
    add(node, "song 2")
    state.close()
    again = StateStore(tmp_path / "state.db", "disk", lambda: 0.0)
    saved = SavedSearches(again, node.index)
    assert saved.all() == {
        "s": Wish(("sóng", "\udce9"), FAMILLE, BOB, "audio", 1, 2, 3, 4, True)
    }
    assert new(saved) == ["song 2"]
    again.close()


def test_a_page_of_new_hits_leaves_the_others_new(node, saved):
    saved.save("s", WISH, QUERY)
    add(node, *(f"song {number}" for number in range(5)))
    result = saved.new("s", QUERY, 2)
    assert not result.is_complete
    assert [found.path.wire() for found in result.found] == ["song 1", "song 0"]
    assert new(saved, 2) == ["song 3", "song 2"]
    assert new(saved, 2) == ["song 4"]
    assert new(saved, 2) == []


def test_the_same_content_or_place_is_new_once(node, saved):
    saved.save("s", WISH, QUERY)
    tell(node, ("song 1", ROOT))
    assert new(saved) == ["song 1"]
    tell(node, ("copy of song 1", ROOT), member=CAROL)
    assert new(saved) == []
    add(node, "song 2")
    assert new(saved) == ["song 2"]
    tell(node, ("song 2", Root(b"q" * 32)))  # its root became known
    assert new(saved) == []
    tell(node, ("song 2 again", Root(b"q" * 32)), member=CAROL, group=CLUB)
    assert new(saved) == []
    remove(node, "song 1")
    tell(node, ("song 1", ROOT))
    assert new(saved) == []


def test_two_members_with_one_new_content_are_one_new_hit(node, saved):
    saved.save("s", WISH, QUERY)
    tell(node, ("song 1", ROOT))
    tell(node, ("song one", ROOT), member=CAROL)
    [hit] = saved.new("s", QUERY, 100).hits
    assert len(hit.sources) == 2
    assert new(saved) == []


def test_an_entry_that_takes_the_id_of_one_that_went_is_new(node, saved):
    add(node, "song 1", "song 2")
    saved.save("s", WISH, QUERY)
    remove(node, "song 2")
    add(node, "song 3")  # SQLite gives the highest id out again
    assert new(saved) == ["song 3"]


def test_a_member_who_numbers_anew_makes_nothing_new(node, saved):
    add(node, "song 1", "song 2")
    saved.save("s", WISH, QUERY)
    other = IndexId(b"87654321")
    add(node, "song 1", "song 2", "song 3", index_id=other)
    while node.index.tidy_some()[0]:
        pass
    assert new(saved) == ["song 3"]


def test_a_rebuilt_index_makes_nothing_new(node, saved, tmp_path):
    add(node, "song 1", "song 2")
    saved.save("s", WISH, QUERY)
    node.index.close()
    (tmp_path / "alice" / "index.db").write_bytes(b"damaged" * 1000)
    node.index.open()
    assert node.index.rebuilt
    add(node, "x", "song 2", "y", "song 3", "song 1")
    assert new(saved) == ["song 3"]


# --- more hits than are kept on record ------------------------------------------------


def news(node, kept=5):
    return News(node.index._connection, lambda: node.clock, kept)


def ask(part, record, limit=100):
    result, record = part.since(QUERY, record, limit)
    assert len(record.seen) <= 5
    return [found.path.wire() for found in result.found], record


def test_a_search_with_more_hits_than_are_kept_finds_what_is_new(node):
    add(node, *(f"song {number}" for number in range(20)))
    part = news(node)
    record = part.everything(QUERY)
    assert (record.floor, len(record.seen)) == (15, 5)
    assert ask(part, record) == ([], record)
    add(node, *(f"song {number}" for number in range(20, 32)))
    found = []
    for expected in (5, 5, 2, 0):
        page, record = ask(part, record, limit=5)
        assert len(page) == expected
        found += page
    assert sorted(found) == sorted(f"song {number}" for number in range(20, 32))


def test_ids_that_begin_anew_below_the_floor_are_noticed(node):
    add(node, *(f"song {number}" for number in range(20)))
    part = news(node)
    record = part.everything(QUERY)
    remove(node, *(f"song {number}" for number in range(20)))
    add(node, "song new")
    page, record = ask(part, record)
    assert page == ["song new"]
    assert ask(part, record)[0] == []


def test_what_was_shown_stays_shown_while_ids_above_the_floor_go(node):
    add(node, *(f"song {number}" for number in range(20)))
    part = news(node)
    record = part.everything(QUERY)
    remove(node, "song 19", "song 18", "song 17")
    add(node, "song 17", "song new")
    assert ask(part, record)[0] == ["song new"]


def test_a_deadline_loses_nothing(node):
    add(node, *(f"song {number}" for number in range(20)))
    part = news(node)
    record = part.everything(QUERY)
    add(node, *(f"song {number}" for number in range(20, 23)))
    result, after = part.since(QUERY, record, 100, node.clock - 1)
    assert (result.is_cut, result.is_complete) == (True, False)
    rest, _ = ask(part, after)
    assert len(rest) + len(result.hits) == 3
    # Saving in no time: what was not looked at counts as seen.
    record = part.everything(QUERY, node.clock - 1)
    assert ask(part, record)[0] == []


def test_nothing_matches_no_words(node):
    add(node, "song")
    record = news(node).everything(Query("/"))
    assert record == Record(0, ())
    result, after = news(node).since(Query("/"), record, 10)
    assert (result.hits, result.is_complete, after) == ((), True, record)


# --- what is kept ---------------------------------------------------------------------


def test_a_name_is_taken_once_and_can_be_given_again(saved):
    saved.save("s", WISH, QUERY)
    with pytest.raises(AlreadyExists):
        saved.save("s", WISH, QUERY)
    saved.remove("s")
    for act in (saved.remove, saved.get, lambda name: saved.new(name, QUERY, 1)):
        with pytest.raises(NotFound):
            act("s")
    saved.save("s", WISH, QUERY)
    assert saved.get("s") == WISH


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\nb", "x" * 65, "."])
def test_a_search_needs_a_name_that_fits_a_line(saved, name):
    with pytest.raises(UsageError):
        saved.save(name, WISH, QUERY)


def test_the_number_of_saved_searches_is_bounded(saved):
    for number in range(SAVED_MAX):
        saved.save(f"s{number}", WISH, QUERY)
    with pytest.raises(UsageError, match=str(SAVED_MAX)):
        saved.save("one more", WISH, QUERY)
    assert len(saved.all()) == SAVED_MAX


def test_leaving_a_group_forgets_the_searches_in_it_alone(state, saved):
    saved.save("in it", Wish(("a",), FAMILLE), Query("a"))
    saved.save("elsewhere", Wish(("a",), CLUB), Query("a"))
    saved.save("everywhere", Wish(("a",)), Query("a"))
    state.forget_group(FAMILLE)
    assert list(saved.all()) == ["elsewhere", "everywhere"]


def test_asking_when_nothing_is_new_writes_nothing(node, state, saved):
    add(node, "song 1")
    saved.save("s", WISH, QUERY)
    before = state._connection.total_changes
    assert new(saved) == []
    assert state._connection.total_changes == before
