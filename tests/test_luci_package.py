"""luci-app-fonshare and its French as packages: everything is in, and asked for."""

import subprocess
from pathlib import Path

import pytest

import ipk
import words
from fonshare_agent import __version__

APP = words.APP
EPOCH = 1_800_000_000


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ipk")
    return ipk.build_all("luci-app-fonshare", folder, folder, EPOCH)


def unpack(package: Path, into: Path) -> set[str]:
    into.mkdir()
    data = subprocess.check_output(["tar", "-xzOf", package, "./data.tar.gz"])
    subprocess.run(["tar", "-xzf", "-", "-C", into], input=data, check=True)
    files = (file for file in into.rglob("*") if file.is_file())
    return {str(file.relative_to(into)) for file in files}


def test_every_file_of_the_application_is_installed(packages, tmp_path):
    wanted = set()
    for source, place in (("htdocs", "www/"), ("root", "")):
        files = (file for file in (APP / source).rglob("*") if file.is_file())
        wanted |= {place + str(file.relative_to(APP / source)) for file in files}
    assert unpack(packages[0], tmp_path / "tree") == wanted
    assert "usr/share/rpcd/ucode/fonshare.uc" in wanted


def test_it_asks_for_the_agent_and_for_what_the_plugin_imports(packages):
    control = ipk.read_control(packages[0])
    depends = control.split("Depends: ")[1].split("\n")[0].split(", ")
    assert {"luci-base", "fonshare-agent", "rpcd-mod-ucode", "luci-lib-uqr"} <= {
        *depends
    }
    plugin = (APP / "root/usr/share/rpcd/ucode/fonshare.uc").read_text()
    imported = {
        line.rsplit("'", 2)[1]
        for line in plugin.splitlines()
        if line.startswith("import ")
    }
    assert {f"ucode-mod-{name}" for name in imported} <= {*depends}


def test_they_name_who_maintains_them_and_have_the_agents_version(packages):
    """luci.mk says LuCI's own people, and dates, where the Makefile says nothing."""
    for package in packages:
        control = ipk.read_control(package)
        assert "\nMaintainer: The FonShare maintainers\n" in control
        assert f"\nVersion: {__version__}-r1\n" in control
        assert "\nSourceName: luci-app-fonshare\n" in control
        assert "github.com/openwrt" not in control


def test_the_french_package_says_every_text(packages, tmp_path):
    assert packages[1].name.startswith("luci-i18n-fonshare-fr_")
    place = "usr/lib/lua/luci/i18n/fonshare.fr.lmo"
    assert place in unpack(packages[1], tmp_path / "tree")
    made = (tmp_path / "tree" / place).read_bytes()
    for text, translation in words.read_po(words.FRENCH.read_text()).items():
        if text != translation:
            assert translation.replace("\n", "\\n").encode() in made, text
