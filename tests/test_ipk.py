"""`make ipk`: the package as a file, the same each time, as opkg wants it.

The libraries that are vendored are empty here; what is fetched is build/vendored's
concern. tests/rootfs installs the real thing.
"""

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import ipk
from fonshare_agent import __version__

ROOT = Path(__file__).parent.parent
MAKEFILE = ROOT / "package" / "fonshare-agent" / "Makefile"
EPOCH = 1_800_000_000


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    for name in ("pyftpdlib", "asyncore", "asynchat"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    return folder


@pytest.fixture(scope="module")
def package(libraries, tmp_path_factory) -> Path:
    return ipk.build("fonshare-agent", tmp_path_factory.mktemp("out"), libraries, EPOCH)


def opened(data: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(data), mode="r:gz")


def member(package: Path, name: str) -> bytes:
    with opened(package.read_bytes()) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def control(package: Path) -> dict[str, bytes]:
    with opened(member(package, "./control.tar.gz")) as archive:
        files = [one for one in archive.getmembers() if one.isfile()]
        return {one.name: archive.extractfile(one).read() for one in files}


def fields(package: Path) -> dict[str, str]:
    lines = control(package)["./control"].decode().splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith(" "))


def test_the_same_commit_gives_the_same_bytes(package, libraries, tmp_path):
    """In another folder, with another umask, in another zone and language."""
    code = (
        "import sys, pathlib, ipk; out, libraries = map(pathlib.Path, sys.argv[1:]); "
        f"print(ipk.build('fonshare-agent', out, libraries, {EPOCH}))"
    )
    environment = os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "GZIP": "-1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "out", libraries],
        cwd=ROOT / "tools",
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    again = Path(run.stdout.strip())
    assert again.name == package.name == f"fonshare-agent_{__version__}-r1_all.ipk"
    assert again.read_bytes() == package.read_bytes()


def test_it_is_laid_out_as_openwrt_does_it(package):
    with opened(package.read_bytes()) as archive:
        assert archive.getnames() == [
            "./debian-binary",
            "./data.tar.gz",
            "./control.tar.gz",
        ]
    assert member(package, "./debian-binary") == b"2.0\n"
    with opened(member(package, "./data.tar.gz")) as archive:
        entries = archive.getmembers()
    assert [one.name for one in entries] == sorted(one.name for one in entries)
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in entries} == {
        (0, 0, "", EPOCH)
    }
    assert {one.mode for one in entries if one.isdir()} == {0o755}
    assert {one.mode for one in entries if one.isfile()} == {0o600, 0o644, 0o755}


def test_its_control_file_says_what_the_makefile_says(package):
    """The Makefile read as text, by other means than GNU make."""
    text = MAKEFILE.read_text()
    said = dict(re.findall(r"^ {2}(\w+):=((?:.*\\\n)*.*)$", text, re.MULTILINE))
    depends = [name.lstrip("+") for name in said["DEPENDS"].split() if name != "\\"]
    told = fields(package)
    assert told["Depends"].split(", ") == ["libc", *depends]
    assert told["Require-User"] == said["USERID"]
    assert told["Architecture"] == said["PKGARCH"]
    assert told["Section"] == said["SECTION"]
    assert told["Package"] == "fonshare-agent"
    assert told["Version"] == f"{__version__}-r1"
    data = gzip.decompress(member(package, "./data.tar.gz"))
    assert told["Installed-Size"] == str(len(data))
    for kind in ("description", "conffiles", "postinst", "prerm"):
        assert f"define Package/fonshare-agent/{kind}\n" in text
    described = re.search(r"/description\n(.*?)endef", text, re.DOTALL)[1]
    shown = control(package)["./control"].decode().split("Description: ")[1]
    assert shown.split() == described.split()


def test_settings_and_keys_outlive_upgrades_of_package_and_firmware(package):
    assert control(package)["./conffiles"] == b"/etc/config/fonshare\n"
    with opened(member(package, "./data.tar.gz")) as archive:
        kept = archive.extractfile("./lib/upgrade/keep.d/fonshare-agent")
        assert kept.read() == b"/etc/fonshare/\n/etc/mosquitto/fonshare/\n"


def test_its_own_scripts_run_from_openwrts(package):
    files = control(package)
    assert files["./postinst"].endswith(b"\ndefault_postinst $0 $@\n")
    assert files["./prerm"].endswith(b"\ndefault_prerm $0 $@\n")
    assert b"/etc/init.d/fonshare compile" in files["./postinst-pkg"]
    assert b"${IPKG_INSTROOT}" in files["./prerm-pkg"], "expanded by make already"
    for name in ("postinst", "postinst-pkg", "prerm", "prerm-pkg"):
        with opened(member(package, "./control.tar.gz")) as archive:
            assert archive.getmember(f"./{name}").mode == 0o755


def test_its_folder_is_a_feed(package):
    folder = package.parent
    ipk.write_index(folder)

    text = (folder / "Packages").read_text()
    assert gzip.decompress((folder / "Packages.gz").read_bytes()).decode() == text
    assert text.endswith("\n\n"), "an empty line ends an entry"
    entry = dict(
        line.split(": ", 1) for line in text.splitlines() if line and line[0] != " "
    )
    data = package.read_bytes()
    assert entry["Filename"] == package.name
    assert entry["Size"] == str(len(data))
    assert entry["SHA256sum"] == hashlib.sha256(data).hexdigest()
    assert list(entry)[-1] == "Description"


def test_the_time_of_its_files_is_the_commits(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if (ROOT / ".git").exists():
        command = ["git", "-C", ROOT, "log", "-1", "--format=%ct"]
        assert (
            str(ipk.source_date()) == subprocess.check_output(command).decode().strip()
        )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234")
    assert ipk.source_date() == 1234
