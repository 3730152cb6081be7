"""`make venv`: a virtual environment with all that development needs.

    python3 tools/environment.py [.venv]

Holds the agent (editable), the development tools and the demo's broker, as pinned in
pyproject.toml, and paho 1.6.1 in a folder of its own, since OpenWrt ships that one and
a process holds one paho only. Does nothing while its stamp says that nothing changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_MIN = (3, 11)
OLD_PAHO = "1.6.1"  # OpenWrt up to 25.12
EXTRAS = "dev,demo,web"


def main(arguments: list[str]) -> int:
    """Bring the environment up to date; the exit status."""
    folder = Path(arguments[0] if arguments else ".venv").absolute()
    if sys.version_info < PYTHON_MIN:
        print(
            f"FonShare needs Python 3.11 or later; this is {sys.version.split()[0]}. "
            "Name another: make PYTHON=python3.12 …",
            file=sys.stderr,
        )
        return 1
    stamp = folder / ".fonshare-stamp"
    wanted = _fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return 0
    try:
        _create(folder)
        _install(folder)
    except subprocess.CalledProcessError as error:
        print(f"make venv: this failed: {error.cmd}", file=sys.stderr)
        return 1
    stamp.write_text(wanted)
    return 0


def _fingerprint() -> str:
    """Return what the environment depends on, as one line."""
    digest = hashlib.sha256()
    for file in (ROOT / "pyproject.toml", Path(__file__)):
        digest.update(file.read_bytes())
    return f"{sys.version.split()[0]} {ROOT} {digest.hexdigest()}\n"


def _create(folder: Path) -> None:
    if (folder / "bin" / "python").exists() and _is_this_python(folder):
        return
    if find_spec("ensurepip") is None:  # Debian splits it off
        _get_venv_package()
    print(f"Creating {folder.name} with Python {sys.version.split()[0]}", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))


def _is_this_python(folder: Path) -> bool:
    code = "import sys; print(sys.version.split()[0])"
    run = subprocess.run(
        [folder / "bin" / "python", "-c", code], capture_output=True, text=True
    )
    return run.stdout.strip() == sys.version.split()[0]


def _get_venv_package() -> None:
    from packages import install  # beside this file

    minor = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if shutil.which("apt-get") is None or not install([minor]):
        print(
            f"This Python has no ensurepip: install {minor} (Debian), then again.",
            file=sys.stderr,
        )


def _install(folder: Path) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    print(f"Installing into {folder.name}: the agent, {EXTRAS}, paho", flush=True)
    _run(*pip, "install", "--quiet", "--editable", f"{ROOT}[{EXTRAS}]")
    old_paho = folder / f"paho-{OLD_PAHO}"
    if not (old_paho / "paho").is_dir():
        target = ["--target", str(old_paho)]
        _run(*pip, "install", "--quiet", *target, f"paho-mqtt=={OLD_PAHO}")


def _run(*command: str) -> None:
    # A user's own settings (--user, --target, …) would break the environment.
    env = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    subprocess.run(command, check=True, env=env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
