"""Friends' files by FTP, as players and file managers read them: real agents."""

import ftplib
import io
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from nodes import befriend, eventually, running, share
from test_ftp_clients import need
from test_manners_e2e import shut_hours
from test_streaming_e2e import sees
from waiting import PATIENCE_S

MIB = 1 << 20
FILM = "/friends/Famille/alice/Films/brehat.mkv"


def port_of(node):
    return yaml.safe_load(Path(node.settings).read_text())["ftp"]["port"]


def login(node):
    ftp = ftplib.FTP()
    ftp.connect("127.0.0.1", port_of(node), timeout=PATIENCE_S)
    ftp.login("owner", "secret")
    return ftp


def fetch(ftp, path, rest=None):
    into = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", into.write, rest=rest)
    return into.getvalue()


def begin(ftp, path, rest=None):
    """What a player does that reads as it plays: the data connection, open."""
    ftp.voidcmd("TYPE I")
    return ftp.transfercmd(f"RETR {path}", rest)


def read(data, count):
    got = b""
    while len(got) < count and (more := data.recv(count - len(got))):
        got += more
    return got


def leave(ftp, data):
    """Close in the middle, as a player does that seeks."""
    data.close()
    with pytest.raises(ftplib.all_errors):
        ftp.voidresp()


@pytest.fixture
def friends(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 2000})
    bob = make_node("bob")
    content = os.urandom(8 * MIB)
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = alice.disk / "films"
        (films / "series").mkdir(parents=True)
        (films / "brehat.mkv").write_bytes(content)
        for number in range(3):
            (films / "series" / f"{number}.mkv").write_bytes(b"%d" % number * 1000)
        share(alice, "films", "Films", "Famille")
        sees(bob, "brehat")
        yield alice, bob, content


@pytest.mark.full
def test_a_player_reads_a_friends_film_and_jumps_as_it_likes(friends):
    alice, bob, content = friends
    ftp = login(bob)
    assert ftp.size(FILM) == len(content)
    data = begin(ftp, FILM)
    assert read(data, 100_000) == content[:100_000]
    leave(ftp, data)
    # The index at the end, by REST, long before the middle has come.
    tail = len(content) - 300_000
    assert fetch(ftp, FILM, tail) == content[tail:]
    [job] = bob("jobs")
    assert job["stream"]["kept"] is False
    assert job["done_bytes"] < len(content)
    # Two connections at once, from two places.
    other = login(bob)
    data = begin(ftp, FILM, 1000)
    assert fetch(other, FILM, 6 * MIB) == content[6 * MIB :]
    assert read(data, len(content)) == content[1000:]
    assert ftp.voidresp().startswith("226")
    # Clients people have.
    url = f"ftp://owner:secret@127.0.0.1:{port_of(bob)}"
    got = subprocess.run(
        [need("curl"), "-sS", "-r", "5000-5999", url + FILM],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert got.stdout == content[5000:6000]
    into = bob.folder / "copy.mkv"
    into.write_bytes(content[:MIB])
    script = f"set ftp:ssl-allow no; open {url}; get -c {FILM} -o {into}"
    subprocess.run([need("lftp"), "-c", script], check=True, timeout=PATIENCE_S)
    assert into.read_bytes() == content
    # It was only read: it is on the disk under no name, and goes with its readers.
    assert bob.fetched() == {}
    [job] = bob("jobs")
    assert job["state"] in ("running", "queued")

    # Whoever wants to keep it has it without another byte from the friend.
    alice.stop()
    [kept] = bob("get", "Famille/alice/Films/brehat.mkv", "--wait")
    assert (kept["id"], kept["state"]) == (job["id"], "done")
    assert list(bob.fetched().values()) == [content]
    # And it can be opened as before, though the friend is offline...
    assert fetch(ftp, FILM, 4 * MIB) == content[4 * MIB :]
    # ... but nothing else can: the reason is said.
    eventually(lambda: not bob.members("Famille")["alice"], "she is offline")
    with pytest.raises(ftplib.error_temp, match=r"^450 nobody who offers it is online"):
        fetch(ftp, "/friends/Famille/alice/Films/series/1.mkv")
    assert [one["id"] for one in bob("jobs")] == [job["id"]], "no job is left of it"
    ftp.quit()
    other.quit()


@pytest.mark.full
def test_what_is_dragged_into_a_folder_of_the_disk_is_fetched_there(friends):
    _, bob, content = friends
    ftp = login(bob)
    ftp.mkd("/kino")
    reply = ftp.rename(FILM, "/kino/brehat.mkv")
    assert reply.startswith("250")
    [job] = bob("jobs")
    assert job["id"] in reply
    assert job["path"] == str(bob.disk / "kino" / "brehat.mkv")
    # A folder, by naming the one that shall hold it.
    assert ftp.rename("/friends/Famille/alice/Films/series", "/kino").startswith("250")
    for refused in ("/kino/other.mkv", "/.fonshare/brehat.mkv", "/friends/brehat.mkv"):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            ftp.rename(FILM, refused)
    for row in bob("jobs"):
        bob.wait_for_job(row["id"], "done")
    assert (bob.disk / "kino" / "brehat.mkv").read_bytes() == content
    for number in range(3):
        path = bob.disk / "kino" / "series" / f"{number}.mkv"
        assert path.read_bytes() == b"%d" % number * 1000
    ftp.quit()


@pytest.mark.full
def test_what_is_dragged_away_while_it_is_read_ends_there_and_a_second_place_is_refused(
    friends,
):
    _, bob, content = friends
    ftp = login(bob)
    ftp.mkd("/kino")
    ftp.mkd("/other")
    data = begin(ftp, FILM)
    assert read(data, 100_000) == content[:100_000]
    with closing(login(bob)) as second:
        assert second.rename(FILM, "/kino/brehat.mkv").startswith("250")
        with pytest.raises(ftplib.error_perm, match=r"^553 .* /kino/brehat\.mkv"):
            second.rename(FILM, "/other/brehat.mkv")
        [job] = bob("jobs")
        assert job["path"] != str(bob.disk / "other" / "brehat.mkv")
        leave(ftp, data)
        bob.wait_for_job(job["id"], "done")
        assert (bob.disk / "kino" / "brehat.mkv").read_bytes() == content
        assert bob.job(job["id"])["path"] == str(bob.disk / "kino" / "brehat.mkv")
        # What is here is not fetched again under another name, and that is said.
        with pytest.raises(ftplib.error_perm, match=r"^553 .* /kino/brehat\.mkv"):
            second.rename(FILM, "/other/brehat.mkv")
        assert bob.fetched() == {}
    ftp.close()


@pytest.mark.full
def test_what_is_opened_comes_at_any_hour_and_what_is_kept_of_it_waits(friends):
    _, bob, content = friends
    ftp = login(bob)
    data = begin(ftp, FILM)
    assert read(data, 100_000) == content[:100_000]
    bob("limits", "--hours", shut_hours())  # while it is read
    tail = len(content) - 300_000
    assert read(data, 2 * MIB) == content[100_000 : 100_000 + 2 * MIB]
    leave(ftp, data)
    assert fetch(ftp, FILM, tail) == content[tail:]
    # To have it whole is another wish, and that one waits.
    [kept] = bob("get", "Famille/alice/Films/brehat.mkv")
    eventually(
        lambda: (bob.job(kept["id"])["error"] or {}).get("code") == "hours.closed",
        "it waits",
    )
    done = bob.job(kept["id"])["done_bytes"]
    assert done < len(content)
    bob("limits", "--hours", "0-24")
    bob.wait_for_job(kept["id"], "done")
    assert list(bob.fetched().values()) == [content]
    ftp.quit()
