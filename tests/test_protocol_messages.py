"""Messages: what is encoded comes back, and hostile bodies end in a PeerError."""

import base64
import contextlib
import json
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import PeerError
from fonshare_agent.model import NAME_BYTES_MAX, PRIVATE_FOLDER, SharePath, _is_plain
from fonshare_agent.protocol.fields import BadMessage, _decode_bytes, _encode_bytes
from fonshare_agent.protocol.messages import (
    KINDS,
    CatalogueDelta,
    Change,
    Presence,
    TicketAsk,
    TicketRefuse,
    decode,
    encode,
    late_kinds,
)
from fonshare_agent.protocol.topics import liveness_topic

ALL_KINDS = KINDS | late_kinds()
NONCE = bytes(range(16))
HASH = bytes(range(32))


def a_change(path: bytes = "Été/Bréhat.jpg".encode()) -> Change:
    return Change("Films", SharePath.parse(path), 7, 1_600_000_000, HASH, False)


def test_a_delta_comes_back_as_it_went_even_with_names_that_are_not_utf8():
    sent = CatalogueDelta(
        b"indexid8", 3, 5, 9, (a_change(), a_change(b"caf\xe9\n/\xff.bin"))
    )
    assert decode("catalogue_delta", encode(sent)) == sent


def test_one_hostile_entry_does_not_hide_the_good_one_beside_it():
    body = json.loads(encode(CatalogueDelta(b"indexid8", 0, 2, 2, (a_change(),))))
    good = body["changes"][0]
    for bad in (
        ["Films", "../../etc/passwd", 1, 1, None, False],
        ["Films", "a", -1, 1, None, False],
        ["Films", "a/" * 100 + "b", 1, 1, None, False],
        ["Films", "n" * 256, 1, 1, None, False],
        ["Films", "a", 1, 1, "AAAA", False],
        ["Films", ".FonShare/keys", 1, 1, None, False],
        "nonsense",
    ):
        body["changes"] = [bad, good]
        decoded = decode("catalogue_delta", json.dumps(body).encode())
        assert isinstance(decoded, CatalogueDelta)
        assert decoded.changes == (a_change(),)


@given(st.text("AZaz09-_+/=é\n ", max_size=12))
def test_bytes_are_read_as_the_urlsafe_alphabet_says(text):
    padded = text + "=" * (-len(text) % 4)
    try:
        expected = base64.urlsafe_b64decode(padded)
    except ValueError:
        with pytest.raises(BadMessage):
            _decode_bytes(text)
    else:
        assert _decode_bytes(text) == expected


@given(st.binary(max_size=100))
def test_bytes_are_written_without_padding_in_the_urlsafe_alphabet(raw):
    text = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert _encode_bytes(raw) == text
    assert _decode_bytes(text) == raw


@given(st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"x", b"./")))
def test_a_path_that_looks_plain_breaks_no_rule(raw):
    if _is_plain(raw):
        parts = raw.split(b"/")
        assert not {b"", b".", b".."} & set(parts)
        assert all(len(part) <= NAME_BYTES_MAX for part in parts)
        assert PRIVATE_FOLDER not in raw.lower().split(b"/")
        assert b"\0" not in raw


def test_a_path_that_leaves_its_share_is_refused_in_a_ticket_ask():
    ask = TicketAsk(NONCE, "job", "Films", SharePath.parse("a"), None, b"cert", ())
    body = json.loads(encode(ask)) | {"path": "a/../../b"}
    with pytest.raises(PeerError, match=r"ticket_ask\.path"):
        decode("ticket_ask", json.dumps(body).encode())


def test_what_is_kept_of_each_member_is_short():
    ask = TicketAsk(NONCE, "job", None, None, HASH, bytes(2049), ())
    presence = Presence(bytes(300), liveness_topic(bytes(20)), HASH, bytes(8), 0, ())
    for message in (ask, presence):
        with pytest.raises(PeerError):
            decode(message.KIND, encode(message))


@pytest.mark.parametrize("reason", ["a b", "a\nb", "\x1b[2J", "\u202eb", "x" * 65, 5])
def test_a_reason_is_one_word_that_may_stand_in_a_log(reason):
    body = json.loads(encode(TicketRefuse(NONCE, "not_here")))
    assert decode("ticket_refuse", json.dumps(body).encode())
    with pytest.raises(PeerError):
        decode("ticket_refuse", json.dumps(body | {"reason": reason}).encode())


def test_an_unknown_kind_is_none_and_unknown_fields_are_ignored():
    ask = TicketAsk(
        NONCE, "job", "Films", SharePath.parse("a"), HASH, b"cert", (("::1", 21),)
    )
    body = json.loads(encode(ask)) | {"later": [1]}
    assert decode("from_the_future", b"{}") is None
    assert decode("ticket_ask", json.dumps(body).encode()) == ask


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_a_message_lacking_a_required_field_is_refused(kind):
    with pytest.raises(PeerError):
        decode(kind, b"{}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_hostile_bodies_never_raise_anything_but_a_peer_error(data):
    kind = data.draw(st.sampled_from(sorted(ALL_KINDS)))
    names = [one.name for one in fields(ALL_KINDS[kind])]  # type: ignore[arg-type]
    body = data.draw(
        st.binary()
        | st.fixed_dictionaries(dict.fromkeys(names, JSON)).map(
            lambda value: json.dumps(value).encode()
        )
    )
    with contextlib.suppress(PeerError):
        decode(kind, body)
