"""Where SYNAPSE is, which project is meant there, and the key that opens it: understood once, never printed."""

from __future__ import annotations

import re
import uuid
from typing import Final, Protocol
from urllib.parse import urlsplit

from plant3d_sync.errors import ConfigError

_WORDS: Final = 300
_KEY_SHAPE: Final = re.compile(r"[!-~]{1,512}")


class Secret(Protocol):
    """Anything that hides its value until asked, such as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value itself."""
        ...


class ApiKey:
    """The key, where no repr, error or log can print it."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value = value if isinstance(value, str) else value.get_secret_value()

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def usable(self) -> bool:
        """Whether an HTTP header can carry it."""
        return _KEY_SHAPE.fullmatch(self._value) is not None

    def get_secret_value(self) -> str:
        """The value, for the one header that needs it."""
        return self._value

    def scrub(self, text: str) -> str:
        """`text` without the key, should the other side echo it."""
        return text.replace(self._value, "***") if self._value else text

    def words(self, text: str) -> str:
        """Words of the other side, fit for our own messages: short, one line, without our key."""
        printable = "".join(char if char.isprintable() else " " for char in self.scrub(text))
        return printable[:_WORDS]


def root_of(url: str) -> str:
    """The root of SYNAPSE without a trailing slash or `/api/v1`. Raises ConfigError; never echoes a password."""
    wrong, port = "", None
    parts = urlsplit("")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        str(parts.hostname).encode("idna")
    except ValueError:  # a UnicodeError of the host name is one too
        wrong = "it cannot be read"
    else:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            wrong = "it must start with http:// or https:// and a host name"
        elif "@" in url:  # also behind a / or #, where the library would not see a login
            wrong = "it must not hold a user or a password"
        elif parts.query or parts.fragment:
            wrong = "it must not hold '?' or '#'"
    if wrong:
        raise ConfigError(
            f"The address of SYNAPSE is not usable: {wrong}. Nothing was sent.",
            code="synapse_url",
            hint="Set SYNAPSE_API_URL to the root of SYNAPSE, such as https://synapse.example.com.",
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def project_of(project_id: str) -> str:
    """The UUID of a project in its usual form. Raises ConfigError."""
    try:
        return str(uuid.UUID(project_id))
    except ValueError:
        pass
    raise ConfigError(
        "synapse_project_id is not a UUID. Nothing was sent.",
        code="synapse_project_unknown",
        hint="Copy the UUID of the project from SYNAPSE (SYNAPSE_PROJECT_ID).",
        details={"project_id": project_id[:80]},
    )


def origin_of(location: str) -> str:
    """Scheme and host of a redirect: the rest may hold tokens."""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.hostname}" if parts.hostname else ""
    except ValueError:
        return ""
