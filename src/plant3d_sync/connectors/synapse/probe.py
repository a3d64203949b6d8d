"""Is SYNAPSE there, and will it talk to us? One line each, from the name to the clock, with the cure next to it."""

from __future__ import annotations

import socket
import ssl
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from plant3d_sync.connectors.base import Capabilities
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.errors import SyncError

NAMES: Final = ("address", "name", "connection", "encryption", "contract", "key", "project", "clock")
SKEW_WARNING: Final = 60.0
"""Seconds between the two clocks from which "the latest wins" becomes doubtful."""

_CONNECT_SECONDS: Final = 10.0
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_CHECK_OF: Final = {
    "synapse_unauthorized": "key",
    "synapse_forbidden": "key",
    "synapse_project_unknown": "project",
    "synapse_tls": "encryption",
}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `doctor`. `hint`: what to do; empty when all is well."""

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    message: str
    hint: str = ""
    code: str = ""


def probe(client: SynapseClient) -> list[Check]:
    """Check SYNAPSE from the outside in; after a failure the rest is `skipped`. Writes nothing, repeats nothing.

    The last checks read the capabilities and one page of changes with the client's own key and project.
    """
    checks = reach(client.url)
    if checks[-1].status != "failed":
        checks += _talk(client.without_retries())
    done = {check.name for check in checks}
    return checks + [
        Check(name=name, status="skipped", message="not checked: see above")
        for name in NAMES
        if name not in done
    ]


def reach(url: str) -> list[Check]:
    """Address, name, connection, encryption."""
    parts = urlsplit(url)
    host, secure = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    checks = [Check(name="address", status="ok", message=url)]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        hint = "Correct SYNAPSE_API_URL, or the name server (in Docker: are both on the same network?)."
        return [*checks, _failed("name", f"{host} has no address ({error.strerror})", hint)]
    checks.append(Check(name="name", status="ok", message=f"{host}: {found[0][4][0]}"))
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as plain:
            checks.append(Check(name="connection", status="ok", message=f"port {port} answers"))
            checks.append(_encryption(plain, host, secure))
    except OSError as error:
        hint = "Is SYNAPSE running? Is the port right, and open in the firewall?"
        why = error.strerror or "no answer in time"
        checks.append(_failed("connection", f"no connection to {host}, port {port} ({why})", hint))
    return checks


def _encryption(plain: socket.socket, host: str, secure: bool) -> Check:
    if not secure and host in _LOCAL:
        return Check(name="encryption", status="ok", message="none, on this machine only")
    if not secure:
        return Check(
            name="encryption",
            status="warning",
            message="none: the key crosses the network readable",
            hint="Use https unless this is a closed Docker network.",
        )
    import httpx2

    try:
        with httpx2.create_ssl_context(trust_env=False).wrap_socket(plain, server_hostname=host) as wrapped:
            return Check(name="encryption", status="ok", message=str(wrapped.version()))
    except ssl.SSLCertVerificationError as error:
        hint = "Install the company's root certificate on this machine, or correct the name in the address."
        return _failed("encryption", f"the certificate is not trusted ({error.verify_message})", hint)
    except OSError as error:
        hint = "Does this port speak https? Try http, or the right port."
        return _failed("encryption", f"no TLS connection ({type(error).__name__})", hint)


def _talk(client: SynapseClient) -> list[Check]:
    """Contract, key, project, clock."""
    checks: list[Check] = []
    try:
        able = client.capabilities()
        checks.append(
            Check(name="contract", status="ok", message=f"{able.contract} (SYNAPSE {able.version})")
        )
        next(client.changes(None), None)
    except SyncError as error:
        name = _CHECK_OF.get(error.error_code, "project" if checks else "contract")
        if name == "project":
            checks.append(Check(name="key", status="ok", message="the key is accepted"))
        checks.append(_failed(name, error.message, error.hint, error.error_code))
        return checks
    finally:
        client.close()
    checks.append(Check(name="key", status="ok", message="the key is accepted"))
    checks.append(Check(name="project", status="ok", message=client.project_id))
    checks.append(_clock(able))
    return checks


def _clock(able: Capabilities) -> Check:
    skew = able.skew_seconds or 0.0
    if abs(skew) < SKEW_WARNING:
        return Check(name="clock", status="ok", message=f"SYNAPSE differs by {skew:+.1f} s")
    return Check(
        name="clock",
        status="warning",
        message=f"SYNAPSE's clock differs from ours by {skew:+.0f} s",
        hint='Set both clocks by NTP: "the latest wins" compares their times.',
    )


def _failed(name: str, message: str, hint: str, code: str = "") -> Check:
    return Check(name=name, status="failed", message=message, hint=hint, code=code or f"synapse_{name}")
