"""The tables of ratings in state.db: what this node and its groups' members think.

Part of StateStore, under its rules: each method is one transaction, durable when it
returns. A member's ratings are a log of its own numbering, of which everything is here
up to its head (docs/protocol/ratings.md); so are this node's. Bounded: RATINGS_MAX of
each member in each group. Must not know how anything travels.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fonshare_agent.errors import UsageError
from fonshare_agent.index.state_tables import Tables
from fonshare_agent.model import GroupId, NodeId, Root

RATINGS_MAX: Final = 1000  # of one member in one group: 64 of them are some 4 MB
LOG_BYTES: Final = 8

Rated = tuple[bytes, int]  # a root and its stars; 0 takes the rating back


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log goes."""

    log: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a group thinks of one content; `own` is 0 where this node has not rated."""

    stars: int  # of all together
    count: int
    own: int

    @property
    def average(self) -> float:
        return self.stars / self.count


_VERDICT: Final = (
    "sum(stars), count(*), coalesce(max(stars) FILTER (WHERE member = ?), 0)"
)


class RatingTables(Tables):
    """Ratings, own and told, and what all think."""

    # --- the own ones ---

    def own_head(self, group: GroupId, me: NodeId) -> Head | None:
        """Return the head of the own log, None while nothing was ever rated."""
        found = self._rows(
            "SELECT head, renewed FROM rater WHERE grp = ? AND member = ?", (group, me)
        )
        return Head(self._own_log(group, found[0][1]), found[0][0]) if found else None

    def _own_log(self, group: GroupId, renewed: int) -> bytes:
        # A state.db that was restored has another life: its numbers were given before.
        ((life,),) = self._rows("SELECT life FROM meta")
        told = (
            b"fonshare-ratings-1" + (life or b"") + group + renewed.to_bytes(8, "big")
        )
        return sha256(told).digest()[:LOG_BYTES]

    def rate(self, group: GroupId, me: NodeId, root: Root, stars: int) -> None:
        """Rate a content anew; 0 takes the rating back."""
        with self._transaction():
            self._write(
                "INSERT INTO rater (grp, member, log, head) VALUES (?, ?, x'', 0)"
                " ON CONFLICT DO NOTHING",
                (group, me),
            )
            ((rater, head),) = self._rows(
                "SELECT number, head FROM rater WHERE grp = ? AND member = ?",
                (group, me),
            )
            if self._stars(rater, root) == stars:
                return
            self._make_room(rater, root)
            self._write("UPDATE rater SET head = head + 1 WHERE number = ?", (rater,))
            self._put(rater, root, stars, head + 1)

    def _make_room(self, rater: int, root: Root) -> None:
        """See that *root* has a row; what was taken back is numbered away for it."""
        if self._stars(rater, root) is not None or self._count(rater) < RATINGS_MAX:
            return
        self._write("DELETE FROM rating WHERE rater = ? AND stars = 0", (rater,))
        if self._count(rater) >= RATINGS_MAX:
            raise UsageError(
                f"{RATINGS_MAX} files of the group are rated, which is the most",
                next="Take a rating back with `fonshare rate ENTRY 0`.",
            )
        # Members who have not heard of these must not keep them: a new log.
        self._write("UPDATE rater SET renewed = renewed + 1 WHERE number = ?", (rater,))

    def page(
        self, group: GroupId, me: NodeId, after: Head, limit: int
    ) -> tuple[Head, list[Rated], Head] | None:
        """Return what comes after *after*: where it begins, some of it, where it ends.

        It begins at 0 if *after* is of another log, or beyond this one. None: nothing
        was ever rated.
        """
        head = self.own_head(group, me)
        if head is None:
            return None
        is_known = after.log == head.log and after.number <= head.number
        begin = Head(head.log, after.number if is_known else 0)
        rows = self._rows(
            "SELECT root, stars, sequence FROM rating JOIN rater ON rater = number"
            " WHERE grp = ? AND member = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (group, me, begin.number, limit + 1),
        )
        upto = rows[limit - 1][2] if len(rows) > limit else head.number
        return begin, [row[:2] for row in rows[:limit]], Head(head.log, upto)

    # --- those of members ---

    def take(
        self,
        group: GroupId,
        member: NodeId,
        begin: Head,
        rated: Iterable[Rated],
        upto: int,
    ) -> int | None:
        """Take in what *member* says comes after *begin*; return how far it is here.

        None: something before it is missing, and nothing was taken; ask after `known`.
        """
        with self._transaction():
            rater, head = self._rater(group, member, begin.log)
            if begin.number > head:
                return None
            if rater is None:
                rater = self._begin_log(group, member, begin.log)
            if upto <= head:
                return head
            for root, stars in rated:
                self._take_one(rater, root, stars)
            self._write("UPDATE rater SET head = ? WHERE number = ?", (upto, rater))
            return upto

    def known(self, group: GroupId, member: NodeId, log: bytes) -> int:
        """Return up to which number of *member*'s *log* everything is here."""
        return self._rater(group, member, log)[1]

    def _rater(
        self, group: GroupId, member: NodeId, log: bytes
    ) -> tuple[int | None, int]:
        rows = self._rows(
            "SELECT number, head FROM rater WHERE grp = ? AND member = ? AND log = ?",
            (group, member, log),
        )
        return rows[0] if rows else (None, 0)

    def _begin_log(self, group: GroupId, member: NodeId, log: bytes) -> int:
        """Forget what *member* has said under another log."""
        self._write("DELETE FROM rater WHERE grp = ? AND member = ?", (group, member))
        self._write(
            "INSERT INTO rater (grp, member, log, head) VALUES (?, ?, ?, 0)",
            (group, member, log),
        )
        ((number,),) = self._rows(
            "SELECT number FROM rater WHERE grp = ? AND member = ?", (group, member)
        )
        return int(number)

    def _take_one(self, rater: int, root: bytes, stars: int) -> None:
        if not stars:
            self._write(
                "DELETE FROM rating WHERE root = ? AND rater = ?", (root, rater)
            )
        elif self._stars(rater, root) is not None or self._count(rater) < RATINGS_MAX:
            self._put(rater, root, stars, 0)

    def keep_members(self, group: GroupId, members: Collection[NodeId]) -> None:
        """Forget what others than *members* have said in *group*."""
        raters = self._rows("SELECT number, member FROM rater WHERE grp = ?", (group,))
        with self._transaction():
            for number, member in raters:
                if member not in members:
                    self._write("DELETE FROM rater WHERE number = ?", (number,))

    def groups(self) -> list[GroupId]:
        """Return the groups in which anything is rated."""
        return [
            GroupId(group) for (group,) in self._rows("SELECT DISTINCT grp FROM rater")
        ]

    # --- what all think ---

    def verdicts(
        self, wanted: Collection[tuple[GroupId, Root]], me: NodeId
    ) -> dict[tuple[GroupId, Root], Verdict]:
        """Return what is thought of those of *wanted* that anybody has rated."""
        found = {}
        for group, root in set(wanted):
            ((stars, count, own),) = self._rows(
                f"SELECT {_VERDICT} FROM rating JOIN rater ON rater = number"
                " WHERE root = ? AND grp = ? AND stars > 0",
                (me, root, group),
            )
            if count:
                found[group, root] = Verdict(stars, count, own)
        return found

    def best(
        self, groups: Collection[GroupId], me: NodeId, limit: int
    ) -> list[tuple[GroupId, Root, Verdict]]:
        """Return what *groups* have rated, the best first, at most *limit*."""
        rows = self._rows(
            f"SELECT grp, root, {_VERDICT} FROM rating JOIN rater ON rater = number"
            f" WHERE stars > 0 AND grp IN ({', '.join('?' for _ in groups)})"
            " GROUP BY grp, root"
            " ORDER BY avg(stars) DESC, count(*) DESC, root LIMIT ?",
            (me, *groups, limit),
        )
        return [
            (GroupId(group), Root(root), Verdict(*verdict))
            for group, root, *verdict in rows
        ]

    def _stars(self, rater: int, root: bytes) -> int | None:
        rows = self._rows(
            "SELECT stars FROM rating WHERE root = ? AND rater = ?", (root, rater)
        )
        return rows[0][0] if rows else None

    def _count(self, rater: int) -> int:
        ((count,),) = self._rows(
            "SELECT count(*) FROM rating WHERE rater = ?", (rater,)
        )
        return int(count)

    def _put(self, rater: int, root: bytes, stars: int, sequence: int) -> None:
        self._write(
            "REPLACE INTO rating (root, rater, stars, sequence) VALUES (?, ?, ?, ?)",
            (root, rater, stars, sequence),
        )
