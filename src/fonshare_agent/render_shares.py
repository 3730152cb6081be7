"""Shares, and what ails them, as tables and texts for people (see render.py)."""

from typing import Any

from fonshare_agent.layout import shown_day, shown_size, table, visible
from fonshare_agent.words import say, translate


def shares(rows: Any) -> str:
    shown = table(
        ("NAME", "PATH", "GROUPS", "FILES", "SIZE"),
        (
            (
                row["name"],
                row["path"],
                ", ".join(row["groups"]) or "-",
                row.get("files", "-"),
                shown_size(row.get("bytes")),
            )
            for row in rows
        ),
    )
    return shown + "".join(_mirror(row) for row in rows if row.get("mirror"))


def _mirror(row: Any) -> str:
    """One line on a copy of a server; `doctor` tells what to do about troubles."""
    told = row["mirror"]
    words = [say("a copy of {}", told["url"]), _mirror_state(told)]
    words += _mirror_troubles(told)
    return say("{}: {}", visible(row["name"]), visible(", ".join(words))) + "\n"


def _mirror_state(told: Any) -> str:
    if told["state"] == "reading":
        counts = told["found"], told["fetched"], shown_size(told["fetched_bytes"])
        return say("being read: {} found, {} fetched, {}", *counts)
    if told["read_at"] is None:
        when = say("not read to its end yet")
    else:
        when = say("read {}", shown_day(told["read_at"]))
    if told["state"] == "closed":
        return say("{}, waits for the hours", when)
    return say("{}, next in {} minutes", when, -(-told["next_s"] // 60))


def _mirror_troubles(told: Any) -> list[str]:
    error = told["error"]
    return [
        *([translate(str(error["message"]))] if error else []),
        *([say("{} could not be copied", told["failed"])] if told["failed"] else []),
        *([say("{} gone at once, kept here", told["held"])] if told["held"] else []),
    ]


def share_troubles(rows: Any) -> list[str]:
    """A line for each share that has something to tell; `doctor` tells what to do."""
    lines = []
    for share in rows:
        left_out = sum(share["skipped"].values())
        told = [
            translate(share["problem"] or ""),
            say("{} files missing at once", share["missing"]) * bool(share["missing"]),
            say("{} not offered", left_out) * bool(left_out),
            *(_mirror_troubles(share["mirror"]) if share.get("mirror") else []),
        ]
        if any(told):
            words = ", ".join(one for one in told if one)
            lines.append(say("share   {}: {}", visible(share["name"]), visible(words)))
    return lines
