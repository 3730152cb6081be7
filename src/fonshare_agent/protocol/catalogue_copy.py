"""How a copy of a catalogue looks: pages, each packed by itself into a frame. Pure.

Owns the frame's layout and every limit of a copy (docs/protocol/catalogue.md, Copies).
A packed page is unpacked only as far as the limit for any message, so that a few bytes
never become gigabytes. Reading and writing the file is the caller's work.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from fonshare_agent.model import SIZE_MAX
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN, BLOCKS_WANTED
from fonshare_agent.protocol.envelope import DECOMPRESSED_MAX
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.messages import CatalogueDelta, decode, encode

# All copies are cut into blocks of the smallest size, so that one can be hashed while
# its length is not known yet. Four million entries of 64 bytes packed have room.
COPY_BYTES_MAX: Final = (BLOCKS_WANTED - 1) * BLOCK_SIZE_MIN
FRAMES_MAX: Final = 32_768  # of pages as full as they should be: what follows
UNPACKED_MAX: Final = 2 * 1024**3  # all pages together, four million of 512 bytes
# Stored without a gain, zlib adds five bytes for each 16 KiB, and six.
PACKED_MAX: Final = DECOMPRESSED_MAX + 1024

_HEAD: Final = struct.Struct(">IQ")
HEAD_BYTES: Final = _HEAD.size


@dataclass(frozen=True, slots=True)
class FrameHead:
    """What stands before a packed page: its length, and the number it ends at."""

    length: int
    upto: int


def pack(page: CatalogueDelta) -> bytes:
    """Return *page* as a frame."""
    packed = zlib.compress(encode(page))
    return _HEAD.pack(len(packed), page.upto) + packed


def parse_head(raw: bytes) -> FrameHead:
    """Return the head in *raw*; BadMessage if no frame begins so."""
    if len(raw) != HEAD_BYTES:
        raise BadMessage("a copy ends within a frame")
    length, upto = _HEAD.unpack(raw)
    if not 0 < length <= PACKED_MAX or upto > SIZE_MAX:
        raise BadMessage("a copy holds what is no frame")
    return FrameHead(length, upto)


def unpack(head: FrameHead, packed: bytes) -> tuple[CatalogueDelta, int]:
    """Return the page of a frame and its unpacked size, or raise BadMessage."""
    body = _decompress(packed)
    page = decode(CatalogueDelta.KIND, body)
    assert isinstance(page, CatalogueDelta)  # its kind is known here
    if page.upto != head.upto:
        raise BadMessage("a frame holds another page than it says")
    if page.after > page.upto or page.upto > page.head:
        raise BadMessage("a page ends before it begins, or beyond its head")
    return page, len(body)


def _decompress(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        # One byte more than allowed tells "exactly full" from "more to come".
        body = unpacker.decompress(packed, DECOMPRESSED_MAX + 1)
    except zlib.error:
        raise BadMessage("a page of a copy does not unpack") from None
    if len(body) > DECOMPRESSED_MAX or not unpacker.eof or unpacker.unused_data:
        raise BadMessage("a page of a copy is too large, cut short or has a tail")
    return body
