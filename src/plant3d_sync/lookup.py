"""Looking a host's name up within a bound: the system's own lookup has none and may block for many seconds.

A lookup goes on in a thread of its own after the bound; whoever asks later gets what it brought. While it hangs,
nobody waits for it again longer than until its bound is over.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

import msgspec

SECONDS = 2.0
"""How long a name may take."""

KEPT = 30.0
"""Seconds for which an answer is used again. A failure is not kept: the next question looks anew."""


class UnknownName(OSError):
    """The name has no address, or none was found within the bound."""


class _Look(msgspec.Struct):
    began: float = msgspec.field(default_factory=time.monotonic)
    answer: Future[list[str]] = msgspec.field(default_factory=Future)


_going: dict[str, _Look] = {}
_lock = threading.Lock()


def addresses(host: str, *, seconds: float = SECONDS) -> list[str]:
    """The IP addresses of a host, as many as it has. Raises UnknownName after `seconds` at the latest.

    What is an IP address already, or a socket's path, is its own answer.
    """
    if is_address(host):
        return [host]
    with _lock:
        look = _going.get(host)
        if look is None or _is_spent(look):
            look = _going[host] = _Look()
            threading.Thread(target=_find, args=(host, look.answer), name="lookup", daemon=True).start()
    try:
        return look.answer.result(timeout=max(0.0, look.began + seconds - time.monotonic()))
    except LateError:
        raise UnknownName(f"the name {host!r} was not resolved within {seconds:g} s") from None
    except OSError as error:
        raise UnknownName(f"the name {host!r} is not known ({error.strerror or error})") from error


def is_address(host: str) -> bool:
    """Whether nothing has to be looked up."""
    if host.startswith(("/", "@")):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_spent(look: _Look) -> bool:
    if not look.answer.done():
        return False
    return look.answer.exception() is not None or time.monotonic() - look.began > KEPT


def _find(host: str, answer: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        answer.set_result(list(dict.fromkeys(str(one[4][0]) for one in found)))
    except (OSError, UnicodeError) as error:
        answer.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
