"""Certificates for a broker of a test's own, made by openssl."""

import hashlib
import ssl
import subprocess
from pathlib import Path

from brokers import TlsFiles


def make_tls_files(folder: Path, names: str = "IP:127.0.0.1") -> TlsFiles:
    """Make a CA and a certificate for *names*, signed by it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = TlsFiles(folder / "ca.pem", folder / "broker.pem", folder / "broker.key")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        *["req", "-x509", *key, "-keyout", folder / "ca.key", "-out", files.ca],
        *["-days", "2", "-subj", "/CN=test CA"],
    )
    _openssl(
        *["req", "-x509", *key, "-keyout", files.key, "-out", files.certificate],
        *["-CA", files.ca, "-CAkey", folder / "ca.key", "-days", "2"],
        *["-subj", "/CN=test broker", "-addext", f"subjectAltName={names}"],
        *["-addext", "basicConstraints=critical,CA:FALSE"],
    )
    return files


def pin_of(files: TlsFiles) -> bytes:
    """Return the SHA-256 of the broker's certificate."""
    der = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
    return hashlib.sha256(der).digest()


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
