"""What a package's Makefile says and installs, evaluated by GNU make without OpenWrt.

The Makefile is the one source of version, dependencies, conffiles, texts and files; it
is evaluated over the stand-ins in tools/openwrt. A real SDK evaluates the same Makefile
with OpenWrt's own include files.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "package"
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
    def depends(self) -> list[str]:
        """The packages it needs, as its control file names them."""
        # OpenWrt adds the C library to every package; `+` only says: build it too.
        return ["libc", *(one.lstrip("+") for one in self.fields["DEPENDS"].split())]

    @property
    def kept(self) -> list[str]:
        """The paths named in conffiles, in their order."""
        return self.fields.get("conffiles", "").split()


def evaluate(
    name: str, work: Path, libraries: Path | None = None, **variables: str
) -> Package:
    """Return what the Makefile of package *name* says. Writes below *work*."""
    folder = work / "metadata"
    folder.mkdir(parents=True, exist_ok=True)
    _make(name, "metadata", work, libraries, variables)
    return Package(
        {file.name: file.read_text().rstrip("\n") for file in folder.iterdir()}
    )


def install(
    name: str, work: Path, libraries: Path | None = None, **variables: str
) -> Path:
    """Run the Makefile's recipes; return the folder laid out as the router's tree."""
    _make(name, "install", work, libraries, variables)
    return work / "root"


def _make(
    name: str,
    target: str,
    work: Path,
    libraries: Path | None,
    variables: dict[str, str],
) -> None:
    given = {"TOPDIR": str(STAND_IN), "STAND_IN_OUT": str(work.resolve()), **variables}
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
