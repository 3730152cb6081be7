"""Commands that change settings: what a writer can do, and which writer a node has.

On the router the writer is links/uci.py, elsewhere config_changes.py. Every change is
checked as a whole settings file before anything is written, so that a change refused
leaves all as it was. Writers do file and process I/O: call them on a worker thread.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fonshare_agent.config import Settings, ShareSettings, SourceKind
from fonshare_agent.config_changes import ChangesWriter
from fonshare_agent.links.uci import UciWriter


class SettingsWriter(Protocol):
    """Stores a change durably and returns the settings as they are then."""

    def add_share(self, share: ShareSettings) -> Settings:
        """Add *share*; a relative path is relative to the disk."""

    def remove_share(self, name: str) -> Settings:
        """Remove the share called *name*, or raise NotFound."""

    def set_limits(self, limits: Mapping[str, int | str]) -> Settings:
        """Set the named options of `limits`; the others stay."""

    def replace_password(self, user: str, password_hash: str) -> Settings:
        """Store the hash in place of what the settings hold for *user*."""


def open_settings_writer(
    settings: Settings, path: Path | None = None
) -> SettingsWriter:
    """Return the writer for the file that *settings* came from (or for *path*)."""
    path = path or settings.path
    if path is None:
        raise ValueError("these settings came from no file")
    if settings.kind is SourceKind.UCI:
        return UciWriter(path)
    return ChangesWriter(path)
