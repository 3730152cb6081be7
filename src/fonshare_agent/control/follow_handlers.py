"""Handlers of `follow`, `keep` and `unfollow`."""

from dataclasses import replace
from typing import TYPE_CHECKING

from fonshare_agent.control.entries import find_entry
from fonshare_agent.control.keeping import Keeping
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import (
    AlreadyFollowed,
    FonshareError,
    NotFound,
    UsageError,
)
from fonshare_agent.index.records import Found
from fonshare_agent.index.state_follows import Follow
from fonshare_agent.model import printable
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.reasons import REASONS

if TYPE_CHECKING:
    from fonshare_agent.social.follow import Following

Arguments = dict[str, JSON]

BUDGET_BYTES = 10 << 30  # where none is named


class FollowHandlers:
    """One method a command, on the core thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._keeping = parts, Keeping(parts)

    async def follow(self, arguments: Arguments) -> JSON:
        if arguments["entry"] is None:
            return await self.follow_ls(arguments)
        found = await self._find(str(arguments["entry"]))
        follow = _wish(found, arguments["budget"], arguments["all"] is True)
        following = await self._following()
        await following.add(follow)
        return await self._added(following, follow)

    async def keep(self, arguments: Arguments) -> JSON:
        found = await self._find(str(arguments["entry"]))
        name, wanted = arguments["name"], _wish(found, arguments["budget"], True)
        following = await self._following()
        known = next((one for one in following.all() if one.id == found.id), None)
        if known is not None and known.folder is None:
            name = printable(found.name)
            raise AlreadyFollowed(f"{name!r} is followed already", thing=name)
        if known is not None:
            await following.add(wanted)  # another budget
            return await self._added(following, wanted)
        name = self._keeping.name_for(found) if name is None else str(name)
        folder = await self._keeping.offer(found, name)
        wanted = replace(wanted, folder=folder.raw)
        try:
            await following.add(wanted)
        except FonshareError:
            await self._keeping.withdraw(wanted)
            raise
        return await self._added(following, wanted)

    async def _find(self, text: str) -> Found:
        found = await find_entry(self._parts, text)
        if found.kind == "file" or found.own:
            raise UsageError(
                "only a share or a folder of a friend can be followed",
                thing=printable(found.name),
                next="Fetch a file with `fonshare get`.",
            )
        return found

    async def _added(self, following: "Following", wanted: Follow) -> JSON:
        [one] = [one for one in following.all() if one.id == wanted.id]
        return [await self._row(following, one)]

    async def follow_ls(self, arguments: Arguments) -> JSON:
        if not await self._parts.store.run(self._parts.state.has_follows):
            return []  # nothing is loaded for who only looks
        following = await self._following()
        return [await self._row(following, one) for one in following.all()]

    async def unfollow(self, arguments: Arguments) -> JSON:
        text = str(arguments["entry"])
        following = await self._following()
        for one in following.all():
            place = self._place(one)
            shown = [place[name] for name in ("group", "member", "share", "path")]
            path = "/".join(str(part) for part in shown if part)
            if text == one.id or text.strip("/") == path:
                await following.remove(one)
                await self._keeping.withdraw(one)
                return place
        raise NotFound(
            f"{text!r} is not followed", thing=text, next="See `fonshare follow ls`."
        )

    async def _following(self) -> "Following":
        """Return the follows, loaded and taken up."""
        following = await self._parts.follows.get()
        await following.load()
        return following

    def _place(self, follow: Follow) -> dict[str, JSON]:
        groups = self._parts.groups
        return {
            "id": follow.id,
            "group": groups.find_label(follow.group),
            "member": groups.member_name(follow.group, follow.member),
            "share": follow.share,
            "path": printable(follow.path.raw) if follow.path else "",
        }

    async def _row(self, following: "Following", follow: Follow) -> dict[str, JSON]:
        state, used, files = await following.view(follow)
        reason = REASONS.get(f"follow.{state}")
        return {
            **self._place(follow),
            "kind": "folder" if follow.path else "share",
            "member_id": node_id_text(follow.member),
            "budget": follow.budget,
            "used_bytes": used,
            "files": files,
            "all": follow.wants_all,
            "kept": self._keeping.share_of(follow),
            "state": state,
            "error": {"code": reason.code, "message": reason.text} if reason else None,
        }


def _wish(found: Found, budget: JSON, wants_all: bool) -> Follow:
    return Follow(
        0,
        found.id,
        found.group,
        found.member,
        found.share,
        found.path,
        budget if isinstance(budget, int) else BUDGET_BYTES,
        wants_all,
    )
