"""The libraries that no OpenWrt feed has, fetched for the package: build/vendored.

    python3 tools/vendored.py [FOLDER]

By pip's ordinary client, from the source releases that
package/fonshare-agent/vendored.txt pins by version and hash. Nothing is fetched while
the folder's stamp says that it holds just these.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "package" / "fonshare-agent" / "vendored.txt"
FOLDER = ROOT / "build" / "vendored"
STAMP = ".fonshare-stamp"


def bring(folder: Path = FOLDER, pins: Path = LIST) -> Path:
    """Have in *folder* what *pins* names, no more; return the folder.

    Raises CalledProcessError when pip cannot get it; then the folder is as it was.
    """
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install"),
            *("--quiet", "--no-deps", "--no-compile", "--no-binary", ":all:"),
            *("--require-hashes", "--target", str(fresh), "-r", str(pins)),
        ],
        check=True,
    )
    (fresh / STAMP).write_text(wanted)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def main(arguments: list[str]) -> int:
    """Bring the libraries; the exit status."""
    try:
        bring(Path(arguments[0]) if arguments else FOLDER)
    except subprocess.CalledProcessError:
        print("The libraries of vendored.txt cannot be fetched.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
