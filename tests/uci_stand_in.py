"""A stand-in for OpenWrt's `uci` command: what links/uci.py uses of it, no more.

The writer's tests run with it, and with the real one where there is one, so it cannot
drift from that: add, set, add_list, delete, commit, and batch, which as the real one
ends with 0 whatever happened.
"""

import re
import shlex
import sys
from pathlib import Path

from fonshare_agent.config_uci import Section, parse_uci, quote_uci


def render(sections: list[Section]) -> str:
    lines: list[str] = []
    for section in sections:
        name = f" {quote_uci(section.name)}" if section.name else ""
        lines.append(f"\nconfig {section.type}{name}")
        for option, value in section.options.items():
            if isinstance(value, list):
                lines += [f"\tlist {option} {quote_uci(item)}" for item in value]
            else:
                lines.append(f"\toption {option} {quote_uci(value)}")
    return "\n".join(lines) + "\n"


class Uci:
    """One run: the package as staged, else as committed."""

    def __init__(self, folder: Path, staged: Path) -> None:
        self.folder, self.staged = folder, staged

    def load(self, package: str) -> list[Section]:
        path = self.staged / package
        if not path.exists():
            path = self.folder / package
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return parse_uci(file.read())

    def save(self, folder: Path, package: str, sections: list[Section]) -> None:
        text = render(sections).encode("utf-8", "surrogateescape")
        (folder / package).write_bytes(text)

    def find(self, sections: list[Section], name: str) -> Section:
        if match := re.fullmatch(r"@(\w+)\[(-?\d+)\]", name):
            return [s for s in sections if s.type == match[1]][int(match[2])]
        # The real one makes up names for anonymous sections; here it is their place.
        if match := re.fullmatch(r"cfg(\d+)", name):
            return sections[int(match[1])]
        return next(section for section in sections if section.name == name)

    def add(self, package: str, kind: str) -> None:
        sections = self.load(package)
        sections.append(Section(kind, None, 0))
        self.save(self.staged, package, sections)
        print(f"cfg{len(sections) - 1}")

    def set(self, assignment: str) -> None:
        place, _, value = assignment.partition("=")
        package, name, *option = place.split(".")
        sections = self.load(package)
        if option:
            self.find(sections, name).options[option[0]] = value
        elif not any(section.name == name for section in sections):
            sections.append(Section(value, name, 0))
        self.save(self.staged, package, sections)

    def add_list(self, assignment: str) -> None:
        place, _, value = assignment.partition("=")
        package, name, option = place.split(".")
        sections = self.load(package)
        known = self.find(sections, name).options.setdefault(option, [])
        assert isinstance(known, list)
        known.append(value)
        self.save(self.staged, package, sections)

    def delete(self, place: str) -> None:
        package, name = place.split(".")
        sections = self.load(package)
        sections.remove(self.find(sections, name))
        self.save(self.staged, package, sections)

    def commit(self, package: str) -> None:
        if (self.staged / package).exists():
            self.save(self.folder, package, self.load(package))
            (self.staged / package).unlink()

    def batch(self) -> None:
        for line in sys.stdin:
            command, *arguments = shlex.split(line)
            try:
                getattr(self, command)(*arguments)
            except (LookupError, OSError, StopIteration) as error:
                print("uci:", error, file=sys.stderr)


def main(arguments: list[str]) -> int:
    assert [arguments[0], arguments[2]] == ["-c", "-t"]
    uci = Uci(Path(arguments[1]), Path(arguments[3]))
    try:
        getattr(uci, arguments[4])(*arguments[5:])
    except (LookupError, OSError, StopIteration) as error:
        print("uci:", error, file=sys.stderr)
        return 1
    return 0
