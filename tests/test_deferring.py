"""What libraries import in vain stays out of the agent's memory."""

import os
import subprocess
import sys

import pytest

from fonshare_agent.deferring import deferring

UNWANTED = {
    *("argparse", "asyncio", "bz2", "crypt", "curses", "email", "http.client"),
    *("lzma", "OpenSSL", "platform", "shutil", "subprocess", "tempfile", "uuid"),
    *("yaml", "fonshare_agent.command_line", "fonshare_agent.invites"),
    *("ctypes", "random", "string", "textwrap", "tokenize"),
    *("fonshare_agent.protocol.invite", "fonshare_agent.protocol.inviting"),
    "fonshare_agent.protocol.joining",
    *("nacl.bindings.crypto_generichash", "nacl.bindings.crypto_pwhash"),
}
if sys.version_info < (3, 14):  # from then on dataclasses asks for more
    UNWANTED |= {"ast", "inspect", "typing"}
# -S: what site and its hooks import (coverage, editable installs) is not the agent's.
RESIDENT = f"""
import sys
sys.path[:0] = {sys.path!r}
from fonshare_agent import resident
resident.load()
print(*(name for name, one in sys.modules.items() if type(one) is type(sys)))
"""


def test_the_service_has_nothing_in_memory_that_it_does_not_use():
    command = [sys.executable, "-S", "-OO", "-c", RESIDENT]
    found = set(subprocess.check_output(command, text=True).split())
    assert "fonshare_agent.node" in found
    assert sorted(found & UNWANTED) == []


def test_without_settings_the_service_says_what_the_command_line_says(tmp_path):
    def ended(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-OO", "-m", *words]
        home = os.environ | {"HOME": str(tmp_path)}
        done = subprocess.run(
            command, cwd=tmp_path, env=home, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    status, said = ended("fonshare_agent.resident")

    assert (status, said) == ended("fonshare_agent", "agent")
    assert status != 0
    assert "fonshare setup" in said


@pytest.fixture(autouse=True)
def _not_yet_imported(monkeypatch):
    for name in ("colorsys", "wave"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_deferred_module_loads_when_it_is_used():
    with deferring("colorsys"):
        import colorsys
    assert "colorsys" not in sys.modules

    assert colorsys.rgb_to_hls(0, 0, 0) == (0, 0, 0)

    assert "colorsys" in sys.modules


def test_it_may_be_used_inside_the_block_as_well():
    with deferring("colorsys"):
        from colorsys import rgb_to_hls
    assert rgb_to_hls(0, 0, 0) == (0, 0, 0)
    assert "colorsys" in sys.modules


def test_what_is_known_is_used_without_loading():
    with deferring("colorsys", known={"colorsys.ONE_THIRD": 3}):
        import colorsys

        assert colorsys.ONE_THIRD == 3
    assert "colorsys" not in sys.modules


def test_functions_may_load_their_module_when_they_are_called():
    with deferring(called=("colorsys",)):
        from colorsys import rgb_to_hls
    assert "colorsys" not in sys.modules

    assert rgb_to_hls(0, 0, 0) == (0, 0, 0)

    assert "colorsys" in sys.modules


def test_a_name_that_is_known_may_be_imported_from_the_module():
    with deferring("colorsys", known={"colorsys.ONE_THIRD": 3}):
        from colorsys import ONE_THIRD
    assert ONE_THIRD == 3
    assert "colorsys" not in sys.modules


def test_what_is_missing_cannot_be_imported_until_afterwards():
    with deferring(missing=("wave",)), pytest.raises(ImportError):
        import wave
    import wave

    assert wave.open


def test_what_is_imported_already_stays():
    import json

    with deferring("json", missing=("sys",)):
        import json as inside

    assert inside is json
    assert sys.modules["json"] is json
