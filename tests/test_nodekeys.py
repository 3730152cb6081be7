"""The key files: made whole, kept secret, never replaced by chance."""

import json
import os
import ssl
import subprocess
import sys

import pytest

from fonshare_agent import nodekeys
from fonshare_agent.errors import KeysDamaged, KeysExposed
from fonshare_agent.nodekeys import (
    SEALING_PERIOD_S,
    load_or_create,
    settle_incarnation,
)
from fonshare_agent.protocol.keys import KeyStatement

DAY_S = 24 * 3600


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


def load(folder):
    return load_or_create(folder, os.urandom)


class Store:
    """A state.db as far as the incarnation is concerned."""

    def __init__(self):
        self.found = None

    def life(self):
        return self.found

    def begin_life(self, life):
        self.found = life


def test_the_first_start_makes_three_keys_that_later_starts_find(folder):
    first, second = load(folder), load(folder)

    assert first.signer.node_id == second.signer.node_id
    assert first.tls_certificate_der == second.tls_certificate_der
    assert first.sealing.public == second.sealing.public
    assert len({first.signer.public, first.sealing.public, first.tls_seed}) == 3
    assert first.previous_sealing is None


def test_only_the_owner_can_read_what_is_made(folder):
    os.umask(0)
    try:
        load(folder).raise_incarnation(b"life")
    finally:
        os.umask(0o022)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.iterdir())) == 4
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["keys.json", "incarnation.json", "tls-key.pem"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused(folder, name, mode):
    load(folder).raise_incarnation(b"life")
    (folder / name).chmod(mode)

    with pytest.raises(KeysExposed, match=f"chmod 600 .*{name}") as caught:
        load(folder)
    assert caught.value.exit_status == 2
    assert (folder / name).stat().st_mode & 0o777 == mode


def test_a_folder_that_others_may_write_is_refused_and_a_readable_one_closed(folder):
    load(folder)
    folder.chmod(0o755)
    load(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)

    with pytest.raises(KeysExposed, match="chmod 700"):
        load(folder)


def test_a_key_file_that_is_a_link_is_not_followed(folder, tmp_path):
    load(folder)
    (folder / "keys.json").rename(tmp_path / "elsewhere")
    (folder / "keys.json").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(nodekeys.StorageError, match="symbolic links"):
        load(folder)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 5000,
        b"\0" * 500,
        b"{}" + b" " * 100_000,
        b'{"format": 1}',
        b'{"format": 9}',
    ],
)
def test_damaged_keys_are_told_and_never_replaced(folder, damage):
    load(folder)
    (folder / "keys.json").write_bytes(damage)

    with pytest.raises(KeysDamaged, match=r"keys\.json"):
        load(folder)
    assert (folder / "keys.json").read_bytes() == damage


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", "AAAA"),
        ("identity", None),
        ("tls", "not base64!"),
        ("sealing_since", -1),
        ("sealing_since", True),
        ("statement_version", "1"),
        ("previous_sealing", "AAAA"),
    ],
)
def test_a_damaged_field_is_told(folder, field, value):
    load(folder)
    document = json.loads((folder / "keys.json").read_text())
    (folder / "keys.json").write_text(json.dumps({**document, field: value}))

    with pytest.raises(KeysDamaged, match="damaged"):
        load(folder)


def test_lost_keys_of_a_node_with_a_past_are_not_made_anew(folder):
    load(folder).raise_incarnation(b"life")
    (folder / "keys.json").unlink()

    with pytest.raises(KeysDamaged, match="gone"):
        load(folder)
    (folder / "incarnation.json").unlink()
    (folder / "groups").mkdir()
    (folder / "groups" / "a.json").touch()
    with pytest.raises(KeysDamaged, match="gone"):
        load(folder)


def test_a_damaged_incarnation_is_told_since_guessing_would_repeat_counters(folder):
    load(folder).raise_incarnation(b"life")
    (folder / "incarnation.json").write_text('{"format": 1, "incarnation": "x"}')

    with pytest.raises(KeysDamaged, match="incarnation"):
        load(folder)


def test_a_missing_or_stale_pem_pair_is_made_again(folder):
    keys = load(folder)
    good = keys.private_key_path.read_bytes()
    keys.private_key_path.write_text("cut short")
    keys.certificate_path.unlink()
    load(folder)

    assert keys.private_key_path.read_bytes() == good
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate_path, keys.private_key_path)


CRASH = """
import os, sys
from pathlib import Path
from fonshare_agent.nodekeys import load_or_create
steps = int(sys.argv[2])
def dying(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        global steps
        steps -= 1
        if steps < 0:
            os._exit(9)
        return real(*args, **kwargs)
    return call
for name in ("mkdir", "open", "write", "fsync", "rename"):
    setattr(os, name, dying(name))
load_or_create(Path(sys.argv[1]), os.urandom)
os._exit(0)
"""


def test_a_kill_at_any_step_of_the_first_start_leaves_no_half_made_key(tmp_path):
    ended_well = False
    for steps in range(0, 40, 2):
        folder = tmp_path / f"keys{steps}"
        died = subprocess.run([sys.executable, "-c", CRASH, str(folder), str(steps)])
        before = (folder / "keys.json").exists()
        identity = (folder / "keys.json").read_bytes() if before else None
        keys = load(folder)
        again = load(folder)
        assert keys.signer.node_id == again.signer.node_id
        if identity is not None:
            assert (folder / "keys.json").read_bytes() == identity
        if died.returncode == 0:
            ended_well = True
            break
    assert ended_well


# --- key statements -------------------------------------------------------------


def test_the_statement_stays_the_same_until_something_in_it_changes(folder):
    first = load(folder).statement("alice")
    keys = load(folder)

    assert KeyStatement.decode(first.encode()).node_id == keys.signer.node_id
    assert keys.statement("alice") == first
    renamed = keys.statement("alice's router")
    assert renamed.version == first.version + 1
    assert load(folder).statement("alice's router") == renamed
    assert load(folder).statement("alice").version == renamed.version + 1


def test_the_sealing_key_is_renewed_every_30_days_of_uptime(folder):
    keys = load(folder)
    statement = keys.statement("alice")
    first = keys.sealing.public
    assert not keys.renew_sealing(SEALING_PERIOD_S - 1, os.urandom)
    assert keys.renew_sealing(SEALING_PERIOD_S, os.urandom)
    second = keys.sealing.public

    assert first != second
    assert load(folder).sealing.public == second
    assert load(folder).previous_sealing.public == first
    assert keys.statement("alice").version == statement.version + 1
    assert keys.statement("alice").sealing == second
    assert not keys.renew_sealing(SEALING_PERIOD_S + DAY_S, os.urandom)


def test_the_sealing_key_before_the_last_is_erased(folder):
    keys = load(folder)
    first = json.loads((folder / "keys.json").read_text())["sealing"]
    keys.renew_sealing(SEALING_PERIOD_S, os.urandom)
    assert first in (folder / "keys.json").read_text()
    keys.renew_sealing(2 * SEALING_PERIOD_S, os.urandom)

    assert first not in (folder / "keys.json").read_text()


def test_an_uptime_that_began_anew_only_restarts_the_period(folder):
    keys = load(folder)
    keys.renew_sealing(SEALING_PERIOD_S, os.urandom)
    current = keys.sealing.public

    assert not keys.renew_sealing(5, os.urandom)
    assert not keys.renew_sealing(SEALING_PERIOD_S, os.urandom)
    assert keys.sealing.public == current
    assert keys.renew_sealing(SEALING_PERIOD_S + 5, os.urandom)


# --- the incarnation --------------------------------------------------------------


def test_the_incarnation_stays_with_its_state_and_rises_with_any_other(folder):
    keys, store = load(folder), Store()

    assert settle_incarnation(keys, store, os.urandom)
    assert keys.incarnation == 1
    assert not settle_incarnation(load(folder), store, os.urandom)
    store.found = None  # state.db is missing, restored, or was moved
    keys = load(folder)
    assert settle_incarnation(keys, store, os.urandom)
    assert keys.incarnation == 2
    store.found = b"another state.db's"
    assert settle_incarnation(load(folder), store, os.urandom)
    assert load(folder).incarnation == 3


def test_a_crash_between_the_two_records_of_a_life_raises_it_once_more(folder):
    keys, store = load(folder), Store()
    settle_incarnation(keys, store, os.urandom)
    keys.raise_incarnation(b"never reached state.db")

    assert settle_incarnation(load(folder), store, os.urandom)
    assert load(folder).incarnation == 3


def test_no_secret_shows_in_a_repr(folder):
    keys = load(folder)
    shown = repr(keys) + repr(keys._secrets) + repr(keys.sealing)

    assert keys.tls_seed.hex() not in shown
    assert repr(keys.tls_seed) not in shown
