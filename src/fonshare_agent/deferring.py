"""Imports put off until something is used: libraries import more than they need here.

paho brings an HTTP client, pyftpdlib colours and compressors, dataclasses a reader of
source code: together 3 of the 64 megabytes that a router has.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


@contextmanager
def deferring(
    *names: str,
    known: Mapping[str, Any] | None = None,
    called: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
) -> Iterator[None]:
    """Let who imports *names* in the block get modules that load when they are used.

    *known* ("module.attribute") is used without loading. All that is taken from the
    modules *called* is taken for functions; each loads its module when it is called
    (`from module import function` would load the others at once). Importing one of
    *missing* raises ImportError, for libraries that try. What is imported already stays
    as it is; after the block everything is imported as always.
    """
    found: dict[str, ModuleType | None] = {name: _Deferred(name) for name in names}
    found |= {name: _Called(name) for name in called}
    for place, value in (known or {}).items():
        name, _, attribute = place.rpartition(".")
        vars(found[name])[attribute] = value
    found.update(dict.fromkeys(missing))
    added = {name: one for name, one in found.items() if name not in sys.modules}
    sys.modules.update(added)  # type: ignore[arg-type]  # None is what Python expects
    try:
        yield
    finally:
        for name, one in added.items():
            if name in sys.modules and sys.modules[name] is one:
                del sys.modules[name]


def stand_in(name: str, known: Mapping[str, Any]) -> ModuleType:
    """Let a module be what is *known* of it, for good; another name loads it whole."""
    module = _Deferred(name)
    vars(module).update(known)
    sys.modules[name] = module
    return module


class _Deferred(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        if attribute == "__path__":  # `from` asks whether it is a package
            raise AttributeError(f"{name} is not here yet")
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)


class _Called(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__path__":
            raise AttributeError(f"{self.__name__} is not here yet")
        return partial(_call, self.__name__, attribute)


def _call(module: str, function: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(importlib.import_module(module), function)(*args, **kwargs)
