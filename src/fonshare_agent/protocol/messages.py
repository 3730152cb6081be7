"""The messages that travel inside envelopes, and the only code that reads them.

`decode` returns a typed and valid message or raises a PeerError; nothing behind it
checks again. Unknown kinds are the caller's to skip (`decode` returns None), unknown
fields are ignored, so that a newer node can say more. How a field looks on the wire is
in fields.py; the normative text is docs/protocol/messages.md.
"""

import json
from dataclasses import dataclass, fields
from typing import ClassVar

from fonshare_agent.loading import loading
from fonshare_agent.model import SharePath
from fonshare_agent.protocol.fields import (
    HASH_BYTES,
    NONCE_BYTES,
    BadMessage,
    added_number,
    addresses,
    bitmap,
    blob,
    block_hashes,
    bundle_parts,
    bundle_wishes,
    certificate_blob,
    change_list,
    code_text,
    file_path,
    flag,
    hash_list,
    number,
    raw_list,
    share_name,
    short_blob,
    topic_text,
)
from fonshare_agent.protocol.fields import BundlePart as BundlePart
from fonshare_agent.protocol.fields import BundleWish as BundleWish
from fonshare_agent.protocol.fields import Change as Change
from fonshare_agent.protocol.keys import STATEMENT_BYTES_MAX
from fonshare_agent.protocol.message import Message as Message
from fonshare_agent.protocol.reach_messages import REACH_KINDS

# A page of changes or operations is cut by its sender at this many bytes of JSON, well
# inside the 256 KiB that a receiver unpacks.
PAGE_BYTES = 96 * 1024
PAGE_ENTRIES = 500  # what a store does in one batch


# --- membership: accepted by signature and version, docs/protocol/membership.md -----


@dataclass(frozen=True, slots=True)
class Operations(Message):
    """Roster operations, each signed by its author."""

    KIND: ClassVar[str] = "operations"
    operations: tuple[bytes, ...] = raw_list()


@dataclass(frozen=True, slots=True)
class Grants(Message):
    """Epoch grants, each signed by an admin."""

    KIND: ClassVar[str] = "grants"
    grants: tuple[bytes, ...] = raw_list()


@dataclass(frozen=True, slots=True)
class Presence(Message):
    """What a member shows while it is connected; retained, one a broker.

    Offline means: `liveness_topic` shows a value whose SHA-256 is `farewell_hash`.
    """

    KIND: ClassVar[str] = "presence"
    statement: bytes = short_blob(STATEMENT_BYTES_MAX)
    liveness_topic: str = topic_text()
    farewell_hash: bytes = blob(HASH_BYTES)
    index_id: bytes = blob(8)
    sequence: int = number()
    roster_heads: tuple[bytes, ...] = hash_list()


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """A challenge: answer it with my nonce, so that I know you live now."""

    KIND: ClassVar[str] = "hello"
    nonce: bytes = blob(NONCE_BYTES)
    roster_heads: tuple[bytes, ...] = hash_list()


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The answer; its own counter becomes the floor of the asker's window.

    `is_known`: the sender holds a window for the asker, whose commands pass. The head
    of its catalogue is here too, since a broker may lose or flood a presence.
    """

    KIND: ClassVar[str] = "welcome"
    nonce: bytes = blob(NONCE_BYTES)
    is_known: bool = flag()
    index_id: bytes = blob(8)
    sequence: int = number()
    roster_heads: tuple[bytes, ...] = hash_list()


@dataclass(frozen=True, slots=True)
class RosterAsk(Message):
    """Send the operations and grants that come after these heads."""

    KIND: ClassVar[str] = "roster_ask"
    roster_heads: tuple[bytes, ...] = hash_list()


# --- catalogue: docs/protocol/catalogue.md ------------------------------------------


@dataclass(frozen=True, slots=True)
class CatalogueAsk(Message):
    """Send what comes after this sequence number of that index."""

    KIND: ClassVar[str] = "catalogue_ask"
    index_id: bytes = blob(8)
    after: int = number()


@dataclass(frozen=True, slots=True)
class CatalogueDelta(Message):
    """Changes (`after`, `upto`] of the sender's catalogue, whose head is `head`."""

    KIND: ClassVar[str] = "catalogue_delta"
    index_id: bytes = blob(8)
    after: int = number()
    upto: int = number()
    head: int = number()
    changes: tuple[Change, ...] = change_list()


@dataclass(frozen=True, slots=True)
class CatalogueCopyAsk(Message):
    """Let me read a copy of your catalogue that goes on from `after`."""

    KIND: ClassVar[str] = "catalogue_copy_ask"
    request: bytes = blob(NONCE_BYTES)
    job: str = code_text()
    index_id: bytes = blob(8)
    after: int = number()
    certificate: bytes = certificate_blob()  # as in TicketAsk
    addresses: tuple[tuple[str, int], ...] = addresses()


# --- tickets: docs/protocol/transfer.md ---------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketAsk(Message):
    """Let me read this file. `request` is drawn anew for each asking.

    Without share and path: what you hold of that root.
    """

    KIND: ClassVar[str] = "ticket_ask"
    request: bytes = blob(NONCE_BYTES)
    job: str = code_text()
    share: str | None = share_name(optional=True)
    path: SharePath | None = file_path(optional=True)
    root: bytes | None = blob(HASH_BYTES, optional=True)
    # The asker's, whose hash its key statement names.
    certificate: bytes = certificate_blob()
    addresses: tuple[tuple[str, int], ...] = addresses()


@dataclass(frozen=True, slots=True)
class TicketGrant(Message):
    """Read it there; `hashes` are the first block hashes of the file."""

    KIND: ClassVar[str] = "ticket_grant"
    request: bytes = blob(NONCE_BYTES)
    ticket: bytes = blob(NONCE_BYTES)
    secret: bytes = blob(NONCE_BYTES)
    # The granter's: it may have to push (PushAsk).
    certificate: bytes = certificate_blob()
    addresses: tuple[tuple[str, int], ...] = addresses()
    root: bytes = blob(HASH_BYTES)
    size: int = number()
    modified: int = number()
    hashes: tuple[bytes, ...] = block_hashes()


@dataclass(frozen=True, slots=True)
class TicketRefuse(Message):
    """Not now, or not at all: `reason` is one of the codes of transfer.md."""

    KIND: ClassVar[str] = "ticket_refuse"
    request: bytes = blob(NONCE_BYTES)
    reason: str = code_text()
    place: int = added_number()  # in the queue, when the reason is `queued`


@dataclass(frozen=True, slots=True)
class PlaceFree(Message):
    """The turn of this job of yours has come: ask again, soon."""

    KIND: ClassVar[str] = "place_free"
    job: str = code_text()


@dataclass(frozen=True, slots=True)
class BundleAsk(Message):
    """Let me read these small files of one share by one ticket."""

    KIND: ClassVar[str] = "bundle_ask"
    request: bytes = blob(NONCE_BYTES)
    job: str = code_text()
    share: str = share_name()
    files: tuple[BundleWish, ...] = bundle_wishes()
    certificate: bytes = certificate_blob()
    addresses: tuple[tuple[str, int], ...] = addresses()


@dataclass(frozen=True, slots=True)
class BundleGrant(Message):
    """Read them there, one after another; `files` answers the wishes in their order."""

    KIND: ClassVar[str] = "bundle_grant"
    request: bytes = blob(NONCE_BYTES)
    ticket: bytes = blob(NONCE_BYTES)
    secret: bytes = blob(NONCE_BYTES)
    certificate: bytes = certificate_blob()
    addresses: tuple[tuple[str, int], ...] = addresses()
    files: tuple[BundlePart, ...] = bundle_parts()


@dataclass(frozen=True, slots=True)
class BlocksAsk(Message):
    """Send block hashes of this file from number `first` on.

    Without share and path: of the copy of the catalogue that has this root, or of what
    you hold of it.
    """

    KIND: ClassVar[str] = "blocks_ask"
    request: bytes = blob(NONCE_BYTES)
    share: str | None = share_name(optional=True)
    path: SharePath | None = file_path(optional=True)
    root: bytes = blob(HASH_BYTES)
    first: int = number()


@dataclass(frozen=True, slots=True)
class BlocksPage(Message):
    """Block hashes from number `first` on."""

    KIND: ClassVar[str] = "blocks_page"
    request: bytes = blob(NONCE_BYTES)
    root: bytes = blob(HASH_BYTES)
    first: int = number()
    hashes: tuple[bytes, ...] = block_hashes()


@dataclass(frozen=True, slots=True)
class PushAsk(Message):
    """I cannot reach you: write bytes `first` to `end` of this file to me instead.

    Without share and path: as in BlocksAsk.
    """

    KIND: ClassVar[str] = "push_ask"
    request: bytes = blob(NONCE_BYTES)
    job: str = code_text()
    share: str | None = share_name(optional=True)
    path: SharePath | None = file_path(optional=True)
    root: bytes = blob(HASH_BYTES)
    ticket: bytes = blob(NONCE_BYTES)
    secret: bytes = blob(NONCE_BYTES)
    addresses: tuple[tuple[str, int], ...] = addresses()
    first: int = number()
    end: int = number()


@dataclass(frozen=True, slots=True)
class PushEnded(Message):
    """The push is over: `reason` is empty when every byte was sent."""

    KIND: ClassVar[str] = "push_ended"
    request: bytes = blob(NONCE_BYTES)
    reason: str = code_text()


@dataclass(frozen=True, slots=True)
class JobEnded(Message):
    """This job needs its tickets no more."""

    KIND: ClassVar[str] = "job_ended"
    job: str = code_text()


@dataclass(frozen=True, slots=True)
class Parts(Message):
    """I hold these blocks of that content, none any more if `have` is None."""

    KIND: ClassVar[str] = "parts"
    root: bytes = blob(HASH_BYTES)
    have: bytes | None = bitmap()
    asks: bool = flag()  # and what do you hold of it?


KINDS: dict[str, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Operations,
        Grants,
        Presence,
        Hello,
        Welcome,
        RosterAsk,
        CatalogueAsk,
        CatalogueDelta,
        CatalogueCopyAsk,
        TicketAsk,
        TicketGrant,
        TicketRefuse,
        PlaceFree,
        BundleAsk,
        BundleGrant,
        BlocksAsk,
        BlocksPage,
        PushAsk,
        PushEnded,
        JobEnded,
        Parts,
        *REACH_KINDS,
    )
}
LATE = ("ratings", "ratings_ask")  # their classes are loaded with the first of them


def late_kinds() -> dict[str, type[Message]]:
    """Return the classes of LATE; DiskMissing if they cannot be read."""
    with loading():
        from fonshare_agent.protocol.rating_messages import RATING_KINDS
    return RATING_KINDS


def encode(message: Message) -> bytes:
    """Return the body of *message* as canonical JSON."""
    document = {
        one.name: one.metadata["encode"](getattr(message, one.name))
        for one in fields(message)  # type: ignore[arg-type]
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def decode(kind: str, body: bytes) -> Message | None:
    """Return the valid message in *body*, None if its kind is unknown here.

    Raises BadMessage for everything else.
    """
    found = KINDS.get(kind) or (late_kinds().get(kind) if kind in LATE else None)
    if found is None:
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadMessage(f"a {kind} message is not JSON") from None
    if not isinstance(document, dict):
        raise BadMessage(f"a {kind} message is not an object")
    values = {}
    for one in fields(found):  # type: ignore[arg-type]
        try:
            values[one.name] = one.metadata["decode"](document.get(one.name))
        except BadMessage as error:
            raise BadMessage(f"{kind}.{one.name}: {error}") from None
    return found(**values)
