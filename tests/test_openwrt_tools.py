"""`make sdk`, `make image` and `make bundle`, with stand-ins for OpenWrt's own tools.

They prove that ours call the others as OpenWrt documents it; none has been run with a
real SDK or ImageBuilder here.
"""

import gzip
import hashlib
import http.server
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import bundle
import openwrt_archive
from http_servers import served_by
from openwrt_package import INHERITED

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "package" / "bundle"


def load_fetch():
    """fetch.py, which runs on a PC by itself and is no module of ours."""
    spec = importlib.util.spec_from_file_location("fetch", BUNDLE / "fetch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fetch = load_fetch()


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Run make; `venv` is there already, and its stamp is not looked at."""
    hidden = [f"--unset={name}" for name in INHERITED]
    here = f"BIN={Path(sys.executable).parent}"
    return subprocess.run(
        ["env", *hidden, "make", "-s", "-o", "venv", here, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_given: object) -> None:
            pass

    with served_by(partial(Quiet, directory=folder)) as address:
        yield address


# --- an SDK, an ImageBuilder ----------------------------------------------------------


SDK_MAKEFILE = """
defconfig:
	@echo defconfig >> calls
package/luci-base/host/compile:
	@echo compile po2lmo and jsmin NO_DEPS=$(NO_DEPS) >> calls
package/%/compile:
	@echo compile $* NO_DEPS=$(NO_DEPS) >> calls
	@test -d $(FONSHARE_VENDORED)
	@mkdir -p bin/packages/mipsel_24kc/fonshare
	@touch bin/packages/mipsel_24kc/fonshare/$*_0_all.ipk
	@touch bin/packages/mipsel_24kc/fonshare/luci-i18n-fonshare-fr_0_all.ipk
"""
FEEDS = """#!/bin/sh
echo "feeds $*" >> calls
"""


@pytest.fixture
def sdk(tmp_path) -> Path:
    folder = tmp_path / "sdk"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "feeds").write_text(FEEDS)
    (folder / "scripts" / "feeds").chmod(0o755)
    (folder / "Makefile").write_text(SDK_MAKEFILE)
    (folder / "feeds.conf.default").write_text("src-git packages x\n")
    return folder


def test_an_sdk_is_given_our_feed_and_builds_the_package(sdk):
    done = make("sdk", f"SDK={sdk}")

    assert done.returncode == 0, done.stderr
    feeds = (sdk / "feeds.conf").read_text().splitlines()
    assert feeds == ["src-git packages x", f"src-link fonshare {ROOT / 'package'}"]
    names = sorted(file.parent.name for file in (ROOT / "package").glob("*/Makefile"))
    assert (sdk / "calls").read_text().splitlines() == [
        "feeds update -a",
        *(f"feeds install -p fonshare -f {name}" for name in names),
        "defconfig",
        "compile po2lmo and jsmin NO_DEPS=",
        *(f"compile {name} NO_DEPS=1" for name in names),
    ]
    built = {Path(line).name for line in done.stdout.splitlines()}
    assert built == {f"{name}_0_all.ipk" for name in [*names, "luci-i18n-fonshare-fr"]}


@pytest.mark.parametrize("words", [[], ["SDK=/nowhere"], ["SDK=/tmp"]])
def test_without_an_sdk_it_says_so(words):
    done = make("sdk", *words)
    assert done.returncode != 0
    assert "SDK" in done.stderr or "there is no" in done.stderr


IMAGE_MAKEFILE = """
image:
	@echo "$(PROFILE): $(PACKAGES)" > calls
	@head -c $(SIZE) /dev/zero > $(BIN_DIR)/openwrt-$(PROFILE)-squashfs-sysupgrade.bin
"""


@pytest.mark.parametrize(("size", "fits"), [(7360 * 1024, True), (7361 * 1024, False)])
def test_an_image_for_the_fonera_has_what_extroot_needs_and_fits(tmp_path, size, fits):
    (tmp_path / "Makefile").write_text(IMAGE_MAKEFILE.replace("$(SIZE)", str(size)))

    done = make("image", f"IMAGEBUILDER={tmp_path}")

    assert (done.returncode == 0) == fits, done.stderr
    assert ("KiB are needed for settings" in done.stderr) != fits
    profile, packages = (tmp_path / "calls").read_text().split(":")
    assert profile == "fon_fonera-20n"
    assert packages.split() == [
        "block-mount",
        "e2fsprogs",
        "kmod-fs-ext4",
        "kmod-usb-storage",
    ]


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder as OpenWrt's downloads: an archive, and the sums of all files."""
    (tmp_path / "tree" / "openwrt-sdk-x").mkdir(parents=True)
    (tmp_path / "tree" / "openwrt-sdk-x" / "Makefile").write_text("all:\n")
    place = tmp_path / "downloads"
    place.mkdir()
    file = place / "openwrt-sdk-x.tar.gz"
    folder = tmp_path / "tree"
    subprocess.run(["tar", "-czf", file, "-C", folder, "openwrt-sdk-x"], check=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (place / "sha256sums").write_text(f"{digest} *{file.name}\n")
    return file


def test_an_address_is_fetched_once_checked_and_unpacked(archive, tmp_path):
    with served(archive.parent) as address:
        place = f"{address}/{archive.name}"
        folder = openwrt_archive.unpacked(place, tmp_path / "here")
    assert (folder / "Makefile").read_text() == "all:\n"
    assert openwrt_archive.unpacked(place, tmp_path / "here") == folder


def test_an_archive_other_than_its_sum_says_is_not_unpacked(archive, tmp_path):
    (archive.parent / "sha256sums").write_text(f"{'0' * 64} *{archive.name}\n")
    with (
        served(archive.parent) as address,
        pytest.raises(openwrt_archive.NotUsable, match="is not what"),
    ):
        openwrt_archive.unpacked(f"{address}/{archive.name}", tmp_path / "here")
    assert not list((tmp_path / "here").glob("openwrt-sdk-x"))


# --- the bundle ---------------------------------------------------------------------


INDEX = """
Package: python3-light
Version: 3.11.14-r1
Depends: libc, libffi8 (>= 1), zlib
Filename: python3-light_3.11.14-r1_mipsel_24kc.ipk
SHA256sum: {python3-light}

Package: libffi8
Version: 3.4.6-r1
Depends: libc
Provides: libffi
Filename: libffi8_3.4.6-r1_mipsel_24kc.ipk
SHA256sum: {libffi8}

Package: zlib
Version: 1.3.1-r1
Depends: libc
Filename: zlib_1.3.1-r1_mipsel_24kc.ipk
SHA256sum: {zlib}

Package: python3-logging
Version: 3.11.14-r1
Depends: libc, python3-light
Filename: python3-logging_3.11.14-r1_mipsel_24kc.ipk
SHA256sum: {python3-logging}
"""
NAMES = ("python3-light", "libffi8", "zlib", "python3-logging")


@pytest.fixture
def feed(tmp_path) -> Path:
    folder = tmp_path / "feed"
    folder.mkdir()
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    index = INDEX
    for name in NAMES:
        index = index.replace(f"{{{name}}}", sums[name])
    for line in index.splitlines():
        if line.startswith("Filename: "):
            file = line.split()[1]
            (folder / file).write_text(file.split("_")[0])
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    return folder


@pytest.fixture
def fetched(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("HERE", "WANTED", "ORDER"):
        file = {"HERE": "", "WANTED": "feed-packages.txt", "ORDER": "order.txt"}[name]
        monkeypatch.setattr(fetch, name, folder / file)
    (folder / "feed-packages.txt").write_text("python3-logging\n")
    return folder


def run_fetch(address: str, folder: Path, *installed: str) -> int:
    conf = folder / "distfeeds.conf"
    conf.write_text(f"# comment\nsrc/gz openwrt_packages {address}\n")
    (folder / "installed.txt").write_text("".join(f"{one} - 1\n" for one in installed))
    return fetch.main([str(conf), str(folder / "installed.txt")])


def test_the_pc_fetches_what_is_needed_in_the_order_of_installing(feed, fetched):
    with served(feed) as address:
        assert run_fetch(address, fetched, "zlib") == 0
    order = (fetched / "order.txt").read_text().splitlines()
    assert [file.split("_")[0] for file in order] == [
        "libffi8",
        "python3-light",
        "python3-logging",
    ]
    assert all((fetched / file).exists() for file in order)


def test_a_package_damaged_on_its_way_is_not_kept(feed, fetched):
    (feed / "zlib_1.3.1-r1_mipsel_24kc.ipk").write_text("damaged")
    with served(feed) as address, pytest.raises(ValueError, match="not what its feed"):
        run_fetch(address, fetched)
    assert not list(fetched.glob("zlib*"))
    assert not (fetched / "order.txt").exists()


def test_a_package_that_no_feed_has_is_named(feed, fetched, capsys):
    (fetched / "feed-packages.txt").write_text("python3-pynacl\n")
    with served(feed) as address:
        assert run_fetch(address, fetched) == 1
    assert "python3-pynacl" in capsys.readouterr().err


STAND_INS = {
    "opkg": """#!/bin/sh
case "$1" in
status)
	! grep -qx "$2" "$STATE/installed" 2>/dev/null ||
		echo "Status: install user installed" ;;
install)
	name=${2##*/}; name=${name%%_*}
	[ "$name" != "$BROKEN" ] || exit 255
	echo "$name" >> "$STATE/installed" ;;
esac
exit 0
""",
    "df": """#!/bin/sh
printf 'Filesystem 1K-blocks Used Available Use%% Mounted on\\n'
printf '/dev/sda1 100 100 %s 1%% /\\n' "$ROOM"
""",
}


class Router:
    """A folder with a bundle, and stand-ins for opkg, df and the memory there is."""

    def __init__(self, folder: Path) -> None:
        self.bundle, self.state = folder / "mnt" / "bundle", folder / "state"
        for place in (self.bundle, self.state):
            place.mkdir(parents=True)
        for name, text in STAND_INS.items():
            (self.state / name).write_text(text)
            (self.state / name).chmod(0o755)
        names = [f"{name}_1_all.ipk" for name in ("zlib", "python3-light")]
        for name in [*names, "fonshare-agent_1_all.ipk"]:
            self.put(name, 100 * 1024)
        (self.bundle / "order.txt").write_text("".join(f"{one}\n" for one in names))

    def put(self, name: str, size: int = 1024) -> None:
        work = self.state / "control"
        work.write_text(f"Package: {name}\nInstalled-Size: {size}\n")
        inner = self.state / "control.tar.gz"
        for archive, member in ((inner, "control"), (self.bundle / name, inner.name)):
            command = ["tar", "-czf", archive, "-C", self.state, f"./{member}"]
            subprocess.run(command, check=True)

    def install(
        self, *, free_kib: int = 20_000, room_kib: int = 10_000, broken: str = ""
    ) -> subprocess.CompletedProcess[str]:
        (self.state / "meminfo").write_text(f"MemAvailable:   {free_kib} kB\n")
        text = (BUNDLE / "install.sh").read_text()
        assert "/proc/meminfo" in text
        text = text.replace("/proc/meminfo", str(self.state / "meminfo"))
        text = text.replace("/tmp/*", "/nowhere/*")  # where tests live
        (self.bundle / "install.sh").write_text(text)
        environment = {
            "PATH": f"{self.state}:/usr/bin:/bin",
            "STATE": str(self.state),
            "ROOM": str(room_kib),
            "BROKEN": broken,
        }
        return subprocess.run(
            ["sh", self.bundle / "install.sh"],
            env=environment,
            capture_output=True,
            text=True,
        )

    @property
    def installed(self) -> list[str]:
        file = self.state / "installed"
        return file.read_text().split() if file.exists() else []


ALL = ["zlib", "python3-light", "fonshare-agent"]


@pytest.fixture
def router(tmp_path) -> Router:
    return Router(tmp_path)


def test_a_bundle_is_installed_in_order_and_only_once(router):
    assert router.install().returncode == 0
    assert router.installed == ALL
    again = router.install()
    assert (again.returncode, router.installed) == (0, ALL)
    assert "Everything is installed" in again.stdout


def test_pages_for_luci_are_installed_where_luci_is(router):
    pages = ["luci-app-fonshare", "luci-i18n-fonshare-fr"]
    for name in pages:
        router.put(f"{name}_1_all.ipk")
    router.install()
    assert router.installed == ALL
    with (router.state / "installed").open("a") as file:
        file.write("luci-base\n")
    router.install()
    assert router.installed == [*ALL, "luci-base", *pages]


def test_too_little_memory_or_room_is_said_before_anything_is_installed(router):
    for given in ({"free_kib": 5000}, {"room_kib": 4000}):
        done = router.install(**given)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert str(*given.values()) in done.stderr
    assert router.installed == []


def test_after_a_failure_it_goes_on_where_it_was(router):
    assert router.install(broken="python3-light").returncode == 1
    assert router.installed == ["zlib"]
    assert router.install().returncode == 0
    assert router.installed == ALL


APK = """#!/bin/sh
case "$1" in
info) exec grep -qx "$3" "$STATE/installed" ;;
esac
echo "$@" >> "$STATE/apk-was-told"
[ -z "$BROKEN" ]
"""


@pytest.fixture
def newer_router(router) -> Router:
    """OpenWrt 25.12: apk instead of opkg."""
    (router.state / "opkg").unlink()
    (router.state / "apk").write_text(APK)
    (router.state / "apk").chmod(0o755)
    for name in ("fonshare-agent-0.1.0-r1.apk", "pyftpdlib-2.0.1-r1.apk"):
        (router.bundle / name).write_bytes(bytes(100 * 1024))
    return router


def test_where_apk_is_it_gets_all_packages_at_once(newer_router):
    done = newer_router.install()
    assert done.returncode == 0, done.stderr
    assert (newer_router.state / "apk-was-told").read_text() == (
        "add --allow-untrusted ./fonshare-agent-0.1.0-r1.apk ./pyftpdlib-2.0.1-r1.apk\n"
    )
    assert "fonshare setup" in done.stdout


def test_where_apk_is_pages_are_for_luci_too(newer_router):
    """Else apk brings all of LuCI along."""
    (newer_router.state / "installed").touch()
    page = "luci-app-fonshare-0.1.0-r1.apk"
    (newer_router.bundle / page).write_bytes(bytes(1024))
    newer_router.install()
    told = newer_router.state / "apk-was-told"
    assert page not in told.read_text()
    (newer_router.state / "installed").write_text("luci-base\n")
    newer_router.install()
    assert page in told.read_text().splitlines()[-1]


def test_where_apk_is_what_lacks_is_said_before_it_is_asked(newer_router):
    assert "apk update" in newer_router.install(broken="all").stderr
    (newer_router.state / "apk-was-told").unlink()
    for given in ({"free_kib": 5000}, {"room_kib": 4000}):
        done = newer_router.install(**given)
        assert done.returncode == 1
        assert str(*given.values()) in done.stderr
    for file in newer_router.bundle.glob("*.apk"):
        file.unlink()
    done = newer_router.install()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "make sdk" in done.stderr
    assert not (newer_router.state / "apk-was-told").exists()


def test_on_the_pc_the_feeds_of_apk_are_told_apart(tmp_path, fetched, capsys):
    feeds = tmp_path / "distfeeds.list"
    for text, said in (
        (
            "https://feeds.example/packages/mipsel_24kc/base/packages.adb\n",
            "apk update",
        ),
        ("# nothing\n", "no feed"),
    ):
        feeds.write_text(text)
        assert fetch.main([str(feeds)]) == 1
        assert said in capsys.readouterr().err


def test_memory_is_no_place_to_install_from():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        script = Path(folder) / "install.sh"
        script.write_text((BUNDLE / "install.sh").read_text())
        done = subprocess.run(["sh", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is memory" in done.stderr


def test_a_bundle_names_what_the_package_needs_of_the_feeds(tmp_path, monkeypatch):
    monkeypatch.setattr(
        bundle,
        "read_control",
        lambda file: (
            f"Package: {file.name.split('_')[0]}\n"
            "Depends: libc, python3-light, fonshare-agent"
            f"{', luci-base' if 'luci' in file.name else ''}\n"
        ),
    )
    for name in ("fonshare-agent_1_all.ipk", "luci-app-fonshare_1_all.ipk"):
        (tmp_path / name).touch()
    assert bundle.make(tmp_path, tmp_path / "out") == ["python3-light"]
    assert (tmp_path / "out" / "feed-packages.txt").read_text() == "python3-light\n"
    assert (tmp_path / "out" / "install.sh").exists()
