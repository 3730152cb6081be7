"""`make ipk`: the packages for OpenWrt up to 24.10, without an SDK.

    python3 tools/ipk.py [--out FOLDER] [NAME...]

NAME is a folder of package/, all of them by default. The same .ipk as the SDK's: the
same tree, control file and scripts, made of the same Makefile (openwrt_package.py),
archived as OpenWrt's ipkg-build does it. Byte for byte the same for the same commit;
SOURCE_DATE_EPOCH, if set, is the time of all files. The folder also gets Packages and
Packages.gz, which make it a feed for opkg.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import openwrt_package
import vendored
from openwrt_package import PACKAGES, ROOT, Package

OUT = ROOT / "build" / "ipk"
NAMES = tuple(sorted(file.parent.name for file in PACKAGES.glob("*/Makefile")))
# In the control file: its field, and the Makefile's variable. Empty ones are left out.
CONTROL = {
    "Source": "SOURCE",
    "SourceName": "SOURCE_NAME",
    "License": "LICENSE",
    "LicenseFiles": "LICENSE_FILES",
    "Section": "SECTION",
    "Require-User": "USERID",
    "SourceDateEpoch": "EPOCH",
    "URL": "URL",
    "Maintainer": "MAINTAINER",
    "Architecture": "PKGARCH",
}
# What OpenWrt gives every package; the package's own part is in NAME.postinst-pkg,
# which functions.sh sources.
GUARD = """[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
"""
SCRIPTS = {
    "postinst": '#!/bin/sh\n[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n'
    + GUARD
    + "default_postinst $0 $@\n",
    "prerm": "#!/bin/sh\n" + GUARD + "default_prerm $0 $@\n",
}
OWN_SCRIPTS = {
    "preinst": "preinst",
    "postinst": "postinst-pkg",
    "prerm": "prerm-pkg",
    "postrm": "postrm",
}


def build(name: str, out: Path, libraries: Path, epoch: int, **variables: str) -> Path:
    """Make the packages of the folder *name*; return the file of that name in *out*.

    *variables* replace those of its Makefile. Raises MakeFailed when that fails.
    """
    return build_all(name, out, libraries, epoch, **variables)[0]


def build_all(
    name: str, out: Path, libraries: Path, epoch: int, **variables: str
) -> list[Path]:
    """As `build`; return the files of all its packages, its own first."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".ipk-") as folder:
        work = Path(folder)
        packages = openwrt_package.evaluate(name, work, libraries, **variables)
        roots = openwrt_package.install(name, work, libraries, **variables)
        return [
            _archive(package, roots / package.name, work / "done", epoch).replace(
                out / package.file_name
            )
            for package in packages
        ]


def _archive(package: Package, root: Path, work: Path, epoch: int) -> Path:
    """Return the package's file in *work*, made of the tree in *root*."""
    shutil.rmtree(work, ignore_errors=True)
    inner = work / "ipk"
    inner.mkdir(parents=True)
    package.fields["EPOCH"] = str(epoch)
    _note_what_is_kept(package, root)
    _write(inner / "debian-binary", "2.0", 0o644)
    size = pack(root, ["."], inner / "data.tar.gz", epoch)
    control = _write_control(package, root, size, work / "control")
    pack(control, ["."], inner / "control.tar.gz", epoch)
    names = ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
    pack(inner, names, work / package.file_name, epoch)
    return work / package.file_name


def _note_what_is_kept(package: Package, root: Path) -> None:
    """List for sysupgrade the conffiles that are not files of the package."""
    kept = [path for path in package.kept if not (root / path.lstrip("/")).is_file()]
    if kept:
        folder = root / "lib" / "upgrade" / "keep.d"
        folder.mkdir(parents=True)
        _write(folder / package.name, "\n".join(kept), 0o644)


def _write_control(package: Package, root: Path, size: int, folder: Path) -> Path:
    folder.mkdir()
    lines = [
        f"Package: {package.name}",
        f"Version: {package.fields['VERSION']}",
        f"Depends: {', '.join(package.depends)}",
    ]
    for field, variable in CONTROL.items():
        if value := package.fields[variable]:
            lines.append(f"{field}: {value}")
    lines.append(f"Installed-Size: {size}")
    description = package.description.splitlines()
    lines.append("Description: " + "\n".join(f" {one.strip()}" for one in description))
    _write(folder / "control", "\n".join(lines), 0o644)
    files = [path for path in package.kept if (root / path.lstrip("/")).is_file()]
    if files:
        _write(folder / "conffiles", "\n".join(sorted(files)), 0o644)
    for name, text in SCRIPTS.items():
        _write(folder / name, text, 0o755)
    for name, file in OWN_SCRIPTS.items():
        if name in package.fields:
            _write(folder / file, package.fields[name], 0o755)
    return folder


def _write(file: Path, text: str, mode: int) -> None:
    file.write_text(text.rstrip("\n") + "\n")
    file.chmod(mode)


def pack(folder: Path, names: Iterable[str], archive: Path, epoch: int) -> int:
    """Archive *names* of *folder* as ipkg-build does; return the size uncompressed."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():  # whatever the umask was
            path.chmod(0o755)
    command = [
        *("tar", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0"),
        *("--sort=name", f"--mtime=@{epoch}", "-cpf", "-", *names),
    ]
    tar = subprocess.run(
        command, cwd=folder, env=_environment(), check=True, stdout=subprocess.PIPE
    )
    with archive.open("wb") as file:
        subprocess.run(
            ["gzip", "-n", "-"],
            input=tar.stdout,
            env=_environment(),
            check=True,
            stdout=file,
        )
    archive.chmod(0o644)
    return len(tar.stdout)


def _environment() -> dict[str, str]:
    """The same for everybody: tar and gzip take options from variables too."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def write_index(folder: Path) -> None:
    """Make *folder* a feed: the control files of all its packages, with their sums."""
    entries = []
    for file in sorted(folder.glob("*.ipk")):
        data = file.read_bytes()
        added = (
            f"Filename: {file.name}\nSize: {len(data)}\n"
            f"SHA256sum: {hashlib.sha256(data).hexdigest()}\nDescription:"
        )
        entries.append(read_control(file).replace("Description:", added, 1) + "\n")
    text = "".join(entries)
    (folder / "Packages").write_text(text)
    with (folder / "Packages.gz").open("wb") as packed:
        subprocess.run(
            ["gzip", "-n", "-c", folder / "Packages"],
            env=_environment(),
            check=True,
            stdout=packed,
        )


def read_control(file: Path) -> str:
    """Return the control file of a package."""
    outer = subprocess.run(
        ["tar", "-xzOf", file, "./control.tar.gz"], check=True, stdout=subprocess.PIPE
    )
    inner = subprocess.run(
        ["tar", "-xzOf", "-", "./control"],
        input=outer.stdout,
        check=True,
        stdout=subprocess.PIPE,
    )
    return inner.stdout.decode()


def source_date() -> int:
    """Return the time that all files get: of the commit, else of the newest source."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True
    )
    if git.returncode == 0 and (ROOT / ".git").exists():
        return int(git.stdout)
    folders = [ROOT / "src" / "fonshare_agent", ROOT / "files", ROOT / "package"]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return max(
        int(file.stat().st_mtime) for file in files if "__pycache__" not in file.parts
    )


def _leave_one_version(file: Path) -> None:
    """Delete the package's other versions: the feed has one."""
    for old in file.parent.glob(f"{file.name.split('_')[0]}_*.ipk"):
        if old != file:
            old.unlink()


def main() -> int:
    """Build the packages and their index; the exit status."""
    parser = argparse.ArgumentParser(description="Build .ipk packages without an SDK.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    options = parser.parse_args()
    try:
        libraries, epoch = vendored.bring(), source_date()
        for name in options.names or NAMES:
            for file in build_all(name, options.out, libraries, epoch):
                _leave_one_version(file)
                print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")
    except (openwrt_package.MakeFailed, subprocess.CalledProcessError) as error:
        print(f"make ipk: {error}", file=sys.stderr)
        return 1
    write_index(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
