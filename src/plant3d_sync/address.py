"""Addresses with a password in them: one parser for checking, using and showing them.

What stands unescaped in a password is understood where it can mean one thing only (`@`, `:`, a lone `%`). Where it
cannot (`/`, `#`, `?` end the part with the password), the address is refused with the way to write it. Nothing of an
address that was not understood is ever shown: any part of it may be the password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from plant3d_sync.errors import ConfigError

HIDDEN = "***"
ESCAPES = "@ is written %40, / %2F, # %23, ? %3F, : %3A, % %25, a space %20"
"""How the characters of a password are written that mean something else in an address."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_IPV6 = re.compile(r"\[(?P<host>[0-9A-Fa-f:.%]+)\](?P<port>:\d+)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address in its parts, unescaped. `path` begins without its slash."""

    scheme: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    path: str = ""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The address for people: no password, and no query, which may hold one."""
        who = "" if self.user is None and self.password is None else quote(self.user or "")
        if self.password is not None:
            who += f":{HIDDEN}"
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{who}{'@' if who else ''}{host}{port}{'/' if self.path else ''}{self.path}"

    def hidden(self, text: str) -> str:
        """A text of somebody else without this address's password, however it is written there."""
        return without(text, self.password, *(one for values in self._secrets() for one in values))

    def _secrets(self) -> list[Sequence[str]]:
        return [values for name, values in self.query.items() if "pass" in name.lower()]


def without(text: str, *secrets: str | None) -> str:
    """A text in which these secrets are hidden, plain or escaped."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret), quote(secret, safe=""))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def parse(text: str, *, name: str, code: str, example: str) -> Address:
    """Take an address of the form `scheme://user:password@host:port/path?query` apart.

    `name` is the setting's, for the message; `code` the error's; `example` shows the right form.
    Raises ConfigError without any part of the address in it.
    """
    scheme, colon, rest = text.strip().partition("://")
    if not colon or not _SCHEME.match(scheme):
        raise _refused(name, "it does not begin like an address", code, example)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" in tail and ("@" in authority or ":" in authority):
        raise _refused(
            name, "there is an @ after a /, # or ?, so the end of its password cannot be told", code, example
        )
    userinfo, at, host_and_port = authority.rpartition("@")
    user, has_password, password = userinfo.partition(":")
    found = _host_and_port(host_and_port)
    if found is None:
        raise _refused(name, "its host and port cannot be read (the port is a number)", code, example)
    path, _, query = tail.partition("?")
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    return Address(
        scheme=scheme.lower(),
        user=unquote(user) if at else None,
        password=unquote(password) if has_password else None,
        host=found[0],
        port=found[1],
        path=unquote(path.removeprefix("/")),
        query=values,
    )


def _host_and_port(text: str) -> tuple[str | None, int | None] | None:
    """Host and port, None if they cannot be read."""
    bracketed = _IPV6.match(text)
    if bracketed:
        host, port = bracketed["host"], (bracketed["port"] or "").removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if any(character in host for character in "[]@ ") or (port and not (port.isascii() and port.isdigit())):
        return None
    if port and not 0 < int(port[:6]) < 65536:
        return None
    return unquote(host) or None, int(port) if port else None


def _refused(name: str, why: str, code: str, example: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be read as an address: {why}. Nothing was done.",
        hint=f"Write it like {example}. In a password {ESCAPES}.",
        code=code,
    )
