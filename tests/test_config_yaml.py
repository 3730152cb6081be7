"""Settings in YAML: read strictly, and every mishap of YAML explained."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fonshare_agent.config import FILE_BYTES_MAX, load_settings, validate
from fonshare_agent.config_yaml import merge_changes, read_yaml
from fonshare_agent.errors import SettingsError

MINIMUM = "node: {name: alice}\ndisk: ./disk\n"


def complaints_of(tmp_path, text):
    path = tmp_path / "fonshare.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert caught.value.thing == str(path)
    return str(caught.value)


def read(tmp_path, text):
    path = tmp_path / "fonshare.yaml"
    path.write_text(text)
    return load_settings(path)


def test_two_options_are_enough(tmp_path):
    settings = read(tmp_path, MINIMUM)
    assert settings.node.name == "alice"
    assert settings.disk == tmp_path / "disk"


def test_paths_are_relative_to_the_file_and_not_to_the_folder_one_is_in(
    tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    read(tmp_path, MINIMUM + "keys: ../keys\n")

    settings = load_settings("../fonshare.yaml")

    assert settings.disk == tmp_path / "disk"
    assert settings.state == tmp_path / "state"
    assert settings.keys == tmp_path.parent / "keys"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("No", "No"),
        ("012", "012"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1e3", "1e3"),
        ("'2121'", "2121"),
        ("!!str 2121", "2121"),
        ("2121", 2121),
        ("-1", -1),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("9" * 30, "9" * 30),
    ],
)
def test_a_scalar_means_what_it_looks_like(text, value):
    assert read_yaml(f"x: {text}".encode()) == ({"x": value}, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "ftp: {port: '2121'}",
            "ftp.port: must be a plain decimal number without quotes",
        ),
        (
            "ftp: {port: 02121}",
            "ftp.port: must be a plain decimal number without quotes",
        ),
        ("ftp: {port: 21.5}", "ftp.port: must be a plain decimal number"),
        ("ftp: {port: true}", "ftp.port: must be a whole number, not true"),
        ("ftp: {port: [21]}", "ftp.port: must be a whole number, not a list"),
        ("ftp: {port:}", "ftp.port: is empty; allowed: a port from 1 to 65535"),
        ("node: {name: 2024}", "node.name: must be text, and 2024 is not: put it in"),
        ("node: {name: true}", "node.name: must be text, and true is not: put it in"),
        ("ftp: {owner_from_wan: maybe}", "ftp.owner_from_wan: must be yes or no"),
        ("ftp: {guest_folders: films}", "ftp.guest_folders: must be a list"),
        ("ftp: {guest_folders: [1]}", "ftp.guest_folders: must be text"),
        ("ftp: [1]", "ftp: must be a section of options, not a list"),
        ("shares: films", "shares: must be a list, not text"),
        (
            "shares: [films]",
            "shares[0]: must have name, path, groups, mirror_of, mirror_pin, "
            "mirror_ca, "
            "and is text",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_explained(tmp_path, line, complaint):
    assert complaint in complaints_of(tmp_path, line)


@pytest.mark.parametrize(
    ("line", "allowed"),
    [("on", True), ("off", False), ("yes", True), ("1", True), ("false", False)],
)
def test_every_usual_spelling_of_yes_and_no_is_taken(tmp_path, line, allowed):
    settings = read(tmp_path, MINIMUM + f"ftp: {{owner_from_wan: {line}}}")
    assert settings.ftp.owner_from_wan is allowed


@pytest.mark.parametrize("word", ["off", "'off'", "false"])
def test_off_is_a_word_where_a_word_is_wanted(tmp_path, word):
    text = f"disk: d\nnode: {{name: a, port_mapping: {word}}}"
    assert read(tmp_path, text).node.port_mapping == "off"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nod: {}", "nod: is no option; did you mean `node`?"),
        ("node: {nam: a}", "node.nam: is no option; did you mean `node.name`?"),
        ("prot: 1", "prot: is no option"),
        ("shares: [{nme: F}]", "shares[0].nme: is no option; did you mean `name`?"),
        ("ftp: {users: [{pasword: x}]}", "ftp.users[0].pasword: is no option; did you"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_known_one(
    tmp_path, line, complaint
):
    assert complaint in complaints_of(tmp_path, line)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("disk: a\ndisk: b\n", "line 2: 'disk' is given twice"),
        ("ftp:\n  port: 1\n  port: 2\n", "line 3: 'port' is given twice"),
        ("a: &x 1\nb: *x\n", "line 1: anchors and aliases are not taken"),
        ("a: !thing 1\n", "line 1: the tag '!thing' is not taken"),
        ("a: !!python/name:os.system ''", "line 1: the tag"),
        ("1: a\n", "line 1: 1 is no option's name"),
        ("? [a]\n: b\n", "line 1: a list is no option's name"),
        ("a: [\n", "line 2: is not YAML: "),
        ("\ta: 1\n", "line 1: is not YAML: "),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("a: 'open\n", "is not YAML"),
        (b"a: 1\nb: \xff\n", "line 2: is not UTF-8 text"),
        ("a: \x01", "is not YAML"),
        ("- a\n", "the file must hold options, not a list"),
        ("alice", "the file must hold options, not text"),
        ("[" * 5000, "nests deeper than 16 levels"),
        ("a: " + "{a: " * 5000, "nests deeper than 16 levels"),
    ],
)
def test_what_is_no_settings_file_is_told_with_its_line(tmp_path, text, complaint):
    assert complaint in complaints_of(tmp_path, text)


def test_an_empty_file_lacks_what_must_be_given(tmp_path):
    lines = complaints_of(tmp_path, "").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["node.name", "disk"]


def test_aliases_cannot_blow_up_into_gigabytes(tmp_path):
    text = "a0: &a0 [x]\n"
    text += "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert "anchors and aliases are not taken" in complaints_of(tmp_path, text)


def test_a_file_of_any_length_is_not_read_into_memory(tmp_path):
    text = "# " + "x" * FILE_BYTES_MAX
    assert "is longer than 256 KiB" in complaints_of(tmp_path, text)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(SettingsError, match="cannot read"):
            load_settings(path)


def test_changes_never_hide_a_wrong_shape_of_the_users_file():
    raw = {"shares": "films", "limits": 3, "ftp": {"users": "me"}}
    merge_changes(raw, {"shares": [{}], "limits": {"a": 1}, "passwords": {"me": "x"}})
    assert raw == {"shares": "films", "limits": 3, "ftp": {"users": "me"}}


TEXT = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Co", "Cn"]), max_size=20
)


@given(
    value=st.recursive(
        st.booleans() | st.integers(-(10**17), 10**17) | TEXT | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_whatever_yaml_writes_is_read_back(value):
    text = yaml.safe_dump({"x": value}, allow_unicode=True, default_style='"')
    read, complaints = read_yaml(text.encode())
    # With every scalar quoted, what is no text has a tag: those are read as text.
    assert complaints == []
    assert read == {"x": quoted(value)}


def quoted(value):
    if isinstance(value, dict):
        return {key: quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [quoted(item) for item in value]
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


KNOWN = ["node", "ftp", "port", "users", "shares", "name", "path", "disk", "limits"]
PIECES = [*KNOWN, ": ", "\n", "  ", "- ", "{", "}", "[", "]", ", ", "&a ", "*a", "!!"]
PIECES += ["'", '"', "#", "|", ">", "?", "%", "1", "0x", ".inf", "<<", "é", "\0", "..."]
DOCUMENTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join).map(str.encode)


@settings(max_examples=150)
@given(raw=DOCUMENTS | st.binary(max_size=80))
def test_any_text_makes_settings_or_a_settings_error(raw):
    values, complaints = read_yaml(raw)
    with suppress(SettingsError):
        validate(values, complaints=complaints)
