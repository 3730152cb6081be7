"""The house door: who sees what, what is written when, and what is refused."""

import errno
import ftplib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.addresses import plain_address
from fonshare_agent.errors import BadPath, DiskMissing, NotAllowed
from fonshare_agent.ftp import filesystem, uploads
from fonshare_agent.ftp.accounts import Account, Accounts
from fonshare_agent.ftp.doors import (
    STRANGERS_PER_ADDRESS_MAX,
    STRANGERS_PER_NETWORK_MAX,
    Strangers,
)
from fonshare_agent.ftp.filesystem import DiskFiles, View, path_text, resolve
from ftp_service import (
    GUEST,
    OWNER,
    Lines,
    Served,
    fetch,
    serving,
    store,
    uploads_aside,
)
from waiting import wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, guest_folders=((b"films",), (b"media", b"music"))) as it:
        yield it


@pytest.fixture
def owner(served: Served) -> Iterator[ftplib.FTP]:
    ftp = served.login(OWNER)
    yield ftp
    ftp.close()


@pytest.fixture
def guest(served: Served) -> Iterator[ftplib.FTP]:
    for folder in ("films", "media/music", "media/private", "diary"):
        (served.disk / folder).mkdir(parents=True)
        (served.disk / folder / "one").write_bytes(b"1")
    (served.disk / "media" / "loose").write_bytes(b"1")
    ftp = served.login(GUEST)
    yield ftp
    ftp.close()


def test_a_file_goes_up_and_comes_down_unchanged(served, owner):
    content = os.urandom(700_001)

    assert store(owner, "a.bin", content).startswith("226")

    assert (served.disk / "a.bin").read_bytes() == content
    assert fetch(owner, "a.bin") == content
    assert fetch(owner, "a.bin", rest=700_000) == content[700_000:]
    assert served.changes == [(b"a.bin", "stored")]


def test_a_plain_download_goes_out_in_full_packets(served, owner, monkeypatch):
    real, corked = os.sendfile, []

    def send(out, *rest):
        with socket.socket(fileno=os.dup(out)) as same:
            corked.append(same.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))
        return real(out, *rest)

    monkeypatch.setattr(os, "sendfile", send)
    content = os.urandom(300_001)
    (served.disk / "photo.jpg").write_bytes(content)
    taken = io.BytesIO()
    owner.retrbinary("RETR photo.jpg", taken.write)
    assert taken.getvalue() == content
    assert corked
    assert all(corked)


def test_text_is_not_translated_in_either_direction(served, owner):
    owner.sendcmd("TYPE A")
    lines = b"a\r\nb\nc\r"
    owner.voidcmd("TYPE A")
    with owner.transfercmd("STOR t") as data:
        data.sendall(lines)
    owner.voidresp()

    assert (served.disk / "t").read_bytes() == lines
    with owner.transfercmd("RETR t") as data:
        assert data.makefile("rb").read() == lines
    owner.voidresp()


def test_folders_and_names_are_changed_and_each_change_is_told(served, owner):
    owner.mkd("new")
    store(owner, "new/a", b"a")
    owner.rename("new/a", "new/b")
    owner.delete("new/b")
    owner.rmd("new")

    assert os.listdir(served.disk) == [".fonshare"]
    assert served.changes == [
        (b"new", "made"),
        (b"new/a", "stored"),
        (b"new/a", "moved_from"),
        (b"new/b", "moved_to"),
        (b"new/b", "deleted"),
        (b"new", "deleted"),
    ]


def test_times_and_sizes_are_told_and_times_can_be_set(served, owner):
    store(owner, "a", b"12345")

    assert owner.sendcmd("MFMT 20200229123456 a").startswith("213")
    assert owner.sendcmd("MDTM a") == "213 20200229123456"
    assert owner.size("a") == 5
    assert (served.disk / "a").stat().st_mtime == 1582979696
    assert "size=5" in owner.sendcmd("MLST a")


# --- guests


def test_a_guest_sees_only_the_guest_folders_and_the_way_to_them(guest):
    assert sorted(guest.nlst()) == ["films", "media"]
    assert guest.nlst("media") == ["music"]
    assert guest.nlst("media/music") == ["one"]
    assert fetch(guest, "films/one") == b"1"


@pytest.mark.parametrize(
    "name", ["diary/one", "media/loose", "media/private/one", "films/../diary/one"]
)
def test_a_guest_reads_nothing_else(guest, name):
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        fetch(guest, name)
    for command in ("SIZE", "MDTM", "MLST", "STAT"):
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            guest.sendcmd(f"{command} {name}")
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        guest.cwd("diary")


@pytest.mark.parametrize(
    "command",
    [
        *["STOR films/x", "APPE films/x", "DELE films/one", "RMD films", "MKD films/x"],
        *["RNFR films/one", "RNTO films/x", "MFMT 20200101000000 films/one"],
    ],
)
def test_a_guest_changes_nothing(served, guest, command):
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        guest.sendcmd(command)
    assert os.listdir(served.disk / "films") == ["one"]
    assert served.changes == []


def test_a_guest_folder_that_is_a_file_is_not_a_guest_file(tmp_path):
    with serving(tmp_path, guest_folders=((b"note",),)) as served:
        (served.disk / "note").write_bytes(b"private")
        ftp = served.login(GUEST)
        assert ftp.nlst() == []
        for command in ("SIZE note", "MLST note"):
            with pytest.raises(ftplib.error_perm, match=r"^550"):
                ftp.sendcmd(command)
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            fetch(ftp, "note")


def test_the_disk_itself_refuses_a_login_that_may_only_read(tmp_path):
    files, view = DiskFiles(tmp_path, lambda: None), View(None, can_write=False)
    (tmp_path / "a").write_bytes(b"")
    for change in (files.make_folder, files.remove_folder, files.remove_file):
        with pytest.raises(NotAllowed):
            change(view, (b"a",))
    with pytest.raises(NotAllowed):
        files.rename(view, (b"a",), (b"b",))
    with pytest.raises(NotAllowed):
        files.set_modified(view, (b"a",), 0)
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_mounted_between_opening_and_checking_is_not_used(tmp_path):
    mount_point = tmp_path / "disk"
    mount_point.mkdir()

    def check() -> None:  # which finds the right disk: it came this very moment
        mount_point.rename(tmp_path / "empty mount point")
        mount_point.mkdir()

    with pytest.raises(DiskMissing):
        DiskFiles(mount_point, check).make_folder(View(None, True), (b"a",))
    assert os.listdir(tmp_path / "empty mount point") == []


# --- our own folder, links, strange things


@pytest.mark.parametrize(
    "name", [".fonshare", ".FonShare", "x/../.FONSHARE", "a/.fonshare"]
)
def test_our_own_folder_is_not_there_for_anybody(served, owner, name):
    for folder in (".fonshare", "a/.fonshare"):
        (served.disk / folder).mkdir(parents=True)
        (served.disk / folder / "secret").write_bytes(b"s")

    assert owner.nlst() == ["a"]
    assert owner.nlst("a") == []
    for command in (
        "CWD",
        "MLST",
        "RMD",
        "RNFR",
        "LIST",
        "MLSD",
        "NLST",
        "STAT",
        "MKD",
    ):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            owner.sendcmd(f"{command} {name}")
    for command in ("RETR", "STOR", "DELE", "SIZE", "APPE"):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            owner.sendcmd(f"{command} {name}/secret")


def test_another_spelling_that_the_file_system_takes_for_ours_is_refused(served, owner):
    # As vfat does with FONSHA~1; a second name for one folder needs a bind mount, so
    # here the same inode comes by a hard link to a file in our folder's place.
    (served.disk / ".fonshare").write_bytes(b"secret")
    os.link(served.disk / ".fonshare", served.disk / "FONSHA~1")

    with pytest.raises(ftplib.error_perm, match=r"^550"):
        fetch(owner, "FONSHA~1")
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        owner.delete("FONSHA~1")


@pytest.mark.parametrize("name", ["a:b.bin", "end.", "...", "what?"])
def test_a_name_that_fat_refuses_is_refused_before_the_file_comes(
    served, owner, monkeypatch, name
):
    monkeypatch.setattr(uploads, "refuses_names", lambda device: True)
    with pytest.raises(ftplib.error_perm, match=r"^553 .*takes no"):
        owner.transfercmd(f"STOR {name}")
    assert not [one for one in served.disk.rglob("*") if one.is_file()]
    assert store(owner, "a b.bin", b"x").startswith("226")


def test_names_that_are_one_on_fat_are_not_renamed(served, owner, monkeypatch):
    monkeypatch.setattr(filesystem, "refuses_names", lambda device: True)
    (served.disk / "Film").write_bytes(b"x")
    os.link(served.disk / "Film", served.disk / "film")  # FAT finds it by both
    with pytest.raises(ftplib.error_perm, match=r"^553 .*same name"):
        owner.rename("Film", "film")
    owner.rename("Film", "Film")
    owner.rename("Film", "other")


def test_what_no_disk_can_do_is_told_as_it_is(served, owner, monkeypatch):
    (served.disk / "a").mkdir()
    with pytest.raises(ftplib.error_perm, match=r"^553 .*into itself"):
        owner.rename("a", "a/b")

    def as_fat(name, **options):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "mkdir", as_fat)
    with pytest.raises(ftplib.error_perm, match=r"^553 .*takes no such name"):
        owner.mkd("a:b")


def test_a_name_with_a_dash_is_no_option_of_list(served, owner):
    for name in ("X-Men", "Spider-Man 2", "Spider2", "X"):
        (served.disk / name).mkdir()
    (served.disk / "X-Men" / "one").write_bytes(b"1")
    (served.disk / "Spider-Man 2" / "two").write_bytes(b"2")
    assert owner.nlst("X-Men") == ["one"]
    assert owner.nlst("-la X-Men") == ["one"]
    assert owner.nlst("Spider-Man 2") == ["two"]
    assert "two" in owner.sendcmd("STAT Spider-Man 2")
    assert sorted(owner.nlst("-a")) == ["Spider-Man 2", "Spider2", "X", "X-Men"]


def test_no_symbolic_link_is_followed(served, owner, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    (served.disk / "folder").symlink_to(outside)
    (served.disk / "file").symlink_to(outside / "secret")

    for name in ("folder/secret", "file"):
        for command in ("RETR", "STOR", "SIZE", "MDTM", "MLST"):
            with pytest.raises(ftplib.error_perm, match=r"^55"):
                owner.sendcmd(f"{command} {name}")
    for command in ("CWD folder", "MKD folder/x", "DELE folder/secret"):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            owner.sendcmd(command)
    assert (outside / "secret").read_bytes() == b"s"
    owner.delete("file")  # the link itself is the owner's to remove
    assert not (served.disk / "file").is_symlink()
    assert os.listdir(outside) == ["secret"]


def test_a_fifo_is_refused_and_blocks_nobody(served, owner):
    os.mkfifo(served.disk / "pipe")

    assert owner.nlst() == []
    for command in ("RETR pipe", "STOR pipe"):
        with pytest.raises(ftplib.error_perm, match=r"^55"):
            owner.sendcmd(command)


def test_names_with_line_breaks_are_left_out_of_listings(served, owner):
    for name in (b"a\nb", b"c\rd", b"good"):
        (served.disk / os.fsdecode(name)).write_bytes(b"")

    assert owner.nlst() == ["good"]
    assert [name for name, _ in owner.mlsd()] == ["good"]


@pytest.mark.parametrize("name", [b"a\nb", b"a\rb", b"a\0b", b"n" * 256, b"x/" * 65])
def test_impossible_names_are_refused_with_a_reason(served, name):
    lines = served.raw().login()

    assert lines.ask(b"STOR " + name).startswith("553 ")
    assert lines.ask(b"MKD " + name).startswith("553 ")
    assert lines.code("NOOP") == "200"
    assert os.listdir(served.disk) == []


def test_a_line_that_is_too_long_does_not_end_in_a_command(served):
    (served.disk / "a").write_bytes(b"")
    lines = served.raw().login()

    lines.socket.sendall(b"NOOP " + b"x" * 9000)
    lines.socket.sendall(b"x" * 9000)
    lines.send("")
    assert lines.reply().startswith("500")
    lines.socket.sendall(b"y" * 9000)
    lines.socket.sendall(b"\rDELE a\r\n")
    assert lines.reply().startswith("500")
    assert (served.disk / "a").exists()


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("/.\udcff")))
def test_any_path_stays_below_the_top_or_is_refused(text):
    try:
        parts = resolve((b"here",), text)
    except BadPath:
        return
    assert not {b"", b".", b".."} & set(parts)
    assert all(b"/" not in part and b"\0" not in part for part in parts)
    assert resolve((), path_text(parts)) == parts


# --- uploads


def test_nothing_is_under_its_name_before_it_is_whole(served):
    lines = served.raw().login()
    data = lines.data()
    lines.send("STOR film")
    assert lines.reply()[:3] in ("125", "150")
    data.sendall(b"x" * 500_000)
    wait_until(lambda: uploads_aside(served.disk), "the upload to arrive")

    assert os.listdir(served.disk) == [".fonshare"]
    assert served.login().nlst() == []
    data.close()
    assert lines.reply().startswith("226")
    assert (served.disk / "film").stat().st_size == 500_000
    assert uploads_aside(served.disk) == []


def test_a_client_that_is_killed_leaves_no_file_and_can_resume(served, owner):
    (served.disk / "film").write_bytes(b"the old one")
    lines = served.raw().login()
    data = lines.data()
    lines.send("STOR film")
    lines.reply()
    data.sendall(b"x" * 300_000)
    wait_until(lambda: _partial_size(served) >= 256 << 10, "some bytes on the disk")
    data.shutdown(socket.SHUT_WR)
    lines.socket.shutdown(socket.SHUT_RDWR)  # as the kernel does for a killed process
    wait_until(lambda: served.service.open_connections() == 1, "the session to end")

    assert (served.disk / "film").read_bytes() == b"the old one"
    wait_until(lambda: owner.size("film") > 11, "the upload to be put aside")
    kept = owner.size("film")  # what was on its way may be lost
    assert 256 << 10 <= kept <= 300_000
    assert store(owner, "film", b"y" * 10, rest=kept).startswith("226")
    assert (served.disk / "film").read_bytes() == b"x" * kept + b"y" * 10


def _partial_size(served: Served) -> int:
    names = uploads_aside(served.disk)
    folder = served.disk / ".fonshare" / "upload"
    return max(((folder / name).stat().st_size for name in names), default=0)


def interrupt(served: Served, name: str, content: bytes) -> None:
    lines = served.raw().login()
    data = lines.data()
    lines.send(f"STOR {name}")
    lines.reply()
    data.sendall(content)
    wait_until(lambda: _may_abort(lines, content), "the bytes to arrive")
    lines.send("ABOR")
    assert lines.reply().startswith("426")
    assert lines.reply().startswith("226")
    assert lines.code("NOOP") == "200"
    lines.close()


def _may_abort(lines: Lines, content: bytes) -> bool:
    # On loopback what was sent is in the server's socket; STAT makes one more turn of
    # the loop, which reads it.
    return lines.code("STAT") == "211"


def test_an_interrupted_upload_goes_on_by_appe_after_a_restart(tmp_path):
    with serving(tmp_path) as served:
        interrupt(served, "film", b"x" * 1000)
    with serving(tmp_path) as served:
        owner = served.login()
        assert owner.size("film") == 1000
        with owner.transfercmd("APPE film") as data:
            data.sendall(b"y" * 5)
        assert owner.voidresp().startswith("226")
        assert (served.disk / "film").read_bytes() == b"x" * 1000 + b"y" * 5


def test_a_resume_below_the_partials_end_cuts_what_is_behind(served, owner):
    interrupt(served, "film", b"x" * 1000)

    store(owner, "film", b"y", rest=10)

    assert (served.disk / "film").read_bytes() == b"x" * 10 + b"y"


def test_a_resume_beyond_the_end_is_refused(served, owner):
    interrupt(served, "film", b"x" * 1000)

    with pytest.raises(ftplib.error_perm, match=r"^554"):
        store(owner, "film", b"y", rest=1001)
    assert owner.size("film") == 1000


def test_a_whole_file_can_be_appended_to_and_changed_from_the_middle(served, owner):
    store(owner, "a", b"0123456789")
    with owner.transfercmd("APPE a") as data:
        data.sendall(b"!")
    owner.voidresp()
    assert (served.disk / "a").read_bytes() == b"0123456789!"

    store(owner, "a", b"xy", rest=3)
    assert (served.disk / "a").read_bytes() == b"012xy"
    with pytest.raises(ftplib.error_perm, match=r"^554"):
        store(owner, "a", b"xy", rest=6)
    assert (served.disk / "a").read_bytes() == b"012xy"
    assert uploads_aside(served.disk) == []


def test_the_older_file_is_not_read_by_the_length_of_the_interrupted_one(served, owner):
    (served.disk / "film").write_bytes(b"the older film, which is longer")
    interrupt(served, "film", b"x" * 10)

    assert fetch(owner, "film") == b"the older film, which is longer"
    assert owner.size("film") == 10
    with pytest.raises(ftplib.error_temp, match=r"^450"):
        fetch(owner, "film")
    owner.delete("film")
    assert uploads_aside(served.disk) == []


def test_two_sessions_cannot_upload_to_one_name(served, owner):
    lines = served.raw().login()
    data = lines.data()
    lines.send("STOR film")
    lines.reply()

    with pytest.raises(ftplib.error_temp, match=r"^450"):
        store(owner, "film", b"other")
    data.close()
    assert lines.reply().startswith("226")
    store(owner, "film", b"other")
    assert (served.disk / "film").read_bytes() == b"other"


def test_an_upload_does_not_replace_a_folder(served, owner):
    owner.mkd("a")
    with pytest.raises(ftplib.error_perm, match=r"^553"):
        store(owner, "a", b"x")


# --- the disk is not there


def test_a_missing_disk_answers_and_is_never_written_to(served, owner):
    (served.disk / "film").write_bytes(b"x")
    served.is_missing[0] = True

    for command in ("LIST", "NLST", "MLSD", "SIZE film", "MKD a", "DELE film", "CWD /"):
        with pytest.raises(ftplib.error_temp, match=r"^450 .*disk"):
            owner.sendcmd(command)
    with pytest.raises(ftplib.error_temp, match=r"^450"):
        store(owner, "a", b"x")
    assert os.listdir(served.disk) == ["film"]
    served.is_missing[0] = False
    assert owner.nlst() == ["film"]


def test_a_disk_that_goes_while_an_upload_runs_leaves_no_file(served):
    lines = served.raw().login()
    data = lines.data()
    lines.send("STOR film")
    lines.reply()
    data.sendall(b"x")
    served.is_missing[0] = True
    data.close()

    assert lines.reply().startswith("450")
    assert not (served.disk / "film").exists()
    served.is_missing[0] = False
    assert lines.code("SIZE film") == "213"


# --- who may come in


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(served):
    replies = []
    for user, password in (("owner", "wrong"), ("nobody", "geheim")):
        lines = served.raw()
        lines.reply()
        lines.ask(f"USER {user}")
        replies.append(lines.ask(f"PASS {password}"))
        assert lines.code("PWD") == "530"
    assert replies[0] == replies[1] == "530 Login incorrect"


def test_three_failed_logins_end_the_session(served):
    lines = served.raw()
    lines.reply()
    for _ in range(3):
        lines.ask("USER owner")
        assert lines.code("PASS wrong") == "530"
    assert lines.is_closed()


def test_an_unknown_name_costs_a_verification_too():
    asked = []

    def verify(stored: str, password: str) -> bool:
        asked.append(stored)
        return stored == password

    accounts = Accounts([Account("owner", "pw", "write")], verify)
    assert accounts.check("nobody", "pw") is None
    assert asked == ["pw"]


def test_an_owner_without_a_password_never_gets_in():
    accounts = Accounts(
        [Account("o", "", "write"), Account("g", "", "read")], str.__eq__
    )
    assert accounts.check("o", "") is None
    assert accounts.check("g", "me@home") is not None


def test_the_fifth_unknown_connection_of_an_address_is_dropped(served):
    waiting = [served.raw() for _ in range(4)]
    assert all(lines.reply().startswith("220") for lines in waiting)
    assert served.raw().is_closed()

    waiting[0].ask("USER owner")
    waiting[0].ask("PASS geheim")  # known now, so there is room for another
    assert served.raw().reply().startswith("220")


def test_sixteen_unknown_connections_are_enough(served):
    port = served.service.house_port
    waiting = [Lines(port, f"127.0.1.{n // 4}") for n in range(16)]
    assert all(lines.reply().startswith("220") for lines in waiting)
    assert Lines(port, "127.0.2.1").is_closed()


def test_who_gives_a_login_up_is_a_stranger_again(tmp_path):
    with serving(tmp_path, guest_folders=((b"films",),)) as served:
        stay = [served.raw().login(GUEST) for _ in range(STRANGERS_PER_ADDRESS_MAX)]
        late = served.raw().login(GUEST)
        assert [lines.code("USER guest") for lines in stay] == ["331"] * len(stay)
        assert served.raw().is_closed(), "what is kept for the owner is not theirs"
        assert late.code("USER guest") == "421"
        assert late.is_closed()
        assert stay[0].code("PASS x") == "230"
        assert served.raw().reply().startswith("220")
    with serving(tmp_path, login_timeout_s=0.1) as served:
        lines = served.raw().login(GUEST)
        assert lines.code("USER guest") == "331"
        assert lines.reply().startswith("421"), "it has to log in as anybody"


def test_an_ipv6_network_cannot_take_every_place_by_its_many_addresses():
    strangers = Strangers()
    one_house = [f"2001:db8::{number:x}" for number in range(64)]
    taken = [address for address in one_house if strangers.enter(address)]
    assert len(taken) == STRANGERS_PER_NETWORK_MAX
    assert strangers.enter("2001:db8:0:1::1"), "another network"
    assert strangers.enter("192.0.2.1")
    strangers.leave(taken[0])
    assert strangers.enter("2001:db8::ffff")
    assert not strangers.enter("2001:db8::1")


def test_who_does_not_log_in_is_sent_away(tmp_path):
    with serving(tmp_path, login_timeout_s=0.1) as served:
        lines = served.raw()
        assert lines.reply().startswith("220")
        assert lines.reply().startswith("421")
        assert lines.is_closed()
        known = served.raw().login()
        assert served.raw().reply().startswith("220")  # a turn later
        assert known.code("NOOP") == "200"


def test_outside_the_house_nobody_is_spoken_to(tmp_path):
    with serving(tmp_path, house_networks=("127.0.0.1/32",)) as served:
        assert Lines(served.service.house_port, "127.0.0.2").is_closed()
        assert served.raw().reply().startswith("220")


def test_ipv4_written_as_ipv6_is_the_same_address():
    assert str(plain_address("::ffff:192.168.1.2")) == "192.168.1.2"
    assert str(plain_address("fe80::1%eth0")) == "fe80::1"


def test_house_networks_can_change_while_running(served):
    served.service.set_house_networks(["10.0.0.0/8"])
    wait_until(lambda: served.raw().is_closed(), "the new networks")


# --- data connections


def test_a_stranger_on_the_passive_port_gets_nothing_and_the_client_everything(served):
    (served.disk / "a").write_bytes(b"content")
    lines = served.raw().login()
    port = lines.epsv()
    stranger = socket.create_connection(
        ("127.0.0.1", port), 5, source_address=("127.0.0.9", 0)
    )
    lines.send("RETR a")
    assert lines.reply().startswith("150")
    assert stranger.recv(100) == b""
    with socket.create_connection(("127.0.0.1", port), 5) as data:
        assert data.makefile("rb").read() == b"content"
    assert lines.reply().startswith("226")


@pytest.mark.parametrize(
    "command", ["PORT 127,0,0,9,200,10", "EPRT |1|127.0.0.9|51210|"]
)
def test_data_never_goes_to_a_third_party(served, command):
    with socket.create_server(("127.0.0.9", 51210)) as third:
        third.settimeout(0.2)
        lines = served.raw().login()
        assert lines.code(command) == "501"
        assert lines.code("LIST") == "425"
        with pytest.raises(TimeoutError):
            third.accept()


def test_data_never_goes_to_a_system_port(served):
    assert served.raw().login().code("PORT 127,0,0,1,3,255") == "501"


def test_active_mode_works_to_the_client_itself(served):
    (served.disk / "a").write_bytes(b"content")
    ftp = served.login()
    ftp.set_pasv(False)
    assert fetch(ftp, "a") == b"content"
    assert ftp.nlst() == ["a"]


def test_a_refused_active_connection_is_answered_and_the_session_lives(served):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    lines = served.raw().login()
    lines.send(f"EPRT |1|127.0.0.1|{port}|", "NOOP")
    assert lines.reply().startswith("425")
    assert lines.reply().startswith("200")


def test_an_exhausted_passive_range_answers_425_and_keeps_ports_for_the_owner(tmp_path):
    with serving(
        tmp_path, passive_ports=range(39871, 39874), guest_folders=((b"films",),)
    ) as served:
        guests = [served.raw().login(GUEST) for _ in range(2)]
        assert guests[0].code("EPSV") == "229"
        assert guests[1].code("EPSV") == "425"
        owners = [served.raw().login() for _ in range(3)]
        assert [lines.code("EPSV") for lines in owners] == ["229", "229", "425"]
        assert served.service.refused_ports() == 2
        assert owners[0].code("EPSV") == "229"  # its own is freed first


def test_who_has_logged_in_is_no_stranger_at_a_door_for_ipv4_and_ipv6(tmp_path):
    with serving(tmp_path, address="") as served:
        stay = [served.raw().login() for _ in range(STRANGERS_PER_ADDRESS_MAX + 1)]
        for _ in range(STRANGERS_PER_ADDRESS_MAX + 1):
            lines = served.raw()
            assert lines.reply().startswith("220")
            assert lines.code("QUIT") == "221"
            assert lines.is_closed()
        assert {lines.code("NOOP") for lines in stay} == {"200"}


def test_commands_sent_ahead_are_answered_in_order(served):
    (served.disk / "a").write_bytes(b"12345")
    lines = served.raw().login()
    lines.send(*["SIZE a", "PWD", "MDTM a", "NOOP"] * 30)
    codes = [lines.reply()[:3] for _ in range(120)]
    assert codes == ["213", "257", "213", "200"] * 30


def test_early_close_of_a_download_leaves_the_session_usable(served):
    with (served.disk / "big").open("wb") as big:
        big.truncate(1 << 30)
    lines = served.raw().login()
    for _ in range(3):
        data = lines.data()
        lines.send("RETR big")
        assert lines.reply()[:3] in ("125", "150")
        assert len(data.recv(1000)) > 0
        data.close()
        assert lines.reply().startswith("426")
    assert lines.code("NOOP") == "200"


def test_a_file_of_more_than_4_gib_is_read_at_its_end(served, owner):
    size = 5 << 30
    with (served.disk / "big").open("wb") as big:
        big.seek(size - 4)
        big.write(b"tail")

    assert owner.size("big") == size
    assert fetch(owner, "big", rest=size - 6) == b"\0\0tail"
    assert f"size={size}" in owner.sendcmd("MLST big")


def test_stopping_is_quick_and_says_goodbye(tmp_path):
    with serving(tmp_path) as served:
        lines = served.raw().login()
    assert lines.reply().startswith("421")
    assert lines.is_closed()


def test_a_taken_port_is_told_at_start(served, tmp_path):
    again = serving(tmp_path, port=served.service.house_port)
    with pytest.raises(OSError, match="in use"):
        again.__enter__()
