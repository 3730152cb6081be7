"""The node's three keys and its incarnation, as files of the keys folder.

Owns KEYS/keys.json (all secrets in one file, so that no half of them can exist),
KEYS/incarnation.json, and the PEM pair that `ssl` loads, which is derived and made
again whenever it differs. Rules kept:

- Folder mode 700, files 600; a file that others may read is refused, not mended: the
  secret may be out already, and the owner should know.
- Every change is one atomic, durable replacement, made before anything that relies on
  it leaves the node.
- Lost or damaged keys never turn into new ones: a new key is a new node.
- The incarnation rises, durably, whenever state.db is not the one of before.

On the router this folder lies on flash: nothing here writes in steady state. Objects
belong to one thread, which may block. Must not know of groups or of the network.
"""

import base64
import binascii
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from fonshare_agent.disk import write_durably
from fonshare_agent.errors import KeysDamaged, KeysExposed, StorageError
from fonshare_agent.protocol.certificate import (
    certificate_pem,
    fingerprint,
    private_key_pem,
    self_signed_certificate,
)
from fonshare_agent.protocol.keys import KEY_BYTES, KeyStatement, SealingKey, Signer

SECRETS: Final = "keys.json"
DISK_ID: Final = "disk-id"  # which disk is this node's: see disk.py
INCARNATION: Final = "incarnation.json"
CERTIFICATE: Final = "tls-certificate.pem"
PRIVATE_KEY: Final = "tls-key.pem"
GROUPS: Final = "groups"  # memberships.py
FORMAT: Final = 1
FILE_BYTES_MAX: Final = 64 * 1024  # keys.json has about 500 bytes
LIFE_BYTES: Final = 16
NEEDS_ROOM: Final = "Make some room there; the service tries again by itself."
NEEDS_RIGHTS: Final = "Make the folder usable for the agent's user, then start again."
SEALING_PERIOD_S: Final = 30 * 24 * 3600  # of uptime, DESIGN section 4

Draw = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What keys.json holds. Times are the node's total uptime in seconds."""

    identity: bytes
    tls: bytes
    sealing: bytes
    sealing_since: int
    previous_sealing: bytes | None = None
    statement_version: int = 0
    stated: bytes = b""  # SHA-256 of the statement last made, to know when it changes

    def encode(self) -> bytes:
        document = {
            "format": FORMAT,
            "identity": _text(self.identity),
            "tls": _text(self.tls),
            "sealing": _text(self.sealing),
            "sealing_since": self.sealing_since,
            "previous_sealing": _text(self.previous_sealing or b""),
            "statement_version": self.statement_version,
            "stated": _text(self.stated),
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, raw: bytes, where: str) -> "Secrets":
        """Return the secrets in *raw*, or raise KeysDamaged naming *where*."""
        document = read_document(raw, where)
        try:
            found = cls(
                identity=_seed(document, "identity"),
                tls=_seed(document, "tls"),
                sealing=_seed(document, "sealing"),
                sealing_since=_count(document, "sealing_since"),
                previous_sealing=(
                    _seed(document, "previous_sealing")
                    if document["previous_sealing"]
                    else None
                ),
                statement_version=_count(document, "statement_version"),
                stated=_bytes(document["stated"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise KeysDamaged(f"{where} is damaged: {error}", thing=where) from None
        return found

    def __repr__(self) -> str:
        return "<Secrets>"


class LifeStore(Protocol):
    """Where state.db keeps whose life it belongs to (index/state.py)."""

    def life(self) -> bytes | None:
        """Return the life begun here; None if new, restored, or moved."""

    def begin_life(self, life: bytes) -> None:
        """Record *life* durably."""


class NodeKeys:
    """The keys of this node. `signer` and the TLS pair never change."""

    def __init__(
        self, folder: Path, secrets: Secrets, incarnation: int, life: bytes
    ) -> None:
        self.folder = folder
        self.signer = Signer(secrets.identity)
        self.tls_seed = secrets.tls
        self.tls_certificate_der = self_signed_certificate(secrets.tls)
        self.tls_fingerprint = fingerprint(self.tls_certificate_der)
        self.certificate_path = folder / CERTIFICATE
        self.private_key_path = folder / PRIVATE_KEY
        self.incarnation = incarnation
        self.life = life  # the state.db this incarnation belongs to
        self._secrets = secrets
        self._statement: KeyStatement | None = None  # the one last made
        self._load_sealing()

    def statement(self, name: str) -> KeyStatement:
        """Return this node's key statement under *name*.

        Its version rises, durably and before the call returns, whenever the name or a
        key differs from the statement last made.
        """
        if self._statement is not None and self._statement.name == name:
            return self._statement  # neither signed nor stored again
        self._statement = self._state(name)
        return self._statement

    def _restate(self) -> None:
        if self._statement is not None:
            self._statement = self._state(self._statement.name)

    def _state(self, name: str) -> KeyStatement:
        last = self._make_statement(name, self._secrets.statement_version)
        if hashlib.sha256(last.encode()).digest() == self._secrets.stated:
            return last
        made = self._make_statement(name, last.version + 1)
        stated = hashlib.sha256(made.encode()).digest()
        self._store(statement_version=made.version, stated=stated)
        return made

    def renew_sealing(self, uptime_s: int, draw: Draw) -> bool:
        """Take a new sealing key once per period of uptime; tell whether it was due.

        *uptime_s* is the node's total uptime. The key before stays for one period
        more, for what was sealed to it meanwhile; the one before that is erased.
        """
        since = self._secrets.sealing_since
        if uptime_s < since:  # the count began anew: state.db was lost
            self._store(sealing_since=uptime_s)
            return False
        if uptime_s - since < SEALING_PERIOD_S:
            return False
        self._store(
            sealing=draw(KEY_BYTES),
            sealing_since=uptime_s,
            previous_sealing=self._secrets.sealing,
        )
        self._load_sealing()
        self._restate()
        return True

    def raise_incarnation(self, life: bytes) -> int:
        """Begin the next incarnation, of the state.db that *life* names; durable."""
        write_incarnation(self.folder, self.incarnation + 1, life)
        self.incarnation += 1
        self.life = life
        return self.incarnation

    def _make_statement(self, name: str, version: int) -> KeyStatement:
        return KeyStatement.make(
            self.signer, name, version, self.tls_fingerprint, self.sealing.public
        )

    def _load_sealing(self) -> None:
        previous = self._secrets.previous_sealing
        self.sealing = SealingKey(self._secrets.sealing)
        self.previous_sealing = SealingKey(previous) if previous else None

    def _store(self, **changes: Any) -> None:
        changed = replace(self._secrets, **changes)
        write_secret(self.folder, SECRETS, changed.encode())
        self._secrets = changed

    def __repr__(self) -> str:
        return f"<NodeKeys {self.signer!r} incarnation {self.incarnation}>"


def load_or_create(folder: Path, draw: Draw) -> NodeKeys:
    """Return the keys in *folder*, making them on the first start.

    Raises KeysExposed when others may read them, KeysDamaged when they are lost or
    unreadable, and StorageError when the folder cannot be used.
    """
    try:
        protect_folder(folder)
        if not (folder / SECRETS).exists():
            _create(folder, draw)
        secrets = Secrets.decode(read_secret(folder / SECRETS), str(folder / SECRETS))
        incarnation, life = read_incarnation(folder)
        _write_pem_pair(folder, secrets.tls)
    except OSError as error:
        raise StorageError(
            f"keys folder {folder}: {error.strerror}",
            thing=str(folder),
            next=NEEDS_ROOM if error.errno == errno.ENOSPC else NEEDS_RIGHTS,
        ) from None
    return NodeKeys(folder, secrets, incarnation, life)


def settle_incarnation(keys: NodeKeys, store: LifeStore, draw: Draw) -> bool:
    """Raise the incarnation unless *store* is the state.db of this one.

    Call before the first send. A crash between the two writes raises it once more,
    which does no harm. Tells whether a new incarnation began.
    """
    found = store.life()
    if found is not None and found == keys.life:
        return False
    life = draw(LIFE_BYTES)
    keys.raise_incarnation(life)
    store.begin_life(life)
    return True


def _create(folder: Path, draw: Draw) -> None:
    groups = folder / GROUPS
    if (folder / INCARNATION).exists() or (groups.is_dir() and any(groups.iterdir())):
        raise KeysDamaged(
            f"{folder / SECRETS} is gone, though this node had keys", thing=str(folder)
        )
    identity, tls, sealing = (draw(KEY_BYTES) for _ in range(3))
    secrets = Secrets(identity, tls, sealing, sealing_since=0)
    write_secret(folder, SECRETS, secrets.encode())


def _write_pem_pair(folder: Path, tls_seed: bytes) -> None:
    der = self_signed_certificate(tls_seed)
    for name, text in (
        (CERTIFICATE, certificate_pem(der)),
        (PRIVATE_KEY, private_key_pem(tls_seed)),
    ):
        path = folder / name
        if not path.exists() or read_secret(path) != text.encode():
            write_secret(folder, name, text.encode())


# --- files that only the owner may read -----------------------------------------


def protect_folder(folder: Path) -> None:
    """Make *folder* if needed and close it to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        # Others may have put files here: closing it now would vouch for them.
        raise KeysExposed(
            f"others may write in {folder}: chmod 700 {folder}", thing=str(folder)
        )
    if mode & 0o077:
        folder.chmod(0o700)


def read_secret(path: Path) -> bytes:
    """Return the file's bytes; KeysExposed if others may read it, OSError if none."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise KeysExposed(
                f"others may read {path}: chmod 600 {path}"
                " (a disk without permissions, such as FAT, cannot hold keys)",
                thing=str(path),
            )
        return file.read()


def write_secret(folder: Path, name: str, data: bytes) -> None:
    """Put *data* under *name*, mode 600, whole or not at all, durable on return."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        write_durably(opened, os.fsencode(name), data, 0o600)
    finally:
        os.close(opened)


def read_incarnation(folder: Path) -> tuple[int, bytes]:
    """Return (incarnation, life); (0, b"") before the first one."""
    path = folder / INCARNATION
    try:
        raw = read_secret(path)
    except FileNotFoundError:
        return 0, b""
    document = read_document(raw, str(path))
    try:
        return _count(document, "incarnation"), _bytes(document["life"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        # Guessing would repeat counters, and everybody would ignore this node.
        raise KeysDamaged(f"{path} is damaged: {error}", thing=str(path)) from None


def write_incarnation(folder: Path, incarnation: int, life: bytes) -> None:
    """Store the incarnation and the life it belongs to, durably."""
    document = {"format": FORMAT, "incarnation": incarnation, "life": _text(life)}
    write_secret(folder, INCARNATION, json.dumps(document).encode() + b"\n")


def read_document(raw: bytes, where: str) -> Mapping[str, Any]:
    """Return the JSON object in *raw*, or raise KeysDamaged naming *where*."""
    if len(raw) > FILE_BYTES_MAX:
        raise KeysDamaged(f"{where} is damaged: {len(raw)} bytes", thing=where)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise KeysDamaged(f"{where} is damaged: not JSON", thing=where) from None
    if not isinstance(document, dict):
        raise KeysDamaged(f"{where} is damaged: not an object", thing=where)
    if document.get("format") != FORMAT:
        raise KeysDamaged(
            f"{where} was written by another version of FonShare",
            thing=where,
            next="Install the newer version again; nothing was overwritten.",
        )
    return document


def _seed(document: Mapping[str, Any], name: str) -> bytes:
    seed = _bytes(document[name])
    if len(seed) != KEY_BYTES:
        raise ValueError(f"{name} has {len(seed)} bytes")
    return seed


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is not a count")
    return value


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
