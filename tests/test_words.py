"""The page's words: all of them collected, and every one said in French."""

import subprocess
import sys

import pytest

import words

NBSP = "\u00a0"


@pytest.fixture(scope="module")
def files() -> dict:
    return words.rendered()


@pytest.mark.parametrize("file", [words.TEMPLATE, words.FRENCH], ids=lambda f: f.name)
def test_the_collected_words_are_current(files, file):
    assert file.read_text(encoding="utf-8") == files[file], "run `make words`"


def test_everything_is_said_in_french_with_the_same_gaps_and_well_set(files):
    assert words.complain(words.read_po(files[words.FRENCH])) == []


def test_the_words_of_the_menu_and_of_every_view_are_collected():
    texts = words.collect()
    assert "Sharing" in texts
    places = {place for text in texts.values() for place in text.places}
    for name in ("view/fonshare/settings.js", "status/include/70_fonshare.js"):
        assert any(place.endswith(name) for place in places)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("h('p', _('One'), _( \"two\" ))", ["One", "two"]),
        ("_('a ' +\n\t'b ' + \"c\")", ["a b c"]),
        (r"_('it\'s \u2026 a\nb')", ["it's … a\nb"]),
        ("// _('no')\n/* _('nor') */ x = '_(\\'this\\')'; _('yes')", ["yes"]),
        ("my_('no'); a._('no'); function _(text) { return t(text); }", []),
        ("translate: text => _(text)", []),
        ("_('mqtt://x') // y", ["mqtt://x"]),
        ("_('%d file') + plural(n, _('a'), _('b'))", ["%d file", "a", "b"]),
    ],
)
def test_what_is_called_by_underscore_is_found(source, found):
    assert words.find_texts(source) == found


@pytest.mark.parametrize("source", ["_(name)", "_('a' + b)", "_(`a`)", "_('a', 1)"])
def test_a_text_that_no_program_can_read_is_refused(source):
    with pytest.raises(words.NoLiteral, match="line 2"):
        words.find_texts(f"\n{source}")


def test_a_translation_outlives_its_text_as_a_comment(tmp_path, monkeypatch):
    french = tmp_path / "fonshare.po"
    monkeypatch.setattr(words, "FRENCH", french)

    def collect(*texts: str) -> None:
        monkeypatch.setattr(words, "collect", lambda: {t: words.Text(t) for t in texts})
        french.write_text(words.rendered()[french])

    collect('Say "one"', "two")
    french.write_text(french.read_text().replace('msgstr ""\n', 'msgstr "x"\n'))
    collect("two")
    assert words.read_po(french.read_text()) == {"two": "x"}
    assert '#~ msgid "Say \\"one\\""' in french.read_text()
    collect('Say "one"')
    assert words.read_po(french.read_text()) == {'Say "one"': "x"}
    monkeypatch.setattr(words, "collect", dict)
    assert "#~" not in words.rendered(drop=True)[french]


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("%s of %d", "%d sur %s"),
        ("%d%", "%d %%"),
        ("Ready?", "Prêt ?"),
        ("Ready?", "Prêt?"),
        ("Note: x", "Note : x"),
        ("the 'x'", "le « x »"),
        ("it is", "c'est"),
        ("A", ""),
    ],
)
def test_what_is_translated_badly_is_told(text, translation):
    assert words.complain({text: translation}) != []


def test_what_is_translated_well_is_not_complained_about():
    good = f"Prêt{NBSP}? «{NBSP}%s{NBSP}»{NBSP}: mqtt://x, d’ici 22:30, `::`"
    assert words.complain({"%s": good}) == []


def test_the_command_tells_what_is_missing_and_writes_nothing_when_it_checks():
    before = words.FRENCH.read_bytes()
    command = [sys.executable, words.ROOT / "tools" / "words.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "All words are translated.\n")
    assert words.FRENCH.read_bytes() == before
