"""What `fonshare doctor` finds about being reached by friends: its last word.

Has some friends who are online try this node's door, looks at what the router upstream
said to port mapping and which addresses this host has, and says one of: reached, by
forwarded ports, reached but for the data ports, what to forward where, or that the
provider's NAT forbids it. Changes nothing.
"""

from typing import Final

from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.core import Promise
from fonshare_agent.doctor_storage import finding
from fonshare_agent.links.mapped import SHARED, Mapped, Unmapped
from fonshare_agent.links.netinfo import Kind, kind_of
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.settings import FtpSettings

TRIES: Final = 3  # friends who are asked to try; one who says yes is enough
ONE_WAY: Final = "you can fetch from and push to reachable friends"


def conclude(finding: JSON) -> tuple[str, str]:
    """Return what `doctor` ends in: a word for programs, and a line that begins with
    it for people."""
    assert isinstance(finding, dict)
    said = finding["message"]
    match finding["code"]:
        case "reach.open":
            return "reachable", f"reachable: {said}"
        case "reach.mapped":
            return "mapped", f"mapped: {said}"
        case "reach.local":
            return "local", f"local: {said}"
        case "reach.cgnat":
            return "cgnat", f"CGNAT: {ONE_WAY}"
        case _:
            return "forward", f"forward: {said}"


async def about_reach(parts: Parts) -> JSON:
    """Return the one finding."""
    kinds = {kind_of(ip) for ip in parts.reach.own_addresses()} - {Kind.NEVER}
    if not kinds - {Kind.LOOPBACK}:
        return finding(
            "ok",
            "reach.local",
            "only nodes on this machine reach this node",
            "ftp.address",
            "Set ftp.address to `::` for friends elsewhere.",
        )
    tries = await _tries(parts)
    if "" not in tries and "data" in tries:
        return _without_data(parts)
    is_open = "" in tries or "door" in tries  # an older friend tries the door alone
    if is_open or ("unreachable" not in tries and parts.ways.was_reached()):
        return _reached(parts)
    if "unreachable" in tries:
        return _unreached(parts, "friends cannot reach this node")
    if isinstance(parts.mapping.outcome, Mapped) or Kind.PUBLIC in kinds:
        return _reached(parts, "friends should reach this node; none is online to try")
    return _unreached(parts, "friends cannot reach this node, it seems")


async def _tries(parts: Parts) -> list[str]:
    """Return what some friends who are online found; "" is success."""
    asked: list[Promise[str]] = []
    for group, member in _online(parts)[:TRIES]:
        asked.append(parts.core.spawn(parts.try_back(group, member)))
    return [await one for one in asked]


def _online(parts: Parts) -> list[tuple[GroupId, NodeId]]:
    """Return who can be asked, each member once."""
    found: dict[NodeId, GroupId] = {}
    for group in parts.groups.labels().values():
        machine = parts.channel.find_machine(group)
        for member in machine.roster.members if machine is not None else ():
            if machine is not None and machine.peers.can_be_asked(member):
                found.setdefault(member, group)
    return [(group, member) for member, group in found.items()]


def _reached(parts: Parts, said: str = "friends reach this node") -> JSON:
    outcome = parts.mapping.outcome
    if isinstance(outcome, Mapped):
        return finding(
            "ok",
            "reach.mapped",
            f"{said}: the router upstream forwards its ports, asked by "
            f"{outcome.method}",
            f"{outcome.address}:{outcome.ports.get(parts.reach.friends_port, 0)}",
            "",
        )
    return finding("ok", "reach.open", said, "", "")


def _unreached(parts: Parts, said: str) -> JSON:
    outcome = parts.mapping.outcome
    own = parts.reach.own_addresses()
    is_shared = any(ip in SHARED for ip in own if ip.version == 4)
    if is_shared or (isinstance(outcome, Unmapped) and outcome.reason == "double_nat"):
        return _behind_nat(outcome, is_shared)
    private = [str(ip) for ip in own if kind_of(ip) is Kind.PRIVATE and ip.version == 4]
    public = [str(ip) for ip in own if kind_of(ip) is Kind.PUBLIC]
    ports = _ports(parts.published.settings.ftp)
    if public:
        next_step = f"Open TCP {ports} to {public[0]} in the firewall before it."
    else:
        next_step = f"Forward TCP {ports} to {private[0]} on your router."
    if isinstance(outcome, Unmapped):
        next_step += _why(outcome)
    return finding(
        "warning",
        "reach.forward",
        f"{said}: forward {ports} to {(public or private)[0]}",
        (public or private)[0],
        f"{next_step} Until then {ONE_WAY}.",
    )


def _without_data(parts: Parts) -> JSON:
    """The door is reached and nothing would come through: half of a forwarding."""
    ftp, own = parts.published.settings.ftp, parts.reach.own_addresses()
    first, last = ftp.friends_passive_ports
    private = [str(ip) for ip in own if kind_of(ip) is Kind.PRIVATE and ip.version == 4]
    public = [str(ip) for ip in own if kind_of(ip) is Kind.PUBLIC]
    to = (private or public or [""])[0]
    return finding(
        "warning",
        "reach.data",
        f"friends reach port {ftp.friends_port} of this node, but not its data ports "
        f"{first}-{last}: nothing can be fetched from it",
        to,
        f"Forward TCP ports {first}-{last} to {to} as well, each to the same port, or "
        f"open them in the firewall. Until then {ONE_WAY}.",
    )


def _why(outcome: Unmapped) -> str:
    match outcome.reason:
        case "refused":
            return f" It refused to do so by itself: {outcome.detail}."
        case "silent":
            return " It can do so by itself if UPnP, NAT-PMP or PCP is switched on."
        case _:
            return ""


def _behind_nat(outcome: object, is_shared: bool) -> JSON:
    """The address before this node is not its own: nobody here can forward a port."""
    address = outcome.address if isinstance(outcome, Unmapped) else ""
    if isinstance(outcome, Unmapped) and address and not outcome.is_shared:
        return finding(
            "warning",
            "reach.double_nat",
            "the router upstream is itself behind another router: forward the ports "
            f"to {address} there, too",
            address,
            f"Or connect this node to the outer router. Until then {ONE_WAY}.",
        )
    by_whom = "your provider shares one address among customers (CGNAT)"
    if not is_shared and not address:
        by_whom = "the router upstream has no public address, most likely CGNAT"
    return finding(
        "warning",
        "reach.cgnat",
        f"{by_whom}: {ONE_WAY}",
        address,
        "Nothing; or ask the provider for a public IPv4 address, or for IPv6.",
    )


def _ports(ftp: FtpSettings) -> str:
    first, last = ftp.friends_passive_ports
    return f"ports {ftp.friends_port} and {first}-{last}"
