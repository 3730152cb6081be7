"""Who may import whom: two tables are the architecture that docs/architecture.md tells.

Read from the source by `ast`, so imports inside functions count as well.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "fonshare_agent"

# Which part a module of the top level belongs to; a folder is a part by itself.
PARTS = {
    "words": (
        "addresses authorities errors model clock deferring libc loading processes"
        " own_folder spare_memory spawning storable"
    ),
    "core": "core services on_demand",
    "settings": (
        "settings passwords config config_changes config_check config_docs "
        "config_rules config_servers config_shown config_table config_uci "
        "config_values config_yaml"
    ),
    "storage": "disk disk_folders disk_marker room_watch mounts nodekeys memberships "
    "backup backup_contents",
    "writing": "settings_writer",  # settings that commands change
    "group": (
        "announcing asking channel groups invite_sessions invites invites_on_demand "
        "last_seen leave_notices listening published routing sealing"
    ),
    "sharing": "sharing catching_up",
    "jobs": (
        "attempts bringing bundles copies copy_fetching detours downloads fetching "
        "gathering granting granting_bundles holdings household job_adding "
        "job_history job_order manners parts pauses reasons receiving relaying "
        "relaying_on_demand serving sources streaming streaming_on_demand "
        "trying_back watch ways"
    ),
    "reach": "port_mapping reach",
    "control": "doctor doctor_reach doctor_storage",  # beside the folder of that name
    "tree": "friends_tree friends_reading",
    "wiring": (
        "agent node ground group_side social_side transfer_side door_options moving "
        "upkeep"
    ),
    "program": (  # the command line, which runs without an agent's modules
        "__main__ resident lean_imports lean_dataclasses lean_typing compact_code "
        "compact_copies compiling cli command_line agent_commands local_commands "
        "first_use help_texts broker_setup router_access router_disks router_form "
        "router_setup completion terminal render render_shares progress joining "
        "fxp_command server_passwords layout words"
    ),
}

# What each part may import, besides itself and `words`. "part.module" opens one module.
ALLOWED = {
    "words": "",
    "core": "",
    "protocol": "",  # pure: see PURE below
    "settings": "",
    "storage": "protocol settings",
    "ftp": "protocol.parts storage.mounts",  # how blocks are named, what kernels say
    "index": "protocol storage.disk storage.mounts",
    "transfer": "core protocol storage.disk",
    "links": "core protocol settings",
    "writing": "links.uci settings",
    "sharing": "core index protocol",
    "group": (
        "core index links protocol settings storage writing sharing jobs control.rows "
        "social.ratings_on_demand"
    ),
    "jobs": (
        "core index protocol storage settings.settings transfer ftp.tickets "
        "links.backoff links.netinfo links.way_out group.published group.asking "
        "control.rows control.views"
    ),
    "tree": "core ftp group index jobs storage.disk",
    "mirror": "core protocol settings.settings storage transfer",
    "social": "core index protocol storage.disk transfer.disk_errors",
    "reach": "core links.mapped links.mapping links.netinfo settings.settings",
    "control": (
        "core index links protocol storage settings writing group jobs reach mirror "
        "social transfer.fxp_tls transfer.fxp_url"
    ),
    "web": "control.arguments control.client control.commands control.rows settings "
    "storage.backup storage.mounts program.first_use program.router_disks "
    "program.words",
    "program": (
        "control settings links.uci links.broker_url wiring.agent storage.backup "
        "storage.disk storage.mounts protocol.certificate transfer.fxp "
        "transfer.fxp_file transfer.fxp_server transfer.fxp_told transfer.fxp_url "
        "web.command"
    ),
    "wiring": (
        "core protocol settings storage ftp index transfer links writing sharing "
        "group jobs reach control tree mirror social"
    ),
}

# Pairs that must never meet, though their parts may: (importer, imported) by prefix.
STRANGERS = (
    ("sharing", "downloads"),  # the two deciders do not know each other
    ("downloads", "sharing"),
    ("catching_up", "downloads"),
    ("copy_fetching", "catching_up"),
    ("control", "agent"),
    ("control", "node"),
)

# All that protocol/ may use of others: nothing that does I/O, tells time or draws lots.
PURE = {
    *("abc", "base64", "binascii", "collections", "dataclasses", "enum", "functools"),
    *("hashlib", "hmac", "ipaddress", "itertools", "json", "re", "struct", "types"),
    *("typing", "unicodedata", "zlib", "nacl"),
}

# Libraries of others, each with the one place that may import it.
HOMES = {
    "paho": "links/paho_session.py",
    "pyftpdlib": "ftp/loop.py",
    "asyncore": "ftp/loop.py",
    "asynchat": "ftp/loop.py",
    "sqlite3": "index/ mirror/known.py",
    "nacl": "protocol/ backup.py lean_imports.py",
    "_cffi_backend": "libc.py",
    "waitress": "web/listener.py web/bodies.py",
    "segno": "web/pictures.py",
    "yaml": "config_yaml.py config_changes.py first_use.py web/yaml_edits.py",
}
# 4 to 6 MB each, or a second TLS: not on a router with 64 MB (DESIGN section 3).
BANNED = {"asyncio", "requests", "cryptography", "OpenSSL", "http", "uuid"}
# Only where a YAML file is read or written: the router's settings are UCI.
ONLY_IN_FUNCTIONS = {"yaml"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the agent by its path below the package."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name != "__init__.py" or file.stat().st_size:
            found[str(file.relative_to(SOURCE))] = ast.parse(file.read_bytes())
    return found


@cache
def imports(tree: ast.AST) -> tuple[str, ...]:
    """The full names of the modules that *tree* imports."""
    return tuple(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            name = str(node.module)
            for alias in node.names:
                whole = f"{name}.{alias.name}"
                yield whole if is_module(whole) else name


@cache
def is_module(name: str) -> bool:
    place = SOURCE.parent / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or place.is_dir()


def ours(path: str) -> Iterator[str]:
    """What the module at *path* imports of the package, without the package's name."""
    for name in imports(modules()[path]):
        if name.startswith("fonshare_agent."):
            yield name.removeprefix("fonshare_agent.")


@cache
def part_of(name: str) -> str:
    """Return the part of a module named as in `ours`, or by its path."""
    first = name.removesuffix(".py").replace("/", ".").split(".")[0]
    if (SOURCE / first).is_dir():
        return first
    found = [part for part, names in PARTS.items() if first in names.split()]
    assert len(found) == 1, f"{first} belongs to no part: add it to PARTS"
    return found[0]


def as_member(name: str) -> str:
    """Return "part.module" of a module named as in `ours`."""
    return name if (SOURCE / name.split(".")[0]).is_dir() else f"{part_of(name)}.{name}"


def test_imports_go_one_way():
    wrong = []
    for path in modules():
        own = part_of(path) if path != "__init__.py" else "words"
        allowed = {own, "words", *ALLOWED[own].split()}
        wrong += [
            f"{path} ({own}) must not import {name}"
            for name in ours(path)
            if part_of(name) not in allowed and as_member(name) not in allowed
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_strangers_stay_strangers(one, other):
    for path in modules():
        if path.removesuffix(".py").split("/")[0] == one:
            met = [n for n in ours(path) if n == other or n.startswith(other + ".")]
            assert not met, f"{path} must not import {met}"


def test_the_allowed_imports_have_no_circle():
    """Parts form layers, but for the few modules that are opened one by one."""
    whole = {
        part: {name for name in names.split() if "." not in name}
        for part, names in ALLOWED.items()
    }
    done: set[str] = set()
    while rest := [part for part in whole if part not in done]:
        free = [part for part in rest if whole[part] <= done]
        assert free, f"these parts go round in a circle: {', '.join(rest)}"
        done.update(free)


def foreign(tree: ast.AST) -> set[str]:
    """Return the top-level names of what *tree* imports of others."""
    return {name.split(".")[0] for name in imports(tree)} - {"fonshare_agent"}


def test_the_protocol_does_no_io():
    for path, tree in modules().items():
        if not path.startswith("protocol/"):
            continue
        assert foreign(tree) <= PURE, path
        nodes = list(ast.walk(tree))
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        assert not used & {"open", "print", "input", "randombytes", "random"}, path


def test_each_library_has_its_place():
    known = sys.stdlib_module_names | HOMES.keys()
    for path, tree in modules().items():
        used = foreign(tree)
        assert used <= known, path
        assert not used & BANNED, path
        for library in used & HOMES.keys():
            homes = tuple(HOMES[library].split())
            assert path.startswith(homes), f"{path} must not import {library}"


def test_what_the_router_must_not_load_is_imported_where_it_is_used():
    for path, tree in modules().items():
        inside = {
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and node not in inside:
                assert not foreign(node) & ONLY_IN_FUNCTIONS, f"{path}:{node.lineno}"
