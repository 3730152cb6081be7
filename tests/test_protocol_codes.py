import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fonshare_agent.errors import BadCode
from fonshare_agent.model import is_label
from fonshare_agent.protocol.check_digits import (
    ALPHABET,
    check_character,
    encode_groups,
)
from fonshare_agent.protocol.codes import (
    InviteCode,
    identity_fingerprint,
    invite_keys,
    invite_topics,
    words,
)
from fonshare_agent.protocol.keys import hkdf

VECTOR = json.loads(
    (Path(__file__).parent / "vectors" / "codes.json").read_text("utf-8")
)
CODE = InviteCode("mqtt://u:pass@b.example", b"s" * 16, b"f" * 16, "Famille")
TEXT = CODE.encode()

urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["mqtt://", "mqtts://", "wss://", "mqtt:", ""]),
        st.from_regex(r"[A-Za-z0-9.:@é%-]{1,40}", fullmatch=True),
        st.sampled_from(["", ":1883", ":8883", ":18830"]),
    ),
)
codes = st.builds(
    InviteCode,
    broker_url=urls,
    secret=st.binary(min_size=16, max_size=16),
    fingerprint=st.binary(min_size=16, max_size=16),
    label=st.text(min_size=1, max_size=20).filter(is_label),
    ca_pin=st.none() | st.binary(min_size=32, max_size=32),
)


def framed(raw):
    """Return any bytes as the text of a code with right check characters."""
    return "-".join(encode_groups(raw, 7))


def raw_code(first=0x11, label=b"Famille", url=b"b.example", sizes=None, tail=b""):
    label_size, url_size = sizes or (len(label), len(url))
    fixed = bytes([first]) + b"s" * 16 + b"f" * 16
    fixed += bytes([label_size]) + url_size.to_bytes(2, "big")
    return fixed + label + url + tail


@pytest.mark.parametrize("one", VECTOR["codes"], ids=lambda one: one["broker_url"])
def test_a_code_equals_the_golden_text_and_is_read_back(one):
    code = InviteCode(
        one["broker_url"],
        bytes.fromhex(VECTOR["secret"]),
        identity_fingerprint(bytes.fromhex(VECTOR["inviter_public"])),
        VECTOR["label"],
        bytes.fromhex(one["ca_pin"]) if one["ca_pin"] else None,
    )

    assert code.encode() == one["text"]
    assert InviteCode.parse(one["text"]) == code


def test_what_is_derived_from_the_secret_equals_the_golden_values():
    secret = bytes.fromhex(VECTOR["secret"])

    assert invite_topics(secret) == tuple(VECTOR["topics"])
    assert invite_keys(secret) == tuple(map(bytes.fromhex, VECTOR["keys"]))
    assert words(bytes.fromhex(VECTOR["transcript_hash"])) == tuple(VECTOR["words"])


def test_every_use_of_the_secret_is_another_value():
    topics, keys = invite_topics(b"s" * 16), invite_keys(b"s" * 16)

    assert topics[0] != topics[1]
    assert keys[0] != keys[1]
    assert not {hkdf(b"s" * 16, ""), b"s" * 16} & set(keys)


@given(code=codes)
def test_every_code_makes_the_round_trip(code):
    assert InviteCode.parse(code.encode()) == code
    assert InviteCode.parse(code.link()) == code


@given(
    code=codes,
    width=st.integers(3, 30),
    separator=st.sampled_from([" ", "\n", "\r\n", "\t"]),
)
def test_case_line_breaks_and_other_dashes_do_not_matter(code, width, separator):
    text = code.link().lower().replace("-", "\u2013")
    broken = separator.join(text[at : at + width] for at in range(0, len(text), width))

    assert InviteCode.parse(f"  {broken}\n") == code
    assert InviteCode.parse(code.encode().replace("-", "")) == code
    assert InviteCode.parse(code.encode().replace("-", " ")) == code


def test_lookalikes_are_read_as_what_they_look_like():
    typed = TEXT.replace("O", "0").replace("B", "8")

    assert typed != TEXT
    assert InviteCode.parse(typed) == CODE


@given(at=st.integers(0, len(TEXT) - 1), other=st.sampled_from(ALPHABET))
def test_one_wrong_character_names_its_group(at, other):
    assume(TEXT[at] != "-" and TEXT[at].lower() != other)
    typed = TEXT[:at] + other + TEXT[at + 1 :]
    number = TEXT[:at].count("-") + 1
    group = typed.split("-")[number - 1].lower()

    with pytest.raises(BadCode, match=f"group {number} '{group}' is mistyped"):
        InviteCode.parse(typed)


@given(group=st.integers(0, 8), first=st.integers(0, 7), second=st.integers(0, 7))
def test_two_exchanged_characters_name_their_group(group, first, second):
    groups = TEXT.split("-")
    letters = list(groups[group])
    letters[first], letters[second] = letters[second], letters[first]
    assume("".join(letters) != groups[group])
    groups[group] = "".join(letters)

    with pytest.raises(BadCode, match=f"group {group + 1} "):
        InviteCode.parse("-".join(groups))


@pytest.mark.parametrize("group", range(5))
def test_a_lost_or_added_character_names_its_group_and_not_the_next(group):
    for change in (lambda g: g[:3] + g[4:], lambda g: g[:3] + "Q" + g[3:]):
        groups = TEXT.split("-")
        groups[group] = change(groups[group])
        with pytest.raises(BadCode, match=f"group {group + 1} "):
            InviteCode.parse("-".join(groups))


def test_groups_in_the_wrong_order_are_noticed():
    groups = TEXT.split("-")
    groups[2], groups[3] = groups[3], groups[2]

    with pytest.raises(BadCode, match="group 3 "):
        InviteCode.parse("-".join(groups))


def test_groups_of_another_size_are_refused_though_each_is_right():
    smaller = encode_groups(raw_code(), 6)

    with pytest.raises(BadCode, match="group 1 "):
        InviteCode.parse("-".join(smaller))


def test_nothing_can_follow_the_last_group():
    lone = check_character("", TEXT.count("-") + 2)

    with pytest.raises(BadCode, match="is mistyped"):
        InviteCode.parse(f"{TEXT}-{lone}")


def test_a_very_long_text_is_not_even_read():
    with pytest.raises(BadCode, match="too long"):
        InviteCode.parse(TEXT + " " * 5000)


def test_a_code_without_its_end_is_never_read_as_another_code():
    groups = TEXT.split("-")

    for count in range(len(groups)):
        with pytest.raises(BadCode):
            InviteCode.parse("-".join(groups[:count]))


BROKEN = {
    "nothing": b"",
    "another version": raw_code(first=0x21),
    "unknown scheme": raw_code(first=0x13),
    "cut in the fixed part": raw_code()[:20],
    "tail": raw_code(tail=b"x"),
    "label size": raw_code(sizes=(200, 9)),
    "url size": raw_code(sizes=(7, 10)),
    "pin cut": raw_code(first=0x15),
    "label no text": raw_code(label=b"\xff"),
    "no label": raw_code(label=b""),
    "label with slash": raw_code(label=b"a/b"),
    "url no text": raw_code(url=b"\xff"),
    "url with line break": raw_code(url=b"b.example\nx"),
    "url with space": raw_code(url=b"b example"),
    "no url": raw_code(first=0x10, url=b""),
    "url too long": raw_code(url=b"x" * 1018),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_a_code_with_right_check_digits_and_wrong_content_is_refused(raw):
    assert InviteCode.parse(framed(raw_code())).label == "Famille"

    with pytest.raises(BadCode):
        InviteCode.parse(framed(raw))


def test_a_code_of_another_version_says_what_to_do():
    with pytest.raises(BadCode, match="another version") as caught:
        InviteCode.parse(framed(raw_code(first=0x21)))
    assert "Update" in caught.value.next


@pytest.mark.parametrize(
    "text", ["", "  ", "-", "fonshare:", "x" * 5000, "hello world"]
)
def test_what_is_no_code_at_all_is_refused(text):
    with pytest.raises(BadCode):
        InviteCode.parse(text)


@given(text=st.text(max_size=80) | st.text(ALPHABET + "-018", max_size=80))
def test_any_text_is_a_code_or_a_bad_code(text):
    with pytest.raises(BadCode):
        InviteCode.parse(text)


@given(raw=st.binary(max_size=90) | st.binary(max_size=90).map(b"\x11".__add__))
def test_any_bytes_behind_right_check_digits_are_a_code_or_a_bad_code(raw):
    try:
        code = InviteCode.parse(framed(raw))
    except BadCode:
        return
    assert InviteCode.parse(code.encode()) == code


@pytest.mark.parametrize(
    "change",
    [{"label": "a/b"}, {"secret": b""}, {"fingerprint": b""}, {"ca_pin": b"short"}]
    + [{"broker_url": url} for url in ("", "mqtt://a b", "mqtt://" + "x" * 1018)],
    ids=lambda change: next(iter(change)),
)
def test_nobody_makes_a_code_that_others_would_refuse(change):
    with pytest.raises(ValueError, match="an invite code has"):
        dataclasses.replace(CODE, **change).encode()


def test_a_link_is_made_of_what_a_small_qr_picture_can_hold():
    ascii_code = dataclasses.replace(CODE, ca_pin=b"p" * 32)

    assert re.fullmatch(r"FONSHARE:[A-Z2-7-]+", ascii_code.link())
    assert len(CODE.link()) <= 140


def test_neither_secret_nor_login_shows_in_a_repr():
    code = InviteCode("mqtt://u:PASS@b", b"SECRETsecretSECR", b"f" * 16, "Famille")

    assert "SECRET" not in repr(code)
    assert "PASS" not in repr(code)


@given(transcript=st.binary(min_size=32, max_size=32))
def test_six_words_can_be_read_aloud_and_change_with_the_transcript(transcript):
    syllables = r"[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]"
    other = hashlib.sha256(transcript).digest()

    assert len(words(transcript)) == 6
    assert all(re.fullmatch(syllables, word) for word in words(transcript))
    assert words(transcript) == words(transcript)
    assert words(transcript) != words(other)
