"""The guard at the door of a broker connection, fed in all ways a socket feeds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import BrokerProtocol, PeerError
from fonshare_agent.links.packet_guard import (
    REMAINING_MAX,
    OversizedPacket,
    PacketGuard,
)

PINGRESP = b"\xd0\0"


def _publish(topic: bytes, size: int, head: int = 0x32) -> bytes:
    """Return the beginning of a PUBLISH whose remaining length is *size*."""
    length, coded = size, b""
    while True:
        length, byte = length >> 7, length & 0x7F
        coded += bytes([byte | (0x80 if length else 0)])
        if not length:
            break
    return bytes([head]) + coded + len(topic).to_bytes(2, "big") + topic


def _read_all(guard: PacketGuard, stream: bytes, wanted: int = 1 << 28) -> int:
    """Read *stream* as paho would; return how much of it was read."""
    place = 0
    while place < len(stream):
        piece = stream[place : place + guard.limit(wanted)]
        assert piece, "the guard asks for nothing although there is something"
        place += len(piece)
        guard.feed(piece)
    return place


def test_packets_of_our_sizes_pass_and_are_counted() -> None:
    guard = PacketGuard()
    largest = _publish(b"t", REMAINING_MAX)
    largest += bytes(REMAINING_MAX - 3)

    _read_all(guard, PINGRESP + largest + PINGRESP)

    assert guard.packets == 3
    assert guard.is_between_packets


def test_one_byte_more_is_refused_with_its_topic_and_size() -> None:
    with pytest.raises(OversizedPacket) as caught:
        _read_all(PacketGuard(), _publish(b"a/topic", REMAINING_MAX + 1) + b"payload")

    assert caught.value.topic == b"a/topic"
    assert caught.value.size == REMAINING_MAX + 1


def test_of_a_large_packet_nothing_but_the_topic_may_be_read() -> None:
    head, read = _publish(b"t" * 500, 200_000_000), []

    class Recording(PacketGuard):
        def limit(self, wanted: int) -> int:
            read.append(super().limit(wanted))
            return read[-1]

    with pytest.raises(OversizedPacket):
        _read_all(Recording(), head + bytes(5000))

    assert sum(read) == len(head)


def test_a_large_packet_that_is_no_message_is_refused() -> None:
    with pytest.raises(BrokerProtocol, match="control"):
        _read_all(PacketGuard(), b"\x90" + b"\xff\xff\xff\x7f")


def test_a_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(BrokerProtocol, match="malformed length"):
        _read_all(PacketGuard(), b"\x30\xff\xff\xff\xff\x01")


@pytest.mark.parametrize("head", [0x34, 0x36, 0x3C])
def test_qos_2_is_refused_because_it_would_be_stored(head: int) -> None:
    with pytest.raises(BrokerProtocol, match="QoS 2"):
        _read_all(PacketGuard(), _publish(b"t", 10, head))


@pytest.mark.parametrize("head", [0x00, 0xF0])
def test_unknown_packet_types_are_refused(head: int) -> None:
    with pytest.raises(BrokerProtocol, match="type"):
        _read_all(PacketGuard(), bytes([head]))


packets = st.tuples(st.sampled_from([0x20, 0x30, 0x32, 0x40, 0xD0]), st.binary()).map(
    lambda packet: bytes([packet[0], len(packet[1])]) + packet[1]
)


@given(st.lists(packets, max_size=8), st.integers(1, 7))
def test_pieces_of_any_size_are_the_same_packets(
    some: list[bytes], piece_size: int
) -> None:
    whole, pieces = PacketGuard(), PacketGuard()
    stream = b"".join(packet for packet in some if packet[1] < 128)

    _read_all(whole, stream)
    _read_all(pieces, stream, piece_size)

    assert whole.packets == pieces.packets
    assert pieces.is_between_packets


@given(st.binary(max_size=600))
def test_strangers_bytes_are_read_or_refused(stream: bytes) -> None:
    guard = PacketGuard(remaining_max=100)
    try:
        _read_all(guard, stream)
    except (BrokerProtocol, PeerError):
        return
    assert guard.limit(1 << 28) <= 65537
