"""`fonshare doctor`: what is wrong with this node, and what to do about it.

Looks at the running parts and says one finding for each thing that an owner can mend;
`code` is stable, the wording is for people. Changes nothing. Core thread.
"""

from collections.abc import Iterator

from fonshare_agent import clock
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.doctor_storage import (
    about_index,
    about_mirrors,
    about_scans,
    about_watching,
)
from fonshare_agent.doctor_storage import finding as _finding
from fonshare_agent.errors import FonshareError, StorageError

BACKUP_MADE = "backup-made"  # a file in the keys folder, touched by each backup
LOW_SPACE_BYTES = 256 << 20


def _from_error(error: FonshareError) -> JSON:
    return {"level": "error", **error.as_dict()}


async def examine(parts: Parts) -> JSON:
    """Return `{findings, verdict, reach}`: how friends reach this node is its end,
    whatever else was found."""
    findings = [
        *await _disk(parts),
        *_brokers(parts),
        *_time(),
        *_memory(),
        *_settings(parts),
        *await _shares(parts),
        *about_scans(parts),
        *about_mirrors(parts),
        *about_watching(
            parts.watcher.report(), parts.published.settings.limits.scan_period_s
        ),
        *about_index(parts.index.rebuilt),
        *_groups(parts),
        *await _backup(parts),
    ]
    reach, verdict, finding = await _reach(parts)
    return {"findings": [*findings, finding], "verdict": verdict, "reach": reach}


async def _disk(parts: Parts) -> list[JSON]:
    path = str(parts.disk.path)
    try:
        await parts.files.run(parts.disk.check_writable)
        space = await parts.files.run(parts.disk.space)
    except StorageError as error:
        return [_from_error(error)]
    if space.free_bytes < LOW_SPACE_BYTES:
        return [
            _finding(
                "warning",
                "disk.low",
                f"the disk has only {space.free_bytes >> 20} MiB left",
                path,
                "Free some space; jobs wait when there is none.",
            )
        ]
    return [_finding("ok", "disk.ok", "the disk is there and writable", path, "")]


def _former_brokers(parts: Parts) -> set[str]:
    """Those that are tried only for members who were away: no trouble if they fail."""
    found = [parts.channel.find_machine(g) for g in parts.groups.labels().values()]
    machines = [one for one in found if one is not None]
    former = {broker for one in machines for broker in one.former_brokers}
    return former - {broker for one in machines for broker in one.roster.brokers}


def _brokers(parts: Parts) -> Iterator[JSON]:
    former = _former_brokers(parts)
    errors = {u: e for u, e in parts.links.errors().items() if u not in former}
    for error in errors.values():
        yield _from_error(error)
    if not errors and not parts.links.any_connected():
        yield _finding(
            "warning",
            "broker.none",
            "no broker is connected",
            "mqtt.broker",
            "Set mqtt.broker, or wait: the agent keeps trying.",
        )
    for size in parts.links.oversized().values():
        yield _finding(
            "warning",
            "broker.oversized",
            f"a broker delivered a message of {size} bytes, which was not read",
            "mqtt.broker",
            "Somebody floods a topic; if it goes on, move the group to another broker.",
        )


def _time() -> Iterator[JSON]:
    if not clock.is_known():
        yield _finding(
            "warning",
            "clock_unknown",
            "the time is not known yet",
            "clock",
            "Brokers with a CA wait for NTP; all else works.",
        )


def _memory() -> Iterator[JSON]:
    from fonshare_agent.spare_memory import LOGIN_KIB, find_spare_kib

    spare = find_spare_kib()
    if spare is not None and spare < LOGIN_KIB:
        yield _finding(
            "warning",
            "memory.short",
            f"memory is short: a login takes {LOGIN_KIB} KiB, {max(spare, 0)} are free",
            "memory",
            "FTP logins are refused until more is free; stop other services.",
        )


def _settings(parts: Parts) -> Iterator[JSON]:
    for warning in parts.published.settings.warnings:
        setting = warning.partition(":")[0]
        yield _finding(
            "warning", "settings.warning", warning, setting, "Change the settings."
        )
    for unused in parts.published.settings.unused:
        yield _finding(
            "warning",
            "settings.unused",
            unused,
            unused.partition(":")[0],
            "It is not used: mend its name or take it out.",
        )


async def _shares(parts: Parts) -> list[JSON]:
    found: list[JSON] = []
    labels = parts.groups.labels()
    for share in parts.published.shares:
        if not await parts.files.run(share.path.is_dir):
            found.append(
                _finding(
                    "warning",
                    "share.missing",
                    f"the folder of share {share.name!r} is not there",
                    str(share.path),
                    "Make the folder, or remove the share; friends keep what they saw.",
                )
            )
        found += [
            _finding(
                "warning",
                "share.no_group",
                f"share {share.name!r} names a group that this node is not in",
                label,
                "Join the group, or change the share.",
            )
            for label in share.groups
            if label not in labels
        ]
    return found


def _groups(parts: Parts) -> Iterator[JSON]:
    for complaint in parts.groups.complaints:
        yield _from_error(complaint)
    for label in parts.invites.second_joiners:
        yield _finding(
            "warning",
            "code.second_joiner",
            f"a second node used an invite code of group {label!r}; it was refused",
            label,
            "Somebody else knows the code: compare the six words with the joiner.",
        )


async def _reach(parts: Parts) -> tuple[str, str, JSON]:
    from fonshare_agent.doctor_reach import about_reach, conclude  # who asks is rare

    finding = await about_reach(parts)
    return *conclude(finding), finding


async def _backup(parts: Parts) -> list[JSON]:
    marker = parts.keys.folder / BACKUP_MADE
    if not parts.groups.labels() or await parts.files.run(marker.exists):
        return []
    return [
        _finding(
            "warning",
            "backup.never",
            "no backup of this node's keys was ever made",
            "backup",
            "Run `fonshare backup FILE` and keep the file elsewhere.",
        )
    ]
