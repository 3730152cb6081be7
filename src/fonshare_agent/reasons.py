"""Why a job waits, and for how long: what an attempt that ended tells the queue."""

from dataclasses import dataclass, replace

from fonshare_agent.model import JobState

QUEUED = JobState.QUEUED
RETRY_S = 15.0
RETRY_SLOWLY_S = 60.0
HASHING_RETRY_S = 3.0  # a file being hashed: small ones are ready at once


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job waits; `code` is stable (docs/errors.md), `text` is for people."""

    code: str
    text: str
    retry_s: float
    state: JobState = JobState.LOCATING


REASONS = {
    one.code: one
    for one in (
        Reason("source.offline", "nobody who offers it is online", RETRY_SLOWLY_S),
        Reason("source.silent", "the source did not answer", RETRY_S),
        Reason("source.hashing", "the source hashes the file first", HASHING_RETRY_S),
        Reason("source.vanished", "it is not offered any more", RETRY_SLOWLY_S),
        Reason("source.changed", "the file has changed at the source", RETRY_S),
        Reason("source.busy", "the source has no free place", RETRY_S),
        Reason("source.queued", "the source serves others first", RETRY_S),
        Reason(
            "source.hours", "the source sends only within its hours", RETRY_SLOWLY_S
        ),
        Reason("hours.closed", "waits for the hours", RETRY_SLOWLY_S, QUEUED),
        Reason("source.disk", "the source's disk is missing", RETRY_SLOWLY_S),
        Reason("source.lost", "the connection broke off", HASHING_RETRY_S),
        Reason("source.corrupt", "the source sent damaged data", RETRY_SLOWLY_S),
        Reason(
            "unreachable",
            "neither side can reach the other: forward the friends' door on one",
            RETRY_SLOWLY_S,
        ),
        Reason("disk.full", "the disk is full", RETRY_SLOWLY_S, QUEUED),
        Reason("disk.readonly", "the disk can only be read", RETRY_SLOWLY_S, QUEUED),
        Reason(
            "disk.file_too_large",
            "the disk's file system holds no file that large (FAT: 4 GiB)",
            RETRY_SLOWLY_S,
            QUEUED,
        ),
        Reason("disk.missing", "the disk is missing", RETRY_S, QUEUED),
        Reason(
            "target.elsewhere",
            "its folder is not on the node's disk",
            RETRY_SLOWLY_S,
            QUEUED,
        ),
        Reason(
            "target.barred", "it cannot be put into its folder", RETRY_SLOWLY_S, QUEUED
        ),
        # Of a follow, not of a job:
        Reason(
            "follow.full",
            "its budget is used: what is new waits until some of its files go",
            RETRY_SLOWLY_S,
        ),
        Reason("follow.gone", "nothing is offered there now", RETRY_SLOWLY_S),
    )
}


class Postponed(Exception):
    """This attempt ended; *reason* says when the next one makes sense.

    *text* says it to the job's owner more exactly than the code alone does.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        reason = REASONS[code]
        self.reason = replace(reason, text=text) if text else reason
