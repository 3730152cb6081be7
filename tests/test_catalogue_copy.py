"""Copies of catalogues as bytes: golden frames, and every way to lie in one."""

import contextlib
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskFull, PeerError
from fonshare_agent.model import SharePath
from fonshare_agent.protocol import catalogue_copy
from fonshare_agent.protocol.catalogue_copy import (
    COPY_BYTES_MAX,
    HEAD_BYTES,
    PACKED_MAX,
    pack,
    parse_head,
    unpack,
)
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, block_size
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.messages import CatalogueDelta, Change, encode
from fonshare_agent.transfer import copy_files
from fonshare_agent.transfer.copy_files import (
    CopyReader,
    CopyWriter,
    open_copy,
    remove_copies,
)
from transfer_world import hashes_of

VECTOR = json.loads((Path(__file__).parent / "vectors" / "catalogue.json").read_text())
INDEX = b"indexid8"


def page(after, upto, *changes, head=100):
    return CatalogueDelta(INDEX, after, upto, head, changes)


def change(path="a.mkv", share="Films"):
    return Change(share, SharePath.parse(path), 1, 1, None, False)


def frame(body, upto=5, level=9):
    packed = zlib.compress(body, level)
    return struct.pack(">IQ", len(packed), upto) + packed


def read(raw):
    return unpack(parse_head(raw[:HEAD_BYTES]), raw[HEAD_BYTES:])[0]


# --- frames ---------------------------------------------------------------------------


def test_a_golden_frame_is_read_and_its_page_is_written_as_the_golden_body():
    found = read(bytes.fromhex(VECTOR["frame"]))
    assert (found.after, found.upto, found.head) == (3, 9, 12)
    assert encode(found) == VECTOR["body"].encode()
    assert read(pack(found)) == found


def test_a_frame_that_unpacks_to_gigabytes_is_refused_without_unpacking_it():
    bomb = zlib.compressobj()
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(256)) + bomb.flush()
    assert len(packed) <= PACKED_MAX, "a quarter of a gigabyte in a frame"
    with pytest.raises(BadMessage, match="too large"):
        read(struct.pack(">IQ", len(packed), 5) + packed)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (struct.pack(">IQ", PACKED_MAX + 1, 5), "no frame"),
        (struct.pack(">IQ", 0, 5), "no frame"),
        (struct.pack(">IQ", 9, 2**63) + bytes(9), "no frame"),
        (b"short", "within a frame"),
        (frame(encode(page(0, 5)), upto=6), "another page"),
        (frame(encode(page(7, 5))), "before it begins"),
        (frame(encode(page(0, 5, head=4))), "beyond its head"),
        (frame(encode(page(0, 5)))[:-1], "cut short"),
        (frame(encode(page(0, 5))) + b"x", "tail"),
        (frame(b"[" * 200_000), "not JSON"),
        (frame(b'{"after":' + b"9" * 200_000 + b"}"), "not JSON"),
        (frame(b"[]"), "not an object"),
    ],
)
def test_a_frame_that_lies_is_refused(raw, why):
    with pytest.raises(BadMessage, match=why):
        read(raw)


@given(packed=st.binary(max_size=200) | st.binary(max_size=200).map(zlib.compress))
def test_hostile_frames_never_raise_anything_but_a_peer_error(packed):
    with contextlib.suppress(PeerError):
        read(struct.pack(">IQ", len(packed), 5) + packed)


def test_hostile_entries_are_left_out_one_by_one_and_the_others_taken():
    good = ["Films", "a.mkv", 1, 1, None, False]
    hostile = [
        ["Films", "../../etc/passwd", 1, 1, None, False],
        ["Films", "a/../b", 1, 1, None, False],
        ["Films", "/etc/passwd", 1, 1, None, False],
        ["Films", "nul\0byte", 1, 1, None, False],
        ["Films", ".fonshare/keys", 1, 1, None, False],
        ["Films", "x/.FonShare/keys", 1, 1, None, False],
        ["Films", "n" * 256, 1, 1, None, False],
        ["Films", "/".join(["d"] * 1000), 1, 1, None, False],
        ["Films", "/".join(["n" * 250] * 20), 1, 1, None, False],
        ["Films", "minus", -1, 1, None, False],
        ["Films", "absurd", 2**63, 1, None, False],
        ["Films", "float", 1.5, 1, None, False],
        ["Films", "root", 1, 1, "AAAA", False],
        ["Films", "flag", 1, 1, None, 1],
        ["a/b", "share", 1, 1, None, False],
        ["Films"],
        7,
    ]
    body = json.loads(encode(page(0, 5)))
    for bad in hostile:
        body["changes"] = [good, bad, good]
        found = read(frame(json.dumps(body).encode()))
        assert found.changes == (change(), change()), bad


# --- files ----------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path / "disk-id", os.urandom)
    disk.open()
    return disk


def write(disk, *pages):
    writer = CopyWriter(disk)
    try:
        assert all(writer.add(one) for one in pages)
        return writer.finish()
    finally:
        writer.close()


def reader_of(disk, raw, *, is_whole=True):
    path = disk.path / "raw"
    path.write_bytes(raw)
    opened = os.open(path, os.O_RDONLY)
    return CopyReader(disk, opened, len(raw), is_whole=is_whole)


def read_all(reader, number=0):
    found = []
    try:
        while (one := reader.read_after(number)) is not None:
            found.append(one)
            number = one.upto
    finally:
        reader.close()
    return found


def test_what_is_written_is_read_again_and_its_root_is_that_of_the_file(disk):
    pages = [
        page(10 * at, 10 * at + 10, change(os.urandom(90).hex()), head=600)
        for at in range(60)
    ] * 40
    file = write(disk, *pages)
    raw = (disk.path / ".fonshare/copies" / file.name.decode()).read_bytes()
    assert len(raw) == file.size > BLOCK_SIZE_MIN
    assert list(file.hashes) == hashes_of(raw)
    opened = open_copy(disk, file.name)
    reader = CopyReader(disk, opened, file.size, is_whole=True)
    assert read_all(reader) == pages[:60], "what does not go on is passed over"
    remove_copies(disk)
    assert list((disk.path / ".fonshare/copies").iterdir()) == []


def test_the_same_pages_give_the_same_copy_so_that_a_restart_spoils_nothing(disk):
    pages = [page(0, 5, change()), page(5, 9, change("b"))]
    first = write(disk, *pages)
    remove_copies(disk)
    assert write(disk, *pages) == first


def test_a_copy_never_has_blocks_of_another_size_than_it_was_hashed_with():
    assert block_size(COPY_BYTES_MAX) == BLOCK_SIZE_MIN


def test_a_full_copy_takes_no_more(disk, monkeypatch):
    monkeypatch.setattr(copy_files, "COPY_BYTES_MAX", 1000)
    writer = CopyWriter(disk)
    try:
        taken = [writer.add(page(n, n + 1, change())) for n in range(50)]
        assert taken[0]
        assert not taken[-1]
        assert writer.finish().size <= 1000
    finally:
        writer.close()


def test_a_copy_that_finds_no_room_leaves_nothing(disk, monkeypatch):
    def no_room(disk, wanted):
        raise DiskFull("the disk is full")

    monkeypatch.setattr(copy_files, "demand_room", no_room)
    writer = CopyWriter(disk)
    with pytest.raises(DiskFull):
        writer.add(page(0, 1, change()))
    writer.close()
    assert list((disk.path / ".fonshare/copies").iterdir()) == []


def test_a_copy_that_broke_off_gives_the_pages_that_are_whole(disk):
    raw = pack(page(0, 5, change())) + pack(page(5, 9, change()))
    assert len(read_all(reader_of(disk, raw[:-1], is_whole=False))) == 1
    with pytest.raises(BadMessage, match="within a frame"):
        read_all(reader_of(disk, raw[:-1]))
    with pytest.raises(BadMessage, match="within a frame"):
        read_all(reader_of(disk, raw + b"x"))


def test_pages_that_are_here_already_are_passed_over_unread(disk):
    broken = struct.pack(">IQ", 3, 5) + b"xxx"
    raw = broken + pack(page(5, 9, change()))
    assert [one.upto for one in read_all(reader_of(disk, raw), number=5)] == [9]


@pytest.mark.parametrize("level", [0, 9])
def test_a_damaged_copy_is_noticed_wherever_the_damage_is(disk, level):
    whole = frame(encode(page(0, 5, change())), level=level)
    for at in range(len(whole)):
        raw = bytearray(whole)
        raw[at] ^= 0x40
        try:
            found = read_all(reader_of(disk, bytes(raw)))
        except BadMessage:
            continue
        # Deflate has a few bits that mean nothing.
        assert found == [page(0, 5, change())]


def test_a_copy_that_never_ends_is_ended(disk, monkeypatch):
    raw = b"".join(pack(page(n, n + 1)) for n in range(100))
    monkeypatch.setattr(copy_files, "FRAMES_MAX", 50)
    with pytest.raises(BadMessage, match="too many"):
        read_all(reader_of(disk, raw))
    monkeypatch.setattr(copy_files, "FRAMES_MAX", 100)
    assert len(read_all(reader_of(disk, raw))) == 100
    monkeypatch.setattr(copy_files, "UNPACKED_MAX", 1000)
    with pytest.raises(BadMessage, match="too large"):
        read_all(reader_of(disk, raw))


def test_the_limits_of_a_copy_hold_the_million_entries_that_are_promised():
    packed = len(pack(page(0, 500, *(_ordinary(n) for n in range(500)), head=500)))
    assert packed * 2000 < COPY_BYTES_MAX
    assert catalogue_copy.FRAMES_MAX > 4_000_000 / 500


def _ordinary(number):
    path = f"concerts 1998/Bréhat, en direct/piste {number:03} guitare.ogg"
    return Change(
        "Musique",
        SharePath.parse(path),
        3_000_000 + number * 7919,
        900_000_000 + number,
        os.urandom(32),
        False,
    )
