"""A change of this host's addresses is noticed, and nothing else is taken for one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fonshare_agent.links.network_watch import NetworkWatch, take_picture
from networks import _demand_namespaces

ONE, OTHER = frozenset({"192.0.2.1"}), frozenset({"192.0.2.9"})
WAY = frozenset({"eth0 00000000 010200C0"})

IN_A_NAMESPACE = """
import subprocess, time
from fonshare_agent.links.network_watch import NetworkWatch

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def change(watch):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = watch.look()
        if found is not None:
            return sorted(one for one in found if "." in one)
        time.sleep(0.01)
    return "nothing"

ip("link", "add", "wan", "type", "veth", "peer", "name", "far")
ip("link", "set", "far", "up")
ip("link", "set", "wan", "up")
ip("addr", "add", "192.0.2.1/24", "dev", "wan")
watch = NetworkWatch()
assert watch.look() is None
ip("addr", "add", "192.0.2.2/24", "dev", "wan")
assert change(watch) == ["192.0.2.1", "192.0.2.2"]
ip("addr", "del", "192.0.2.1/24", "dev", "wan")
ip("addr", "add", "192.0.2.7/24", "dev", "wan")
while (found := change(watch)) != ["192.0.2.7"]:
    assert found != "nothing"
ip("route", "add", "default", "via", "192.0.2.254")
assert change(watch) == []
watch.close()
print("seen")
"""


def test_a_new_address_and_a_new_way_out_are_seen_in_a_real_kernel(tmp_path):
    _demand_namespaces()
    script = tmp_path / "script.py"
    script.write_text(IN_A_NAMESPACE)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")},
    )
    assert done.stdout == "seen\n", done.stderr


@pytest.fixture
def told(monkeypatch):
    """A watch to which the kernel always says that something has happened."""
    pictures = [(ONE, WAY)]
    watch = NetworkWatch(lambda: pictures[-1])
    monkeypatch.setattr(watch, "_has_word", lambda: True)
    yield watch, pictures
    watch.close()


def test_word_of_nothing_new_is_no_change(told):
    watch, pictures = told
    assert watch.look() is None
    pictures.append((ONE | OTHER, WAY))
    assert watch.look() == ONE | OTHER
    assert watch.look() is None


def test_nothing_goes_on_when_the_way_out_is_another(told):
    watch, pictures = told
    pictures.append((ONE, frozenset({"eth1 00000000 020200C0"})))
    assert watch.look() == frozenset()


def test_without_a_word_from_the_kernel_nothing_is_looked_at():
    pictures = []

    def picture():
        pictures.append(time.monotonic())
        return take_picture()

    watch = NetworkWatch(picture)
    watch.look()
    watch.close()
    assert 1 <= len(pictures) <= 2
