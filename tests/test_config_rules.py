"""Rules between options: ports that collide, folders that must stay hidden."""

from pathlib import Path

import pytest

from fonshare_agent.config import SourceKind
from fonshare_agent.errors import SettingsError
from settings_files import check, complaints

# --- ports ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ftp", "complaint"),
    [
        ({"port": 65535}, "ftp.friends_port: is 65536 when not given"),
        (
            {"port": 3000, "friends_port": 3000},
            "ftp.friends_port: is 3000, as ftp.port",
        ),
        (
            {"port": 30009, "friends_port": 2122},
            "ftp.passive_ports: holds 30009, which is ftp.port",
        ),
        ({"port": 29999}, "ftp.passive_ports: holds 30000, which is ftp.friends_port"),
        ({"friends_port": 30019}, "ftp.friends_passive_ports: holds 30019, which is"),
        (
            {"passive_ports": "30000-30010"},
            "ftp.friends_passive_ports: overlaps ftp.passive_ports (30000-30010)",
        ),
        (
            {"passive_ports": "30019-30030"},
            "ftp.friends_passive_ports: overlaps ftp.passive_ports (30019-30030)",
        ),
        (
            {"passive_ports": "30012-30013"},
            "ftp.friends_passive_ports: overlaps ftp.passive_ports (30012-30013)",
        ),
        ({"port": 8080}, "web.port: is 8080, as ftp.port is"),
        ({"passive_ports": "30009-30000"}, "ftp.passive_ports: is '30009-30000'"),
        ({"passive_ports": "1000-2000"}, "ftp.passive_ports: is '1000-2000'"),
        ({"passive_ports": "60000-70000"}, "ftp.passive_ports: is '60000-70000'"),
        ({"passive_ports": "30000"}, "ftp.passive_ports: is '30000'"),
        ({"passive_ports": 30000}, "ftp.passive_ports: is 30000"),
        ({"passive_ports": ""}, "ftp.passive_ports: is empty"),
        ({"port": 65536}, "ftp.port: is 65536; allowed: a port from 1 to 65535"),
        ({"port": -1}, "ftp.port: is -1"),
    ],
)
def test_ports_that_collide_or_cannot_be_are_refused(ftp, complaint):
    text = complaints(ftp=ftp)
    assert complaint in text
    assert len(text.splitlines()) == 1


def test_ranges_that_touch_do_not_overlap():
    ftp = check(ftp={"passive_ports": "30020-30020", "port": 30021}).ftp
    assert (ftp.passive_ports, ftp.friends_port) == ((30020, 30020), 30022)


def test_on_the_router_the_web_page_has_no_port_of_ours():
    assert check(kind=SourceKind.UCI, ftp={"port": 8080}).ftp.port == 8080


# --- places --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/", "'/' is /, the whole system"),
        ("../../..", "is /, the whole system"),
        ("//", "is /, the whole system"),
        ("/overlay/upper", "is in /overlay, the router's flash or system"),
        ("/etc", "is in /etc, the router's flash or system"),
        ("/rom", "is in /rom"),
        ("/mnt", "'/mnt' holds the agent's own folder"),
        ("/mnt/disk2", "is not on the disk"),
        ("../disk2", "is not on the disk"),
        ("films/../../x", "is not on the disk"),
        (".fonshare", "lies in the agent's own folder"),
        (".fonshare/partial", "lies in the agent's own folder"),
        ("a/.FonShare/b", "is FonShare's own folder"),
        (".", "holds the agent's own folder"),
        ("/mnt/disk/", "holds the agent's own folder"),
        ("", "is empty"),
        ("a\0b", "holds a NUL character"),
    ],
)
def test_a_share_that_would_show_what_it_must_not_is_refused(path, complaint):
    with pytest.raises(SettingsError) as caught:
        check(
            kind=SourceKind.UCI,
            state="/mnt/disk/.fonshare",
            shares=[{"name": "F", "path": path}],
        )
    assert str(caught.value).startswith("shares[0].path: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("path", ["films", "/mnt/disk/films", "./a/../films", "films/"])
def test_a_share_may_be_given_relative_to_the_disk_or_absolute(path):
    (share,) = check(shares=[{"name": "F", "path": path}]).shares
    assert share.path == Path("/mnt/disk/films")


@pytest.mark.parametrize("folder", ["state", "keys", "index", "run"])
def test_the_agents_own_folders_are_hidden_from_the_disks_users(folder):
    for path in ("/mnt/disk/state", "/mnt/disk", "/mnt", "/"):
        assert complaints(**{folder: path}).startswith(f"{folder}: ")
    settings = check(**{folder: "/mnt/disk/.fonshare/x"})
    assert getattr(settings, folder) == Path("/mnt/disk/.fonshare/x")


@pytest.mark.parametrize("folder", ["keys", "index", "run"])
def test_a_share_holds_none_of_the_agents_own_folders(folder):
    text = complaints(
        **{folder: "/mnt/disk/.fonshare/x"}, shares=[{"name": "F", "path": "."}]
    )
    assert text.startswith("shares[0].path: '.' holds the agent's own folder")


def test_the_whole_disk_can_be_shared_when_the_agents_folders_are_elsewhere():
    (share,) = check(shares=[{"name": "All", "path": "."}]).shares
    assert share.path == Path("/mnt/disk")


@pytest.mark.parametrize("disk", ["/", "/overlay", "/etc/x", "/../"])
def test_the_system_is_no_disk(disk):
    assert complaints(disk=disk).startswith("disk: is ")


@pytest.mark.parametrize(
    "path", ["/films", "/mnt/disk/x", "../x", ".fonshare", "a/.FONSHARE", "a\0"]
)
def test_downloads_and_guests_folders_stay_on_the_disk(path):
    text = complaints(downloads=path, ftp={"guest_folders": ["ok", path]})
    names = sorted(line.partition(":")[0] for line in text.splitlines())
    assert names == ["downloads", "ftp.guest_folders"]


def test_downloads_are_not_the_disk_itself():
    assert complaints(downloads="./").startswith("downloads: is the disk itself")


def test_the_control_socket_fits_into_an_address():
    longest = "/" + "r" * (100 - len("//control.sock"))
    assert len(str(check(run=longest).control_socket)) == 100
    assert complaints(run=longest + "r").startswith(
        "run: makes the path of control.sock 101 bytes long; allowed: "
    )
    # Bytes count, not characters.
    assert complaints(run="/" + "é" * 50).startswith("run: ")


OLD = {"name": "Old", "path": "mirrors/Old", "mirror_of": "ftp://me@old.example/"}
NEW = {"name": "New", "path": "mirrors/New", "mirror_of": "ftp://me@new.example/"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "mirrors/Old/below"}, "shares[1].path: is shared with the mirror"),
        ({"path": "mirrors"}, "shares[1].path: is shared with the mirror"),
        ({"mirror_pin": "00" * 32}, "shares[1].mirror_pin: is of no use: mirror_of"),
        ({"mirror_of": "", "mirror_pin": "00" * 32}, "is of no use without mirror_of"),
        ({"mirror_ca": "a.pem"}, "shares[1].mirror_ca: is of no use: mirror_of is"),
        ({"mirror_of": "", "mirror_ca": "a.pem"}, "is of no use without mirror_of"),
        ({"mirror_of": "ftp://me:geheim@new.example/"}, "holds a password"),
        ({"mirror_of": "http://new.example/"}, "does not begin with ftp://"),
        ({"mirror_of": "ftp://new.example/\n"}, "holds a character"),
    ],
)
def test_a_mirror_that_cannot_be_is_refused(change, complaint):
    text = complaints(shares=[OLD, NEW | change])
    assert complaint in text
    assert "geheim" not in text


def test_a_mirror_is_no_whole_disk_and_other_shares_may_show_it():
    assert "is the disk itself" in complaints(shares=[OLD | {"path": "."}])
    assert check(shares=[OLD, {"name": "Part", "path": "mirrors/Old/part"}])


def test_names_of_shares_and_users_are_given_once():
    text = complaints(
        shares=[{"name": "F", "path": "a"}, {"name": "F", "path": "b"}],
        ftp={"users": [{"name": "u", "password": ""}, {"name": "u", "password": "x"}]},
    )
    assert "shares[1].name: is 'F' again" in text
    assert "ftp.users[1].name: is 'u' again" in text


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("0-24", None),
        ("0:00-24:00", None),
        ("1-6", (60, 360)),
        ("22-7", (1320, 420)),
        ("0-23", (0, 1380)),
        ("22:30-06:45", (1350, 405)),
        ("23:00-24:00", (1380, 1440)),
    ],
)
def test_hours_are_read_as_minutes_of_the_day(text, hours):
    limits = check(limits={"hash_hours": text, "hours": text}).limits
    assert limits.hash_hours == limits.hours == hours


@pytest.mark.parametrize(
    "text", ["", "1", "6-6", "1-25", "-3-4", "a-b", "1:60-6:00", "24:01-3", "1:0-6", 5]
)
def test_hours_that_are_none_are_refused(text):
    assert "limits.hash_hours" in complaints(limits={"hash_hours": text})
