"""Settings changed in the browser: what is written, what is refused, what stays."""

import os
import random
import stat
from pathlib import Path

import pytest
import yaml

from control_agent import running_agent
from fonshare_agent.config import load_settings
from fonshare_agent.config_shown import rows
from fonshare_agent.config_yaml import read_yaml
from fonshare_agent.errors import (
    SettingsError,
    SettingsUnwritten,
    UsageError,
)
from fonshare_agent.passwords import verify_password
from fonshare_agent.web import form as form_module
from fonshare_agent.web.form import FORM, Login, SettingsForm, Wish
from fonshare_agent.web.labels import LABELS, SECTIONS
from fonshare_agent.web.yaml_edits import Edit, edit_yaml
from web_server import PASSWORD, Browser, add_web, serving

# --- the text of a file ---

BLOCK = """\
# mine
node:
  name: alice  # to friends
ftp:   # both doors
  port: 2121
  guest_folders:   # for the TV
    - films   # all
    - music
    # the end
  users:
    - name: owner
      password: secret
      access: write
    - {name: guest, password: "", access: read}

# where
disk: ./disk
mqtt:
"""


@pytest.mark.parametrize(
    ("steps", "value", "old", "new"),
    [
        (("ftp", "port"), 2200, "port: 2121", "port: 2200"),
        (("node", "name"), "b: #", "name: alice  #", "name: 'b: #'  #"),
        (("node", "name"), "012", "name: alice", "name: '012'"),
        (("node", "relay"), True, "friends\n", "friends\n  relay: true\n"),
        (("ftp", "port"), None, "  port: 2121\n", ""),
        (("web", "port"), 8081, "mqtt:\n", "mqtt:\nweb: {port: 8081}\n"),
        (("mqtt", "broker"), "mqtt://b", "mqtt:\n", "mqtt: {broker: 'mqtt://b'}\n"),
        (
            ("ftp", "guest_folders"),
            ["music", "new, one"],
            "    - films   # all\n    - music\n",
            "    - music\n    - 'new, one'\n",
        ),
        (
            ("ftp", "guest_folders"),
            ["other"],
            "   # for the TV\n    - films   # all\n    - music\n",
            " [other]   # for the TV\n",
        ),
        (
            ("ftp", "users", 0, "password"),
            "hash",
            "password: secret",
            "password: hash",
        ),
        (
            ("ftp", "users", 1, "access"),
            "write",
            "access: read}",
            "access: write}",
        ),
        (
            ("ftp", "users", 2),
            {"name": "bob", "access": "read"},
            "access: read}\n",
            "access: read}\n    - {access: read, name: bob}\n",
        ),
        (
            ("ftp", "users", 0),
            None,
            "    - name: owner\n      password: secret\n      access: write\n",
            "",
        ),
    ],
)
def test_only_what_changed_is_written(steps, value, old, new):
    assert BLOCK.count(old) == 1
    edited = edit_yaml(BLOCK.encode(), [Edit(steps, value)]).decode()
    assert edited == BLOCK.replace(old, new)


def test_what_it_does_not_know_how_to_change_is_left_to_a_person():
    text = b"node: {name: a}\nftp:\n  users:\n  - - x\n    - y\n"
    with pytest.raises(SettingsUnwritten, match="only a person"):
        edit_yaml(text, [Edit(("ftp", "users", 0, 0), None)])


def styled(draw, value, indent=0):
    """Write *value* as YAML in one of the ways that people do, with comments."""
    if not isinstance(value, (dict, list)) or not value or draw.random() < 0.3:
        text = yaml.safe_dump([value], default_flow_style=True, width=10**6)
        return f" {text.strip()[1:-1]}{remark(draw)}\n"
    pad = " " * indent
    lines = [remark(draw)]
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if draw.random() < 0.2:
            lines.append(f"\n{pad}# above {draw.random()}")
        head = f"{key}:" if isinstance(value, dict) else "-"
        lines.append(f"\n{pad}{head}{styled(draw, one, indent + 2).rstrip(chr(10))}")
    return "".join(lines) + "\n"


def remark(draw):
    return f"  # beside {draw.random()}" if draw.random() < 0.3 else ""


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.full)])
def test_however_a_file_is_written_an_edit_says_what_was_wanted(rounds):
    draw = random.Random(rounds)
    words = ["a", "b c", "- x", "12", "off", "é: #1", "[", "", "'", '"q"', "0-24", "~"]
    done = 0
    for _ in range(rounds):
        before = {
            "node": {"name": draw.choice(words)},
            "ftp": {
                "guest_folders": draw.sample(words[:10], draw.randint(0, 3)),
                "users": [{"name": "o", "access": draw.choice(words)}, {"name": "g"}],
            },
            "disk": "d",
        }
        text = styled(draw, before).lstrip("\n")
        if read_yaml(text.encode()) != (before, []):
            continue  # not a file that could be read before
        edits = draw.sample(
            [
                Edit(("node", "name"), draw.choice(words)),
                Edit(("node", "relay"), draw.random() < 0.5),
                Edit(("web", "names"), draw.sample(words, 2)),
                Edit(("disk",), draw.choice(words)),
                Edit(("ftp", "guest_folders"), draw.sample(words[:10], 2)),
                Edit(("ftp", "users", 0, "password"), draw.choice(words)),
                Edit(("ftp", "users", 2), {"name": draw.choice(words)}),
                Edit(("ftp", "port"), 12),
            ],
            3,
        )
        edited = edit_yaml(text.encode(), edits).decode()
        # It has compared the values itself; of what was said beside nothing is lost.
        kept = [line for line in text.splitlines() if line.strip().startswith("#")]
        assert [one for one in kept if one not in edited.splitlines()] == [], text
        done += 1
    assert done > rounds / 3


# --- the form ---


@pytest.fixture
def config(tmp_path):
    (tmp_path / "disk").mkdir()
    path = tmp_path / "node.yaml"
    path.write_text(
        BLOCK.replace("mqtt:\n", "mqtt: {broker: 'mqtts://me:geheim@broker.example'}\n")
        .replace("secret", PASSWORD)
        .replace("port: 2121", "port: 12121")
    )
    path.chmod(0o640)
    return path


@pytest.fixture
def form(config):
    return SettingsForm(config)


def test_every_option_that_no_command_sets_has_a_place_and_a_label(form):
    told = form.read()
    assert {one["name"] for one in told["options"]} == set(FORM)
    assert "limits.upload_kib_s" not in FORM
    assert "limits.hash_kib_s" in FORM
    assert {one["section"] for one in told["options"]} <= set(SECTIONS)
    assert set(FORM) <= set(LABELS)
    assert told["refusal"] is None


def test_no_secret_leaves(form):
    told = form.read()
    assert "geheim" not in repr(told)
    assert PASSWORD not in repr(told)
    broker = next(one for one in told["options"] if one["name"] == "mqtt.broker")
    assert broker["value"] == "mqtts://me:***@broker.example"
    assert told["logins"] == [
        {"name": "owner", "access": "write"},
        {"name": "guest", "access": "read"},
    ]


def test_a_change_keeps_comments_the_mode_and_where_a_link_leads(config, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(config)
    saved = SettingsForm(link).save(
        Wish({"ftp.port": "12200", "node.relay": True, "web.names": ["nas.local"]})
    )
    assert saved == ["ftp.port", "node.relay", "web.names"]
    assert link.is_symlink()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert "# to friends" in config.read_text()
    settings = load_settings(config, needs_hashes=False)
    assert settings.ftp.port == 12200
    assert settings.node.relay
    assert settings.web.names == ("nas.local",)
    assert [one.name for one in tmp_path.iterdir() if ".yaml." in one.name] == []


def test_what_is_as_it_was_is_not_written(form, config):
    before = config.read_bytes()
    same = {
        "ftp.port": "12121",
        "mqtt.broker": "mqtts://me:***@broker.example",
        "node.public_name": "",
        "web.names": [],
    }
    logins = [Login(n, n, a, None) for n, a in (("owner", "write"), ("guest", "read"))]
    assert form.save(Wish(same, logins)) == []
    assert config.read_bytes() == before


def test_what_the_settings_refuse_changes_nothing(form, config):
    before = config.read_bytes()
    with pytest.raises(SettingsError) as caught:
        form.save(Wish({"ftp.port": "x", "node.name": "", "web.port": "12121"}))
    said = str(caught.value)
    assert "ftp.port: must be a plain decimal number" in said
    assert "node.name: is missing" in said
    with pytest.raises(SettingsError, match=r"web\.port: is 12121, as ftp\.port is"):
        form.save(Wish({"web.port": "12121"}))
    with pytest.raises(UsageError):
        form.save(Wish({"limits.upload_kib_s": "1"}))
    assert config.read_bytes() == before


def test_the_brokers_password_stays_with_its_address(form, config):
    def broker():
        return load_settings(config, needs_hashes=False).mqtt.broker

    form.save(Wish({"mqtt.broker": "mqtts://me:***@broker.example:8884"}))
    assert broker() == "mqtts://me:geheim@broker.example:8884"
    for other in ("mqtts://me:***@evil.example", "mqtts://you:***@broker.example"):
        with pytest.raises(SettingsError, match=r"mqtt\.broker: its password"):
            form.save(Wish({"mqtt.broker": other}))
    form.save(Wish({"mqtt.broker": "mqtts://you:new@evil.example"}))
    assert broker() == "mqtts://you:new@evil.example"
    form.save(Wish({"mqtt.broker": ""}))
    assert broker() == ""


def test_logins_are_changed_by_name_and_their_passwords_hashed(form, config):
    form.save(
        Wish(
            {},
            [
                Login("owner", "alice", "write", None),
                Login("guest", "guest", "read", "tv"),
                Login(None, "bob", "read", ""),
            ],
        )
    )
    raw = yaml.safe_load(config.read_text())["ftp"]["users"]
    assert [(one["name"], one["access"]) for one in raw] == [
        ("alice", "write"),
        ("guest", "read"),
        ("bob", "read"),
    ]
    assert raw[0]["password"] == PASSWORD, "as it was"
    assert verify_password(raw[1]["password"], "tv")
    form.save(Wish({}, [Login("alice", "alice", "write", "new")]))
    (owner,) = load_settings(config).ftp.users
    assert verify_password(owner.password_hash, "new")
    with pytest.raises(SettingsError, match="no login with access: write"):
        form.save(Wish({}, [Login("alice", "alice", "read", None)]))
    with pytest.raises(UsageError):
        form.save(Wish({}, [Login("guest", "guest", "read", None)]))


def test_a_file_that_cannot_be_changed_here_says_why(config, monkeypatch, tmp_path):
    monkeypatch.setattr(form_module.os, "access", lambda place, mode: False)
    told = SettingsForm(config).read()
    assert told["refusal"]["code"] == "settings.unwritten"
    with pytest.raises(SettingsUnwritten, match="may not write"):
        SettingsForm(config).save(Wish({"ftp.port": "12200"}))
    monkeypatch.undo()
    assert "router" in SettingsForm(tmp_path / "fonshare").read()["refusal"]["message"]
    config.write_text(BLOCK + "node: x\n")
    assert "given twice" in SettingsForm(config).read()["refusal"]["message"]


# --- over HTTP ---


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with running_agent(tmp_path_factory.mktemp("form")) as running:
        add_web(running.config)
        settings = load_settings(running.config, needs_hashes=False)
        running.answers["settings"] = rows(settings)
        yield running


@pytest.fixture(scope="module")
def server(agent):
    with serving(agent.config) as browser:
        yield browser


@pytest.fixture
def browser(server):
    browser = Browser(server.port)
    browser.login()
    return browser


def save(browser, options=None, **more):
    return browser.post("/api/settings/save", {"options": options or {}, **more})


@pytest.mark.parametrize("path", ["/api/settings", "/api/settings/save"])
def test_only_who_is_signed_in_sees_or_changes_settings(server, path):
    assert Browser(server.port).post(path, {}).code == "session_expired"
    foreign = Browser(server.port)
    foreign.login()
    assert foreign.post(path, {}, Origin="http://evil.example").code == "web.refused"
    assert foreign.get(path).code == "web.method"


def test_what_the_agent_has_not_taken_yet_is_told(agent, browser: Browser):
    def pending():
        return browser.post("/api/settings", {}).json["result"]["pending"]

    agent.answers["settings"] = rows(load_settings(agent.config, needs_hashes=False))
    assert pending() == []
    answer = save(browser, {"node.name": "other", "web.names": ["nas.local"]})
    assert answer.json["result"] == {
        "saved": ["node.name", "web.names"],
        "moves_page": False,
    }
    assert pending() == ["node.name"]
    agent.answers["settings"] = UsageError("an agent of another version")
    assert pending() is None


def test_a_password_is_not_taken_before_another_agent_lives(agent, browser: Browser):
    def pending():
        return browser.post("/api/settings", {}).json["result"]["pending"]

    agent.answers["settings"] = rows(load_settings(agent.config, needs_hashes=False))
    logins = [{"was": "owner", "name": "owner", "access": "write", "password": "new"}]
    save(browser, logins=logins, password=PASSWORD)
    save(browser, {"mqtt.broker": "mqtt://u:one@broker.example"})
    agent.answers["settings"] = rows(load_settings(agent.config, needs_hashes=False))
    assert pending() == ["ftp.users", "mqtt.broker"]
    os.utime(agent.socket, ns=(1, 1))  # as if it had been bound at another time
    assert pending() == []
    save(browser, {"mqtt.broker": None})
    back = [{**logins[0], "password": PASSWORD}]
    assert save(browser, logins=back, password="new").status == 200


def test_a_name_of_the_page_counts_at_once(browser):
    assert browser.get("/", Host="box.local").code == "web.host"
    save(browser, {"web.names": ["box.local"]})
    assert browser.get("/", Host="box.local").status == 200


def test_what_is_wrong_is_told_at_its_field_in_the_readers_language(browser):
    options = {"ftp.port": "0", "node.name": "a/b"}
    error = save(browser, options, language="fr").json["error"]
    assert error["code"] == "settings"
    assert error["fields"]["ftp.port"] == (
        "vaut 0\u00a0; autorisé\u00a0: un port de 1 à 65535"
    )
    assert set(error["fields"]) == set(options)


@pytest.mark.parametrize(
    "body",
    [
        {"options": []},
        {"options": {"node.relay": "yes"}},
        {"options": {"web.names": "a"}},
        {"options": {"node.name": "\ud800"}},
        {"logins": {}, "password": PASSWORD},
        {"logins": [1], "password": PASSWORD},
        {"logins": [{"name": "x"}], "password": PASSWORD},
        {"logins": [{"name": "\udc00", "access": "read"}], "password": PASSWORD},
        {"logins": []},
    ],
)
def test_what_no_form_sends_is_refused(browser, agent, body):
    before = agent.config.read_bytes()
    assert browser.post("/api/settings/save", body).code == "web.request"
    assert agent.config.read_bytes() == before


def test_a_login_is_changed_by_who_knows_a_password(browser, server, agent):
    other = Browser(server.port)
    other.login()
    logins = [{"was": "owner", "name": "owner", "access": "write", "password": "new"}]
    refused = save(browser, logins=logins, password="wrong")
    assert (refused.status, refused.code) == (401, "web.password")
    saved = save(browser, logins=logins, password=PASSWORD)
    assert saved.json["result"]["saved"] == ["ftp.users"]
    assert browser.post("/api/settings", {}).status == 200, "it stays signed in"
    assert other.post("/api/settings", {}).code == "session_expired"
    assert Browser(server.port).login("new").status == 200
    back = [{**logins[0], "password": PASSWORD}]
    assert save(browser, logins=back, password="new").status == 200
    assert PASSWORD not in Path(agent.config).read_text()
