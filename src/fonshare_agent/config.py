"""The settings' door: load_settings and validate; other modules import from here.

    file -> config_yaml / config_uci -> one nested dict -> config_check, config_rules
         -> Settings, or one SettingsError with every complaint

The table of all options is config_table.py. YAML is for everywhere but the router, UCI
for the router; which one a file is, its name says (.yaml, .yml: YAML; else UCI). Off
the router what commands changed is kept in STATE/shares.yaml and merged here.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fonshare_agent
from fonshare_agent.config_check import (
    Complaints,
    Draw,
    absolute,
    is_within,
    read_options,
    read_users,
)
from fonshare_agent.config_rules import build
from fonshare_agent.config_table import OPTIONS, Option
from fonshare_agent.errors import SettingsError
from fonshare_agent.settings import (
    FtpSettings,
    LimitSettings,
    MqttSettings,
    NodeSettings,
    Settings,
    ShareSettings,
    SourceKind,
    UserSettings,
    WebSettings,
)

__all__ = [
    "OPTIONS",
    "FtpSettings",
    "LimitSettings",
    "MqttSettings",
    "NodeSettings",
    "Option",
    "Settings",
    "ShareSettings",
    "Source",
    "SourceKind",
    "UserSettings",
    "WebSettings",
    "check_source",
    "find_settings_file",
    "load_settings",
    "read_source",
    "share_row",
    "validate",
]

HERE_FILE = Path("fonshare.yaml")
HOME_FILE = Path(".config/fonshare/fonshare.yaml")  # below the home folder
FILE_BYTES_MAX = 1 << 18  # a settings file of 64 shares has 8 KiB


@dataclass(slots=True)
class Source:
    """A settings file as it was read: raw values, and complaints about its form.

    `unknown`: what of its form is none of this version's. On the router, where an
    upgrade or a downgrade finds the file of another, that is no complaint.
    """

    kind: SourceKind
    path: Path
    raw: Any
    complaints: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def load_settings(
    path: Path | str | None = None,
    *,
    draw: Draw | None = None,
    needs_hashes: bool = True,
) -> Settings:
    """Return the settings of the file at *path*, or of the first default file there is.

    Defaults, in order: /etc/config/fonshare, ./fonshare.yaml and
    ~/.config/fonshare/fonshare.yaml. Raises SettingsError with every complaint. *draw*
    gives random bytes, for the salt of passwords that the file holds in clear. Only who
    lets users in *needs_hashes* of these: one costs some 60 ms, on a router more.
    """
    source = read_source(find_settings_file() if path is None else Path(path))
    return check_source(source, draw=draw, needs_hashes=needs_hashes)


def check_source(
    source: Source, *, draw: Draw | None = None, needs_hashes: bool = True
) -> Settings:
    """Return the Settings that *source* makes, or raise SettingsError."""
    return validate(
        source.raw,
        kind=source.kind,
        path=source.path,
        complaints=source.complaints,
        unknown=source.unknown,
        draw=draw,
        needs_hashes=needs_hashes,
    )


def validate(
    raw: Mapping[str, object] | object,
    *,
    kind: SourceKind = SourceKind.YAML,
    path: Path | None = None,
    complaints: Sequence[str] = (),
    unknown: Sequence[str] = (),
    draw: Draw | None = None,
    needs_hashes: bool = True,
) -> Settings:
    """Return the Settings that the nested dict *raw* makes, or raise SettingsError.

    Relative paths are relative to the folder of *path*. *complaints* are those that
    reading the file gave; they come first in the error's text. On the router what is
    *unknown*, or becomes so here, is only noted (docs/decisions/0120).
    """
    unused = list(unknown) if kind is SourceKind.UCI else None
    found = Complaints(list(complaints), unused=unused)
    values = read_options(raw, kind, found)
    salt = (draw or os.urandom) if needs_hashes else None
    users, plain = read_users(values["ftp.users"], found, salt)
    folder = Path.cwd() if path is None else path.absolute().parent
    settings = build(values, users, plain, found, kind=kind, folder=folder, path=path)
    found.raise_any(path)
    if settings is None:
        raise SettingsError("the settings cannot be used")  # build without a reason
    return settings


def find_settings_file() -> Path:
    """Return the default settings file; raises SettingsError naming where it looked."""
    places = [Path(fonshare_agent.ROUTER_FILE), HERE_FILE.absolute()]
    with contextlib.suppress(RuntimeError):  # no home folder, as under some inits
        places.append(Path.home() / HOME_FILE)
    for place in places:
        if place.exists():
            return place
    raise SettingsError(
        "there is no settings file: looked for " + ", ".join(map(str, places)),
        next="Make one with `fonshare setup`, or name one with -c FILE.",
    )


def share_row(share: ShareSettings, disk: Path) -> dict[str, Any]:
    """Return *share* as a file has it: relative to the disk, wherever it is mounted."""
    path = absolute(disk, str(share.path))
    if is_within(path, disk):
        path = path.relative_to(disk)
    row = {"name": share.name, "path": str(path), "groups": list(share.groups)}
    if share.mirror_of:
        row["mirror_of"] = share.mirror_of
    if share.mirror_pin is not None:
        row["mirror_pin"] = share.mirror_pin.hex()
    if share.mirror_ca is not None:
        row["mirror_ca"] = str(share.mirror_ca)
    return row


def read_source(path: Path, *, merge: bool = True) -> Source:
    """Read the file at *path*, without checking its values.

    With *merge*, what commands changed off the router is merged in. Raises
    SettingsError if there is no reading it at all.
    """
    raw = _read_bytes(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        from fonshare_agent.config_yaml import add_changes, read_yaml

        values, complaints = read_yaml(raw)
        source = Source(SourceKind.YAML, path, values, complaints)
        if merge:
            add_changes(source.raw, path, complaints)
        return source
    from fonshare_agent.config_uci import read_uci

    values, complaints, unknown = read_uci(raw)
    return Source(SourceKind.UCI, path, values, complaints, unknown)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"cannot read {path}: {why}", thing=str(path)) from error
    if len(raw) > FILE_BYTES_MAX:
        raise SettingsError(
            f"{path} is longer than {FILE_BYTES_MAX >> 10} KiB", thing=str(path)
        )
    return raw
