"""Calls of the C library that Python's os has not."""

import errno
import os

import pytest

from fonshare_agent.libc import INT, MASK, TEXT, MissingCall, libc_call


def test_a_call_takes_numbers_and_texts_and_returns_what_the_library_does(tmp_path):
    file = libc_call("inotify_init1", INT)(os.O_CLOEXEC)
    try:
        watch = libc_call("inotify_add_watch", INT, TEXT, MASK)
        assert watch(file, os.fsencode(tmp_path), 0x01000100) > 0
    finally:
        os.close(file)


def test_what_it_refuses_is_an_error_with_its_number(tmp_path):
    watch = libc_call("inotify_add_watch", INT, TEXT, MASK)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        watch(-1, os.fsencode(tmp_path), 0x100)
    assert caught.value.errno == errno.EBADF


def test_a_call_that_this_library_has_not_is_told_apart():
    with pytest.raises(MissingCall):
        libc_call("fonshare_has_no_such_call", INT)
