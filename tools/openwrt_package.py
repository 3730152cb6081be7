"""What a package's Makefile says and installs, evaluated by GNU make without OpenWrt.

Any Makefile in a folder of package/ will do that keeps to OpenWrt's ways: one that
defines Package/NAME and its parts, or one of LuCI's that includes
$(TOPDIR)/feeds/luci/luci.mk and lies in folders as applications do (htdocs, root,
ucode, po).

The Makefile is the one source of version, dependencies, conffiles, texts and files; it
is evaluated over the stand-ins in tools/openwrt. A real SDK evaluates the same Makefile
with OpenWrt's own include files.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "package"  # each folder there with a Makefile is one, by its name
STAND_IN = ROOT / "tools" / "openwrt"
# The variables by which a make that runs us would change what ours says.
INHERITED = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEFILES", "MAKEOVERRIDES")


class MakeFailed(Exception):
    """GNU make ended with an error, which is the text."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package Makefile's fields by OpenWrt's names, and its texts and scripts."""

    fields: dict[str, str]

    @property
    def name(self) -> str:
        return self.fields["NAME"]

    @property
    def file_name(self) -> str:
        """The name of its .ipk."""
        return f"{self.name}_{self.fields['VERSION']}_{self.fields['PKGARCH']}.ipk"

    @property
    def depends(self) -> list[str]:
        """The packages it needs, as its control file names them."""
        # OpenWrt adds the C library to every package; `+` only says: build it too.
        return ["libc", *(one.lstrip("+") for one in self.fields["DEPENDS"].split())]

    @property
    def description(self) -> str:
        """What it is; its title, if it says no more."""
        return self.fields.get("description") or self.fields["TITLE"]

    @property
    def kept(self) -> list[str]:
        """The paths named in conffiles, in their order."""
        return self.fields.get("conffiles", "").split()


def evaluate(
    name: str, work: Path, libraries: Path | None = None, **variables: str
) -> list[Package]:
    """Return the packages that the Makefile in package/*name* builds, its own first.

    An application of LuCI is followed by its translations. Writes below *work*.
    """
    _make(name, "metadata", work, libraries, variables)
    folders = sorted((work / "metadata").iterdir(), key=lambda one: one.name != name)
    return [
        Package({file.name: file.read_text().rstrip("\n") for file in one.iterdir()})
        for one in folders
    ]


def install(
    name: str, work: Path, libraries: Path | None = None, **variables: str
) -> Path:
    """Run the Makefile's recipes; return the folder that holds each package's tree."""
    _make(name, "install", work, libraries, variables)
    return work / "root"


def _make(
    name: str,
    target: str,
    work: Path,
    libraries: Path | None,
    variables: dict[str, str],
) -> None:
    given = {
        "TOPDIR": str(STAND_IN),
        "STAND_IN_OUT": str(work.resolve()),
        "PO2LMO": f"{sys.executable} {ROOT / 'tools' / 'lmo.py'}",
        **variables,
    }
    if libraries is not None:
        given["FONSHARE_VENDORED"] = str(libraries.resolve())
    done = subprocess.run(
        [
            *("env", *(f"--unset={name}" for name in INHERITED)),
            *("make", "-s", "-C", PACKAGES / name),
            *(f"{key}={value}" for key, value in given.items()),
            target,
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise MakeFailed(f"{name}: make {target}: {done.stderr.strip()}")
