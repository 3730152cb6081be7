"""Searching and browsing: index/search.py and index/text.py."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.index.records import Delta, file_digests, id_digest
from fonshare_agent.index.text import (
    Matcher,
    fold,
    fold_name,
    index_text,
    match_expression,
    split_words,
)
from fonshare_agent.model import EntryId, IndexId, Root, SharePath, base32
from fonshare_agent.protocol.fields import Change
from index_nodes import ALICE, BOB, CAROL, CLUB, FAMILLE, Node, shown


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "alice")
    yield node
    node.close()


def offer(node, *paths, member=BOB, group=FAMILLE, share="Films", root=None):
    """Let *member* offer *paths* in *group*."""
    index_id, head = node.index.replica_head(group, member)
    changes = [
        Change(share, SharePath.parse(path), 7, 1_000, root, False) for path in paths
    ]
    upto = head + len(changes)
    delta = Delta(index_id or IndexId(b"12345678"), head, upto, changes)
    node.index.apply_delta(group, member, delta, complete_at=upto)


NFC, NFD = "Bréhat", unicodedata.normalize("NFD", "Bréhat")


@pytest.mark.parametrize("name", [NFC, NFD])
@pytest.mark.parametrize("words", [NFC, NFD, "brehat", "BRÉHAT", "éha", "bre"])
def test_accents_case_and_composition_do_not_matter(node, name, words):
    offer(node, f"{name} 1998.jpg", "Other.jpg")
    assert node.names(words) == [f"Films/{name} 1998.jpg"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("strasse", "Straße.mp3"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος.txt"),
        ("москва", "МОСКВА.avi"),
        ("東京", "旅行東京2019.jpg"),
        ("京", "旅行東京2019.jpg"),
        ("oﬃce", "mon office.avi"),
        ("istanbul", "İstanbul.jpg"),
    ],
)
def test_other_scripts_are_found_too(node, words, name):
    offer(node, name, "unrelated.bin")
    assert node.names(words) == [f"Films/{name}"]


@pytest.mark.parametrize(
    "words",
    [
        "499-199",
        "C++",
        '"',
        "*",
        "%",
        "_",
        "AND",
        "OR NOT",
        "NEAR(",
        "-",
        "^a",
        "text:b",
        "'; DROP",
        "()",
        "\\",
        "9-1",
        "(b",
        '"x"',
    ],
)
def test_words_are_data_and_find_exactly_what_they_spell(node, words):
    name = f"a {words} b.txt"
    offer(node, name, "plain.txt", "499 199.txt", "xyz/c.txt")
    assert node.names(words) == [f"Films/{name}"]


def test_all_the_words_must_match_somewhere_in_share_folders_or_name(node):
    offer(node, "Été/Noël 98/messe.ogg", "Été/plage.ogg", "hiver/messe.ogg")
    assert node.names("messe ete") == ["Films/Été/Noël 98/messe.ogg"]
    assert node.names("films noel") == ["Films/Été/Noël 98/messe.ogg"]
    assert node.names("ete/noel") == ["Films/Été/Noël 98/messe.ogg"]
    assert node.names("messe plage") == []


def test_one_and_two_letters_find_the_beginnings_of_words(node):
    offer(node, "Q-bert.rom", "x/Le bac.txt", "abaca.txt")
    assert node.names("q") == ["Films/Q-bert.rom"]
    assert node.names("ba") == ["Films/x/Le bac.txt"]
    assert node.names("b") == ["Films/Q-bert.rom", "Films/x/Le bac.txt"]
    assert node.names("le ba") == ["Films/x/Le bac.txt"]


@pytest.mark.parametrize(
    ("word", "grams"),
    [
        ("a", ["  a"]),
        ("ab", [" ab"]),
        ("abc", ["abc"]),
        ("abcd", ["abc", "bcd"]),
        ("abcdefgh", ["abc", "def", "fgh"]),
        ("499-199", ["499", "-  ", "199"]),
        ("%", []),
        ("--", []),
        ('x"-', ['x"-']),
    ],
)
def test_each_letter_of_a_word_is_looked_up_once(word, grams):
    quoted = ['"' + gram.replace('"', '""') + '"' for gram in grams]
    assert match_expression([word]) == (" AND ".join(quoted) or None)


def test_letters_scattered_over_the_name_are_no_match(node):
    # The trigrams abc, bcd and cde all occur, but never as one word.
    offer(node, "abcd bcde cdef.txt")
    assert node.names("abcde") == []


def test_names_that_are_no_utf8_are_found_by_their_readable_part(node):
    offer(node, b"caf\xe9 noir.txt")
    assert node.names("noir") == [
        b"Films/caf\xe9 noir.txt".decode("utf-8", "surrogateescape")
    ]


def test_search_is_narrowed_to_a_group_and_to_a_member(node):
    offer(node, "one.txt", member=BOB, group=FAMILLE)
    offer(node, "one.txt", member=CAROL, group=CLUB)
    assert len(node.names("one")) == 2
    for options in ({"group": CLUB}, {"member": CAROL}):
        (found,) = node.index.search("one", **options).found
        assert (found.group, found.member, found.own) == (CLUB, CAROL, False)
    assert node.names("one", group=CLUB, member=BOB) == []


def test_own_entries_are_found_and_marked_as_own(node):
    (node.share() / "Mine.txt").write_bytes(b"12")
    node.publish(Films=[FAMILLE])
    (found,) = node.index.search("mine").found
    assert (found.own, found.member, found.size) == (True, ALICE, 2)
    assert found.root is not None


def test_a_search_stops_at_its_limit_newest_first(node):
    offer(node, *(f"song {number}.ogg" for number in range(9)))
    result = node.index.search("song", limit=3)
    assert not result.is_complete
    assert [found.name for found in result.found] == [
        b"song 8.ogg",
        b"song 7.ogg",
        b"song 6.ogg",
    ]
    assert node.index.search("song", limit=9).is_complete
    assert node.index.search("song", limit=0).found == ()


def test_a_search_that_takes_too_long_ends_at_its_deadline(node):
    for part in range(4):
        offer(node, *(f"{part}/file {number}" for number in range(1000)))
    assert node.index.search("%", deadline=node.clock + 1).is_complete

    late = node.index.search("%", deadline=node.clock - 1)

    assert (late.found, late.is_complete) == ((), False)
    assert node.names("%") == []  # the next one is not interrupted


def test_what_is_in_every_name_is_not_asked_of_the_index(node):
    offer(node, *(f"dossier-{n}/song {n % 7}{' été' * (n == 5)}" for n in range(500)))
    while node.index.index_names():
        pass
    trigrams = node.index._trigrams
    asked = match_expression(["dossier", "song", "ete"])
    assert '"dos"' in asked
    assert trigrams.narrowed(asked) == asked  # `ete` alone would leave one trigram
    asked = match_expression(["dossier", "zanzibar"])
    assert trigrams.narrowed(asked) == match_expression(["zanzibar"])
    assert node.names("dossier song ete") == ["Films/dossier-5/song 5 été"]


def test_what_only_the_newest_names_have_still_narrows(node):
    offer(node, *(f"old {number}" for number in range(400)))
    offer(node, *(f"zebra {number}" for number in range(400)))
    while node.index.index_names():
        pass
    asked = match_expression(["zebra", "films"])
    assert '"zeb"' in node.index._trigrams.narrowed(asked)
    assert '"fil"' not in node.index._trigrams.narrowed(asked)


def segments(node):
    """How many parts a search in the text index has to ask."""
    query = "SELECT count(DISTINCT segid) FROM search_idx"
    return node.index._connection.execute(query).fetchone()[0]


def test_the_text_index_is_put_together_once_in_a_while(node, monkeypatch):
    monkeypatch.setattr("fonshare_agent.index.trigrams.MERGED_LEAST", 40)
    monkeypatch.setattr("fonshare_agent.index.trigrams.MERGE_PAGES", 1)
    words = ["plage", "été", "concert", "forêt"]
    paths = [f"{words[n % 4]}/{words[n % 3]} {n}" for n in range(200)]
    offer(node, *paths)
    for _ in range(20):
        assert node.index._trigrams.add_some(10)
    assert segments(node) > 1
    assert node.index.index_names()  # the first step; then the agent ends
    node.index.close()
    node.index.open()

    while node.index.index_names():
        pass

    assert segments(node) == 1
    assert node.names("foret ete") == sorted(
        f"Films/{path}" for path in paths if "forêt" in path and "été" in path
    )
    withdraw(node, paths[3])
    offer(node, "forêt/été 1000")  # a single one more is not worth it
    node.index.index_names()
    assert not node.index._trigrams.merge_some()
    assert segments(node) > 1
    assert f"Films/{paths[3]}" not in node.names("foret")
    assert node.names("1000") == ["Films/forêt/été 1000"]


def withdraw(node, *paths):
    index_id, head = node.index.replica_head(FAMILLE, BOB)
    changes = [
        Change("Films", SharePath.parse(path), 0, 0, None, True) for path in paths
    ]
    delta = Delta(index_id, head, head + len(changes), changes)
    node.index.apply_delta(FAMILLE, BOB, delta, complete_at=delta.upto)


def test_an_entry_without_trigrams_is_found_all_the_same_and_newest_first(node):
    offer(node, "song 1", "song 2")
    assert node.index.index_names(limit=1)
    offer(node, "song 3", "other 4")

    result = node.index.search("song")

    assert [found.name for found in result.found] == [b"song 3", b"song 2", b"song 1"]
    assert result.is_complete


def test_indexing_goes_on_where_a_restart_ended_it(node):
    offer(node, *(f"song {number}" for number in range(5)))
    assert node.index.index_names(limit=2)
    node.index.close()
    node.index.open()
    assert node.index.index_names(limit=2)
    assert node.index.index_names(limit=2)
    assert not node.index.index_names(limit=2)
    assert len(node.names("song")) == 5


@pytest.mark.parametrize("indexed", [0, 1, 2])
def test_an_entry_that_takes_the_place_of_the_last_one_gets_its_own_trigrams(
    node, indexed
):
    offer(node, "song 1", "song 2")
    if indexed:
        node.index.index_names(limit=indexed)
    withdraw(node, "song 2", "song 1")
    offer(node, "music 3")
    while node.index.index_names():
        pass

    assert node.names("song") == []
    assert node.names("music") == ["Films/music 3"]
    node.index._connection.execute(
        "INSERT INTO search (search) VALUES ('integrity-check')"
    )


def test_nothing_is_found_for_no_words(node):
    offer(node, "a.txt")
    assert node.names(" / ") == []


def test_browsing_shows_one_level_folders_first_and_pages_fit_together(node):
    offer(node, "b/x", "b/c/y", "a/z", *(f"f{number}" for number in range(5)))
    found, after = [], None
    while page := node.index.browse(
        group=FAMILLE, member=BOB, share="Films", limit=2, after=after
    ):
        found += page
        after = page[-1]
    assert [(one.kind, one.name) for one in found] == [
        ("folder", b"a"),
        ("folder", b"b"),
        *(("file", b"f%d" % number) for number in range(5)),
    ]
    inside = node.index.browse(
        group=FAMILLE, member=BOB, share="Films", folder=SharePath((b"b",))
    )
    assert [shown(one) for one in inside] == ["Films/b/c", "Films/b/x"]


def test_the_shares_of_all_members_are_listed_by_group_and_member(node):
    offer(node, "x", member=BOB, group=FAMILLE, share="Zoo")
    offer(node, "x", member=BOB, group=FAMILLE, share="Art")
    offer(node, "x", member=CAROL, group=CLUB, share="Art")
    shares = node.index.browse()
    assert [(one.kind, one.group, one.member, one.share) for one in shares] == [
        ("share", CLUB, CAROL, "Art"),
        ("share", FAMILLE, BOB, "Art"),
        ("share", FAMILLE, BOB, "Zoo"),
    ]
    assert node.index.browse(limit=1, after=shares[0]) == shares[1:2]
    assert node.index.browse(group=CLUB) == shares[:1]


def test_what_is_not_there_is_listed_as_nothing(node):
    offer(node, "a/b")
    nowhere = {"group": FAMILLE, "member": BOB}
    assert node.index.browse(**nowhere, share="Films", folder=SharePath((b"x",))) == []
    assert node.index.browse(**nowhere, share="Music") == []
    assert node.index.browse(group=CLUB, member=BOB, share="Films") == []
    assert node.index.resolve(FAMILLE, BOB, "Films", SharePath.parse("a/c")) is None
    assert node.index.resolve(FAMILLE, CAROL, "Films", None) is None


def test_an_id_names_the_same_thing_after_a_new_index_and_on_every_node(node, tmp_path):
    offer(node, "a/b.txt", "c.txt")
    other = Node(tmp_path / "carol", CAROL)
    offer(other, "c.txt", "x/y", "a/b.txt")
    for path in ("a", "a/b.txt", "c.txt"):
        here = node.index.resolve(FAMILLE, BOB, "Films", SharePath.parse(path))
        there = other.index.resolve(FAMILLE, BOB, "Films", SharePath.parse(path))
        assert here == there
        assert here is not None
        assert node.index.get(here.id) == here
        assert len(here.id) == 16
    share = node.index.resolve(FAMILLE, BOB, "Films", None)
    assert share is not None
    assert share.kind == "share"
    assert node.index.get(share.id) == share
    other.close()


@pytest.mark.parametrize("entry", ["", "x", "a" * 16, "1" * 16, "é" * 16, "a" * 999])
def test_an_unknown_id_is_nothing(node, entry):
    offer(node, "a.txt")
    assert node.index.get(EntryId(entry)) is None


def test_an_id_that_only_begins_like_another_is_not_taken_for_it(node):
    offer(node, "a.txt")
    found = node.index.resolve(FAMILLE, BOB, "Films", SharePath.parse("a.txt"))
    assert found is not None
    wrong = found.id[:-1] + ("a" if found.id[-1] != "a" else "b")
    assert node.index.get(EntryId(wrong)) is None


def test_a_file_and_a_folder_of_one_name_have_two_ids(node):
    offer(node, "a", "a/b")
    listed = node.index.browse(group=FAMILLE, member=BOB, share="Films")
    assert [one.kind for one in listed] == ["folder", "file"]
    assert [node.index.get(one.id) for one in listed] == listed


def test_ids_are_computed_alike_one_by_one_and_folder_by_folder(node):
    offer(node, "top", "a/b", "a/c/d", "a/c/e")
    for path in ("top", "a/b", "a/c/d", "a/c/e"):
        found = node.index.resolve(FAMILLE, BOB, "Films", SharePath.parse(path))
        assert node.index.get(found.id) == found
        digest = id_digest("file", FAMILLE, BOB, b"Films", path.encode())
        assert found.id == base32(digest)
        *folders, name = path.encode().split(b"/")
        assert digest == file_digests(FAMILLE, BOB, b"Films", b"/".join(folders))(name)


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_walking_a_folder_gives_every_file_below_it_once(node, page):
    paths = ["a/1", "a/b/2", "a/b/c/3", "a/b.x/4", "a/c/5", "a0", "a/z"]
    offer(node, *paths, "a/b/c/" + "d/" * 50 + "deep")
    top = node.index.resolve(FAMILLE, BOB, "Films", SharePath.parse("a"))
    assert top is not None
    walked, after = [], None
    while files := node.index.walk_folder(top, after, page):
        walked += [found.path.wire() for found in files]
        after = files[-1].path
    expected = {path for path in paths if path != "a0"}
    assert len(walked) == len(expected) + 1
    assert set(walked) > expected


def test_a_walk_goes_on_in_its_place_when_folders_vanish_under_it(node):
    offer(node, "a/b/1", "a/b/2", "a/c/3")
    top = node.index.resolve(FAMILLE, BOB, "Films", None)
    first = node.index.walk_folder(top, None, 1)
    assert [shown(one) for one in first] == ["Films/a/b/1"]
    index_id, head = node.index.replica_head(FAMILLE, BOB)
    gone = [
        Change("Films", SharePath.parse(path), 0, 0, None, True)
        for path in ("a/b/1", "a/b/2")
    ]
    delta = Delta(index_id, head, head + 2, gone)
    node.index.apply_delta(FAMILLE, BOB, delta, complete_at=0)

    rest = node.index.walk_folder(top, first[-1].path, 10)

    assert [shown(one) for one in rest] == ["Films/a/c/3"]


def test_sources_are_the_members_of_that_group_that_offer_the_content(node):
    root = Root(b"r" * 32)
    offer(node, "a", member=BOB, root=root)
    offer(node, "b", "c", member=CAROL, root=root)
    offer(node, "d", member=CAROL, group=CLUB, root=root)
    offer(node, "e", member=CAROL, root=b"r" * 8 + b"s" * 24)
    assert node.index.sources(FAMILLE, root) == [BOB, CAROL]
    assert node.index.sources(FAMILLE, root, frozenset({BOB})) == [CAROL]
    assert node.index.sources(CLUB, root) == [CAROL]
    assert node.index.sources(CLUB, Root(b"x" * 32)) == []


# --- the text alone -----------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"))


@given(NAMES)
def test_folding_is_the_same_for_every_way_to_write_a_name(name):
    forms = {fold(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert fold(fold(name)) == fold(name)


@given(st.binary(max_size=60))
def test_any_name_can_be_folded_and_indexed(raw):
    index_text(fold_name(raw)).encode("utf-8")


@given(NAMES, st.data())
def test_every_part_of_a_name_passes_the_index_and_the_check(name, data):
    folded = fold(name)
    start = data.draw(st.integers(0, max(0, len(folded) - 3)))
    end = data.draw(st.integers(start, len(folded)))
    words = [word for word in split_words(folded[start:end]) if len(word) >= 3]
    text = index_text("films/") + index_text(folded)
    expression = match_expression(words)
    if expression is not None:
        grams = expression[1:-1].replace('""', '"').split('" AND "')
        assert all(gram in text for gram in grams)
    assert Matcher(words).rank(folded, lambda: "films/") is not None
