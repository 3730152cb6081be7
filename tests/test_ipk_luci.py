"""A package in LuCI's layout, built without LuCI, and its translations."""

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

import ipk
import lmo
import openwrt_package

EPOCH = 1_800_000_000
MAKEFILE = """include $(TOPDIR)/rules.mk

PKG_VERSION:=1.2
PKG_RELEASE:=3
PKG_LICENSE:=Apache-2.0
LUCI_TITLE:=LuCI pages of a sample
LUCI_DEPENDS:=+luci-base +sample

include $(TOPDIR)/feeds/luci/luci.mk

# call BuildPackage - OpenWrt buildroot signature
"""
PO = r"""# What is said in French.
msgid ""
msgstr ""
"Language: fr\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

#: a.js:3
msgid "Save"
msgstr "Enregistrer"

msgid "OK"
msgstr "OK"

#, fuzzy
msgid "A \"quoted\" word, a \\ and\na line"
msgstr ""
"Un mot « cité », "
"un \\ et\nune ligne"

msgctxt "verb"
msgid "Share"
msgstr "Partager"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d fichier"
msgstr[1] "%d fichiers"

msgid "Not yet"
msgstr ""

msgid "é"
msgstr "ée"

msgid "ab"
msgstr "x"

#~ msgid "old"
#~ msgstr "vieux"
"""
# What LuCI's own po2lmo (2009-2012, built once from its source) made of PO.
OBSERVED = "e655d8803b0af582ec885bc6dcee3d9ec27b740bf9cd9296d0eed54741ab5d59"
FILES = {
    "htdocs/luci-static/resources/view/sample/a.js": 0o644,
    "root/usr/libexec/rpcd/luci.sample": 0o755,
    "root/usr/share/luci/menu.d/luci-app-sample.json": 0o644,
    "ucode/template/sample.ut": 0o644,
    "po/templates/sample.pot": 0o644,
}


@pytest.fixture
def application(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "package" / "luci-app-sample"
    for name, mode in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x\n")
        file.chmod(mode & 0o700)  # as with a umask of 077
    (folder / "po" / "fr").mkdir()
    (folder / "po" / "fr" / "sample.po").write_text(PO)
    (folder / "Makefile").write_text(MAKEFILE)
    monkeypatch.setattr(openwrt_package, "PACKAGES", tmp_path / "package")
    return folder


def unpacked(package: Path, into: Path) -> dict[str, int]:
    """Unpack its tree; return its files with their modes."""
    command = ["tar", "-xzOf", package, "./data.tar.gz"]
    data = subprocess.check_output(command)
    into.mkdir()
    (into.parent / f"{into.name}.tar.gz").write_bytes(data)
    with tarfile.open(into.parent / f"{into.name}.tar.gz") as archive:
        archive.extractall(into, filter="fully_trusted")
        files = [one for one in archive.getmembers() if one.isfile()]
    return {one.name.removeprefix("./"): one.mode for one in files}


def fields(package: Path) -> dict[str, str]:
    lines = ipk.read_control(package).splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith(" "))


def test_an_application_is_installed_where_luci_looks_for_it(application, tmp_path):
    ours, french = ipk.build_all("luci-app-sample", tmp_path / "out", tmp_path, EPOCH)

    assert ours.name == "luci-app-sample_1.2-r3_all.ipk"
    assert unpacked(ours, tmp_path / "ours") == {
        "www/luci-static/resources/view/sample/a.js": 0o644,
        "usr/libexec/rpcd/luci.sample": 0o755,
        "usr/share/luci/menu.d/luci-app-sample.json": 0o644,
        "usr/share/ucode/luci/template/sample.ut": 0o644,
    }
    assert fields(ours)["Depends"] == "libc, luci-base, sample"
    assert fields(ours)["Section"] == "luci"
    # What luci.mk gives to who says nothing of it.
    assert fields(ours)["Maintainer"] == "OpenWrt LuCI community"
    assert french.name == "luci-i18n-sample-fr_26.001.00000~0000000_all.ipk"
    assert fields(french)["SourceName"] == "luci-app-sample"


def test_a_translation_is_a_package_of_its_own(application, tmp_path):
    _, french = ipk.build_all("luci-app-sample", tmp_path / "out", tmp_path, EPOCH)

    into = tmp_path / "french"
    texts, language = "usr/lib/lua/luci/i18n/sample.fr.lmo", "luci-i18n-sample-fr"
    assert unpacked(french, into) == {
        f"etc/uci-defaults/{language}": 0o644,
        texts: 0o644,
    }
    script = (into / "etc/uci-defaults" / language).read_text()
    assert "uci set luci.languages.fr='Français (French)'" in script
    assert hashlib.sha256((into / texts).read_bytes()).hexdigest() == OBSERVED
    assert fields(french)["Depends"] == "libc, luci-app-sample"


def test_nothing_translated_is_no_file():
    assert lmo.render(lmo.read_po(b'msgid "a"\nmsgstr ""\n')) == b""


def test_all_packages_are_built_by_default():
    folders = openwrt_package.PACKAGES.glob("*/Makefile")
    assert sorted(ipk.NAMES) == sorted(file.parent.name for file in folders)
