import base64
import hashlib
import json
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fonshare_agent
from fonshare_agent.errors import (
    BadCode,
    BadSignature,
    MalformedMessage,
    PeerError,
    UnknownVersion,
    UnsealError,
    WeakKey,
)
from fonshare_agent.model import NodeId
from fonshare_agent.protocol.check_digits import ALPHABET, check_character
from fonshare_agent.protocol.keys import (
    Context,
    KeyStatement,
    SealingKey,
    Signer,
    hkdf,
    node_id,
    node_id_text,
    open_sealed,
    parse_node_id,
    seal_to,
    verify,
)
from protocol_vectors import make_all

VECTORS = Path(__file__).parent / "vectors"
KEYS = json.loads((VECTORS / "keys.json").read_text(encoding="utf-8"))
ANNA = Signer(bytes(32))
BEN = SealingKey(b"\2" * 32)
STATEMENT = KeyStatement.make(ANNA, "anna", 3, b"f" * 32, BEN.public)
# Points of small order: RFC 7748, section 6.1, and two of order 8.
WEAK_POINTS = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
]
ids = st.binary(min_size=32, max_size=32).map(NodeId)


def hexed(name: str, part: dict[str, str] = KEYS) -> bytes:
    return bytes.fromhex(part[name])


def test_the_vectors_are_what_the_reference_makes():
    kept = {path.name: path.read_text(encoding="utf-8") for path in VECTORS.iterdir()}

    for name, text in make_all().items():
        assert kept[name] == text


# --- signatures ---------------------------------------------------------------


def test_an_identity_and_its_signature_equal_the_golden_ones():
    signer, vector = Signer(hexed("seed")), KEYS["signature"]
    signature = signer.sign(vector["context"], hexed("data", vector))

    assert signer.public == hexed("public")
    assert signer.node_id == hexed("node_id")
    assert signature == hexed("signature", vector)
    verify(signer.public, vector["context"], hexed("data", vector), signature)


def test_a_signature_holds_only_in_its_context_over_its_data_by_its_key():
    signature = ANNA.sign(Context.EPOCH_GRANT, b"data")
    changed = bytes([signature[0] ^ 1]) + signature[1:]

    verify(ANNA.public, Context.EPOCH_GRANT, b"data", signature)
    for key, context, data, one in [
        (ANNA.public, Context.ENVELOPE, b"data", signature),
        (ANNA.public, Context.EPOCH_GRANT, b"date", signature),
        (Signer(b"\1" * 32).public, Context.EPOCH_GRANT, b"data", signature),
        (ANNA.public, Context.EPOCH_GRANT, b"data", changed),
        (ANNA.public, Context.EPOCH_GRANT, b"data", signature[:-1]),
        (ANNA.public, Context.EPOCH_GRANT, b"data", signature + b"\0"),
        (ANNA.public[:-1], Context.EPOCH_GRANT, b"data", signature),
        (ANNA.public + b"\0", Context.EPOCH_GRANT, b"data", signature),
    ]:
        with pytest.raises(BadSignature):
            verify(key, context, data, one)


def test_context_and_data_cannot_trade_characters():
    signature = ANNA.sign("fonshare a", b"b")

    with pytest.raises(BadSignature):
        verify(ANNA.public, "fonshare ab", b"", signature)


def test_no_two_uses_share_a_context():
    # An alias in an enum would vanish from the iteration.
    assert len(list(Context)) == len(Context.__members__)
    assert all(one.startswith("fonshare ") for one in Context)


def test_no_string_that_separates_two_uses_stands_in_two_places():
    label = re.compile(r"""["'](fonshare[ -][a-z -]+[ -][0-9]+)["']""")
    sources = Path(fonshare_agent.__file__).parent.rglob("*.py")
    places = [
        (found, source.name)
        for source in sources
        for found in label.findall(source.read_text(encoding="utf-8"))
    ]
    strings = [found.replace("-", " ") for found, _ in places]

    assert set(Context) < set(strings)
    assert len(set(strings)) == len(strings), sorted(places)


@given(public=st.binary(max_size=40), signature=st.binary(max_size=70))
def test_strangers_keys_and_signatures_raise_only_a_peer_error(public, signature):
    with pytest.raises(PeerError):
        verify(public, Context.EPOCH_GRANT, b"data", signature)


def test_a_wrong_seed_is_our_own_error():
    for made_of in (Signer, SealingKey):
        with pytest.raises(ValueError, match="32 bytes"):
            made_of(bytes(31))


# --- derivation and sealing ----------------------------------------------------


def test_hkdf_equals_test_case_3_of_rfc_5869_and_heeds_salt_and_info():
    secret = b"\x0b" * 22

    assert hkdf(secret, "", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        "9d201395faa4b61a96c8"
    )
    assert hkdf(secret, "", salt=bytes(range(13))) != hkdf(secret, "")
    assert hkdf(secret, "a") != hkdf(secret, "b")
    assert hkdf(secret, "a", 64)[:32] == hkdf(secret, "a")


@pytest.mark.parametrize("length", [0, 255 * 32 + 1])
def test_hkdf_refuses_a_length_it_cannot_give(length):
    with pytest.raises(ValueError, match="cannot give"):
        hkdf(b"secret", "info", length)


def test_what_is_sealed_to_a_key_equals_the_golden_bytes_and_opens():
    vector = KEYS["sealed"]
    key = SealingKey(hexed("recipient_seed", vector))
    sealed = seal_to(
        key.public,
        hexed("plain", vector),
        hexed("ephemeral_seed", vector),
        hexed("nonce", vector),
        vector["context"],
    )

    assert key.public == hexed("recipient_public", vector)
    assert sealed == hexed("sealed", vector)
    assert open_sealed(key, sealed, vector["context"]) == hexed("plain", vector)


def test_every_byte_of_what_is_sealed_counts():
    sealed = seal_to(BEN.public, b"hi", b"\3" * 32, b"n" * 24, Context.SEALED_EPOCH_KEY)

    assert open_sealed(BEN, sealed, Context.SEALED_EPOCH_KEY) == b"hi"
    for at in range(len(sealed)):
        bad = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(UnsealError):
            open_sealed(BEN, bad, Context.SEALED_EPOCH_KEY)
    for key, context in [
        (SealingKey(b"\4" * 32), Context.SEALED_EPOCH_KEY),
        (BEN, Context.SEALED_INVITE),
    ]:
        with pytest.raises(UnsealError):
            open_sealed(key, sealed, context)


@given(sealed=st.binary(max_size=120))
def test_strangers_sealed_bytes_raise_only_a_peer_error(sealed):
    with pytest.raises(PeerError):
        open_sealed(BEN, sealed, Context.SEALED_EPOCH_KEY)


@pytest.mark.parametrize("point", WEAK_POINTS, ids=lambda point: point.hex()[:8])
def test_a_point_of_small_order_is_refused_everywhere(point):
    with pytest.raises(WeakKey):
        BEN.agree(point)
    with pytest.raises(WeakKey):
        seal_to(point, b"hi", b"\3" * 32, b"n" * 24, Context.SEALED_EPOCH_KEY)
    with pytest.raises(UnsealError):
        open_sealed(BEN, point + bytes(60), Context.SEALED_EPOCH_KEY)
    statement = KeyStatement.make(ANNA, "anna", 3, b"f" * 32, point)
    with pytest.raises(WeakKey):
        KeyStatement.decode(statement.encode())


def test_a_key_of_the_wrong_length_is_weak():
    for public in (b"", BEN.public[:31], BEN.public + b"\0"):
        with pytest.raises(WeakKey):
            BEN.agree(public)


def test_no_secret_shows_in_a_repr():
    seed = b"SECRETsecretSECRETsecretSECRETse"

    for holder in (Signer(seed), SealingKey(seed)):
        assert "ecret" not in repr(holder)
        assert seed.hex() not in repr(holder)
        assert not hasattr(holder, "__dict__")


# --- node ids -----------------------------------------------------------------


def test_a_node_id_is_written_as_the_golden_text():
    assert node_id_text(node_id(hexed("public"))) == KEYS["node_id_text"]
    assert parse_node_id(KEYS["node_id_text"]) == hexed("node_id")


@given(node=ids)
def test_every_node_id_makes_the_round_trip(node):
    text = node_id_text(node)

    assert len(text) == 56
    assert set(text) <= set(ALPHABET)
    assert parse_node_id(text) == node


@given(node=ids)
def test_case_dashes_spaces_and_lookalikes_do_not_matter(node):
    text = node_id_text(node)
    typed = text.upper().replace("O", "0").replace("B", "8")

    assert parse_node_id("-".join(text[at : at + 7] for at in range(0, 56, 7))) == node
    assert parse_node_id(f"  {typed[:20]} {typed[20:]}\n") == node


def test_a_node_id_with_something_behind_it_is_refused():
    for text in (node_id_text(ANNA.node_id) + "a", node_id_text(ANNA.node_id)[:42]):
        with pytest.raises(BadCode, match="has 56 characters"):
            parse_node_id(text)


@given(node=ids, at=st.integers(0, 55), other=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found_and_its_group_named(node, at, other):
    text = node_id_text(node)
    typed = text[:at] + other + text[at + 1 :]
    start = at // 14 * 14 + 1

    if other == text[at]:
        assert parse_node_id(typed) == node
    else:
        with pytest.raises(BadCode, match=f"characters {start} to {start + 13} "):
            parse_node_id(typed)


@given(
    node=ids, group=st.integers(0, 3), first=st.integers(0, 13), second=st.integers()
)
def test_two_exchanged_characters_are_found(node, group, first, second):
    text = list(node_id_text(node))
    one, two = 14 * group + first, 14 * group + second % 14
    text[one], text[two] = text[two], text[one]

    if "".join(text) != node_id_text(node):
        with pytest.raises(BadCode):
            parse_node_id("".join(text))


def test_exchanged_groups_are_found():
    text = node_id_text(ANNA.node_id)

    with pytest.raises(BadCode, match="characters 1 to 14"):
        parse_node_id(text[14:28] + text[:14] + text[28:])


def test_unused_bits_at_the_end_of_a_node_id_must_be_zero():
    text = node_id_text(ANNA.node_id)
    last = text[42:54] + ALPHABET[ALPHABET.index(text[54]) ^ 1]
    forged = text[:42] + last + check_character(last, 4)

    with pytest.raises(BadCode):
        parse_node_id(forged)


@given(text=st.text() | st.text(alphabet=ALPHABET + "018-", min_size=50, max_size=60))
def test_any_text_is_a_node_id_or_a_bad_code(text):
    try:
        node = parse_node_id(text)
    except BadCode:
        return
    assert len(node) == 32


# --- key statements -----------------------------------------------------------


def test_a_key_statement_equals_the_golden_bytes():
    vector, signer = KEYS["statement"], Signer(hexed("seed"))
    statement = KeyStatement.make(
        signer,
        vector["name"],
        vector["version"],
        hexed("tls_fingerprint", vector),
        hexed("sealing", vector),
    )

    assert statement.encode() == hexed("encoded", vector)
    assert KeyStatement.decode(hexed("encoded", vector)) == statement
    assert statement.node_id == signer.node_id


def test_no_byte_of_a_key_statement_can_be_changed_added_or_lost():
    raw = STATEMENT.encode()

    for at in range(len(raw)):
        for bad in (raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], raw[:at]):
            with pytest.raises(PeerError):
                KeyStatement.decode(bad)
    with pytest.raises(MalformedMessage):
        KeyStatement.decode(raw + b"\0")


def _signed(name: bytes, version: int) -> bytes:
    fixed = b"\x01" + ANNA.public + BEN.public + b"f" * 32
    signed = fixed + struct.pack(">QB", version, len(name)) + name
    return signed + ANNA.sign(Context.KEY_STATEMENT, signed)


@pytest.mark.parametrize(
    "name", [b"", b"a/b", b" a", b"a\n", b"\xff", b"x" * 65, b".."], ids=repr
)
def test_a_well_signed_statement_with_a_bad_name_is_refused(name):
    with pytest.raises(MalformedMessage):
        KeyStatement.decode(_signed(name, 1))


def test_a_statement_version_is_one_that_every_store_can_hold():
    assert KeyStatement.decode(_signed(b"anna", 2**63 - 1)).version == 2**63 - 1
    with pytest.raises(MalformedMessage):
        KeyStatement.decode(_signed(b"anna", 2**63))


def test_a_statement_of_another_format_says_so():
    with pytest.raises(UnknownVersion):
        KeyStatement.decode(b"\x02" + STATEMENT.encode()[1:])


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"version": -1}, {"tls": b""}, {"sealing": b""}], ids=repr
)
def test_nobody_makes_a_statement_that_others_would_refuse(change):
    right = {"name": "anna", "version": 1, "tls": b"f" * 32, "sealing": BEN.public}

    with pytest.raises(ValueError, match=r"statement|bytes"):
        KeyStatement.make(ANNA, *(right | change).values())


@given(raw=st.binary(max_size=300) | st.binary(max_size=300).map(b"\x01".__add__))
def test_strangers_statements_raise_only_a_peer_error(raw):
    with pytest.raises(PeerError):
        KeyStatement.decode(raw)


def test_the_text_is_the_id_in_base32_but_for_the_check_characters():
    text = node_id_text(ANNA.node_id)
    data = "".join(text[at : at + 13] for at in range(0, 56, 14))

    assert base64.b32decode(data.upper() + "====") == ANNA.node_id
    assert hashlib.sha256(ANNA.public).digest() == ANNA.node_id
