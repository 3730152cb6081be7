"""Whatever others send is read or refused: one value at a time is another one.

A member's message is signed and sealed well, so all that is within must be expected;
random bytes would be refused before that is looked at. Each reader gets what is valid
but for one value, and gives a result, or an error of its own. With
`--hypothesis-profile=long` a hundred times as many are tried.
"""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envelopes import ANNA, BEN_RING, BEN_SEALING, inside, reseal, signed
from fonshare_agent.backup_contents import encode_bytes, read_contents
from fonshare_agent.control.door import read_request
from fonshare_agent.errors import FonshareError, PeerError
from fonshare_agent.nodekeys import Secrets
from fonshare_agent.protocol.admission import Admission
from fonshare_agent.protocol.catalogue_copy import FrameHead, unpack
from fonshare_agent.protocol.envelope import open_envelope
from fonshare_agent.protocol.epochs import SEALED_KEY_BYTES, EpochGrant
from fonshare_agent.protocol.fields import BadMessage
from fonshare_agent.protocol.invite_messages import (
    Kind,
    read_agreement,
    read_notice,
    read_page,
    read_reply,
    read_reveal,
)
from fonshare_agent.protocol.keys import Context, KeyStatement
from fonshare_agent.protocol.messages import (
    KINDS,
    CatalogueDelta,
    decode,
    encode,
    late_kinds,
)
from fonshare_agent.protocol.operations import SignedOperation
from fonshare_agent.protocol.signed import canonical, sign_record, to_text
from fonshare_agent.protocol.topics import liveness_topic

pytestmark = pytest.mark.full

ALL_KINDS = KINDS | late_kinds()
INVITE, HASH = bytes(16), bytes(range(32))
STATEMENT = KeyStatement.make(ANNA, "anna", 1, HASH, BEN_SEALING.public)


def b64(count: int) -> str:
    return to_text(bytes(count))


# What a field may hold where it should not, besides anything that JSON can say.
AWKWARD: list[Any] = [
    *(None, True, False, 0, -1, 5, 2**63 - 1, 2**63, 2**64, 10**400, 1.5, 1e308),
    *("", " ", "a", "a/b", "..", "/", "\0", "\n", "\x1b[2J", "\ud800", "\udcff"),
    *("é" * 64, "🎬" * 17, "x" * 70_000, "a/" * 70, "=", "A", "A===", "-_" * 16),
    *(b64(1), b64(8), b64(16), b64(24), b64(32), b64(33), b64(5000)),
    *([], [[]], [None], [1], ["a", "b"], [["a", 0]], [["::1", 21]], ["a"] * 2000),
    *({}, {"": 0}, {"a": {}}, {b64(32): b64(3)}, {"\ud800": "\ud800"}),
]
ANY: st.SearchStrategy[Any] = st.sampled_from(AWKWARD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.floats(),
    lambda one: (
        st.lists(one, max_size=4)
        | st.dictionaries(st.text(max_size=8), one, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn, valid: Any) -> Any:
    """*valid* with one value within it replaced, left out or added."""
    if isinstance(valid, dict) and valid:
        name = draw(st.sampled_from(sorted(valid)))
        match draw(st.integers(0, 9)):
            case 0:
                return {key: one for key, one in valid.items() if key != name}
            case 1:
                return valid | {draw(st.text(max_size=8)): draw(ANY)}
            case _:
                return valid | {name: draw(spoilt(valid[name]))}
    if isinstance(valid, list) and valid and draw(st.booleans()):
        at = draw(st.integers(0, len(valid) - 1))
        return [*valid[:at], draw(spoilt(valid[at])), *valid[at + 1 :]]
    if isinstance(valid, str) and draw(st.booleans()):
        at = draw(st.integers(0, len(valid)))
        return valid[:at] + draw(st.text(max_size=2)) + valid[at + 1 :]
    return draw(ANY)


# --- messages -----------------------------------------------------------------------


def valid_value(read: Callable[[Any], Any]) -> Any:
    """Something that the field takes, found by trying."""
    change = ["Films", "a/b", 7, 8, b64(32), False]
    for one in [
        *([change], [["a/b", b64(32)]], [["", 7, 8, b64(32)]], [["192.0.2.1", 21]]),
        *(liveness_topic(bytes(20)), b64(8), b64(16), b64(32), [b64(32)], [b64(40)]),
        *(5, True, "Films", "a/b", "", [], None),
    ]:
        with suppress(BadMessage):
            read(one)
            return one
    raise AssertionError("the field takes nothing")


def valid_message(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        one.name: valid_value(one.metadata["decode"])
        for one in fields(ALL_KINDS[kind])  # type: ignore[arg-type]
    }
    return found | ({"roots": "", "stars": ""} if kind == "ratings" else {})


MESSAGES = {kind: valid_message(kind) for kind in ALL_KINDS}


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_what_is_spoilt_here_is_valid_before(kind: str) -> None:
    message = decode(kind, json.dumps(MESSAGES[kind]).encode())
    assert message is not None
    assert decode(kind, encode(message)) == message


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_message_with_one_field_that_is_wrong(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(ALL_KINDS)))
    body = json.dumps(data.draw(spoilt(MESSAGES[kind]))).encode()
    with suppress(PeerError):
        message = decode(kind, body)
        assert message is not None
        assert decode(kind, encode(message)) == message, "it can be said again"


@given(head=st.binary(max_size=150), cut=st.integers(0, 120), flags=st.integers(0, 255))
def test_an_envelope_that_a_member_has_filled_as_it_liked(
    head: bytes, cut: int, flags: int
) -> None:
    plain = inside(flags=flags)
    for one in (head, plain[:cut] + head, head + plain[cut:], signed(plain) + head):
        with suppress(PeerError):
            open_envelope(reseal(one), BEN_RING)


# --- signed records -----------------------------------------------------------------

RECORDS: dict[str, tuple[str, dict[str, Any], Callable[[bytes], object]]] = {
    kind: (
        Context.OPERATION,
        {"parents": [b64(32)], "kind": kind, **more},
        SignedOperation.decode,
    )
    for kind, more in {
        "create": {
            "parents": [],
            "statement": to_text(STATEMENT.encode()),
            "nonce": b64(16),
            "brokers": ["mqtt://h"],
        },
        "admit": {"statement": to_text(STATEMENT.encode())},
        "remove": {"member": b64(32)},
        "set_brokers": {"brokers": ["mqtt://h"]},
        "leave": {},
    }.items()
}
RECORDS["grant"] = (
    Context.EPOCH_GRANT,
    {
        "group": b64(32),
        "number": 1,
        "heads": [b64(32)],
        "key_commitment": b64(32),
        "sealed": {b64(32): b64(SEALED_KEY_BYTES)},
    },
    lambda raw: EpochGrant.decode(raw).open_for(bytes(32), [BEN_SEALING]),  # type: ignore[arg-type]
)


def of_invite(
    context: str, kind: Kind, read: Callable[[bytes], object], **more: Any
) -> tuple[str, dict[str, Any], Callable[[bytes], object]]:
    return context, {"kind": int(kind), "invite": to_text(INVITE), **more}, read


TOLD, HEARD, AGREED = (
    Context.INVITE_REPLY,
    Context.INVITE_JOINER,
    Context.INVITE_ACCEPT,
)
SAID = to_text(STATEMENT.encode())
RECORDS |= {
    "reply": of_invite(
        *(TOLD, Kind.REPLY, lambda raw: read_reply(raw, INVITE)),
        knock=b64(32),
        statement=SAID,
        commitment=b64(32),
        label="Famille",
    ),
    "page": of_invite(
        *(TOLD, Kind.PAGE, lambda raw: read_page(raw, INVITE)),
        transcript=b64(32),
        part=0,
        parts=1,
        digest=b64(32),
        chunk=b64(9),
    ),
    "notice": of_invite(
        *(TOLD, Kind.REFUSE, lambda raw: read_notice(raw, Kind.REFUSE, INVITE)),
        knock=b64(32),
        reason="refused",
    ),
    "reveal": of_invite(
        *(HEARD, Kind.REVEAL, lambda raw: read_reveal(raw, Kind.REVEAL, INVITE)),
        statement=SAID,
        nonce=b64(32),
        seen=b64(32),
        reason="",
    ),
    "agreement": of_invite(
        *(AGREED, Kind.ACCEPT, lambda raw: read_agreement(raw, Kind.ACCEPT, INVITE)),
        transcript=b64(32),
        want=0,
    ),
}


@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"grant"}))
def test_the_records_that_are_spoilt_here_are_valid_before(name: str) -> None:
    context, valid, read = RECORDS[name]
    read(sign_record(ANNA, context, valid))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_signed_record_with_one_field_that_is_wrong(data: st.DataObject) -> None:
    context, valid, read = RECORDS[data.draw(st.sampled_from(sorted(RECORDS)))]
    found = data.draw(spoilt(valid))
    try:
        raw = sign_record(ANNA, context, found)
    except ValueError:
        return  # nobody could send so much
    with suppress(PeerError):
        read(raw)


# --- what is packed -----------------------------------------------------------------

ADMISSION = {
    "operations": [b64(40)],
    "grants": [b64(40)],
    "brokers": ["mqtt://h"],
    "label": "Famille",
}


@given(found=spoilt(ADMISSION), tail=st.binary(max_size=2))
def test_an_admission_with_one_field_that_is_wrong(found: Any, tail: bytes) -> None:
    Admission.decode(zlib.compress(canonical(ADMISSION)))
    with suppress(PeerError):
        Admission.decode(zlib.compress(json.dumps(found).encode()) + tail)


@given(found=spoilt(MESSAGES[CatalogueDelta.KIND]), upto=st.integers(0, 2**63))
def test_a_page_of_a_copy_with_one_field_that_is_wrong(found: Any, upto: int) -> None:
    packed = zlib.compress(json.dumps(found).encode())
    with suppress(PeerError):
        unpack(FrameHead(len(packed), upto), packed)


BACKUP = {
    "kind": "yaml",
    "keys": encode_bytes(Secrets(HASH, HASH, HASH, 0).encode()),
    "incarnation": 1,
    "groups": {"00" * 32 + ".json": encode_bytes(b"{}")},
    "settings": encode_bytes(b"node: {}"),
    "changes": encode_bytes(b""),
}


@given(found=spoilt(BACKUP))
def test_a_backup_with_one_field_that_is_wrong(found: Any) -> None:
    read_contents(json.dumps(BACKUP).encode())
    with suppress(FonshareError):
        read_contents(json.dumps(found).encode())


@given(found=spoilt({"command": "find", "arguments": {"words": ["a"], "limit": 5}}))
def test_a_command_with_one_argument_that_is_wrong(found: Any) -> None:
    with suppress(FonshareError):
        read_request(json.dumps(found).encode())
