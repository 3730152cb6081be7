"""What the resident process leaves out of other people's modules, and of its own.

In force in the service's process to its end: what is loaded on first use is as lean as
the rest. The agent works the same without it and takes 2.5 MB more. Nothing here
changes what a function does. Left out are

- what compact_code.py takes out of what the feed compiled (it does so without -OO), and
  the annotations of its functions, which only type checkers read; ours are compiled
  without either (compiling.py);
- modules that the standard library imports for what we never call (`deferring`);
- methods that dataclasses writes anew for each class (lean_dataclasses.py);
- `typing` (lean_typing.py), the names of OpenSSL's errors outside of TLS, and what is
  not used of libsodium.

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

from fonshare_agent import compact_copies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, TextIO

FunctionType = type(lambda: None)


def import_lean() -> None:
    """Import from now on as lean as this module's text says."""
    _hook_in()
    _import_logging()
    _import_tls()
    _import_sodium()


def import_lean_for_a_command() -> None:
    """The same for the command line: without what most commands never load."""
    _hook_in()
    # argparse would look for translations of its own texts, of which we show none.
    from fonshare_agent.deferring import deferring

    known = {"gettext.gettext": _as_it_is, "gettext.ngettext": _as_counted}
    with deferring("gettext", known=known):
        import argparse  # noqa: F401


def _as_it_is(text: str) -> str:
    return text


def _as_counted(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def _hook_in() -> None:
    hook = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceFileLoader, SOURCE_SUFFIXES),
        (_Compiled, BYTECODE_SUFFIXES),
    )
    # Nothing of the router's Python is in an archive, and from 3.13 on what reads them
    # takes memory of its own. Who asks for `zipimport` still gets it.
    others = [one for one in sys.path_hooks if one.__module__ != "zipimport"]
    sys.path_hooks[:] = [hook, *others]
    sys.modules.pop("zipimport", None)
    sys.path_importer_cache.clear()
    _stand_in_for_typing()
    _import_dataclasses()


def _stand_in_for_typing() -> None:
    from fonshare_agent.deferring import stand_in
    from fonshare_agent.lean_typing import NAMES

    stand_in("typing", NAMES)


def _import_dataclasses() -> None:
    from fonshare_agent.lean_dataclasses import lean_dataclass, run

    import dataclasses  # isort: skip  # by the module above, without `inspect`

    dataclasses.dataclass = lean_dataclass
    vars(dataclasses)["exec"] = run
    # Two functions written for each frozen class, which `lean_dataclass` replaces at
    # once: a seventh of the time that the agent's modules take. By this name up to
    # Python 3.13, which writes all functions of a class in one go.
    if hasattr(dataclasses, "_frozen_get_del_attr"):
        dataclasses._frozen_get_del_attr = lambda *_given: ()


def _import_logging() -> None:
    from fonshare_agent.deferring import deferring, stand_in

    known: dict[str, Any] = {
        "string.Formatter": object,  # logging's styles "{" and "$"
        "string.Template": object,
        "textwrap.indent": _indent,
        "textwrap.dedent": _as_it_is,  # without columns one line is shown, stripped
        "tokenize.open": _open_source,
    }
    with deferring("string", "textwrap", "tokenize", known=known):
        import logging  # noqa: F401
    if sys.version_info >= (3, 13):  # each traceback imports it: the disk may be gone
        stand_in("tokenize", {"open": _open_source})


def _import_tls() -> None:
    """Forget names of errors: OpenSSL's own text is in every message all the same."""
    import _ssl

    if sys.version_info < (3, 12):
        libraries, named = _ssl.lib_codes_to_names, _ssl.err_codes_to_names
    else:
        libraries, named = _tables_inside(_ssl)
    kept = {
        code: name for code, name in named.items() if libraries.get(code[0]) in _NAMED
    }
    named.clear()
    named.update(kept)
    getattr(_ssl, "err_names_to_codes", {}).clear()  # read by nobody


def _tables_inside(module: ModuleType) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the names of libraries and of errors: only the collector shows them."""
    from gc import get_referents

    inside = [one for one in get_referents(module) if isinstance(one, dict)]
    by_key = {type(next(iter(one), None)): one for one in inside}
    return by_key.get(int, {}), by_key.get(tuple, {})


# Of OpenSSL's parts: what can be wrong with a connection or a certificate.
_NAMED = {"SSL", "X509", "PEM"}


def _import_sodium() -> None:
    """Import what we use of nacl.bindings; another name loads all of them."""
    from importlib import import_module

    import nacl

    from fonshare_agent.deferring import stand_in

    bindings = stand_in(
        "nacl.bindings", {"__path__": [f"{one}/bindings" for one in nacl.__path__]}
    )
    vars(nacl)["bindings"] = bindings
    for part in ("crypto_aead", "crypto_scalarmult", "crypto_sign"):
        names = vars(import_module(f"nacl.bindings.{part}"))
        vars(bindings).update(
            (name, names[name]) for name in names if name.startswith("crypto_")
        )
    from nacl.bindings.sodium_core import sodium_init

    sodium_init()


def _indent(text: str, prefix: str, _predicate: object) -> str:
    """As `textwrap.indent`, for every line: what tracebacks are written by."""
    return "".join(prefix + line for line in text.splitlines(keepends=True))


def _open_source(path: str) -> TextIO:
    """As `tokenize.open`, for the lines in tracebacks: ours are UTF-8."""
    return open(path, encoding="utf-8")


class _Compiled(SourcelessFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        code = compact_copies.find(fullname, self.path)
        if code is None:
            from fonshare_agent.compact_code import compacted

            code = compacted(super().get_code(fullname))  # type: ignore[arg-type]
            if compact_copies.is_keeping:
                compact_copies.keep(fullname, self.path, code)
        return code

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
