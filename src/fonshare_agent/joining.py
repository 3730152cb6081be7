"""Joining a group from a terminal: show who invites, ask, and wait if told to.

The agent does the joining; it tells how far it is by `group joining` and is told the
person's decision by `group confirm`.
"""

import sys
from collections.abc import Callable
from typing import TypeAlias

from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import JoinFailed
from fonshare_agent.layout import visible
from fonshare_agent.words import is_yes, say

Ask: TypeAlias = Callable[[str, dict[str, JSON]], JSON]

POLL_S = 0.5  # the six words should seem to come at once
MEMBER = "member"
GIVEN_UP = ("refused", "failed", "expired", "cancelled")


def join(
    ask: Ask,
    arguments: dict[str, JSON],
    *,
    asks: bool,
    waits: bool,
    tells: bool,
    sleep: Callable[[float], None],
) -> JSON:
    """Return `{group, state}`, after the person's decision or membership if wanted.

    *tells*: say what is waited for.
    """
    answer = _fields(ask("group join", arguments))
    group = answer.get("group")
    if asks:
        answer = _decide(ask, group, sleep)
    if tells and waits and answer.get("state") != MEMBER:
        _show(say("Waiting until the inviter accepts this node ..."))
    while waits and answer.get("state") != MEMBER:
        sleep(POLL_S)
        answer = _joining(ask, group)
    return {"group": group, "state": answer.get("state")}


def _fields(answer: JSON) -> dict[str, JSON]:
    return answer if isinstance(answer, dict) else {}


def _joining(ask: Ask, group: JSON) -> dict[str, JSON]:
    answer = _fields(ask("group joining", {"group": group}))
    state = answer.get("state")
    if state in GIVEN_UP:
        raise JoinFailed(f"the node was not admitted ({state})", thing=str(group))
    return answer


def _decide(ask: Ask, group: JSON, sleep: Callable[[float], None]) -> dict[str, JSON]:
    _show(say("Waiting for the inviter's node ..."))
    answer = _joining(ask, group)
    while not (answer.get("inviter") and answer.get("words")):
        if answer.get("state") == MEMBER:
            return answer
        sleep(POLL_S)
        answer = _joining(ask, group)
    inviter, words = _fields(answer["inviter"]), answer["words"]
    _show(say("Inviter: {} ({})", inviter.get("name"), inviter.get("id")))
    shown = " ".join(map(str, words)) if isinstance(words, list) else ""
    _show(say("Words:   {}", shown))
    _show(say("The inviter sees the same six words, or somebody sits in between."))
    decision = "yes" if _is_yes(say("Join this group? [y/N]")) else "no"
    answer = _fields(ask("group confirm", {"group": group, "decision": decision}))
    if decision == "no":
        raise JoinFailed("joining was given up", thing=str(group))
    return answer


def _show(text: str) -> None:
    print(visible(text), file=sys.stderr)


def _is_yes(question: str) -> bool:
    print(f"{question} ", end="", file=sys.stderr, flush=True)
    return is_yes(sys.stdin.readline())
