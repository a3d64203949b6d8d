"""API keys: made, listed, revoked, checked. The key itself is shown once and never stored.

A key reads `p3s_<key id>_<secret>`. The secret has 256 random bits, so one SHA-256 of it is enough: there is
nothing to guess, and a slow hash per request would only let strangers keep the service busy.
A name is carried by one living key only, and no key is called as the program calls itself: who did what is reported by
names. A key's own word for itself in the audit is `key:ID:NAME`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.state import audit, seals
from plant3d_sync.state.codec import dump, load
from plant3d_sync.state.retention import SYSTEM
from plant3d_sync.state.tables import api_key
from plant3d_sync.words import said

SCOPES = ("read", "sync", "resolve", "write", "admin")
"""read: look; sync: start and stop runs; resolve: decide conflicts; write: apply and undo plans; admin: keys, audit."""

AUDIT_CHAIN = SYSTEM
"""Chain of the audit entries that belong to no project. A project's entries stand in the chain of its name."""

KIND: Final = "api_key"
"""The name of a key's row among the seals."""

PREFIX = "p3s"
HOUR = 3600.0
DAY = 86400.0
LONGEST_NAME = 100
RESERVED = frozenset(
    {
        "admin",
        "administrator",
        "anonymous",
        "api",
        "cli",
        "key",
        "links",
        "plant3d",
        "plant3d-sync",
        "retention",
        "root",
        "scheduler",
        "schedule",
        "service",
        "sync",
        "synapse",
        "system",
        "unknown",
        "upgrade",
        "worker",
    }
)
"""Names that say who did something without being anybody's key, as `plain_name` spells them."""

NAMES_LOCK = 0x503345
"""PostgreSQL's advisory lock of whoever makes a key: a name is looked for and taken in one piece."""

LONGEST = 200
"""A presented key longer than this is refused before anything is hashed."""

_NOBODY = "0" * 64
"""Compared with when the key id is unknown, so that both cases do the same work."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `projects` None means all. Times are POSIX seconds."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...] | None
    created_at: float
    created_by: str | None
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None

    def valid(self, now: float) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def to_dict(self) -> dict[str, object]:
        """What may be shown of it; times as POSIX seconds."""
        return {
            "id": self.key_id,
            "name": self.name,
            "scopes": list(self.scopes),
            "projects": None if self.projects is None else list(self.projects),
            "created_at": self.created_at,
            "created_by": self.created_by,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "last_used_at": self.last_used_at,
        }


def create(
    connection: Connection,
    name: str,
    scopes: Sequence[str],
    *,
    projects: Sequence[str] | None = None,
    expires_days: float | None = None,
    now: float,
    by: str = "cli",
) -> tuple[str, str]:
    """Make a key: (its id, the key). The second is nowhere else. Audited.

    `projects`: configured names it may see, None for all. Raises NotFoundError `scope_unknown`, `key_name_invalid`,
    `key_name_reserved`, NeedsPersonError `key_name_taken`.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise NotFoundError(
            f"No such scope: {', '.join(unknown) or '(none given)'}. No key was made.",
            hint=f"Scopes are {', '.join(SCOPES)}.",
            code="scope_unknown",
        )
    _refuse_name(connection, name, now)
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    wanted = [scope for scope in SCOPES if scope in scopes]
    connection.execute(
        sa.insert(api_key).values(
            id=key_id,
            name=name,
            secret_hash=_hash(secret),
            scopes=dump(wanted),
            projects=dump(sorted(set(projects))) if projects else None,
            created_at=now,
            created_by=by,
            expires_at=None if expires_days is None else now + expires_days * DAY,
        )
    )
    seals.seal(connection, KIND, [key_id], at=now)
    audit.append(
        connection,
        AUDIT_CHAIN,
        action="key.created",
        actor=by,
        at=now,
        key=key_id,
        name=name,
        scopes=wanted,
        projects=sorted(set(projects)) if projects else None,
    )
    return key_id, f"{PREFIX}_{key_id}_{secret}"


def plain_name(name: str) -> str:
    """A name as it is compared: compatible characters as one, no invisible ones, no case, no double spaces."""
    text = unicodedata.normalize("NFKC", name)
    text = "".join(char for char in text if unicodedata.category(char) not in _INVISIBLE)
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def _refuse_name(connection: Connection, name: str, now: float) -> None:
    plain = plain_name(name)
    odd = [char for char in name if unicodedata.category(char) in (*_INVISIBLE, "Zl", "Zp")]
    if not plain or odd or len(name) > LONGEST_NAME:
        raise NotFoundError(
            f"{said(name[: LONGEST_NAME + 1])} cannot be the name of a key. No key was made.",
            hint=f"Give a name of up to {LONGEST_NAME} visible characters.",
            code="key_name_invalid",
        )
    if plain in RESERVED:
        raise NotFoundError(
            f"{said(name)} is a name of the program's own parts. No key was made.",
            hint="Name the key after who or what uses it.",
            code="key_name_reserved",
        )
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(NAMES_LOCK)))
    if any(plain_name(key.name) == plain for key in list_keys(connection) if key.valid(now)):
        raise NeedsPersonError(
            f"A living key is called {said(name)} already. No key was made.",
            hint="Choose another name (with a date, say), put the new key in place, then revoke the old one.",
            code="key_name_taken",
        )


def list_keys(connection: Connection) -> list[ApiKey]:
    """Every key ever made, oldest first."""
    rows = connection.execute(sa.select(api_key).order_by(api_key.c.created_at, api_key.c.id))
    return [_model(row) for row in rows]


def get(connection: Connection, key_id: str) -> ApiKey | None:
    """One key."""
    row = connection.execute(sa.select(api_key).where(api_key.c.id == key_id)).first()
    return _model(row) if row else None


def revoke(connection: Connection, key_id: str, *, now: float, by: str = "cli") -> ApiKey:
    """End a key at once; revoking it again changes nothing. Raises NotFoundError. Audited."""
    known = get(connection, key_id)
    if known is None:
        raise NotFoundError(
            f"There is no key {key_id}. Nothing was revoked.",
            hint="`plant3d-sync keys list` shows the ids.",
            code="key_unknown",
        )
    done = connection.execute(
        sa.update(api_key)
        .where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if done.rowcount == 1:
        seals.seal(connection, KIND, [key_id], at=now)
        audit.append(
            connection, AUDIT_CHAIN, action="key.revoked", actor=by, at=now, key=key_id, name=known.name
        )
    found = get(connection, key_id)
    return found if found is not None else known


def end_altered(connection: Connection, key_id: str, *, now: float) -> None:
    """Revoke a key whose row was altered, and seal the row as it is now."""
    connection.execute(
        sa.update(api_key)
        .where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    seals.seal(connection, KIND, [key_id], at=now)


def verify(connection: Connection, presented: str, *, now: float) -> ApiKey | None:
    """The key somebody presents, None unless it is whole, known, as it was made, not revoked and not expired."""
    if len(presented) > LONGEST:
        return None
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != PREFIX or not key_id or not secret:
        return None
    row = connection.execute(sa.select(api_key).where(api_key.c.id == key_id)).first()
    stored = row.secret_hash if row is not None else _NOBODY
    same = hmac.compare_digest(_hash(secret), stored)
    if row is None or not same or not seals.key_holds(connection, row):
        return None
    key = _model(row)
    return key if key.valid(now) else None


def used(connection: Connection, key_id: str, *, now: float) -> None:
    """Remember the hour of use: enough to find keys nobody needs, and one write per hour.

    A key that was made within that hour was used at the earliest when it was made.
    """
    hour = now - now % HOUR
    connection.execute(
        sa.update(api_key)
        .where(
            api_key.c.id == key_id, sa.or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < hour)
        )
        .values(last_used_at=sa.case((api_key.c.created_at > hour, api_key.c.created_at), else_=hour))
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _model(row: Row[Any]) -> ApiKey:
    projects = load(row.projects)
    return ApiKey(
        key_id=row.id,
        name=row.name,
        scopes=tuple(load(row.scopes) or ()),
        projects=None if projects is None else tuple(projects),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=None if row.last_used_at is None else max(row.last_used_at, row.created_at),
    )
