"""Copies between servers that the agent begins: processes of their own, and seen."""

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from fonshare_agent.control import fxp_runs
from fonshare_agent.control.fxp_runs import FxpRuns
from fonshare_agent.errors import FxpBusy, FxpUrl, NotAllowed, NotFound
from fxp_small import PASSWORD, small_server
from nodes import eventually, running
from waiting import wait_until

CONTENT = os.urandom(200_000)
PLAIN = {
    "relay": "auto",
    "overwrite": False,
    "plain_data": False,
    "src_pin": None,
    "dst_pin": None,
    "ca": None,
}
SLOW = 20_000  # bytes a second: it takes longer than any test looks


@pytest.fixture
def servers(tmp_path):
    """Return what opens two servers; the first may be slow."""
    with ExitStack() as stack:

        def open_two(bytes_s=0):
            source = small_server(tmp_path / "a", "127.0.0.2", bytes_s=bytes_s)
            target = small_server(tmp_path / "b", "127.0.0.3")
            return stack.enter_context(source), stack.enter_context(target)

        yield open_two


@pytest.fixture
def place(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def runs(place, tmp_path):
    made = FxpRuns(place, tmp_path)
    yield made
    for row in made.rows():
        made.stop(str(row["id"]))
        wait_until_gone(made, place, str(row["id"]))


def asked(first, second, password=PASSWORD, **more):
    return {
        "source": first.url("top"),
        "target": second.url("new"),
        "source_password": password,
        "target_password": PASSWORD,
        **PLAIN,
        **more,
    }


def row_of(runs, name):
    [found] = [row for row in runs.rows() if row["id"] == name]
    return found


def process_of(place, name):
    return int((place / "fxp" / f"{name}.lock").read_text())


def wait_until_gone(runs, place, name):
    process = Path(f"/proc/{process_of(place, name)}")
    wait_until(lambda: runs.rows() and not process.exists(), f"{name} has ended")


def wait_until_running(runs, name):
    wait_until(lambda: row_of(runs, name)["done_bytes"], f"{name} is being copied")


def test_a_copy_goes_on_by_itself_and_its_end_is_known(runs, place, servers):
    source, target = servers()
    source.put("top/film", CONTENT)
    [begun] = runs.begin(asked(source, target))
    assert (begun["id"], begun["state"]) == ("fxp-1", "locating")
    assert begun["wish"]["source"] == source.url("top")
    wait_until_gone(runs, place, "fxp-1")
    row = row_of(runs, "fxp-1")
    assert (row["state"], row["done_bytes"], row["files"]) == ("done", len(CONTENT), 1)
    assert row["wish"] == begun["wish"]
    assert target.tree() == {"new/film": CONTENT}
    assert runs.forget("all") == [row]
    assert runs.rows() == list((place / "fxp").iterdir()) == []


@pytest.mark.full
def test_what_is_wrong_is_told_now_or_in_the_row(runs, place, servers):
    source, target = servers()
    with pytest.raises(FxpUrl):
        runs.begin(asked(source, target, source="http://example.org"))
    with pytest.raises(FxpUrl):
        runs.begin(asked(source, target, src_pin="abc"))
    assert runs.rows() == []
    runs.begin(asked(source, target, password="wrong"))
    runs.begin(asked(source, target, target=source.url("top")))
    for name, code in (("fxp-1", "fxp.login"), ("fxp-2", "usage")):
        wait_until_gone(runs, place, name)
        row = row_of(runs, name)
        assert (row["state"], row["error"]["code"]) == ("failed", code)
    with pytest.raises(NotFound):
        runs.stop("fxp-3")


@pytest.mark.full
def test_no_password_is_where_others_could_read_it(runs, place, servers):
    source, target = servers(SLOW)
    source.put("top/film", CONTENT)
    runs.begin(asked(source, target))
    wait_until_running(runs, "fxp-1")
    process = Path(f"/proc/{process_of(place, 'fxp-1')}")
    told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    for file in (place / "fxp").iterdir():
        assert file.stat().st_mode & 0o077 == 0
        told += file.read_bytes()
    assert PASSWORD.encode() not in told
    assert (place / "fxp").stat().st_mode & 0o077 == 0


@pytest.mark.full
def test_a_copy_is_stopped_and_the_same_one_goes_on_from_there(runs, place, servers):
    source, target = servers(SLOW)
    source.put("top/film", CONTENT)
    runs.begin(asked(source, target))
    with pytest.raises(NotAllowed):
        runs.forget("fxp-1")
    wait_until_running(runs, "fxp-1")
    runs.stop("fxp-1")
    wait_until_gone(runs, place, "fxp-1")
    assert row_of(runs, "fxp-1")["state"] == "cancelled"
    [partial] = target.tree().values()
    assert CONTENT.startswith(partial)
    assert partial


@pytest.mark.full
def test_another_agent_knows_them_and_what_became_of_one_that_died(
    runs, place, servers, tmp_path
):
    source, target = servers(SLOW)
    source.put("top/film", CONTENT)
    runs.begin(asked(source, target))
    wait_until_running(runs, "fxp-1")
    other = FxpRuns(place, tmp_path)
    assert row_of(other, "fxp-1")["state"] == "running"
    os.kill(process_of(place, "fxp-1"), signal.SIGKILL)
    wait_until_gone(runs, place, "fxp-1")
    row = row_of(other, "fxp-1")
    assert (row["state"], row["error"]["code"]) == ("failed", "fxp.ended")


@pytest.mark.full
def test_so_many_run_at_once_and_so_many_that_ended_are_kept(
    runs, place, servers, monkeypatch
):
    source, target = servers(SLOW)
    source.put("top/film", CONTENT)
    for _ in range(fxp_runs.RUNS_MAX):
        runs.begin(asked(source, target, target=target.url("other")))
    with pytest.raises(FxpBusy):
        runs.begin(asked(source, target))
    for row in runs.rows():
        runs.stop(str(row["id"]))
        wait_until_gone(runs, place, str(row["id"]))
    monkeypatch.setattr(fxp_runs, "KEPT_MAX", 2)
    runs.begin(asked(source, target, password="wrong"))
    assert [row["id"] for row in runs.rows()] == ["fxp-2", "fxp-3"]


@pytest.mark.full
def test_a_copy_begun_on_a_terminal_outlives_a_restart_of_the_agent(
    make_node, servers, tmp_path
):
    source, target = servers()
    source.put("top/film", CONTENT)
    secrets = tmp_path / "secrets"
    secrets.write_text(f"{PASSWORD}\n{PASSWORD}\n")
    secrets.chmod(0o600)
    node = make_node("alice")
    with running(node):
        words = ["fxp", "start", source.url("top"), target.url("new")]
        [begun] = node(*words, "--passwords", str(secrets))
        node("restart")
        eventually(lambda: ended(node, begun["id"]), "it is copied")
        [row] = node("fxp", "rm", "all")
        assert (row["state"], row["id"]) == ("done", begun["id"])
        assert node("fxp", "ls") == []
    assert target.tree() == {"new/film": CONTENT}
    assert PASSWORD not in json.dumps(row)


def ended(node, name):
    done = node.run("fxp", "ls", "--json")
    rows = json.loads(done.stdout) if done.returncode == 0 else []
    return any(row["id"] == name and row["state"] == "done" for row in rows)
