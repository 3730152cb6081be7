"""Backups: a round trip, tampering, and what a restore never overwrites."""

import base64
import contextlib
import json
import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.backup import (
    COST_BLOCK,
    COST_LOG2,
    COST_TIMES,
    MADE,
    backup,
    restore,
    seal,
    unseal,
)
from fonshare_agent.config import load_settings
from fonshare_agent.errors import (
    AlreadyExists,
    BackupUnreadable,
    ClockUnknown,
    FonshareError,
    StorageError,
)
from fonshare_agent.memberships import Membership, Memberships
from fonshare_agent.model import GroupId
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.settings import USER_ID, SourceKind

NOW = 1_800_000_000
PASSPHRASE = "korrekt Pferd Batterie 🐴"
FAMILLE = Membership(
    GroupId(b"\x01" * 32), "Famille", 5, (b"operation",), (b"grant",), {b"g": b"key"}
)
SETTINGS = """\
node: {name: alice}
disk: ./disk
state: ./state
"""


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """Most tests are not about the cost of guessing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fonshare_agent.backup.COST_LOG2", 4)
        patch.setattr("fonshare_agent.backup.COST_TIMES", 1)
        yield patch


@pytest.fixture(scope="module")
def sealed_text(cheap):
    return seal(b"plain", PASSPHRASE, os.urandom)


def node_in(folder):
    """Make the settings of a node below *folder*."""
    (folder / "disk").mkdir(parents=True)
    (folder / "fonshare.yaml").write_text(SETTINGS)
    return load_settings(folder / "fonshare.yaml")


@pytest.fixture
def alice(tmp_path):
    settings = node_in(tmp_path / "alice")
    keys = load_or_create(settings.keys, os.urandom)
    keys.raise_incarnation(b"life")
    keys.statement("alice")
    Memberships(settings.keys / "groups").save(FAMILLE)
    (settings.state / "shares.yaml").write_text("shares: []\n")
    return settings


def keys_of(settings):
    return load_or_create(settings.keys, os.urandom)


def bring_back(settings, sealed, passphrase=PASSPHRASE, now=NOW):
    return restore(settings, sealed, passphrase, clock=lambda: now)


def test_a_node_comes_back_on_another_machine(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    restored = bring_back(other, sealed)

    assert (restored.groups, restored.settings) == (1, True)
    before, after = keys_of(alice), keys_of(other)
    assert after.signer.node_id == before.signer.node_id
    assert after.tls_certificate_der == before.tls_certificate_der
    assert after.sealing.public == before.sealing.public
    assert Memberships(other.keys / "groups").load() == ([FAMILLE], [])
    assert (other.state / "shares.yaml").read_text() == "shares: []\n"


AGENT = 54321


@pytest.mark.skipif(os.geteuid() != 0, reason="only root restores for another user")
@pytest.mark.parametrize("has_started", [True, False])
def test_what_root_restores_belongs_to_the_agents_user(alice, tmp_path, has_started):
    sealed = backup(alice, PASSPHRASE)
    elsewhere = node_in(tmp_path / "there")
    if has_started:  # on another disk: a first start has made keys, of no group
        load_or_create(elsewhere.keys, os.urandom)
        owner = AGENT
        for path in (elsewhere.keys, *elsewhere.keys.iterdir()):
            os.chown(path, AGENT, AGENT)
    else:  # a router that was flashed: there is no folder yet
        shutil.rmtree(elsewhere.keys, ignore_errors=True)
        elsewhere = replace(elsewhere, kind=SourceKind.UCI, path=None)
        owner = USER_ID

    bring_back(elsewhere, sealed)

    found = [elsewhere.keys, *elsewhere.keys.rglob("*")]
    assert len(found) >= 5
    assert {path.name: path.stat().st_uid for path in found} == {
        path.name: owner for path in found
    }


def test_after_a_restore_everything_that_must_rise_has_risen(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    used = keys_of(alice)
    for _ in range(5):  # the node lived on after the backup
        used.raise_incarnation(b"later")
        used.statement(f"alice {os.urandom(2).hex()}")
    other = node_in(tmp_path / "new")
    bring_back(other, sealed)

    restored = keys_of(other)
    assert restored.incarnation > used.incarnation
    assert restored.life == b""
    assert restored.statement("alice").version > used.statement("alice").version
    third = node_in(tmp_path / "third")
    bring_back(third, sealed, now=NOW + 60)  # the same backup once more
    assert keys_of(third).incarnation > restored.incarnation


def test_a_restore_over_the_same_node_never_lowers_its_incarnation(alice):
    sealed = backup(alice, PASSPHRASE)
    keys = keys_of(alice)
    keys._store(statement_version=2 * NOW)
    nodekeys_file = alice.keys / "incarnation.json"
    document = json.loads(nodekeys_file.read_text())
    nodekeys_file.write_text(json.dumps({**document, "incarnation": 2 * NOW}))
    bring_back(alice, sealed)

    assert keys_of(alice).incarnation > 2 * NOW
    assert keys_of(alice).statement("alice").version > 2 * NOW


def test_a_restore_needs_the_time(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    with pytest.raises(ClockUnknown):
        bring_back(other, sealed, now=5)
    assert not other.keys.exists()


def test_another_identity_with_groups_is_never_replaced(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    identity = keys_of(other).signer.node_id
    Memberships(other.keys / "groups").save(FAMILLE)
    (other.path).write_text(SETTINGS.replace("alice", "bob"))

    with pytest.raises(AlreadyExists, match="belong to groups"):
        bring_back(other, sealed)
    assert keys_of(other).signer.node_id == identity
    assert "bob" in other.path.read_text()


def test_an_identity_made_by_a_first_start_gives_way_and_is_kept_aside(alice, tmp_path):
    """A fresh install starts by itself, and makes keys nobody knows yet."""
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    fresh = keys_of(other).signer.node_id
    (other.keys / "disk-id").write_text("a" * 26)
    bring_back(other, sealed)

    assert keys_of(other).signer.node_id == keys_of(alice).signer.node_id
    assert (other.keys / "disk-id").read_text() == "a" * 26
    aside = other.keys.with_name("keys.before-restore")
    assert load_or_create(aside, os.urandom).signer.node_id == fresh


def test_settings_that_differ_are_kept_aside(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    other.path.write_text(SETTINGS.replace("alice", "bob"))
    assert bring_back(other, sealed).settings

    assert other.path.read_text() == SETTINGS
    aside = other.path.with_name("fonshare.yaml.before-restore")
    assert "bob" in aside.read_text()
    assert other.path.stat().st_mode & 0o777 == 0o600


def test_settings_that_cannot_be_used_here_leave_the_present_ones(alice, tmp_path):
    alice.path.write_text(SETTINGS + "downloads: /somewhere/else\n")
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    other.path.write_text(SETTINGS.replace("alice", "bob"))
    restored = bring_back(other, sealed)

    assert not restored.settings
    assert "bob" in other.path.read_text()
    assert len(list(other.path.parent.glob("*.before-restore"))) == 0
    assert keys_of(other).signer.node_id == keys_of(alice).signer.node_id


def test_a_wrong_passphrase_and_a_damaged_file_are_one_error(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    damaged = sealed[:-5] + bytes([sealed[-5] ^ 1]) + sealed[-4:]
    messages = set()
    for raw, passphrase in ((sealed, "wrong"), (damaged, PASSPHRASE)):
        with pytest.raises(BackupUnreadable) as caught:
            bring_back(other, raw, passphrase)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert not other.keys.exists()


def test_nothing_shows_in_clear(alice):
    sealed = backup(alice, PASSPHRASE)
    for secret in (b"alice", b"Famille", keys_of(alice).tls_seed, b"identity"):
        assert secret not in sealed


def test_making_one_is_noted_for_the_doctor(alice):
    assert not (alice.keys / MADE).exists()
    backup(alice, PASSPHRASE)
    assert (alice.keys / MADE).exists()


def test_two_backups_of_the_same_have_nothing_in_common(alice):
    first, second = backup(alice, PASSPHRASE), backup(alice, PASSPHRASE)
    assert first[30:] != second[30:]


@settings(deadline=None)
@given(at=st.integers(0, 81), bit=st.integers(0, 7))
def test_no_changed_bit_goes_unnoticed(sealed_text, at, bit):
    assert len(sealed_text) == 82
    changed = bytearray(sealed_text)
    changed[at] ^= 1 << bit
    with pytest.raises(BackupUnreadable):
        unseal(bytes(changed), PASSPHRASE)


@given(raw=st.binary() | st.binary().map(b"FonShare backup 1\n".__add__))
@settings(max_examples=30, deadline=None)
def test_strangers_bytes_are_not_a_backup(raw):
    with pytest.raises(BackupUnreadable):
        unseal(raw, PASSPHRASE)


def test_guessing_a_passphrase_is_dear_and_the_router_can_still_open_it():
    assert 128 * COST_BLOCK << COST_LOG2 == 8 << 20
    assert COST_TIMES == 4


def test_a_header_may_not_ask_for_all_the_memory_there_is(sealed_text):
    greedy = bytearray(sealed_text)
    greedy[18] = 25
    with pytest.raises(BackupUnreadable, match="memory"):
        unseal(bytes(greedy), PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"keys": "AAAA"},
        {"groups": {"../evil.json": "AAAA"}},
        {"groups": {"x": 1}},
        {"incarnation": None},
        {"incarnation": float("inf")},
        {"incarnation": 1 << 64},
        {"settings": 5},
    ],
)
def test_contents_that_cannot_be_are_refused_before_anything_is_written(
    alice, tmp_path, change
):
    document = json.loads(unseal(backup(alice, PASSPHRASE), PASSPHRASE))
    sealed = seal(json.dumps(document | change).encode(), PASSPHRASE, os.urandom)
    other = node_in(tmp_path / "new")
    with pytest.raises(BackupUnreadable, match="cannot be used"):
        bring_back(other, sealed)
    assert not other.keys.exists()


def test_an_inside_that_nests_without_end_is_refused(tmp_path):
    sealed = seal(b"[" * 100_000, PASSPHRASE, os.urandom)
    with pytest.raises(BackupUnreadable, match="cannot be used"):
        bring_back(node_in(tmp_path / "new"), sealed)


@pytest.mark.parametrize("cost", [(16, 1, 1), (17, 1, 1), (31, 1, 1), (1, 255, 16)])
def test_a_header_with_a_cost_that_cannot_be_is_a_damaged_backup(sealed_text, cost):
    changed = bytearray(sealed_text)
    changed[18:21] = bytes(cost)
    with pytest.raises(BackupUnreadable):
        unseal(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("place", ["/proc/keys-cannot-be-here", "./fonshare.yaml"])
def test_settings_whose_keys_can_lie_nowhere_leave_the_present_ones(
    alice, tmp_path, place
):
    document = json.loads(unseal(backup(alice, PASSPHRASE), PASSPHRASE))
    hostile = SETTINGS + f"keys: {place}\n"
    document["settings"] = base64.b64encode(hostile.encode()).decode()
    sealed = seal(json.dumps(document).encode(), PASSPHRASE, os.urandom)
    other = node_in(tmp_path / "new")
    before = other.path.read_bytes()
    assert bring_back(other, sealed).settings is False
    assert other.path.read_bytes() == before
    assert keys_of(other).signer.node_id == keys_of(alice).signer.node_id


def test_a_backup_cannot_have_a_folder_of_other_things_closed(alice, tmp_path):
    """Such as /etc, by root: it would be of mode 700 then."""
    etc = tmp_path / "etc"
    etc.mkdir(mode=0o755)
    (etc / "passwd").write_text("root")
    document = json.loads(unseal(backup(alice, PASSPHRASE), PASSPHRASE))
    hostile = SETTINGS + f"keys: {etc}\n"
    document["settings"] = base64.b64encode(hostile.encode()).decode()
    sealed = seal(json.dumps(document).encode(), PASSPHRASE, os.urandom)
    other = node_in(tmp_path / "new")
    assert bring_back(other, sealed).settings is False
    assert etc.stat().st_mode & 0o777 == 0o755
    assert [one.name for one in etc.iterdir()] == ["passwd"]


def test_changes_that_cannot_be_read_leave_the_present_settings(alice, tmp_path):
    document = json.loads(unseal(backup(alice, PASSPHRASE), PASSPHRASE))
    document["changes"] = base64.b64encode(b"shares: [\0").decode()
    sealed = seal(json.dumps(document).encode(), PASSPHRASE, os.urandom)
    other = node_in(tmp_path / "new")
    assert bring_back(other, sealed).settings is False
    assert not (other.state / "shares.yaml").exists()
    load_settings(other.path)


def test_a_keys_folder_that_cannot_be_one_is_named(alice, tmp_path):
    sealed = backup(alice, PASSPHRASE)
    other = node_in(tmp_path / "new")
    other.keys.parent.mkdir(parents=True, exist_ok=True)
    other.keys.write_text("a file where the folder goes")
    with pytest.raises(StorageError) as caught:
        bring_back(other, sealed)
    assert caught.value.thing.startswith(str(other.keys))


@pytest.mark.full
@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(
        ["keys", "kind", "incarnation", "groups", "settings", "changes"]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.text(max_size=9), inner, max_size=2)
        ),
        max_leaves=4,
    )
    | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()),
)
def test_whatever_is_inside_a_backup_the_error_has_a_name(
    tmp_path_factory, name, value
):
    folder = tmp_path_factory.mktemp("hostile")
    first = node_in(folder / "first")
    keys_of(first)
    document = json.loads(unseal(backup(first, PASSPHRASE), PASSPHRASE))
    document[name] = value
    sealed = seal(json.dumps(document).encode(), PASSPHRASE, os.urandom)
    other = node_in(folder / "new")
    with contextlib.suppress(FonshareError):
        bring_back(other, sealed)
    load_settings(other.path)


def test_a_node_without_groups_or_changes_can_be_backed_up(tmp_path):
    bob = node_in(tmp_path / "bob")
    identity = keys_of(bob).signer.node_id
    sealed = backup(bob, PASSPHRASE)
    shutil.rmtree(bob.state)
    bring_back(bob, sealed)
    assert keys_of(bob).signer.node_id == identity
