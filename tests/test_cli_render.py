"""What people see: tables, sizes, and names that cannot act on a terminal."""

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fonshare_agent.completion import script
from fonshare_agent.control.views import missing_disk
from fonshare_agent.errors import DiskMissing, DiskReadOnly, Starting
from fonshare_agent.help_texts import shown_commands
from fonshare_agent.layout import human_size, pad, table, visible, width
from fonshare_agent.render import render

MEMBER = {
    "id": "abcdefghijklmnop",
    "name": "bob",
    "role": "member",
    "online": True,
}


@given(st.text(st.characters(exclude_categories=())))
@example("\x1b]0;title\x07\x9b2J\r\n\u202e\ud800\udcff")
def test_no_name_can_act_on_a_terminal(name):
    shown = visible(name)
    assert shown.isprintable() or set(shown) & set("\u00a0\u202f\u3000\u200c\u200d")
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert "\u202e" not in shown
    shown.encode("utf-8")


def test_usual_names_are_shown_as_they_are():
    for name in (
        "Bréhat — été 2019.mkv",
        "日本.txt",
        "C++ #1%.txt",
        "a\u00a0!",
        "👩\u200d🌾",
    ):
        assert visible(name) == name


def test_bytes_that_are_not_utf8_are_shown_as_bytes():
    assert visible(b"caf\xe9".decode("utf-8", "surrogateescape")) == r"caf\xe9"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_348, "99.9 KiB"),
        (102_400, "100 KiB"),
        (1_048_575, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**63 - 1, "8192 PiB"),
    ],
)
def test_sizes_have_three_digits(size, shown):
    assert human_size(size) == shown


@given(st.text("aé日\u0301", max_size=30), st.integers(1, 20))
def test_padding_gives_exactly_the_cells_asked_for(text, cells):
    assert width(pad(text, cells)) == cells


def test_tables_are_aligned_also_with_wide_and_combining_letters():
    lines = table(("A", "B"), [("日本", "x"), ("e\u0301", "x"), ("abc", "x")]).split(
        "\n"
    )
    assert [width(line.rsplit("x", 1)[0]) for line in lines[1:4]] == [6, 6, 6]


def test_a_table_without_rows_is_nothing():
    assert table(("A", "B"), []) == ""


def test_status_says_what_is_up():
    away = {**MEMBER, "online": False}
    answer = {
        "node": {"id": "abc", "name": "alice"},
        "disk": {"present": True, "total_bytes": 2**40, "free_bytes": 2**39},
        "broker": {"connected": False},
        "index": {"files": 3, "bytes": 2048, "scanning": True},
        "groups": [{"name": "Famille", "members": [MEMBER, away]}],
        "jobs": {"queued": 1, "running": 0, "done": 2, "failed": 0},
    }
    assert render("status", answer).split("\n") == [
        "node    alice  abc",
        "disk    512 GiB free of 1.0 TiB",
        "broker  not connected",
        "index   3 files, 2.0 KiB, scanning",
        "jobs    1 queued, 0 running, 2 done, 0 failed",
        "group   Famille: 1 of 2 online",
        "",
    ]
    group = {"name": "G", "role": "member", "members": [away]}
    seen = render("group ls", [group])
    assert seen == "G (member)\n  bob  abcdefghijkl  offline\n"
    away["last_seen"] = 1_700_000_000
    group = {"name": "G", "role": "member", "members": [away]}
    seen = render("group ls", [group])
    assert "offline, last seen 2023-11-1" in seen
    answer["disk"] = {"present": False, "total_bytes": None, "free_bytes": None}
    assert "disk    missing" in render("status", answer)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (DiskMissing("disk /mnt/a: nothing is there"), "missing: disk /mnt/a: nothing"),
        (DiskReadOnly("disk /mnt/a can only be read"), "disk /mnt/a can only be read"),
        (Starting("the node is just starting"), "the node is just starting"),
    ],
)
def test_a_disk_is_called_missing_only_if_it_is(error, shown):
    assert render("disk", missing_disk(error)).startswith(f"disk: {shown}")


def test_entries_show_where_they_are_and_who_is_away():
    row = {
        "id": "e1",
        "kind": "file",
        "size": 5 * 2**30,
        "modified": 0,
        "group": "Famille",
        "member": "bob",
        "share": "Films",
        "path": "a\nb.mkv",
        "online": False,
        "own": False,
    }
    shown = render("find", [row])
    assert r"Famille/bob/Films/a\nb.mkv" not in shown  # \n is shown as \x0a
    assert r"Famille/bob/Films/a\x0ab.mkv (offline)" in shown
    assert "5.0 GiB" in shown
    assert "offline" not in render("find", [{**row, "online": True}])
    assert "?" in render("ls", [{**row, "modified": 2**70}])


def test_a_row_tells_how_many_others_have_it():
    row = {"group": "G", "member": "bob", "share": "Films", "path": "a", "own": True}
    assert "G/bob/Films/a\n" in render("find", [{**row, "sources": [1]}])
    assert "G/bob/Films/a (+2 more)\n" in render(
        "find", [{**row, "sources": [1, 2, 3]}]
    )


def test_ratings_are_shown_where_there_are_any():
    row = {"group": "G", "member": "bob", "share": "Films", "path": "a", "own": True}
    rated = {**row, "rating": {"average": 10 / 3, "count": 3, "own": None}}
    mine = {**row, "rating": {"average": 4.0, "count": 2, "own": 5}}
    text = render("ls", [row, rated, mine])
    assert [part in text for part in ("RATING", "3.3 (3)  ", "4.0 (2), yours 5  ")] == [
        True
    ] * 3
    assert "RATING" not in render("ls", [row])


def test_saved_searches_show_their_words_and_filters():
    row = {
        "name": "bz",
        "words": ["île", "mer"],
        **dict.fromkeys(("group", "member", "member_id", "kind", "max_size", "older")),
        "min_size": None,
        "newer": None,
        "online": False,
    }
    narrow = {"group": "G", "min_size": 700 << 20, "newer": 604_800, "online": True}
    assert render("search ls", [row, {**row, **narrow}]).splitlines() == [
        "NAME  WORDS    ONLY",
        "bz    île mer  -",
        "bz    île mer  group G, min-size 700 MiB, newer 1w, online",
    ]
    assert "bz" in render("search save", row)
    assert render("search ls", []) == ""


def test_what_is_new_is_shown_search_by_search():
    rows = [{"search": name, "path": name + "1"} for name in ("a\n", "b")]
    shown = render("search new", rows)
    assert shown.startswith("a\\x0a:\nID")
    assert "\nb:\nID" in shown
    assert render("search new", []) == ""


def test_invites_print_the_code_alone():
    assert render("group invite", {"code": "abc-def"}) == "abc-def\n"


def test_groups_list_their_members():
    admin = {**MEMBER, "name": "eve", "role": "admin"}
    row = {"name": "Famille", "role": "creator", "members": [MEMBER, admin]}
    assert render("group ls", [row]) == (
        "Famille (creator)\n  bob  abcdefghijkl  online\n"
        "  eve  abcdefghijkl  admin, online\n"
    )


def test_doctor_says_what_and_what_next():
    finding = {
        "level": "error",
        "code": "disk.missing",
        "message": "no disk",
        "thing": "/mnt",
        "next": "Plug it in.",
    }
    shown = render("doctor", {"findings": [finding], "verdict": "reachable"})
    assert shown == "error   no disk: /mnt; Plug it in.\nreachable\n"


def test_doctor_does_not_say_twice_what_it_is_about():
    message = "ftp.users: passwords are in clear"
    finding = {"level": "warning", "message": message, "thing": "ftp.users"}
    shown = render("doctor", {"findings": [{**finding, "next": "Hash them."}]})
    assert shown == f"warning {message}; Hash them.\n"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, ""),
        ({"group": "G", "state": "joining"}, "group: G\nstate: joining\n"),
        ({"brokers": ["a", "b"], "done": True}, "brokers: a, b\ndone: yes\n"),
        ([], ""),
        ("\x1b", "\\x1b\n"),
    ],
)
def test_any_other_answer_is_shown_field_by_field(answer, shown):
    assert render("group create", answer) == shown


# --- completion -------------------------------------------------------------------


def complete(words: str) -> set[str]:
    """Return what bash offers after *words*; the last one is being typed."""
    typed = words.split(" ")
    program = (
        script("bash")
        + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fonshare; '
        + 'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", *typed], capture_output=True, text=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fonshare sta", {"status"}),
        ("fonshare group inv", {"invite"}),
        ("fonshare -c node.yaml group acc", {"accept"}),
        ("fonshare --json jobs ", {"pause", "resume", "cancel"}),
        ("fonshare group invite Famille --acc", {"--accept-first"}),
        ("fonshare find x --gr", {"--group"}),
        ("fonshare find x --kind ", {"audio", "video", "picture", "document"}),
        ("fonshare find x --sort na", {"name"}),
        ("fonshare search n", {"new"}),
        ("fonshare search save x y --min", {"--min-size"}),
        ("fonshare ls --af", {"--after"}),
        ("fonshare completion ", {"bash", "zsh", "fish"}),
        ("fonshare get x --w", {"--wait"}),
    ],
)
def test_bash_completes_commands_flags_and_choices(words, offered):
    found = complete(words)
    assert offered <= found
    if not words.endswith(" "):
        assert found == offered


def test_bash_offers_files_where_a_file_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice.yaml").touch()
    assert complete("fonshare -c al") == {"alice.yaml"}
    assert complete("fonshare backup al") == {"alice.yaml"}
    assert complete("fonshare find al") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_knows_every_command_and_flag_and_no_internal_one(shell):
    text = script(shell)
    for command in shown_commands():
        assert all(word in text for word in command.name.split())
        assert all(flag.flag[2:] in text for flag in command.typed_flags)
    assert "joining" not in text


def test_what_has_no_date_shows_none():
    row = {"id": "a", "kind": "member", "size": 0, "modified": 0, "path": "Famille"}
    assert "1970" not in render("ls", [row])
