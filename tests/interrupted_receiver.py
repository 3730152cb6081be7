"""The receiving side of test_interrupted.py: a process a test may kill at any byte.

Run as a program it reads jobs from stdin, one line of JSON each, and lets a forked
child of its own do one attempt at each: open the partial, fetch what is missing, put
the file in place, note that on record. Forked and not started, because a thousand
starts of Python would be the most of the test's time; this process itself has no
threads. For each job it prints the child's number, waits for a line (by then whoever
asked holds the child, and its number cannot mean another), and prints how it ended.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fonshare_agent.core import Core
from fonshare_agent.disk import Disk
from fonshare_agent.model import Root
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.transfer import read_back, write_behind
from fonshare_agent.transfer.limits import TokenBucket
from fonshare_agent.transfer.partial import Partial
from fonshare_agent.transfer.partial_files import discard_partials
from fonshare_agent.transfer.reading import Fetch
from fonshare_agent.transfer.wire import client_context
from fonshare_agent.transfer.worker import TransferWorkers
from waiting import PATIENCE_S

SECRET = b"s" * 16
ENDED, WAITS = 0, 10  # the exit codes of an attempt
STEP_BYTES = 128 * 1024  # one block
STALL_S = 1.0  # of silence, after which an attempt is given up


@dataclass
class Watch:
    is_cancelled: bool = False
    done_bytes: int = 0


def attempt(job: dict[str, Any], keys_folder: Path, own: Path) -> str:
    """Do one attempt as a node does it; return the reason why the job waits on."""
    record = Path(job["record"])
    disk = Disk(own, keys_folder / "disk-id", os.urandom)
    disk.open()
    root = Root(bytes.fromhex(job["root"]))
    if record.exists():  # placed and noted, but not cleaned up
        discard_partials(disk, job["id"])
        return ""
    partial = Partial.open(disk, job["id"], 0, job["size"], root)
    if not partial.has_hashes:
        partial.set_hashes([bytes.fromhex(one) for one in job["hashes"]])
    reason = "" if partial.is_complete else _fetch(job, keys_folder, partial)
    if not partial.is_complete:
        return reason or "incomplete"
    name = partial.finish(os.fsencode(job["folder"]), os.fsencode(job["name"]), 0)
    if name is None:
        return "blocks were bad"
    beside = record.with_suffix(".new")
    beside.write_bytes(name)
    beside.rename(record)
    partial.remove()
    return ""


def _fetch(job: dict[str, Any], keys_folder: Path, partial: Partial) -> str:
    keys = load_or_create(keys_folder, os.urandom)
    core = Core(time.monotonic)
    thread = threading.Thread(target=core.run, daemon=True)
    thread.start()
    context = client_context(keys.certificate_path, keys.private_key_path)
    bucket = TokenBucket(0, time.monotonic)
    workers = TransferWorkers(core, context, bucket, bucket, stall_s=STALL_S)
    ended = threading.Event()
    reasons: list[str] = []

    def begin() -> None:
        promise = workers.fetch(
            Fetch(
                ticket=bytes.fromhex(job["ticket"]),
                secret=SECRET,
                addresses=[(job["host"], job["port"])],
                peer_fingerprint=bytes.fromhex(job["peer"]),
                kept=partial,
                watch=Watch(),
            )
        )

        def note() -> None:
            reasons.append(promise.result())
            ended.set()

        promise.when_settled(note)

    core.post(begin)
    assert ended.wait(PATIENCE_S)
    workers.stop()
    return reasons[0]


def main(keys_folder: Path, own: Path) -> None:
    # Small files go through what large ones do: written behind, read back meanwhile.
    write_behind.STEP_BYTES = read_back.STEP_BYTES = STEP_BYTES  # type: ignore[misc]
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                reason = attempt(job, keys_folder, own)
                os.write(writing, reason.encode())
                code = WAITS if reason else ENDED
            finally:
                os._exit(code)  # after the traceback of what nobody foresaw
        os.close(writing)
        print(child, flush=True)
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            reason = pipe.read().decode()
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "reason": reason}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
