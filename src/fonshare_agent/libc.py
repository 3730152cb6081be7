"""The few calls of the C library that Python's os has not (decision 0045).

By the backend of cffi, which PyNaCl has in memory anyway: ctypes would take 0.3 MB
more. Any thread.
"""

import os
from collections.abc import Callable
from functools import cache

import _cffi_backend as cffi

# the kinds of arguments
INT, TEXT, MASK, LONG = "int", "char *", "uint32_t", "int64_t"


class MissingCall(Exception):
    """This C library has no such call."""


@cache
def libc_call(name: str, *kinds: str) -> Callable[..., int]:
    """Return a call that takes arguments of *kinds* and raises OSError below zero.

    Texts are bytes that end at the first NUL. Raises MissingCall.
    """
    kind_of = {one: cffi.new_primitive_type(one) for one in (INT, MASK, LONG)}
    kind_of[TEXT] = cffi.new_pointer_type(cffi.new_primitive_type("char"))
    shape = cffi.new_function_type(tuple(map(kind_of.get, kinds)), kind_of[INT])
    try:
        function = cffi.load_library(None, 0).load_function(shape, name)
    except AttributeError:
        raise MissingCall(name) from None

    def call(*arguments: int | bytes) -> int:
        result = int(function(*arguments))
        if result < 0:
            number = cffi.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    return call
