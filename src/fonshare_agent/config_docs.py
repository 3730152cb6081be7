"""What is generated from the table of settings; run as a program it writes the files.

    python -m fonshare_agent.config_docs [docs/settings.md files/etc/config/fonshare]

docs/settings.md, the commented UCI file that the package ships, and the datatypes of
the init script's `uci_load_validate`. A test holds that what is committed is current.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from fonshare_agent.config_table import (
    LIST_HELP,
    LISTS,
    OPTIONS,
    SHARE_OPTIONS,
    USER_OPTIONS,
    Option,
    Unset,
)
from fonshare_agent.config_uci import ROW_TYPES, quote_uci, uci_place
from fonshare_agent.config_values import Kind

HEAD = """\
# Settings

Generated from `src/fonshare_agent/config_table.py` by
`python -m fonshare_agent.config_docs`; edit the table, not this page.

Off the router the settings are a YAML file: the one given with `-c`, else
`./fonshare.yaml`, else `~/.config/fonshare/fonshare.yaml`. On the router they are the
UCI file `/etc/config/fonshare`. A file whose name ends in `.yaml` or `.yml` is read as
YAML, any other as UCI. All that is wrong is told at once, one line an option.

```yaml
node:   {name: alice}
disk:   ./disk
ftp:
  guest_folders: [films]
  users:
    - {name: owner, password: secret, access: write}
    - {name: guest, password: "", access: read}
mqtt:   {broker: "mqtts://alice:secret@broker.example.org"}
shares:
  - {name: Films, path: films, groups: [Famille]}
```

## Rules

- Relative paths are relative to the settings file; those of shares, `downloads` and
  `ftp.guest_folders` to the disk.
- `state`, `keys`, `index` and `run` lie outside the disk or in `.fonshare` on it; the
  path of `control.sock` in `run` has at most 100 bytes.
- A share, `downloads` and a guest folder lie on the disk, and never in `.fonshare`. A
  share that is `/`, lies in the router's flash, or holds the agent's own folders is
  refused.
- The two doors have different ports, and ranges that neither overlap nor hold a door.
- A password may be given in clear: only its scrypt hash is kept in memory. On the
  router it is then replaced in the settings; elsewhere no command rewrites your file,
  so the clear text stands there until you set a password in the page of `fonshare web`,
  which writes its hash, or put the hash there yourself, as `fonshare setup -c
  NEW.yaml` writes it into a new file.
- In YAML a word such as `on`, `no` or `012` is text; numbers are plain decimals without
  quotes. Anchors, tags and doubled keys are refused.
- An option that does not exist is refused off the router; on it, where another version
  may have written it, it is not used, and `fonshare doctor` names it.
- Commands such as `fonshare share add` and `fonshare limits` change the UCI file on the
  router. Elsewhere they write `shares.yaml` in the state folder, which is merged: its
  shares are added, its limits and passwords count before yours.

## Options

"UCI" names section and option in `/etc/config/fonshare`.
"""


def render_settings_markdown() -> str:
    """Return docs/settings.md."""
    parts = [HEAD]
    for option in OPTIONS:
        section, name = uci_place(option)
        where = (
            f"`{section}.{name}`" if option in ROUTER_OPTIONS else "not on the router"
        )
        parts.append(_entry(option, option.name, where))
    for list_name, options in LISTS.items():
        section = next(kind for kind, row in ROW_TYPES.items() if row == list_name)
        parts.append(f"\n## {list_name}\n\n{LIST_HELP[list_name]}\n")
        parts.append(f"In UCI each is an anonymous section `config {section}`.\n")
        for option in options:
            where = f"`{option.name}` of a section `{section}`"
            parts.append(_entry(option, f"{list_name}[].{option.name}", where))
    return "".join(parts)


def _entry(option: Option, title: str, where: str) -> str:
    default = _shown(option.default)
    router = _shown(option.router)
    if router != default:
        default = f"{default}; on the router {router}"
    return (
        f"\n### {title}\n\n{option.help}\n\n"
        f"- Allowed: {option.kind.allowed}\n- Default: {default}\n- UCI: {where}\n"
    )


def _shown(default: object) -> str:
    if default is None:
        return "none, it must be given"
    if isinstance(default, Unset):
        return str(default)
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default) or "empty"
    return f"`{_uci(default)}`" if default != "" else "empty"


def _uci(default: object) -> str:
    if isinstance(default, bool):
        return str(int(default))
    return str(default)


# --- the router's file ---------------------------------------------------------------

EXAMPLES = {
    "node.name": "alice",
    "node.public_name": "alice.example.org",
    "disk": "/mnt/sda1",
    "state": "/mnt/sda1/.fonshare",
    "index": "/mnt/sda1/.fonshare",
    "ftp.friends_port": "2122",
    "ftp.guest_folders": "films",
    "ftp.certificate": "/etc/uhttpd.crt",
    "ftp.certificate_key": "/etc/uhttpd.key",
    "mqtt.broker": "mqtts://user:password@broker.example.org",
    "mqtt.ca": "/etc/ssl/certs/broker.pem",
    "mqtt.pin": "0123456789abcdef" * 4,
    "user.name": "owner",
    "user.password": "secret",
    "user.access": "write",
    "share.name": "Films",
    "share.path": "films",
    "share.groups": "Famille",
    "share.mirror_of": "ftps://me@old.example.org/films",
    "share.mirror_pin": "0123456789abcdef" * 4,
    "share.mirror_ca": "/etc/ssl/certs/old.pem",
}
# `fonshare web` is for elsewhere: on the router LuCI's own server shows the page.
ROUTER_OPTIONS = tuple(o for o in OPTIONS if not o.name.startswith("web."))
SHIPPED = {"node.enabled"}  # given, not commented: LuCI's switch and init script's test


def render_uci_file() -> str:
    """Return /etc/config/fonshare as shipped: every option commented, not enabled."""
    lines = [
        "# The settings of FonShare. Every option stands here with its default, or",
        "# with an example where it has none; docs/settings.md says more.",
    ]
    section = ""
    for option in sorted(ROUTER_OPTIONS, key=_section_order):
        here, name = uci_place(option)
        if here != section:
            lines += ["", f"config {here} {quote_uci(here)}"]
            section = here
        lines += _uci_lines(option, option.name, name)
    for section, options in (("user", USER_OPTIONS), ("share", SHARE_OPTIONS)):
        lines += ["", f"#config {section}"]
        for option in options:
            lines += _uci_lines(option, f"{section}.{option.name}", option.name)
    return "\n".join(lines) + "\n"


def _section_order(option: Option) -> int:
    return uci_sections().index(uci_place(option)[0])


def _uci_lines(option: Option, key: str, name: str) -> Iterable[str]:
    yield f"\t# {option.help}"
    mark = "" if key in SHIPPED else "#"
    if option.kind.is_list:
        given = option.router if isinstance(option.router, tuple) else ()
        for value in given or (EXAMPLES[key],):
            yield f"\t{mark}list {name} {quote_uci(str(value))}"
        return
    has_default = option.router not in (None, "") and not isinstance(
        option.router, Unset
    )
    value = _uci(option.router) if has_default else EXAMPLES[key]
    yield f"\t{mark}option {name} {quote_uci(value)}"


# --- the init script -----------------------------------------------------------------


def render_validation(section: str) -> list[str]:
    """Return the words that follow `uci_load_validate fonshare SECTION NAME CALLBACK`.

    The agent checks everything itself and better; these only keep procd from starting
    it on a file that is plainly broken, and let `service fonshare` name the option.
    """
    if section in ROW_TYPES:
        return [
            _validation(o.name, o.kind, o.router) for o in LISTS[ROW_TYPES[section]]
        ]
    return [
        _validation(uci_place(option)[1], option.kind, option.router)
        for option in ROUTER_OPTIONS
        if uci_place(option)[0] == section
    ]


def _validation(name: str, kind: Kind, default: object) -> str:
    if default in (None, "", "::") or isinstance(default, (Unset, tuple)):
        return f"{name}:{kind.uci}"
    return f"{name}:{kind.uci}:{_uci(default)}"


def uci_sections() -> list[str]:
    """Return the types of the sections of /etc/config/fonshare, in its order."""
    return [*dict.fromkeys(uci_place(o)[0] for o in ROUTER_OPTIONS), *ROW_TYPES]


def main(arguments: list[str]) -> None:
    """Write the two files; *arguments* are their paths, or none for the usual ones."""
    usual = ["docs/settings.md", "files/etc/config/fonshare"]
    page, uci_file = arguments or usual
    for path, text in (
        (page, render_settings_markdown()),
        (uci_file, render_uci_file()),
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
