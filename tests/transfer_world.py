"""Two nodes for the transfer tests: one with a real friends' door, one that fetches."""

import hashlib
import os
import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fonshare_agent.core import Core
from fonshare_agent.disk import Disk
from fonshare_agent.ftp.flow import Throttle
from fonshare_agent.ftp.tickets import FileStamp, Ticket, secret_hash
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.nodekeys import NodeKeys, load_or_create
from fonshare_agent.protocol.content import block_size, content_root
from fonshare_agent.transfer.limits import TokenBucket
from fonshare_agent.transfer.own_traffic import OwnTraffic
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.reading import Fetch
from fonshare_agent.transfer.wire import client_context
from fonshare_agent.transfer.worker import Push, TransferWorkers
from ftp_service import Served, serving
from waiting import PATIENCE_S

SECRET = b"s" * 16
BLOCK = 128 * 1024


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def hashes_of(data: bytes) -> list[bytes]:
    step = block_size(len(data))
    return [
        hashlib.sha256(data[at : at + step]).digest()
        for at in range(0, len(data), step)
    ]


def begin_partial(folder: Path, data: bytes) -> Partial:
    """Return the partial of *data* on a new disk in *folder*; no block is there yet."""
    (folder / "disk").mkdir()
    disk = Disk(folder / "disk", folder / "disk-id", os.urandom)
    disk.open()
    hashes = hashes_of(data)
    kept = Partial.open(disk, "job", 0, len(data), content_root(len(data), hashes))
    kept.set_hashes(hashes)
    return kept


@dataclass
class Watch:
    is_cancelled: bool = False
    done_bytes: int = 0


@dataclass
class World:
    """What a test holds. The peer serves `data`; we fetch it, or push ours to it."""

    folder: Path
    served: Served
    peer: NodeKeys
    me: NodeKeys
    core: Core
    workers: TransferWorkers
    disk: Disk
    data: bytes
    watch: Watch = field(default_factory=Watch)
    partials: list[Partial] = field(default_factory=list)
    tickets: int = 0

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", self.served.service.friends_port)]

    @property
    def source(self) -> Path:
        return self.served.disk / "film.mkv"

    def partial(self, number: int = 0) -> Partial:
        root = content_root(len(self.data), hashes_of(self.data))
        opened = Partial.open(self.disk, "job", number, len(self.data), root)
        if not opened.has_hashes:
            opened.set_hashes(hashes_of(self.data))
        self.partials.append(opened)
        return opened

    def grant(self, **changes: object) -> Ticket:
        """Let the peer grant us a ticket to read its film."""
        self.tickets += 1
        values: dict[str, object] = {
            "id": self.tickets.to_bytes(16, "big"),
            "secret_hash": secret_hash(SECRET),
            "peer": NodeId(self.me.signer.node_id),
            "peer_fingerprint": self.me.tls_fingerprint,
            "group": GroupId(b"g" * 32),
            "job": f"job{self.tickets}",
            "share": "Films",
            "path": SharePath.parse("film.mkv"),
            "direction": "read",
            "size": len(self.data),
            "root": content_root(len(self.data), hashes_of(self.data)),
            "block_size": block_size(len(self.data)),
            "opener": lambda: os.open(self.source, os.O_RDONLY | os.O_NOFOLLOW),
        }
        if "direction" not in changes:
            values["recorded"] = FileStamp.of(self.source.stat())
        ticket = Ticket(**(values | changes))  # type: ignore[arg-type]
        self.served.desk.grant(ticket)
        return ticket

    def fetch(self, partial: Partial, **changes: object) -> str:
        return self.settled(self.begin_fetch(partial, **changes))

    def begin_fetch(self, partial: Partial, **changes: object) -> "queue.Queue[object]":
        ticket = changes.pop("ticket", None) or self.grant()
        values: dict[str, object] = {
            "ticket": ticket.id,  # type: ignore[attr-defined]
            "secret": SECRET,
            "addresses": self.addresses,
            "peer_fingerprint": self.peer.tls_fingerprint,
            "kept": partial,
            "watch": self.watch,
        }
        task = Fetch(**(values | changes))  # type: ignore[arg-type]
        return self._begin(lambda: self.workers.fetch(task))

    def begin_push(self, ticket: Ticket, **changes: object) -> "queue.Queue[object]":
        values: dict[str, object] = {
            "ticket": ticket.id,
            "secret": SECRET,
            "addresses": self.addresses,
            "peer_fingerprint": self.peer.tls_fingerprint,
            "opener": lambda: os.open(self.source, os.O_RDONLY),
            "first": 0,
            "end": len(self.data),
            "is_allowed": lambda: True,
        }
        task = Push(**(values | changes))  # type: ignore[arg-type]
        return self._begin(lambda: self.workers.push(task))

    def expect(self) -> None:
        peer = self.peer.tls_fingerprint
        self.settled(self._begin(lambda: self.workers.expect(peer)))

    def tend(self) -> None:
        self.settled(self._begin(self.workers.tend))

    def _begin(self, work) -> "queue.Queue[object]":
        ended: queue.Queue[object] = queue.Queue()

        def begin() -> None:
            promise = work()
            promise.when_settled(lambda: ended.put(promise))

        self.core.post(begin)
        return ended

    def settled(self, ended: "queue.Queue[object]") -> str:
        reason: str = ended.get(timeout=PATIENCE_S).result()  # type: ignore[attr-defined]
        return reason


@contextmanager
def two_nodes(
    folder: Path,
    size: int = 3 * BLOCK + 1000,
    *,
    kib_s: int = 0,
    stall_s: float = 20.0,
    throttle: Throttle | None = None,
    traffic: OwnTraffic | None = None,
) -> Iterator[World]:
    """Start a peer with a film of *size* bytes behind its friends' door, and us.

    *kib_s* is our own limit, *throttle* the peer's; *traffic* counts what we move.
    """
    peer = load_or_create(folder / "peer-keys", os.urandom)
    me = load_or_create(folder / "keys", os.urandom)
    (folder / "own").mkdir()
    disk = Disk(folder / "own", folder / "keys" / "disk-id", os.urandom)
    disk.open()
    pair = (peer.certificate_path, peer.private_key_path)
    core = Core(time.monotonic)
    thread = threading.Thread(target=core.run, daemon=True)
    thread.start()
    context = client_context(me.certificate_path, me.private_key_path)
    bucket = TokenBucket(kib_s, time.monotonic)
    workers = TransferWorkers(
        core, context, bucket, bucket, stall_s=stall_s, traffic=traffic
    )
    (folder / "peer").mkdir()
    with serving(
        folder / "peer", friends_certificate=pair, throttle=throttle
    ) as served:
        served.service.trust_peer(me.tls_certificate_der)
        data = content_of(size)
        world = World(folder, served, peer, me, core, workers, disk, data)
        world.source.write_bytes(data)
        try:
            yield world
        finally:
            workers.stop()
            core.stop()
            thread.join(PATIENCE_S)
            for partial in world.partials:
                partial.close()
