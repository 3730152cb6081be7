"""What the resident process leaves out of other people's modules, and of its own.

In force while the agent is imported, for the service only; the agent works the same
without it and takes 2 MB more. Nothing here changes what a function does. Left out are

- what compact_code.py takes out of what the feed compiled (it does so without -OO), and
  the annotations of all functions, which only type checkers read;
- modules that the standard library imports for what we never call (`deferring`);
- methods that dataclasses writes anew for each class (lean_dataclasses.py).

Knows no part of the agent, and imports hardly anything before it is in force.
"""

from __future__ import annotations

import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from fonshare_agent.compact_code import compacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, TextIO

FunctionType = type(lambda: None)


class LeanImports:
    """A block in which imports are as the module's text says."""

    def __enter__(self) -> None:
        self._hook = FileFinder.path_hook(
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (_Source, SOURCE_SUFFIXES),
            (_Compiled, BYTECODE_SUFFIXES),
        )
        sys.path_hooks.insert(0, self._hook)
        sys.path_importer_cache.clear()
        from fonshare_agent.lean_dataclasses import lean_dataclass

        import dataclasses  # isort: skip  # by the module above, without `inspect`

        dataclasses.dataclass = lean_dataclass
        _import_lean()

    def __exit__(self, *_: object) -> None:
        import dataclasses

        from fonshare_agent.lean_dataclasses import usual_dataclass

        dataclasses.dataclass = usual_dataclass
        sys.path_hooks.remove(self._hook)
        sys.path_importer_cache.clear()


def _import_lean() -> None:
    """Import what brings modules that are never used here, or hardly."""
    from fonshare_agent.deferring import deferring

    known: dict[str, Any] = {"string.Formatter": object, "string.Template": object}
    names = ["string"]  # logging's styles "{" and "$"
    if sys.version_info < (3, 13):  # then they are used for more
        names += ["textwrap", "tokenize"]
        known |= {"textwrap.indent": _indent, "tokenize.open": _open_source}
    with deferring(*names, known=known):
        import logging  # noqa: F401
    with deferring(called=_SODIUM_UNUSED):
        import nacl.bindings  # noqa: F401


# Generic hashes alone make Python compile the name of a type, which takes 130 KiB.
_SODIUM_UNUSED = tuple(
    f"nacl.bindings.crypto_{name}"
    for name in (
        *("box", "core", "generichash", "hash", "kx", "pwhash", "secretbox"),
        *("secretstream", "shorthash"),
    )
)


def _indent(text: str, prefix: str, _predicate: object) -> str:
    """As `textwrap.indent`, for every line: what tracebacks are written by."""
    return "".join(prefix + line for line in text.splitlines(keepends=True))


def _open_source(path: str) -> TextIO:
    """As `tokenize.open`, for the lines in tracebacks: ours are UTF-8."""
    return open(path, encoding="utf-8")


class _Source(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _forget_notes(module)


class _Compiled(SourcelessFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        return compacted(super().get_code(fullname))  # type: ignore[arg-type]

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _forget_notes(module)


def _forget_notes(module: ModuleType) -> None:
    """Drop what the functions and classes of *module* say about themselves."""
    module.__doc__ = None
    _forget_below(vars(module), module.__name__, 0)


def _forget_below(names: Any, module: str, depth: int) -> None:
    for value in list(names.values()):
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if isinstance(value, property):
            _forget_below({1: value.fget, 2: value.fset}, module, depth)
        elif isinstance(value, FunctionType) and value.__module__ == module:
            value.__annotations__ = None  # type: ignore[assignment]
        elif isinstance(value, type) and depth < 3 and value.__module__ == module:
            _forget_below(vars(value), module, depth + 1)
