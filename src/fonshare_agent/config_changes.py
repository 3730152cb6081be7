"""Changes to settings off the router: STATE/shares.yaml, merged with the user's file.

No command rewrites the user's own file; only the page's form of settings changes it. A
share added by a command stands only here; a share of the user's file cannot be removed
here. Limits and password hashes set by a command count before the user's file. The file
is mode 600 and replaced as one.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fonshare_agent.config import Settings, check_source, read_source, share_row
from fonshare_agent.config_yaml import (
    changes_path,
    merge_changes,
    read_changes,
    render_changes,
)
from fonshare_agent.errors import (
    NotAllowed,
    NotFound,
    SettingsError,
    SettingsUnwritten,
)
from fonshare_agent.settings import ShareSettings

Changes = dict[str, Any]


class ChangesWriter:
    """The SettingsWriter of a node whose settings are the YAML file at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add_share(self, share: ShareSettings) -> Settings:
        """Add *share*; refused with SettingsError if the whole would not be valid."""
        row = share_row(share, check_source(read_source(self._path)).disk)
        return self._change(lambda changes: changes["shares"].append(row))

    def remove_share(self, name: str) -> Settings:
        """Remove a share that a command added."""

        def remove(changes: Changes) -> None:
            kept = [row for row in changes["shares"] if row.get("name") != name]
            if len(kept) == len(changes["shares"]):
                raise self._not_here(name)
            changes["shares"] = kept

        return self._change(remove)

    def set_limits(self, limits: Mapping[str, int | str]) -> Settings:
        """Set the named limits."""
        return self._change(lambda changes: changes["limits"].update(limits))

    def replace_password(self, user: str, password_hash: str) -> Settings:
        """Let *password_hash* count for *user*, whatever the user's file says."""
        if check_source(read_source(self._path)).find_user(user) is None:
            raise NotFound(
                f"there is no user {user!r} in the settings",
                thing=user,
                next="The settings name the users of FTP under ftp.users.",
            )
        return self._change(
            lambda changes: changes["passwords"].update({user: password_hash})
        )

    def _not_here(self, name: str) -> NotFound | NotAllowed:
        settings = check_source(read_source(self._path))
        if all(share.name != name for share in settings.shares):
            return NotFound(
                f"there is no share {name!r}",
                thing=name,
                next="See `fonshare share ls`.",
            )
        return NotAllowed(
            f"share {name!r} stands in {self._path}, which commands do not rewrite",
            thing=name,
            next=f"Remove it from {self._path} and restart the agent.",
        )

    def _change(self, edit: Callable[[Changes], None]) -> Settings:
        source = read_source(self._path, merge=False)
        place = changes_path(source.raw, self._path)
        if place is None:
            raise SettingsError("state: is not a folder's path", thing=str(self._path))
        changes = read_changes(place)
        edit(changes)
        merge_changes(source.raw, changes)
        settings = check_source(source)
        replace_file(place, render_changes(changes).encode())
        return settings


def replace_file(path: Path, content: bytes) -> None:
    """Put *content* at *path* as one: after a power cut the old or the new is there.

    Mode 600; a missing folder is made, mode 700. Raises SettingsUnwritten.
    """
    # Imported here: settings change seldom, and it would stay in the agent's memory.
    import tempfile

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise SettingsUnwritten(
            f"cannot write {path}: {error.strerror}", thing=str(path)
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
