"""The state database's address: which databases and drivers are meant by which spelling."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from plant3d_sync.address import parse
from plant3d_sync.errors import ConfigError

EXAMPLE = "sqlite:////abs/state.db or postgresql://user:password@host:5432/name"
CODE = "state_url"

DRIVER = "postgresql+psycopg"
OURS = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")
"""Spellings of PostgreSQL that mean what our driver (psycopg 3) understands: libpq's own parameters."""


def state_url(text: str) -> URL:
    """The state database's address, with the driver that we have.

    Raises ConfigError `state_url` that names the right spelling and shows no part of an address it did not understand.
    """
    scheme = text.strip().partition("://")[0].lower()
    if scheme.partition("+")[0] == "sqlite":
        return _sqlite(text)
    if scheme.partition("+")[0] not in ("postgresql", "postgres") and "://" in text:
        raise ConfigError(
            f"The state database must be SQLite or PostgreSQL, not {scheme[:40]}. Nothing was done.",
            hint=f"STATE_DB_URL={EXAMPLE}",
            code=CODE,
        )
    if scheme not in OURS and "://" in text:
        raise ConfigError(
            f"The state database's driver {scheme[:40]} is not the one we use. Nothing was done.",
            hint=f"Write postgresql:// in place of {scheme[:40]}://; the driver is psycopg 3.",
            code=CODE,
        )
    found = parse(text, name="STATE_DB_URL", code=CODE, example=EXAMPLE)
    if not found.path:
        raise ConfigError(
            f"STATE_DB_URL names no database ({found.shown}). Nothing was done.",
            hint=f"Write it like {EXAMPLE}.",
            code=CODE,
        )
    return URL.create(
        DRIVER,
        username=found.user or None,
        password=found.password,
        host=found.host,
        port=found.port,
        database=found.path,
        query={name: tuple(values) if len(values) > 1 else values[0] for name, values in found.query.items()},
    )


def _sqlite(text: str) -> URL:
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "STATE_DB_URL cannot be read as an address. Nothing was done.",
            hint=f"Write it like {EXAMPLE}.",
            code=CODE,
        ) from error
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigError(
            f"The state database's driver {url.drivername[:40]} is not the one we use. Nothing was done.",
            hint="Write sqlite:// in its place.",
            code=CODE,
        )
    if url.host:
        raise ConfigError(
            "STATE_DB_URL names a host, and SQLite has none. Nothing was done.",
            hint="Three slashes before a relative path, four before an absolute one: sqlite:////abs/state.db",
            code=CODE,
        )
    return url
