"""`make luci-files`: what luci-app-fonshare holds of the two tables.

    python3 tools/luci_files.py

Writes the list of commands in the rpcd plugin, and the view modules commands.js and
options.js. The texts are literals in `_('…')`, as LuCI's scanner and tools/words.py
want them. A test holds that what is committed is current.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from fonshare_agent.config_docs import ROUTER_OPTIONS, SHIPPED
from fonshare_agent.config_table import LIST_HELP, LISTS, Option, Unset
from fonshare_agent.config_uci import ROW_TYPES, uci_place
from fonshare_agent.config_values import (
    ADDRESS,
    BROKER,
    FOLDERS,
    HOST,
    HOSTS,
    HOURS,
    HOUSES,
    LABEL,
    LOGIN,
    PIN,
    PORT,
    PORT_RANGE,
)
from fonshare_agent.config_values import LABELS as GROUPS
from fonshare_agent.control.commands import AGENT_COMMANDS
from fonshare_agent.web.labels import LABELS, SECTIONS, choices_of, widget_of

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "package" / "luci-app-fonshare"
VIEWS = APP / "htdocs" / "luci-static" / "resources" / "view" / "fonshare"
PLUGIN = APP / "root" / "usr" / "share" / "rpcd" / "ucode" / "fonshare.uc"
HEAD = """\
'use strict';
'require baseclass';

// Generated from {source} by tools/luci_files.py.

return baseclass.extend({{
"""
TAIL = "});\n"
LOOKS_HELP = "What only looks with this switch; with '', without any argument."
GENERATED = re.compile(
    r"(?<=tools/luci_files\.py\.\n).*(?=// End of what is generated\.\n)", re.DOTALL
)

DATATYPES = {
    PORT: "port",
    PORT_RANGE: "portrange",
    ADDRESS: "ipaddr(1)",  # without a mask
    HOST: "host",
    HOSTS: "host",
    # Those of fields.js:
    HOURS: "hours",
    LABEL: "label",
    GROUPS: "label",
    LOGIN: "login",
    FOLDERS: "folder",
    PIN: "pin",
    BROKER: "broker",
    HOUSES: "network",
}
RANGE = re.compile(r"range\((\d+),(\d+)\)\Z")


# --- the commands --------------------------------------------------------------------


def render_access() -> str:
    """Return the lines of the plugin's ACCESS."""
    return "".join(
        f"\t'{command.name}': '{command.access.value}',\n" for command in AGENT_COMMANDS
    )


def render_looks() -> str:
    """Return the lines of the plugin's LOOKS."""
    return "".join(
        f"\t'{command.name}': '{command.looks_with}',\n"
        for command in AGENT_COMMANDS
        if command.looks_with is not None
    )


def render_plugin(text: str) -> str:
    """Return the plugin *text* with the commands of the table."""
    tables = (
        f"const ACCESS = {{\n{render_access()}}};\n\n"
        f"// {LOOKS_HELP}\nconst LOOKS = {{\n{render_looks()}}};\n"
    )
    replaced, count = GENERATED.subn(lambda _: tables, text)
    if count != 1:
        raise SystemExit(f"{PLUGIN}: the place of the commands is not there")
    return replaced


def render_commands() -> str:
    """Return commands.js: by which method of the plugin each command goes."""
    source = "src/fonshare_agent/control/commands.py"
    access, looks = (
        table.replace("\t", "\t\t").removesuffix(",\n")
        for table in (render_access(), render_looks())
    )
    return (
        f"{HEAD.format(source=source)}\taccess: {{\n{access}\n\t}},\n\n"
        f"\t// {LOOKS_HELP}\n\tlooks: {{\n{looks}\n\t}}\n{TAIL}"
    )


# --- the options ---------------------------------------------------------------------


def render_options() -> str:
    """Return options.js: every option of the router, by section, as a form needs it."""
    source = "src/fonshare_agent/config_table.py"
    sections = ",\n".join(_section(*one) for one in _sections())
    return f"{HEAD.format(source=source)}\tsections: [\n{sections}\n\t]\n{TAIL}"


def _sections() -> Iterable[tuple[str, str, list[tuple[str, str, Option]]]]:
    """Yield for each section its type, its help, and its rows: key, name, option."""
    for kind in dict.fromkeys(uci_place(option)[0] for option in ROUTER_OPTIONS):
        yield (
            kind,
            "",
            [
                (option.name, uci_place(option)[1], option)
                for option in ROUTER_OPTIONS
                if uci_place(option)[0] == kind
            ],
        )
    for kind, name in ROW_TYPES.items():
        rows = [(f"{name}.{one.name}", one.name, one) for one in LISTS[name]]
        yield kind, LIST_HELP[name], rows


def _section(kind: str, help: str, rows: list[tuple[str, str, Option]]) -> str:
    fields = [
        f"type: {_quoted(kind)}",
        f"title: {_translated(SECTIONS[kind])}",
        f"help: {_translated(help)}" if help else "help: ''",
        f"isList: {_boolean(kind in ROW_TYPES)}",
    ]
    options = ",\n".join(_option(*row) for row in rows)
    head = "".join(f"\t\t\t{field},\n" for field in fields)
    return f"\t\t{{\n{head}\t\t\toptions: [\n{options}\n\t\t\t]\n\t\t}}"


def _option(key: str, name: str, option: Option) -> str:
    fields = [
        f"name: {_quoted(name)}",
        f"title: {_translated(LABELS[key])}",
        f"help: {_translated(option.help)}",
        f"allowed: {_translated(option.kind.allowed)}",
        f"widget: {_quoted(widget_of(option))}",
        f"isNeeded: {_boolean(option.router is None)}",
    ]
    fields += _default(key, option)
    if datatype := _datatype(option):
        fields.append(f"datatype: {_quoted(datatype)}")
    if widget_of(option) == "choice":
        words = ", ".join(_quoted(word) for word in choices_of(option))
        fields.append(f"choices: [ {words} ]")
    return "\t\t\t\t{ " + ",\n\t\t\t\t  ".join(fields) + " }"


def _datatype(option: Option) -> str:
    """Return what LuCI checks a value by; nothing where only the agent can."""
    if (bounds := RANGE.match(option.kind.uci)) is not None:
        return f"and(uinteger,range({bounds[1]},{bounds[2]}))"
    return DATATYPES.get(option.kind, "")


def _default(key: str, option: Option) -> list[str]:
    """Return the fields that tell the default: a value, or words for none."""
    default = option.router
    if isinstance(default, Unset):
        return [f"placeholder: {_translated(str(default))}"]
    if isinstance(default, tuple):
        return [f"preset: {json.dumps(list(default))}"]
    if default in (None, ""):
        return []
    if key in SHIPPED:  # the file has it always; LuCI must not drop it
        return [f"preset: {_quoted(_text(default))}", "isWritten: true"]
    return [f"preset: {_quoted(_text(default))}"]


def _text(default: object) -> str:
    return str(int(default)) if isinstance(default, bool) else str(default)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _translated(text: str) -> str:
    return f"_({_quoted(text)})"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def rendered() -> dict[Path, str]:
    """Return the files and what they must hold."""
    return {
        PLUGIN: render_plugin(PLUGIN.read_text(encoding="utf-8")),
        VIEWS / "commands.js": render_commands(),
        VIEWS / "options.js": render_options(),
    }


def main() -> int:
    """Write the files; the exit status."""
    for file, text in rendered().items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
