"""Which shares exist, and which group sees which: from the settings to the index.

Settings name groups by label, everything inside by id; this is where one becomes the
other. `allows` is read by the FTP thread at every RETR: it looks at one frozen snapshot
that the core thread replaces whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fonshare_agent.channel import ControlChannel
from fonshare_agent.core import Worker
from fonshare_agent.errors import NotFound
from fonshare_agent.groups import Groups
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.settings import Settings, ShareSettings
from fonshare_agent.settings_writer import SettingsWriter


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Who may read what now. Immutable, so any thread may look."""

    members: Mapping[GroupId, frozenset[NodeId]]
    shares: Mapping[GroupId, frozenset[str]]

    def allows(self, group: GroupId, member: NodeId, *shares: str) -> bool:
        """Tell whether *member* may read all *shares* as a member of *group*."""
        published = self.shares.get(group, frozenset())
        return self.is_member(group, member) and published.issuperset(shares)

    def is_member(self, group: GroupId, member: NodeId) -> bool:
        return member in self.members.get(group, ())


class Published:
    """The shares. *on_changed* hears when rights may have been taken away, and
    *on_shares* which folders there are."""

    def __init__(
        self,
        store: Worker,
        files: Worker,
        index: IndexStore,
        groups: Groups,
        channel: ControlChannel,
        settings: Settings,
        writer: SettingsWriter | None,
        on_shares: Callable[[tuple[ShareSettings, ...]], None],
        on_changed: Callable[[], None],
    ) -> None:
        self._store, self._files, self._index = store, files, index
        self._groups, self._channel, self._writer = groups, channel, writer
        self._on_shares, self._on_changed = on_shares, on_changed
        self.settings = settings
        self.snapshot = Snapshot({}, {})

    @property
    def shares(self) -> tuple[ShareSettings, ...]:
        return self.settings.shares

    async def refresh(self) -> None:
        """Follow the settings and the groups: after a change of either."""
        labels = self._groups.labels()
        mapping = {
            share.name: frozenset(labels[one] for one in share.groups if one in labels)
            for share in self.shares
        }
        self.refresh_rights()
        await self._store.run(self._index.publish, mapping)
        self._on_shares(self.shares)

    def refresh_rights(self) -> None:
        """Follow the rosters alone: at once, and without the disk."""
        labels = self._groups.labels()
        members, shares = {}, {}
        for label, group in labels.items():
            machine = self._channel.find_machine(group)
            if machine is not None:
                members[group] = frozenset(machine.roster.members)
                named = (one.name for one in self.shares if label in one.groups)
                shares[group] = frozenset(named)
        self.snapshot = Snapshot(members, shares)
        self._on_changed()

    async def add(self, share: ShareSettings) -> ShareSettings:
        """Publish a folder more; the settings are written before it is."""
        for label in share.groups:
            self._groups.get(label)
        folder = self.settings.disk / share.path
        if not await self._files.run(folder.is_dir):
            raise NotFound(
                f"there is no folder {str(folder)!r}",
                thing=str(folder),
                next="A share is a folder that exists; its path begins at the disk.",
            )
        assert self._writer is not None
        self.settings = await self._files.run(self._writer.add_share, share)
        await self.refresh()
        return next(one for one in self.shares if one.name == share.name)

    async def remove(self, name: str) -> None:
        """Publish a share no more; its files stay."""
        assert self._writer is not None
        self.settings = await self._files.run(self._writer.remove_share, name)
        await self.refresh()

    async def hash_away_passwords(self) -> None:
        """Replace the plain passwords in a router's settings by their hashes."""
        if self._writer is None or not self.settings.is_on_router:
            return
        for name in self.settings.plain_users:
            user = self.settings.find_user(name)
            if user is not None:
                self.settings = await self._files.run(
                    self._writer.replace_password, name, user.password_hash
                )

    async def set_limits(self, limits: Mapping[str, int | str]) -> Settings:
        assert self._writer is not None
        self.settings = await self._files.run(self._writer.set_limits, limits)
        return self.settings
