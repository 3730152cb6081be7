"""`fonshare web`: sees that somebody may sign in, says where the page is, serves it.

On a terminal it may run the node's agent, too, as long as it runs itself: without
settings it sets the node up (first_time.py) and goes on with its agent; later the
page's owner may start one that is stopped (own_agent.py).
"""

import ipaddress
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

from fonshare_agent.config import find_settings_file, load_settings, validate
from fonshare_agent.errors import SettingsError
from fonshare_agent.first_use import DEFAULT_FILE, is_taken
from fonshare_agent.settings import Settings
from fonshare_agent.web.application import Application
from fonshare_agent.web.first_time import FirstTime, make_code
from fonshare_agent.web.listener import Listener
from fonshare_agent.web.own_agent import OwnAgent
from fonshare_agent.web.owners import demand_owner
from fonshare_agent.words import say

PORT_TRIES = 20


def run_web(config: str | None) -> None:
    """Serve the page of the settings at *config* until a signal ends it."""
    try:
        path = Path(config) if config is not None else find_settings_file()
    except SettingsError:
        path = Path(DEFAULT_FILE)
        if not _is_for_first_use(path):
            raise
    if _is_for_first_use(path):
        _set_up(path.absolute())
        return
    settings = load_settings(path, needs_hashes=False)
    demand_owner(settings)
    own = OwnAgent(path.absolute()) if sys.stderr.isatty() else None
    listener = Listener(Application(path.absolute(), own_agent=own), settings.web)
    _print(announcement(settings, listener.port))
    try:
        _serve(listener)
    finally:
        if own is not None:
            own.stop()


def _serve(listener: Listener) -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    signal.signal(signal.SIGTERM, _end)
    listener.serve()


def _is_for_first_use(path: Path) -> bool:
    """Whether a person is there who may set a node up at *path*.

    A service whose file is missing fails instead: nobody would read the code.
    """
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    return is_yaml and not path.exists() and sys.stderr.isatty()


def _set_up(path: Path) -> None:
    """Serve the first use, then the page of the node that it has begun."""
    web = validate({"node": {"name": "node"}, "disk": "disk"}, path=path).web
    ports = range(web.port, web.port + PORT_TRIES)
    web = replace(web, port=next((p for p in ports if not is_taken(p)), web.port))
    code, agent = make_code(), OwnAgent(path)

    def begin(file: Path) -> Application:
        page = Application(file, own_agent=agent)
        agent.begin()
        line = say(
            "the agent runs as long as this program; afterwards start both: `fonshare "
            "agent` and `fonshare web`"
        )
        _print([f"fonshare: {line}"])
        return page

    listener = Listener(FirstTime(path, web, code, begin), web)
    lines = (
        say("there are no settings yet: set this node up in a browser"),
        say("the page is at {}", f"http://{web.address}:{listener.port}/"),
        say("the code that opens it, once: {}", code),
    )
    _print([f"fonshare: {line}" for line in lines])
    try:
        _serve(listener)
    finally:
        agent.stop()


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def announcement(settings: Settings, port: int) -> list[str]:
    """Return what is said at the start: the address, and what to beware of."""
    return [f"fonshare: {line}" for line in _announced(settings, port)]


def _announced(settings: Settings, port: int) -> list[str]:
    web = settings.web
    address = ipaddress.ip_address(web.address)
    if web.proxy is not None:
        shown = [f"https://{name}/" for name in web.names] or [say("your proxy")]
        lines = [say("the page is at {}", ", ".join(shown))]
        if not web.names:
            lines.append(say("web.names is empty: the proxy's name is refused"))
        return lines
    host = f"[{address}]" if address.version == 6 else str(address)
    if address.is_unspecified:
        host = say("THIS-MACHINE")
    lines = [say("the page is at {}", f"http://{host}:{port}/")]
    if not address.is_loopback:
        houses = ", ".join(str(one) for one in settings.ftp.house_networks)
        lines += [
            say(
                "it is served WITHOUT ENCRYPTION: whoever listens on the network reads "
                "the password"
            ),
            say(
                "only {} may use it (ftp.house_networks); others need a proxy with "
                "TLS, see docs/web.md",
                houses or say("this machine"),
            ),
        ]
    return lines
