"""Asks for the passwords of other people's FTP servers: a prompt, stdin or a file.

The file must be one that only its owner may read. No password is taken from argv or the
environment, which other processes can read.
"""

import getpass
import sys
from pathlib import Path

from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import UsageError
from fonshare_agent.local_commands import read_secrets
from fonshare_agent.transfer.fxp_url import ServerUrl
from fonshare_agent.words import say

PASSWORDS_CHARACTERS_MAX = 4096  # of two lines read from stdin


def ask_passwords(
    urls: list[ServerUrl], file: JSON, option: str = "--passwords"
) -> list[str]:
    """Return a password for each URL, empty for those that name no user. *option* is
    how the command is given a *file*."""
    asked = [url for url in urls if url.user is not None]
    if not asked:
        return [""] * len(urls)
    if file is None:
        found = [_prompt(url, option) for url in asked]
    else:
        found = _read_lines(str(file))[: len(asked)]
        if len(found) < len(asked):
            raise UsageError(
                f"there must be {len(asked)} passwords, each on its line",
                thing=f"{file}",
            )
    left = iter(found)
    return [next(left) if url.user is not None else "" for url in urls]


def _read_lines(file: str) -> list[str]:
    if file == "-":
        lines = sys.stdin.read(PASSWORDS_CHARACTERS_MAX).split("\n")
        lines = [line.rstrip("\r") for line in lines]
    else:
        lines = read_secrets(Path(file))
    return lines[:-1] if lines[-1] == "" else lines  # what follows the last line break


def _prompt(url: ServerUrl, option: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked for the password here",
            thing=str(url),
            next=f"Give it with `{option} FILE`, or `-` for stdin.",
        )
    return getpass.getpass(f"{say('Password of {} at {}:', url.user, url.server)} ")
