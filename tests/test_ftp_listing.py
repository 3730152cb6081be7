"""The lines of listings by themselves: what a client reads of names and status."""

import os
import random
import stat
import time

import pytest

from fonshare_agent.ftp import listing
from fonshare_agent.ftp.house_files import friends_status
from fonshare_agent.ftp.listing import FACTS, fact_line, fact_lines, list_lines

NOW = 1_795_859_941.5  # 28 November 2026, 09:59:01
HALF_A_YEAR_S = 180 * 24 * 3600


def entry_status(
    mode: int,
    size: int,
    modified: float,
    *,
    links: int = 1,
    device: int = 1,
    inode: int = 1,
) -> os.stat_result:
    times = (0, int(modified // 1), 0)
    exact = (0.0, modified, 0.0)  # what `st_mtime` tells, after the ten of a tuple
    return os.stat_result((mode, inode, device, links, 0, 0, size, *times, *exact))


@pytest.mark.parametrize(
    ("modified", "text"),
    [
        (NOW, b"Nov 28 09:59"),
        (NOW - 24 * 3600, b"Nov 27 09:59"),
        (NOW - HALF_A_YEAR_S + 120, b"Jun 01 10:01"),
        (NOW - HALF_A_YEAR_S - 120, b"Jun 01  2026"),
        (NOW + 120, b"Nov 28  2026"),  # our clock, or theirs, is wrong
        (0, b"Jan 01  1970"),
        (-1e9, b"Jan 01  1970"),
    ],
)
def test_recent_files_show_the_time_and_others_the_year(modified, text):
    status = entry_status(stat.S_IFREG | 0o640, 12_345, modified, links=2)
    assert list(list_lines([(b"a b", status)], NOW)) == [
        b"-rw-r-----   2 owner    house           12345 " + text + b" a b\r\n"
    ]


def test_each_line_of_a_folder_is_what_it_is_alone():
    """Also with more modes and times than are kept in words."""
    draw = random.Random(4)
    kinds = [stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK]
    spans = [60, 3 * 24 * 3600, 2 * HALF_A_YEAR_S, NOW + 1e6]
    entries = [
        (
            b"%d" % number,
            entry_status(
                draw.choice(kinds) | draw.randrange(0o10000),
                draw.randrange(1 << 44),
                NOW + 60 - draw.random() * draw.choice(spans),
                device=draw.randrange(2),
            ),
        )
        for number in range(2 * listing.WORDED_MAX)
    ]
    assert list(list_lines(entries, NOW)) == [
        line for entry in entries for line in list_lines([entry], NOW)
    ]
    for facts in (FACTS, ("modify", "unique"), ("perm",), ()):
        assert list(fact_lines(entries, facts, True)) == [
            fact_line(*entry, facts, True) for entry in entries
        ]


def test_what_was_put_into_words_is_forgotten_before_it_fills_the_memory():
    asked: list[int] = []

    def word(number: int) -> bytes:
        asked.append(number)
        return b"%d" % number

    worded = listing._Worded(word)
    for number in (1, 2, 1, *range(10 * listing.WORDED_MAX)):
        assert worded[number] == b"%d" % number
        assert len(worded) <= listing.WORDED_MAX
    assert asked[:3] == [1, 2, 0]


@pytest.mark.parametrize(
    ("mode", "can_write", "facts"),
    [
        (stat.S_IFREG, True, b"type=file;perm=adfrw;size=7;modify=20261128095901;"),
        (stat.S_IFREG, False, b"type=file;perm=r;size=7;modify=20261128095901;"),
        (stat.S_IFDIR, True, b"type=dir;perm=cdeflmp;size=7;modify=20261128095901;"),
        (stat.S_IFDIR, False, b"type=dir;perm=el;size=7;modify=20261128095901;"),
        (
            stat.S_IFLNK,
            True,
            b"type=OS.unix=slink;perm=adfrw;size=7;modify=20261128095901;",
        ),
    ],
)
def test_facts_say_kind_rights_size_time_and_identity(mode, can_write, facts):
    status = entry_status(mode | 0o644, 7, NOW, device=0x1F, inode=0xAB)
    line = fact_line(b"name", status, FACTS, can_write)
    assert line == facts + b"unique=1fgab; name\r\n"


def test_what_friends_offer_can_only_be_read_beside_what_is_the_owners():
    entries = [
        (b"own", entry_status(stat.S_IFREG | 0o644, 1, NOW, device=1)),
        (b"theirs", friends_status(size=1)),
        (b"friends", friends_status()),
    ]
    assert list(fact_lines(entries, ("type", "perm"), True)) == [
        b"type=file;perm=adfrw; own\r\n",
        b"type=file;perm=r; theirs\r\n",
        b"type=dir;perm=el; friends\r\n",
    ]


def test_a_time_is_told_in_gmt_whatever_the_house_has(monkeypatch):
    monkeypatch.setenv("TZ", "UTC+9")
    time.tzset()
    try:
        status = entry_status(stat.S_IFREG, 0, NOW)
        assert b" Nov 28 09:59 " in next(list_lines([(b"a", status)], NOW))
        assert listing.modified_text(NOW) == "20261128095901"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_that_the_system_cannot_tell_does_not_end_the_listing():
    status = friends_status(1, 1 << 62)
    assert b" Jan 19  2038 late\r\n" in next(list_lines([(b"late", status)], NOW))
    facts = list(fact_lines([(b"late", status)], ("modify",), False))
    assert facts == [b"modify=20380119031407; late\r\n"]
