"""Operations as bytes: one form each, and nothing hostile gets through."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.keys import Context
from fonshare_agent.protocol.operations import (
    OPERATION_BYTES_MAX,
    Admit,
    Leave,
    NameAdmin,
    Remove,
    SetBrokers,
    SignedOperation,
    UnnameAdmin,
)
from fonshare_agent.protocol.signed import canonical, sign_record, to_text
from membership import ANNA, BEN


def test_an_operation_is_read_back_as_it_was_made():
    for action in (
        Admit(BEN.statement),
        Remove(BEN.id),
        Leave(),
        NameAdmin(BEN.id),
        UnnameAdmin(BEN.id),
        SetBrokers(("mqtt://a", "mqtt://b")),
    ):
        made = ANNA.does(action, ANNA.creates())
        assert SignedOperation.decode(made.raw) == made
        assert made.action == action
    create = ANNA.creates()
    assert SignedOperation.decode(create.raw) == create
    assert create.created_group == create.hash


def test_any_changed_byte_of_an_operation_is_refused():
    raw = ANNA.does(Admit(BEN.statement), ANNA.creates()).raw
    for at in range(len(raw)):
        with pytest.raises(PeerError):
            SignedOperation.decode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    for cut in (raw[:-1], raw + b"\0", b"", raw[:40], raw + bytes(OPERATION_BYTES_MAX)):
        with pytest.raises(PeerError):
            SignedOperation.decode(cut)


def test_an_operation_over_the_limit_is_refused_though_it_is_well_signed():
    brokers = tuple("\u20ac" * 600 + str(number) for number in range(8))
    fields = {"kind": "set_brokers", "brokers": list(brokers), "parents": [PARENT]}
    raw = sign_record(ANNA.signer, Context.OPERATION, fields)
    assert len(raw) > OPERATION_BYTES_MAX
    with pytest.raises(PeerError, match="bytes"):
        SignedOperation.decode(raw)


PARENT = to_text(bytes(32))
GOOD = {"kind": "remove", "member": to_text(BEN.id), "parents": [PARENT]}


@pytest.mark.parametrize(
    "fields",
    [
        {**GOOD, "parents": []},
        {**GOOD, "parents": [PARENT, PARENT]},
        {**GOOD, "parents": [to_text(b"b" * 32), PARENT]},
        {**GOOD, "parents": [PARENT[:-1]]},
        {
            **GOOD,
            "parents": [to_text(bytes([n // 256, n % 256]) * 16) for n in range(300)],
        },
        {**GOOD, "parents": PARENT},
        {**GOOD, "member": to_text(BEN.id)[:-1] + "B"},
        {**GOOD, "member": to_text(BEN.id) + "="},
        {**GOOD, "member": None},
        {**GOOD, "extra": 1},
        {"kind": "remove", "parents": [PARENT]},
        {"kind": "leave", "parents": []},
        {"kind": 7, "parents": [PARENT]},
        {"kind": "admit", "statement": to_text(b"no"), "parents": [PARENT]},
        {"kind": "set_brokers", "brokers": [], "parents": [PARENT]},
        {"kind": "set_brokers", "brokers": ["a", "a"], "parents": [PARENT]},
        {"kind": "set_brokers", "brokers": ["a\n"], "parents": [PARENT]},
        {"kind": "set_brokers", "brokers": ["x" * 1100], "parents": [PARENT]},
        {"kind": "set_brokers", "brokers": list("abcdefghi"), "parents": [PARENT]},
        {
            "kind": "create",
            "statement": to_text(BEN.statement.encode()),
            "nonce": to_text(bytes(16)),
            "brokers": ["a"],
            "parents": [],
        },
    ],
)
def test_a_well_signed_operation_that_makes_no_sense_is_refused(fields):
    assert SignedOperation.decode(sign_record(ANNA.signer, Context.OPERATION, GOOD))
    raw = sign_record(ANNA.signer, Context.OPERATION, fields)
    with pytest.raises(PeerError):
        SignedOperation.decode(raw)


def test_an_operation_has_one_spelling_only(monkeypatch):
    spaced = canonical(GOOD).replace(b",", b", ")
    monkeypatch.setattr("fonshare_agent.protocol.signed.canonical", lambda _: spaced)
    raw = sign_record(ANNA.signer, Context.OPERATION, GOOD)
    monkeypatch.undo()
    with pytest.raises(PeerError, match="canonical"):
        SignedOperation.decode(raw)


def test_a_signature_for_another_use_is_refused():
    raw = sign_record(ANNA.signer, Context.EPOCH_GRANT, GOOD)
    with pytest.raises(PeerError):
        SignedOperation.decode(raw)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(b"\x01".__add__))
def test_strangers_bytes_never_raise_anything_but_a_peer_error(raw):
    with pytest.raises(PeerError):
        SignedOperation.decode(raw)


@given(st.text(max_size=80))
@example("[" * 20000)
@example("9" * 20000)
def test_well_signed_nonsense_never_raises_anything_but_a_peer_error(text):
    body = text.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fonshare_agent.protocol.signed.canonical", lambda _: body)
        raw = sign_record(ANNA.signer, Context.OPERATION, {})
    with pytest.raises(PeerError):
        SignedOperation.decode(raw)
