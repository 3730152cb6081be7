"""The type of settings that name an FTP server of others: where a mirror copies from.

Only the form is looked at: the address is taken apart where it is used
(transfer/fxp_url.py), by what is loaded for that alone.
"""

from typing import Final

from fonshare_agent.config_values import Kind, Refused

SERVER_MAX: Final = 16 * 1024  # characters: a path of 4096 bytes, percent-encoded
SCHEMES: Final = ("ftp://", "ftps://", "ftpes://")


def is_server(text: str) -> bool:
    """Tell whether *text* is the address of an FTP server, not a folder."""
    return text.lower().startswith(SCHEMES)


def _server(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("must be text")
    if value and not is_server(value):
        raise Refused("does not begin with ftp:// or ftps://")
    if not value.isprintable() or len(value) > SERVER_MAX:
        raise Refused("holds a character that no address has, or too many")
    login, _, _ = value.partition("://")[2].partition("/")[0].rpartition("@")
    if ":" in login:
        raise Refused("holds a password, which does not belong here")
    return value


SERVER: Final = Kind(
    "string",
    "ftp://USER@HOST[:PORT]/PATH or ftps://..., without a password, or nothing",
    _server,
)
