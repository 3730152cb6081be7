"""What the page tells by code: all that a person may meet there, nothing unknown."""

import re

from fonshare_agent.router_access import ALLOWED_TO_READ, NO_ACCENTS, NOTHING, SOME
from luci_stand_in import APP, ROOT

TOLD = APP / "htdocs/luci-static/resources/fonshare/told.js"
ROW = re.compile(r"^\| `([a-z_.]+)` \|", re.M)
# What other nodes send wrongly, what jobs and follows meet, what only the page's own
# server says; the page words the states of its way itself.
ELSEWHERE = re.compile(r"(peer|transfer|source|hours|follow|ftp|web)\b")
OWN_WORDS = {"no_agent", "starting", "agent.busy", "code.invalid", "unreachable"}
OWN_WORDS |= {"session_expired", "fxp"}  # the last only heads its family


def told() -> set[str]:
    return set(re.findall(r"^\t\t'([a-z_.]+)': \[", TOLD.read_text(), re.M))


def known() -> set[str]:
    codes = set(ROW.findall((ROOT / "docs" / "errors.md").read_text()))
    reach = (ROOT / "src/fonshare_agent/doctor_reach.py").read_text()
    return codes | set(re.findall(r'"(reach\.[a-z_]+)"', reach))


def test_every_code_that_a_person_may_meet_is_told():
    wanted = {code for code in known() if not ELSEWHERE.match(code)} - OWN_WORDS
    assert wanted - told() == set()


def test_no_code_is_told_that_there_is_not():
    assert told() - known() == set()


def test_each_thing_that_a_refused_folder_allows_is_worded():
    """The table of folders in the wizard says it in the language of LuCI."""
    view = APP / "htdocs/luci-static/resources/view/fonshare/refusals.js"
    words = set(re.findall(r"case '([^']+)':", view.read_text()))
    assert words == {NOTHING, SOME, ALLOWED_TO_READ, NO_ACCENTS}
