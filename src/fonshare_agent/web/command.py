"""`fonshare web`: sees that somebody may sign in, says where the page is, serves it."""

import ipaddress
import logging
import signal
import sys
from pathlib import Path

from fonshare_agent.config import find_settings_file, load_settings
from fonshare_agent.settings import Settings
from fonshare_agent.web.application import Application
from fonshare_agent.web.listener import Listener
from fonshare_agent.web.owners import demand_owner
from fonshare_agent.words import say


def run_web(config: str | None) -> None:
    """Serve the page of the settings at *config* until a signal ends it."""
    path = Path(config) if config is not None else find_settings_file()
    settings = load_settings(path, needs_hashes=False)
    demand_owner(settings)
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    listener = Listener(Application(path.absolute()), settings.web)
    signal.signal(signal.SIGTERM, _end)
    for line in announcement(settings, listener.port):
        print(line, file=sys.stderr, flush=True)
    listener.serve()


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
