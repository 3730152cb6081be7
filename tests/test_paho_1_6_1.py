"""The conformance of test_mqtt_link.py under paho 1.6.1, which OpenWrt ships.

A process holds one paho only, so this starts pytest again with the old one in front.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAHO = ROOT / ".venv" / "paho-1.6.1"
OPTIONS = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")  # the cache is ours


@pytest.mark.full
def test_a_link_keeps_its_promises_under_paho_1_6_1():
    assert (PAHO / "paho").is_dir(), (
        "paho 1.6.1 is missing: python -m pip install --target .venv/paho-1.6.1 "
        "paho-mqtt==1.6.1"
    )
    run = subprocess.run(
        [sys.executable, *OPTIONS, "tests/test_mqtt_link.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(PAHO), "FONSHARE_PAHO": "1.6.1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
