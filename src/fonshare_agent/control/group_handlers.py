"""Handlers of the `group …` commands: the owner's verbs on groups and invites."""

from functools import partial

from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import NotFound, UsageError
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.keys import node_id_text

Arguments = dict[str, JSON]


class GroupHandlers:
    """One method a command, on the core thread; named like the command."""

    def __init__(self, parts: Parts, home_broker: str) -> None:
        self._parts = parts
        self._home_broker = home_broker  # where this node creates its own groups

    def _group(self, arguments: Arguments) -> GroupId:
        return self._parts.groups.get(str(arguments["group"]))

    def _members(self, group: GroupId) -> list[JSON]:
        machine = self._parts.channel.machine(group)
        return views.members(
            machine.roster,
            machine.me,
            machine.peers.online(),
            partial(self._parts.seen.find, group),
        )

    async def group_create(self, arguments: Arguments) -> JSON:
        label = str(arguments["group"])
        self._parts.groups.require_free(label)
        if not self._home_broker:
            raise UsageError(
                "this node has no broker to create a group on",
                thing="mqtt.broker",
                next="Set mqtt.broker in the settings and start the agent again.",
            )
        await self._parts.groups.create(label, (self._home_broker,))
        await self._parts.published.refresh()
        return {"group": label}

    async def group_ls(self, arguments: Arguments) -> JSON:
        rows: list[JSON] = []
        for label, group in self._parts.groups.labels().items():
            machine = self._parts.channel.find_machine(group)
            if machine is not None:
                role = machine.roster.role_of(machine.me)
                rows.append(
                    {
                        "name": label,
                        "role": role.value if role is not None else None,
                        "members": self._members(group),
                        "brokers": views.brokers(machine.roster),
                    }
                )
        return rows

    async def group_invite(self, arguments: Arguments) -> JSON:
        invites = await self._parts.invites.get()
        code = await invites.invite(
            self._group(arguments), accept_first=bool(arguments["accept_first"])
        )
        return {"code": code}

    async def group_join(self, arguments: Arguments) -> JSON:
        label = arguments["as"]
        if label is not None:
            self._parts.groups.require_free(str(label))
        invites = await self._parts.invites.get()
        return await invites.join(
            str(arguments["code"]),
            None if label is None else str(label),
            sure=bool(arguments["yes"]),
        )

    async def group_joining(self, arguments: Arguments) -> JSON:
        invites = await self._parts.invites.get()
        return invites.joining(str(arguments["group"]))

    async def group_confirm(self, arguments: Arguments) -> JSON:
        invites = await self._parts.invites.get()
        return await invites.confirm(
            str(arguments["group"]), sure=arguments["decision"] == "yes"
        )

    async def group_requests(self, arguments: Arguments) -> JSON:
        return self._parts.invites.requests()

    async def group_accept(self, arguments: Arguments) -> JSON:
        group = self._group(arguments)
        invites = await self._parts.invites.get()
        node = await invites.accept(group, str(arguments["member"]))
        return self._told(arguments, node)

    async def group_refuse(self, arguments: Arguments) -> JSON:
        group = self._group(arguments)
        invites = await self._parts.invites.get()
        node = await invites.refuse(group, str(arguments["member"]))
        return self._told(arguments, node)

    async def group_leave(self, arguments: Arguments) -> JSON:
        await self._parts.groups.leave(self._group(arguments))
        return {"group": arguments["group"]}

    async def group_remove(self, arguments: Arguments) -> JSON:
        group, member = self._named(arguments)
        if member == self._parts.keys.signer.node_id:
            raise UsageError(
                "one leaves a group oneself", next="Use `fonshare group leave`."
            )
        await self._parts.groups.change(group, lambda m, now: m.remove(member, now))
        return self._told(arguments, member)

    async def group_admin(self, arguments: Arguments) -> JSON:
        group, member = self._named(arguments)
        await self._parts.groups.change(group, lambda m, now: m.name_admin(member, now))
        return self._told(arguments, member)

    async def group_unadmin(self, arguments: Arguments) -> JSON:
        group, member = self._named(arguments)
        await self._parts.groups.change(
            group, lambda m, now: m.unname_admin(member, now)
        )
        return self._told(arguments, member)

    async def group_broker(self, arguments: Arguments) -> JSON:
        group = self._group(arguments)
        url = BrokerUrl.parse(str(arguments["url"])).without_ca()
        before = self._parts.channel.machine(group).roster.brokers
        if arguments["action"] == "add":
            after = before if url.encode() in before else (*before, url.encode())
        else:
            gone = broker_among(before, url)
            after = tuple(one for one in before if one != gone)
        if not after:
            raise UsageError(
                "a group needs at least one broker",
                next="Add another broker first, then remove this one.",
            )
        if after != before:
            await self._parts.groups.change(
                group, lambda m, now: m.set_brokers(after, now)
            )
        machine = self._parts.channel.machine(group)
        return {
            "group": arguments["group"],
            "brokers": views.brokers(machine.roster),
        }

    def _named(self, arguments: Arguments) -> tuple[GroupId, NodeId]:
        group = self._group(arguments)
        return group, self._parts.groups.get_member(group, str(arguments["member"]))

    def _told(self, arguments: Arguments, node: NodeId) -> JSON:
        return {"group": arguments["group"], "member": node_id_text(node)}


def broker_among(brokers: tuple[str, ...], url: BrokerUrl) -> str:
    """Return the one that *url* names, also as it is shown: without its login."""
    if url.encode() in brokers:
        return url.encode()
    shown = [one for one in brokers if views.shown_broker(one) == str(url)]
    if not shown:
        raise NotFound(
            "the group does not live on that broker",
            thing="url",
            next="Write the URL as it was added, or as it is shown, with its port.",
        )
    if len(shown) > 1:
        raise UsageError(
            "the group has more than one login at that broker",
            thing="url",
            next="Give the address with the user and the password that you mean.",
        )
    return shown[0]
