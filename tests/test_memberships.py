"""The files of groups: round trips, strangers' fields, and damage that stays local."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import KeysDamaged, KeysExposed
from fonshare_agent.memberships import Membership, Memberships, _decode, _encode
from fonshare_agent.model import GroupId, is_label

FAMILLE = Membership(
    group=GroupId(b"\x01" * 32),
    label="Famille",
    created=0,
    operations=(b"one", b"two"),
    grants=(b"grant",),
    epoch_keys={b"hash": b"secret key"},
    extra={"heads": [1, 2]},
)
VOILE = Membership(group=GroupId(b"\x02" * 32), label="Voile", created=7)


@pytest.fixture
def memberships(tmp_path):
    return Memberships(tmp_path / "groups")


def file_of(tmp_path, membership):
    return tmp_path / "groups" / (membership.group.hex() + ".json")


def test_what_is_saved_is_loaded_and_what_is_deleted_is_not(memberships):
    memberships.save(FAMILLE)
    memberships.save(VOILE)
    assert memberships.load() == ([FAMILLE, VOILE], [])
    memberships.delete(FAMILLE.group)
    memberships.delete(FAMILLE.group)

    assert memberships.load() == ([VOILE], [])


def test_deleting_before_anything_was_saved_does_nothing(memberships):
    memberships.delete(FAMILLE.group)
    assert memberships.load() == ([], [])


def test_only_the_owner_can_read_a_group_and_an_exposed_one_is_refused(
    memberships, tmp_path
):
    memberships.save(FAMILLE)
    memberships.save(VOILE)
    exposed = file_of(tmp_path, FAMILLE)
    assert exposed.stat().st_mode & 0o777 == 0o600
    assert exposed.parent.stat().st_mode & 0o777 == 0o700
    exposed.chmod(0o644)

    found, (complaint,) = memberships.load()
    assert found == [VOILE]
    assert isinstance(complaint, KeysExposed)
    assert exposed.exists()


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 99, b"[]", b"{}", b"[" * 9999, b'{"format": 1}']
)
def test_a_damaged_group_is_put_aside_and_the_others_load(
    memberships, tmp_path, damage
):
    for _ in range(2):  # damaged a second time, it does not replace what is aside
        memberships.save(FAMILLE)
        memberships.save(VOILE)
        file_of(tmp_path, FAMILLE).write_bytes(damage)
        found, (complaint,) = memberships.load()

        assert found == [VOILE]
        assert isinstance(complaint, KeysDamaged)
        assert FAMILLE.group.hex() in str(complaint)
        assert memberships.load() == ([VOILE], [])
    aside = [p.name for p in (tmp_path / "groups").iterdir() if "damaged" in p.name]
    assert len(aside) == 2


def test_a_file_under_another_groups_name_is_damage(memberships, tmp_path):
    memberships.save(FAMILLE)
    file_of(tmp_path, FAMILLE).rename(file_of(tmp_path, VOILE))

    found, (complaint,) = memberships.load()
    assert found == []
    assert "not the group" in str(complaint)


def test_a_newer_versions_fields_survive_saving_by_this_one(memberships, tmp_path):
    memberships.save(FAMILLE)
    document = json.loads(file_of(tmp_path, FAMILLE).read_text())
    document["colour"] = "blue"
    file_of(tmp_path, FAMILLE).write_text(json.dumps(document))
    (loaded,), _ = memberships.load()
    memberships.save(loaded)

    assert json.loads(file_of(tmp_path, FAMILLE).read_text())["colour"] == "blue"


def test_a_newer_versions_file_is_left_where_it_is(memberships, tmp_path):
    memberships.save(FAMILLE)
    path = file_of(tmp_path, FAMILLE)
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))

    found, (complaint,) = memberships.load()
    assert found == []
    assert "newer version" in str(complaint)
    assert path.exists()


def test_a_leftover_of_a_crash_is_not_a_group(memberships, tmp_path):
    memberships.save(FAMILLE)
    file_of(tmp_path, FAMILLE).with_suffix(".json.new").write_bytes(b"half")
    memberships.save(FAMILLE)

    assert memberships.load() == ([FAMILLE], [])
    assert len(os.listdir(tmp_path / "groups")) == 1


@given(
    group=st.binary(min_size=32, max_size=32),
    label=st.text(max_size=20).filter(is_label),
    raw=st.lists(st.binary()),
    keys=st.dictionaries(st.binary(), st.binary()),
)
def test_every_membership_makes_the_round_trip(
    tmp_path_factory, group, label, raw, keys
):
    membership = Membership(GroupId(group), label, 1, tuple(raw), tuple(raw), keys)
    path = Path(group.hex() + ".json")

    assert _decode(_encode(membership), path) == membership


def test_no_key_shows_in_a_repr():
    assert "secret" not in repr(FAMILLE)
