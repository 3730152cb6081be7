"""`fonshare` as root has it on a router, for tests: a process whose router is a folder.

    python router_program.py FOLDER WORDS…

FOLDER holds what router_box.py makes: etc/fonshare, mounts, and bin/ with uci and the
service. All else is the program itself.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import fonshare_agent
from fonshare_agent import broker_setup, router_disks, router_setup
from fonshare_agent.cli import main


def be_root_of(router: Path, put: Callable[..., None] = setattr) -> None:
    """Put this process onto the router in the folder *router*."""
    put(os, "geteuid", lambda: 0)
    put(fonshare_agent, "ROUTER_FILE", str(router / "etc" / "fonshare"))
    put(router_setup, "MOUNTS", router / "mounts")
    put(router_setup, "SERVICE", str(router / "bin" / "service"))
    put(router_disks, "MEMORY", "/nowhere")  # tests live in /tmp
    put(broker_setup, "THEIR_FILE", router / "mosquitto.conf")


def search_path(router: Path) -> str:
    """Return the PATH there; Mosquitto, in /usr/sbin, is not installed."""
    return f"{router / 'bin'}:/usr/bin:/bin"


if __name__ == "__main__":
    be_root_of(Path(sys.argv[1]))
    os.environ["PATH"] = search_path(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
