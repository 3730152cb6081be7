"""The feed that the emulated router installs from: whole, and cut out of its root."""

from pathlib import Path

import pytest

import ipk
import vm_feed
from openwrt_package import evaluate

FEW = ("libsodium", "python3-pynacl", "python3-light")


def agent_package(folder: Path, depends: str) -> Path:
    control = folder / "control"
    control.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: fonshare-agent\nVersion: 1\nDepends: {depends}\n"
    )
    ipk.pack(control, ["."], folder / "control.tar.gz", 1)
    file = folder / "fonshare-agent_1_all.ipk"
    ipk.pack(folder, ["./control.tar.gz"], file, 1)
    return file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    feed = {name: vm_feed.FEED[name] for name in FEW}
    monkeypatch.setattr(vm_feed, "FEED", feed)
    root = tmp_path / "root"
    for starts in vm_feed.FEED.values():
        for start in starts:
            file = root / f"{start}one"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"12345")
    (root / "usr/bin/busybox").touch()
    (root / "usr/lib/opkg").mkdir()
    return root


def test_all_that_our_package_depends_on_is_in_the_feed(tmp_path):
    (package,) = evaluate("fonshare-agent", tmp_path)
    assert set(package.depends) - set(vm_feed.FEED) == {"libc"}


def test_the_feed_is_cut_out_of_the_root(tmp_path, root):
    agent = agent_package(tmp_path / "ours", "libc, python3-light, python3-pynacl")
    out = tmp_path / "out"
    size = vm_feed.cut(root, agent, out)
    left = [file for file in root.rglob("*") if file.is_file()]
    assert sorted(file.name for file in left) == ["busybox", "status"]
    order = (out / "order.txt").read_text().split()
    assert order[-1] == "python3-light_1-r1_mipsel.ipk"
    assert size == 5 * sum(map(len, vm_feed.FEED.values()))
    for name in order:
        assert f"Package: {name.split('_')[0]}\n" in ipk.read_control(out / name)
    assert (out / "install.sh").exists()
    assert (out / agent.name).exists()


def test_what_is_not_known_to_be_in_the_feed_is_named(tmp_path, root):
    agent = agent_package(tmp_path / "ours", "libc, python3-new")
    with pytest.raises(RuntimeError, match="python3-new"):
        vm_feed.cut(root, agent, tmp_path / "out")
