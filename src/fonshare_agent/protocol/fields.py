"""How one field of a message looks on the wire (docs/protocol/messages.md).

Bodies are canonical JSON: bytes as base64url without padding, paths as text in which a
byte that is not UTF-8 is a lone surrogate, numbers as whole numbers up to 2^63-1. Each
function below returns a dataclass field that carries its own decoder and encoder; a
decoder returns a valid value or raises BadMessage.
"""

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from fonshare_agent.errors import BadPath, PeerError
from fonshare_agent.model import SIZE_MAX, SharePath, is_label

HASH_BYTES = 32
NONCE_BYTES = 16
LIST_MAX = 1024  # items of any list: a page of block hashes fills 128 KiB at most
ADDRESSES_MAX = 8  # DESIGN section 4, Ticket addresses
CODE_CHARS_MAX = 64
CERTIFICATE_BYTES_MAX = 2048  # ours have 300; kept of each member that asks for files
HEADS_MAX = 256  # concurrent roster heads; 64 members act rarely at once
BITMAP_BYTES_MAX = 2048  # 16384 blocks, docs/protocol/parts.md
BUNDLE_FILES_MAX = 256  # then the answer fits a page, and the asker's patience
_CODE = re.compile(rf"[!-~]{{0,{CODE_CHARS_MAX}}}")
# Any other could be a wildcard, or a topic that is nobody's to name.
TOPIC = re.compile(r"fonshare/[a-z2-7]{32}", re.ASCII)


class BadMessage(PeerError):
    """A message's body does not say what its kind must say."""

    code = "peer.message"


Decoder = Callable[[Any], Any]
Encoder = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _wire(decode: Decoder, encode: Encoder = _same, **options: Any) -> Any:
    return field(metadata={"decode": decode, "encode": encode}, **options)


# As base64's urlsafe functions, which take several times as long: a catalogue has
# millions of roots.
def _encode_bytes(raw: bytes) -> str:
    text = binascii.b2a_base64(raw, newline=False).decode("ascii")
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def _decode_bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise BadMessage("expected base64 text")
    text = value.replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except ValueError:  # binascii.Error is one
        raise BadMessage("bad base64") from None


def blob(size: int, *, optional: bool = False) -> Any:
    def decode(value: Any) -> bytes | None:
        if optional and value is None:
            return None
        raw = _decode_bytes(value)
        if len(raw) != size:
            raise BadMessage(f"expected {size} bytes, got {len(raw)}")
        return raw

    def encode(raw: bytes | None) -> str | None:
        return None if raw is None else _encode_bytes(raw)

    return _wire(decode, encode)


def short_blob(most: int) -> Any:
    """Bytes of which somebody else knows how many they must be."""

    def decode(value: Any) -> bytes:
        raw = _decode_bytes(value)
        if len(raw) > most:
            raise BadMessage(f"expected at most {most} bytes, got {len(raw)}")
        return raw

    return _wire(decode, _encode_bytes)


def certificate_blob() -> Any:
    return short_blob(CERTIFICATE_BYTES_MAX)


def bitmap() -> Any:
    """A set of blocks, or None; its length is looked at by who knows the file."""

    def decode(value: Any) -> bytes | None:
        raw = None if value is None else _decode_bytes(value)
        if raw is not None and not 0 < len(raw) <= BITMAP_BYTES_MAX:
            raise BadMessage("expected a bitmap")
        return raw

    return _wire(decode, lambda raw: None if raw is None else _encode_bytes(raw))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= SIZE_MAX:
        raise BadMessage("expected a whole number from 0 to 2^63-1")
    return value


def _code(value: Any) -> str:
    """A reason or a job: one word, which may stand in a log."""
    if not isinstance(value, str) or _CODE.fullmatch(value) is None:
        raise BadMessage("expected a code")
    return value


def _label(value: Any) -> str:
    if not isinstance(value, str) or not is_label(value):
        raise BadMessage("expected a label")
    return value


def _topic(value: Any) -> str:
    if not isinstance(value, str) or TOPIC.fullmatch(value) is None:
        raise BadMessage("expected a topic")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadMessage("expected true or false")
    return value


def _path(value: Any) -> SharePath:
    if not isinstance(value, str):
        raise BadMessage("expected a path")
    try:
        return SharePath.parse(value)
    except BadPath as error:
        raise BadMessage(f"refused a path: {error}") from None


def _or_none(decode: Decoder) -> Decoder:
    return lambda value: None if value is None else decode(value)


def _list_of(decode: Decoder, limit: int = LIST_MAX) -> Decoder:
    def decode_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > limit:
            raise BadMessage(f"expected a list of at most {limit}")
        return tuple(decode(item) for item in value)

    return decode_list


def _hash(value: Any) -> bytes:
    raw = _decode_bytes(value)
    if len(raw) != HASH_BYTES:
        raise BadMessage("expected a hash")
    return raw


def _encode_list(hashes: tuple[bytes, ...]) -> list[str]:
    return [_encode_bytes(one) for one in hashes]


def _unpack_hashes(value: Any) -> tuple[bytes, ...]:
    raw = _decode_bytes(value)
    if len(raw) % HASH_BYTES or len(raw) > LIST_MAX * HASH_BYTES:
        raise BadMessage("expected whole block hashes")
    return tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES))


def _pack_hashes(hashes: tuple[bytes, ...]) -> str:
    return _encode_bytes(b"".join(hashes))


def _address(value: Any) -> tuple[str, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not isinstance(value[0], str)
        or len(value[0]) > 255
        or type(value[1]) is not int
        or not 0 < value[1] < 65536
    ):
        raise BadMessage("expected [host, port]")
    return value[0], value[1]


def _encode_addresses(addresses: tuple[tuple[str, int], ...]) -> list[list[Any]]:
    return [list(address) for address in addresses]


@dataclass(frozen=True, slots=True)
class Change:
    """One numbered line of a catalogue: an entry as it is now, or its tombstone."""

    share: str
    path: SharePath
    size: int
    modified: int
    root: bytes | None
    deleted: bool

    def names_bytes(self) -> int:
        """Return what share and path weigh as JSON: up to six times their bytes."""
        return len(_quoted(self.share)) + len(_quoted(self.path.wire()))


def _change(value: Any) -> Change | None:
    """Return the change, or None for one that is refused by itself."""
    if not isinstance(value, list) or len(value) != 6:
        return None
    try:
        return Change(
            _label(value[0]),
            _path(value[1]),
            _number(value[2]),
            _number(value[3]),
            None if value[4] is None else _hash(value[4]),
            _flag(value[5]),
        )
    except BadMessage:
        # Counted by the caller as len(list) - len(changes): one hostile entry must
        # not hide the good ones beside it.
        return None


def _encode_change(change: Change) -> list[Any]:
    return [
        change.share,
        change.path.wire(),
        change.size,
        change.modified,
        None if change.root is None else _encode_bytes(change.root),
        change.deleted,
    ]


def _decode_changes(value: Any) -> tuple[Change, ...]:
    if not isinstance(value, list) or len(value) > LIST_MAX * 4:
        raise BadMessage("expected a list of changes")
    return tuple(change for item in value if (change := _change(item)) is not None)


def _encode_changes(changes: tuple[Change, ...]) -> list[Any]:
    return [_encode_change(change) for change in changes]


@dataclass(frozen=True, slots=True)
class BundleWish:
    """A small file that is asked for together with others of its share."""

    path: SharePath
    root: bytes | None  # if it is pinned


@dataclass(frozen=True, slots=True)
class BundlePart:
    """What is granted of it; *reason* is empty if it is in the bundle."""

    reason: str
    size: int = 0
    modified: int = 0
    root: bytes | None = None


def _wish(value: Any) -> BundleWish:
    if not isinstance(value, list) or len(value) != 2:
        raise BadMessage("expected [path, root]")
    return BundleWish(_path(value[0]), None if value[1] is None else _hash(value[1]))


def _encode_wishes(wishes: tuple[BundleWish, ...]) -> list[Any]:
    return [
        [one.path.wire(), None if one.root is None else _encode_bytes(one.root)]
        for one in wishes
    ]


def _part(value: Any) -> BundlePart:
    if not isinstance(value, list) or len(value) != 4:
        raise BadMessage("expected [reason, size, modified, root]")
    reason, size, modified, root = value
    return BundlePart(
        _code(reason),
        _number(size),
        _number(modified),
        _hash(root) if not reason else None,
    )


def _encode_parts(parts: tuple[BundlePart, ...]) -> list[Any]:
    return [
        [one.reason, one.size, one.modified, one.root and _encode_bytes(one.root)]
        for one in parts
    ]


def share_name(*, optional: bool = False) -> Any:
    return _wire(_or_none(_label) if optional else _label)


def code_text() -> Any:
    return _wire(_code)


def topic_text() -> Any:
    return _wire(_topic)


def number() -> Any:
    return _wire(_number)


def added_number() -> Any:
    """A number that older nodes do not send: 0 from them."""
    return _wire(lambda value: 0 if value is None else _number(value), default=0)


def flag() -> Any:
    return _wire(_flag)


def file_path(*, optional: bool = False) -> Any:
    if optional:
        return _wire(_or_none(_path), lambda path: path and path.wire())
    return _wire(_path, SharePath.wire)


def raw_list() -> Any:
    return _wire(_list_of(_decode_bytes), _encode_list)


def hash_list() -> Any:
    return _wire(_list_of(_hash, HEADS_MAX), _encode_list)


def block_hashes() -> Any:
    return _wire(_unpack_hashes, _pack_hashes)


def addresses() -> Any:
    return _wire(_list_of(_address, ADDRESSES_MAX), _encode_addresses)


def change_list() -> Any:
    return _wire(_decode_changes, _encode_changes)


def added_addresses() -> Any:
    """Addresses that older nodes do not send: none from them."""
    decode = _list_of(_address, ADDRESSES_MAX)
    return _wire(
        lambda value: () if value is None else decode(value),
        _encode_addresses,
        default=(),
    )


def bundle_wishes() -> Any:
    return _wire(_list_of(_wish, BUNDLE_FILES_MAX), _encode_wishes)


def bundle_parts() -> Any:
    return _wire(_list_of(_part, BUNDLE_FILES_MAX), _encode_parts)
