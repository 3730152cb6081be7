"""`python -m fonshare_agent.compact_copies`: what the feed compiled, compact and kept.

Making code compact (compact_code.py) while it is loaded took a quarter of a start, so
the package keeps the outcome when it is installed: a file for each module that service
and command line load, where Python keeps what was compiled of this package. A copy
counts only while the very file lies there that it was made of, whose size, time and
header, which names the Python, are in front of it; and only whole: power may go before
the disk has all of it, and a damaged one would keep the service from starting.

Imports hardly anything: whatever is loaded before the service's imports are lean would
not be among the copies.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")
HEADER_BYTES = 16  # of a compiled file: Python's magic number, flags, its source
HASH_BYTES = 8  # of a copy's content, by what Python itself has for compiled files
# Beside what a resting agent has loaded: what moves files, what a command prints with.
USED_LATER = ("moving", "agent_commands", "render", "progress", "joining")
_TEXTS, _PYTHON = "texts", sys.version.encode()

is_keeping = False  # whether copies are made
_texts: dict[str, bytes] | None = None  # code by text; None: not read yet


def find(name: str, path: str) -> CodeType | None:
    """Return the compact code of the module *name*, whose compiled file is *path*."""
    code: CodeType | None = _read(name, _origin(path))
    return code


def keep(name: str, path: str, code: CodeType) -> None:
    """Keep the compact *code* of the module *name*; OSError if there is no room."""
    os.makedirs(FOLDER, exist_ok=True)
    _write(name, _origin(path), code)


def compiled(text: str) -> CodeType:
    """Return the code of a *text* of Python, which need not be compiled again."""
    global _texts
    if _texts is None:
        _texts = _read(_TEXTS, _PYTHON) or {}
    code: CodeType
    if not is_keeping and text in _texts:
        code = marshal.loads(_texts[text])
        return code
    code = compile(text, "<string>", "exec")
    if is_keeping:
        from fonshare_agent.compact_code import compacted

        code = compacted(code)
        _texts[text] = marshal.dumps(code)
    return code


def forget_texts() -> None:
    """Give back the memory of those that were not asked for."""
    global _texts
    _texts = {}


def _read(name: str, origin: bytes) -> Any:
    """Return what was written of *origin*, or None if it is another's or not whole."""
    try:
        with open(_place(name), "rb") as file:
            kept = file.read()
    except OSError:  # the package could not keep it, or another Python's is there
        return None
    start = len(origin) + HASH_BYTES
    content = memoryview(kept)[start:]
    if kept[:start] != origin + _imp.source_hash(0, content):
        return None
    return marshal.loads(content)


def _write(name: str, origin: bytes, value: Any) -> None:
    content = marshal.dumps(value)
    with open(_place(name), "wb") as file:
        file.write(origin + _imp.source_hash(0, content) + content)


def _place(name: str) -> str:
    return os.path.join(FOLDER, f"{name}.{sys.implementation.cache_tag}.compact")


def _origin(path: str) -> bytes:
    """What tells one compiled file from another that comes to its place."""
    with open(path, "rb") as file:
        state, header = os.fstat(file.fileno()), file.read(HEADER_BYTES)
    return header + b"%d %d\n" % (state.st_size, state.st_mtime_ns)


def main() -> int:
    """Load what the agent loads, and keep compact what is not ours; the exit status."""
    global is_keeping
    is_keeping = True
    from fonshare_agent.resident import load

    load()
    for name in USED_LATER:
        __import__(f"fonshare_agent.{name}")
    _write(_TEXTS, _PYTHON, _texts)
    return 0


if __name__ == "__main__":
    from fonshare_agent import compact_copies  # the one that the imports ask

    sys.exit(compact_copies.main())
