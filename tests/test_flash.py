"""An agent at work writes to its disk and to its run folder, and nowhere else.

It sees this machine's file system through an overlay of its own, whose upper layer
takes whatever is written: flash, as it were. Only the disk and what stands for
`/var/run` lie beside that.
"""

import os
import subprocess
from pathlib import Path

import pytest

from nodes import NodeProcess, befriend, eventually, running, share
from programs import require_program

# In a mount namespace of its own: $1 the overlay's folder, $2 how many folders follow
# that lie beside it, then those, then the agent's command.
ENTER = """
set -e
base=$1 count=$2
shift 2
mount --make-rprivate /
mount -t overlay overlay \
  -o lowerdir=/,upperdir=$base/upper,workdir=$base/work $base/root
for kernel in /proc /sys /dev; do mount --rbind $kernel $base/root$kernel; done
while [ $count -gt 0 ]; do
  mount --bind "$1" "$base/root$1"
  shift
  count=$((count - 1))
done
exec chroot $base/root "$@"
"""


def on_flash(base: Path, *beside: Path) -> list[str]:
    """Return the command before which everything but *beside* lies on flash."""
    for name in ("upper", "work", "root"):
        (base / name).mkdir(parents=True)
    for folder in beside:
        folder.mkdir(parents=True, exist_ok=True)
    enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(base)]
    return [*enter, str(len(beside)), *map(str, beside)]


def written(base: Path) -> list[str]:
    """Return what the overlay has taken: what was changed, made or removed."""
    found = []
    for folder, folders, files in os.walk(base / "upper"):
        found += [os.path.join(folder, name) for name in folders + files]
    return [os.path.relpath(path, base / "upper") for path in sorted(found)]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file and folder in it, and when it was last changed."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.stat()
        found[str(path)] = status.st_mtime_ns, status.st_ctime_ns
    return found


@pytest.fixture
def make_node(tmp_path, broker):
    require_program("unshare")
    if os.geteuid():
        pytest.skip("a mount namespace needs root")

    def make(name):
        folder, base = tmp_path / name, tmp_path / f"flash-{name}"
        # On a router: /etc/fonshare, the disk, /var/run/fonshare.
        keys, disk, run = (folder / one for one in ("keys", "disk", "run"))
        wrapper = on_flash(base, keys, disk, run)
        if subprocess.run(
            [*wrapper, "test", "-d", keys], capture_output=True
        ).returncode:
            pytest.skip("no overlay over this file system can be had")
        node = NodeProcess(
            *(folder, name, broker.url),
            wrapper=wrapper,
            state=str(disk / ".fonshare"),
            keys=str(keys),
            run=str(run),
        )
        return node, base

    return make


@pytest.mark.full
def test_an_agent_at_work_writes_to_its_disk_and_its_run_folder_alone(make_node):
    (alice, flash), (bob, other_flash) = make_node("alice"), make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        films = share(alice, "films", "Films", "Famille")
        at_rest = {node: listing(node.folder / "keys") for node in (alice, bob)}
        work(alice, bob, films)
        for node in (alice, bob):
            kept = listing(node.folder / "keys")
            assert kept == at_rest[node], f"{node.name} writes where its keys are"
    assert written(flash) == []
    assert written(other_flash) == []


def work(alice: NodeProcess, bob: NodeProcess, films: Path) -> None:
    """Scans, a large file, small ones, search, limits, a rating, a follow, doctor."""
    content = os.urandom(5 << 20)
    (films / "tide.mkv").write_bytes(content)
    (films / "notes").mkdir()
    for number in range(5):
        (films / "notes" / f"tide {number}.txt").write_bytes(os.urandom(5000))
    eventually(lambda: all_hashed(bob, 6), "bob sees them hashed")
    for entry in ("tide.mkv", "notes"):
        bob("get", f"Famille/alice/Films/{entry}", "--wait")
    assert len(bob.fetched()) == 6
    bob("rate", "Famille/alice/Films/tide.mkv", "4")
    bob("follow", "Famille/alice/Films", "--budget", "1G")
    bob("search", "save", "new", "tide")
    bob("limits", "--upload", "2048")
    for node in (alice, bob):
        node("doctor")


def all_hashed(node: NodeProcess, count: int) -> bool:
    rows = node.find("tide")
    return len(rows) == count and all(row["root"] for row in rows)
