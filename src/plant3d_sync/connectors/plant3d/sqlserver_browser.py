"""Ask the SQL Server Browser on which port a named instance listens (the protocol MC-SQLR, UDP port 1434)."""

from __future__ import annotations

import socket
from typing import Final

BROWSER_PORT: Final = 1434
_ASK_INSTANCE = b"\x04"
_ANSWER = 0x05
_ANSWER_HEAD = 3


def instance_port(
    host: str, instance: str, *, timeout: float, browser_port: int = BROWSER_PORT
) -> int | None:
    """The TCP port of an instance, None when it has none or no such instance runs.

    `timeout`: seconds to wait for the answer. Raises OSError when the host has no address or nobody answers.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(host, browser_port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as asking:
        asking.settimeout(timeout)
        asking.connect(where)
        asking.send(_ASK_INSTANCE + instance.encode("ascii", "replace") + b"\x00")
        answer = asking.recv(65535)
    if len(answer) < _ANSWER_HEAD or answer[0] != _ANSWER:
        return None
    words = answer[_ANSWER_HEAD:].decode("ascii", "replace").split(";")
    named = dict(zip(words[::2], words[1::2], strict=False))
    port = named.get("tcp", "")
    return int(port) if port.isdigit() else None
