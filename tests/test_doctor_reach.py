"""What `doctor` ends in: one of a few words, and a line that begins with it."""

import re
from pathlib import Path

import pytest

from fonshare_agent import doctor_reach
from fonshare_agent.doctor_reach import conclude
from fonshare_agent.doctor_storage import finding

SOURCE = Path(doctor_reach.__file__).read_text()
ENDS = {
    "reach.open": ("reachable", "reachable: said"),
    "reach.mapped": ("mapped", "mapped: said"),
    "reach.forward": ("forward", "forward: said"),
    "reach.data": ("forward", "forward: said"),
    "reach.double_nat": ("forward", "forward: said"),
    "reach.cgnat": (
        "cgnat",
        "CGNAT: you can fetch from and push to reachable friends",
    ),
    "reach.local": ("local", "local: said"),
}


@pytest.mark.parametrize("code", ENDS)
def test_each_finding_ends_in_its_word(code):
    assert conclude(finding("ok", code, "said", "", "")) == ENDS[code]


def test_every_finding_about_reach_has_one():
    assert set(re.findall(r'"(reach\.[a-z_]+)"', SOURCE)) == set(ENDS)
