"""Password hashes: what they cost, what they accept, and that they keep secrets."""

import base64
import hashlib
import resource
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.errors import SettingsError
from fonshare_agent.passwords import (
    PASSWORD_BYTES_MAX,
    find_hash_complaint,
    hash_password,
    is_hash,
    verify_password,
)

SALT = b"0123456789abcdef"
STORED = hash_password("sésame", SALT)


def test_the_right_password_fits_and_any_other_does_not():
    assert verify_password(STORED, "sésame")
    for wrong in ("", "sesame", "sésame ", "Sésame", "sésamesésame"):
        assert not verify_password(STORED, wrong)


def test_the_hash_has_the_documented_form_and_not_the_password():
    assert STORED.startswith("$scrypt$ln=12,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$")
    assert "same" not in STORED
    assert is_hash(STORED)
    assert find_hash_complaint(STORED) is None


def test_a_stored_hash_is_checked_with_its_own_parameters():
    digest = hashlib.scrypt(b"old", salt=SALT, n=16, r=2, p=3, dklen=32)
    text = base64.b64encode(digest).decode().rstrip("=")
    stored = f"$scrypt$ln=4,r=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg${text}"

    assert verify_password(stored, "old")
    assert not verify_password(stored, "new")
    assert not verify_password(stored.replace("p=3", "p=2"), "old")


def test_another_salt_gives_another_hash():
    assert hash_password("sésame", b"another salt 16b") != STORED


def test_a_login_without_a_password_takes_whatever_is_sent():
    assert verify_password("", "")
    assert verify_password("", "anonymous@")


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ("$scrypt$", "whole"),
        (STORED[:-1], "whole"),
        (STORED + "A", "whole"),
        (STORED + "\n", "whole"),
        (STORED.replace("ln=12", "ln=13"), "4 MiB"),
        (STORED.replace("ln=12", "ln=99"), "4 MiB"),
        (STORED.replace("r=8", "r=9"), "4 MiB"),
        (STORED.replace("p=1", "p=9"), "p at most 8"),
        (STORED.replace("ln=12", "ln=0"), "range"),
        (STORED.replace("r=8", "r=0"), "range"),
        (STORED.replace("p=1", "p=0"), "range"),
        ("$scrypt$ln=12,r=8,p=1$AAAAAAAAAAAAA$" + "A" * 43, "whole"),
    ],
)
def test_a_hash_that_cannot_be_checked_here_is_refused(stored, complaint):
    assert complaint in str(find_hash_complaint(stored))
    with pytest.raises(SettingsError, match=complaint):
        verify_password(stored, "sésame")


def test_an_endless_password_is_not_even_hashed():
    stored = hash_password("x" * (PASSWORD_BYTES_MAX + 1), SALT)
    assert not verify_password(stored, "x" * (PASSWORD_BYTES_MAX + 1))
    longest = "x" * PASSWORD_BYTES_MAX
    assert verify_password(hash_password(longest, SALT), longest)


@settings(max_examples=10, deadline=None)
@given(password=st.text(max_size=40) | st.just("\udcff"))
def test_any_text_can_be_a_password(password):
    assert verify_password(hash_password(password, SALT), password)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60).map(STORED[:22].__add__) | st.text(max_size=120))
def test_any_stored_text_is_a_hash_or_a_settings_error(text):
    if find_hash_complaint(text) is None:
        assert verify_password(text, "x") in (True, False)
    elif text:
        with pytest.raises(SettingsError):
            verify_password(text, "x")


def test_a_login_costs_at_most_four_mebibytes():
    # A new process, so that the peak is this one call's; and twice, since the first
    # run also pays for loading OpenSSL.
    code = (
        "import resource, sys; from fonshare_agent.passwords import hash_password\n"
        "if sys.argv[1] == 'yes': hash_password('x', b'0123456789abcdef')\n"
        "else:\n"
        " import hashlib; hashlib.scrypt(b'x', salt=b'y', n=2, r=1, p=1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak_kib(do_hash):
        command = [sys.executable, "-c", code, do_hash]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return int(done.stdout)

    assert resource.getpagesize() <= 65536  # else the rounding below is wrong
    assert peak_kib("yes") - peak_kib("no") <= 4096 + 512
