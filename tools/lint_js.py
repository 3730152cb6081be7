"""`make lint-js`: ESLint over the page's modules and LuCI's views.

    python3 tools/lint_js.py

Needs node and npm, which bring the pinned programs of tools/eslint/package.json into
tools/eslint/node_modules. Where there is no such node nothing is checked, which is
said; with CI set that is a failure.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tools" / "eslint"
MODULES = FOLDER / "node_modules"
CHECKED = ("package/luci-app-fonshare", "src/fonshare_agent/web/shell")
NPM = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent")
NODE_MIN = (20, 19)  # what ESLint 10 runs on
MISSING = "node 20.19 or later, and npm, are not installed"


def bring() -> str | None:
    """Install the pinned programs unless they are there; return why that failed."""
    if shutil.which("npm") is None or _node_version() < NODE_MIN:
        return MISSING
    with open(FOLDER / "package.json", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests ask beside each other
        return _install(file.read())


def _node_version() -> tuple[int, ...]:
    if shutil.which("node") is None:
        return ()
    done = subprocess.run(["node", "--version"], capture_output=True, text=True)
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout)[:2])


def _install(wanted: str) -> str | None:
    stamp = MODULES / ".fonshare-stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return None
    print("Installing into tools/eslint: ESLint", flush=True)
    if subprocess.run(NPM, cwd=FOLDER).returncode != 0:
        return "npm could not install what tools/eslint/package.json names"
    stamp.write_text(wanted)
    return None


def lint() -> int:
    """Run ESLint; its exit status."""
    places = [place for place in CHECKED if (ROOT / place).is_dir()]
    command: list[str | Path] = [
        *("node", MODULES / "eslint" / "bin" / "eslint.js", "--max-warnings=0"),
        *("--config", FOLDER / "eslint.config.mjs", "--no-error-on-unmatched-pattern"),
        *places,
    ]
    return subprocess.run(command, cwd=ROOT).returncode


def main() -> int:
    """Check; the exit status."""
    trouble = bring()
    if trouble is None:
        return lint()
    print(f"make lint-js: {trouble}", file=sys.stderr)
    return 1 if os.environ.get("CI") or trouble != MISSING else 0


if __name__ == "__main__":
    sys.exit(main())
