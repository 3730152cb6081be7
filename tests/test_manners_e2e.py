"""Hours, places and limits between real nodes, as their owners see them."""

import os
import time

import pytest

from nodes import befriend, eventually, running, share

MIB = 1 << 20
PATIENT_S = 120.0


def shut_hours() -> str:
    """Hours of which now is none, nor any time of the next hour."""
    hour = time.localtime().tm_hour
    return f"{(hour + 2) % 24}-{(hour + 3) % 24}"


def error_code(node, job):
    error = node.job(job["id"])["error"]
    return error and error["code"]


@pytest.mark.full
def test_hours_turns_and_limits_between_three_nodes(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 300, "uploads": 1})
    bob, carol = make_node("bob"), make_node("carol")
    with running(alice, bob, carol):
        befriend("Famille", alice, bob, carol)
        films = share(alice, "films", "Films", "Famille")
        for name in ("one.mkv", "two.mkv", "three.mkv"):
            (films / name).write_bytes(os.urandom(3 * MIB))
        for node in (bob, carol):
            eventually(lambda node=node: len(node.find("mkv")) == 3, "they are found")

        # One place: who comes second is told so, and is called when it is free.
        [first] = bob("get", "Famille/alice/Films/one.mkv")
        eventually(lambda: bob.job(first["id"])["done_bytes"] > 0, "it runs", PATIENT_S)
        [second] = carol("get", "Famille/alice/Films/two.mkv")
        eventually(lambda: carol.job(second["id"])["place"] == 1, "it waits", PATIENT_S)
        assert error_code(carol, second) == "source.queued"
        assert bob.job(first["id"])["place"] is None
        alice("limits", "--upload", "0")
        bob.wait_for_job(first["id"], "done", PATIENT_S)
        carol.wait_for_job(second["id"], "done", PATIENT_S)

        # The destination's hours, then the source's.
        answer = bob("limits", "--hours", shut_hours())
        assert answer["now"] == {"upload_kib_s": 0, "download_kib_s": 0}
        [third] = bob("get", "Famille/alice/Films/three.mkv")
        job = bob.job(third["id"])
        assert job["state"] == "queued"
        assert job["error"]["code"] == "hours.closed"
        assert answer["hours"] in job["error"]["message"]
        alice("limits", "--hours", shut_hours())
        bob("limits", "--hours", "0-24")
        eventually(
            lambda: error_code(bob, third) == "source.hours", "alice says so", PATIENT_S
        )
        alice("limits", "--hours", "0-24")
        bob("jobs", "pause", "all")
        assert bob.job(third["id"])["state"] == "paused"
        bob("jobs", "resume", "all")
        bob.wait_for_job(third["id"], "done", PATIENT_S)


@pytest.mark.full
def test_what_runs_stops_when_the_hours_end_and_goes_on_with_what_it_has(make_node):
    alice = make_node("alice", limits={"upload_kib_s": 500})
    bob = make_node("bob")
    with running(alice, bob):
        befriend("Famille", alice, bob)
        film = share(alice, "films", "Films", "Famille") / "film.mkv"
        film.write_bytes(os.urandom(4 * MIB))
        eventually(lambda: bob.find("film"), "it is found")
        [job] = bob("get", "Famille/alice/Films/film.mkv")
        eventually(
            lambda: bob.job(job["id"])["done_bytes"] > 256 << 10, "it runs", PATIENT_S
        )
        alice("limits", "--hours", shut_hours())
        eventually(lambda: error_code(bob, job) == "source.hours", "cut", PATIENT_S)
        alice("limits", "--hours", "0-24", "--upload", "0")
        bob("jobs", "pause", job["id"])
        bob("jobs", "resume", job["id"])
        bob.wait_for_job(job["id"], "done", PATIENT_S)
        assert list(bob.fetched().values()) == [film.read_bytes()]
