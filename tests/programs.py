"""Programs of other people that tests drive; tools/packages.py says what each is for.

A missing one skips the test where a person works and fails it in CI, where nothing may
be skipped unseen.
"""

import os
import subprocess
from pathlib import Path

import pytest

from packages import PACKAGES, find_program
from unpacked import SERVERS, Unpacked

IS_CI = bool(os.environ.get("CI"))


def require_program(name: str) -> str:
    """Return the program's path; without it skip the test, or fail it in CI."""
    path = find_program(name)
    if path is None:
        refuse(missing_text(name))
    return path


def missing_text(name: str) -> str:
    package = next((one.name for one in PACKAGES if one.program == name), name)
    return f"{name} is not installed: apt-get install {package}"


def refuse(reason: str) -> None:
    """Skip the running test for want of a program; fail it in CI."""
    if IS_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_server(name: str) -> Unpacked:
    """Return a server of tools/unpacked.py; without it skip the test, or fail it."""
    server = next(one for one in SERVERS if one.name == name)
    if not server.is_here:
        refuse(f"{name} is not installed: make deps")
    return server


def faketime_library() -> str:
    """Return what a program preloads to have its time made up."""
    require_program("faketime")
    listed = subprocess.run(
        ["dpkg", "-L", "libfaketime"], capture_output=True, text=True, check=True
    )
    return next(
        one for one in listed.stdout.split() if one.endswith("libfaketime.so.1")
    )


def time_of(stamp: Path) -> dict[str, str]:
    """Return the environment of a program whose time of day is what *stamp* says."""
    return {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
