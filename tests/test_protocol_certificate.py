import hashlib
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from fonshare_agent.protocol.certificate import (
    certificate_pem,
    fingerprint,
    private_key_pem,
    self_signed_certificate,
)

ANNA_SEED, BEN_SEED, CARL_SEED = b"\1" * 32, b"\2" * 32, b"\3" * 32
ANNA, BEN, CARL = map(self_signed_certificate, (ANNA_SEED, BEN_SEED, CARL_SEED))


def openssl(*arguments, text):
    command = ["openssl", *arguments]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=False
    )


def context(folder, role, seed, trusted, version=ssl.TLSVersion.TLSv1_3):
    """Return one end's context: own certificate, peers trusted, no host names."""
    own = folder / f"{seed[0]}.pem"
    own.write_text(
        certificate_pem(self_signed_certificate(seed)) + private_key_pem(seed)
    )
    made = ssl.SSLContext(role)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.minimum_version = made.maximum_version = version
    made.load_cert_chain(own)
    for der in trusted:
        made.load_verify_locations(cadata=der)
    return made


def handshake(server_context, client_context, session=None):
    """Join both ends; return what each saw of the other, the session, and reuse."""
    with ThreadPoolExecutor(1) as pool:
        here, there = socket.socketpair()
        here.settimeout(10)
        there.settimeout(10)

        def serve():
            with server_context.wrap_socket(here, server_side=True) as one:
                one.sendall(b"hello")
                assert one.recv(5) == b"there"
                return one.getpeercert(binary_form=True)

        served = pool.submit(serve)
        with client_context.wrap_socket(there, session=session) as one:
            assert one.recv(5) == b"hello"
            one.sendall(b"there")
            seen = one.getpeercert(binary_form=True)
            result = seen, one.session, one.session_reused, one.version()
        return served.result(10), *result


def test_the_same_seed_gives_the_same_certificate_for_ever():
    # Written down once: a change would turn every pinned fingerprint false.
    golden = "27a537fb4041a0b37f6108fd22e859f9d0e025268c2843c06e807318bc472635"

    assert self_signed_certificate(bytes(range(32))) == (
        self_signed_certificate(bytes(range(32)))
    )
    assert fingerprint(self_signed_certificate(bytes(range(32)))).hex() == golden
    assert fingerprint(ANNA) == hashlib.sha256(ANNA).digest()
    assert ANNA != BEN


def test_openssl_reads_what_we_wrote():
    shown = openssl("x509", "-text", "-noout", text=certificate_pem(ANNA)).stdout

    for line in [
        "Version: 3 (0x2)",
        "Signature Algorithm: ED25519",
        "Not Before: Jan  1 00:00:00 1970 GMT",
        "Not After : Dec 31 23:59:59 9999 GMT",
        "CA:TRUE",
        "Digital Signature, Certificate Sign",
    ]:
        assert line in shown
    assert shown.count("CN = fonshare") + shown.count("CN=fonshare") == 2


def test_openssl_verifies_it_strictly_against_itself_and_not_another(tmp_path):
    def verify(trusted, der):
        (tmp_path / "trusted.pem").write_text(certificate_pem(trusted))
        arguments = ["-x509_strict", "-check_ss_sig", "-CAfile"]
        path = str(tmp_path / "trusted.pem")
        return openssl("verify", *arguments, path, text=certificate_pem(der))

    assert "OK" in verify(ANNA, ANNA).stdout
    assert verify(ANNA, BEN).returncode != 0
    forged = ANNA[:-1] + bytes([ANNA[-1] ^ 1])
    assert verify(forged, forged).returncode != 0


def test_openssl_finds_the_certificates_key_in_the_private_key():
    from_key = openssl("pkey", "-pubout", text=private_key_pem(ANNA_SEED)).stdout
    from_certificate = openssl(
        "x509", "-pubkey", "-noout", text=certificate_pem(ANNA)
    ).stdout

    assert from_key == from_certificate != ""


@pytest.mark.parametrize("mode", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_two_nodes_shake_hands_and_see_each_others_certificate(tmp_path, version, mode):
    # All trusted certificates bear the same name, the right one must be found.
    server = context(
        tmp_path, ssl.PROTOCOL_TLS_SERVER, ANNA_SEED, [CARL, BEN, ANNA], version
    )
    server.verify_mode = mode
    client = context(
        tmp_path, ssl.PROTOCOL_TLS_CLIENT, BEN_SEED, [CARL, BEN, ANNA], version
    )

    by_server, by_client, _, _, spoken = handshake(server, client)

    assert (by_server, by_client) == (BEN, ANNA)
    assert spoken == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_still_shows_the_peers_certificate(tmp_path, version):
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, ANNA_SEED, [BEN], version)
    server.session_id_context = b"friends"
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, BEN_SEED, [ANNA], version)

    _, _, session, reused_first, _ = handshake(server, client)
    by_server, by_client, _, reused, _ = handshake(server, client, session)

    assert (reused_first, reused) == (False, True)
    assert (by_server, by_client) == (BEN, ANNA)


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path):
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, ANNA_SEED, [CARL])
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, BEN_SEED, [ANNA])

    with pytest.raises(ssl.SSLError):
        handshake(server, client)


def test_a_seed_of_the_wrong_length_is_our_own_error():
    for make in (self_signed_certificate, private_key_pem):
        with pytest.raises(ValueError, match="32 bytes"):
            make(bytes(31))
