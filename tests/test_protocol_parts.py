"""Sets of blocks: their forms on the wire, and against sets as Python has them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.messages import Parts, decode, encode
from fonshare_agent.protocol.parts import (
    PART_BLOCKS_MAX,
    RUNS_MAX,
    gather,
    highest,
    lowest,
    lowest_from,
    pack,
    parse_runs,
    runs_of,
    span,
    unpack,
    write_runs,
)

VECTOR = json.loads((Path(__file__).parent / "vectors" / "parts.json").read_text())
COUNT = VECTOR["count"]
BLOCKS = sum(1 << index for index in VECTOR["blocks"])
SETS = st.sets(st.integers(0, 200))


def as_bits(numbers):
    return sum(1 << number for number in numbers)


def as_set(blocks):
    return {at for first, end in runs_of(blocks) for at in range(first, end)}


def test_the_vector_is_what_we_write_and_read():
    raw = bytes.fromhex(VECTOR["bitmap"])
    assert pack(BLOCKS, COUNT) == raw
    assert unpack(raw, COUNT) == BLOCKS
    assert write_runs(runs_of(BLOCKS)) == VECTOR["request"]
    assert gather(parse_runs(VECTOR["request"], COUNT)) == BLOCKS
    message = Parts(bytes(range(32)), raw, True)
    assert encode(message).decode() == VECTOR["body"]
    assert decode("parts", VECTOR["body"].encode()) == message


@pytest.mark.parametrize("text", VECTOR["not_requests"])
def test_what_is_no_request_is_refused(text):
    assert parse_runs(text, COUNT) is None


@pytest.mark.parametrize("raw", VECTOR["not_bitmaps"])
def test_what_is_no_bitmap_is_refused(raw):
    assert unpack(bytes.fromhex(raw), COUNT) is None


def test_a_request_of_too_many_runs_is_refused():
    many = ",".join(str(2 * at) for at in range(RUNS_MAX + 1))
    assert parse_runs(many, 1000) is None
    assert parse_runs(many.rpartition(",")[0], 1000) is not None


def test_a_bitmap_of_more_than_the_greatest_file_is_malformed():
    body = json.loads(VECTOR["body"])
    for wrong in ("A" * (PART_BLOCKS_MAX // 6 + 4), "", 7, "*"):
        with pytest.raises(PeerError):
            decode("parts", json.dumps(body | {"have": wrong}).encode())
    nothing = decode("parts", json.dumps(body | {"have": None}).encode())
    assert isinstance(nothing, Parts)
    assert nothing.have is None


@given(SETS)
def test_a_set_comes_back_from_its_runs_its_bitmap_and_its_text(numbers):
    blocks = as_bits(numbers)
    assert as_set(blocks) == numbers
    assert gather(runs_of(blocks)) == blocks
    assert unpack(pack(blocks, 201), 201) == blocks
    runs = tuple(runs_of(blocks))
    if 0 < len(runs) <= RUNS_MAX:
        assert parse_runs(write_runs(runs), 201) == runs


@given(SETS, st.integers(0, 210), st.integers(0, 210))
def test_lowest_and_highest_are_those(numbers, count, start):
    blocks, ordered = as_bits(numbers), sorted(numbers)
    assert as_set(lowest(blocks, count)) == set(ordered[:count])
    assert as_set(highest(blocks, count)) == set(ordered[::-1][:count])
    turned = [n for n in ordered if n >= start] + [n for n in ordered if n < start]
    assert as_set(lowest_from(blocks, start, count)) == set(turned[:count])
    assert as_set(span(3, 7)) == {3, 4, 5, 6}


@given(st.binary(max_size=40), st.integers(1, 300))
def test_whatever_bytes_come_a_set_is_of_the_file_or_none(raw, count):
    blocks = unpack(raw, count)
    assert blocks is None or blocks >> count == 0


@given(st.text("0123456789-, x", max_size=30), st.integers(1, 300))
def test_whatever_text_comes_its_runs_are_of_the_file_or_none(text, count):
    runs = parse_runs(text, count)
    if runs is not None:
        assert list(runs) == sorted(runs)
        assert all(0 <= first < end <= count for first, end in runs)
