"""Backup as a download, restore as an upload: what the two commands do, in a browser.

Both are done in this process, which runs as the agent's user, one at a time: sealing
takes memory on purpose.
"""

import base64
import binascii
import re
import threading
from typing import Final

from fonshare_agent.control.client import is_answered
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import AgentRunning, UsageError
from fonshare_agent.settings import Settings
from fonshare_agent.web.exchange import Request, Response, answer, is_text, text_of
from fonshare_agent.web.refusals import BadRequest

BACKUP_MAX: Final = 4 << 20  # a hundred times what keys and rosters take
RESTORE_BODY_MAX: Final = BACKUP_MAX * 4 // 3 + 4096  # in base64, and a passphrase
_ONE_AT_A_TIME: Final = threading.Lock()


def give_backup(settings: Settings, body: dict[str, JSON]) -> Response:
    """Answer with the sealed backup as a file."""
    passphrase = _passphrase(body)
    from fonshare_agent.backup import backup

    with _ONE_AT_A_TIME:
        sealed = backup(settings, passphrase)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", settings.node.name).strip("-") or "node"
    disposition = f'attachment; filename="{name}.fonshare"'
    return Response(
        sealed,
        "application/octet-stream",
        headers=(("Content-Disposition", disposition),),
    )


def take_restore(settings: Settings, request: Request) -> Response:
    """Restore from {passphrase, file}, the file in base64."""
    body = request.json(RESTORE_BODY_MAX)
    passphrase = _passphrase(body)
    try:
        sealed = base64.b64decode(
            text_of(body, "file", RESTORE_BODY_MAX), validate=True
        )
    except (binascii.Error, ValueError):
        raise BadRequest("`file` is not base64") from None
    if is_answered(settings.control_socket):
        raise AgentRunning(
            "an agent is running with these settings",
            thing=str(settings.control_socket),
            next="Stop it, restore, and start it again.",
        )
    from fonshare_agent.backup import restore

    with _ONE_AT_A_TIME:
        done = restore(settings, sealed, passphrase)
    result: JSON = {
        "node": done.node,
        "groups": done.groups,
        "settings": done.settings,
    }
    return answer({"result": result})


def _passphrase(body: dict[str, JSON]) -> str:
    passphrase = text_of(body, "passphrase")
    if not passphrase:
        raise UsageError("the passphrase is empty", thing="passphrase")
    if not is_text(passphrase):
        raise BadRequest("the passphrase is not text")
    return passphrase
