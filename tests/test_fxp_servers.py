"""`fonshare fxp` with the servers that people run, and with our own house door."""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from fonshare_agent.errors import FxpCertificate
from fonshare_agent.ftp import passive
from fonshare_agent.transfer.fxp import Progress, Transfer
from fonshare_agent.transfer.fxp_file import Relay, Wishes
from fonshare_agent.transfer.fxp_server import Login
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl
from ftp_service import OWNER, make_certificate, serving
from fxp_servers import KINDS, ThirdParty, third_party
from programs import require_program
from waiting import PATIENCE_S

SOURCE, TARGET = "127.0.0.2", "127.0.0.3"
FILES = {
    'a b#%".bin': os.urandom(1_500_000),
    "sub/Café 音楽": b"x",
    "sub/-empty": b"",
    "sub/.hidden": b"h" * 70_000,
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[tuple[Path, Path]]:
    """A certificate and its key for each of the two."""
    folder = tmp_path_factory.mktemp("certificates")
    return [make_certificate(folder, name) for name in ("source", "target")]


class Both:
    """A source with files and an empty target."""

    def __init__(self, stack: ExitStack, kinds: tuple[str, str], **options) -> None:
        pairs = options.pop("pairs", None)
        self.has_tls = pairs is not None
        self.source, self.target = (
            stack.enter_context(
                third_party(
                    kind,
                    address,
                    pair=pairs and pairs[number],
                    authorities=[pair[0] for pair in pairs or ()],
                    **options,
                )
            )
            for number, (kind, address) in enumerate(
                zip(kinds, (SOURCE, TARGET), strict=True)
            )
        )
        for name, content in FILES.items():
            self.source.put(f"top/{name}", content)

    def copy(self, path: str = "top", to: str = "copy", **wishes) -> Progress:
        return run(
            self.source.login(path, tls=self.has_tls),
            self.target.login(to, tls=self.has_tls),
            **wishes,
        )

    def is_there(self) -> bool:
        return tree(self.target.disk / "copy") == FILES


def run(source: Login, target: Login, **wishes) -> Progress:
    transfer = Transfer(source, target, Wishes(**wishes))
    try:
        transfer.prepare()
        transfer.run()
    finally:
        transfer.close()
    return transfer.progress


def tree(top: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(top)): file.read_bytes()
        for file in top.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


@pytest.mark.full
@pytest.mark.parametrize(
    "kinds", [*zip(KINDS, KINDS[1:] + KINDS[:1], strict=True)], ids="-".join
)
def test_each_of_them_sends_to_the_next_and_goes_on_with_a_partial(stack, kinds):
    both = Both(stack, kinds)
    name, content = next(iter(FILES.items()))
    both.target.put(f"copy/{name}.fonshare-part", content[:700_000])
    progress = both.copy(relay=Relay.NEVER)
    assert progress.error is None
    assert (progress.files, progress.is_relayed) == (len(FILES), False)
    assert both.is_there()


@pytest.mark.full
def test_where_both_forbid_it_the_bytes_go_through_the_node(stack):
    both = Both(stack, ("pure-ftpd", "vsftpd"), listens=False, connects=False)
    refused = both.copy(relay=Relay.NEVER)
    assert refused.error is not None
    assert refused.error.code == "fxp.forbidden"
    progress = both.copy()
    assert (progress.error, progress.is_relayed) == (None, True)
    assert both.is_there()


@pytest.mark.full
def test_bytes_are_encrypted_between_servers_where_one_has_sscn(stack, pairs):
    both = Both(stack, ("proftpd", "pure-ftpd"), pairs=pairs)
    progress = both.copy(relay=Relay.NEVER)
    assert (progress.error, progress.is_relayed) == (None, False)
    assert both.is_there()


@pytest.mark.full
def test_without_sscn_it_is_asked_for_and_said(stack, pairs):
    both = Both(stack, ("vsftpd", "pure-ftpd"), pairs=pairs)
    refused = both.copy(relay=Relay.NEVER)
    assert refused.error is not None
    assert refused.error.code == "fxp.unprotected"
    assert "--plain-data" in refused.error.next
    assert not tree(both.target.disk)

    in_clear = both.copy(to="clear", relay=Relay.NEVER, plain_data=True)
    assert (in_clear.error, in_clear.is_relayed) == (None, False)
    assert tree(both.target.disk / "clear") == FILES

    through_us = both.copy()
    assert (through_us.error, through_us.is_relayed) == (None, True)
    assert both.is_there()


def test_a_certificate_is_never_taken_on_trust(stack, pairs):
    both = Both(stack, ("proftpd", "proftpd"), pairs=pairs)
    url = ServerUrl.parse(both.source.url("top", tls=True))
    ours = both.target.login("copy", tls=True)
    for trust in (Trust.of_pin("00" * 32), Trust.of_authorities(None)):
        with pytest.raises(FxpCertificate):
            run(Login(url, "geheim", trust), ours)
    # The same name, but not the address that was asked for.
    authority = Trust.of_authorities(pairs[0][0])
    with pytest.raises(FxpCertificate, match="IP address mismatch"):
        run(Login(url, "geheim", authority), ours)
    assert "USER" not in (both.source.disk.parent.parent / "log").read_text()


def test_a_server_without_tls_gets_no_password(stack):
    both = Both(stack, ("proftpd", "proftpd"))
    both.source.certificate = make_certificate(both.source.disk.parent.parent, "x")[0]
    with pytest.raises(FxpCertificate, match="no TLS"):
        run(both.source.login("top", tls=True), both.target.login("copy"))


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(k, marks=pytest.mark.full) for k in KINDS[1:])]
)
def test_our_own_house_door_gives_and_takes(stack, tmp_path, monkeypatch, kind):
    """It takes data from its client alone, so all goes through the node."""
    monkeypatch.setattr(passive, "CONNECT_TIMEOUT_S", 1.0)
    theirs = stack.enter_context(third_party(kind, SOURCE))
    ours = stack.enter_context(serving(tmp_path))
    for name, content in FILES.items():
        theirs.put(f"top/{name}", content)
    url = f"ftp://{OWNER[0]}@127.0.0.1:{ours.service.house_port}/"
    for way in ("in", "out"):
        here = Login(ServerUrl.parse(url + "copy"), OWNER[1], None)
        logins = [theirs.login("top" if way == "in" else "back"), here]
        progress = run(*(logins if way == "in" else logins[::-1]))
        assert (progress.error, progress.is_relayed) == (None, True)
    assert tree(ours.disk / "copy") == FILES
    assert tree(theirs.disk / "back") == FILES


# --- the matrix ---------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("data", ["plain", "tls", "tls-plain-data"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_every_server_sends_to_every_server(stack, pairs, source, target, data):
    options = {} if data == "plain" else {"pairs": pairs}
    both = Both(stack, (source, target), **options)
    progress = both.copy(plain_data=data == "tls-plain-data")
    assert progress.error is None, progress.failures
    assert both.is_there()
    # vsftpd takes encrypted data only from who has a TLS session with it already.
    has_sscn = "proftpd" in (source, target) and "vsftpd" not in (source, target)
    assert progress.is_relayed == (data == "tls" and not has_sscn)
    again = both.copy(plain_data=data == "tls-plain-data")
    assert (again.error, again.files) == (None, len(FILES))


@pytest.mark.full
@pytest.mark.parametrize("data", ["plain", "tls"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_every_server_can_be_relayed_where_it_forbids(
    stack, pairs, source, target, data
):
    options = {} if data == "plain" else {"pairs": pairs}
    both = Both(stack, (source, target), listens=False, connects=False, **options)
    name, content = next(iter(FILES.items()))
    both.target.put(f"copy/{name}.fonshare-part", content[:700_000])
    progress = both.copy()
    assert (progress.error, progress.is_relayed) == (None, True), progress.failures
    assert both.is_there()


@pytest.mark.full
@pytest.mark.parametrize("only", ["listens", "connects"])
def test_a_server_that_allows_one_direction_is_used_in_it(stack, only):
    source = stack.enter_context(
        third_party(
            "vsftpd", SOURCE, listens=only == "listens", connects=only == "connects"
        )
    )
    target = stack.enter_context(third_party("vsftpd", TARGET))
    source.put("top/a", b"a" * 100_000)
    progress = run(source.login("top"), target.login("copy"), relay=Relay.NEVER)
    assert (progress.error, progress.is_relayed) == (None, False)
    assert tree(target.disk / "copy") == {"a": b"a" * 100_000}


@pytest.mark.full
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_lftp_finds_the_servers_able_to_do_the_same(stack, source, target):
    """A second opinion: what we call direct is what lftp does by FXP."""
    both = Both(stack, (source, target))
    content = os.urandom(1_000_000)
    both.source.put("one/a file.bin", content)
    settings = (
        "set ftp:use-fxp yes; set ftp:fxp-force yes; set net:max-retries 1; "
        "set net:timeout 20; set cmd:fail-exit yes; set ftp:ssl-allow no; "
        "set ftp:use-site-chmod no;"
    )
    origin = both.source.url("one").replace("@", f":{_quoted(both.source)}@")
    place = both.target.url("lftp").replace("@", f":{_quoted(both.target)}@")
    done = subprocess.run(
        [
            *[require_program("lftp"), "--norc", "-c"],
            f"{settings} mirror {origin} {place}",
        ],
        capture_output=True,
        timeout=PATIENCE_S,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert tree(both.target.disk / "lftp") == {"a file.bin": content}
    ours = both.copy("one", "ours", relay=Relay.NEVER)
    assert (ours.error, ours.is_relayed) == (None, False)
    assert tree(both.target.disk / "ours") == {"a file.bin": content}


def _quoted(server: ThirdParty) -> str:
    return "any" if server.kind == "vsftpd" else "geheim%20%E2%82%AC"
