"""dataclasses, with one function where the standard library writes one for each class.

Those are `__repr__`, `__eq__`, `__hash__` and the two that refuse to change a frozen
value. The refusing ones also keep the first copy of every class that has slots alive:
half of all dataclasses. Comparing reads the fields by an `attrgetter` of the class, as
quickly as a function written for it. Calling `__init__` is as the standard library has
it. What a field's type was is forgotten.
"""

from operator import attrgetter
from typing import Any, NoReturn

from fonshare_agent import compact_copies
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


def run(text: str, names: dict[str, Any], local: dict[str, Any]) -> None:
    """As `exec`, for what dataclasses writes: its `__init__` for each class.

    Compiling these texts would take a tenth of a start: the package has done it.
    """
    exec(compact_copies.compiled(text), names, local)


def lean_dataclass(cls: Any = None, /, **options: Any) -> Any:
    """As `dataclasses.dataclass`."""

    def made(cls: Any) -> Any:
        own = dict(options)
        if options.get("repr", True) and "__repr__" not in vars(cls):
            cls.__repr__ = _shown
            own["repr"] = False
        is_compared = _is_compared_as_always(cls, options)
        if is_compared:
            own["eq"] = False
        new: Any = usual_dataclass(cls, **own)
        if is_compared:
            new._compared = _getter([one.name for one in _fields(new) if one.compare])
            new.__eq__ = _equal
            new.__hash__ = _hashed if options.get("frozen") else None
        if options.get("frozen"):
            new.__setattr__ = _refuse_setting
            new.__delattr__ = _refuse_deleting
        if options.get("slots") and "__weakref__" in vars(new):
            del new.__weakref__  # the first class's, which it would keep
        for one in _fields(new):
            one.type = None
        return new

    return made if cls is None else made(cls)


def _is_compared_as_always(cls: Any, options: dict[str, Any]) -> bool:
    if (
        not options.get("eq", True)
        or options.get("order")
        or options.get("unsafe_hash")
    ):
        return False
    return not any(
        name in ("__eq__", "__hash__")
        or (isinstance(value, dataclasses.Field) and value.hash is not None)
        for name, value in vars(cls).items()
    )


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _getter(names: list[str]) -> Any:
    """Return what takes a tuple of these attributes out of a value."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda _value: ()
    one = attrgetter(*names)
    return lambda value: (one(value),)


def _equal(self: Any, other: Any) -> Any:
    kind = type(self)
    if type(other) is not kind:
        return NotImplemented
    return kind._compared(self) == kind._compared(other)


def _hashed(self: Any) -> int:
    return hash(type(self)._compared(self))


def _shown(self: Any) -> str:
    fields = (one for one in dataclasses.fields(self) if one.repr)
    values = (f"{one.name}={getattr(self, one.name)!r}" for one in fields)
    return f"{type(self).__qualname__}({', '.join(values)})"


def _refuse_setting(_self: Any, name: str, _value: Any) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
