"""Mirrors of the servers that people run, with and without TLS."""

import os

import pytest

from certificates import make_tls_files
from ftp_service import make_certificate
from fxp_servers import KINDS, PASSWORD, third_party
from mirrored import Leave, Mirrored, at, stop

ADDRESS = "127.0.0.73"
MIB = 1 << 20
FILES = {
    b'a b#%".bin': os.urandom(MIB),
    "sub/Café 音楽".encode(): b"x",
    b"sub/-empty": b"",
    b"sub/.hidden": b"h" * 70_000,
    b"sub/deep/er/latin-\xe9": b"e",
}


@pytest.mark.full
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mirror_of_each_server_comes_goes_on_and_follows(tmp_path, kind, tls):
    pair = make_certificate(tmp_path, "old") if tls else None
    with third_party(kind, ADDRESS, pair=pair) as old:
        mirror = Mirrored(
            tmp_path / "node",
            old.url("top", tls=tls),
            PASSWORD,
            old.pin if tls else "",
        )
        for name, content in FILES.items():
            old.put(b"top/" + name, content)
        (old.disk / "top" / "link").symlink_to("/etc/passwd")

        report = mirror.read(at(400_000, stop))
        assert report["stopped"] == "enough"
        assert b'a b#%".bin' not in mirror.tree()
        rest = Leave()
        report = mirror.read(rest)
        assert (report.get("error"), report["failures"]) == (None, [])
        assert mirror.tree() == FILES
        assert rest.moved <= sum(map(len, FILES.values())) - 400_000, "it went on"

        assert mirror.read()["fetched"] == 0
        changed = old.put("top/sub/-empty", b"1")
        os.utime(changed, (1_700_000_000, 1_700_000_000))
        os.utime(old.put("top/sub/.hidden", b"i" * 70_000), (10**9, 10**9))
        (old.disk / "top" / "sub" / "Café 音楽").unlink()
        report = mirror.read()
        assert (report["fetched"], report["waiting"]) == (2, 1), report
        assert "sub/Café 音楽".encode() in mirror.tree()
        assert mirror.read()["deleted"] == 1
        left = {**FILES, b"sub/-empty": b"1", b"sub/.hidden": b"i" * 70_000}
        del left["sub/Café 音楽".encode()]
        assert mirror.tree() == left


@pytest.mark.full
def test_who_is_not_trusted_gets_no_password_and_a_wrong_one_is_told(tmp_path):
    pair = make_certificate(tmp_path, "old")
    with third_party("proftpd", ADDRESS, pair=pair) as old:
        mirror = Mirrored(tmp_path / "node", old.url("top", tls=True), PASSWORD)
        for pin in ("", "00" * 32):
            error = mirror.read(pin=pin)["error"]
            assert error["code"] == "fxp.certificate"
            assert "--pin" in error["next"]
        old.put("top/a", b"1")
        error = mirror.read(pin=old.pin, password="wrong")["error"]
        assert error["code"] == "fxp.login"
        assert mirror.read(pin=old.pin)["fetched"] == 1


@pytest.mark.full
def test_a_server_signed_by_an_authority_of_ones_own_is_trusted_by_its_file(tmp_path):
    """Also when its certificate is renewed, as no pin would."""
    files = make_tls_files(tmp_path / "ours", f"IP:{ADDRESS}")
    strangers = make_tls_files(tmp_path / "theirs", f"IP:{ADDRESS}")
    pair = files.certificate, files.key
    with third_party("proftpd", ADDRESS, pair=pair) as old:
        mirror = Mirrored(tmp_path / "node", old.url("top", tls=True), PASSWORD)
        old.put("top/a", b"1")
        for ca in ("", str(strangers.ca), str(tmp_path / "nowhere.pem")):
            error = mirror.read(ca=ca)["error"]
            assert error["code"] == "fxp.certificate"
            assert "--ca" in error["next"]
        assert "USER" not in (old.disk.parent.parent / "log").read_text()
        assert mirror.read(ca=str(files.ca))["fetched"] == 1
