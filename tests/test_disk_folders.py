"""`fonshare disk ls`: folders to choose from, and nowhere else."""

import os

import pytest

from fonshare_agent import disk_folders
from fonshare_agent.disk import Disk
from fonshare_agent.disk_folders import list_folders
from fonshare_agent.errors import BadPath, DiskMissing, NotFound
from fonshare_agent.render import render


@pytest.fixture
def disk(tmp_path):
    top = tmp_path / "disk"
    for name in ("films/Été", "films/b", "Photos", ".hidden", "élan"):
        (top / name).mkdir(parents=True)
    (top / "film.mkv").write_bytes(b"")
    (top / "outside").symlink_to(tmp_path)
    os.mkdir(os.fsencode(top) + b"/caf\xe9")
    disk = Disk(top, tmp_path / "keys" / "disk-id", os.urandom)
    disk.open()
    return disk


def test_folders_are_listed_without_files_links_and_what_is_hidden(disk):
    assert list_folders(disk, "") == ["films", "Photos", "élan"]
    assert list_folders(disk, "/films/") == ["films/b", "films/Été"]
    assert list_folders(disk, "films/b") == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("..", BadPath),
        ("films/../..", BadPath),
        ("outside", BadPath),
        ("outside/disk", BadPath),
        (".fonshare", BadPath),
        ("a\0b", BadPath),
        ("nothing", NotFound),
        ("film.mkv", NotFound),
        ("x" * 300, BadPath),
    ],
)
def test_no_path_leads_off_the_disk(disk, path, error):
    with pytest.raises(error):
        list_folders(disk, path)


def test_a_missing_disk_says_so(disk, tmp_path):
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(DiskMissing):
        list_folders(disk, "")


def test_the_list_is_bounded(disk, monkeypatch):
    monkeypatch.setattr(disk_folders, "FOLDERS_MAX", 2)
    assert list_folders(disk, "") == ["films", "Photos"]


def test_it_is_shown_as_a_table():
    rows = [
        {"name": "films", "path": "films", "shared": True},
        {"name": "b", "path": "films/b", "shared": False},
    ]
    lines = render("disk ls", rows).splitlines()
    assert lines == ["FOLDER", "films    shared", "films/b"]
