"""What every operation needs: the store, the ledger, and who is calling."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from plant3d_sync.synapse_dev import keys, queries
from plant3d_sync.synapse_dev.keys import Caller
from plant3d_sync.synapse_dev.ledger import WriteLedger
from plant3d_sync.synapse_dev.problems import Problem
from plant3d_sync.synapse_dev.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running server. `stall_commit` (seconds) holds batches just before their commit, for kill tests."""

    store: Store
    ledger: WriteLedger = field(default_factory=WriteLedger)
    stall_commit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that may go on: who, in which project, and its id."""

    caller: Caller
    project_id: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: finished bytes, so that nothing can fail after the commit."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status=status, body=orjson.dumps(content), headers=headers or {})


def identify(server: Server, headers: Mapping[str, str]) -> Caller:
    """The caller behind `X-API-Key`; two credentials at once are 400, none is 401.

    The reference server knows no user accounts, so a bearer token is never valid here.
    """
    key, authorization = headers.get("x-api-key"), headers.get("authorization")
    if key is not None and authorization is not None:
        raise Problem(400, "two_credentials", "Send X-API-Key or Authorization, not both.")
    challenge = {"WWW-Authenticate": "Bearer"}
    if authorization is not None:
        raise Problem(
            401, "invalid_token", "This server knows no user accounts; send X-API-Key.", headers=challenge
        )
    if not key:
        raise Problem(401, "credentials_required", "Send an API key as X-API-Key.", headers=challenge)
    with server.store.reading() as connection:
        return keys.find_caller(connection, key)


def authorize(server: Server, headers: Mapping[str, str], request_id: str, scope: str) -> Call:
    """Check key, scope and project, in this order; an unknown project is 404, a forbidden one 403."""
    caller = identify(server, headers)
    caller.need_scope(scope)
    project_id = project_header(headers)
    with server.store.reading() as connection:
        if queries.project_row(connection, project_id) is None:
            raise project_not_found()
    caller.need_project(project_id)
    return Call(caller=caller, project_id=project_id, request_id=request_id)


def project_header(headers: Mapping[str, str]) -> str:
    value = headers.get("x-project-id")
    if not value:
        raise Problem(400, "project_required", "Send the project's UUID as X-Project-ID.")
    project_id = uuid_text(value)
    if project_id is None:
        raise Problem(400, "invalid_project_id", "X-Project-ID is not a UUID.")
    return project_id


def uuid_text(value: str) -> str | None:
    """The UUID in its usual form (lower case, hyphens), or None if it is none."""
    if len(value) != 36:
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None


def project_not_found() -> Problem:
    return Problem(404, "project_not_found", "There is no such project.")


def asset_not_found() -> Problem:
    return Problem(404, "asset_not_found", "There is no such asset in this project.")
