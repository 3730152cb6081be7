"""An agent that the page's program starts itself, where it may."""

import socket

import pytest

from control_agent import running_agent
from fonshare_agent.config import load_settings
from fonshare_agent.control.client import AgentError, is_answered, request
from fonshare_agent.errors import SettingsError
from fonshare_agent.web.own_agent import OwnAgent
from settings_files import write_settings
from web_server import add_web, serving


def test_a_service_starts_no_agent_and_says_who_does(tmp_path):
    with running_agent(tmp_path) as agent:
        add_web(agent.config)
        with serving(agent.config) as browser:
            assert browser.post("/api/agent/start", {}).code == "session_expired"
            browser.login()
            assert browser.get("/api/session").json["may_start"] is False
            refused = browser.post("/api/agent/start", {}).json["error"]
    assert refused["code"] == "not_allowed"
    assert "fonshare agent" in refused["next"]


def test_one_that_answers_is_left_alone(tmp_path):
    with running_agent(tmp_path) as agent:
        own = OwnAgent(agent.config)
        own.start()
        with own.resting():
            assert is_answered(agent.socket)
        assert agent.calls == []


@pytest.fixture
def config(tmp_path):
    return write_settings(tmp_path, name="alice")


@pytest.mark.full
def test_it_is_started_once_rests_for_a_restore_and_ends_with_the_page(config):
    place = load_settings(config, needs_hashes=False).control_socket
    own = OwnAgent(config)
    try:
        own.start()
        node = request(place, "status", {})["node"]
        own.start()
        with own.resting():
            assert not is_answered(place)
        own.start()  # waits for the one that began meanwhile
        assert request(place, "status", {})["node"] == node
    finally:
        own.stop()
    assert not is_answered(place)


@pytest.mark.full
def test_what_keeps_it_from_starting_is_told(config):
    settings = load_settings(config, needs_hashes=False)
    own = OwnAgent(config)
    try:
        place = (settings.ftp.address, settings.ftp.port)
        with socket.create_server(place), pytest.raises(AgentError) as told:
            own.start()
        assert told.value.answered_code == "port.taken"
        config.write_text("node: 1")
        with pytest.raises(SettingsError):
            own.start()
    finally:
        own.stop()
