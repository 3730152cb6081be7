"""What a start of the service costs, in CPU time, on a 32-bit userland.

    PYTHONPATH=tools .venv/bin/python bench/startup.py [--times N]

Natively, with what the router runs (as bench/memory.py): from the start of the process
until it logs that the node is up; a first start, which makes keys and databases. CPU
seconds of a PC say little, so they are also given in starts of a bare Python in the
same minute, which `make vm` does on the emulated router as well. No budget is held
here: it is in seconds on the router's CPU, and `make vm` prints them.
"""

import argparse
import statistics
import subprocess
from pathlib import Path

import memory
from demo_nodes import Ports, wait_for
from memory import BUILD, PROGRAM, RUN, WAIT_S
from userland import Userland

UP = "is up"
LOG = BUILD / "bench" / "startup.log"


def main() -> int:
    """Measure, print a table; the exit status."""
    parser = argparse.ArgumentParser(description="CPU time of a start, 32-bit.")
    parser.add_argument("--times", type=int, default=5, metavar="N")
    times = parser.parse_args().times
    userland, ports = memory.build_userland(), Ports()
    with memory.running_broker(ports) as broker_port:
        memory.fill_disk(userland.disk)
        port, rows = ports.take(30), []
        for _ in range(times):
            # Its disk is a new one each time, so it must be a new node.
            memory.prepare_node(userland.root, port, broker_port)
            rows.append((_start_s(userland), _python_s(userland)))
    start_s, python_s = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    print(f"\n{'32-bit Python, CPU':28}{'ms':>8}{'bare Pythons':>14}")
    for name, taken_s in (
        ("python3 -c pass", python_s),
        ("first start of the agent", start_s),
    ):
        print(f"{name:28}{taken_s * 1000:8.0f}{taken_s / python_s:14.1f}")
    return 0


def _start_s(userland: Userland) -> float:
    """Return the CPU seconds that the agent has taken when it says that it is up."""
    command = userland.command("MALLOC_ARENA_MAX=1", f"/{PROGRAM}", "agent")
    with LOG.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for("the agent", lambda: UP in LOG.read_text(), WAIT_S)
        return _cpu_s(child.pid)
    finally:
        child.terminate()
        child.wait(WAIT_S)


def _cpu_s(pid: int) -> float:
    """Return what all threads of a process have taken; exact to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9


def _python_s(userland: Userland) -> float:
    """Return the CPU seconds of a Python that does nothing."""
    code = "import time; print(time.process_time())"
    return float(userland.run(RUN, "-OO", "-X", "no_debug_ranges", "-c", code))


if __name__ == "__main__":
    raise SystemExit(main())
