"""The protocol's primitives a second time, slowly, by another way.

The golden vectors are made with these, so that an error in the code under test cannot
hide in them: XChaCha20-Poly1305 straight from RFC 8439 and its XChaCha draft, HKDF from
RFC 5869, Ed25519 and X25519 by the `openssl` command, check digits by logarithms.
"""

import hmac
import subprocess
import tempfile
from pathlib import Path

MASK = 0xFFFFFFFF
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

# PKCS #8 and SubjectPublicKeyInfo heads of RFC 8410
ED25519_SECRET = bytes.fromhex("302e020100300506032b657004220420")
X25519_SECRET = bytes.fromhex("302e020100300506032b656e04220420")
X25519_PUBLIC = bytes.fromhex("302a300506032b656e032100")


def openssl(*arguments: str, files: dict[str, bytes]) -> bytes:
    """Run openssl in a folder that holds *files*; return its standard output."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        command = ["openssl", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
        return done.stdout


def public_of(head: bytes, seed: bytes) -> bytes:
    """Return the public key of an Ed25519 or X25519 seed."""
    arguments = ["pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER"]
    return openssl(*arguments, files={"key": head + seed})[-32:]


def sign(seed: bytes, data: bytes) -> bytes:
    """Return the Ed25519 signature over *data*."""
    arguments = [
        "pkeyutl",
        "-sign",
        "-rawin",
        "-keyform",
        "DER",
        "-inkey",
        "key",
        "-in",
        "data",
    ]
    return openssl(*arguments, files={"key": ED25519_SECRET + seed, "data": data})


def x25519(seed: bytes, peer: bytes) -> bytes:
    """Return the X25519 secret."""
    arguments = "pkeyutl -derive -keyform DER -inkey key -peerform DER -peerkey peer"
    files = {"key": X25519_SECRET + seed, "peer": X25519_PUBLIC + peer}
    return openssl(*arguments.split(), files=files)


def hkdf(secret: bytes, info: str, length: int = 32, salt: bytes = b"") -> bytes:
    """Return HKDF-SHA256, at most one block."""
    extracted = hmac.new(salt or bytes(32), secret, "sha256").digest()
    return hmac.new(extracted, info.encode() + b"\x01", "sha256").digest()[:length]


def _quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[x] = (state[x] + state[y]) & MASK
        mixed = state[z] ^ state[x]
        state[z] = (mixed << turn | mixed >> (32 - turn)) & MASK


def _rounds(state: list[int]) -> list[int]:
    work = list(state)
    for _ in range(10):
        for a, b, c, d in (
            (0, 4, 8, 12),
            (1, 5, 9, 13),
            (2, 6, 10, 14),
            (3, 7, 11, 15),
        ):
            _quarter(work, a, b, c, d)
        for a, b, c, d in (
            (0, 5, 10, 15),
            (1, 6, 11, 12),
            (2, 7, 8, 13),
            (3, 4, 9, 14),
        ):
            _quarter(work, a, b, c, d)
    return work


def _words(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]


def _bytes(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


def _chacha20(key: bytes, nonce: bytes, counter: int) -> bytes:
    state = _words(b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce)
    mixed = _rounds(state)
    return _bytes([(a + b) & MASK for a, b in zip(state, mixed, strict=True)])


def _poly1305(key: bytes, message: bytes) -> bytes:
    clamp = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    r, s = int.from_bytes(key[:16], "little") & clamp, key[16:]
    total = 0
    for at in range(0, len(message), 16):
        part = int.from_bytes(message[at : at + 16] + b"\x01", "little")
        total = (total + part) * r % (2**130 - 5)
    return ((total + int.from_bytes(s, "little")) % 2**128).to_bytes(16, "little")


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 16)


def xchacha_encrypt(plain: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """Return the AEAD's ciphertext and tag."""
    mixed = _rounds(_words(b"expand 32-byte k" + key + nonce[:16]))
    subkey = _bytes(mixed[:4] + mixed[12:])
    short = bytes(4) + nonce[16:]
    blocks = range(1, 1 + -(-len(plain) // 64))
    stream = b"".join(_chacha20(subkey, short, counter) for counter in blocks)
    sealed = bytes(a ^ b for a, b in zip(plain, stream, strict=False))
    lengths = len(associated).to_bytes(8, "little") + len(sealed).to_bytes(8, "little")
    authenticated = _padded(associated) + _padded(sealed) + lengths
    return sealed + _poly1305(_chacha20(subkey, short, 0)[:32], authenticated)


# --- base32 and check digits ---------------------------------------------------

POWERS = [1]
while len(POWERS) < 31:
    doubled = POWERS[-1] * 2
    POWERS.append(doubled ^ 0b100101 if doubled > 31 else doubled)


def _multiply(a: int, b: int) -> int:
    if not a or not b:
        return 0
    return POWERS[(POWERS.index(a) + POWERS.index(b)) % 31]


def base32(raw: bytes) -> str:
    """Return lower-case base32 without padding, by way of one big number."""
    bits = len(raw) * 8
    number = int.from_bytes(raw, "big") << (-bits % 5)
    count = -(-bits // 5)
    return "".join(ALPHABET[number >> 5 * at & 31] for at in reversed(range(count)))


def checked_group(data: str, group: int) -> str:
    """Return *data* and the symbol that makes the weighted sum zero."""
    count = len(data)
    total = _multiply(group % 32, POWERS[(count + 1) % 31])
    for at, character in enumerate(data):
        total ^= _multiply(ALPHABET.index(character), POWERS[count - at])
    return data + ALPHABET[total]


def checked_groups(raw: bytes, size: int) -> list[str]:
    """Return *raw* in groups of *size* characters and a check each."""
    text = base32(raw)
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return [checked_group(part, number) for number, part in enumerate(parts, 1)]
