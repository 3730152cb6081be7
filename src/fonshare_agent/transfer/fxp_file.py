"""One file from server to server: where it goes on, which way, and its name at the end.

Rules kept: bytes go to a temporary name, and get their own only when the target has as
many as the source; what lies there from before is gone on with only if its end is equal
to the source's bytes at that place; a name that is taken is never overwritten unless
that was asked for; a route that a server forbids is not tried again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Final

from fonshare_agent.errors import (
    AlreadyExists,
    FxpError,
    FxpForbidden,
    FxpLost,
    FxpPartial,
    FxpRefused,
    FxpUnprotected,
    FxpUnreachable,
)
from fonshare_agent.model import NAME_BYTES_MAX, printable
from fonshare_agent.transfer import fxp_direct
from fonshare_agent.transfer.fxp_direct import Route, find_routes
from fonshare_agent.transfer.fxp_listing import Entry, Kind
from fonshare_agent.transfer.fxp_places import UNKNOWN_COMMAND, find
from fonshare_agent.transfer.fxp_relay import read_piece, relay
from fonshare_agent.transfer.fxp_server import Server
from fonshare_agent.transfer.fxp_watcher import Watcher

SUFFIX: Final = b".fonshare-part"
NO_SUCH_FILE: Final = b"fonshare-no-such-file"
PIECE_BYTES: Final = 64 * 1024  # of the end, compared before it is gone on with
TRIES: Final = 4  # in a row without one more byte
ROUTE_TRIES: Final = 3  # likewise, by a route that has worked; a new one has one
PAUSES_S: Final = (1.0, 5.0, 15.0)


class Relay(Enum):
    """Whether bytes may go through this node."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants of all files."""

    relay: Relay = Relay.AUTO
    overwrites: bool = False
    plain_data: bool = False


@dataclass(slots=True)
class Pair:
    """The two servers, and what was learnt about them."""

    source: Server
    target: Server
    wishes: Wishes
    routes: list[Route] = field(default_factory=list)
    proven: Route | None = None  # a file has come by it
    refusal: FxpError | None = None  # why there is no route from server to server
    can_rename: bool = True
    has_relayed: bool = False

    def open(self) -> None:
        """Log in at both, and find out how they may be joined."""
        self.source.open()
        self.target.open(self.source.family)
        # A name that is not there: refused where renaming is known, unknown elsewhere.
        reply = self.target.ask(b"RNFR " + self.target.path(NO_SUCH_FILE))
        self.can_rename = reply.code not in UNKNOWN_COMMAND
        if self.wishes.relay is Relay.ALWAYS:
            return
        self.routes = find_routes(
            self.source, self.target, plain_data=self.wishes.plain_data
        )
        if not self.routes:
            self.refusal = self._why_no_route()

    def _why_no_route(self) -> FxpError:
        if self.source.family != self.target.family:
            return FxpForbidden(
                "one server speaks IPv4, the other IPv6", thing=self.target.name
            )
        return FxpUnprotected(
            "neither server can begin TLS to the other (SSCN, CPSV)",
            thing=f"{self.source.name}, {self.target.name}",
        )

    def reopen(self) -> None:
        self.source.reopen()
        self.target.reopen()

    def keep_alive(self) -> None:
        """Between two files: neither may hang up, or it is called again."""
        for server in (self.source, self.target):
            try:
                server.keep_alive()
            except FxpLost:
                server.reopen()

    def close(self) -> None:
        self.source.quit()
        self.target.quit()


@dataclass(slots=True)
class FileMove:
    """One file on its way; `run` does it once. `on_done` hears how much is there."""

    pair: Pair
    source_path: bytes
    target_path: bytes
    entry: Entry  # what the source has
    on_done: Callable[[int], None]
    sleep: Callable[[float], None] = time.sleep
    owns_partial: bool = False  # the partial is of this run: it may be begun anew

    def run(self) -> bool:
        """Bring the file; True if bytes had to move. Raises why it is not there."""
        target, wishes = self.pair.target, self.pair.wishes
        taken = find(target, self.target_path)
        if taken is not None and taken.kind is not Kind.FILE:
            raise self._exists("a folder of that name lies there")
        if taken is not None and self._is_there(taken):
            self.on_done(self.entry.size or 0)
            return False
        if taken is not None and not wishes.overwrites and self.pair.can_rename:
            raise self._exists("another file of that name lies there")
        aside = self._aside()
        offset = self._find_offset(aside)
        if offset is None or offset != self.entry.size or not offset:
            self._bring(aside, offset or 0)
        self._demand_unchanged()
        self._rename(aside)
        self.on_done(self.entry.size or 0)
        return True

    def _exists(self, why: str) -> AlreadyExists:
        return AlreadyExists(
            why,
            thing=f"{self.pair.target.name}: {printable(self.target_path)}",
            next="Give `--overwrite` to replace it; nothing was changed.",
        )

    def _is_there(self, taken: Entry) -> bool:
        """Tell whether the target has the file already, as far as one can see."""
        if taken.size is None or taken.size != self.entry.size:
            return False
        # Not by the time: it is often that of the copy, and two changes in a second
        # have the same.
        return not self.pair.wishes.overwrites and self._has_same_end(
            self.target_path, taken.size
        )

    # --- what is there from before ------------------------------------------------

    def _aside(self) -> bytes:
        """Return the temporary name: always the same, so that it is found again."""
        if not self.pair.can_rename:
            return self.target_path
        folder, slash, name = self.target_path.rpartition(b"/")
        if len(name) + len(SUFFIX) > NAME_BYTES_MAX:
            name = sha256(name).hexdigest().encode()
        return folder + slash + name + SUFFIX

    def _find_offset(self, aside: bytes) -> int | None:
        """Return how much of the file is at the target; None if nothing is."""
        found = find(self.pair.target, aside)
        if found is None:
            return None
        complaint = ""
        if found.kind is not Kind.FILE or found.size is None:
            complaint = "its size is not known"
        elif self.entry.size is None:
            complaint = "how long the file should be is not known"
        elif found.size > self.entry.size:
            complaint = f"it is longer ({found.size} bytes) than the file"
        elif found.size == 0 or self._has_same_end(aside, found.size):
            return found.size
        else:
            complaint = "its end differs from the file, or cannot be read"
        if self.owns_partial or self.pair.wishes.overwrites:
            return 0
        raise FxpPartial(
            f"a partial of this file cannot be gone on with: {complaint}",
            thing=f"{self.pair.target.name}: {printable(aside)}",
        )

    def _has_same_end(self, path: bytes, size: int) -> bool:
        """Compare the last bytes of what the target has with the source's there."""
        start = max(0, size - PIECE_BYTES)
        count = size - start
        if not count:
            return True
        try:
            theirs = read_piece(self.pair.target, path, start, count)
        except (FxpRefused, FxpPartial):
            return False  # what was stored cannot be read, or only from its beginning
        ours = read_piece(self.pair.source, self.source_path, start, count)
        return len(ours) == count and ours == theirs

    # --- moving -------------------------------------------------------------------

    def _bring(self, aside: bytes, offset: int) -> None:
        """Move what is missing, by whichever route works, as often as it goes on."""
        tries = 0
        may_begin_anew = offset == 0 or self.pair.wishes.overwrites
        self.owns_partial = True
        while True:
            self.on_done(offset)
            try:
                self._move(aside, offset)
                self._demand_complete(aside)
                return
            except FxpPartial:
                if not offset or not may_begin_anew:
                    raise
                offset = 0
            except (FxpLost, FxpUnreachable) as error:
                reached = self._call_again(aside, tries)
                tries = 0 if reached > offset else tries + 1
                offset = reached
                if self.pair.routes:
                    tries = self._give_up_a_route(error, tries)
                elif tries >= TRIES:
                    raise error from None

    def _give_up_a_route(self, error: FxpError, tries: int) -> int:
        """Drop a route by which nothing came; return the tries of the next."""
        route = self.pair.routes[0]
        if tries == 0 or tries < (ROUTE_TRIES if route == self.pair.proven else 1):
            return tries
        self.pair.routes.pop(0)
        self.pair.refusal = self.pair.refusal or FxpForbidden(
            str(error), thing=error.thing
        )
        return 0

    def _call_again(self, aside: bytes, tries: int) -> int:
        """After a loss, connect anew; return from where to go on."""
        for pause_s in (*PAUSES_S[tries:], None):
            try:
                self.pair.reopen()
                return self._find_offset(aside) or 0
            except (FxpLost, FxpUnreachable):
                if pause_s is None:
                    raise
                self.sleep(pause_s)
        raise AssertionError("the last turn returns or raises")

    def _move(self, aside: bytes, offset: int) -> None:
        pair, paths = self.pair, (self.source_path, aside)
        while pair.routes:
            route = pair.routes[0]
            login = pair.target.login
            with Watcher(login, aside, offset, self.on_done) as watcher:
                try:
                    fxp_direct.move(
                        pair.source, pair.target, route, paths, offset, watcher.tick
                    )
                    pair.proven = route
                    return
                except FxpForbidden as error:
                    pair.refusal = pair.refusal or error
                    pair.routes.remove(route)
        if pair.wishes.relay is Relay.NEVER:
            self._remove_if_empty(aside)
            assert pair.refusal is not None
            raise pair.refusal
        self._relay(paths, offset)

    def _relay(self, paths: tuple[bytes, bytes], offset: int) -> None:
        self.pair.has_relayed = True
        done = [offset]

        def count(moved: int) -> None:
            done[0] += moved
            self.on_done(done[0])

        relay(self.pair.source, self.pair.target, paths, offset, count)

    def _remove_if_empty(self, aside: bytes) -> None:
        found = find(self.pair.target, aside)
        if found is not None and found.size == 0:
            self.pair.target.ask(b"DELE " + aside)

    def _demand_complete(self, aside: bytes) -> None:
        """Both servers said so; the target's size must say it, too."""
        found = find(self.pair.target, aside)
        if found is None or (
            self.entry.size is not None and found.size != self.entry.size
        ):
            there = "nothing" if found is None else f"{found.size} bytes"
            raise FxpLost(
                f"the target has {there} instead of {self.entry.size} bytes",
                thing=printable(aside),
            )

    # --- the end ------------------------------------------------------------------

    def _demand_unchanged(self) -> None:
        now = find(self.pair.source, self.source_path)
        # A listing may tell less of a file than a question about it.
        pairs = [] if now is None else _known_of_both(now, self.entry)
        if now is None or any(one != other for one, other in pairs):
            raise FxpRefused(
                "the file changed while it was copied",
                thing=f"{self.pair.source.name}: {printable(self.source_path)}",
                next="It has not got its name; delete the partial, then copy it again.",
            )

    def _rename(self, aside: bytes) -> None:
        target = self.pair.target
        if aside != self.target_path:
            if not self.pair.wishes.overwrites:
                taken = find(target, self.target_path)
                if taken is not None:  # since we began
                    raise self._exists("another file of that name has come there")
            target.demand(b"RNFR " + aside, aside)
            reply = target.ask(b"RNTO " + self.target_path)
            if not reply.is_good and self.pair.wishes.overwrites:
                # Not every system renames over a file.
                target.demand(b"DELE " + self.target_path, self.target_path)
                target.demand(b"RNFR " + aside, aside)
                reply = target.ask(b"RNTO " + self.target_path)
            if not reply.is_good:
                raise target.refused(reply, aside)
        if "MFMT" in target.features and self.entry.modified:
            # As the source has it, if the server lets us.
            target.ask(b"MFMT " + self.entry.modified + b" " + self.target_path)


def _known_of_both(one: Entry, other: Entry) -> Sequence[tuple[object, object]]:
    """Return the pairs of what is known of both entries."""
    pairs = ((one.size, other.size), (one.modified, other.modified))
    return [pair for pair in pairs if None not in pair]
