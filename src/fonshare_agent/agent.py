"""The agent: the process that keeps one node running whatever happens to its disk.

Owns the core thread, the control socket and the life of the node. While the disk (or
what must lie on it) is missing there is no node: the socket answers with the reason and
the agent looks again every few seconds. A lost disk stops the node, whose handles are
all closed, and starts it anew when the disk is back.
"""

import logging
import os
import signal
import sys
import time
from functools import partial
from types import FrameType

from fonshare_agent.control.door import Dispatch, bind
from fonshare_agent.control.rows import JSON
from fonshare_agent.control.server import ControlServer
from fonshare_agent.control.views import missing_disk
from fonshare_agent.core import Core, Promise
from fonshare_agent.disk import Disk
from fonshare_agent.errors import (
    DatabaseTooNew,
    DiskMissing,
    DiskReadOnly,
    FonshareError,
    Starting,
    StorageError,
)
from fonshare_agent.node import Node
from fonshare_agent.nodekeys import DISK_ID, load_or_create
from fonshare_agent.processes import offer_to_oom_killer
from fonshare_agent.protocol.keys import node_id_text
from fonshare_agent.services import Service
from fonshare_agent.settings import Settings

log = logging.getLogger(__name__)

DISK_CHECK_S = 2.0
RETRY_S = 3.0  # while there is no disk to start on
ANSWER_S = 0.2  # for the answer to who asked for a restart to be on its way
NEWER_RETRY_S = 60.0  # what a newer version wrote stays so until that one is installed
OOM_SCORE = 800  # the agent dies before the router's own services do
LOG_LEVEL = "FONSHARE_LOG"  # DEBUG shows names and paths too


class Agent:
    """See the module's text. Everything but `run` and `stop` is the core thread's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._core = Core(time.monotonic)
        self._keys = load_or_create(settings.keys, os.urandom)
        self._disk = Disk(
            settings.disk,
            settings.keys / DISK_ID,
            os.urandom,
            needs_mount=settings.is_on_router,  # else a first start could mark flash
        )
        self._dispatch: Dispatch | None = None
        self._trouble: FonshareError | None = None
        self._failure: FonshareError | None = None  # what ends the process
        self._is_stopping = False
        self._wants_restart = self._is_final = False
        self._pausing: Promise[None] = Promise()
        self._control = ControlServer(
            settings.control_socket, self._core, self._answer, time.monotonic
        )

    def run(self) -> None:
        """Serve until `stop`; raises what makes serving impossible."""
        self._control.open()
        control = Service("control", self._control.serve, self._control.stop)
        control.start()
        self._core.post(lambda: self._core.spawn_service("node", self._live()))
        try:
            self._core.run()
        finally:
            control.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End `run` in order. From any thread, also from a signal handler."""
        self._is_final = True
        self._core.post(self._begin_stop)

    def restart(self) -> None:
        """End `run` in order, to be run anew. From any thread, as `stop`."""
        self._wants_restart = True
        self._core.post(self._begin_restart)

    @property
    def is_to_restart(self) -> bool:
        """Whether `run` has ended to be run anew: nobody said `stop` meanwhile."""
        return self._wants_restart and not self._is_final

    def _begin_restart(self) -> None:
        self._core.call_later(ANSWER_S, self._begin_stop)

    def _begin_stop(self) -> None:
        self._is_stopping = True
        self._pausing.resolve(None)

    # --- the life of the node ---

    async def _live(self) -> None:
        try:
            while not self._is_stopping:
                await self._live_once()
        except FonshareError as error:
            self._failure = error
        finally:
            self._core.stop()

    async def _live_once(self) -> None:
        """Run a node until its disk is lost or the agent is to stop."""
        node = Node(self._settings, self._core, self._keys, self._disk, os.urandom)
        try:
            try:
                handlers = await node.start()
            except StorageError as error:
                trouble: StorageError | None = error
                if not isinstance(error, DiskMissing | DiskReadOnly):
                    # A disk that takes no writes says more than a database that fails.
                    trouble = await node.find_disk_error() or error
                self._report(trouble)
                is_newer = isinstance(trouble, DatabaseTooNew)
                await self._pause(NEWER_RETRY_S if is_newer else RETRY_S)
                return
            self._dispatch = bind(handlers)
            self._report(None)
            log.info("node %s is up", node_id_text(self._keys.signer.node_id)[:7])
            await self._watch(node)
        finally:
            self._dispatch = None
            await node.stop()

    async def _watch(self, node: Node) -> None:
        while not self._is_stopping:
            await self._pause(DISK_CHECK_S)
            error = await node.find_disk_error()
            self._report(error)
            # One that can only be read still serves whoever reads.
            if isinstance(error, DiskMissing) and self._needs_disk():
                return

    def _needs_disk(self) -> bool:
        """Whether state or index lie on the disk: without it there is no node then."""
        disk = self._settings.disk
        return any(
            disk == one or disk in one.parents
            for one in (self._settings.state, self._settings.index)
        )

    async def _pause(self, seconds: float) -> None:
        """Wait; a stop ends it at once."""
        self._pausing = Promise()
        if self._is_stopping:
            return
        timer = self._core.call_later(seconds, partial(self._pausing.resolve, None))
        await self._pausing
        timer.cancel()

    def _report(self, error: FonshareError | None) -> None:
        """Log what has changed: the disk is looked at every few seconds."""
        if error is None:
            if self._trouble is not None:
                log.info("the trouble is over: %s", self._trouble.code)
        elif self._trouble is None or str(self._trouble) != str(error):
            if isinstance(error, DatabaseTooNew):  # who went back has only the log
                log.error("%s. %s", error, error.next)
            else:
                log.warning("trouble: %s; `fonshare doctor` says more", error.code)
        self._trouble = error

    # --- answers ---

    async def _answer(self, command: str, arguments: dict[str, JSON]) -> JSON:
        if self._dispatch is not None:
            return await self._dispatch(command, arguments)
        trouble = self._trouble or Starting("the node is just starting")
        match command:
            case "status":
                return self._bare_status(trouble)
            case "doctor":
                return {
                    "findings": [{"level": "error", **trouble.as_dict()}],
                    "verdict": str(trouble),
                    "reach": None,
                }
            case "disk adopt":
                self._disk.adopt()
                return {"present": True, "path": str(self._settings.disk)}
            case "restart":
                from fonshare_agent.control.restarting import restart

                return restart(self._settings)
        raise trouble

    def _bare_status(self, trouble: FonshareError) -> JSON:
        """What can be said without a node: who one is, and that the disk is away."""
        return {
            "node": {
                "id": node_id_text(self._keys.signer.node_id),
                "name": self._settings.node.name,
            },
            "disk": missing_disk(trouble),
            "broker": {"connected": False},
            "index": {
                "files": 0,
                "bytes": 0,
                "scanning": False,
                "rebuilt": None,
                "unwatched": 0,
                "shares": [],
            },
            "groups": [],
            "jobs": {"queued": 0, "running": 0, "done": 0, "failed": 0},
        }


def run_agent(settings: Settings) -> int:
    """Run the node in the foreground until SIGTERM or SIGINT; return the exit status.

    SIGHUP has it start again, with its settings as they are then. Raises FonshareError
    when it cannot even begin.
    """
    logging.basicConfig(
        level=os.environ.get(LOG_LEVEL, "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for warning in settings.warnings:
        log.debug("%s", warning)
    if settings.unused:
        log.warning(
            "%d settings are none that this version has, and are not used; `fonshare"
            " doctor` names them",
            len(settings.unused),
        )
    _offer_to_oom_killer()
    agent = Agent(settings)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        agent.stop()

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        from fonshare_agent.control.restarting import check_can_restart

        try:
            check_can_restart(settings)
        except FonshareError as error:
            log.error("the agent goes on with the settings it has: %s", error)
        else:
            agent.restart()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGHUP, on_hangup)
    agent.run()
    if agent.is_to_restart:
        _start_anew()
    return 0


def _start_anew() -> None:
    """Become a fresh agent: for whoever supervises it, it is the same process."""
    log.info("the agent starts again")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing left to stop
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the fresh one listens
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _offer_to_oom_killer() -> None:
    try:
        offer_to_oom_killer(OOM_SCORE)
    except OSError as error:
        log.info("the memory killer's score stays as it is: %s", error.strerror)
