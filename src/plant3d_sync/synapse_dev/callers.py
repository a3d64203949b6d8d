"""Who calls, what they may do, in which projects; API keys are known by their hashes only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from plant3d_sync.synapse_dev.problems import Problem

READ, SYNC = "assets:read", "assets:sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of a valid key or token. `projects` None means every project; `author` signs the changes."""

    name: str
    author: str
    scopes: frozenset[str]
    projects: frozenset[str] | None

    def need_scope(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Problem(403, "scope_missing", f"{self.name} does not have the scope {scope}.")

    def need_project(self, project_id: str) -> None:
        if self.projects is not None and project_id not in self.projects:
            raise Problem(403, "project_forbidden", "This key may not use this project.")


def hashed(key: str) -> str:
    """What is stored of a key. A key is long and random, so a plain digest cannot be guessed backwards."""
    return hashlib.sha256(key.encode()).hexdigest()


def unknown_key() -> Problem:
    return Problem(401, "invalid_key", "This API key is not known.")


def expired_key() -> Problem:
    return Problem(401, "key_expired", "This API key has expired.")


def invalid_token(detail: str) -> Problem:
    return Problem(401, "invalid_token", detail, headers={"WWW-Authenticate": "Bearer"})
