"""Between nodes ChaCha20 is taken wherever one of the two CPUs is slow at AES."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fonshare_agent.nodekeys import load_or_create
from waiting import PATIENCE_S

CONFIG = Path(__file__).parent.parent / "src/fonshare_agent/openssl.cnf"

# Each end is a process of its own: OpenSSL reads its configuration once.
SOURCE = """
import socket, ssl, sys
from pathlib import Path
from fonshare_agent.ftp.tls import FriendsContext
pair = Path(sys.argv[1]), Path(sys.argv[2])
context = FriendsContext(*pair)
context.trust(ssl.PEM_cert_to_DER_cert(pair[0].read_text()))
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    accepted, _ = listener.accept()
    with context.current.wrap_socket(accepted, server_side=True) as connection:
        connection.sendall(b"x")
        connection.recv(1)
"""
DESTINATION = """
import socket, sys
from pathlib import Path
from fonshare_agent.transfer.wire import client_context
context = client_context(Path(sys.argv[1]), Path(sys.argv[2]))
address = ("127.0.0.1", int(sys.argv[3]))
with context.wrap_socket(socket.create_connection(address)) as connection:
    connection.recv(1)
    print(*connection.cipher())
"""


@pytest.mark.parametrize("is_source_slow", [True, False])
@pytest.mark.parametrize("is_destination_slow", [True, False])
def test_chacha_is_taken_if_either_end_is_slow_at_aes(
    tmp_path, is_source_slow, is_destination_slow
):
    keys = load_or_create(tmp_path / "keys", os.urandom)
    pair = [str(keys.certificate_path), str(keys.private_key_path)]
    source = subprocess.Popen(
        [sys.executable, "-c", SOURCE, *pair],
        env=environment(is_source_slow),
        stdout=subprocess.PIPE,
        text=True,
    )
    with source:
        port = source.stdout.readline().strip()
        told = subprocess.check_output(
            [sys.executable, "-c", DESTINATION, *pair, port],
            env=environment(is_destination_slow),
            text=True,
            timeout=PATIENCE_S,
        )
    cipher, version, _ = told.split()
    assert version == "TLSv1.3"
    assert ("CHACHA20" in cipher) == (is_source_slow or is_destination_slow)


def environment(is_slow: bool) -> dict[str, str]:
    """As the router's program sets it, see files/usr/bin/fonshare."""
    usual = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
    return usual | ({"OPENSSL_CONF": str(CONFIG)} if is_slow else {})
