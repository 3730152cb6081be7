"""Follows, loaded with the first of them: a node that follows nothing does without.

Loaded at the start if there is one, so what it needs is at hand when news come. Core
thread; on_demand.py says how it is loaded.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.fields import Change
from fonshare_agent.social.late import Late

if TYPE_CHECKING:
    from fonshare_agent.social.follow import Following  # noqa: F401 (quoted in a base)


class Follows(Late["Following"]):
    """What a node tells its follows while there may be none."""

    def note_changes(
        self, group: GroupId, member: NodeId, changes: Sequence[Change]
    ) -> None:
        """A member's catalogue has moved."""
        if self._part.made is not None:
            self._part.made.note_changes(group, member, changes)

    def note_job(self, job_id: str) -> None:
        """An attempt at a job of a follow has ended, or the job has."""
        if self._part.made is not None:
            self._part.made.note_job(job_id)
