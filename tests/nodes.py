"""Real agents as processes, driven by the command line alone, as an owner would.

Most of a story is asking again and again, so a node's commands are run in the test's
own process (`node("status")`); `node.run` starts one as a shell does.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from fonshare_agent.cli import main
from settings_files import write_settings
from waiting import PATIENCE_S, wait_until

LOOK_S = 0.1  # each look is a command, a process of its own
FONSHARE = [sys.executable, "-m", "fonshare_agent"]
# As the router's service starts it, see files/usr/bin/fonshare: what runs is tested.
SWITCHES = ["-OO", "-X", "no_debug_ranges"]
RESIDENT = [sys.executable, *SWITCHES, "-m", "fonshare_agent.resident"]


def eventually(
    condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S
) -> Any:
    """Return the first true value of *condition*; fail when it stays false."""
    return wait_until(condition, what, within_s=within_s, look_s=LOOK_S)


def last_word(node: "NodeProcess", code: str) -> Any:
    """Return what doctor ends in, once it is *code*, and its verdict."""

    def look() -> Any:
        answer = node("doctor")
        found = answer["findings"][-1]
        return (found, answer["verdict"]) if found["code"] == code else None

    return eventually(look, f"{node.name}'s doctor ends in {code}", 2 * PATIENCE_S)


class CommandFailed(AssertionError):
    """A command ended with an error: its exit status and the error object."""

    def __init__(self, status: int, error: Mapping[str, str], text: str) -> None:
        super().__init__(f"exit {status}: {text}")
        self.status, self.error = status, error

    @property
    def code(self) -> str:
        return self.error.get("code", "")


class NodeProcess:
    """One node: its folder, its agent's process, its command line."""

    program: Sequence[str] = RESIDENT

    def __init__(
        self,
        folder: Path,
        name: str,
        broker: str,
        *,
        wrapper: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.wrapper, self.env = list(wrapper), {**os.environ, **(env or {})}
        self.settings = write_settings(folder, name=name, broker=broker, **settings)
        self.disk, self.log = folder / "disk", folder / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None

    # --- the agent ---

    def start(self) -> None:
        """Start the agent and wait until its node is up."""
        self.launch()
        eventually(self.is_up, f"{self.name} is up")

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, *self.program, str(self.settings)],
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )

    def is_up(self) -> bool:
        assert self.process is not None
        status = self.process.poll()
        assert status is None, f"the agent ended with {status}: {self.log.read_text()}"
        try:
            return bool(self("status")["disk"]["present"])
        except CommandFailed as failed:
            if failed.code not in ("no_agent", "starting"):
                raise
            return False

    def stop(self) -> int:
        """End the agent as `kill` does and return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Take the agent away at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        # The wrapper (ip netns exec, faketime) replaces itself by the agent.
        process.send_signal(how)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not stop: {self.tail()}") from None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    # --- its command line ---

    def run(self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None):
        """Run a command as typed; return what ran, whatever it ended with."""
        return subprocess.run(
            [*FONSHARE, "-c", str(self.settings), *words],
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            env={**self.env, **(env or {})},
            check=False,
        )

    def __call__(self, *words: str) -> Any:
        """Do a command with --json and return its value; CommandFailed otherwise."""
        command, *rest = words
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(["-c", str(self.settings), command, "--json", *rest])
        try:
            value = json.loads(out.getvalue())
        except ValueError:
            text = f"{words}: {out.getvalue()!r} {err.getvalue()!r}"
            raise AssertionError(text) from None
        if status:
            error = value.get("error", {}) if isinstance(value, dict) else {}
            raise CommandFailed(status, error, out.getvalue())
        return value

    # --- what stories are made of ---

    @property
    def id(self) -> str:
        return str(self("status")["node"]["id"])

    def members(self, group: str) -> dict[str, bool]:
        """The members of *group* by name, and whether each is online."""
        for row in self("group", "ls"):
            if row["name"] == group:
                return {one["name"]: one["online"] for one in row["members"]}
        return {}

    def find(self, *words: str) -> list[Any]:
        return list(self("find", *words))

    def job(self, job_id: str) -> Any:
        return next(one for one in self("jobs") if one["id"] == job_id)

    def wait_for_job(
        self, job_id: str, state: str, within_s: float = PATIENCE_S
    ) -> Any:
        """Return the job once it is in *state*; fail if it ends otherwise."""

        def look() -> Any:
            job = self.job(job_id)
            ended = job["state"] in ("done", "failed", "cancelled")
            assert not ended or job["state"] == state, job
            return job if job["state"] == state else None

        return eventually(look, f"job of {self.name} is {state}", within_s)

    def put(self, folder: str, name: str, content: bytes) -> None:
        """Lay a file into a folder of the disk."""
        place = self.disk / folder
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(content)

    def fetched(self) -> dict[bytes, bytes]:
        """The files below downloads/, by path, with their content."""
        top = os.fsencode(self.disk / "downloads")
        return {
            os.path.relpath(path, top): Path(os.fsdecode(path)).read_bytes()
            for folder, _, names in os.walk(top)
            for path in (os.path.join(folder, name) for name in names)
        }


def befriend(group: str, founder: NodeProcess, *others: NodeProcess) -> None:
    """Let *founder* make *group* and admit the others; wait until all see all."""
    if group not in [row["name"] for row in founder("group", "ls")]:
        founder("group", "create", group)
    for other in others:
        code = founder("group", "invite", group)["code"]
        other("group", "join", code)
        eventually(
            lambda name=other.name: (
                name in [r["name"] for r in founder("group", "requests")]
            ),
            f"{other.name} asks to join",
        )
        founder("group", "accept", group, other.name)
    everybody = {founder.name, *(other.name for other in others)}
    for node in (founder, *others):
        eventually(
            lambda node=node: (
                {n for n, on in node.members(group).items() if on} >= everybody
            ),
            f"{node.name} sees all of {group}",
        )


def share(node: NodeProcess, folder: str, name: str, *groups: str) -> Path:
    """Publish a folder of the node's disk; return its path."""
    path = node.disk / folder
    path.mkdir(parents=True, exist_ok=True)
    flags = [word for group in groups for word in ("--group", group)]
    node("share", "add", folder, "--name", name, *flags)
    return path


def offer_film(source: NodeProcess, *others: NodeProcess, size: int) -> bytes:
    """Befriend all and let *source* offer them a film; return its content."""
    befriend("Famille", source, *others)
    content = os.urandom(size)
    (share(source, "films", "Films", "Famille") / "film.mkv").write_bytes(content)
    for other in others:
        eventually(lambda one=other: one.find("film"), f"{other.name} finds it")
    return content


@contextmanager
def running(*nodes: NodeProcess) -> Iterator[None]:
    """Run the agents; a failing test shows the end of their logs."""
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            eventually(node.is_up, f"{node.name} is up")
        yield
    except BaseException:
        for node in nodes:
            print(f"--- {node.name}\n{node.tail() if node.log.exists() else ''}")
        raise
    finally:
        for node in nodes:
            if node.process is not None:
                node.process.send_signal(signal.SIGTERM)
        for node in nodes:
            node.stop()
