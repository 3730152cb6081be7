"""`make deps`: the Debian packages that the tests use, and what each is for.

    python3 tools/packages.py [--list]

Installs those that are missing as root, or by sudo where it asks no question;
elsewhere it prints the command and what is skipped without it. It never fails: a test
asks for its program by `require_program` (tests/conftest.py), which skips it locally
and fails it in CI.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"  # Debian's


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package; *program* tells whether it is there."""

    program: str
    name: str
    purpose: str


PACKAGES = (
    Package("mosquitto", "mosquitto", "the broker of all tests over MQTT"),
    Package("mosquitto_passwd", "mosquitto", "brokers that want a login"),
    Package("mosquitto_sub", "mosquitto-clients", "what an outsider sees at a broker"),
    Package("curl", "curl", "the FTP server's tests with curl"),
    Package("lftp", "lftp", "the FTP server's tests with lftp"),
    Package("ncftpget", "ncftp", "the FTP server's tests with ncftp"),
    Package("rclone", "rclone", "the FTP server's tests with rclone"),
    Package("openssl", "openssl", "a second opinion on certificates and TLS"),
    Package("ip", "iproute2", "nodes behind NAT, in network namespaces"),
    Package("nft", "nftables", "nodes behind NAT, in network namespaces"),
    Package("upnpc", "miniupnpc", "port mapping by UPnP"),
    Package("faketime", "faketime", "nodes that think it is 1970"),
    Package("busybox", "busybox", "the router's shell reads the init script"),
    Package("chromium", "chromium", "the page's tests in a browser"),
    Package("qemu-mipsel-static", "qemu-user-static", "the emulated router's programs"),
)


def find_program(program: str) -> str | None:
    """Return the program's path, also where only root's shell looks."""
    return shutil.which(program, path=SEARCH_PATH)


def missing(packages: Iterable[Package] = PACKAGES) -> list[Package]:
    return [one for one in packages if find_program(one.program) is None]


def install(names: list[str]) -> bool:
    """Install Debian packages without a question; False where that cannot be."""
    prefix = root_prefix()
    if prefix is None or shutil.which("apt-get") is None:
        return False
    # Without lists, as in a fresh container, nothing can be found.
    for command in (["update", "-qq"], ["install", "-y", "-qq", *names]):
        full = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        run = subprocess.run(
            [*full, "-o", "APT::Install-Recommends=false", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if run.returncode != 0:
            print(run.stderr.strip(), file=sys.stderr)
            if command[0] == "install":
                return False
    return True


def root_prefix() -> list[str] | None:
    """Return what makes a command run as root; None where we may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True)
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def main(arguments: list[str]) -> int:
    """Install what is missing or name it; always 0."""
    if "--list" in arguments:
        for package in PACKAGES:
            print(f"{package.name:18} {package.purpose}")
        return 0
    absent = missing()
    if not absent:
        return 0
    names = [package.name for package in absent]
    print("Installing Debian packages:", *names, flush=True)
    if install(names):
        absent = missing(absent)
    if absent:
        names = [package.name for package in absent]
        print("These are missing; install them as root:")
        print("  apt-get install --no-install-recommends", *names)
        print("Without them these tests are skipped:")
        for package in absent:
            print(f"  {package.name}: {package.purpose}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
