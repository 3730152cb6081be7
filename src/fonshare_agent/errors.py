"""Every deliberate error, split by whose fault it is.

A class carries a stable `code` (documented in docs/errors.md, never reused), the
`exit_status` a command ends with, and `advice`: what happens next. They are class
attributes, not docstrings, because docstrings vanish under -OO. Whatever escapes as
another exception is a bug of ours.
"""

from typing import ClassVar


class FonshareError(Exception):
    """Base of every deliberate error; ``str(err)`` is the one line for the log."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1
    advice: ClassVar[str] = "This is a bug; please report it with the agent's log."

    def __init__(self, message: str, *, thing: str = "", next: str | None = None):
        super().__init__(message)
        self.thing = thing
        self.next = self.advice if next is None else next

    def as_dict(self) -> dict[str, str]:
        """Return the form that the control socket, the CLI and LuCI all show."""
        return {
            "code": self.code,
            "message": str(self),
            "thing": self.thing,
            "next": self.next,
        }


# --- the user's ---------------------------------------------------------------


class UsageError(FonshareError):
    """A command was given wrongly."""

    code, exit_status = "usage", 2
    advice = "See `fonshare --help`."


class SettingsError(FonshareError):
    """The settings cannot be used; the message holds every complaint, a line each."""

    code, exit_status = "settings", 2
    advice = "Mend the options named and start again; nothing was changed."


class SettingsSyntax(SettingsError):
    """A settings file is not in its format; every line that is not is named."""

    code = "settings.syntax"
    advice = "Mend the lines named; nothing was changed."


class NotFound(FonshareError):
    """Something the user named does not exist here."""

    code = "not_found"
    advice = "Check how it is written."


class Ambiguous(FonshareError):
    """A name fits more than one thing."""

    code = "ambiguous"
    advice = "Use more letters of the id."


class NotAllowed(FonshareError):
    """The owner asked for something that this node's role does not permit."""

    code = "not_allowed"
    advice = "Ask an admin of the group."


class AlreadyExists(FonshareError):
    """A name is taken."""

    code = "exists"
    advice = "Choose another name."


class AlreadyFollowed(FonshareError):
    """A place that is to be kept is followed already."""

    code = "followed"
    advice = "End that first with `fonshare unfollow`; its files stay."


class FolderInUse(FonshareError):
    """Files lie where only what is kept shall lie."""

    code = "folder.in_use"
    advice = "Choose another name with --name, or move what lies there."


class BadPath(FonshareError):
    """A path leaves its share, or cannot be one."""

    code = "bad_path"
    advice = "Nothing was read or written."


class BadCode(FonshareError):
    """An invite code is mistyped, used, or too old."""

    code = "code.invalid"
    advice = "Ask for a new invite; a code works once."


class BadBrokerUrl(FonshareError):
    """A broker's URL cannot be understood."""

    code = "broker.url"
    advice = "Write it as mqtt://USER:PASSWORD@HOST:PORT or mqtts://…"


class KeysExposed(FonshareError):
    """Secret files can be read or changed by others on this machine."""

    code, exit_status = "keys.exposed", 2
    advice = "Run the command named, then start again; nothing was changed."


class BackupUnreadable(FonshareError):
    """A backup does not open: a wrong passphrase, or a damaged or foreign file."""

    code = "backup.unreadable"
    advice = "Check the passphrase and the file; nothing was changed."


class ClockUnknown(FonshareError):
    """Something needs the time, and this machine does not know it yet."""

    code = "clock_unknown"
    advice = "Set the clock or wait for NTP, then try again."


class JoinFailed(FonshareError):
    """A join ended without membership: somebody said no, or nobody answered."""

    code = "join.failed"
    advice = "Nothing was kept; ask for a new invite to try again."


# --- the other router's -------------------------------------------------------


class PeerError(FonshareError):
    """The other side broke the protocol: what it sent is dropped."""

    code = "peer"
    advice = "Another router sent invalid data; it was ignored and nothing changed."


class OversizedMessage(PeerError):
    """A message over any size this protocol has: it was not read."""

    code = "peer.oversized"
    advice = "Its topic is left alone for ten minutes; nothing changed."


class UnknownVersion(PeerError):
    """A message is of a format this version does not know."""

    code = "peer.version"
    advice = "It was ignored; update FonShare here, or ask the other to update."


class MalformedMessage(PeerError):
    """A message is cut short, too long, or breaks its layout."""

    code = "peer.malformed_message"


class BadSignature(PeerError):
    """A signature is not by the key that it claims."""

    code = "peer.signature"


class WeakKey(PeerError):
    """A public key would make a secret that everybody knows."""

    code = "peer.weak_key"


class UnsealError(PeerError):
    """A sealed message is not for this key, or was changed on the way."""

    code = "peer.unsealed"


class MalformedEnvelope(PeerError):
    """A payload is not an envelope: its size, layout or padding is wrong."""

    code = "peer.malformed"


class UnknownKey(PeerError):
    """An envelope is sealed under a key that this node does not hold."""

    code = "peer.unknown_key"


class ForgedEnvelope(PeerError):
    """An envelope is not what, by whom, or for whom it claims to be."""

    code = "peer.forged"


class ReplayedEnvelope(PeerError):
    """An envelope was accepted before, or is too old to tell."""

    code = "peer.replayed"


class BadRoster(PeerError):
    """Operations cannot belong to this group's history."""

    code = "peer.roster"


class BadGrant(PeerError):
    """An epoch grant is not by an admin, or does not give what it says."""

    code = "peer.grant"


class TicketRefused(PeerError):
    """A ticket that is unknown, used, expired, revoked or another peer's."""

    code = "peer.ticket"
    advice = "Ask the other node for a new ticket; nothing was read or written."


class WrongCertificate(PeerError):
    """The machine at a peer's address is not that peer."""

    code = "peer.certificate"
    advice = "Nothing was sent to it; other addresses of the peer are tried."


class TooLong(PeerError):
    """A peer sent more bytes than the ticket's file has."""

    code = "peer.too_long"
    advice = "The bytes beyond the end were dropped."


class ForgedInvite(PeerError):
    """A message of an invite is not by the one whom it must be by."""

    code = "peer.invite"
    advice = "It was ignored; somebody else may know the code. Compare the words."


class BadContent(PeerError):
    """Blocks or block hashes do not belong to the content root."""

    code = "peer.content"
    advice = "The bytes were thrown away; they are fetched again."


# --- the world's --------------------------------------------------------------


class NoAgent(FonshareError):
    """No agent answers on the control socket."""

    code, exit_status = "no_agent", 3
    advice = "Start it with `fonshare agent`."


class AgentRunning(FonshareError):
    """Another agent has this node's control socket."""

    code = "agent.running"
    advice = "Stop the other one first; two must never share a state folder."


class AgentBusy(FonshareError):
    """The control socket serves as many commands as it can."""

    code = "agent.busy"
    advice = "Try again when one of them has ended."


class Starting(FonshareError):
    """The agent answers already, the node does not yet."""

    code = "starting"
    advice = "Try again in a few seconds."


class MemoryShort(FonshareError):
    """The machine has no memory for what was asked."""

    code = "memory.short"
    advice = "Try again later; stop other services if it lasts."

    def __init__(self) -> None:
        super().__init__("the machine is short of memory")


class PortTaken(FonshareError):
    """A port of the settings cannot be listened on."""

    code = "port.taken"
    advice = "Choose another port in the settings, or stop what listens there."


class BrokerError(FonshareError):
    """The MQTT broker cannot be used now."""

    code = "broker"
    advice = "The agent keeps trying; files already here stay available."


class BrokerUnreachable(BrokerError):
    """No connection: name, network, refusal of the port, silence, or a lost one."""

    code = "broker.unreachable"
    advice = "The agent keeps trying; check the broker's address and your network."


class BrokerRefused(BrokerError):
    """The broker answered and does not want this login."""

    code = "broker.refused"
    advice = "Check user and password in the broker's URL; the agent keeps trying."


class BrokerTls(BrokerError):
    """The broker's certificate, or its TLS, cannot be trusted."""

    code = "broker.tls"
    advice = "Nothing was sent to it; check the CA file or the pin. It is tried again."


class BrokerClockUnknown(BrokerError):
    """A certificate's dates cannot be checked before the time is known."""

    code = "broker.clock_unknown"
    advice = "It connects by itself once NTP has set the clock; a pin needs no clock."


class BrokerProtocol(BrokerError):
    """What the broker sends is not MQTT 3.1.1 as we use it."""

    code = "broker.protocol"
    advice = "The connection was dropped and is tried again; is this an MQTT broker?"


class UnsupportedPaho(BrokerError):
    """The installed paho-mqtt lacks the places where incoming packets are limited."""

    code = "broker.paho"
    advice = (
        "Install paho-mqtt 1.6.1 or a 2.x release that this version was tested with."
    )


class TransferError(FonshareError):
    """A transfer cannot go on over this connection."""

    code = "transfer"
    advice = "It is tried again by itself; what has arrived is kept."


class PeerUnreachable(TransferError):
    """None of a peer's addresses answers."""

    code = "transfer.unreachable"


class ConnectionLost(TransferError):
    """A connection to a peer ended, or stood still too long."""

    code = "transfer.lost"


class SourceRefused(TransferError):
    """The peer's server does not do what the ticket allows."""

    code = "transfer.refused"


class SourceChanged(TransferError):
    """The file at the peer is not what the ticket was granted for."""

    code = "transfer.changed"
    advice = "The job asks which content is there now."


class BlockLacking(TransferError):
    """Who holds parts of a file was asked for a block that it has not got."""

    code = "transfer.lacking"
    advice = "The job reads that block elsewhere."


class SourceVanished(TransferError):
    """The file that a peer may read is not there any more."""

    code = "transfer.vanished"
    advice = "The job waits, in case it comes back."


class NotHereNow(TransferError):
    """A friend's file was opened, and nobody gives it now."""

    code = "transfer.not_here"
    advice = "Try again later, or fetch it: a job waits until somebody has it."


class TransferCancelled(TransferError):
    """This node ended the transfer."""

    code = "transfer.cancelled"
    advice = "What has arrived is kept until the job is cancelled."


class FxpError(FonshareError):
    """A transfer between two FTP servers of others cannot go on."""

    code = "fxp"
    advice = "What has arrived is kept; the same command goes on from there."


class FxpUrl(FxpError):
    """The URL of an FTP server cannot be understood."""

    code, exit_status = "fxp.url", 2
    advice = "Write it as ftp://USER@HOST:PORT/PATH, or ftps:// for explicit TLS."


class FxpUnreachable(FxpError):
    """An FTP server does not answer at its address."""

    code = "fxp.unreachable"
    advice = "Check the address and the network, then give the same command again."


class FxpLost(FxpError):
    """The connection to an FTP server ended, or stood still too long."""

    code = "fxp.lost"


class FxpLogin(FxpError):
    """An FTP server does not take this login."""

    code = "fxp.login"
    advice = "Check the user in the URL and the password; nothing was changed."


class FxpCertificate(FxpError):
    """An FTP server's certificate cannot be trusted, or it has none."""

    code = "fxp.certificate"
    advice = (
        "No password was sent. If the server is yours, give `--src-pin` or `--dst-pin` "
        "the SHA-256 of its certificate, or `--ca` the file of who signed it."
    )


class FxpRefused(FxpError):
    """An FTP server refuses a command about a file or folder."""

    code = "fxp.refused"
    advice = "Check the path and the rights of that login; what has arrived is kept."


class FxpForbidden(FxpError):
    """A server lets no other server connect to it, nor connects to another one."""

    code = "fxp.forbidden"
    advice = (
        "With `--relay auto` the bytes go through this node. Else allow it there: "
        "vsftpd pasv_promiscuous and port_promiscuous, ProFTPD AllowForeignAddress, "
        "pure-ftpd -w."
    )


class FxpUnprotected(FxpError):
    """The two servers cannot encrypt between themselves what TLS was asked for."""

    code = "fxp.unprotected"
    advice = (
        "With `--relay auto` the bytes go through this node, encrypted; with "
        "`--plain-data` they go from server to server in clear."
    )


class FxpPartial(FxpError):
    """What lies at the target from before is no beginning of this file."""

    code = "fxp.partial"
    advice = "Delete it, or give `--overwrite` to begin anew; nothing was changed."


class FxpListing(FxpError):
    """A server lists a folder in a form that could mean more than one thing."""

    code = "fxp.listing"
    advice = "Name its files one by one; nothing was guessed."


class FxpUnfinished(FxpError):
    """A folder was copied, but not every file of it."""

    code = "fxp.unfinished"
    advice = "See `failures`; the same command tries them again."


class FxpBusy(FxpError):
    """As many copies between servers run as may at once."""

    code = "fxp.busy"
    advice = "Wait until one has ended, or stop one."


class FxpEnded(FxpError):
    """The process that copied between two servers has ended without a word."""

    code = "fxp.ended"
    advice = "Begin it again: it goes on from there."


class MirrorEnded(FonshareError):
    """The process that reads another's server has ended by itself."""

    code = "mirror.ended"
    advice = "It is begun again by itself; what has come is kept."


class StorageError(FonshareError):
    """The disk cannot be used now."""

    code = "storage"
    advice = "Transfers wait and go on by themselves when the disk is back."


class SettingsUnwritten(StorageError):
    """A change of settings could not be stored."""

    code = "settings.unwritten"
    advice = "The settings are as they were; try again when this is mended."


class ContentChanged(StorageError):
    """A file is not the size it had when its hashing began."""

    code = "content.changed"
    advice = "The file is hashed again once it rests."


class DatabaseDamaged(StorageError):
    """A database on the disk does not pass its integrity check."""

    code = "storage.damaged"
    advice = "Check the disk; then restore a backup with `fonshare restore`."


class DatabaseTooNew(StorageError):
    """A database was written by a newer version of FonShare."""

    code = "storage.newer"
    advice = "Install that version again; nothing was changed."


class DatabaseInUse(StorageError):
    """Another process holds the database."""

    code = "storage.in_use"
    advice = "Stop the other agent (`fonshare status` shows one) and start again."


class KeysDamaged(StorageError):
    """The node's keys, or what it knows of a group, cannot be read."""

    code = "keys.damaged"
    advice = "Bring them back with `fonshare restore FILE`; nothing was overwritten."


class FileBusy(StorageError):
    """Another session is writing the same file."""

    code = "file.busy"
    advice = "Wait until the other upload ends, then try again."


class DiskMissing(StorageError):
    """The disk is not there, or another one is in its place."""

    code = "disk.missing"
    advice = "Plug the disk in again; nothing is deleted or announced meanwhile."


class DiskWrong(DiskMissing):
    """Another disk is where this node's disk should be."""

    code = "disk.wrong"
    advice = "Plug the right disk in, or take this one with `fonshare disk adopt`."


class DiskReadOnly(StorageError):
    """The disk can be read but not written."""

    code = "disk.readonly"
    advice = "Check the disk's file system; transfers wait until it can be written."


class FileTooLarge(StorageError):
    """The disk's file system cannot hold a file of this size."""

    code = "disk.file_too_large"
    advice = "FAT holds files below 4 GiB; use a disk with ext4 or exFAT."


class TargetElsewhere(StorageError):
    """The folder where a file shall go lies on another file system than the disk."""

    code = "target.elsewhere"
    advice = "Choose a folder on the node's disk, then `fonshare get` again."


class TargetBarred(StorageError):
    """Something lies where a file's folder shall be, or nothing may be put there."""

    code = "target.barred"
    advice = "Move it away or change its rights; the job then goes on by itself."


class DiskFull(StorageError):
    """There is no room for the next bytes."""

    code = "disk.full"
    advice = "Free some space; the transfer then goes on by itself."
