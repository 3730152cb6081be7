"""Commands change settings: checked first, stored as one, the user's file kept."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fonshare_agent.config import ShareSettings, load_settings
from fonshare_agent.config_changes import ChangesWriter
from fonshare_agent.errors import (
    NotAllowed,
    NotFound,
    SettingsError,
    SettingsUnwritten,
)
from fonshare_agent.links.uci import UciWriter, run_command
from fonshare_agent.passwords import hash_password, verify_password
from fonshare_agent.settings_writer import SettingsWriter, open_settings_writer
from settings_files import write_settings

HASH = hash_password("new", b"0123456789abcdef")
UCI_TEXT = """\
# my router
config node 'node'
	option name 'alice'

config disk 'disk'
	option path '{disk}'
	option run '{run}'

config user
	option name 'guest'
	option access 'read'

config user
	option name 'owner'
	option password 'secret'
	option access 'write'

config share
	option name 'Music'
	option path 'music'
	list groups 'Famille'
"""


def uci_settings(folder: Path) -> Path:
    path = folder / "config" / "fonshare"
    path.parent.mkdir()
    path.write_text(UCI_TEXT.format(disk=folder / "disk", run=folder / "run"))
    return path


@pytest.fixture
def stand_in(tmp_path):
    program = tmp_path / "uci"
    here = str(Path(__file__).parent)
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\n"
        "from uci_stand_in import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    program.chmod(0o700)
    return str(program)


@pytest.fixture(params=["yaml", "uci stand-in", "real uci"])
def writer(request, tmp_path, stand_in) -> SettingsWriter:
    if request.param == "yaml":
        return ChangesWriter(write_settings(tmp_path))
    if request.param == "uci stand-in":
        return UciWriter(uci_settings(tmp_path), program=stand_in)
    if not shutil.which("uci"):
        pytest.skip("there is no `uci` outside OpenWrt")
    return UciWriter(uci_settings(tmp_path))


def path_of(writer) -> Path:
    path: Path = writer._path
    return path


AWKWARD = 'it\'s a "test" #1; $(x) `y` é=ü \\'


def test_a_share_added_is_there_after_a_restart(writer, tmp_path):
    share = ShareSettings(AWKWARD, tmp_path / "disk" / AWKWARD, ("Famille", AWKWARD))

    now = writer.add_share(share)

    assert share in now.shares
    assert load_settings(path_of(writer)).shares == now.shares


def test_a_share_is_stored_relative_to_the_disk(writer, tmp_path):
    writer.add_share(ShareSettings("Films", tmp_path / "disk" / "films", ()))

    files = [*tmp_path.glob("state/shares.yaml"), *tmp_path.glob("config/fonshare")]
    assert str(tmp_path / "disk" / "films") not in files[0].read_text()


def test_a_folder_name_that_is_not_utf8_is_stored_as_it_is(writer, tmp_path):
    path = tmp_path / "disk" / os.fsdecode(b"caf\xe9\nbar")

    writer.add_share(ShareSettings("Films", path, ()))

    assert load_settings(path_of(writer)).shares[-1].path == path


def test_a_mirror_is_stored_with_its_server_and_its_pin(writer, tmp_path):
    url, pin = "ftps://me@old.example:2121/a%20b/c'd", bytes(range(32))
    mirror = ShareSettings("Old", Path("mirrors/Old"), ("Famille",), url, pin)
    settings = writer.add_share(mirror)
    added = next(share for share in settings.shares if share.name == "Old")
    assert (added.mirror_of, added.mirror_pin) == (url, pin)


def test_a_mirror_is_stored_with_its_authority(writer, tmp_path):
    url, ca = "ftps://me@old.example/films", Path("/etc/ssl/private authority.pem")
    mirror = ShareSettings("Old", Path("mirrors/Old"), (), url, None, ca)
    settings = writer.add_share(mirror)
    added = next(share for share in settings.shares if share.name == "Old")
    assert (added.mirror_pin, added.mirror_ca) == (None, ca)


def test_a_share_added_can_be_removed_again(writer):
    before = load_settings(path_of(writer)).shares
    writer.add_share(ShareSettings("Films", Path("films"), ()))

    assert writer.remove_share("Films").shares == before
    assert load_settings(path_of(writer)).shares == before


def test_a_share_that_cannot_be_is_refused_and_nothing_is_written(writer, tmp_path):
    writer.add_share(ShareSettings("Films", Path("films"), ()))
    before = load_settings(path_of(writer)).shares

    for name, path in (
        ("Films", "other"),
        ("Root", "/"),
        ("Out", "../x"),
        ("a/b", "x"),
    ):
        with pytest.raises(SettingsError, match="shares"):
            writer.add_share(ShareSettings(name, Path(path), ()))

    assert load_settings(path_of(writer)).shares == before


def test_removing_a_share_that_is_not_there_says_so(writer):
    with pytest.raises(NotFound, match="'Films'"):
        writer.remove_share("Films")


def test_limits_set_one_by_one_all_stay(writer):
    writer.set_limits({"upload_kib_s": 50})
    writer.set_limits({"transfers": 4})

    limits = load_settings(path_of(writer)).limits
    assert (limits.upload_kib_s, limits.transfers) == (50, 4)


def test_what_is_on_or_off_can_be_set(writer):
    for wanted in (True, False):
        writer.set_limits({"house": wanted, "give_way": wanted})
        limits = load_settings(path_of(writer)).limits
        assert (limits.house, limits.give_way) == (wanted, wanted)


@pytest.mark.parametrize(
    "limits", [{"transfers": 99}, {"transfer": 2}], ids=["value", "name"]
)
def test_a_limit_out_of_range_or_unknown_is_refused(writer, limits):
    with pytest.raises(SettingsError, match=r"limits\.transfer"):
        writer.set_limits(limits)

    assert load_settings(path_of(writer)).limits.transfers == 2


def test_a_password_replaced_is_the_one_that_counts(writer):
    writer.replace_password("owner", HASH)

    settings = load_settings(path_of(writer))
    owner = settings.find_user("owner")
    assert owner is not None
    assert owner.password_hash == HASH
    assert verify_password(owner.password_hash, "new")
    assert settings.plain_users == ()


def test_the_password_of_a_user_who_is_not_there_is_not_replaced(writer):
    with pytest.raises(NotFound, match="'nobody'"):
        writer.replace_password("nobody", HASH)


# --- off the router ------------------------------------------------------------------


def test_the_users_own_file_is_never_rewritten(tmp_path):
    path = write_settings(tmp_path)
    before = path.read_bytes()
    writer = ChangesWriter(path)

    writer.add_share(ShareSettings("Films", Path("films"), ()))
    writer.set_limits({"transfers": 1})
    writer.replace_password("owner", HASH)

    assert path.read_bytes() == before


def test_what_commands_changed_is_readable_by_its_owner_only(tmp_path):
    writer = ChangesWriter(write_settings(tmp_path))

    writer.replace_password("owner", HASH)

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    changes = tmp_path / "state" / "shares.yaml"
    assert stat.S_IMODE(changes.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "state") == ["shares.yaml"]


def test_a_share_of_the_users_file_is_not_removed_by_a_command(tmp_path):
    path = write_settings(tmp_path, shares=[{"name": "Films", "path": "films"}])

    with pytest.raises(NotAllowed, match=r"fonshare\.yaml"):
        ChangesWriter(path).remove_share("Films")


def test_a_share_in_both_files_is_a_complaint(tmp_path):
    path = write_settings(tmp_path)
    ChangesWriter(path).add_share(ShareSettings("Films", Path("films"), ()))
    write_settings(tmp_path, shares=[{"name": "Films", "path": "films"}])

    with pytest.raises(SettingsError, match=r"shares\[1\]\.name: is 'Films' again"):
        load_settings(path)


@pytest.mark.parametrize(
    "text",
    [
        "shares: 1",
        "what: []",
        "shares: [",
        "\x00",
        "passwords: []",
        "[]",
        "shares: [1]",
    ],
)
def test_a_damaged_file_of_changes_is_named(tmp_path, text):
    path = write_settings(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "shares.yaml").write_text(text)

    with pytest.raises(SettingsError, match=r"state/shares\.yaml: "):
        load_settings(path)
    with pytest.raises(SettingsError, match=r"state/shares\.yaml: "):
        ChangesWriter(path).add_share(ShareSettings("Films", Path("films"), ()))


def test_a_state_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path):
    path = write_settings(tmp_path)
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(SettingsUnwritten, match=r"state/shares\.yaml"):
        ChangesWriter(path).set_limits({"transfers": 1})


# --- on the router -------------------------------------------------------------------


class Recorder:
    """Runs commands, and keeps what could be seen of them in /proc."""

    def __init__(self) -> None:
        self.arguments: list[str] = []

    def __call__(self, arguments: Sequence[str], stdin: str) -> str:
        self.arguments += arguments
        return run_command(arguments, stdin)


def test_a_password_hash_is_in_no_argument(tmp_path, stand_in):
    recorder = Recorder()
    writer = UciWriter(uci_settings(tmp_path), run=recorder, program=stand_in)

    writer.replace_password("owner", HASH)

    assert recorder.arguments
    assert not any(HASH[-20:] in argument for argument in recorder.arguments)


def test_a_change_that_uci_did_not_write_is_noticed(tmp_path):
    path = uci_settings(tmp_path)
    before = path.read_bytes()
    writer = UciWriter(path, run=lambda arguments, stdin: "cfg1\n")

    with pytest.raises(SettingsUnwritten, match="did not write"):
        writer.set_limits({"transfers": 1})
    assert path.read_bytes() == before


def test_what_would_be_invalid_is_told_of_the_file_and_not_of_its_copy(
    tmp_path, stand_in
):
    path = uci_settings(tmp_path)
    with pytest.raises(SettingsError) as refused:
        UciWriter(path, program=stand_in).apply("set fonshare.node.name=a/b\n")
    assert refused.value.thing == str(path)


def test_the_folder_of_all_settings_need_not_be_writable(tmp_path, stand_in):
    """The agent's user may write its own file only, as it is: owner, mode and place."""
    path = uci_settings(tmp_path)
    path.chmod(0o660)
    was = path.stat()
    made = set()

    def run(arguments: Sequence[str], stdin: str) -> str:
        said = run_command(arguments, stdin)
        made.update(path.parent.iterdir())
        return said

    UciWriter(path, run=run, program=stand_in).remove_share("Music")

    assert made == {path}, "nothing was made beside it"
    now = path.stat()
    assert (now.st_ino, now.st_mode) == (was.st_ino, was.st_mode)
    assert now.st_size < was.st_size
    assert load_settings(path).shares == ()


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(tmp_path, stand_in):
    path = uci_settings(tmp_path)

    def run(arguments: Sequence[str], stdin: str) -> str:
        if "commit" in arguments:
            path.write_text(path.read_text().replace("'Music'", "'Songs'"))
        return run_command(arguments, stdin)

    with pytest.raises(SettingsUnwritten, match="somebody else"):
        UciWriter(path, run=run, program=stand_in).set_limits({"transfers": 1})
    assert "'Songs'" in path.read_text()


def test_a_failing_uci_is_an_error_with_its_reason(tmp_path):
    failing = tmp_path / "uci"
    failing.write_text("#!/bin/sh\necho 'uci: Out of flash' >&2\nexit 1\n")
    failing.chmod(0o700)
    writer = UciWriter(uci_settings(tmp_path), program=str(failing))

    with pytest.raises(SettingsUnwritten, match="Out of flash"):
        writer.set_limits({"transfers": 1})


def test_a_missing_uci_is_an_error(tmp_path):
    writer = UciWriter(uci_settings(tmp_path), program=str(tmp_path / "none"))

    with pytest.raises(SettingsUnwritten, match="cannot run"):
        writer.set_limits({"transfers": 1})


def test_what_the_owner_staged_by_hand_is_not_committed(tmp_path):
    if not shutil.which("uci"):
        pytest.skip("there is no `uci` outside OpenWrt")
    path = uci_settings(tmp_path)
    staged = tmp_path / "staged"
    staged.mkdir()
    command = ["uci", "-c", str(path.parent), "-t", str(staged)]
    subprocess.run([*command, "set", "fonshare.node.name=bob"], check=True)

    UciWriter(path).set_limits({"transfers": 1})

    assert load_settings(path).node.name == "alice"
    subprocess.run([*command, "commit", "fonshare"], check=True)
    settings = load_settings(path)
    assert (settings.node.name, settings.limits.transfers) == ("bob", 1)


def test_the_writer_fits_where_the_settings_came_from(tmp_path):
    yaml_settings = load_settings(write_settings(tmp_path))
    router_settings = load_settings(uci_settings(tmp_path))

    assert isinstance(open_settings_writer(yaml_settings), ChangesWriter)
    assert isinstance(open_settings_writer(router_settings), UciWriter)
