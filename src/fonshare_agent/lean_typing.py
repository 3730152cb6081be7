"""What stands for `typing` in the resident process: only type checkers need the rest.

The module itself takes 0.26 of the 10 megabytes of anonymous memory that an idle node
may have. Here are the names that our modules and the libraries use while they are
imported; whoever asks for another name loads the module itself (deferring.py).
"""

from __future__ import annotations

import collections
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Kind:
    """Stands for any type: may be subscribed, joined by `|`, and inherited from."""

    __slots__ = ()

    def __class_getitem__(cls, _of: object) -> type:
        return cls


class _ClassVar(_Kind):
    """By this very object dataclasses tells a field from a value of the class."""


class ParamSpec(_Kind):
    """collections.abc.Callable knows it by its name and module."""

    __module__ = "typing"

    def __init__(self, _name: str) -> None:
        self.args = self.kwargs = _Kind


class _NewType:
    """A function that returns what it is given, and that `|` takes as it does types."""

    __slots__ = ()

    def __init__(self, _name: str, _of: object) -> None:
        pass

    def __call__(self, value: Any) -> Any:
        return value

    def __or__(self, _other: object) -> type:
        return _Kind

    __ror__ = __or__


class _NamedMeta(type):
    def __new__(cls, name: str, bases: Any, names: dict[str, Any], **_: Any) -> type:
        if not bases:
            return super().__new__(cls, name, bases, names)
        fields = names.pop("__annotations__", {})
        defaults = [names.pop(one) for one in fields if one in names]
        options = {"defaults": defaults, "module": names["__module__"]}
        made: type = collections.namedtuple(name, fields, **options)  # type: ignore
        for attribute, value in names.items():
            if attribute not in ("__module__", "__qualname__", "__doc__"):
                setattr(made, attribute, value)
        return made


class _Named(metaclass=_NamedMeta):
    """What inherits from it becomes a named tuple instead."""


class _TypedDict(dict):  # type: ignore[type-arg]
    def __init_subclass__(cls, **_: Any) -> None:
        """Take `total` and the like."""


def _one_kind(*_: Any, **__: Any) -> type:
    return _Kind


def _value(_kind: object, value: Any) -> Any:
    return value


def _itself(function: Any) -> Any:
    return function


_KINDS = "Any Callable Final Generic IO Literal NoReturn Optional Protocol Self"
_KINDS += " SupportsBytes TextIO Tuple Type TypeAlias Union"

# By the names that `typing` has for them.
NAMES: dict[str, Any] = {
    **dict.fromkeys(_KINDS.split(), _Kind),
    "TYPE_CHECKING": False,
    "ClassVar": _ClassVar,
    "NamedTuple": _Named,
    "NewType": _NewType,
    "ParamSpec": ParamSpec,
    "TypeVar": _one_kind,
    "TypedDict": _TypedDict,
    "_GenericAlias": _Kind,  # dataclasses asks whether something is one: nothing is
    "cast": _value,
    "overload": _itself,
}
if sys.version_info >= (3, 14):  # a class does not have its annotations at hand then
    del NAMES["NamedTuple"]
