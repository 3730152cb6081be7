"""Answers of the agent as tables and texts for people.

Every name that came from elsewhere passes `visible` before it reaches a terminal. Raw
values live in the JSON only.
"""

from collections.abc import Callable
from typing import Any

from fonshare_agent.control.quantities import shown_age
from fonshare_agent.layout import shown_day, shown_size, table, visible
from fonshare_agent.render_shares import share_troubles, shares
from fonshare_agent.words import say, translate


def render(command: str, answer: Any) -> str:
    """Return *answer* of *command* for people, newline included."""
    return RENDERERS.get(command, _fields)(answer)


def _fields(answer: Any) -> str:
    """Fit for any answer: one line for each field."""
    if isinstance(answer, dict):
        return "".join(
            say("{}: {}", _field(str(name)), _plain(value)) + "\n"
            for name, value in answer.items()
        )
    if isinstance(answer, list):
        return "".join(f"{_plain(row)}\n" for row in answer)
    return "" if answer is None else f"{_plain(answer)}\n"


def _field(name: str) -> str:
    return say(visible(name).replace("_", " "))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "-"
    if isinstance(value, dict):
        return " ".join(_plain(one) for one in value.values())
    return "-" if value is None else visible(str(value))


def _entries(rows: Any) -> str:
    is_rated = any(row.get("rating") for row in rows)
    return table(
        ("ID", "KIND", "SIZE", "MODIFIED", *["RATING"] * is_rated, "WHERE"),
        (
            (
                row.get("id") or "-",
                say(row.get("kind") or "-"),
                shown_size(row.get("size")),
                shown_day(row.get("modified")),
                *[_rating(row.get("rating"))] * is_rated,
                _where(row),
            )
            for row in rows
        ),
    )


def _rating(rating: Any) -> str:
    """Return the average, how many have rated, and what the owner thinks."""
    if not rating:
        return "-"
    average = f"{rating['average']:.1f}".replace(".", say("."))
    if rating["own"]:
        return say("{} ({}), yours {}", average, rating["count"], rating["own"])
    return f"{average} ({rating['count']})"


def _where(row: Any) -> str:
    parts = [row.get("group"), row.get("member"), row.get("share"), row.get("path")]
    text = "/".join(str(part) for part in parts if part)
    others = len(row.get("sources") or ()) - 1
    more = say(" (+{} more)", others) if others > 0 else ""
    is_there = row.get("online") or row.get("own")
    return text + more + ("" if is_there else say(" (offline)"))


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
        **{
            name: row[name] and shown_size(row[name])
            for name in ("min_size", "max_size")
        },
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
                say(row["state"]),
                _share(row["done_bytes"], row["size"]),
                shown_size(row["size"]),
                row["name"],
                (row.get("error") and _error(row["error"])) or row.get("path") or "",
            )
            for row in rows
        ),
    )


def _follow_state(state: Any) -> str:
    known = {
        "looking": say("looking"),
        "following": say("following"),
        "full": say("full"),
        "gone": say("gone"),
    }
    return known.get(state, visible(str(state)))


def _follows(rows: Any) -> str:
    return table(
        ("ID", "STATE", "USED", "BUDGET", "WHERE", ""),
        (
            (
                row["id"],
                _follow_state(row["state"]),
                shown_size(row["used_bytes"]),
                shown_size(row["budget"]),
                _followed(row),
                _error(row["error"]) if row["error"] else "",
            )
            for row in rows
        ),
    )


def _followed(row: Any) -> str:
    parts = [row[part] for part in ("group", "member", "share", "path") if row[part]]
    where, kept = "/".join(map(str, parts)), row.get("kept")
    return say("{}, kept as {}", where, kept) if kept else where


def _fxp(rows: Any) -> str:
    lines = [_jobs(rows)]
    for row in rows:
        if row["relayed"]:
            why = visible(translate(row["relayed"]))
            lines.append(say("went through this node: {}", why) + "\n")
        if row["skipped"]:
            lines.append(say("not copied, being no files: {}", row["skipped"]) + "\n")
        for failure in row["failures"]:
            path, why = failure["path"], _error(failure["error"])
            lines.append(say("{}: {}", visible(path), visible(why)) + "\n")
    return "".join(lines)


def _error(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return translate(str(message))


def _share(done: Any, size: Any) -> str:
    if not isinstance(size, int) or not isinstance(done, int):
        return "-"
    return f"{done * 100 // size}%" if size else "-"


def _groups(rows: Any) -> str:
    return "".join(
        f"{visible(row['name'])} ({say(row['role'])})\n{_members(row['members'])}"
        for row in rows
    )


def _members(members: Any) -> str:
    return "".join(
        f"  {visible(row['name'])}  {row['id'][:12]}  {_role(row)}{_presence(row)}\n"
        for row in members
    )


def _role(member: Any) -> str:
    """What sets this one apart from most, if anything does."""
    return "" if member["role"] == "member" else f"{say(member['role'])}, "


def _presence(row: Any) -> str:
    if row["online"]:
        return say("online")
    seen = row.get("last_seen")
    return say("offline, last seen {}", shown_day(seen)) if seen else say("offline")


def _requests(rows: Any) -> str:
    return table(
        ("GROUP", "NAME", "ID", "WORDS"),
        (
            (row["group"], row["name"], row["id"], " ".join(row.get("words") or ()))
            for row in rows
        ),
    )


def _status(answer: Any) -> str:
    disk, index, jobs = answer["disk"], answer["index"], answer["jobs"]
    name = f"{visible(answer['node']['name'])}  {answer['node']['id']}"
    is_connected = answer["broker"]["connected"]
    lines = [
        say("node    {}", name),
        say("disk    {}", _disk_line(disk)),
        say("broker  {}", say("connected") if is_connected else say("not connected")),
        say("index   {} files, {}", index["files"], shown_size(index["bytes"]))
        + (say(", scanning") if index["scanning"] else ""),
        say("jobs    {}", ", ".join(f"{jobs[state]} {say(state)}" for state in jobs)),
    ]
    lines += share_troubles(index.get("shares", ()))
    for group in answer["groups"]:
        members = group["members"]
        online = sum(1 for member in members if member["online"])
        name = visible(group["name"])
        lines.append(say("group   {}: {} of {} online", name, online, len(members)))
    return "\n".join(lines) + "\n"


MISSING = ("disk.missing", "disk.wrong")  # else it is there, and something else is up


def _disk_line(disk: Any) -> str:
    problem = disk.get("problem")
    why = visible(translate(str(problem["message"]))) if problem else ""
    if not disk["present"]:
        is_away = not problem or str(problem["code"]) in MISSING
        if not is_away:
            return why
        return say("missing: {}", why) if why else say("missing")
    room = say(
        "{} free of {}", shown_size(disk["free_bytes"]), shown_size(disk["total_bytes"])
    )
    return say("{}, not writable: {}", room, why) if problem else room


def _disk(answer: Any) -> str:
    path = visible(str(answer.get("path", "disk")))
    return say("{}: {}", path, _disk_line(answer)) + "\n"


def _folders(rows: Any) -> str:
    return table(
        ("FOLDER", ""), ((row["path"], say("shared") * row["shared"]) for row in rows)
    )


def _limits(answer: Any) -> str:
    def speed(value: Any, none: str) -> str:
        return f"{value} KiB/s" if value else none

    def line(name: str) -> str:
        text = speed(answer[f"{name}_kib_s"], say("no limit"))
        if answer["hours"]:
            other = speed(answer[f"other_{name}_kib_s"], say("nothing"))
            hours = answer["hours"]
            text += say(" in the hours {}, {} at other times", hours, other)
        now = answer["now"][f"{name}_kib_s"]
        if (now or 0) != answer[f"{name}_kib_s"] or now == 0:
            none = say("no limit") if now is None else say("nothing")
            text += say("; now {}", speed(now, none))
        return text

    lines = [
        say("upload    {}", line("upload")),
        say("download  {}", line("download")),
        say("transfers {} at once", answer["transfers"]),
        say("uploads   {} at once", answer["uploads"]),
    ]
    if answer["house"]:
        lines.append(say("the limits hold at home, too"))
    if answer["gives_way"]:
        lines.append(say("the household uses the line: giving way"))
    return "".join(one + "\n" for one in lines)


def _doctor(answer: Any) -> str:
    lines = [
        f"{say(finding['level']):<8}{_finding(finding)}"
        for finding in answer["findings"]
    ]
    if answer.get("verdict"):
        lines.append(visible(translate(str(answer["verdict"]))))
    return "".join(line + "\n" for line in lines)


def _finding(finding: Any) -> str:
    text = translate(finding["message"])
    if finding.get("thing") and finding["thing"] not in finding["message"]:
        text = say("{}: {}", text, finding["thing"])
    if finding.get("next"):
        text = say("{}; {}", text, translate(finding["next"]))
    return visible(text)


def _code(answer: Any) -> str:
    return visible(answer["code"]) + "\n"


def _settings(rows: Any) -> str:
    return table(
        ("SETTING", "VALUE"), ((row["name"], _plain(row["value"])) for row in rows)
    )


RENDERERS: dict[str, Callable[[Any], str]] = {
    "status": _status,
    "doctor": _doctor,
    **dict.fromkeys(("share ls", "share refresh", "share password"), shares),
    "group ls": _groups,
    "group invite": _code,
    "group requests": _requests,
    "ls": _entries,
    "find": _entries,
    "search save": lambda row: _searches([row]),
    "search ls": _searches,
    "search new": _new,
    "follow": _follows,
    "follow ls": _follows,
    "keep": _follows,
    "rate": _entries,
    "rate ls": _entries,
    "get": _jobs,
    "jobs": _jobs,
    "jobs first": _jobs,
    "jobs last": _jobs,
    "jobs pause": _jobs,
    "jobs resume": _jobs,
    "jobs cancel": _jobs,
    "jobs rm": _jobs,
    **dict.fromkeys(("fxp", "fxp start", "fxp ls", "fxp stop", "fxp rm"), _fxp),
    "disk": _disk,
    "disk adopt": _disk,
    "disk ls": _folders,
    "limits": _limits,
    "settings": _settings,
}
