"""What `share add` says to the address of a server that it cannot copy from."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fonshare_agent.control.mirror_commands import MirrorCommands
from fonshare_agent.core import Core
from fonshare_agent.errors import FxpUrl, UsageError


def refused(tmp_path: Path, path: str, kind: type[Exception], **given: object):
    settings = SimpleNamespace(disk=tmp_path)
    parts = SimpleNamespace(published=SimpleNamespace(settings=settings, shares=()))
    commands = MirrorCommands(parts)  # type: ignore[arg-type]
    arguments = {"path": path, "name": "Old", "group": ["Famille"], **given}
    arguments = {"to": None, "pin": None, "ca": None, "password": "", **arguments}
    with pytest.raises(kind) as error:
        Core(time.monotonic).spawn(commands.add(arguments)).result()
    return str(error.value.as_dict())


@pytest.mark.parametrize("scheme", ["ftp", "ftps", "ftpes", "http"])
def test_a_password_in_an_address_is_refused_and_not_said_again(tmp_path, scheme):
    said = refused(tmp_path, f"{scheme}://me:geheim@old.example/films", FxpUrl)
    assert "geheim" not in said


@pytest.mark.parametrize("folder", ["..", ".", "/etc", "a/../../b"])
def test_the_copy_lies_below_the_disk(tmp_path, folder):
    refused(tmp_path, "ftp://me@old.example/films", UsageError, to=folder)


def test_an_authority_and_a_pin_do_not_go_together(tmp_path):
    given = {"pin": "00" * 32, "ca": "ca.pem"}
    refused(tmp_path, "ftps://me@old.example/films", UsageError, **given)


def test_a_pin_is_a_fingerprint(tmp_path):
    refused(tmp_path, "ftps://me@old.example/films", FxpUrl, pin="abc")
