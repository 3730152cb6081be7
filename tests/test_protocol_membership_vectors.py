"""The golden roster and invite: made from the text alone, read by the code."""

import json

from fonshare_agent.model import Role
from fonshare_agent.protocol.codes import invite_keys, invite_topics, words
from fonshare_agent.protocol.epochs import EpochGrant, choose_sending_epoch
from fonshare_agent.protocol.invite_messages import (
    Kind,
    commit,
    invite_id,
    make_agreement,
    make_notice,
    make_page,
    make_reply,
    make_reveal,
    open_frame,
    read_page,
    read_reply,
    read_reveal,
    seal_frame,
    transcript,
)
from fonshare_agent.protocol.keys import KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.operations import SignedOperation
from fonshare_agent.protocol.roster import OperationLog
from membership_vectors import FOLDER, make_all

ROSTER = json.loads((FOLDER / "roster.json").read_text(encoding="utf-8"))
INVITE = json.loads((FOLDER / "invite.json").read_text(encoding="utf-8"))


def invite(name):
    return bytes.fromhex(INVITE[name])


def test_the_membership_vectors_are_what_the_reference_makes():
    for name, text in make_all().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text


def test_the_golden_operations_fold_to_the_golden_roster():
    raws = [bytes.fromhex(one["raw"]) for one in ROSTER["operations"]]
    ids = {one["name"]: bytes.fromhex(one["node_id"]) for one in ROSTER["nodes"]}
    log = OperationLog.from_raw(reversed(raws))
    roster, expected = log.fold(), ROSTER["roster"]
    for one, raw in zip(ROSTER["operations"], raws, strict=True):
        operation = SignedOperation.decode(raw)
        assert operation.hash.hex() == one["hash"]
        assert log.counts(operation.hash) == one["counts"]
    assert roster.group.hex() == expected["group"]
    assert list(roster.members) == [ids[name] for name, _ in expected["members"]]
    for name, role in expected["members"]:
        assert roster.role_of(ids[name]) is Role(role)
    assert roster.removed == {ids[name] for name in expected["removed"]}
    assert {one.hex() for one in roster.endings} == set(expected["endings"])
    assert list(roster.brokers) == expected["brokers"]
    assert [head.hex() for head in roster.heads] == expected["heads"]


def test_the_golden_grants_open_and_the_golden_epoch_is_sent_with():
    nodes = {one["name"]: one for one in ROSTER["nodes"]}
    log = OperationLog.from_raw(bytes.fromhex(o["raw"]) for o in ROSTER["operations"])
    grants = []
    for one in ROSTER["grants"]:
        grant = EpochGrant.decode(bytes.fromhex(one["raw"]))
        assert grant.epoch == (one["number"], bytes.fromhex(one["commitment"]))
        for name in one["sealed_to"]:
            node = nodes[name]
            key = SealingKey(bytes.fromhex(node["sealing_seed"]))
            opened = grant.open_for(bytes.fromhex(node["node_id"]), [key])
            assert opened.hex() == one["epoch_key"]
        grants.append(grant)
    chosen = choose_sending_epoch(log, grants)
    assert chosen is not None
    assert chosen.number == ROSTER["sending_number"]


def test_the_golden_invite_is_said_word_for_word():
    anna = Signer(bytes.fromhex(INVITE["inviter"]["seed"]))
    ben = Signer(bytes.fromhex(INVITE["joiner"]["seed"]))
    anna_says, ben_says = (
        KeyStatement.decode(bytes.fromhex(INVITE[side]["statement"]))
        for side in ("inviter", "joiner")
    )
    name, label = invite_id(invite("secret")), INVITE["label"]
    knock = commit(invite("joiner_nonce"), ben_says.encode())
    assert knock == invite("knock")
    nonce = invite("inviter_nonce")
    reply = make_reply(anna, name, knock, anna_says, nonce, label)
    assert reply == invite("reply")
    assert read_reply(reply, name).label == label
    shown = (ben_says, invite("joiner_nonce"), reply)
    reveal = make_reveal(ben, Kind.REVEAL, name, *shown)
    assert reveal == invite("reveal")
    assert read_reveal(reveal, Kind.REVEAL, name).knock == knock
    seen = transcript(knock, reply, reveal, nonce)
    assert seen == invite("transcript")
    assert list(words(seen)) == INVITE["words"]
    assert make_agreement(ben, Kind.ACCEPT, name, seen) == invite("accept")
    page = make_page(anna, name, seen, invite("sealed"), 0)
    assert page == invite("page")
    assert read_page(page, name).chunk == invite("sealed")
    assert make_agreement(ben, Kind.DONE, name, seen) == invite("done")
    assert make_notice(anna, Kind.CLOSED, name, knock) == invite("closed")
    refusal = make_reveal(ben, Kind.REFUSE, name, *shown, "refused")
    assert refusal == invite("refusal")


def test_the_golden_knock_is_framed_so():
    key, _ = invite_keys(invite("secret"))
    sealed = seal_frame(
        Kind.KNOCK, invite("knock"), key, lambda _: invite("frame_nonce")
    )
    assert sealed == invite("knock_frame")
    assert open_frame(sealed, key) == (Kind.KNOCK, invite("knock"))
    assert invite_topics(invite("secret"))[0] == INVITE["knock_topic"]
