"""Brings the validation lines of files/etc/init.d/fonshare up to date with the table.

    python tools/init_script.py            # writes the script's part between the marks

The options and their datatypes are declared once, in config_table.py. A test holds that
the committed script is current (tests/test_package.py).
"""

import sys
from pathlib import Path

from fonshare_agent.config_docs import render_validation, uci_sections

SCRIPT = Path(__file__).resolve().parent.parent / "files/etc/init.d/fonshare"
BEGIN = "# --- made by tools/init_script.py from the table of settings\n"
END = "# --- end of what is made\n"


def render() -> str:
    """Return one shell function for each type of section."""
    return "\n".join(_function(section) for section in uci_sections())


def _function(section: str) -> str:
    lines = [f'\t\t"{_quoted(word)}"' for word in render_validation(section)]
    head = f'\tuci_load_validate fonshare {section} "$1" "$2"'
    body = " \\\n".join([head, *lines])
    return f"validate_{section}() {{\n{body}\n}}\n"


def _quoted(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")


def updated(script: str) -> str:
    """Return *script* with the part between the marks as it should be."""
    before, rest = script.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + render() + END + after


if __name__ == "__main__":
    SCRIPT.write_text(updated(SCRIPT.read_text()))
    sys.exit(0)
