"""`make run`: the main job of FonShare, shown on this machine.

    python tools/demo.py [--once] [--share FOLDER] [--folder demo]

Starts a broker and three nodes on loopback, each in a folder below ./demo: alice has
files, bob joins her group, finds one and fetches it router to router, carol is in no
group and sees nothing. Everything is done by `fonshare` commands, printed as they run.
Then it stays up until Ctrl-C; with --once it ends after the fetch. Exit status 0 if all
went as shown, else 1, with the agents' logs.
"""

import argparse
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from demo_nodes import (
    PASSWORD,
    Child,
    DemoFailed,
    Node,
    Ports,
    shown_path,
    start_broker,
    wait_for,
)

MARKER = ".fonshare-demo"  # only a folder that holds it is ever emptied
GROUP, SHARE, FOLDER = "Famille", "Films", "films"
FILM, FILM_WORD, FILM_BYTES = "Été à Bréhat.mkv", "brehat", 40 << 20
FETCH_KIB_S = 16384  # bob's limit in the demo: quick, and slow enough to be seen
COPY_BYTES_MAX = 2 << 30  # of --share: it is copied, the original is never touched
GROUP_S = 60.0  # joining and the first catalogue take a second or two
STALL_S = 60.0  # a source that is silent is asked again twice in this time
LOG_LINES = 30

BOLD, DIM, PLAIN = (
    ("\x1b[1m", "\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else [""] * 3
)


def main() -> int:
    options = _parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _interrupt)
    children: list[Child] = []
    try:
        with ExitStack() as stack:
            began = time.monotonic()
            alice, bob, carol = _start(options, stack, children)
            _tell_the_story(alice, bob, carol, bool(options.share))
            print(f"\n{BOLD}Done in {time.monotonic() - began:.1f} s.{PLAIN}")
            if not options.once:
                _stay(alice, bob, carol)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0 if not options.once else 1
    except DemoFailed as error:
        print(f"\nThis did not work: {error}", file=sys.stderr)
        for child in children:
            _show_log(child)
        return 1
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make run", description="Show the main job with three nodes."
    )
    parser.add_argument("--once", action="store_true", help="end after the fetch")
    parser.add_argument("--share", metavar="FOLDER", help="show your own files instead")
    parser.add_argument(
        "--embedded", action="store_true", help="not Mosquitto, even if installed"
    )
    parser.add_argument("--folder", default="demo", help="where the nodes live")
    return parser.parse_args()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


# --- setting the stage ----------------------------------------------------------


def _start(
    options: argparse.Namespace, stack: ExitStack, children: list[Child]
) -> tuple[Node, Node, Node]:
    root = _fresh_folder(Path(options.folder))
    ports = Ports()
    port = ports.take(1)
    broker, name = start_broker(root / "broker", port, options.embedded)
    stack.callback(broker.end)
    children.append(broker)
    print(f"{BOLD}{name} listens on 127.0.0.1:{port}.{PLAIN}")
    nodes = []
    for who in ("alice", "bob", "carol"):
        limit_kib_s = FETCH_KIB_S if who == "bob" else 0
        node = Node(who, root, ports, f"mqtt://127.0.0.1:{port}", limit_kib_s)
        stack.callback(node.end)
        nodes.append(node)
    alice, bob, carol = nodes
    if options.share:
        _copy_files(Path(options.share).expanduser(), alice.disk / FOLDER)
    else:
        _make_files(alice.disk / FOLDER)
    for node in nodes:
        print(f"{DIM}$ {node.shown('agent')} &{PLAIN}")
        children.append(node.start())
    for node in nodes:
        node.wait_until_up()
    return alice, bob, carol


def _fresh_folder(root: Path) -> Path:
    if root.exists():
        if any(root.iterdir()) and not (root / MARKER).exists():
            raise DemoFailed(f"{root} is not empty and not a demo's; use --folder")
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / MARKER).touch()
    return root


def _make_files(folder: Path) -> None:
    (folder / "photos").mkdir(parents=True)
    with (folder / FILM).open("wb") as film:
        for _ in range(FILM_BYTES >> 20):
            film.write(os.urandom(1 << 20))
    (folder / "Lisez-moi.txt").write_text("Les films de l'été.\n", encoding="utf-8")
    (folder / "photos" / "plage.png").write_bytes(_picture(640, 400))


def _picture(width: int, height: int) -> bytes:
    """Return a beach as a PNG: sky, sea and sand."""
    colours = (b"\x87\xce\xeb", b"\x1e\x60\x91", b"\xe8\xd5\xa3")
    rows = b"".join(b"\0" + colours[3 * row // height] * width for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )  # fmt: skip


def _copy_files(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise DemoFailed(f"{source} is not a folder")
    target.mkdir(parents=True)
    left, copied, skipped = COPY_BYTES_MAX, 0, 0
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            if size > left:
                skipped += 1
                continue
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
            left, copied = left - size, copied + 1
    if not copied:
        raise DemoFailed(f"{source} holds no files to share")
    note = f", {skipped} left out above {COPY_BYTES_MAX >> 30} GiB" if skipped else ""
    print(f"{copied} files copied from {source}{note}; yours are not touched.")


# --- the story ------------------------------------------------------------------


def _tell_the_story(alice: Node, bob: Node, carol: Node, has_own_files: bool) -> None:
    _step("alice founds a group and shares a folder with it")
    _run(alice, "group", "create", GROUP)
    _run(alice, "share", "add", FOLDER, "--name", SHARE, "--group", GROUP)
    _step("bob joins with a code; both persons would compare the words")
    _join(alice, bob)
    _step("bob searches what his groups offer")
    entry = _find(alice, bob, has_own_files)
    _step("bob fetches it, straight from alice's disk")
    path = _fetch(bob, entry)
    _compare(alice, entry, path)
    _step("carol is in no group: she finds nothing and can fetch nothing")
    _check_carol(carol, entry)


def _step(text: str) -> None:
    print(f"\n{BOLD}# {text}{PLAIN}", flush=True)


def _run(node: Node, *arguments: str) -> Any:
    print(f"$ {node.shown(*arguments)}", flush=True)
    return node.ask(*arguments)


def _join(alice: Node, bob: Node) -> None:
    code = _run(alice, "group", "invite", GROUP)["code"]
    print(f"{DIM}{code}{PLAIN}")
    _run(bob, "group", "join", code, "--yes")
    requests = wait_for(
        "bob's request reaches alice",
        lambda: alice.ask("group", "requests"),
        GROUP_S,
    )
    print(f"$ {alice.shown('group', 'requests')}")
    for request in requests:
        words = request.get("words") or ""
        shown = words if isinstance(words, str) else " ".join(words)
        print(f"{request['name']} asks to join {request['group']}: {shown}")
    _run(alice, "group", "accept", GROUP, "bob")
    wait_for("bob is a member", lambda: _members(bob) == {"alice", "bob"}, GROUP_S)
    print(f"$ {bob.shown('group', 'ls')}")
    print(f"{GROUP}: {', '.join(sorted(_members(bob)))}")


def _members(node: Node) -> set[str]:
    groups = [group for group in node.ask("group", "ls") if group["name"] == GROUP]
    return {member["name"] for group in groups for member in group["members"]}


def _find(alice: Node, bob: Node, has_own_files: bool) -> Any:
    wanted, word = FILM, FILM_WORD
    if has_own_files:
        files = [path for path in (alice.disk / FOLDER).rglob("*") if path.is_file()]
        largest = max(files, key=lambda path: path.stat().st_size)
        wanted, word = str(largest.relative_to(alice.disk / FOLDER)), largest.name

    def search() -> Any:
        rows = bob.ask("find", "--", word)
        return [row for row in rows if row["path"] == wanted and row["size"]]

    rows = wait_for("alice's catalogue reaches bob", search, GROUP_S)
    print(f"$ {bob.shown('find', *(['--'] if word[0] == '-' else []), word)}")
    for row in rows:
        print(f"{row['name']}  {_size(row['size'])}  {row['group']}/{row['member']}")
    return rows[0]


def _fetch(bob: Node, entry: Any) -> Path:
    arguments = ("get", entry["id"], "--wait")
    print(f"$ {bob.shown(*arguments)}", flush=True)
    began = time.monotonic()
    if sys.stderr.isatty():
        process = subprocess.Popen(bob.command(*arguments))
    else:
        process = subprocess.Popen(
            bob.command("--json", *arguments), stdout=subprocess.DEVNULL
        )
    try:
        _watch(bob, process)
    finally:
        process.kill()
        process.wait()
    job = bob.ask("jobs")[0]
    if process.returncode != 0 or job["state"] != "done":
        raise DemoFailed(f"the job is {job['state']}: {job['error']}")
    seconds = time.monotonic() - began
    speed = _size(int(entry["size"] / max(seconds, 0.001)))
    print(f"{_size(entry['size'])} in {seconds:.1f} s, {speed}/s")
    print(f"{DIM}(here bob is limited to {_size(FETCH_KIB_S << 10)}/s){PLAIN}")
    return Path(job["path"])


def _watch(bob: Node, process: "subprocess.Popen[bytes]") -> None:
    """Wait for `get` to end; give up when nothing moves for too long."""
    line, moved = "", time.monotonic()
    while process.poll() is None:
        jobs = bob.ask("jobs")
        if jobs and (text := _progress(jobs[0])) != line:
            line, moved = text, time.monotonic()
            if not sys.stderr.isatty():  # else `get` draws its own
                print(line)
        if time.monotonic() > moved + STALL_S:
            raise DemoFailed(f"the job does not move: {jobs}")
        time.sleep(0.5)


def _progress(job: Any) -> str:
    share = job["done_bytes"] / job["size"] if job["size"] else 1.0
    return f"  [{'#' * int(share * 30):<30}] {share:4.0%} {job['state']}"


def _compare(alice: Node, entry: Any, fetched: Path) -> None:
    source = alice.disk / FOLDER / entry["path"]
    sums = []
    for path in (source, fetched):
        with path.open("rb") as file:
            sums.append(hashlib.file_digest(file, "sha256").hexdigest())
        print(f"{sums[-1]}  {shown_path(path)}")
    if sums[0] != sums[1]:
        raise DemoFailed("the fetched file is not alice's file")
    print(f"{BOLD}The same, byte for byte.{PLAIN}")


def _check_carol(carol: Node, entry: Any) -> None:
    found = _run(carol, "find", "--", entry["name"])
    if found:
        raise DemoFailed(f"carol found what she must not see: {found}")
    print("nothing found")
    print(f"$ {carol.shown('get', entry['id'])}")
    try:
        answer = carol.ask("get", entry["id"])
    except DemoFailed as refused:
        print(str(refused).splitlines()[-1])
        return
    raise DemoFailed(f"carol got a job for what she must not have: {answer}")


# --- afterwards -----------------------------------------------------------------


def _stay(alice: Node, bob: Node, carol: Node) -> None:
    address = f"ftp://owner:{PASSWORD}@127.0.0.1"
    print(f"""
Everything stays up until Ctrl-C. In another terminal, try:

  {bob.shown("ls", GROUP)}
  {bob.shown("get", f"{GROUP}/alice/{SHARE}", "--wait")}
  {bob.shown("status")}
  {alice.shown("group", "invite", GROUP)}
  {carol.shown("group", "join", "-")}

or open in a file manager or FTP program:

  {address}:{alice.ftp_port}/   alice's disk
  {address}:{bob.ftp_port}/   bob's disk, with downloads/{GROUP}/alice
""", flush=True)  # fmt: skip
    nodes = (alice, bob, carol)
    while True:
        time.sleep(1)
        for node in nodes:
            if node.child and node.child.has_ended:
                raise DemoFailed(f"{node.name}'s agent ended by itself")


def _show_log(child: Child) -> None:
    lines = child.log.read_text(errors="replace").splitlines()
    print(f"\n--- {child.name}: the end of {child.log}", file=sys.stderr)
    print("\n".join(lines[-LOG_LINES:]), file=sys.stderr)


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main())
