"""A thousand interrupted transfers: not one wrong file, lost job or false final name.

The source is a real friends' door, the receiver a process that is killed; between them
is a line that breaks (chaos_proxy.py). What fails is drawn from a seed, and so is when.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import chaos_proxy
from chaos_proxy import ChaosProxy, Fault
from fonshare_agent.ftp.tickets import FileStamp, Ticket, secret_hash
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.nodekeys import NodeKeys, load_or_create
from fonshare_agent.protocol.content import block_size, content_root
from ftp_service import Served, serving
from interrupted_receiver import ENDED, SECRET, WAITS
from programs import IS_CI
from settings_files import take_ports

FEW, THOUSAND, PARTS = 30, 1000, 4  # interruptions, and how many run side by side
SEED = "INTERRUPTION_SEED"  # in the environment: the same faults again
BLOCK = 128 * 1024
BLOCKS_MAX = 9
SERVER, LINE = "127.0.0.1", "127.0.0.2"
TESTS = Path(__file__).parent

FAULTS = {
    "cut": chaos_proxy.cut,
    "reset": chaos_proxy.reset,
    "flipped": chaos_proxy.flip,
    "silent": chaos_proxy.silence,
}
KINDS = ("cut", "reset", "flipped", "silent", "killed", "garbage", "shorter")
WEIGHTS = (6, 4, 6, 1, 8, 2, 2)  # the silent ones take their time


@dataclass
class Job:
    number: int
    data: bytes
    attempts: int = 0

    @property
    def id(self) -> str:
        return f"job{self.number}"

    @property
    def name(self) -> str:
        return f"film {self.number}.mkv"

    @property
    def hashes(self) -> list[bytes]:
        step = block_size(len(self.data))
        pieces = range(0, len(self.data), step)
        return [hashlib.sha256(self.data[at : at + step]).digest() for at in pieces]


@dataclass
class Receiver:
    """The program of interrupted_receiver.py."""

    process: "subprocess.Popen[str]"

    def begin(self, order: dict[str, object]) -> int:
        """Start an attempt; return a handle of its process, the caller's to close."""
        self._tell(json.dumps(order))
        return os.pidfd_open(int(self._hear()))

    def end(self) -> tuple[int, str]:
        """Wait for the attempt's end; return its exit code and its reason."""
        self._tell("")
        answer = json.loads(self._hear())
        return answer["code"], answer["reason"]

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@dataclass
class Story:
    """The source, the line and the receiver, and what has happened so far."""

    folder: Path
    seed: int
    served: Served
    source: NodeKeys
    destination: NodeKeys
    proxy: ChaosProxy
    receiver: Receiver
    tickets: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    finished: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def target(self) -> Path:
        return self.folder / "own" / "downloads"

    @property
    def interruptions(self) -> int:
        return sum(self.counted.values())

    def play(self, interruptions: int) -> None:
        number = 0
        while self.interruptions < interruptions:
            number += 1
            self.fetch(number)

    def fetch(self, number: int) -> None:
        """Want one file, through whatever happens, until it is here."""
        size = self.random.randint(1, BLOCKS_MAX * BLOCK)
        job = Job(number, self.random.randbytes(size))
        path = self.served.disk / "film"
        path.write_bytes(job.data)
        while not self.attempt(job, path):
            job.attempts += 1
            assert job.attempts < 200, "the job makes no progress"
        self.finished[job.name] = job.data
        self.check_target(None)
        assert not list((self.folder / "own/.fonshare/partial").glob("*-*"))

    def attempt(self, job: Job, path: Path) -> bool:
        kind = self.random.choices(KINDS, WEIGHTS)[0]
        strikes_at = self.random.randint(1, int(1.2 * len(job.data)) + 6000)
        process = -1

        def kill(line: chaos_proxy.Line, piece: bytes) -> bytes:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            return piece

        fault = Fault(strikes_at, FAULTS.get(kind, kill))
        if kind in ("garbage", "shorter"):
            fault.after = 1 << 60
            self.damage(path, job, kind)
        self.proxy.begin(None)  # nothing strikes before there is what to kill
        ticket = self.grant(job, path)
        self.proxy.begin(fault)
        process = self.receiver.begin(self.order(job, ticket))

        code, reason = self.receiver.end()
        os.close(process)
        if kind in ("garbage", "shorter"):
            path.write_bytes(job.data)
        assert code in (ENDED, WAITS, -signal.SIGKILL), (code, reason)
        if code != ENDED:
            self.counted[kind] += 1
            self.check_target(job if code == -signal.SIGKILL else None)
        return code == ENDED

    def damage(self, path: Path, job: Job, kind: str) -> None:
        where = self.random.randrange(len(job.data))
        if kind == "shorter":
            os.truncate(path, where)
            return
        with path.open("r+b") as file:
            file.seek(where)
            file.write(bytes([job.data[where] ^ 1]))

    def grant(self, job: Job, path: Path) -> Ticket:
        self.tickets += 1
        ticket = Ticket(
            id=self.tickets.to_bytes(16, "big"),
            secret_hash=secret_hash(SECRET),
            peer=NodeId(self.destination.signer.node_id),
            peer_fingerprint=self.destination.tls_fingerprint,
            group=GroupId(bytes(32)),
            job=job.id,
            share="Films",
            path=SharePath.parse("film"),
            direction="read",
            size=len(job.data),
            root=content_root(len(job.data), job.hashes),
            block_size=block_size(len(job.data)),
            # As if nobody had noticed that the file is not what it was.
            recorded=FileStamp.of(path.stat()),
            opener=lambda: os.open(path, os.O_RDONLY),
        )
        self.served.desk.grant(ticket)
        return ticket

    def order(self, job: Job, ticket: Ticket) -> dict[str, object]:
        return {
            "id": job.id,
            "name": job.name,
            "size": len(job.data),
            "root": content_root(len(job.data), job.hashes).hex(),
            "hashes": [one.hex() for one in job.hashes],
            "folder": str(self.target),
            "record": str(self.folder / f"{job.id}.record"),
            "ticket": ticket.id.hex(),
            "peer": self.source.tls_fingerprint.hex(),
            "host": LINE,
            "port": self.served.service.friends_port,
        }

    def check_target(self, killed: Job | None) -> None:
        """What has a final name is whole; of *killed* it may be there already."""
        allowed = self.finished | ({killed.name: killed.data} if killed else {})
        for path in self.target.iterdir():
            assert path.name in allowed, path.name
            assert path.read_bytes() == allowed[path.name], path.name
        assert {path.name for path in self.target.iterdir()} >= self.finished.keys()


@contextmanager
def telling(folder: Path, seed: int):
    source = load_or_create(folder / "source-keys", os.urandom)
    destination = load_or_create(folder / "keys", os.urandom)
    (folder / "own" / "downloads").mkdir(parents=True)
    (folder / "peer").mkdir()
    ports = take_ports()
    passive = range(ports.friends_passive[0], ports.friends_passive[1] + 1)
    program = TESTS / "interrupted_receiver.py"
    process = subprocess.Popen(
        [sys.executable, program, folder / "keys", folder / "own"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pair = (source.certificate_path, source.private_key_path)
    with (
        process,
        serving(
            folder / "peer",
            friends_certificate=pair,
            friends_port=ports.friends_port,
            friends_passive_ports=passive,
        ) as served,
    ):
        served.service.trust_peer(destination.tls_certificate_der)
        proxy = ChaosProxy(LINE, SERVER, (ports.friends_port, *passive))
        try:
            yield Story(
                folder, seed, served, source, destination, proxy, Receiver(process)
            )
        finally:
            proxy.stop()


def play(tmp_path: Path, seed: int, interruptions: int) -> None:
    seed = int(os.environ.get(SEED, seed))
    print(f"{SEED}={seed}")
    with telling(tmp_path, seed) as story:
        try:
            story.play(interruptions)
        finally:
            print(dict(story.counted), f"{len(story.finished)} files")
        assert set(story.counted) == set(KINDS) or interruptions == FEW


def test_a_few_interrupted_transfers_lose_and_damage_nothing(tmp_path):
    play(tmp_path, 5, FEW)


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_interrupted_transfers_lose_and_damage_nothing(tmp_path, part):
    seed = part if IS_CI else random.SystemRandom().randrange(1 << 32)
    play(tmp_path, seed, THOUSAND // PARTS)
