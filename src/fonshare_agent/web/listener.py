"""The HTTP server: waitress with its bounds, on one socket.

Waitress reads whole requests on its own thread and hands them to a few workers, so a
browser that sends slowly holds a connection and nothing else. With bodies.py, which
says what is kept of a request before it is looked at, the only module that knows
waitress.
"""

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterable
from typing import Any, Final, Protocol

from fonshare_agent.errors import PortTaken
from fonshare_agent.settings import WebSettings
from fonshare_agent.web.backups import RESTORE_BODY_MAX
from fonshare_agent.web.calls import CALLS_MAX
from fonshare_agent.web.exchange import Environ, StartResponse
from fonshare_agent.web.refusals import LibraryMissing

THREADS: Final = CALLS_MAX + 4  # those that wait for the agent, and some for the page
CONNECTIONS_MAX: Final = 100  # a browser opens six
IDLE_S: Final = 30  # a connection on which nothing moves is closed
HEADER_BYTES_MAX: Final = 16 << 10
BACKLOG: Final = 32
CHECK_S: Final = 5  # how often idle connections are looked for


class Application(Protocol):
    """What is served: WSGI, and how much of a request's body it will read."""

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]: ...

    def body_max(self, environ: Environ) -> int: ...


class Listener:
    """Serves *application* at the settings' address until `stop`."""

    def __init__(self, application: Application, web: WebSettings) -> None:
        try:
            from waitress import server

            from fonshare_agent.web.bodies import channel_class
        except ModuleNotFoundError as error:
            raise LibraryMissing(
                "`fonshare web` needs a library", thing=str(error.name)
            ) from None
        # It warns whenever requests queue, which is what a queue is for.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        bound = _listen(web.address, web.port)
        self.port: int = bound.getsockname()[1]
        create: Any = server.create_server
        self._server: Any = create(application, sockets=[bound], **_bounds())
        self._server.channel_class = channel_class(application.body_max)

    def serve(self) -> None:
        """Serve on this thread until `stop`, SystemExit or Ctrl-C."""
        try:
            self._server.run()  # returns after both of the latter
        finally:
            self._close()

    def stop(self) -> None:
        """End `serve`. From any thread."""
        has_pulled = threading.Event()

        def close() -> None:
            # A worker that has answered may have woken the loop meanwhile, and what is
            # pulled below is closed here.
            has_pulled.wait()
            self._close()

        self._server.trigger.pull_trigger(close)
        has_pulled.set()

    def _close(self) -> None:
        for channel in [*self._server.active_channels.values()]:
            channel.handle_close()  # which also ends a worker that waits for it
        self._server.close()
        self._server.task_dispatcher.shutdown()


def _bounds() -> dict[str, object]:
    return {
        "threads": THREADS,
        "connection_limit": CONNECTIONS_MAX,
        "channel_timeout": IDLE_S,
        "cleanup_interval": CHECK_S,
        "max_request_header_size": HEADER_BYTES_MAX,
        "max_request_body_size": RESTORE_BODY_MAX + 1,
        "backlog": BACKLOG,
        "ident": None,  # what serves it is nobody's business
        # Else nothing of what a proxy says arrives: whom to believe, exchange.py knows.
        "clear_untrusted_proxy_headers": False,
        "asyncore_use_poll": True,
    }


def _listen(address: str, port: int) -> socket.socket:
    is_ipv6 = ipaddress.ip_address(address).version == 6
    listener = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"web.address and web.port cannot be listened on: {error.strerror}",
            thing=f"{address} port {port}",
        ) from None
    return listener
