"""Check digits for text that people type: node ids and invite codes.

Owns the alphabet, the check character of a group, and the forgiving reading of a typed
group. The rule (docs/protocol/keys.md, "Check digits"): a group is a Reed-Solomon word
with one check symbol over GF(32), every place with a weight of its own, so that any one
wrong character and any two exchanged characters are noticed; the group's number is
mixed in, so that exchanged groups are noticed too. Knows nothing of what is encoded.
"""

import base64
from itertools import product

from fonshare_agent.model import base32

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, lower case
GROUP_MAX = 31  # places with weights of their own in GF(32), the check included
FIELD_POLYNOMIAL = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)
GUESSES_MAX = 4  # a group with more "1"s than this is refused rather than guessed

# What people write for characters that are not in the alphabet. A "1" can be either
# letter: the check character decides.
LOOKALIKES = {"0": "o", "8": "b", "1": "il"}


def check_character(data: str, group: int) -> str:
    """Return the character that completes *data*, the *group*-th of its text."""
    return ALPHABET[_times_x(_remainder(data, group))]


def read_group(typed: str, group: int) -> str | None:
    """Return the data characters of a typed group, or None when it is mistyped."""
    if not 2 <= len(typed) <= GROUP_MAX:
        return None
    choices = [LOOKALIKES.get(character, character) for character in typed.lower()]
    if sum(len(choice) > 1 for choice in choices) > GUESSES_MAX:
        return None
    fits = [
        "".join(guess[:-1])
        for guess in product(*choices)
        if all(character in ALPHABET for character in guess)
        and check_character("".join(guess[:-1]), group) == guess[-1]
    ]
    return fits[0] if len(fits) == 1 else None


def encode_groups(raw: bytes, size: int) -> list[str]:
    """Return *raw* as base32 groups of *size* data characters and a check each."""
    text = base32(raw)
    groups = [text[at : at + size] for at in range(0, len(text), size)]
    return [data + check_character(data, at) for at, data in enumerate(groups, 1)]


def decode_base32(text: str) -> bytes | None:
    """Return the bytes of unpadded base32, or None when it is not canonical."""
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return raw if base32(raw) == text else None


def _remainder(data: str, group: int) -> int:
    if len(data) >= GROUP_MAX:
        raise ValueError(f"a group of {len(data)} has no room for its check character")
    value = group % len(ALPHABET)
    for character in data:
        value = _times_x(value) ^ ALPHABET.index(character)
    return value


def _times_x(value: int) -> int:
    value <<= 1
    return value ^ FIELD_POLYNOMIAL if value & 0b100000 else value
