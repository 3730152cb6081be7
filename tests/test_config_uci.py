"""UCI text: what libuci would read, read alike; anything else named with its line."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.config import SourceKind, load_settings, validate
from fonshare_agent.config_uci import (
    Section,
    map_sections,
    parse_uci,
    quote_uci,
    read_uci,
)
from fonshare_agent.errors import SettingsError, SettingsSyntax
from uci_stand_in import render


def options(text):
    (section,) = parse_uci(f"config t 'n'\n{text}")
    return section.options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("option x plain", "plain"),
        ("option x 'two words'", "two words"),
        ('option x "two words"', "two words"),
        ("option x 'it'\\''s'", "it's"),
        ("option x it\\'s", "it's"),
        ("option x a\\ b", "a b"),
        ('option x "a\\"b\\\\c"', 'a"b\\c'),
        ("option x 'a\\b'", "a\\b"),
        ("option x 'a'\"b\"c", "abc"),
        ("option x 'a # b' # comment", "a # b"),
        ("option x a#comment", "a"),
        ("option x 'a;b'", "a;b"),
        ("option x a; option y b", "a"),
        ("\toption\t x \t 'a'  ", "a"),
        ("option x 'a'\r\n", "a"),
        ("option x 'two\nlines'", "two\nlines"),
        ('option x "folded \\\nline"', "folded line"),
        ("option x \\\n a", "a"),
        ("option x é'è'", "éè"),
        ("option 'x' a", "a"),
        ("option x a\noption x b", "b"),
        ("option x a\noption x ''", "a"),
        ("list x a\nlist x 'b c'", ["a", "b c"]),
        ("option x a\nlist x b", ["a", "b"]),
        ("list x a\noption x b", "b"),
        ("# a comment\n\n  # another\noption x a", "a"),
    ],
)
def test_a_value_is_read_as_libuci_reads_it(text, value):
    assert options(text)["x"] == value


def test_an_option_without_a_value_is_not_there():
    assert options("option x ''\noption y\n") == {}


def test_sections_are_named_or_anonymous_and_a_name_given_twice_is_one_section():
    text = (
        "package fonshare\nconfig a\nconfig b 'n'\noption x 1\nconfig a\nconfig b n\n"
    )
    text += "option y 2\n"

    sections = parse_uci(text)

    assert [(s.type, s.name) for s in sections] == [
        ("a", None),
        ("a", None),
        ("b", "n"),
    ]
    assert sections[2].options == {"x": "1", "y": "2"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("option x a", 1),
        ("\n\nlist x a", 3),
        ("config", 1),
        ("config a b c", 1),
        ("config t\noption", 2),
        ("config t\noption x a b", 2),
        ("config t\noption x-y a", 2),
        ("config t\nlist x/y a", 2),
        ("config t n-m", 1),
        ("config 'a b'", 1),
        ("config t\n\noption x 'open", 3),
        ('config t\noption x "open\n\n\n', 2),
        ("config t\nwhat x a", 2),
        ("config t\noption x 'two\nlines'\nwhat", 4),
        ("config t\noption x a\\\nb\nwhat", 4),
        ("config a n\nconfig b n", 2),
        ("config t\noption x 'a\0b'", 2),
    ],
)
def test_a_line_that_is_no_uci_is_named(text, line):
    with pytest.raises(SettingsSyntax, match=rf"^line {line}: "):
        parse_uci(text)


def test_every_bad_line_is_named_at_once():
    with pytest.raises(SettingsSyntax) as caught:
        parse_uci("what\nconfig t\noption\noption x 1 2\n")
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["line 1", "line 3", "line 4"]


WORDS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
)


@given(value=WORDS)
def test_whatever_is_quoted_is_read_back(value):
    text = f"config t\noption x {quote_uci('-' + value)}\nlist y {quote_uci(value)}"
    (section,) = parse_uci(text)
    assert section.options == {"x": "-" + value, "y": [value]}


NAMES = st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True)
VALUES = st.one_of(WORDS.filter(bool), st.lists(WORDS, min_size=1, max_size=3))


@given(
    written=st.lists(
        st.builds(
            Section,
            type=NAMES,
            name=st.none(),
            line=st.just(0),
            options=st.dictionaries(NAMES, VALUES, max_size=4),
        ),
        max_size=4,
    )
)
def test_sections_rendered_are_read_back(written):
    read = parse_uci(render(written))
    assert [(s.type, s.options) for s in read] == [(s.type, s.options) for s in written]


VERBS = ["config ", "option ", "list ", "package "]
PIECES = ["node", "disk", "share", "user", "path", "port", "ftp", "name", "'/mnt/a'"]
PIECES += [*VERBS, *"'\"\\#; \t\n\r\0é1"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join).map(str.encode)


@settings(max_examples=150)
@given(raw=TEXTS | st.binary(max_size=80))
def test_any_text_makes_settings_or_a_settings_error(raw):
    values, complaints, _ = read_uci(raw)
    with suppress(SettingsError):
        validate(values, kind=SourceKind.UCI, complaints=complaints)


# --- the mapping ---------------------------------------------------------------------

ROUTER = """\
config node 'node'
	option name 'alice'
	option enabled '1'

config disk 'disk'
	option path '/mnt/sda1'

config ftp 'ftp'
	option port '2100'
	option passive_ports '30100-30109'
	option owner_from_wan 'on'
	list guest_folders 'films'
	list guest_folders 'my music'

config mqtt 'mqtt'
	option broker 'mqtts://alice:p%40ss@broker.example.org'

config limits 'limits'
	option transfers '4'

config downloads 'downloads'
	option path 'incoming'

config user
	option name 'owner'
	option password 'secret'
	option access 'write'

config user
	option name 'guest'

config share 'films'
	option name 'Films'
	option path 'films'
	list groups 'Famille'
	list groups 'Les amis'
"""


@pytest.fixture
def router(tmp_path):
    path = tmp_path / "fonshare"
    path.write_text(ROUTER)
    return load_settings(path)


def test_the_routers_file_gives_settings_with_the_routers_defaults(router):
    assert router.is_on_router
    assert router.node.enabled
    assert str(router.disk) == "/mnt/sda1"
    assert str(router.state) == "/mnt/sda1/.fonshare"
    assert str(router.keys) == "/etc/fonshare"
    assert str(router.control_socket) == "/var/run/fonshare/control.sock"
    assert router.ftp.address == "::"
    assert router.ftp.house_lan
    assert (router.ftp.port, router.ftp.friends_port) == (2100, 2101)
    assert router.ftp.passive_ports == (30100, 30109)
    assert router.ftp.guest_folders == ("films", "my music")
    assert router.ftp.owner_from_wan
    assert router.limits.transfers == 4
    assert router.downloads == "incoming"


def test_the_routers_users_and_shares_are_sections_of_their_own(router):
    assert [(user.name, user.access) for user in router.ftp.users] == [
        ("owner", "write"),
        ("guest", "read"),
    ]
    assert router.plain_users == ("owner",)
    (share,) = router.shares
    assert (share.name, str(share.path)) == ("Films", "/mnt/sda1/films")
    assert share.groups == ("Famille", "Les amis")


def test_without_being_enabled_the_router_starts_nothing(tmp_path):
    path = tmp_path / "fonshare"
    path.write_text(ROUTER.replace("option enabled '1'", ""))
    assert not load_settings(path).node.enabled


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("config ftp a\nconfig ftp b", "line 2: section 'b' is there twice"),
        ("config ftp\noption port 021", r"ftp\.port: must be a plain decimal"),
        (
            "config ftp\nlist port 21\nlist port 22",
            r"ftp\.port: must be a whole number",
        ),
        ("config share\noption name x", r"shares\[0\]\.path: is missing"),
        ("config user\noption access write", r"ftp\.users\[0\]\.password: is empty"),
        ("config limits\noption transfers 9", r"limits\.transfers: is 9; allowed:"),
        ("config disk\noption path /a\noption disk /b", "disk: is given twice"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, complaint):
    path = tmp_path / "fonshare"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        load_settings(path)


# Each with how it is told.
UNKNOWN = (
    ("config nodes 'nodes'", "line 1: section 'nodes' is of no known type"),
    ("config ftp\noption prot 1", "ftp.prot: is no option; did you mean `ftp.port`?"),
    ("config disk\noption label usb", "disk.label: is no option"),
    (
        "config share\noption path films\noption name F\noption nmae G",
        "shares[0].nmae: is no option; did you mean `name`?",
    ),
    (
        "config user\noption name a\noption acess write",
        "ftp.users[0].acess: is no option; did you mean `access`?",
    ),
)


@pytest.mark.parametrize(("text", "told"), UNKNOWN)
def test_what_another_version_has_written_keeps_nobody_from_starting(
    tmp_path, text, told
):
    path = tmp_path / "fonshare"
    path.write_text(
        f"{text}\nconfig node\noption name a\nconfig disk\noption path /d\n"
    )
    if "config disk" in text:
        path.write_text(f"{text}\noption path /d\nconfig node\noption name a\n")
    settings = load_settings(path)
    assert settings.unused == (told,)
    assert str(settings.disk) == "/d"


def test_a_name_that_is_mistyped_is_told_where_the_right_one_is_missing(tmp_path):
    path = tmp_path / "fonshare"
    path.write_text("config node\noption nam alice\nconfig disk\noption path /d\n")
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    missing, unknown = str(refused.value).splitlines()
    assert missing.startswith("node.name: is missing")
    assert unknown == "node.nam: is no option; did you mean `node.name`?"


def test_lists_may_be_written_as_one_option():
    complaints: list[str] = []
    sections = parse_uci("config ftp\noption guest_folders 'films music'")
    raw = map_sections(sections, complaints, [])
    assert raw["ftp"]["guest_folders"] == ["films", "music"]
    assert complaints == []
