"""`fonshare web` as it is typed: how it starts, ends, and refuses to start."""

import glob
import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fonshare_agent.cli import main
from fonshare_agent.web.page import SHELL
from nodes import FONSHARE
from settings_files import write_settings
from waiting import PATIENCE_S
from web_server import Browser, add_web

ROOT = Path(__file__).parent.parent
# What the shell says: `words('…')`; and what it has in French: `'…':`.
SAID = re.compile(r"words\('((?:[^'\\]|\\.)*)'\)")
FRENCH = re.compile(r"^\t'((?:[^'\\]|\\.)*)':\s", re.MULTILINE)


@pytest.fixture
def config(tmp_path):
    path = write_settings(tmp_path, name="alice")
    add_web(path)
    return path


def port_of(config):
    return yaml.safe_load(config.read_text())["web"]["port"]


def said_of(config, capsys):
    status = main(["-c", str(config), "web", "--json"])
    return status, json.loads(capsys.readouterr().out)["error"]


def test_it_says_where_the_page_is_and_ends_with_a_signal(config):
    child = subprocess.Popen(
        [*FONSHARE, "-c", config.name, "web"],
        cwd=config.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = child.stderr.readline()
        assert line == f"fonshare: the page is at http://127.0.0.1:{port_of(config)}/\n"
        page = http.client.HTTPConnection("127.0.0.1", port_of(config), PATIENCE_S)
        page.request("GET", "/")
        assert page.getresponse().status == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        page.close()
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def test_without_settings_it_says_what_to_do_first(tmp_path, capsys):
    status, error = said_of(tmp_path / "none.yaml", capsys)
    assert (status, error["code"]) == (2, "settings")
    assert "cannot read" in error["message"]


@pytest.mark.full
def test_without_settings_a_terminal_is_told_a_code_that_opens_the_page(tmp_path):
    ours, theirs = pty.openpty()
    try:
        child = subprocess.Popen([*FONSHARE, "web"], cwd=tmp_path, stderr=theirs)
        os.close(theirs)
        with open(ours, errors="replace") as screen:
            lines = [screen.readline() for _ in range(3)]
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", lines[1])[1])
            code = lines[2].rpartition(": ")[2].strip()
            browser = Browser(port)
            assert browser.get("/api/session").json["first_use"] is True
            assert browser.login(code).status == 200
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE_S) == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        child.kill()
        child.wait()


def test_nobody_who_may_write_means_no_page(tmp_path, capsys):
    guest = {"name": "guest", "password": "", "access": "read"}
    config = write_settings(tmp_path, users=[guest])
    status, error = said_of(config, capsys)
    assert (status, error["code"]) == (2, "settings")
    assert "ftp.users" in error["message"]


def test_a_port_that_is_taken_is_named(config, capsys):
    with socket.create_server(("127.0.0.1", port_of(config))):
        status, error = said_of(config, capsys)
    assert (status, error["code"]) == (1, "port.taken")
    assert str(port_of(config)) in error["thing"]


def test_without_its_library_it_says_what_to_install(config, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress", None)
    status, error = said_of(config, capsys)
    assert (status, error["code"], error["thing"]) == (2, "web.library", "waitress")
    assert "fonshare-agent[web]" in error["next"]


def test_the_routers_package_sends_to_luci(config, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fonshare_agent.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fonshare_agent.web", None)
    status, error = said_of(config, capsys)
    assert (status, error["code"]) == (2, "usage")
    assert "LuCI" in error["next"]


def test_the_agent_and_the_command_line_load_nothing_of_it():
    code = (
        "import sys, fonshare_agent.resident, fonshare_agent.agent, fonshare_agent.cli,"
        " fonshare_agent.local_commands; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = run.stdout.split()
    assert "fonshare_agent.cli" in loaded
    foreign = ("waitress", "segno", "fonshare_agent.web")
    assert not [name for name in loaded if name.startswith(foreign)]


def test_the_sign_in_says_everything_in_french():
    scripts = [file.read_text() for file in SHELL.glob("*.js")]
    said = {text for script in scripts for text in SAID.findall(script)}
    french = set(FRENCH.findall((SHELL / "words.js").read_text()))
    assert said
    assert said == french


def test_a_wheel_has_every_file_of_the_page():
    """setuptools takes what these patterns name, through the links as well."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = settings["tool"]["setuptools"]["package-data"]["fonshare_agent"]
    package = SHELL.parent.parent
    found = {
        file
        for pattern in named
        for file in glob.glob(pattern, root_dir=package, recursive=True)
    }
    wanted = {
        os.path.relpath(os.path.join(folder, name), package)
        for folder, _, names in os.walk(SHELL.parent, followlinks=True)
        for name in names
        if not name.endswith((".py", ".pyc", ".pot"))
    }
    assert "web/shell/shell.js" in wanted
    assert wanted <= found | {"web/modules", "web/po"}  # links that lead nowhere yet


def test_the_links_lead_to_where_luci_has_the_page():
    """Relative, so that a checkout works wherever it lies."""
    for name, end in (
        ("modules", "resources/fonshare"),
        ("po", "luci-app-fonshare/po"),
    ):
        link = os.readlink(SHELL.parent / name)
        assert not link.startswith("/")
        assert link.endswith(end)
