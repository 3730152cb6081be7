"""What the API answers with: values of the node as the JSON of DESIGN section 5. Pure.

Raw bytes and epoch seconds only; wording and formatting belong to who shows it.
"""

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from fonshare_agent.control.rows import JSON
from fonshare_agent.disk import DiskSpace
from fonshare_agent.errors import BadBrokerUrl, FonshareError
from fonshare_agent.index.records import Found, id_digest, id_text
from fonshare_agent.index.scan_report import ShareReport
from fonshare_agent.index.state_records import Job
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.manners import Manners
from fonshare_agent.model import GroupId, JobState, NodeId, base32, printable
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.protocol.roster import Roster
from fonshare_agent.settings import LimitSettings

if TYPE_CHECKING:
    from fonshare_agent.index.state_ratings import Verdict

ID_BYTES = 10  # of a group's row: as long as an entry's

QUEUED = (JobState.QUEUED, JobState.LOCATING, JobState.PAUSED)
RUNNING = (JobState.RUNNING, JobState.VERIFYING)
FAILED = (JobState.FAILED, JobState.CANCELLED)


def members(
    roster: Roster,
    me: NodeId,
    online: frozenset[NodeId],
    last_seen: Callable[[NodeId], int | None],
) -> list[JSON]:
    """The members of a group, oneself included."""
    return [
        {
            "id": node_id_text(node),
            "name": member.statement.name,
            "role": member.role.value,
            "online": node == me or node in online,
            "last_seen": last_seen(node),
        }
        for node, member in roster.members.items()
    ]


def brokers(roster: Roster) -> list[JSON]:
    """Where the group lives, without logins; what is no address is left out."""
    return [*filter(None, map(shown_broker, roster.brokers))]


def shown_broker(text: str) -> str | None:
    """Return how an address from a roster is shown; any admin may have written it."""
    try:
        return str(BrokerUrl.parse(text))
    except BadBrokerUrl:
        return None


def disk(space: DiskSpace, problem: FonshareError | None) -> dict[str, JSON]:
    """A disk that is there; *problem*: why it takes no writes."""
    return {
        "present": True,
        "total_bytes": space.total_bytes,
        "free_bytes": space.free_bytes,
        "writable": problem is None,
        "problem": None if problem is None else dict(problem.as_dict()),
    }


def missing_disk(problem: FonshareError) -> dict[str, JSON]:
    """A disk that is not there, or not this node's."""
    return {
        "present": False,
        "total_bytes": 0,
        "free_bytes": 0,
        "writable": False,
        "problem": dict(problem.as_dict()),
    }


def share_report(name: str, report: ShareReport) -> dict[str, JSON]:
    """How the last scan of a share went; *missing* files are held back."""
    return {
        "name": name,
        "scanned": report.is_scanned,
        "problem": report.problem,
        "missing": report.held.missing if report.held else 0,
        "skipped": dict(report.skipped),
    }


def entry(found: Found, group: str, member: str, online: bool) -> dict[str, JSON]:
    """One line of `find` or `ls`; `path` is relative to the share."""
    path = found.path.raw if found.path is not None else b""
    row: dict[str, JSON] = {
        "id": found.id,
        "kind": found.kind,
        "name": printable(found.name),
        "path": printable(path),
        "size": found.size,
        "modified": found.modified,
        "group": group,
        "member": member,
        "member_id": node_id_text(found.member),
        "share": found.share,
        "root": None if found.root is None else found.root.hex(),
        "online": online,
        "own": found.own,
        "rating": None,
    }
    if printable(path).encode() != path:
        row["path_b64"] = base64.b64encode(path).decode("ascii")
    return row


SOURCE_FIELDS = (
    *("id", "group", "member", "member_id", "online", "name", "share", "path"),
    "path_b64",
)


def sources(rows: list[dict[str, JSON]]) -> list[JSON]:
    """Who offers one content; *rows* are its entries."""
    return [{name: row[name] for name in SOURCE_FIELDS if name in row} for row in rows]


def with_cursor(rows: list[dict[str, JSON]], more: str | None) -> list[JSON]:
    """Return *rows* with the cursor *more* in the last one, if there is more."""
    if more is not None and rows:
        rows[-1]["cursor"] = more
    return [*rows]


def place(
    kind: str,
    row_id: str,
    name: str,
    group: str,
    member: str | None = None,
    member_id: NodeId | None = None,
    *,
    online: bool,
    own: bool,
) -> dict[str, JSON]:
    """A group or a member as a line of `ls`."""
    return {
        "id": row_id,
        "kind": kind,
        "name": name,
        "path": "",
        "size": 0,
        "modified": 0,
        "group": group,
        "member": member,
        "member_id": None if member_id is None else node_id_text(member_id),
        "share": None,
        "root": None,
        "online": online,
        "own": own,
        "rating": None,
    }


def rating(verdict: "Verdict") -> JSON:
    """What a group thinks of a file; who shows it rounds."""
    return {
        "average": verdict.average,
        "count": verdict.count,
        "own": verdict.own or None,
    }


def group_row_id(group: GroupId) -> str:
    return base32(group[:ID_BYTES])


def job_totals(totals: dict[JobState, int]) -> dict[str, JSON]:
    """Jobs by the four heaps that `status` shows."""
    return {
        "queued": sum(totals[state] for state in QUEUED),
        "running": sum(totals[state] for state in RUNNING),
        "done": totals[JobState.DONE],
        "failed": sum(totals[state] for state in FAILED),
    }


def job(
    job: Job,
    done_bytes: int,
    sources: int,
    path: bytes,
    place: int | None,
) -> dict[str, JSON]:
    """One job. *path* is absolute: the file, or the folder that holds its files.

    *place*: in the queue of a source that serves others first.
    """
    entry = id_digest(
        "file" if job.kind == "file" else "folder",
        job.group,
        job.member,
        job.share.encode(),
        job.path.raw if job.path is not None else b"",
    )
    return {
        "id": job.id,
        "entry": id_text(entry),
        "name": job.name,
        "size": job.size,
        "done_bytes": done_bytes,
        "state": job.state.value,
        "sources": sources,
        "error": {"code": job.error_code, "message": job.error_text}
        if job.error_code
        else None,
        "path": printable(path),
        "place": place,
        "first": job.is_first,
        "follow": job.follow,
    }


def limits(limits: LimitSettings, manners: Manners) -> dict[str, JSON]:
    """The owner's limits, and what holds at this moment."""
    return {
        "upload_kib_s": limits.upload_kib_s,
        "download_kib_s": limits.download_kib_s,
        "transfers": limits.transfers,
        "uploads": limits.uploads,
        "hours": manners.hours or None,
        "other_upload_kib_s": limits.other_upload_kib_s,
        "other_download_kib_s": limits.other_download_kib_s,
        "house": limits.house,
        "give_way": limits.give_way,
        "gives_way": manners.gives_way,
        "now": {
            "upload_kib_s": _rounded(manners.upload.rate_kib_s),
            "download_kib_s": _rounded(manners.download.rate_kib_s),
        },
    }


def _rounded(rate: float | None) -> int | None:
    return None if rate is None else round(rate)
