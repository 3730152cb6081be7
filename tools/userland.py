"""A Debian user land of another architecture, unpacked and entered without installing.

Packages are downloaded by apt with a state of its own and unpacked by dpkg-deb: no
maintainer script runs, and the machine is left as it was. 32-bit i386 runs natively on
a PC, so resident sizes mean there what they mean on a 32-bit router. Needs Debian's
apt and dpkg, and root or unprivileged user namespaces.
"""

import os
import platform
import shlex
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

# Packages that only installing would need, and whose unpacking would take longest.
LEFT_OUT = ("adduser_", "passwd_", "dpkg_", "debconf_", "perl", "tar_", "init-system")
EXCLUDED = ("doc", "man", "locale", "lintian", "info", "bug")
FOLDERS = ("proc", "sys", "dev", "tmp", "run", "root", "etc", "mnt/disk", "var/lib")
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")


class Userland:
    """One architecture's packages in *folder*/root; cache and disk beside it."""

    def __init__(self, folder: Path, architecture: str, release: str = "") -> None:
        """Of this machine's release, or of the *release* with that code name."""
        self.root, self.disk = folder / "root", folder / "disk"
        self._state = folder / "apt"
        self._architecture, self._release = architecture, release

    def build(self, packages: list[str]) -> None:
        """Unpack *packages* and what they depend on, unless it has been done."""
        stamp = self.root / ".packages"
        wanted = " ".join(packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(self.root, ignore_errors=True)
        self._download(packages)
        for name in ("bin", "sbin", "lib"):  # merged /usr, before unpacking
            (self.root / "usr" / name).mkdir(parents=True)
            (self.root / name).symlink_to(f"usr/{name}")
        for file in sorted((self._state / "cache/archives").glob("*.deb")):
            if not file.name.startswith(LEFT_OUT):
                self._unpack(file)
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        stamp.write_text(wanted)

    @property
    def apt_environment(self) -> dict[str, str]:
        """What lets apt's commands see this user land's packages, once it is built."""
        return os.environ | {"APT_CONFIG": str(self._state / "apt.conf")}

    def _download(self, packages: list[str]) -> None:
        self._write_configuration()
        environment = self.apt_environment
        for command in (["update"], ["install", "-y", "--download-only", *packages]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                env=environment,
                # A mirror in the middle of its own update still has most lists.
                check=command[0] == "install",
                stdout=subprocess.DEVNULL,
            )

    def _write_configuration(self) -> None:
        state = self._state
        for name in ("lists/partial", "cache/archives/partial", "sources"):
            (state / name).mkdir(parents=True, exist_ok=True)
        for old in (state / "cache/archives").glob("*.deb"):
            old.unlink()  # of another list of packages
        here = platform.freedesktop_os_release()["VERSION_CODENAME"]
        for source in filter(os.path.exists, SOURCES):
            text = Path(source).read_text().replace(here, self._release or here)
            (state / "sources" / Path(source).name).write_text(text)
        (state / "status").touch()
        lines = {
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Check-Date": "false",
            "Acquire::Languages": "none",
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::State::lists": state / "lists",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": state / "sources",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
        }
        text = "".join(f'{key} "{value}";\n' for key, value in lines.items())
        (state / "apt.conf").write_text(text)

    def _unpack(self, file: Path) -> None:
        exclude = [f"--exclude=./usr/share/{name}/*" for name in EXCLUDED]
        archive = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE
        )
        subprocess.run(
            ["tar", "-C", self.root, "-x", "--keep-directory-symlink", *exclude],
            stdin=archive.stdout,
            check=True,
        )
        if archive.wait() != 0:
            raise RuntimeError(f"{file.name} cannot be unpacked")

    def command(self, *arguments: str) -> list[str]:
        """Return what runs *arguments* inside, as the very process that is started.

        Arguments before the program may set variables, as NAME=VALUE. Where `disk` was
        filled, what is in it is a disk of its own at /mnt/disk, for that process alone.
        """
        root = shlex.quote(str(self.root))
        variables = [*takewhile(lambda word: "=" in word, arguments)]
        program = arguments[len(variables) :]
        mount = (
            f"mount -t tmpfs disk {root}/mnt/disk && "
            f"cp -r {shlex.quote(str(self.disk))}/. {root}/mnt/disk && "
        )
        enter = (
            f"{mount if self.disk.exists() else ''}"
            f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && "
            f"exec env {shlex.join(variables)} chroot {root} {shlex.join(program)}"
        )
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return ["unshare", *user, "--mount", "sh", "-c", enter]

    def run(self, *arguments: str) -> str:
        """Run a command inside; return what it printed."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout
