"""A translation for LuCI: a .po file as the .lmo that the router reads.

    python3 tools/lmo.py IN.po OUT.lmo

Does what LuCI's po2lmo does, byte for byte, written from the format: the texts, each
padded to four bytes, then an index of (hash of the original, number of forms, offset,
length), sorted by hash, then where the index begins; all numbers big-endian.
"""

import re
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

WORD = 0xFFFFFFFF
# Of a line's string: escaped quotes and backslashes lose their backslash, \n and \t
# keep theirs, as po2lmo has it.
STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
KEYWORD = re.compile(rb"(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d)\])? ")


@dataclass
class Message:
    """One entry of a .po file."""

    context: bytes = b""
    id: bytes = b""
    plural: bytes = b""
    texts: dict[int, bytes] = field(default_factory=dict)


def read_po(data: bytes) -> list[Message]:
    """Return the entries of a .po file; the first, with an empty id, is its header."""
    messages: list[Message] = []
    message, word, form = Message(), b"", 0
    for line in data.splitlines():
        if found := KEYWORD.match(line):
            word, form = found[1], int(found[2] or 0)
            if word == b"msgctxt" or (word == b"msgid" and message.texts):
                message = Message()
            if word == b"msgid":
                messages.append(message)
        elif not line.startswith(b'"'):
            continue
        string = STRING.search(line)
        text = re.sub(rb'\\(["\\])', rb"\1", string[1]) if string else b""
        if word == b"msgstr":
            message.texts[form] = message.texts.get(form, b"") + text
        elif word == b"msgctxt":
            message.context += text
        elif word == b"msgid_plural":
            message.plural += text
        else:
            message.id += text
    return messages


def hash_of(key: bytes) -> int:
    """Return LuCI's hash of a text (Paul Hsieh's SuperFastHash)."""
    if not key:
        return 0
    value, whole = len(key), len(key) & ~3
    for low, high in struct.iter_unpack("<HH", key[:whole]):
        value = (value + low) & WORD
        value = ((value << 16) ^ (high << 11) ^ value) & WORD
        value = (value + (value >> 11)) & WORD
    rest = key[whole:]
    if len(rest) == 3:
        value = (value + int.from_bytes(rest[:2], "little")) & WORD
        value = (value ^ (value << 16) ^ (_signed(rest[2]) << 18)) & WORD
        value = (value + (value >> 11)) & WORD
    elif len(rest) == 2:
        value = (value + int.from_bytes(rest, "little")) & WORD
        value = (value ^ (value << 11)) & WORD
        value = (value + (value >> 17)) & WORD
    elif rest:
        value = (value + _signed(rest[0])) & WORD
        value = (value ^ (value << 10)) & WORD
        value = (value + (value >> 1)) & WORD
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ (value << left)) & WORD
        value = (value + (value >> right)) & WORD
    return value


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def render(messages: list[Message]) -> bytes:
    """Return the .lmo; empty if nothing is translated."""
    texts = bytearray()
    index: list[tuple[int, int, int, int]] = []

    def add(key: int, forms: int, text: bytes) -> None:
        index.append((key, forms, len(texts), len(text)))
        texts.extend(text + bytes(-len(text) % 4))

    for message in messages:
        if not message.id:
            header = message.texts.get(0, b"").split(rb"\n")
            for line in header[:-1]:
                if line.lower().startswith(b"plural-forms: "):
                    add(0, 0, line[len(b"plural-forms: ") :])
            continue
        for form, text in sorted(message.texts.items()):
            key = message.id + (b"\2%d" % form if message.plural else b"")
            if message.context:
                key = message.context + b"\1" + key
            if text and hash_of(key) != hash_of(text):
                add(hash_of(key), max(message.texts) + 1, text)
    if not texts:
        return b""
    rows = b"".join(struct.pack(">4I", *row) for row in sorted(index))
    return bytes(texts) + rows + struct.pack(">I", len(texts))


def main(arguments: list[str]) -> int:
    """Translate the file; the exit status."""
    source, target = map(Path, arguments)
    if data := render(read_po(source.read_bytes())):
        target.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
