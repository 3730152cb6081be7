"""What `fonshare doctor` finds about the shares, their watching and the index.

Changes nothing, and must not know what a scan does: it reads the scanner's reports.
"""

from collections.abc import Iterator
from typing import Any

from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.index.scan_report import ShareReport
from fonshare_agent.index.watcher import WatchReport

# Why a scan leaves something out, in words, and what the owner can do.
SKIPPED = {
    "link": (
        "symbolic links, which are not followed",
        "Nothing, or put the files themselves there.",
    ),
    "special": ("pipes, sockets or devices", "Nothing: they hold no content."),
    "mount": (
        "on another file system, mounted below the share",
        "Nothing, or add a share for that folder.",
    ),
    "too_deep": ("nested too deeply", "Move them further up."),
    "too_long": ("called by too long a path", "Give their folders shorter names."),
    "unreadable": (
        "not readable",
        "Let the agent's user read them; if it may, check the disk's file system.",
    ),
}


def finding(level: str, code: str, message: str, thing: str, next: str) -> JSON:
    """Return one line of doctor's answer."""
    return {
        "level": level,
        "code": code,
        "message": message,
        "thing": thing,
        "next": next,
    }


def about_scans(parts: Parts) -> Iterator[JSON]:
    """What the scans could not read, or do not believe."""
    for name, report in parts.scanner.report().shares.items():
        yield from _about_share(name, report)


def _about_share(name: str, report: ShareReport) -> Iterator[JSON]:
    if report.problem is not None:
        yield finding(
            "warning",
            "share.unread",
            f"share {name!r} was not scanned: {report.problem}",
            name,
            "Friends keep what they saw; it is tried again by itself.",
        )
    if report.held is not None:
        yield finding(
            "warning",
            "share.held_back",
            f"share {name!r}: {report.held.missing} of {report.held.known} files are"
            " missing at once; friends still see them",
            name,
            "Check the disk. If you deleted them: `fonshare share confirm NAME`;"
            " else they count as deleted when a later scan misses them too.",
        )
    for reason, count in report.skipped.items():
        words, advice = SKIPPED[reason]
        yield finding(
            "warning",
            "scan.skipped",
            f"share {name!r}: {count} files or folders are not offered, {words}",
            name,
            advice,
        )


def about_mirrors(parts: Parts) -> Iterator[JSON]:
    """When others' servers were last read, what failed and what comes next."""
    made = parts.mirrors.made
    for share in parts.published.shares if made is not None else ():
        told = made.told(share.name) if made is not None else None
        if told is not None:
            yield from _about_mirror(share.name, told)


def _about_mirror(name: str, told: dict[str, Any]) -> Iterator[JSON]:
    minutes = -(-(told["next_s"] or 0) // 60)
    if error := told["error"]:
        yield {"level": "warning", **error, "thing": f"{name}: {told['url']}"}
    for one in told["failures"]:
        code, why = one["code"], f"share {name!r} lacks a file: {one['message']}"
        yield finding("warning", code, why, one["path"], one["next"])
    if told["held"]:
        yield finding(
            "warning",
            "mirror.held_back",
            f"share {name!r}: {told['held']} of {told['files']} files are gone from the"
            " server at once; their copies are kept",
            name,
            "Look at the server. If they are meant to go: `fonshare share confirm"
            " NAME`.",
        )
    if error is None and told["read_at"] is not None:
        yield finding(
            "ok",
            "mirror.read",
            f"share {name!r}: the server was read to its end, {told['files']} files are"
            f" here; next time in {minutes} minutes",
            told["url"],
            "",
        )


def about_watching(report: WatchReport, period_s: float) -> Iterator[JSON]:
    """What the kernel does not tell the watcher, and how to change that."""
    minutes = max(1, round(period_s / 60))
    if report.lacks_instance:
        yield finding(
            "warning",
            "watch.none",
            "the kernel has no inotify instance left: changes are found only by the"
            f" scan every {minutes} minutes",
            "fs.inotify.max_user_instances",
            "Raise it: `sysctl -w fs.inotify.max_user_instances=512`, and in"
            " /etc/sysctl.conf to keep it.",
        )
    elif report.unwatched:
        yield finding(
            "warning",
            "watch.limit",
            f"{report.unwatched} folders, and what is below them, are not watched:"
            f" changes there are found only by the scan every {minutes} minutes",
            "fs.inotify.max_user_watches",
            "Raise it: `sysctl -w fs.inotify.max_user_watches=65536`, and in"
            " /etc/sysctl.conf to keep it. FonShare itself uses 8192 at most.",
        )


def about_index(reason: str | None) -> Iterator[JSON]:
    """Whether the index had to be thrown away since the agent started."""
    if reason is not None:
        yield finding(
            "warning",
            "index.rebuilt",
            f"the index is made anew: {reason}",
            "index.db",
            "Nothing: scans and friends fill it again. If it recurs, check the disk.",
        )
