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


class NotFound(FonshareError):
    """Something the user named does not exist here."""

    code = "not_found"
    advice = "Check the name with `fonshare ls` or `fonshare group ls`."


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


class BadPath(FonshareError):
    """A path leaves its share, or cannot be one."""

    code = "bad_path"
    advice = "Nothing was read or written."


class BadCode(FonshareError):
    """An invite code is mistyped, used, or too old."""

    code = "code.invalid"
    advice = "Ask for a new invite; a code works once."


# --- the other router's -------------------------------------------------------


class PeerError(FonshareError):
    """The other side broke the protocol: what it sent is dropped."""

    code = "peer"
    advice = "Another router sent invalid data; it was ignored and nothing changed."


# --- the world's --------------------------------------------------------------


class NoAgent(FonshareError):
    """No agent answers on the control socket."""

    code, exit_status = "no_agent", 3
    advice = "Start it with `fonshare agent`."


class BrokerError(FonshareError):
    """The MQTT broker cannot be used now."""

    code = "broker"
    advice = "The agent keeps trying; files already here stay available."


class StorageError(FonshareError):
    """The disk cannot be used now."""

    code = "storage"
    advice = "Transfers wait and go on by themselves when the disk is back."


class DiskMissing(StorageError):
    """The disk is not there, or another one is in its place."""

    code = "disk.missing"
    advice = "Plug the disk in again; nothing is deleted or announced meanwhile."


class DiskFull(StorageError):
    """There is no room for the next bytes."""

    code = "disk.full"
    advice = "Free some space; the transfer then goes on by itself."
