"""The agent starts again with its settings as they are then, as the same process."""

import os
import signal

import pytest
import yaml

from fonshare_agent.config import SourceKind
from fonshare_agent.control.restarting import restart
from fonshare_agent.errors import NotAllowed
from nodes import CommandFailed, eventually, running
from settings_files import check


def rename(node, name):
    raw = yaml.safe_load(node.settings.read_text())
    raw["node"]["name"] = name
    node.settings.write_text(yaml.safe_dump(raw))


def called(node):
    try:
        return node("status")["node"]["name"]
    except CommandFailed:
        return ""  # it is starting


def test_on_a_router_its_service_restarts_it():
    settings = check(kind=SourceKind.UCI)
    with pytest.raises(NotAllowed, match="its service"):
        restart(settings)


@pytest.mark.full
def test_it_takes_new_settings_and_refuses_broken_ones(make_node):
    node = make_node("alice")
    with running(node):
        rename(node, "bob")
        assert node("restart") == {"restarting": True}
        eventually(lambda: called(node) == "bob", "it has its new name")
        assert node.process.poll() is None, "the same process"
        rename(node, "a/b")
        with pytest.raises(CommandFailed) as failed:
            node("restart")
        assert failed.value.code == "settings"
        os.kill(node.process.pid, signal.SIGHUP)
        eventually(lambda: "goes on with the settings" in node.tail(), "it says so")
        assert node.process.poll() is None
        rename(node, "carol")
        os.kill(node.process.pid, signal.SIGHUP)
        eventually(lambda: called(node) == "carol", "a signal does the same")
        assert node.stop() == 0
