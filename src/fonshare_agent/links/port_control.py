"""PCP and NAT-PMP with the router upstream, over UDP (protocol/pcp.py has the forms).

Each port is asked for by a datagram of its own: the door's, then the others, a few at a
time, since a small router takes its time for each. What is not answered is asked again.
An answer counts only if it comes from the router itself. Blocks, for some seconds where
nobody answers: for a thread of its own.
"""

import hashlib
import hmac
import select
import socket
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Final, Self

from fonshare_agent.links.mapped import LEASE_S, Mapped, Outcome, Unmapped, Wish
from fonshare_agent.protocol import pcp

TRIES_S: Final = (0.5, 1.0, 2.0, 4.0)  # how long each try waits for its answer
AT_ONCE: Final = 4
REFUSALS: Final = 2  # tries after which a router that says "no such port" is believed

Ask = bytes
Read = Callable[[bytes], object | None]  # what a datagram answers; None: nothing


class _Talk:
    """One socket that hears nobody but the router."""

    def __init__(self, router: str, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if address:
                self._socket.bind((address, 0))
            self._socket.connect((router, pcp.PORT))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def address(self) -> IPv4Address:
        """Ours, as the router sees it."""
        return IPv4Address(self._socket.getsockname()[0])

    def ask(self, asks: Mapping[int, tuple[Ask, Read]]) -> dict[int, object]:
        """Send every question until it is answered; return the answers there are."""
        answers: dict[int, object] = {}
        refusals = 0
        for try_s in TRIES_S:
            for ask, _ in (one for key, one in asks.items() if key not in answers):
                self.send(ask)
            refusals += self._listen(asks, answers, time.monotonic() + try_s)
            if len(answers) == len(asks) or (refusals >= REFUSALS and not answers):
                break
        return answers

    def send(self, ask: Ask) -> None:
        try:
            self._socket.send(ask)
        except OSError:
            return  # nobody listens there (ICMP), or no way: as good as silence

    def _listen(
        self,
        asks: Mapping[int, tuple[Ask, Read]],
        answers: dict[int, object],
        until: float,
    ) -> bool:
        """Take answers until there are all; whether nobody listens there (ICMP)."""
        is_refused = False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while len(answers) < len(asks) and (left_s := until - time.monotonic()) > 0:
            if not poll.poll(left_s * 1000):
                break
            try:
                data = self._socket.recv(pcp.DATAGRAM_MAX)
            except OSError:
                is_refused = True  # it may come up within the next try
                continue
            for key, (_, read) in asks.items():
                if key not in answers and (answer := read(data)) is not None:
                    answers[key] = answer
                    if not isinstance(answer, pcp.OtherVersion):
                        break
        return is_refused


def by_pcp(wish: Wish, router: str) -> Outcome:
    """Ask by PCP; renew what was asked for before by the same *wish*."""
    try:
        with _Talk(router, wish.address) as talk:
            wanted = {port: port for port in wish.ports}
            answers = _ask_all(talk, _pcp_asks(talk, wish, wanted, LEASE_S))
    except OSError as error:
        return Unmapped("silent", error.strerror or "")
    return _outcome("PCP", wish, answers, None)


def by_nat_pmp(wish: Wish, router: str) -> Outcome:
    """Ask by NAT-PMP; renew what was asked for before."""
    try:
        with _Talk(router, wish.address) as talk:
            ask = (pcp.nat_pmp_address(), pcp.read_nat_pmp_address)
            told = talk.ask({0: ask}).get(0)
            if not isinstance(told, IPv4Address):
                # So miniupnpd says that its outside address is not a public one.
                is_inside = told == pcp.Refused(pcp.NAT_PMP_RESULTS[3])
                return Unmapped("double_nat") if is_inside else _refusal(told)
            wanted = {port: port for port in wish.ports}
            answers = _ask_all(talk, _nat_pmp_asks(wanted, LEASE_S))
    except OSError as error:
        return Unmapped("silent", error.strerror or "")
    return _outcome("NAT-PMP", wish, answers, told)


def withdraw(wish: Wish, mapped: Mapped, router: str) -> None:
    """Take back what was forwarded. Not waited for: else it lapses by itself."""
    nothing = dict.fromkeys(mapped.ports, 0)
    try:
        with _Talk(router, wish.address) as talk:
            is_pcp = mapped.method == "PCP"
            asks = (
                _pcp_asks(talk, wish, nothing, 0)
                if is_pcp
                else _nat_pmp_asks(nothing, 0)
            )
            for ask, _ in asks.values():
                talk.send(ask)
    except OSError:
        return  # no way to the router any more: what we had there lapses


def _ask_all(talk: _Talk, asks: Mapping[int, tuple[Ask, Read]]) -> dict[int, object]:
    """Ask for the door, and for the others only if that is forwarded."""
    door, *others = asks
    answers = talk.ask({door: asks[door]})
    if isinstance(answers.get(door), pcp.Forwarded):
        for at in range(0, len(others), AT_ONCE):
            answers |= talk.ask(
                {port: asks[port] for port in others[at : at + AT_ONCE]}
            )
    return answers


def _pcp_asks(
    talk: _Talk, wish: Wish, wanted: Mapping[int, int], lifetime_s: int
) -> dict[int, tuple[Ask, Read]]:
    asks: dict[int, tuple[Ask, Read]] = {}
    for port, external in wanted.items():
        nonce = _nonce(wish.key, port)
        asks[port] = (
            pcp.pcp_map(talk.address, nonce, port, external, lifetime_s),
            lambda data, nonce=nonce, port=port: pcp.read_pcp(data, nonce, port),  # type: ignore[misc]
        )
    return asks


def _nonce(key: bytes, port: int) -> bytes:
    """Who does not know it cannot take the mapping away."""
    text = b"fonshare-pcp-1" + port.to_bytes(2, "big")
    return hmac.digest(key, text, hashlib.sha256)[: pcp.NONCE_BYTES]


def _nat_pmp_asks(
    wanted: Mapping[int, int], lifetime_s: int
) -> dict[int, tuple[Ask, Read]]:
    return {
        port: (
            pcp.nat_pmp_map(port, external, lifetime_s),
            lambda data, port=port: pcp.read_nat_pmp_map(data, port),  # type: ignore[misc]
        )
        for port, external in wanted.items()
    }


def _outcome(
    method: str, wish: Wish, answers: Mapping[int, object], address: IPv4Address | None
) -> Outcome:
    got = {k: one for k, one in answers.items() if isinstance(one, pcp.Forwarded)}
    door = got.get(wish.ports[0])
    outside = address or (door and door.address)
    if door is None or outside is None:
        return _refusal(next((one for one in answers.values()), None))
    return Mapped(
        method,
        str(outside),
        {port: one.external for port, one in got.items()},
        min(one.lifetime_s for one in got.values()),
    )


def _refusal(answer: object) -> Unmapped:
    if isinstance(answer, pcp.Refused):
        return Unmapped("refused", answer.reason)
    return Unmapped("silent")
