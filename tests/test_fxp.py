"""From server to server: which way the bytes go, what goes on, what is refused.

Both servers are small ones of this process; those that people run are in
test_fxp_servers.py.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from fonshare_agent.errors import FonshareError, FxpLogin
from fonshare_agent.transfer import fxp_direct, fxp_file, fxp_server, fxp_watcher
from fonshare_agent.transfer.fxp import Progress, Transfer
from fonshare_agent.transfer.fxp_file import Relay, Wishes
from fxp_small import PASSWORD, USER, Small, refuses, small_server
from waiting import wait_until

SOURCE, TARGET = "127.0.0.2", "127.0.0.3"
NAMES = ["plain", "two  spaces", "#hash?", "100%", 'a "quote"', "-dash", "Café 音楽"]
# More than what is compared of the end, and nowhere alike.
CONTENT = b"".join(sha256(b"%d" % number).digest() for number in range(9600))


class World:
    """Two servers, started when they are needed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def source(self, **changes) -> Small:
        server = small_server(self._folder / "source", SOURCE, **changes)
        return self._stack.enter_context(server)

    def target(self, **changes) -> Small:
        server = small_server(self._folder / "target", TARGET, **changes)
        return self._stack.enter_context(server)


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def copy(source: Small, target: Small, path: str, to: str, **wishes) -> Progress:
    transfer = Transfer(source.login(path), target.login(to), Wishes(**wishes))
    try:
        transfer.prepare()
        transfer.run()
    finally:
        transfer.close()
    return transfer.progress


def code(progress: Progress) -> str | None:
    return progress.error and progress.error.code


# --- which way ----------------------------------------------------------------------


def test_a_folder_goes_directly_with_every_name(world):
    source, target = world.source(), world.target()
    for number, name in enumerate(NAMES):
        source.put(f"top/{name}/{name}", os.urandom(number * 1000))
    wanted = {f"copy/{name}/{name}" for name in NAMES}

    progress = copy(source, target, "top", "copy")
    assert (code(progress), progress.files) == (None, len(NAMES))
    assert not progress.is_relayed
    assert target.tree().keys() == wanted
    assert {f"copy{k[3:]}": v for k, v in source.tree().items()} == target.tree()


def test_a_file_gets_the_targets_name_or_keeps_its_own_in_a_folder(world):
    source, target = world.source(), world.target()
    source.put("a b", CONTENT)
    (target.disk / "there").mkdir()
    for to in ("new", "made/", "there"):
        assert code(copy(source, target, "a%20b", to)) is None
    assert target.tree() == dict.fromkeys(["new", "made/a b", "there/a b"], CONTENT)


def test_a_server_is_only_ever_told_to_connect_to_the_other_one(world):
    """What PASV says of an address is a third party's word, and would be a bounce."""
    source = world.source(masquerade_address="10.9.8.7")
    target = world.target(masquerade_address="10.9.8.7", ftp_EPSV=refuses("502"))
    source.put("a", CONTENT)
    progress = copy(source, target, "a", "a")
    assert not progress.is_relayed
    ports = [*source.asked_for("PORT"), *target.asked_for("PORT")]
    assert ports
    for line in ports:
        assert line.startswith(("PORT 127,0,0,2,", "PORT 127,0,0,3,"))
    assert target.tree() == {"a": CONTENT}


@pytest.mark.parametrize("stubborn", ["source", "target"])
def test_the_other_direction_is_tried_when_a_server_connects_to_nobody(world, stubborn):
    no_port = {"ftp_PORT": refuses("500"), "ftp_EPRT": refuses("500")}
    source = world.source(**no_port if stubborn == "source" else {})
    target = world.target(**no_port if stubborn == "target" else {})
    source.put("top/a", CONTENT)
    source.put("top/b", CONTENT)

    progress = copy(source, target, "top", "")
    assert (code(progress), progress.is_relayed) == (None, False)
    assert target.tree() == {"a": CONTENT, "b": CONTENT}
    refused = source if stubborn == "source" else target
    assert len(refused.asked_for("PORT")) <= 1  # not again for each file


def test_bytes_go_through_the_node_where_both_servers_forbid_the_other(world):
    source = world.source(permit_foreign_addresses=False)
    target = world.target(permit_foreign_addresses=False)
    source.put("top/a", CONTENT)
    source.put("top/empty", b"")
    progress = copy(source, target, "top", "")
    assert (code(progress), progress.is_relayed) == (None, True)
    assert progress.refusal is not None
    assert progress.refusal.code == "fxp.forbidden"
    assert target.tree() == {"a": CONTENT, "empty": b""}


def test_who_wants_no_relay_is_told_how_to_allow_it(world):
    source = world.source(permit_foreign_addresses=False)
    target = world.target(permit_foreign_addresses=False)
    source.put("a", CONTENT)
    progress = copy(source, target, "a", "a", relay=Relay.NEVER)
    assert code(progress) == "fxp.forbidden"
    assert progress.error is not None
    assert "pasv_promiscuous" in progress.error.next
    assert target.tree() == {}  # nor an empty partial


def test_two_servers_of_ipv6_are_joined_by_epsv_and_eprt(tmp_path):
    try:
        socket.socket(socket.AF_INET6).close()
        with ExitStack() as stack:
            source, target = (
                stack.enter_context(small_server(tmp_path / name, "::1"))
                for name in ("source", "target")
            )
            source.put("a", CONTENT)
            progress = copy(source, target, "a", "a", relay=Relay.NEVER)
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    assert code(progress) is None
    assert target.tree() == {"a": CONTENT}
    assert target.asked_for("EPSV")
    assert source.asked_for("EPRT")[0].startswith("EPRT |2|::1|")


def test_one_of_ipv4_and_one_of_ipv6_need_the_node(world, tmp_path):
    source = world.source()
    source.put("a", CONTENT)
    try:
        with small_server(tmp_path / "target", "::1") as target:
            progress = copy(source, target, "a", "a")
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    assert (code(progress), progress.is_relayed) == (None, True)
    assert "IPv6" in str(progress.refusal)


def test_a_relay_can_be_had_for_the_asking(world):
    source, target = world.source(), world.target()
    source.put("a", CONTENT)
    progress = copy(source, target, "a", "a", relay=Relay.ALWAYS)
    assert progress.is_relayed
    assert target.tree() == {"a": CONTENT}
    assert not source.asked_for("PORT")
    assert not target.asked_for("PORT")


def test_two_servers_that_cannot_reach_each_other_are_given_up(world, monkeypatch):
    monkeypatch.setattr(fxp_direct, "BEGIN_S", 0.2)
    monkeypatch.setattr(fxp_server, "MORE_S", 0.2)
    monkeypatch.setattr(fxp_watcher, "BEGIN_S", 0.0)
    monkeypatch.setattr(fxp_watcher, "FIRST_S", 0.2)
    # It lets itself be told, and never connects.
    source = world.source(ftp_PORT=refuses("200"))
    target = world.target(ftp_PORT=refuses("200"))
    source.put("a", CONTENT)
    progress = copy(source, target, "a", "a")
    assert (code(progress), progress.is_relayed) == (None, True)
    assert target.tree() == {"a": CONTENT}


# --- going on -----------------------------------------------------------------------


@pytest.mark.parametrize("relay", [Relay.NEVER, Relay.ALWAYS])
def test_a_partial_is_gone_on_with(world, relay):
    source, target = world.source(), world.target()
    source.put("a", CONTENT)
    target.put("a.fonshare-part", CONTENT[:200_000])
    assert code(copy(source, target, "a", "a", relay=relay)) is None
    assert target.tree() == {"a": CONTENT}
    # Both were told where to go on, and nothing was written before it.
    assert "REST 200000" in source.asked
    assert "REST 200000" in target.asked


@pytest.mark.parametrize(
    ("partial", "complaint"),
    [(CONTENT + b"x", "longer"), (CONTENT[:99_999] + b"x", "differs")],
)
def test_a_partial_of_something_else_is_told_and_left_alone(world, partial, complaint):
    source, target = world.source(), world.target()
    source.put("a", CONTENT)
    target.put("a.fonshare-part", partial)
    progress = copy(source, target, "a", "a")
    assert code(progress) == "fxp.partial"
    assert complaint in str(progress.error)
    assert target.tree() == {"a.fonshare-part": partial}

    assert code(copy(source, target, "a", "a", overwrites=True)) is None
    assert target.tree() == {"a": CONTENT}


def test_a_server_that_does_not_go_on_says_so(world):
    source, target = world.source(), world.target(ftp_REST=refuses("502"))
    source.put("a", CONTENT)
    target.put("a.fonshare-part", CONTENT[:100])
    progress = copy(source, target, "a", "a")
    assert code(progress) == "fxp.partial"
    assert target.tree() == {"a.fonshare-part": CONTENT[:100]}
    assert code(copy(source, target, "a", "a", overwrites=True)) is None
    assert target.tree() == {"a": CONTENT}
    assert "REST 0" in source.asked  # which had been told to begin inside


def test_what_is_there_already_is_not_moved_again(world):
    source, target = world.source(), world.target()
    source.put("top/a", CONTENT)
    source.put("top/b", b"b" * 10)
    assert code(copy(source, target, "top", "to")) is None
    target.asked.clear()
    progress = copy(source, target, "top", "to")
    assert (code(progress), progress.files) == (None, 2)
    assert not target.asked_for("STOR")


def test_another_file_of_the_name_stays_unless_it_may_be_replaced(world):
    source, target = world.source(), world.target()
    source.put("top/a", CONTENT)
    source.put("top/b", b"new")
    target.put("b", b"old")
    progress = copy(source, target, "top", "")
    assert code(progress) == "fxp.unfinished"
    assert [one.error.code for one in progress.failures] == ["exists"]
    assert target.tree() == {"a": CONTENT, "b": b"old"}

    assert code(copy(source, target, "top", "", overwrites=True)) is None
    assert target.tree() == {"a": CONTENT, "b": b"new"}


def test_a_file_that_came_meanwhile_is_not_overwritten(world):
    source, target = world.source(), world.target()
    source.put("a", CONTENT)

    def ftp_STOR(handler, file, mode="w"):
        target.put("a", b"somebody's")
        return type(handler).__mro__[1].ftp_STOR(handler, file, mode)

    with small_server(target.disk, "127.0.0.4", ftp_STOR=ftp_STOR) as busy:
        assert code(copy(source, busy, "a", "a")) == "exists"
    assert target.tree() == {"a": b"somebody's", "a.fonshare-part": CONTENT}


def test_a_file_that_changes_meanwhile_does_not_get_its_name(world):
    source, target = world.source(), world.target()
    file = source.put("a", CONTENT)

    def ftp_RETR(handler, path):
        result = type(handler).__mro__[1].ftp_RETR(handler, path)
        os.utime(file, (1_000_000_000, 1_000_000_000))
        return result

    with small_server(source.disk, "127.0.0.4", ftp_RETR=ftp_RETR) as busy:
        progress = copy(busy, target, "a", "a")
    assert "changed" in str(progress.error)
    assert "a" not in target.tree()


@pytest.mark.parametrize("relay", [Relay.NEVER, Relay.ALWAYS])
@pytest.mark.parametrize("broken", ["source", "target"])
def test_a_lost_connection_is_made_anew_and_goes_on(world, monkeypatch, relay, broken):
    monkeypatch.setattr(fxp_watcher, "BEGIN_S", 0.0)
    monkeypatch.setattr(fxp_watcher, "ASK_S", 0.0)
    monkeypatch.setattr(fxp_direct, "TICK_S", 0.02)
    monkeypatch.setattr(fxp_file, "PAUSES_S", (0.01, 0.01, 0.01))
    source, target = world.source(bytes_s=100_000), world.target()
    source.put("a", CONTENT)
    transfer = Transfer(source.login("a"), target.login("a"), Wishes(relay=relay))
    cuts = []

    def cut_once() -> None:
        if 150_000 < transfer.progress.done_bytes < len(CONTENT) and not cuts:
            cuts.append(transfer.progress.done_bytes)
            (source if broken == "source" else target).cut()

    transfer.progress.on_change = cut_once
    try:
        transfer.prepare()
        transfer.run()
    finally:
        transfer.close()
    assert cuts, "it was over before it could be cut"
    assert code(transfer.progress) is None
    assert target.tree() == {"a": CONTENT}
    assert source.asked_for("REST"), "it began anew"


def test_a_server_that_hung_up_between_two_files_is_called_again(world, monkeypatch):
    monkeypatch.setattr(
        fxp_server, "IDLE_S", -1.0
    )  # something is always due to be said
    source, target = world.source(), world.target()
    for name in ("a", "b", "c"):
        source.put(f"top/{name}")
    transfer = Transfer(source.login("top"), target.login(""), Wishes())
    cuts = []

    def cut_after_the_first() -> None:
        if "a" in target.tree() and not cuts:
            cuts.append(True)
            target.cut()
            wait_until(lambda: not target.wishes, "the cut")

    transfer.progress.on_change = cut_after_the_first
    transfer.prepare()
    transfer.run()
    transfer.close()
    assert cuts
    assert code(transfer.progress) is None
    assert target.tree().keys() == {"a", "b", "c"}


def test_a_server_that_has_gone_ends_the_run_and_keeps_the_partial(world, monkeypatch):
    monkeypatch.setattr(fxp_file, "PAUSES_S", (0.01, 0.01, 0.01))
    target = world.target()
    with small_server(target.disk.parent / "source", SOURCE, bytes_s=50_000) as source:
        source.put("a", CONTENT)
        transfer = Transfer(
            source.login("a"), target.login("a"), Wishes(relay=Relay.ALWAYS)
        )
        transfer.prepare()
    transfer.run()
    transfer.close()
    assert code(transfer.progress) in ("fxp.unreachable", "fxp.lost")
    assert "a" not in target.tree()


# --- servers that know less, and names ----------------------------------------------

OLD = ("MLSD", "MLST", "SIZE", "MDTM", "MFMT", "FEAT", "EPSV", "EPRT", "OPTS")


@pytest.mark.parametrize(
    "lacks",
    [
        OLD,
        pytest.param(
            (*(verb for verb in OLD if verb != "SIZE"), "LIST"), marks=pytest.mark.full
        ),
    ],
    ids=["LIST", "NLST"],
)
def test_servers_that_know_little_are_understood(world, lacks):
    source, target = world.source(lacks=lacks), world.target(lacks=lacks)
    for name in NAMES:
        source.put(f"top/{name}/{name}", CONTENT[:1000])
    assert code(copy(source, target, "top", "copy")) is None
    assert target.tree() == {f"copy/{n}/{n}": CONTENT[:1000] for n in NAMES}


def test_a_server_of_which_nothing_can_be_learnt_is_refused(world):
    source, target = world.source(lacks=(*OLD, "LIST")), world.target()
    source.put("top/a")
    assert code(copy(source, target, "top", "copy")) == "fxp.listing"
    assert target.tree() == {}


def test_a_target_that_cannot_rename_gets_the_file_under_its_name(world):
    source, target = world.source(), world.target(lacks=("RNFR", "RNTO"))
    source.put("a", CONTENT)
    assert code(copy(source, target, "a", "a")) is None
    assert target.tree() == {"a": CONTENT}


def test_a_name_with_a_line_break_is_refused_and_the_others_go(world):
    source, target = world.source(), world.target()
    for name in ("a\nb", "good", "zz"):
        source.put(f"top/{name}")
    progress = copy(source, target, "top", "")
    assert target.tree() == {"good": b"content", "zz": b"content"}
    assert [one.error.code for one in progress.failures] == ["bad_path"]
    assert "line break" in str(progress.failures[0].error)


@pytest.mark.parametrize("evil", ["../evil", "/evil", "sub/evil", ".fonshare"])
def test_a_listing_that_leads_elsewhere_is_refused(world, evil):
    def ftp_MLSD(handler, path):
        lines = f"type=file;size=7; {evil}\r\ntype=file;size=7; good\r\n"
        handler.push_dtp_data(lines.encode(), cmd="MLSD")

    source, target = world.source(ftp_MLSD=ftp_MLSD), world.target()
    source.put("top/good")
    source.put("evil")
    source.put("top/sub/evil")
    (target.disk / "to").mkdir()
    progress = copy(source, target, "top", "to")
    assert [one.error.code for one in progress.failures] == ["bad_path"]
    assert target.tree() == {"to/good": b"content"}


def test_links_are_not_followed(world):
    source, target = world.source(lacks=OLD), world.target()
    source.put("top/a")
    (source.disk / "top" / "loop").symlink_to(source.disk / "top")
    progress = copy(source, target, "top", "")
    assert target.tree() == {"a": b"content"}
    assert progress.skipped == 1


def test_what_is_not_there_is_said(world):
    source, target = world.source(), world.target()
    assert code(copy(source, target, "gone", "a")) == "not_found"
    assert target.tree() == {}


def test_a_wrong_password_is_said_without_it(world):
    source, target = world.source(), world.target()
    transfer = Transfer(source.login("a", "wr0ng"), target.login("a"), Wishes())
    with pytest.raises(FxpLogin) as raised:
        transfer.prepare()
    transfer.close()
    shown = f"{raised.value} {raised.value.as_dict()} {source.login('a', 'wr0ng')!r}"
    assert "wr0ng" not in shown


def test_a_password_never_becomes_a_second_command(world):
    source, target = world.source(), world.target()
    evil = f"x\r\nUSER {USER}\r\nPASS {PASSWORD}"
    transfer = Transfer(source.login("a", evil), target.login("a"), Wishes())
    with pytest.raises(FonshareError, match="line break") as raised:
        transfer.prepare()
    transfer.close()
    assert PASSWORD not in str(raised.value.as_dict())
    assert source.asked_for("USER") == [f"USER {USER}"]
