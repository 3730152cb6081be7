"""What `share add` says to the address of a server."""

import time
from types import SimpleNamespace

import pytest

from fonshare_agent.control.node_handlers import NodeHandlers
from fonshare_agent.core import Core
from fonshare_agent.errors import UsageError


@pytest.mark.parametrize("scheme", ["ftp", "ftps", "ftpes", "http"])
def test_an_address_is_no_folder_and_its_password_is_not_said_again(scheme):
    path = f"{scheme}://me:geheim@old.example/films"
    core = Core(time.monotonic)
    nobody = SimpleNamespace(files=None)  # is asked
    handlers = NodeHandlers(nobody)  # type: ignore[arg-type]
    arguments = {"path": path, "name": "Old", "group": ["Famille"]}
    refused = core.spawn(handlers.share_add(arguments))
    with pytest.raises(UsageError, match="not a folder of the disk") as error:
        refused.result()
    assert "geheim" not in str(error.value.as_dict())
    assert "fonshare fxp" in str(error.value.as_dict())
