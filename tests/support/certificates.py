"""Certificates of test servers, made by the program openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl makes the certificate, and is not installed")
    key, made = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def context_of(made: Path, key: Path) -> ssl.SSLContext:
    """What a server shows. TLS 1.2: in a handshake of TDS 7.4 the drivers agree on no later one with the endpoint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
