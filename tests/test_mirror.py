"""Readings of a small server that can be told to behave badly: what comes of each."""

import os

import pytest

from fonshare_agent.disk import Disk, DiskSpace
from fonshare_agent.errors import BadPath
from fonshare_agent.mirror.kept import REPORT_BYTES_MAX
from fonshare_agent.mirror.line import PACKET_BYTES_MAX, encode, error_fields
from fonshare_agent.mirror.reading import FAILURES_MAX, Report
from fonshare_agent.transfer import fxp_places
from fonshare_agent.transfer.disk_errors import RESERVE_BYTES
from fxp_small import PASSWORD, refuses, small_server
from mirrored import Leave, Mirrored, at, stop
from waiting import wait_until

ADDRESS = "127.0.0.72"
MIB = 1 << 20


@pytest.fixture
def mirror_of(tmp_path):
    """Return a mirror of a small server's folder `top`."""

    def make(small, path="top", **options):
        return Mirrored(tmp_path / "node", small.url(path), PASSWORD, **options)

    return make


def test_new_changed_and_vanished_files_follow_and_the_owners_stay(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/sub/a b", b"1")
        old.put("top/gone", b"2")
        old.put("top/mine", b"theirs")
        mirror.copy.mkdir(parents=True)
        (mirror.copy / "mine").write_bytes(b"the owner's own")
        (mirror.copy / "not theirs").write_bytes(b"x")

        report = mirror.read()
        assert (report["fetched"], report["failed"], report["is_complete"]) == (2, 1, 1)
        assert report["failures"][0]["path"] == "mine"
        own = {b"mine": b"the owner's own", b"not theirs": b"x"}
        assert mirror.tree() == {b"sub/a b": b"1", b"gone": b"2", **own}

        file = old.put("top/sub/a b", b"3")
        os.utime(file, (10**9, 10**9))
        (old.disk / "top" / "gone").unlink()
        report = mirror.read()
        assert (report["fetched"], report["waiting"], report["deleted"]) == (1, 1, 0)
        assert mirror.tree() == {b"sub/a b": b"3", b"gone": b"2", **own}
        assert (mirror.copy / "sub" / "a b").stat().st_mtime == 10**9

        report = mirror.read()
        assert (report["fetched"], report["deleted"]) == (0, 1)
        assert mirror.tree() == {b"sub/a b": b"3", **own}


@pytest.mark.full
def test_a_file_that_its_owner_changed_here_is_never_written_over(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/a", b"1")
        mirror.read()
        (mirror.copy / "a").write_bytes(b"mine now")
        old.put("top/a", b"22")
        report = mirror.read()
        assert report["failures"][0]["code"] == "exists"
        (old.disk / "top" / "a").unlink()
        mirror.read()
        report = mirror.read()
        assert report["deleted"] == 0
        assert mirror.tree() == {b"a": b"mine now"}


@pytest.mark.full
def test_most_gone_at_once_is_kept_until_it_is_confirmed(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        for number in range(20):
            old.put(f"top/{number}", b"x")
        mirror.read()
        for number in range(15):
            (old.disk / "top" / str(number)).unlink()
        for _ in range(3):
            assert mirror.read()["held"] == 15
        assert len(mirror.tree()) == 20
        report = mirror.read(is_confirmed=True)
        assert (report["deleted"], report["held"]) == (15, 0)
        assert len(mirror.tree()) == 5


@pytest.mark.full
@pytest.mark.parametrize("is_cut", [False, True])
def test_what_came_meanwhile_does_not_hide_that_the_rest_is_gone(
    tmp_path, mirror_of, is_cut
):
    """A server that was set up anew, with more in it than there was before."""
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        for number in range(12):
            old.put(f"top/old {number}", b"x")
        mirror.read()
        for number in range(12):
            (old.disk / "top" / f"old {number}").unlink()
            old.put(f"top/new {number}", b"y" * 1000)
        old.put("top/new 12", b"y" * 1000)
        if is_cut:  # most has come already when a reading comes to its end
            assert mirror.read(at(9000, stop))["stopped"]
        for _ in range(3):
            assert mirror.read()["held"] == 12
        assert len(mirror.tree()) == 25
        assert mirror.read(is_confirmed=True)["deleted"] == 12
        # From now on they are what there was before.
        for number in range(4):
            (old.disk / "top" / f"new {number}").unlink()
        report = mirror.read()
        assert (report["waiting"], report["held"]) == (4, 0)
        assert mirror.read()["deleted"] == 4


@pytest.mark.full
@pytest.mark.parametrize("is_cut", [False, True])
def test_the_last_file_of_a_server_is_kept_until_it_is_confirmed(
    tmp_path, mirror_of, is_cut
):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        for name in "ab":
            old.put(f"top/{name}", b"x" * 1000)
        mirror.read(at(1500, stop) if is_cut else None)
        before = mirror.tree()
        assert before
        for name in "ab":
            (old.disk / "top" / name).unlink()
        for _ in range(3):
            assert mirror.read()["held"] == len(before)
        assert mirror.tree() == before
        assert mirror.read(is_confirmed=True)["deleted"] == len(before)
        assert not mirror.tree()


def test_a_cut_line_is_gone_on_with_and_a_partial_has_no_name(tmp_path, mirror_of):
    content = os.urandom(MIB)
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/film", content)

        def cut():
            assert not mirror.tree(), "it has its name only when it is whole"
            assert mirror.partials()
            old.cut()
            wait_until(lambda: not old.wishes, "the cut")

        report = mirror.read(at(300_000, cut))
        assert (report["fetched"], report["failed"]) == (1, 0), report.get("error")
        assert mirror.tree() == {b"film": content}
        assert max(int(line.split()[1]) for line in old.asked_for("REST")) > 0
        assert not mirror.partials()


@pytest.mark.full
def test_a_reading_that_is_stopped_is_gone_on_with_by_the_next(tmp_path, mirror_of):
    content = os.urandom(MIB)
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/film", content)
        report = mirror.read(at(300_000, stop))
        assert (report["stopped"], report["fetched"]) == ("enough", 0)
        assert not mirror.tree()
        leave = Leave()
        assert mirror.read(leave)["fetched"] == 1
        assert mirror.tree() == {b"film": content}
        assert leave.moved <= MIB - 300_000


@pytest.mark.full
def test_a_source_that_changed_meanwhile_is_begun_anew(tmp_path, mirror_of):
    content = os.urandom(MIB)
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        date = old.put("top/film", os.urandom(MIB)).stat().st_mtime
        mirror.read(at(300_000, stop))
        # The same size and date: its bytes tell that it is another one.
        os.utime(old.put("top/film", content), (date, date))
        leave = Leave()
        assert mirror.read(leave)["fetched"] == 1
        assert leave.moved == MIB
        assert mirror.tree() == {b"film": content}


def test_a_file_that_changes_while_it_is_copied_gets_no_name(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        file = old.put("top/film", os.urandom(MIB))
        report = mirror.read(at(300_000, lambda: os.utime(file, (1, 1))))
        assert report["failures"][0]["code"] == "fxp.refused"
        assert not mirror.tree()
        assert mirror.read()["fetched"] == 1
        assert mirror.tree() == {b"film": file.read_bytes()}


@pytest.mark.full
@pytest.mark.parametrize(
    "lacks", [("MLSD", "MLST"), ("MLSD", "MLST", "MDTM"), ("REST",), ("SIZE", "MLST")]
)
def test_old_servers_lack_commands(tmp_path, mirror_of, lacks):
    with small_server(tmp_path / "old", ADDRESS, lacks=lacks) as old:
        mirror = mirror_of(old)
        for name in ("a", "b c", "sub/Café"):
            old.put(f"top/{name}", name.encode() * 1000)
        assert mirror.read()["fetched"] == 3
        old.put("top/a", b"longer" * 1000)
        report = mirror.read()
        assert (report["fetched"], report["failed"]) == (1, 0), report.get("error")
        assert mirror.read()["fetched"] == 0
        assert mirror.tree()[b"a"] == b"longer" * 1000


@pytest.mark.full
def test_a_change_within_the_minute_of_the_copy_is_seen(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS, lacks=("MLSD", "MLST")) as old:
        mirror = mirror_of(old)
        file = old.put("top/a", b"one")
        os.utime(file, (1_760_000_000, 1_760_000_000))
        mirror.read()
        file.write_bytes(b"two")
        os.utime(file, (1_760_000_010, 1_760_000_010))
        assert mirror.read()["fetched"] == 1
        assert mirror.tree() == {b"a": b"two"}


@pytest.mark.full
def test_hostile_names_are_refused_by_entry_and_leave_no_trace(tmp_path, mirror_of):
    lines = (
        b"type=file;size=1;modify=20260101000000; ../out",
        b"type=file;size=1;modify=20260101000000; .fonshare",
        b"type=dir;modify=20260101000000; ..\\..",
        b"type=file;size=1;modify=20260101000000; good",
        b"type=OS.unix=symlink;modify=20260101000000; link",
        b"type=dir;modify=20260101000000; a/b",
    )

    def mlsd(handler, path):
        handler.push_dtp_data(b"".join(line + b"\r\n" for line in lines), cmd="MLSD")
        return path

    with small_server(tmp_path / "old", ADDRESS, ftp_MLSD=mlsd) as old:
        mirror = mirror_of(old)
        date = 1_767_225_600  # as the lines say
        os.utime(old.put("top/good", b"1"), (date, date))
        old.put("out", b"2")
        report = mirror.read()
        assert mirror.tree() == {b"good": b"1"}
        assert report["skipped"] == 1
        refused = {one["path"] for one in report["failures"]}
        assert {"../out", ".fonshare", "a/b"} <= refused
        assert not (mirror.disk / "mirrors" / "out").exists()


@pytest.mark.parametrize("letter", ["\U0001d11e", "\x01", "\ufffd", "x"])
def test_a_report_fits_a_packet_and_is_read_again_whatever_the_names(letter):
    report = Report()
    for number in range(1000):
        name, why = f"{number:04}" + letter * 4000, letter * 5000
        report.note_failure(name.encode(), BadPath(why, thing=why, next=why))
    told = {name: getattr(report, name) for name in Report.__slots__}
    whole = {**told, "error": error_fields(BadPath(letter * 5000, next=letter * 5000))}
    assert len(encode({"report": whole})) <= min(REPORT_BYTES_MAX, PACKET_BYTES_MAX)
    assert (report.failed, len(report.failures)) == (1000, FAILURES_MAX)
    assert {one["path"][:4] for one in report.failures} == {
        f"{number:04}" for number in range(FAILURES_MAX)
    }
    assert all(len(one["message"]) >= 60 for one in report.failures)


@pytest.mark.full
def test_a_folder_that_cannot_be_listed_keeps_what_it_held(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/sub/a", b"1")
        old.put("top/b", b"2")
        mirror.read()
        (old.disk / "top" / "sub").chmod(0)
        if os.access(old.disk / "top" / "sub", os.R_OK):
            os.rename(old.disk / "top" / "sub", old.disk / "away")
            (old.disk / "top" / "sub").symlink_to(old.disk / "nowhere")
        for _ in range(3):
            report = mirror.read()
        assert mirror.tree()[b"b"] == b"2"
        assert report["is_complete"]


@pytest.mark.parametrize("way", ["MLSD", "LIST", "NLST"])
def test_a_folder_of_too_many_names_is_told_and_the_others_come(
    tmp_path, mirror_of, monkeypatch, way
):
    """Else its listing alone could use up a router's memory, each hour anew."""
    monkeypatch.setattr(fxp_places, "NAMES_MAX", 3)
    lacks = () if way == "MLSD" else ("MLSD", "MLST")
    changes = {"ftp_LIST": refuses("550")} if way == "NLST" else {}
    with small_server(tmp_path / "old", ADDRESS, lacks=lacks, **changes) as old:
        mirror = mirror_of(old)
        for number in range(3):
            old.put(f"top/few/{number}", b"x")
        for number in range(4):
            old.put(f"top/many/{number}", b"x")
        report = mirror.read()
        (failure,) = report["failures"]
        assert (failure["path"], failure["code"]) == ("many", "fxp.listing")
        assert "too large" in failure["message"]
        assert sorted(mirror.tree()) == [b"few/0", b"few/1", b"few/2"]


@pytest.mark.full
def test_what_lies_there_already_is_not_moved_again(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/a", os.urandom(MIB))
        old.put("top/b", os.urandom(MIB))
        mirror.read()
        for file in mirror.state.iterdir():  # as after `share rm` and `share add`
            file.unlink()
        os.utime(mirror.copy / "b")  # another date: its end is compared
        report = mirror.read()
        assert (report["fetched"], report["failed"]) == (0, 0)
        (old.disk / "top" / "a").unlink()
        mirror.read()
        assert mirror.read()["deleted"] == 1, "it is known again"


@pytest.mark.full
def test_a_damaged_note_book_costs_a_comparison(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/a", b"1")
        mirror.read()
        (mirror.state / "known.db").write_bytes(b"garbage" * 1000)
        report = mirror.read()
        assert (report["fetched"], report["failed"], report["files"]) == (0, 0, 1)


@pytest.mark.parametrize("address", [ADDRESS, "0.0.0.0", "::"])
def test_the_nodes_own_door_is_not_copied_into_itself(tmp_path, mirror_of, address):
    """The copy would hold a copy of itself, one level deeper each hour."""
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old)
        old.put("top/a", b"1")
        for looks_only in (True, False):
            report = mirror.read(door=[address, old.port], looks_only=looks_only)
            assert report["error"]["code"] == "fxp.url"
            assert "share add PATH" in report["error"]["next"]
        assert not mirror.tree()
        assert mirror.read(door=[address, old.port + 1])["fetched"] == 1
        assert mirror.read(door=["192.0.2.1", old.port])["files"] == 1


@pytest.mark.full
def test_a_wrong_password_and_a_missing_folder_are_told(tmp_path, mirror_of):
    with small_server(tmp_path / "old", ADDRESS) as old:
        mirror = mirror_of(old, "nowhere")
        assert mirror.read(looks_only=True)["error"]["code"] == "not_found"
        assert mirror.read()["error"]["code"] == "not_found"
        told = mirror.read(password="wrong")
        assert told["error"]["code"] == "fxp.login"
        assert "wrong" not in str(told)


@pytest.mark.full
def test_a_disk_without_room_says_so(tmp_path, mirror_of):
    def huge(handler, path):
        handler.respond("213 9000000000000000")

    def mlsd(handler, path):
        row = b"type=file;size=9000000000000000;modify=20260101000000; a\r\n"
        handler.push_dtp_data(row, cmd="MLSD")
        return path

    with small_server(tmp_path / "old", ADDRESS, ftp_MLSD=mlsd, ftp_SIZE=huge) as old:
        mirror = mirror_of(old)
        old.put("top/a", b"1")
        report = mirror.read()
        code = report.get("error", {}).get("code") or report["failures"][0]["code"]
        assert code in ("disk.full", "disk.file_too_large")
        assert not mirror.tree()


def test_a_file_of_no_told_size_leaves_the_reserve_free(
    tmp_path, mirror_of, monkeypatch
):
    """Its server may send for ever."""
    rows = (b"type=file;modify=20260101000000; a", b"type=file;size=1; b")

    def mlsd(handler, path):
        handler.push_dtp_data(b"".join(row + b"\r\n" for row in rows), cmd="MLSD")
        return path

    def mlst(handler, path):
        if not path.endswith("top"):
            return refuses("550")(handler, path)
        return type(handler).__mro__[1].ftp_MLST(handler, path)

    with small_server(tmp_path / "old", ADDRESS, ftp_MLSD=mlsd, ftp_MLST=mlst) as old:
        mirror = mirror_of(old)
        old.put("top/a", os.urandom(4 * MIB))
        old.put("top/b", b"b")
        free = []

        def space(disk):
            used = sum(file.stat().st_size for file in mirror.partials())
            free.append(RESERVE_BYTES + MIB - used)
            return DiskSpace(100 * RESERVE_BYTES, free[-1])

        monkeypatch.setattr(Disk, "space", space)
        report = mirror.read()
        assert min(free) >= RESERVE_BYTES
        (failure,) = report["failures"]
        assert (failure["path"], failure["code"]) == ("a", "disk.file_too_large")
        assert mirror.tree() == {b"b": b"b"}, "the others come"
        assert free[-1] > RESERVE_BYTES + MIB // 2, "nothing of it is kept"


@pytest.mark.full
def test_a_server_that_refuses_one_file_gives_the_others(tmp_path, mirror_of):
    def retr(handler, path):
        if path.endswith("b"):
            return refuses("550")(handler, path)
        return type(handler).__mro__[1].ftp_RETR(handler, path)

    with small_server(tmp_path / "old", ADDRESS, ftp_RETR=retr) as old:
        mirror = mirror_of(old)
        for name in "abc":
            old.put(f"top/{name}", name.encode())
        report = mirror.read()
        assert mirror.tree() == {b"a": b"a", b"c": b"c"}
        assert [one["path"] for one in report["failures"]] == ["b"]
