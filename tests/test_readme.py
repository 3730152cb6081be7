"""The README's two nodes, typed as it says: its files, its commands, its outcome."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from brokers import Mosquitto, free_port
from programs import require_program
from terminals import Terminal
from waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent
STORY = (ROOT / "README.md").read_text().split("## Two nodes")[1].split("\n## ")[0]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.full


def write_settings(folder: Path, broker: str) -> None:
    """Write the files that the README shows, with ports that are free here."""
    names = re.findall(r"^`(try/\w+\.yaml)`:$", STORY, re.MULTILINE)
    texts = [text for kind, text in BLOCK.findall(STORY) if kind == "yaml"]
    assert len(names) == len(texts) == 2
    for name, text in zip(names, texts, strict=True):
        text = text.replace("mqtt://127.0.0.1:1883", broker)
        text = re.sub(
            r"\b(friends_)?port: \d+",
            lambda found: f"{found[1] or ''}port: {free_port()}",
            text,
        )
        if "friends_port" not in text:
            text = text.replace("ftp: {", f"ftp: {{friends_port: {free_port()}, ")
        (folder / name).write_text(text)


def command_blocks() -> list[list[str]]:
    return [text.splitlines() for kind, text in BLOCK.findall(STORY) if not kind]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def run_until_done(line: str, folder: Path) -> str:
    """Do *line* again until it succeeds and says something: friends need a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = run(line, folder)
        if done.returncode == 0 and (done.stdout.strip() or ">" in line):
            return done.stdout
        assert time.monotonic() < deadline, f"{line}\n{done.stdout}{done.stderr}"
        time.sleep(0.5)


@contextmanager
def agent(line: str, folder: Path) -> Iterator[None]:
    program, *arguments = line.split()
    command = [Path(sys.executable).with_name(program), *arguments]
    log = folder / f"{Path(arguments[1]).stem}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


@pytest.fixture
def short_folder():
    """A folder whose sockets have paths that a socket can have, wherever tests run."""
    with tempfile.TemporaryDirectory(prefix="fs-") as folder:
        yield Path(folder)


def test_the_two_nodes_of_the_readme_share_a_file(short_folder, monkeypatch):
    require_program("mosquitto")
    prepare, start, *story = command_blocks()
    (short_folder / "README.md").write_text(STORY)
    monkeypatch.chdir(short_folder)
    for line in prepare:
        if not line.startswith(("python3 -m venv", "export PATH")):
            assert run(line, short_folder).returncode == 0, line
    with Mosquitto(short_folder / "broker") as broker, ExitStack() as stack:
        write_settings(short_folder, broker.url)
        for line in start:
            stack.enter_context(agent(line, short_folder))
        said: dict[str, str] = {}
        for line in (line for block in story for line in block):
            verb = " ".join(line.split()[3:5])
            if verb == "group join":
                bob = Terminal(*line.split()[1:])
                stack.callback(bob.kill)
                bob.wait_for("Invite code:")
                bob.type(f"{said['group invite'].strip()}\n")
                bob.wait_for("[y/N]")
                continue
            said[verb] = run_until_done(line, short_folder)
            if verb == "group requests":
                (words,) = re.findall(r"Words: +([a-z ]+)", bob.shown)
                assert words in said[verb]
                bob.type("y\n")
        bob.wait_for("member")
        assert bob.end() == 0

    arrived = short_folder / "try/bob-disk/downloads/Famille/alice/README.md"
    assert arrived.read_text() == STORY
