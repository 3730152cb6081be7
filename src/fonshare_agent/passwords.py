"""Passwords of the house door as scrypt hashes, in one text form.

    $scrypt$ln=12,r=8,p=1$SALT$HASH      (base64 without padding)

Rules: a hash costs at most 4 MiB of memory to check, so that a login cannot push the
agent out of a 64 MB router; parameters above that are refused when settings are read.
Pure: the salt is an argument. Checking takes a third of a second on the reference box:
never call it on the FTP loop.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

from fonshare_agent.errors import SettingsError

SALT_BYTES = 16
HASH_BYTES = 32
LOG_N = 12  # with r=8: 4 MiB, DESIGN.md section 5
BLOCK = 8
PARALLEL = 1
MEMORY_MAX = 128 * 2**LOG_N * BLOCK
PARALLEL_MAX = 8  # time grows with it, memory does not
OPENSSL_SLACK = 1 << 16  # what OpenSSL counts beside the big table
PASSWORD_BYTES_MAX = 1024  # longer than any person types; bounds one login's work

PREFIX = "$scrypt$"
_FORM = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})"
    r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43})\Z"
)


@dataclass(frozen=True, slots=True)
class _Parsed:
    log_n: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes


def hash_password(password: str, salt: bytes) -> str:
    """Return the text to store for *password*; *salt* is SALT_BYTES random bytes."""
    digest = _scrypt(password, _Parsed(LOG_N, BLOCK, PARALLEL, salt, b""))
    return f"{PREFIX}ln={LOG_N},r={BLOCK},p={PARALLEL}${_text(salt)}${_text(digest)}"


def verify_password(stored: str, password: str) -> bool:
    """Tell whether *password* is the one behind *stored*, in constant time.

    An empty *stored* asks for no password: whatever was sent is right. Settings allow
    that to users who may only read. Raises SettingsError if *stored* is not a hash.
    """
    if not stored:
        return True
    parsed = _parse(stored)
    if len(_encoded(password)) > PASSWORD_BYTES_MAX:
        return False
    return hmac.compare_digest(_scrypt(password, parsed), parsed.digest)


def is_hash(text: str) -> bool:
    """Tell whether *text* has the form of a hash, usable or not."""
    return text.startswith(PREFIX)


def find_hash_complaint(stored: str) -> str | None:
    """Return why *stored* cannot be used here, or None. Never repeats it."""
    match = _FORM.match(stored)
    if not match:
        return "is not a whole scrypt hash"
    log_n, block, parallel = (int(match[i]) for i in (1, 2, 3))
    if min(log_n, block, parallel) < 1 or parallel > PARALLEL_MAX:
        return f"has parameters out of range (p at most {PARALLEL_MAX})"
    if 128 * 2**log_n * block > MEMORY_MAX:
        return f"needs more than {MEMORY_MAX >> 20} MiB of memory to check"
    try:
        _bytes(match[4]), _bytes(match[5])
    except binascii.Error:
        return "is not a whole scrypt hash"
    return None


def _parse(stored: str) -> _Parsed:
    complaint = find_hash_complaint(stored)
    match = _FORM.match(stored)
    if complaint or not match:
        raise SettingsError(f"a stored password {complaint}")
    log_n, block, parallel = (int(match[i]) for i in (1, 2, 3))
    return _Parsed(log_n, block, parallel, _bytes(match[4]), _bytes(match[5]))


def _scrypt(password: str, use: _Parsed) -> bytes:
    try:
        return hashlib.scrypt(
            _encoded(password),
            salt=use.salt,
            n=2**use.log_n,
            r=use.block,
            p=use.parallel,
            maxmem=MEMORY_MAX + OPENSSL_SLACK,
            dklen=HASH_BYTES,
        )
    except ValueError as error:
        # So Python 3.11 says that OpenSSL got no memory; the parameters are in range.
        raise MemoryError("no memory for a password's hash") from error


def _encoded(password: str) -> bytes:
    # Lone surrogates are bytes that were not UTF-8, from a client as from a file.
    return password.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
