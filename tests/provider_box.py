"""The provider's box: a house's router that forwards ports for who asks (miniupnpd)."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from networks import House
from programs import require_server
from waiting import PATIENCE_S, wait_until

# Where miniupnpd puts its rules, in the form of its own nft_init.sh.
CHAINS = """
table inet filter {
  chain miniupnpd {}
  chain prerouting_miniupnpd {}
  chain postrouting_miniupnpd {}
  chain in {
    type nat hook prerouting priority dstnat
    jump prerouting_miniupnpd
  }
}
"""

EVERYTHING = {
    "ext_ifname": "wan",
    "listening_ip": "lan",
    "http_port": "5000",
    "enable_natpmp": "yes",  # and PCP
    "enable_upnp": "yes",
    "secure_mode": "yes",
    "min_lifetime": "2",
    "max_lifetime": "86400",
    "upnp_table_name": "filter",
    "upnp_nat_table_name": "filter",
    "uuid": "7b9a4cd7-3b13-4d3e-9d1a-0123456789ab",
}


class Box:
    """miniupnpd on a house's router; `start` after `stop`: all is forgotten."""

    def __init__(
        self,
        folder: Path,
        house: House,
        options: Mapping[str, str] = {},
        rules: Sequence[str] = ("allow 1024-65535 0.0.0.0/0 1024-65535",),
    ) -> None:
        self._unpacked, self._house = require_server("miniupnpd"), house
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._settings = folder / "box.log", folder / "box.conf"
        self._pid = folder / "box.pid"
        chosen = {**EVERYTHING, **options}
        self._has_udp = chosen["enable_natpmp"] == "yes"
        lines = [f"{name}={one}" for name, one in chosen.items()]
        self._settings.write_text("\n".join([*lines, *rules, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._house.run("nft", "-f", "-", stdin=CHAINS)
        words = [self._unpacked.folder / self._unpacked.program, "-d"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._house.wrapper, *words, "-f", self._settings, "-P", self._pid],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._unpacked.environment,
            )
        wait_until(self._is_listening, "the box answers")

    def _is_listening(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        listens = self._house.run("ss", "-ltun")
        return (":5351 " if self._has_udp else ":5000 ") in listens

    def stop(self) -> None:
        """Switch it off, and have what it forwards forgotten."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # as a plug that is pulled; it takes back nothing either
            process.wait(PATIENCE_S)
            self._house.run("nft", "delete", "table", "inet", "filter")

    def forwarded(self) -> dict[int, str]:
        """Return what it forwards: the port outside, and where to."""
        rules = self._house.run(
            "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"
        )
        found = (line.split() for line in rules.splitlines() if "dnat" in line)
        return {int(row[row.index("dport") + 1]): row[-1] for row in found}


@contextmanager
def switched_on(box: Box) -> Iterator[Box]:
    box.start()
    try:
        yield box
    finally:
        box.stop()
