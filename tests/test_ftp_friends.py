"""The friends' tree at the house door: what friends offer, as folders to look at."""

import ftplib
import os
import subprocess

import pytest

from friends_offers import offers
from ftp_service import GUEST, serving, store
from test_ftp_clients import need

AWKWARD = [
    "Île de Bréhat.mkv".encode(),
    b"two  spaces and 100%.txt",
    b"caf\xe9 latin1 \xff.txt",
    b"-leading dash",
    b"n" * 255,
]


@pytest.fixture
def world(tmp_path):
    with offers(tmp_path) as made:
        alice = made.member("alice", b"a")
        made.offer(alice, "Films", b"brehat.mkv", b"old/1950/ordet.mkv", size=1 << 33)
        made.offer(alice, "Films", *AWKWARD, b"new\nline.txt")
        made.offer(alice, "Musik", b"a.mp3")
        with serving(tmp_path, friends=lambda: made.tree) as served:
            yield made, served


def names(ftp, path):
    ftp.encoding = "utf-8"
    return {name for name, _ in ftp.mlsd(path) if name not in (".", "..")}


def test_the_owner_walks_from_groups_to_files(world):
    _, served = world
    ftp = served.login()
    assert "friends" in names(ftp, "/")
    assert names(ftp, "/friends") == {"Famille"}
    assert names(ftp, "/friends/Famille") == {"alice"}, "without this node itself"
    assert names(ftp, "/friends/Famille/alice") == {"Films", "Musik"}
    ftp.cwd("/friends/Famille/alice/Films/old")
    assert ftp.pwd() == "/friends/Famille/alice/Films/old"
    assert ftp.nlst() == ["1950"]
    ftp.cwd("1950")
    facts = dict(ftp.mlsd())["ordet.mkv"]
    assert (facts["type"], facts["size"]) == ("file", str(1 << 33))
    assert (facts["modify"], facts["perm"]) == ("20231114221320", "r")
    assert ftp.size("ordet.mkv") == 1 << 33
    assert ftp.sendcmd("MDTM ordet.mkv") == "213 20231114221320"
    assert "ordet.mkv" in ftp.sendcmd("STAT /friends/Famille/alice/Films/old/1950")
    assert "type=file" in ftp.sendcmd("MLST ordet.mkv")
    lines: list[str] = []
    ftp.encoding = "latin-1"
    ftp.retrlines("LIST /friends/Famille/alice/Films", lines.append)
    assert any(
        line.startswith("dr-xr-xr-x") and line.endswith(" old") for line in lines
    )
    assert any(line.startswith("-r--r--r--") for line in lines)


def test_names_come_byte_for_byte_but_for_those_that_ftp_cannot_carry(world):
    _, served = world
    lines = served.raw().login()
    with lines.data() as data:
        assert lines.code("NLST /friends/Famille/alice/Films") == "125"
        found = data.makefile("rb").read().split(b"\r\n")
    assert set(found) >= set(AWKWARD)
    assert not [name for name in found if b"line" in name]
    assert lines.reply().startswith("226")
    for name in AWKWARD:
        assert lines.code(b"SIZE /friends/Famille/alice/Films/" + name) == "213"
    lines.close()


@pytest.mark.parametrize(
    "path",
    [
        "/friends/Nobody",
        "/friends/Famille/nobody",
        "/friends/Famille/me",
        "/friends/Famille/alice/Nothing",
        "/friends/Famille/alice/Films/nothing",
        "/friends/Famille/alice/Films/brehat.mkv/below",
    ],
)
def test_what_is_not_there_is_said_to_be_so(world, path):
    _, served = world
    lines = served.raw().login()
    for command in ("CWD", "SIZE", "MDTM", "RNFR"):
        assert lines.code(f"{command} {path}") == "550"
    lines.close()


def test_nothing_can_be_changed_there(world):
    _, served = world
    ftp = served.login()
    store(ftp, "mine.txt", b"mine")
    film = "/friends/Famille/alice/Films/brehat.mkv"
    for change in (
        lambda: ftp.delete(film),
        lambda: ftp.mkd("/friends/Famille/new"),
        lambda: ftp.mkd("/friends"),
        lambda: ftp.rmd("/friends/Famille/alice"),
        lambda: ftp.rename("mine.txt", "/friends/Famille/alice/Films/mine.txt"),
        lambda: store(ftp, film, b"other"),
        lambda: store(ftp, "/friends/new.txt", b"other"),
        lambda: ftp.sendcmd(f"MFMT 20200101000000 {film}"),
    ):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            change()
    assert set(os.listdir(served.disk)) <= {"mine.txt", ".fonshare"}
    assert (served.disk / "mine.txt").read_bytes() == b"mine"


def test_two_members_of_one_name_are_told_apart_as_ls_does(world):
    made, served = world
    first, second = made.member("bob", b"b"), made.member("bob", b"c")
    made.offer(first, "One", b"1")
    made.offer(second, "Two", b"2")
    ftp = served.login()
    bobs = {name for name in names(ftp, "/friends/Famille") if name.startswith("bob (")}
    assert len(bobs) == 2
    shares = [names(ftp, f"/friends/Famille/{bob}") for bob in bobs]
    assert sorted(share for found in shares for share in found) == ["One", "Two"]


def test_the_owners_own_folder_called_friends_stays_what_it_is(world):
    _, served = world
    (served.disk / "friends").mkdir()
    (served.disk / "friends" / "photo.jpg").write_bytes(b"mine")
    ftp = served.login()
    assert names(ftp, "/") >= {"friends", "friends (2)"}
    assert names(ftp, "/friends") == {"photo.jpg"}
    assert names(ftp, "/friends (2)/Famille") == {"alice"}
    ftp.delete("/friends/photo.jpg")


def test_guests_see_nothing_of_it(tmp_path):
    with offers(tmp_path) as made:
        made.offer(made.member("alice", b"a"), "Films", b"brehat.mkv")
        for folders in ((), ((b"films",),), ((),)):
            with serving(
                tmp_path, friends=lambda: made.tree, guest_folders=folders
            ) as served:
                lines = served.raw().login(GUEST)
                for path in ("/friends", "/friends/Famille/alice/Films/brehat.mkv"):
                    assert lines.code(f"MLST {path}") == "550"
                lines.close()
                ftp = served.login(GUEST)
                assert "friends" not in names(ftp, "/")
                ftp.close()


def test_curl_and_lftp_list_it(world):
    _, served = world
    place = f"ftp://owner:geheim@127.0.0.1:{served.service.house_port}/friends/Famille/"
    listed = subprocess.run(
        [need("curl"), "-sS", "--list-only", place + "alice/Films/old/"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert listed.stdout.split() == [b"1950"]
    found = subprocess.run(
        [
            need("lftp"),
            "-c",
            f"set ftp:ssl-allow no; open {place}; find alice/Films/old",
        ],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert b"alice/Films/old/1950/ordet.mkv" in found.stdout


def fill(made, count):
    alice = made.member("dora", b"d")
    for first in range(0, count, 5000):
        numbers = range(first, min(count, first + 5000))
        made.offer(alice, "Many", *(b"file %06d" % number for number in numbers))


def test_a_large_folder_comes_page_by_page_while_others_are_served(world):
    made, served = world
    fill(made, 3000)
    reader, other = served.raw().login(), served.raw().login()
    with reader.data() as data:
        assert reader.code("NLST /friends/Famille/dora/Many") == "125"
        # Not a byte is taken yet, and the door serves others meanwhile.
        assert other.code("MLST /friends/Famille/dora/Many/file 002999") == "250"
        found = data.makefile("rb").read().split()
    assert len(found) == 2 * 3000
    reader.close()
    other.close()


@pytest.mark.full
def test_a_folder_of_100_000_entries_is_never_in_memory_at_once(world, monkeypatch):
    made, served = world
    fill(made, 100_000)
    pages = []
    browse = made.index.browse

    def counted(**words):
        page = browse(**words)
        pages.append(len(page))
        return page

    monkeypatch.setattr(made.index, "browse", counted)
    lines = served.raw().login()
    with lines.data() as data:
        assert lines.code("MLSD /friends/Famille/dora/Many") == "125"
        stream = data.makefile("rb")
        assert stream.readline()
        # What the client has not read is in sockets and one chunk: not the folder.
        assert sum(pages) < 50_000
        count = 1 + sum(1 for _ in stream)
    assert count == 100_000
    assert max(pages) <= 500
    lines.close()
