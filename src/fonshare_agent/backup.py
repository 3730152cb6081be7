"""Backup and restore of keys, memberships and settings under a passphrase.

Owns the backup's form: a header in clear (format, scrypt's cost, salt, nonce), then
XChaCha20-Poly1305 over JSON with the header as associated data. Rules kept: a wrong
passphrase and a damaged file are one error; nothing is written before everything was
read and checked; an identity that belongs to groups is never replaced by another; after
a restore the incarnation and the statement's version are higher than any before, which
needs the clock, since what was used after the backup was made is not known here.

The disk's id is left out: restored on another router, the node takes the disk that is
there. Runs in the command's own process while no agent does, on a router as root: what
it writes for the agent is given to the agent's user.
"""

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fonshare_agent.backup_contents import Document, encode_bytes, read_contents
from fonshare_agent.config import load_settings
from fonshare_agent.config_yaml import CHANGES_FILE
from fonshare_agent.disk import write_durably
from fonshare_agent.errors import (
    AlreadyExists,
    BackupUnreadable,
    ClockUnknown,
    FonshareError,
    SettingsError,
    StorageError,
    UnsealError,
)
from fonshare_agent.nodekeys import (
    DISK_ID,
    GROUPS,
    INCARNATION,
    SECRETS,
    Secrets,
    load_or_create,
    protect_folder,
    read_incarnation,
    read_secret,
    write_incarnation,
    write_secret,
)
from fonshare_agent.protocol.keys import (
    NONCE_BYTES,
    Signer,
    decrypt,
    encrypt,
    node_id_text,
)
from fonshare_agent.settings import USER_ID, Settings, SourceKind

MAGIC: Final = b"FonShare backup 1\n"
MADE: Final = "backup-made"  # in the keys folder: `doctor` warns until it is there
SALT_BYTES: Final = 16
# 8 MiB on a box of 64, four times over: as dear as 32 MiB once to who guesses.
COST_LOG2, COST_BLOCK, COST_TIMES = 13, 8, 4
MEMORY_MAX: Final = 16 * 1024 * 1024  # a header may not ask for more
YEAR_2025: Final = 1_735_689_600  # a clock before this has not been set
_HEADER: Final = struct.Struct(f">{len(MAGIC)}sBBB{SALT_BYTES}s{NONCE_BYTES}s")

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back. `settings` is False if the present ones stay."""

    node: str
    groups: int
    settings: bool


def backup(
    settings: Settings,
    passphrase: str,
    draw: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the sealed backup of this node, and note that one was made."""
    keys = load_or_create(settings.keys, draw)
    document = {
        "node": node_id_text(keys.signer.node_id),
        "kind": settings.kind.value,
        "keys": encode_bytes(read_secret(settings.keys / SECRETS)),
        "incarnation": keys.incarnation,
        "groups": {
            path.name: encode_bytes(read_secret(path))
            for path in sorted((settings.keys / GROUPS).glob("*.json"))
        },
        "settings": encode_bytes(_read_plain(settings.path)),
        "changes": encode_bytes(_read_plain(settings.state / CHANGES_FILE)),
    }
    sealed = seal(json.dumps(document).encode(), passphrase, draw)
    write_secret(settings.keys, MADE, b"")
    return sealed


def restore(
    settings: Settings,
    sealed: bytes,
    passphrase: str,
    clock: Clock = time.time,
) -> Restored:
    """Bring a node back from its backup; see the module's text for what is refused.

    Another identity in the keys folder, if it has no group, is put aside. Settings
    that differ are put aside, too, and come back if the restored ones cannot be used.
    """
    document = read_contents(unseal(sealed, passphrase))
    now = int(clock())
    if now < YEAR_2025:
        raise ClockUnknown("a restore needs the time of day")
    try:
        _demand_replaceable(settings.keys, document.secrets)
        restored = _restore_settings(settings, document)
        used = restored or settings
        agent = _agent_of(used)
        _restore_keys(used.keys, document, now)
        if agent is not None:
            _give_keys_to(agent, used.keys, document)
    except OSError as error:
        raise _unusable(Path(error.filename or settings.keys), error) from None
    node = node_id_text(Signer(document.secrets.identity).node_id)
    return Restored(node, len(document.groups), restored is not None)


# --- the sealed form ----------------------------------------------------------------


def seal(plain: bytes, passphrase: str, draw: Callable[[int], bytes]) -> bytes:
    """Return *plain* sealed under *passphrase*."""
    salt, nonce = draw(SALT_BYTES), draw(NONCE_BYTES)
    cost = (COST_LOG2, COST_BLOCK, COST_TIMES)
    header = _HEADER.pack(MAGIC, *cost, salt, nonce)
    return header + encrypt(plain, header, nonce, _key(passphrase, salt, *cost))


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """Undo `seal`; BackupUnreadable if anything is wrong."""
    if len(sealed) < _HEADER.size or not sealed.startswith(MAGIC):
        raise BackupUnreadable("this is not a backup of FonShare")
    header = sealed[: _HEADER.size]
    _, log2, block, times, salt, nonce = _HEADER.unpack(header)
    if not (0 < log2 < 32 and block > 0 and 0 < times <= 16):
        raise BackupUnreadable("the backup's header is damaged")
    if 128 * block << log2 > MEMORY_MAX:
        raise BackupUnreadable("the backup asks for more memory than there may be")
    try:
        key = _key(passphrase, salt, log2, block, times)
    except ValueError:  # a cost that scrypt cannot have
        raise BackupUnreadable("the backup's header is damaged") from None
    try:
        return decrypt(sealed[_HEADER.size :], header, nonce, key)
    except UnsealError:
        raise BackupUnreadable(
            "the passphrase is wrong, or the backup is damaged"
        ) from None


def _key(passphrase: str, salt: bytes, log2: int, block: int, times: int) -> bytes:
    return hashlib.scrypt(
        passphrase.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=1 << log2,
        r=block,
        p=times,
        maxmem=MEMORY_MAX + 2 * 1024 * 1024,
        dklen=32,
    )


# --- what is refused ----------------------------------------------------------------


def _demand_replaceable(keys: Path, secrets: Secrets) -> None:
    """Refuse if the keys folder holds another identity that belongs to groups."""
    found = _present_secrets(keys)
    if found is None or found.identity == secrets.identity:
        return
    if any((keys / GROUPS).glob("*.json")):
        raise AlreadyExists(
            f"{keys} holds another node's keys, which belong to groups",
            thing=str(keys),
            next="Move that folder away, then restore again; nothing was changed.",
        )


def _present_secrets(keys: Path) -> Secrets | None:
    try:
        return Secrets.decode(read_secret(keys / SECRETS), str(keys / SECRETS))
    except FileNotFoundError:
        return None


# --- putting it back ----------------------------------------------------------------


def _restore_keys(keys: Path, document: Document, now: int) -> None:
    present = _present_secrets(keys)
    if present is not None and present.identity != document.secrets.identity:
        _put_folder_aside(keys)
    protect_folder(keys)
    for name, raw in document.groups.items():
        protect_folder(keys / GROUPS)
        write_secret(keys / GROUPS, name, raw)
    # Above whatever was used since the backup was made: peers ignore what is lower.
    used = read_incarnation(keys)[0] if (keys / INCARNATION).exists() else 0
    incarnation = max(used, document.incarnation, now) + 1
    write_incarnation(keys, incarnation, b"")
    versions = [document.secrets.statement_version, now]
    if present is not None:
        versions.append(present.statement_version)
    secrets = replace(document.secrets, statement_version=max(versions), stated=b"")
    # Last: until now a second try begins at the beginning.
    write_secret(keys, SECRETS, secrets.encode())


def _agent_of(settings: Settings) -> tuple[int, int] | None:
    """The user and group to whom the keys must belong, if that is another than root."""
    if os.geteuid() != 0:
        return None
    if settings.keys.exists() and (found := settings.keys.stat()).st_uid != 0:
        return found.st_uid, found.st_gid
    return (USER_ID, USER_ID) if settings.kind is SourceKind.UCI else None


def _give_keys_to(agent: tuple[int, int], keys: Path, document: Document) -> None:
    names = ("", SECRETS, INCARNATION, DISK_ID, GROUPS)
    groups = [keys / GROUPS / name for name in document.groups]
    for path in (*(keys / name for name in names), *groups):
        if os.path.lexists(path) and path.lstat().st_uid != agent[0]:
            os.chown(path, *agent, follow_symlinks=False)


def _put_folder_aside(keys: Path) -> None:
    aside = _free_name(keys)
    keys.rename(aside)
    if (aside / DISK_ID).exists():  # the disk is this machine's, whoever the node is
        protect_folder(keys)
        write_secret(keys, DISK_ID, (aside / DISK_ID).read_bytes())


def _restore_settings(settings: Settings, document: Document) -> Settings | None:
    """Put the settings file back and load it; None if the present ones must do."""
    path = settings.path
    if path is None or not document.settings or document.kind != settings.kind.value:
        return None
    undo = [_replace_kept(path, document.settings)]
    try:
        restored = load_settings(path)
        if document.changes:
            place = restored.state / CHANGES_FILE
            undo.append(_replace_kept(place, document.changes))
            restored = load_settings(path)
        _demand_keys_folder(restored.keys)
        protect_folder(restored.keys)
        _demand_replaceable(restored.keys, document.secrets)
    except (FonshareError, OSError) as error:
        for put_back in reversed(undo):
            put_back()
        if isinstance(error, (SettingsError, OSError)):
            return None  # made for another place
        raise
    return restored


def _demand_keys_folder(keys: Path) -> None:
    """Refuse a folder of other things: it would be closed to all others, maybe by root.

    Where the keys lie is said by the backup, which may be somebody else's.
    """
    ours = (SECRETS, INCARNATION, GROUPS, DISK_ID)
    is_keys = any((keys / name).exists() for name in ours)
    if keys.is_dir() and not is_keys and any(keys.iterdir()):
        raise SettingsError(f"{keys} holds other things than keys", thing=str(keys))


def _replace_kept(path: Path, raw: bytes) -> Callable[[], None]:
    """Replace the file, keep the one before if it differed; return what undoes it."""
    before = _read_plain(path)
    aside = _free_name(path) if before and before != raw else None
    if aside is not None:
        _replace_file(aside, before)
    if before != raw:
        _replace_file(path, raw)

    def put_back() -> None:
        if before:
            _replace_file(path, before)
        else:
            path.unlink(missing_ok=True)
        if aside is not None:
            aside.unlink()

    return put_back


def _free_name(path: Path) -> Path:
    aside = path.with_name(path.name + ".before-restore")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.before-restore-{number}")
    return aside


def _replace_file(path: Path, raw: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Settings may hold the broker's password.
            write_durably(folder, os.fsencode(path.name), raw, 0o600)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(path, error) from None


def _read_plain(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> FonshareError:
    return StorageError(f"{path}: {error.strerror}", thing=str(path))
