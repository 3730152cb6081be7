import hashlib
import json
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import BadContent, ContentChanged
from fonshare_agent.model import SIZE_MAX, Root
from fonshare_agent.protocol.content import (
    BLOCK_SIZE_MAX,
    BLOCK_SIZE_MIN,
    BLOCKS_WANTED,
    RootHasher,
    block_count,
    block_range,
    block_size,
    content_root,
    verify_blocks,
)

VECTOR = json.loads((Path(__file__).parent / "vectors" / "content.json").read_text())
GIB = 2**30
sizes = st.integers(0, 2**20) | st.integers(0, 200 * GIB) | st.integers(0, SIZE_MAX)


def pattern(size):
    return (bytes(7 * at & 0xFF for at in range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("vector", VECTOR["files"], ids=lambda v: str(v["size"]))
def test_the_root_of_a_file_equals_the_golden_one(vector):
    hasher = RootHasher(vector["size"])
    hashes = hasher.update(pattern(vector["size"]))

    assert hasher.finish().hex() == vector["root"]
    assert content_root(vector["size"], hashes).hex() == vector["root"]
    assert len(hashes) == vector["blocks"]


@pytest.mark.parametrize(("size", "block", "count"), VECTOR["sizes"])
def test_big_files_are_cut_as_the_golden_table_says(size, block, count):
    assert (block_size(size), block_count(size)) == (block, count)


@given(size=sizes)
def test_the_block_size_is_the_smallest_that_gives_few_enough_blocks(size):
    block = block_size(size)

    assert block.bit_count() == 1
    assert BLOCK_SIZE_MIN <= block <= BLOCK_SIZE_MAX
    assert -(-size // block) < BLOCKS_WANTED or block == BLOCK_SIZE_MAX
    smaller = block // 2
    assert smaller < BLOCK_SIZE_MIN or -(-size // smaller) >= BLOCKS_WANTED


@given(size=st.integers(1, 200 * GIB), data=st.data())
def test_blocks_follow_each_other_and_end_with_the_file(size, data):
    index = data.draw(st.integers(0, block_count(size) - 1))
    offset, length = block_range(size, index)

    assert offset == index * block_size(size)
    if index == block_count(size) - 1:
        assert offset + length == size
    else:
        assert length == block_size(size)
    assert length > 0


def test_there_is_no_block_outside_the_file_and_none_in_an_empty_one():
    for size, index in [(0, 0), (1, 1), (1, -1), (5 * GIB, 1280)]:
        with pytest.raises(ValueError, match="no block"):
            block_range(size, index)


@pytest.mark.parametrize("size", [-1, SIZE_MAX + 1])
def test_a_size_that_no_file_has_is_refused(size):
    with pytest.raises(ValueError, match="no file"):
        block_size(size)


@given(
    size=st.sampled_from([0, 1, 131071, 131072, 131073, 262144, 300000]),
    cuts=st.lists(st.integers(1, 200000), max_size=6),
)
def test_the_root_does_not_depend_on_how_the_bytes_arrive(size, cuts):
    data, hasher, hashes = pattern(size), RootHasher(size), []
    for cut in [*cuts, size]:
        piece, data = data[:cut], data[cut:]
        hashes += hasher.update(bytearray(piece))
    whole = pattern(size)
    blocks = [whole[at : at + BLOCK_SIZE_MIN] for at in range(0, size, BLOCK_SIZE_MIN)]

    assert hashes == [hashlib.sha256(block).digest() for block in blocks]
    assert hasher.finish() == content_root(size, hashes)


def test_two_sizes_with_the_same_hashes_have_two_roots():
    assert content_root(1, [bytes(32)]) != content_root(2, [bytes(32)])


def test_a_file_that_grows_or_shrinks_while_it_is_hashed_has_no_root():
    with pytest.raises(ContentChanged, match="grew"):
        RootHasher(3).update(b"four")
    shrunk = RootHasher(5)
    shrunk.update(b"four")
    with pytest.raises(ContentChanged, match="shrank"):
        shrunk.finish()


@pytest.mark.parametrize(
    "hashes", [[], [bytes(32)] * 2, [bytes(31)], repeat(bytes(32))]
)
def test_a_hash_list_of_the_wrong_length_is_refused_even_an_endless_one(hashes):
    with pytest.raises(BadContent):
        content_root(BLOCK_SIZE_MIN, hashes)


def test_other_hashes_are_refused():
    good = [hashlib.sha256(b"block").digest()]
    root = content_root(5, good)

    verify_blocks(root, 5, good)
    with pytest.raises(BadContent):
        verify_blocks(root, 5, [bytes(32)])
    with pytest.raises(BadContent):
        verify_blocks(Root(bytes(32)), 5, good)
