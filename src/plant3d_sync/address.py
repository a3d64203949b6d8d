"""Addresses with a password in them: one parser for checking, using and showing them, and one mask for all texts.

What stands unescaped in a password is understood where it can mean one thing only (`@`, `:`, a lone `%`). Where it
cannot (`/`, `#`, `?` end the part with the password), the address is refused with the way to write it. Nothing of an
address that was not understood is ever shown: any part of it may be the password.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from plant3d_sync.errors import ConfigError

HIDDEN = "***"
ESCAPES = "@ is written %40, / %2F, # %23, ? %3F, : %3A, % %25, a space %20"
"""How the characters of a password are written that mean something else in an address."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SHORTEST = 4
_IN_URL = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*):\S*@")
"""Up to the last @ of the word: what stands unescaped in a password may look like anything."""
_OUR_KEY = re.compile(r"p3s_[A-Za-z0-9]+_[A-Za-z0-9_-]+")
_PAIR = re.compile(r"(?i)\b(pwd|password)\s*=\s*")
_IN_PAIRS = re.compile(r"(?i)\b(?P<name>pwd|password)\s*=\s*(?:\{(?:[^}]|\}\})*\}|[^;\s]+)")
_SECRET_OPTION = re.compile(r"pass|pwd|secret|token|key|odbc_connect", re.IGNORECASE)
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
    forms = {form for secret in secrets if secret for form in _spellings(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _spellings(secret: str) -> set[str]:
    """A secret as it may stand in a text: as it is, in an address, in a connection string, in code, in JSON."""
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe=" +"),
        quote_plus(secret),
        secret.replace("}", "}}"),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """An address taken apart and not yet read: `host` is everything between the login and the path."""

    user: str | None
    password: str | None = field(repr=False)
    host: str
    tail: str = field(repr=False)


def split(rest: str, *, name: str, code: str, example: str) -> Parts:
    """The parts of what follows `scheme://`, user and password unescaped. The last @ before the path ends the login.

    Raises ConfigError, without any part of the address in it, where a /, # or ? may belong to the password.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" in tail and ("@" in authority or ":" in authority):
        raise refused(
            name, "there is an @ after a /, # or ?, so the end of its password cannot be told", code, example
        )
    login, at, host = authority.rpartition("@")
    user, has_password, password = login.partition(":")
    return Parts(
        user=unquote(user) if at else None,
        password=unquote(password) if has_password else None,
        host=host,
        tail=tail,
    )


def parse(text: str, *, name: str, code: str, example: str) -> Address:
    """Take an address of the form `scheme://user:password@host:port/path?query` apart.

    `name` is the setting's, for the message; `code` the error's; `example` shows the right form.
    Raises ConfigError without any part of the address in it.
    """
    scheme, colon, rest = text.strip().partition("://")
    if not colon or not _SCHEME.match(scheme):
        raise refused(name, "it does not begin like an address", code, example)
    parts = split(rest, name=name, code=code, example=example)
    found = _host_and_port(parts.host)
    if found is None:
        raise refused(name, "its host and port cannot be read (the port is a number)", code, example)
    path, _, query = parts.tail.partition("?")
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    return Address(
        scheme=scheme.lower(),
        user=parts.user,
        password=parts.password,
        host=found[0],
        port=found[1],
        path=unquote(path.removeprefix("/")),
        query=values,
    )


def shown(text: str) -> str:
    """A setting's text for people: an address without its password, anything that is none as it is."""
    scheme, colon, rest = text.strip().partition("://")
    if not colon or not _SCHEME.match(scheme):
        return MASK.text(_in_pairs(text))
    if "@" in rest:
        try:
            return parse(text, name="", code="", example="").shown
        except ConfigError:
            return f"{scheme}://{HIDDEN}"
    before, question, query = text.partition("?")
    return before + question + HIDDEN if _SECRET_OPTION.search(query) else text


def secrets_in(text: str) -> list[str]:
    """What of an address, or of a text that was meant to be one, must not be printed."""
    _scheme, colon, rest = text.strip().partition("://")
    if not colon:
        pair = _PAIR.search(text)
        behind = text[pair.end() :] if pair else ""
        return [behind, *behind.split(";")[:1]]
    login, at, _host = rest.rpartition("@")
    found = [login.partition(":")[2]] if at else []  # what would be the password if it had been escaped
    try:
        address = parse(text, name="", code="", example="")
    except ConfigError:
        return [*found, rest] if at else found
    return [*found, address.password or "", *(one for values in address._secrets() for one in values)]


def _in_pairs(text: str) -> str:
    """A connection string up to its password: where that ends cannot be told by a reader."""
    found = _PAIR.search(text)
    return text[: found.end()] + HIDDEN if found else text


class Mask:
    """What must not be printed by this process, and the forms in which secrets stand in texts of others.

    One for a process: settings tell it what they read, and every way out asks it: logs, errors, tracebacks, answers.
    """

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._known: frozenset[str] = frozenset()

    def know(self, *secrets: str | None) -> None:
        """From now on these are hidden too. What is shorter than four characters would hide half of every text."""
        self._known |= {secret for secret in secrets if secret and len(secret) >= _SHORTEST}
        self._compile()

    def forget(self) -> None:
        """Begin anew, as when other settings are read."""
        self._known = frozenset()
        self._compile()

    def _compile(self) -> None:
        forms = {form for secret in self._known for form in _spellings(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "://" in text:
            text = _IN_URL.sub(rf"\g<before>:{HIDDEN}@", text)
        if "p3s_" in text:
            text = _OUR_KEY.sub("p3s_" + HIDDEN, text)
        return _IN_PAIRS.sub(rf"\g<name>={HIDDEN}", text) if "=" in text else text

    def value(self, value: Any) -> Any:
        """The same for every text in a value, at any depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        return value


MASK = Mask()
"""This process' own."""


def hide_in_tracebacks() -> None:
    """Let whatever ends this process, or a thread of it, be told with the same mask as everything else."""

    def told(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        lines = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(MASK.text(lines))

    def told_of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is SystemExit:
            return
        name = arguments.thread.name if arguments.thread is not None else "?"
        sys.stderr.write(f"Exception in thread {name}:\n")
        told(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    sys.excepthook = told
    threading.excepthook = told_of_thread


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


def refused(name: str, why: str, code: str, example: str) -> ConfigError:
    """That an address cannot be read, with the way to write it, and nothing of it."""
    return ConfigError(
        f"{name} cannot be read as an address: {why}. Nothing was done.",
        hint=f"Write it like {example}. In a password {ESCAPES}.",
        code=code,
    )
