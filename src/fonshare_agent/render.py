"""Answers of the agent as tables and texts for people.

Every name that came from elsewhere passes `visible` before it reaches a terminal: a
friend's file name may hold an escape sequence. Raw values live in the JSON only.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fonshare_agent.control.quantities import shown_age

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
# Not printable to Python, harmless on a terminal and usual in names: no-break spaces,
# and the joiners that Persian, Hindi and emoji need.
HARMLESS = "\u00a0\u202f\u3000\u200c\u200d"


def visible(text: str) -> str:
    """Return *text* with everything that could act on a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in HARMLESS else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def human_size(size: int) -> str:
    """Return *size* bytes in the unit that gives three digits."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return f"{size} B"
    return f"{value:.{0 if value >= 99.95 else 1}f} {UNITS[unit]}"


def width(text: str) -> int:
    """Return the cells that *text* takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0
        if combining(char) or char in "\u200c\u200d"
        else 1 + (east_asian_width(char) in "WF")
        for char in text
    )


def pad(text: str, cells: int) -> str:
    """Return *text* in exactly *cells* cells, cut with `~` if it is too long."""
    if width(text) <= cells:
        return text + " " * (cells - width(text))
    kept = ""
    for char in text:
        if width(kept + char) > cells - 1:
            break
        kept += char
    return kept + "~" + " " * (cells - 1 - width(kept))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table; numbers stand right. Nothing for no rows."""
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [
        max(width(head), *(width(row[column]) for row in cells))
        for column, head in enumerate(heads)
    ]
    lines = [list(heads), *cells]
    return "".join(
        "  ".join(
            pad(cell, cells) for cell, cells in zip(line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def render(command: str, answer: Any) -> str:
    """Return *answer* of *command* for people, newline included."""
    return RENDERERS.get(command, _fields)(answer)


def _fields(answer: Any) -> str:
    """Fit for any answer: one line for each field."""
    if isinstance(answer, dict):
        return "".join(
            f"{visible(str(name)).replace('_', ' ')}: {_plain(value)}\n"
            for name, value in answer.items()
        )
    if isinstance(answer, list):
        return "".join(f"{_plain(row)}\n" for row in answer)
    return "" if answer is None else f"{_plain(answer)}\n"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "-"
    if isinstance(value, dict):
        return " ".join(_plain(one) for one in value.values())
    return "-" if value is None else visible(str(value))


def _day(seconds: Any) -> str:
    if not isinstance(seconds, int):
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a friend may claim any date
        return "?"


def _size(value: Any) -> str:
    return human_size(value) if isinstance(value, int) else "-"


def _entries(rows: Any) -> str:
    return table(
        ("ID", "KIND", "SIZE", "MODIFIED", "WHERE"),
        (
            (
                row.get("id") or "-",
                row.get("kind"),
                _size(row.get("size")),
                _day(row.get("modified")),
                _where(row),
            )
            for row in rows
        ),
    )


def _where(row: Any) -> str:
    parts = [row.get("group"), row.get("member"), row.get("share"), row.get("path")]
    text = "/".join(str(part) for part in parts if part)
    others = len(row.get("sources") or ()) - 1
    more = f" (+{others} more)" if others > 0 else ""
    return text + more + ("" if row.get("online") or row.get("own") else " (offline)")


def _new(rows: Any) -> str:
    names = dict.fromkeys(row["search"] for row in rows)
    return "\n".join(
        f"{visible(name)}:\n{_entries([row for row in rows if row['search'] == name])}"
        for name in names
    )


def _searches(rows: Any) -> str:
    return table(
        ("NAME", "WORDS", "ONLY"),
        ((row["name"], " ".join(row["words"]), _filters(row) or "-") for row in rows),
    )


def _filters(row: Any) -> str:
    """Return what narrows a search, nearly as it is typed."""
    shown = {
        **{name: row[name] for name in ("group", "member", "kind")},
        **{name: row[name] and _size(row[name]) for name in ("min_size", "max_size")},
        **{name: row[name] and shown_age(row[name]) for name in ("newer", "older")},
    }
    words = [
        f"{name.replace('_', '-')} {value}" for name, value in shown.items() if value
    ]
    return ", ".join([*words, *(["online"] if row["online"] else [])])


def _jobs(rows: Any) -> str:
    return table(
        ("ID", "STATE", "DONE", "SIZE", "NAME", ""),
        (
            (
                row["id"],
                row["state"],
                _share(row["done_bytes"], row["size"]),
                _size(row["size"]),
                row["name"],
                (row.get("error") and _error(row["error"])) or row.get("path") or "",
            )
            for row in rows
        ),
    )


def _fxp(rows: Any) -> str:
    lines = [_jobs(rows)]
    for row in rows:
        if row["relayed"]:
            lines.append(f"went through this node: {visible(row['relayed'])}\n")
        if row["skipped"]:
            lines.append(f"not copied, being no files: {row['skipped']}\n")
        for failure in row["failures"]:
            path, why = failure["path"], _error(failure["error"])
            lines.append(f"{visible(path)}: {visible(why)}\n")
    return "".join(lines)


def _error(error: Any) -> str:
    return str(error.get("message") if isinstance(error, dict) else error)


def _share(done: Any, size: Any) -> str:
    if not isinstance(size, int) or not isinstance(done, int):
        return "-"
    return f"{done * 100 // size}%" if size else "-"


def _groups(rows: Any) -> str:
    return "".join(
        f"{visible(row['name'])} ({row['role']})\n{_members(row['members'])}"
        for row in rows
    )


def _members(members: Any) -> str:
    return "".join(
        f"  {visible(row['name'])}  {row['id'][:12]}  "
        f"{'online' if row['online'] else 'offline'}\n"
        for row in members
    )


def _requests(rows: Any) -> str:
    return table(
        ("GROUP", "NAME", "ID", "WORDS"),
        (
            (row["group"], row["name"], row["id"], " ".join(row.get("words") or ()))
            for row in rows
        ),
    )


def _shares(rows: Any) -> str:
    return table(
        ("NAME", "PATH", "GROUPS", "FILES", "SIZE"),
        (
            (
                row["name"],
                row["path"],
                ", ".join(row["groups"]) or "-",
                row.get("files", "-"),
                _size(row.get("bytes")),
            )
            for row in rows
        ),
    )


def _status(answer: Any) -> str:
    disk, index, jobs = answer["disk"], answer["index"], answer["jobs"]
    lines = [
        f"node    {visible(answer['node']['name'])}  {answer['node']['id']}",
        f"disk    {_disk_line(disk)}",
        f"broker  {'connected' if answer['broker']['connected'] else 'not connected'}",
        f"index   {index['files']} files, {_size(index['bytes'])}"
        + (", scanning" if index["scanning"] else ""),
        "jobs    " + ", ".join(f"{jobs[state]} {state}" for state in jobs),
    ]
    lines += _share_troubles(index.get("shares", ()))
    for group in answer["groups"]:
        members = group["members"]
        online = sum(1 for member in members if member["online"])
        lines.append(
            f"group   {visible(group['name'])}: {online} of {len(members)} online"
        )
    return "\n".join(lines) + "\n"


def _share_troubles(shares: Any) -> list[str]:
    """A line for each share that has something to tell; `doctor` tells what to do."""
    lines = []
    for share in shares:
        left_out = sum(share["skipped"].values())
        told = [
            share["problem"] or "",
            f"{share['missing']} files missing at once" if share["missing"] else "",
            f"{left_out} not offered" if left_out else "",
        ]
        if any(told):
            words = ", ".join(one for one in told if one)
            lines.append(f"share   {visible(share['name'])}: {visible(words)}")
    return lines


MISSING = ("disk.missing", "disk.wrong")  # else it is there, and something else is up


def _disk_line(disk: Any) -> str:
    problem = disk.get("problem")
    why = f": {visible(str(problem['message']))}" if problem else ""
    if not disk["present"]:
        is_away = not problem or str(problem["code"]) in MISSING
        return f"missing{why}" if is_away else why.removeprefix(": ")
    room = f"{_size(disk['free_bytes'])} free of {_size(disk['total_bytes'])}"
    return f"{room}, not writable{why}" if problem else room


def _disk(answer: Any) -> str:
    return f"{visible(str(answer.get('path', 'disk')))}: {_disk_line(answer)}\n"


def _folders(rows: Any) -> str:
    return table(
        ("FOLDER", ""), ((row["path"], "shared" * row["shared"]) for row in rows)
    )


def _limits(answer: Any) -> str:
    def speed(value: Any, none: str = "no limit") -> str:
        return f"{value} KiB/s" if value else none

    def line(name: str) -> str:
        text = speed(answer[f"{name}_kib_s"])
        if answer["hours"]:
            other = speed(answer[f"other_{name}_kib_s"], "nothing")
            text += f" in the hours {answer['hours']}, {other} at other times"
        now = answer["now"][f"{name}_kib_s"]
        if (now or 0) != answer[f"{name}_kib_s"] or now == 0:
            text += f"; now {speed(now, 'no limit' if now is None else 'nothing')}"
        return text

    return (
        f"upload    {line('upload')}\n"
        f"download  {line('download')}\n"
        f"transfers {answer['transfers']} at once\n"
        f"uploads   {answer['uploads']} at once\n"
        + ("the household uses the line: giving way\n" if answer["gives_way"] else "")
    )


def _doctor(answer: Any) -> str:
    lines = [
        f"{finding['level']:<8}{_finding(finding)}" for finding in answer["findings"]
    ]
    if answer.get("verdict"):
        lines.append(visible(str(answer["verdict"])))
    return "".join(line + "\n" for line in lines)


def _finding(finding: Any) -> str:
    parts = [finding["message"]]
    if finding.get("thing"):
        parts.append(finding["thing"])
    next_step = f"; {finding['next']}" if finding.get("next") else ""
    return visible(": ".join(parts) + next_step)


def _code(answer: Any) -> str:
    return visible(answer["code"]) + "\n"


def _settings(rows: Any) -> str:
    return table(
        ("SETTING", "VALUE"), ((row["name"], _plain(row["value"])) for row in rows)
    )


RENDERERS: dict[str, Callable[[Any], str]] = {
    "status": _status,
    "doctor": _doctor,
    "share ls": _shares,
    "group ls": _groups,
    "group invite": _code,
    "group requests": _requests,
    "ls": _entries,
    "find": _entries,
    "search save": lambda row: _searches([row]),
    "search ls": _searches,
    "search new": _new,
    "get": _jobs,
    "jobs": _jobs,
    "jobs first": _jobs,
    "jobs last": _jobs,
    "jobs pause": _jobs,
    "jobs resume": _jobs,
    "jobs cancel": _jobs,
    "fxp": _fxp,
    "disk": _disk,
    "disk adopt": _disk,
    "disk ls": _folders,
    "limits": _limits,
    "settings": _settings,
}
