"""Finds the entry that a command names: by its id, or as GROUP/MEMBER/SHARE/PATH."""

from fonshare_agent.control.parts import Parts
from fonshare_agent.errors import NotFound
from fonshare_agent.index.records import Found
from fonshare_agent.model import EntryId, GroupId, NodeId, SharePath


async def find_entry(parts: Parts, text: str) -> Found:
    """Return the entry called *text*; NotFound if nobody offers it now."""
    found = await parts.store.run(parts.index.get, EntryId(text))
    if found is not None:
        return found
    names = text.strip("/").split("/", 3)
    if len(names) < 3:
        raise NotFound(
            f"there is no entry {text!r}",
            thing=text,
            next="See `fonshare ls`; a path is GROUP/MEMBER/SHARE/PATH.",
        )
    group = parts.groups.get(names[0])
    member = parts.groups.get_member(group, names[1])
    path = SharePath.parse(names[3]) if len(names) == 4 else None
    return await resolve(parts, group, member, names[2], path)


async def resolve(
    parts: Parts, group: GroupId, member: NodeId, share: str, path: SharePath | None
) -> Found:
    """Return what *member* offers there; NotFound if it is nothing."""
    found = await parts.store.run(parts.index.resolve, group, member, share, path)
    if found is None:
        name = parts.groups.member_name(group, member)
        shown = "/".join([share] if path is None else [share, str(path)])
        raise NotFound(
            f"{name} offers no {shown!r}",
            thing=shown,
            next="See `fonshare ls`, or look for it with `fonshare find`.",
        )
    return found
