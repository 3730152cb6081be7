"""vsftpd, pure-ftpd and ProFTPD, each at a loopback address of its own.

Addresses differ as those of servers on the internet do, so that a server which takes
data from nobody but its client's address really refuses. All need root: they chroot.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fonshare_agent.transfer.fxp_server import Login
from fonshare_agent.transfer.fxp_tls import Trust
from fonshare_agent.transfer.fxp_url import ServerUrl
from programs import require_server
from waiting import wait_until

USER, PASSWORD = "owner", "geheim €"
DAEMON = 1  # on every Debian, with a home that exists: vsftpd looks into it
KINDS = ("vsftpd", "pure-ftpd", "proftpd")

VSFTPD = """\
listen=YES
listen_address={address}
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
anon_root={root}
ftp_username=daemon
secure_chroot_dir={folder}
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
pasv_promiscuous={listens}
port_promiscuous={connects}
ssl_enable={tls}
allow_anon_ssl=YES
rsa_cert_file={certificate}
rsa_private_key_file={key}
ssl_ciphers=HIGH
"""

PROFTPD = """\
ServerType standalone
DefaultAddress {address}
SocketBindTight on
Port {port}
ModulePath {modules}
LoadModule mod_tls.c
LoadModule mod_ident.c
IdentLookups off
User daemon
Group daemon
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayTable none
SystemLog {folder}/log
TransferLog none
WtmpLog off
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
RequireValidShell off
DefaultRoot {root}
AllowForeignAddress {foreign}
AllowStoreRestart on
AllowOverwrite on
TLSEngine {tls}
TLSRSACertificateFile {certificate}
TLSRSACertificateKeyFile {key}
TLSCACertificateFile {authorities}
TLSOptions NoSessionReuseRequired
TLSRequired off
TLSLog {folder}/tls-log
"""


@dataclass
class ThirdParty:
    """A running server of somebody's. `disk` is what its user sees as `pub`."""

    kind: str
    address: str
    port: int
    disk: Path
    certificate: Path | None
    child: subprocess.Popen[bytes] | None = None

    @property
    def user(self) -> str:
        return "anonymous" if self.kind == "vsftpd" else USER

    @property
    def pin(self) -> str:
        assert self.certificate is not None
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return hashlib.sha256(der).hexdigest()

    def url(self, path: str = "", *, tls: bool = False) -> str:
        scheme = "ftps" if tls else "ftp"
        return f"{scheme}://{self.user}@{self.address}:{self.port}/pub/{path}"

    def login(self, path: str = "", *, tls: bool = False) -> Login:
        trust = Trust.of_pin(self.pin) if tls else None
        return Login(ServerUrl.parse(self.url(path, tls=tls)), PASSWORD, trust)

    def put(self, path: str | bytes, content: bytes) -> Path:
        """Lay a file on the server's disk, as its own user's."""
        file = self.disk / os.fsdecode(path)
        for folder in reversed(file.relative_to(self.disk).parents):
            (self.disk / folder).mkdir(exist_ok=True)
            os.chown(self.disk / folder, DAEMON, DAEMON)
        file.write_bytes(content)
        os.chown(file, DAEMON, DAEMON)
        return file

    def names(self) -> list[str]:
        return sorted(os.listdir(self.disk))


@contextlib.contextmanager
def third_party(
    kind: str,
    address: str,
    *,
    listens: bool = True,
    connects: bool = True,
    pair: tuple[Path, Path] | None = None,
    authorities: Sequence[Path] = (),
) -> Iterator[ThirdParty]:
    """Run a server. *listens*, *connects*: whether for others' servers, too.

    pure-ftpd and ProFTPD have one switch for both. *authorities*: whom it trusts when
    it begins TLS itself.
    """
    if os.geteuid():
        pytest.skip("the servers of others need root")
    unpacked = require_server(kind)
    # Not below pytest's folder, which only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="fonshare-fxp-"))
    try:
        folder.chmod(0o755)
        # vsftpd refuses a root that its user may write to.
        disk = folder / "root" / "pub"
        disk.mkdir(parents=True)
        os.chown(disk, DAEMON, DAEMON)
        server = ThirdParty(kind, address, _free_port(address), disk, pair and pair[0])
        words = {
            "address": address,
            "port": server.port,
            "root": disk.parent,
            "folder": folder,
            "certificate": pair[0] if pair else "none",
            "key": pair[1] if pair else "none",
            "listens": _yes(listens),
            "connects": _yes(connects),
            "foreign": "on" if listens else "off",
            "tls": _yes(pair is not None),
            "modules": unpacked.folder / "usr" / "lib" / "proftpd",
            "authorities": folder / "authorities",
        }
        roots = authorities or ([pair[0]] if pair else [])
        (folder / "authorities").write_text("".join(one.read_text() for one in roots))
        command = _COMMANDS[kind](unpacked.folder, folder, words, pair, listens)
        with (folder / "output").open("wb") as output:
            server.child = subprocess.Popen(
                command,
                env=unpacked.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(lambda: _answers(server, folder), f"{kind} listens")
            yield server
        finally:
            _end(server.child)
    finally:
        shutil.rmtree(folder)


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _answers(server: ThirdParty, folder: Path) -> bool:
    assert server.child is not None
    output = (folder / "output").read_text(errors="replace")
    assert server.child.poll() is None, f"{server.kind} ended: {output}"
    try:
        with socket.create_connection((server.address, server.port), 5) as probe:
            return probe.recv(3) == b"220"
    except OSError:
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server with its sessions: all are in a process group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _vsftpd(program, folder, words, pair, listens):
    if pair is None:
        words |= {"certificate": "", "key": ""}
    file = folder / "vsftpd.conf"
    file.write_text(VSFTPD.format(**words))
    return [program / "usr/sbin/vsftpd", file]


def _proftpd(program, folder, words, pair, listens):
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=PASSWORD.encode() + b"\n",
        capture_output=True,
        check=True,
    ).stdout.decode()
    users = folder / "users"
    users.write_text(
        f"{USER}:{hashed.strip()}:{DAEMON}:{DAEMON}::{words['root']}:/bin/sh\n"
    )
    users.chmod(0o600)
    text = PROFTPD.format(**words)
    if pair is None:
        text = "".join(
            line
            for line in text.splitlines(keepends=True)
            if not line.startswith(("TLSRSA", "TLSCA"))
        )
    file = folder / "proftpd.conf"
    file.write_text(text)
    return [program / "usr/sbin/proftpd", "--nodaemon", "--config", file]


def _pure_ftpd(program, folder, words, pair, listens):
    passwords = folder / "passwords"
    identity = ["-u", str(DAEMON), "-g", str(DAEMON), "-d", words["root"]]
    for command in (
        ["useradd", USER, "-f", passwords, *identity],
        ["mkdb", folder / "users.pdb", "-f", passwords],
    ):
        subprocess.run(
            [program / "usr/bin/pure-pw", *command],
            input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
            capture_output=True,
            check=True,
        )
    tls = []
    if pair is not None:
        both = folder / "both.pem"
        both.write_text(pair[1].read_text() + pair[0].read_text())
        both.chmod(0o600)
        tls = ["-Y", "1", "-2", both]
    return [
        program / "usr/sbin/pure-ftpd",
        *["-S", f"{words['address']},{words['port']}", "-4", "-H", "-E"],
        *["-l", f"puredb:{folder / 'users.pdb'}", "-u", "1", "-c", "50", "-C", "20"],
        *["-g", folder / "pid", *tls, *(["-w"] if listens else [])],
    ]


_COMMANDS = {"vsftpd": _vsftpd, "pure-ftpd": _pure_ftpd, "proftpd": _proftpd}
