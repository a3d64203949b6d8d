"""A company's package index: the locked wheels behind HTTPS, with a certificate that only the company knows."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + ["manylinux2014_x86_64"]
"""What the base image (Debian 12) accepts."""


@dataclass
class CompanyIndex:
    """`asked`: the packages that somebody asked for."""

    url: str
    certificate: Path
    asked: set[str] = field(default_factory=set)


def fetch(folder: Path, *locks: Path) -> None:
    """The wheels of the locks for the base image's Python, from this machine's own index. Raises CalledProcessError."""
    tags = [word for name in PLATFORMS for word in ("--platform", name)]
    folder.mkdir()
    text = "".join(lock.read_text(encoding="utf-8") for lock in locks)
    # pip judges markers by the Python that runs it: with those of other Pythons the wheels serve every one
    wanted = folder / "wanted.txt"
    wanted.write_text(re.sub(r" ; python_[a-z_]+ [<>=]+ '[0-9.]+'(?= )(?! and)", "", text), encoding="utf-8")
    files = ["-r", str(wanted)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "--require-hashes",
         "--python-version", "3.11", "--implementation", "cp", *tags, *files, "-d", str(folder)],
        check=True,
    )  # fmt: skip


def always(*locks: Path) -> set[str]:
    """Names of the packages that every machine needs."""
    text = "".join(lock.read_text(encoding="utf-8") for lock in locks)
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==[^;\n]+$", text, re.MULTILINE))


def listed(folder: Path) -> None:
    """The pages of the index: `simple/NAME/` for each package, in place of the plain folder."""
    for wheel in sorted(folder.glob("*.whl")):
        name = re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        place = folder / "simple" / name
        place.mkdir(parents=True, exist_ok=True)
        wheel.rename(place / wheel.name)
        links = "".join(f'<a href="{one.name}">{one.name}</a>\n' for one in place.glob("*.whl"))
        (place / "index.html").write_text(
            f"<!DOCTYPE html><html><body>\n{links}</body></html>", encoding="utf-8"
        )


@contextmanager
def serving(folder: Path) -> Iterator[CompanyIndex]:
    """An index of `folder` on a loopback port. Needs the program openssl."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=company",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    seen: set[str] = set()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.add(self.path.removeprefix("/simple/").partition("/")[0])
            super().do_GET()

        def log_message(self, *_words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield CompanyIndex(f"https://127.0.0.1:{server.server_port}/simple", certificate, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
