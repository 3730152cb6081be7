"""The command line in French: nothing is forgotten, and JSON stays English."""

import io
import re

import pytest

import cli_words
from fonshare_agent import words
from fonshare_agent.cli import main
from fonshare_agent.config import validate
from fonshare_agent.config_uci import read_uci
from fonshare_agent.config_yaml import read_yaml
from fonshare_agent.errors import NotFound, SettingsError
from fonshare_agent.first_use import ask
from fonshare_agent.render import render
from fonshare_agent.terminal import show_error
from words import find_slip


@pytest.fixture(autouse=True)
def english_again():
    yield
    words.choose_language({})


@pytest.fixture
def french():
    words.choose_language({"LANG": "fr_FR.UTF-8"})


@pytest.fixture(scope="module")
def table():
    return words.parse(cli_words.FRENCH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def said():
    return cli_words.collect()


def test_everything_is_said_in_french_and_nothing_more(said, table):
    assert cli_words.complain(said, table) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("jobs    {}", "render.py"),  # say
        ("Name of this node", "first_use.py"),  # ask
        ("The owner's login needs a password.", "first_use.py"),  # complain
        ("no broker is connected", "doctor.py"),  # finding
        ("Brokers with a CA wait for NTP; all else works.", "doctor.py"),  # its next
        ("friends reach this node", "doctor_reach.py"),  # handed on to a finding
        ("share {} lacks a file: {}", "doctor_storage.py"),  # by a variable
        ("called by too long a path", "doctor_storage.py"),  # in a table of it
    ],
)
def test_whatever_is_said_is_looked_for(said, text, place):
    assert said.get(text) == place


def test_a_command_sent_to_the_agent_is_not_for_people(said):
    assert not {"get", "share ls", "group join"} & said.keys()


def test_the_french_is_well_set(table):
    slips = [find_slip(cli_words.without_code(one)) for one in table.values()]
    assert [slip for slip in slips if slip] == []


def test_the_table_is_small_enough_for_a_router():
    assert cli_words.FRENCH.stat().st_size < 100_000


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "show the disk"),
        ({"LANG": "fr"}, "montrer le disque"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "fr_BE@euro"}, "montrer le disque"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, "show the disk"),
        ({"LANG": "fr_CA", "LC_ALL": ""}, "montrer le disque"),
        ({"LANG": "fry"}, "show the disk"),
    ],
)
def test_the_locale_decides(environ, text):
    words.choose_language(environ)
    assert words.say("show the disk") == text


def test_gaps_are_filled_as_they_are_or_translated_too(french):
    said = words.translate("disk /mnt/a: the disk is full")
    assert said == "disque /mnt/a\u00a0: le disque est plein"
    said = words.translate(
        "share 'the disk is full' names a group that this node is not in"
    )
    assert said.startswith("le partage 'the disk is full' nomme")


def test_what_says_most_is_matched_first(french):
    said = words.translate("the broker cannot be reached: no answer")
    assert said == "le broker est injoignable\u00a0: pas de réponse"


def test_a_text_that_nobody_knows_stays_and_braces_do_no_harm(french):
    assert words.translate("{} {0} zzz") == "{} {0} zzz"
    assert words.translate("there is no job {}{t}") == "il n’y a pas de tâche {}{t}"


def test_each_line_of_a_complaint_is_translated(french, capsys):
    show_error(SettingsError("a: the disk is full\nb: no answer"), as_json=False)
    err = capsys.readouterr().err
    assert "a\u00a0: le disque est plein\n  b\u00a0: pas de réponse;" in err.replace(
        "\u202f;", ";"
    )


def test_an_error_is_french_for_people_and_english_in_json(french, capsys):
    error = NotFound("there is no share 'films'", thing="films")
    show_error(error, as_json=False)
    assert "il n’y a pas de partage 'films'" in capsys.readouterr().err
    show_error(error, as_json=True)
    assert "there is no share 'films'" in capsys.readouterr().out


def test_help_is_french_from_the_command_line_on(monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert main(["jobs", "--help"]) == 0
    assert "Lister les tâches." in capsys.readouterr().out
    assert main(["nonsense"]) == 2
    assert "cette commande n’existe pas" in capsys.readouterr().err
    assert main(["nonsense", "--json"]) == 2
    assert "there is no such command" in capsys.readouterr().out


def test_english_reads_no_table(monkeypatch):
    monkeypatch.setattr(words, "_load", lambda: pytest.fail("read"))
    words.choose_language({"LANG": "C"})
    assert words.say("{} of {}", 1, 2) == "1 of 2"
    assert words.translate("the disk is full") == "the disk is full"


def test_yes_is_oui_too(french):
    assert [words.is_yes(one) for one in ("o", "Oui\n", "y", "n", "")] == [
        *(True, True, True),
        *(False, False),
    ]


def test_tables_stay_aligned_with_accents(french):
    row = {
        "id": "1",
        "state": "cancelled",
        "done_bytes": 512,
        "size": 1536,
        "name": "film",
    }
    lines = render("jobs", [row, {**row, "state": "done"}]).splitlines()
    assert lines[0].split() == ["ID", "ÉTAT", "FAIT", "TAILLE", "NOM"]
    assert lines[0].index("NOM") == lines[1].index("film") == lines[2].index("film")
    assert "annulée" in lines[1]
    assert "1,5 Kio" in lines[1]


def test_findings_are_french_with_what_to_do(french):
    finding = {
        "level": "warning",
        "message": "share 'a': 3 of 4 files are missing at once;"
        " friends still see them",
        "thing": "",
        "next": "Forward TCP ports 2122 and 1-2 to 10.0.0.2 on your router. Until then"
        " you can fetch from and push to reachable friends.",
    }
    shown = render("doctor", {"findings": [finding], "verdict": "the disk is full"})
    assert shown == (
        "alerte  partage 'a'\u00a0: 3 fichiers sur 4 ont disparu d’un coup\u202f;"
        " les amis les voient encore\u202f; Redirigez TCP, ports 2122 et 1-2, vers"
        " 10.0.0.2 sur votre"
        " routeur. D’ici là, vous pouvez récupérer chez les amis joignables et leur"
        " envoyer.\nle disque est plein\n"
    )


def test_a_question_is_asked_in_french(french, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert ask("Name of this node", "alice") == "alice"
    assert capsys.readouterr().err == "Nom de ce nœud [alice]\u00a0: "


WRONG_SETTINGS = [
    {"node": {"name": 5, "nmae": "a"}},
    {"disk": "/", "ftp": {"port": 70000, "friends_port": "2122"}},
    {"ftp": {"users": "me", "house_networks": ["10.0.0.1/8", "lan"]}},
    {"ftp": {"users": [{"name": "a", "password": "", "access": "write"}, 3]}},
    {"ftp": {"passive_ports": "1-2", "address": "here", "certificate": "c.pem"}},
    {"mqtt": {"broker": "http://x", "pin": "xyz"}},
    {"mqtt": {"broker": "mqtt://x", "pin": "ab"}, "limits": {"hours": "8-8"}},
    {"limits": {"transfers": 99, "give_way": "maybe"}, "downloads": "../x"},
    {"downloads": ".", "shares": [{"name": "a", "path": "/etc", "groups": 1}]},
    {"shares": [{"name": "a/", "path": ".fonshare", "groups": ["x"]}] * 2},
    {"shares": [{"name": "a", "path": "x", "groups": ["x"]}] * 2, "state": "./disk/s"},
    {"web": {"names": ["a b"], "port": "x"}, "node": "alice", "nothing": 1},
    [],
]
ENGLISH = re.compile(r"\b(is|must|not|allowed|holds|the|has|nothing|from)\b")


def test_what_is_wrong_with_settings_is_said_in_french(monkeypatch):
    given = {"node": {"name": "a"}, "disk": "./disk"}
    lines = []
    for wrong in WRONG_SETTINGS:
        with pytest.raises(SettingsError) as caught:
            validate(given | wrong if wrong else wrong)
        lines += str(caught.value).splitlines()
    assert len(lines) > 25
    monkeypatch.setattr(words, "_chosen", "fr")
    for line in lines:
        french = words.translate(line)
        assert french != line
        assert "\u00a0\u00a0" not in french
        bare = re.sub(r"'[^']*'|`[^`]*`", "", french)
        assert not ENGLISH.search(bare), french


def test_what_is_wrong_with_the_form_of_a_file_is_said_in_french(monkeypatch):
    _, lines = read_yaml(b"a: &x 1\nb: *x\nc: !t 1\nd: 1\nd: 2\n5: 1\n")
    lines += read_yaml(b"a: [")[1] + read_yaml(b"- a")[1] + read_yaml(b"\xff")[1]
    _, more, unknown = read_uci(b"option a 1\nhello\nconfig x y z\nconfig node 'a\n")
    monkeypatch.setattr(words, "_chosen", "fr")
    for line in (*lines, *more, *unknown):
        assert words.translate(line) != line, line
