"""API keys of the reference server. Only hashes are stored."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from plant3d_sync.synapse_dev import assets
from plant3d_sync.synapse_dev.callers import (
    READ,
    SYNC,
    Caller,
    expired_key,
    hashed,
    invalid_token,
    unknown_key,
)
from plant3d_sync.synapse_dev.tables import api_keys

DEV = "dev"
ADMIN_NAME = "plant3d-sync"


def caller_of_key(connection: sa.Connection, key: str) -> Caller:
    """The owner of the key; unknown or expired is 401."""
    row = connection.execute(sa.select(api_keys).where(api_keys.c.key_hash == hashed(key))).one_or_none()
    if row is None:
        raise unknown_key()
    if row.expires_at is not None and row.expires_at <= assets.now():
        raise expired_key()
    projects = None if row.projects is None else frozenset(json.loads(row.projects))
    return Caller(
        name=row.name,
        author=f"integration:{row.name}",
        scopes=frozenset(row.scopes.split()),
        projects=projects,
    )


def caller_of_token(connection: sa.Connection, authorization: str) -> Caller:
    """The reference server knows no user accounts, so a bearer token is never valid here."""
    raise invalid_token("This server knows no user accounts; send X-API-Key.")


def add_key(
    connection: sa.Connection,
    *,
    name: str,
    scopes: Sequence[str],
    projects: Sequence[str] | None = None,
    expires_at: str | None = None,
    key: str | None = None,
) -> tuple[str, str]:
    """Store a key (a new one unless given); gives its id and the key, which cannot be read again."""
    key = key or secrets.token_urlsafe(32)
    key_id = str(uuid.uuid4())
    connection.execute(
        sa.insert(api_keys).values(
            id=key_id,
            name=name,
            key_hash=hashed(key),
            scopes=" ".join(scopes),
            projects=None if projects is None else json.dumps(list(projects)),
            expires_at=expires_at,
        )
    )
    return key_id, key


def install_admin_key(connection: sa.Connection, key: str) -> None:
    """Make this key the one with every right, whatever a kept database said about it."""
    connection.execute(sa.delete(api_keys).where(api_keys.c.key_hash == hashed(key)))
    add_key(connection, name=ADMIN_NAME, scopes=(READ, SYNC, DEV), key=key)
