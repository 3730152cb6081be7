"""What is generated from the table of settings is current, whole and valid."""

import re
from pathlib import Path

import pytest

from fonshare_agent.config import OPTIONS, SourceKind, validate
from fonshare_agent.config_docs import (
    main,
    render_settings_markdown,
    render_uci_file,
    render_validation,
    uci_sections,
)
from fonshare_agent.config_table import LISTS
from fonshare_agent.config_uci import read_uci, uci_place

ROOT = Path(__file__).parent.parent
PAGES = ("docs/settings.md", "files/etc/config/fonshare")


@pytest.mark.parametrize("page", PAGES)
def test_the_committed_page_is_the_one_rendered(tmp_path, page):
    main([str(tmp_path / "settings.md"), str(tmp_path / "fonshare")])
    rendered = (
        tmp_path / {"docs": "settings.md", "files": "fonshare"}[page[: page.find("/")]]
    )

    assert (ROOT / page).read_text() == rendered.read_text(), (
        "run `python -m fonshare_agent.config_docs`"
    )


def test_names_are_given_once_and_have_help():
    rows = [OPTIONS, *LISTS.values()]
    for row in rows:
        names = [option.name for option in row]
        assert len(names) == len(set(names))
        assert all(option.help.endswith(".") for option in row)


def test_the_page_has_every_option():
    page = render_settings_markdown()
    for option in OPTIONS:
        assert f"\n### {option.name}\n\n{option.help}\n" in page
    for name, rows in LISTS.items():
        for option in rows:
            assert f"\n### {name}[].{option.name}\n" in page


def test_the_pages_example_is_valid(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", render_settings_markdown(), re.DOTALL)
    assert text is not None
    path = tmp_path / "fonshare.yaml"
    path.write_text(text[1])
    from fonshare_agent.config import load_settings

    assert load_settings(path).shares[0].name == "Films"


def test_the_shipped_file_starts_nothing_and_only_lacks_what_must_be_given():
    raw, complaints, unknown = read_uci(render_uci_file().encode())
    assert complaints + unknown == []
    assert raw["node"] == {"enabled": "0"}
    assert raw["ftp"] == {"users": []}


def test_the_shipped_file_is_valid_with_every_comment_taken_away():
    text = re.sub(
        r"^(\t?)#(?=option|list|config)", r"\1", render_uci_file(), flags=re.M
    )
    raw, complaints, unknown = read_uci(text.encode())
    settings = validate(raw, kind=SourceKind.UCI, complaints=complaints + unknown)
    assert settings.unused == ()

    assert settings.shares[0].name == "Films"
    assert settings.ftp.users[0].name == "owner"
    given = {section.split(".")[0] for section in raw}
    assert given == {"node", "disk", "ftp", "mqtt", "limits", "downloads", "shares"} | {
        "state",
        "keys",
        "index",
        "run",
    }


def test_the_defaults_shown_in_the_shipped_file_are_the_defaults():
    text = re.sub(
        r"^(\t?)#(?=option|list|config)", r"\1", render_uci_file(), flags=re.M
    )
    shown, *_ = read_uci(text.encode())
    bare = {"node": {"name": "alice", "enabled": "0"}, "disk": "/mnt/sda1"}
    # What has an example instead of a default is of no interest here.
    for place in (shown["node"].pop("public_name"), shown["ftp"].pop("guest_folders")):
        assert place
    for name in ("certificate", "certificate_key", "users"):
        del shown["ftp"][name]
    del shown["mqtt"], shown["shares"]

    assert validate(shown, kind=SourceKind.UCI) == validate(bare, kind=SourceKind.UCI)


def test_the_init_scripts_words_name_every_option_of_their_section():
    assert uci_sections() == [
        *("node", "disk", "ftp", "mqtt", "downloads", "limits"),
        *("user", "share"),
    ]
    for option in OPTIONS:
        section, name = uci_place(option)
        if section != "web":
            words = render_validation(section)
            assert sum(word.startswith(f"{name}:") for word in words) == 1
    assert "enabled:bool:0" in render_validation("node")
    assert "port:port:2121" in render_validation("ftp")
    assert [word.split(":")[0] for word in render_validation("user")] == [
        *("name", "password", "access"),
    ]
