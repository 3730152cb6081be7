"""dataclasses, with one function where the standard library writes one for each class.

Those are `__repr__` and the two that refuse to change a frozen value. The refusing ones
also keep the first copy of every class that has slots alive: half of all dataclasses.
Calling `__init__`, comparing and hashing are as the standard library has them, since
they must be quick.
"""

from typing import Any, NoReturn

from fonshare_agent.deferring import deferring

# dataclasses writes a signature as the docstring of each class that has none: all,
# under -OO; from Python 3.12 on it asks for a class's own annotations as well. Nothing
# else of `inspect` is used, and it takes half a megabyte.
with deferring(
    "inspect",
    known={
        "inspect.signature": lambda _class: "",
        "inspect.get_annotations": lambda cls: vars(cls).get("__annotations__", {}),
    },
):
    import dataclasses

usual_dataclass = dataclasses.dataclass


def lean_dataclass(cls: Any = None, /, **options: Any) -> Any:
    """As `dataclasses.dataclass`."""

    def made(cls: Any) -> Any:
        own = options
        if options.get("repr", True) and "__repr__" not in vars(cls):
            cls.__repr__ = _shown
            own = options | {"repr": False}
        new: Any = usual_dataclass(cls, **own)
        if options.get("frozen"):
            new.__setattr__ = _refuse_setting
            new.__delattr__ = _refuse_deleting
        if options.get("slots") and "__weakref__" in vars(new):
            del new.__weakref__  # the first class's, which it would keep
        return new

    return made if cls is None else made(cls)


def _shown(self: Any) -> str:
    fields = (one for one in dataclasses.fields(self) if one.repr)
    values = (f"{one.name}={getattr(self, one.name)!r}" for one in fields)
    return f"{type(self).__qualname__}({', '.join(values)})"


def _refuse_setting(_self: Any, name: str, _value: Any) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
