"""The clients people have, against the house door, plain and by TLS."""

import filecmp
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from ftp_service import (
    OWNER,
    Served,
    make_certificate,
    serving,
    size_aside,
    uploads_aside,
)
from waiting import PATIENCE_S, wait_until

NAMES = [
    b"plain.txt",
    "Café crème à l'été.mp3".encode(),
    b"two  spaces and 100%.txt",
    b'quote" and #hash; semi.txt',
    "音楽 🎵.flac".encode(),
    b"n" * 255,
    b"-leading dash",
    b"back\\slash",
]
NOT_UTF8 = b"caf\xe9 latin1 \xff.txt"


def need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("house"), "house")


@pytest.fixture
def served(tmp_path: Path, pair) -> Iterator[Served]:
    with serving(tmp_path, house_certificate=pair) as it:
        yield it


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


def put_file(path: bytes | Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def curl(served: Served, *arguments: str, tls: bool, url: bytes = b"") -> bytes:
    secure = ["--ssl-reqd", "--insecure"] if tls else []
    port = served.service.house_port
    address = f"ftp://127.0.0.1:{port}/{quote_from_bytes(url)}"
    done = subprocess.run(
        [need("curl"), "-sS", "-u", ":".join(OWNER), *secure, *arguments, address],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lftp(served: Served, script: str, *, tls: bool) -> str:
    settings = (
        f"set ftp:ssl-allow {str(tls).lower()}; set ftp:ssl-force {str(tls).lower()};"
        " set ftp:ssl-protect-data true; set ssl:verify-certificate no;"
        " set net:max-retries 1; set net:timeout 5; set cmd:fail-exit true;"
    )
    port = served.service.house_port
    done = subprocess.run(
        [
            *[need("lftp"), "--norc", "-u", ",".join(OWNER)],
            *[f"ftp://127.0.0.1:{port}", "-e", f"{settings} {script}; exit"],
        ],
        capture_output=True,
        timeout=2 * PATIENCE_S,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_curl_goes_up_and_down_with_every_name(served, local, tls):
    for number, name in enumerate([*NAMES, NOT_UTF8]):
        content = os.urandom(1000 + number)
        put_file(local / "up", content)
        curl(served, "-T", str(local / "up"), tls=tls, url=name)
        stored = os.fsencode(served.disk) + b"/" + name
        with open(stored, "rb") as file:
            assert file.read() == content
        assert curl(served, tls=tls, url=name) == content
    listed = curl(served, "-l", tls=tls).splitlines()
    assert sorted(listed) == sorted([*NAMES, NOT_UTF8])
    assert curl(served, tls=tls).count(b"\n") == len(NAMES) + 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_curl_moves_large_and_empty_files(served, local, tls):
    for size in (0, 1, 20_000_003):
        put_file(local / "up", os.urandom(size))
        curl(served, "-T", str(local / "up"), tls=tls, url=b"a")
        assert filecmp.cmp(local / "up", served.disk / "a", shallow=False)
        curl(served, "-o", str(local / "down"), tls=tls, url=b"a")
        down = local / "down"
        assert (down.read_bytes() if down.exists() else b"") == (
            local / "up"
        ).read_bytes()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_curl_resumes_both_ways(served, local, tls):
    content = os.urandom(3_000_000)
    put_file(served.disk / "a", content)
    put_file(local / "down", content[:1_000_001])
    curl(served, "-C", "-", "-o", str(local / "down"), tls=tls, url=b"a")
    assert (local / "down").read_bytes() == content

    put_file(local / "up", content)
    port = served.service.house_port
    secure = ["--ssl-reqd", "--insecure"] if tls else []
    slow = subprocess.Popen(
        [
            *[need("curl"), "-sS", "-u", ":".join(OWNER), *secure],
            *["--limit-rate", "700k", "-T", str(local / "up")],
            f"ftp://127.0.0.1:{port}/b",
        ],
    )
    wait_until(lambda: size_aside(served.disk) > 0, "bytes of the upload")
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    wait_until(lambda: served.service.open_connections() == 0, "the session to end")
    assert not (served.disk / "b").exists()

    curl(served, "-C", "-", "-T", str(local / "up"), tls=tls, url=b"b")
    assert (served.disk / "b").read_bytes() == content
    assert uploads_aside(served.disk) == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_curl_reads_the_tail_of_a_huge_sparse_file(served, tls):
    size = 5 << 30
    with (served.disk / "huge").open("wb") as huge:
        huge.seek(size - 3)
        huge.write(b"end")
    assert curl(served, "-r", f"{size - 5}-", tls=tls, url=b"huge") == b"\0\0end"
    assert curl(served, "-r", f"{size - 5}-{size - 2}", tls=tls, url=b"huge") == (
        b"\0\0en"
    )


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_lftp_mirrors_a_tree_up_and_down(served, local, tls):
    tree = local / "tree"
    for number, name in enumerate(NAMES):
        folder = tree / f"f{number % 3}" / "sub"
        folder.mkdir(parents=True, exist_ok=True)
        put_file(os.fsencode(folder) + b"/" + name, os.urandom(number * 1000))
    lftp(served, f"mirror -R --parallel=2 {tree} up", tls=tls)
    lftp(served, f"mirror up {local}/back", tls=tls)

    for top in (served.disk / "up", local / "back"):
        assert _contents(top) == _contents(tree)


def _contents(top: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_lftp_resumes_both_ways(served, local, tls):
    content = os.urandom(2_000_000)
    put_file(served.disk / "a", content)
    put_file(local / "down", content[:777_777])
    lftp(served, f"get -c a -o {local}/down", tls=tls)
    assert (local / "down").read_bytes() == content

    put_file(local / "up", content)
    key = _interrupt_upload(served, "b", content[:1_234_567])
    assert key
    lftp(served, f"put -c {local}/up -o b", tls=tls)
    assert (served.disk / "b").read_bytes() == content


def _interrupt_upload(served: Served, name: str, content: bytes) -> list[str]:
    lines = served.raw().login()
    data = lines.data()
    lines.send(f"STOR {name}")
    lines.reply()
    data.sendall(content)
    lines.close()
    wait_until(lambda: served.service.open_connections() == 0, "the session to end")
    wait_until(lambda: uploads_aside(served.disk), "what was sent")
    return uploads_aside(served.disk)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_lftp_lists_moves_and_deletes(served, local, tls):
    put_file(served.disk / "a", b"x" * 10)
    out = lftp(served, "mkdir d; mv a d/b; cls -1 d; du -b d", tls=tls)
    assert out.split() == ["d/b", "10", "d"]
    lftp(served, "rm d/b; rmdir d", tls=tls)
    assert os.listdir(served.disk) == []


def test_ncftp_puts_gets_and_lists(served, local):
    put_file(local / "up", b"content")
    port = str(served.service.house_port)
    login = ["-u", OWNER[0], "-p", OWNER[1], "-P", port]
    for command in (
        [need("ncftpput"), *login, "127.0.0.1", "/", str(local / "up")],
        [need("ncftpget"), *login, "127.0.0.1", str(local / "down"), "/up"],
    ):
        (local / "down").mkdir(exist_ok=True)
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (local / "down" / "up").read_bytes() == b"content"
    done = subprocess.run(
        [need("ncftpls"), *login, "ftp://127.0.0.1/"],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.split() == [b"up"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_rclone_copies_a_tree_and_finds_it_equal(served, local, tls):
    rclone = need("rclone")
    for number in range(3):
        put_file(local / f"f{number}", os.urandom(100_000 * number))
    secret = subprocess.run(
        [rclone, "obscure", OWNER[1]], capture_output=True, check=True, text=True
    ).stdout.strip()
    remote = (
        f":ftp,host=127.0.0.1,port={served.service.house_port},user={OWNER[0]},"
        f"pass='{secret}',explicit_tls={str(tls).lower()},no_check_certificate=true:top"
    )
    for command in (["copy", str(local), remote], ["check", str(local), remote]):
        done = subprocess.run(
            [rclone, "--config", "", *command, "--size-only"],
            capture_output=True,
            timeout=3 * PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
    assert _contents(served.disk / "top") == _contents(local)
