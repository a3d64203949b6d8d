"""API keys: who calls, what they may do, in which projects. Only hashes are stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from plant3d_sync.synapse_dev import assets
from plant3d_sync.synapse_dev.problems import Problem
from plant3d_sync.synapse_dev.tables import api_keys

READ, SYNC, DEV = "assets:read", "assets:sync", "dev"
ADMIN_NAME = "plant3d-sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of a valid key. `projects` None means every project."""

    name: str
    scopes: frozenset[str]
    projects: frozenset[str] | None

    @property
    def author(self) -> str:
        """How changes by this caller are signed."""
        return f"integration:{self.name}"

    def need_scope(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Problem(403, "scope_missing", f"This key does not have the scope {scope}.")

    def need_project(self, project_id: str) -> None:
        if self.projects is not None and project_id not in self.projects:
            raise Problem(403, "project_forbidden", "This key may not use this project.")


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def find_caller(connection: sa.Connection, key: str) -> Caller:
    """The owner of the key; unknown or expired is 401."""
    row = connection.execute(sa.select(api_keys).where(api_keys.c.key_hash == hashed(key))).one_or_none()
    if row is None:
        raise Problem(401, "invalid_key", "This API key is not known.")
    if row.expires_at is not None and row.expires_at <= assets.now():
        raise Problem(401, "key_expired", "This API key has expired.")
    projects = None if row.projects is None else frozenset(json.loads(row.projects))
    return Caller(name=row.name, scopes=frozenset(row.scopes.split()), projects=projects)


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
