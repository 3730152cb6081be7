"""axe-core for the page's accessibility tests: fetched by npm, checked, unpacked.

    python3 tools/axe.py

It goes to build/axe/axe.min.js and into no commit and no package. Never fails, as
tools/packages.py: without npm or a network it names what is skipped.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

AXE = "axe-core@4.14.1"
INTEGRITY = (  # SHA-512 of the package, as npm itself writes it
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37Ogud"
    "VGtQ=="
)
SCRIPT = Path(__file__).parent.parent / "build" / "axe" / "axe.min.js"
MEMBER = "package/axe.min.js"
PATIENCE_S = 120


def main() -> int:
    """Bring the script to its place; always 0."""
    if SCRIPT.exists():
        return 0
    problem = _fetch()
    if problem:
        print(f"{AXE} is missing: {problem}")
        print("Without it the page's accessibility tests are skipped.")
    return 0


def _fetch() -> str:
    """Return why the script is not there; empty if it is."""
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm"
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--pack-destination", folder, AXE]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return "npm did not answer in time"
        packages = list(Path(folder).glob("*.tgz"))
        if run.returncode != 0 or len(packages) != 1:
            return (run.stderr.strip().splitlines() or ["npm failed"])[-1]
        raw = packages[0].read_bytes()
        if base64.b64encode(hashlib.sha512(raw).digest()).decode() != INTEGRITY:
            return "what npm fetched is not what it should be"
        with tarfile.open(packages[0]) as archive:
            script = archive.extractfile(MEMBER)
            if script is None:
                return f"the package has no {MEMBER}"
            SCRIPT.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place: another `make` may be at it, too.
            partial = SCRIPT.with_suffix(".new")
            partial.write_bytes(script.read())
            partial.rename(SCRIPT)
    return ""


if __name__ == "__main__":
    sys.exit(main())
