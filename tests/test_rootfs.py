"""The package on an emulated router: MIPS programs, busybox, OpenWrt's ways.

Under the emulator a command takes seconds, so one case runs on it here, and the
stories run on 32-bit programs of this machine's own kind; `make rootfs` has all of them
on MIPS, and with ROOTFS=FOLDER in a real OpenWrt's user land.
"""

import shutil

import pytest

import ipk
import vendored
from rootfs_cases import Case, cases, router

EPOCH = 1_800_000_000
ON_MIPS = {"10-install"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package, and the same as an older and a newer version."""
    folder = tmp_path_factory.mktemp("packages")
    libraries = vendored.bring()
    shutil.move(
        ipk.build("fonshare-agent", folder, libraries, EPOCH),
        folder / "fonshare-agent.ipk",
    )
    for version in ("0.0.9", "99.0"):
        file = ipk.build(
            "fonshare-agent", folder, libraries, EPOCH, PKG_VERSION=version
        )
        shutil.move(file, folder / f"fonshare-agent-{version}.ipk")
    return folder


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            one, id=one.name, marks=[] if one.name in ON_MIPS else pytest.mark.full
        )
        for one in cases()
    ],
)
def test_the_package_on_the_router(case: Case, packages, tmp_path):
    architecture = "mipsel" if case.name in ON_MIPS else "i386"
    complaints = router(packages, architecture).run(case, tmp_path / "case")
    assert not complaints, "\n\n".join(complaints)
