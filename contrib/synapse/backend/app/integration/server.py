# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""What every operation needs: the store, the ledger, and who is calling."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import orjson

from app.integration import keys, queries
from app.integration.callers import Caller
from app.integration.problems import Problem
from app.integration.store import Overtaken, Store

ATTEMPTS = 3
T = TypeVar("T")


class Ledger(Protocol):
    """Hears of every accepted write; `key` is its idempotency key (None: a patch)."""

    def wrote(self, *, project_id: str, request_id: str, key: str | None, counts: Mapping[str, int]) -> None:
        """One request was committed; `counts`: how many items had which status."""
        ...

    def replayed(self) -> None:
        """A repeated request was answered with the answer of the first."""
        ...


def nothing() -> None:
    """Before a commit there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running server. `before_commit` is called just before a batch is committed."""

    store: Store
    ledger: Ledger
    version: str
    before_commit: Callable[[], None] = nothing


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
    """The caller behind `X-API-Key` or `Authorization`; both at once are 400, none is 401."""
    key, authorization = headers.get("x-api-key"), headers.get("authorization")
    if key is not None and authorization is not None:
        raise Problem(400, "two_credentials", "Send X-API-Key or Authorization, not both.")
    if not key and not authorization:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Problem(401, "credentials_required", "Send an API key as X-API-Key.", headers=challenge)
    with server.store.reading() as connection:
        if authorization:
            return keys.caller_of_token(connection, authorization)
        return keys.caller_of_key(connection, key or "")


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


def repeated(work: Callable[[], T]) -> T:
    """Do it again if another writer came between; 503 when that happens every time."""
    for _ in range(ATTEMPTS):
        try:
            return work()
        except Overtaken:
            continue
    raise Problem(
        503,
        "busy",
        "Other writers came between each time. Nothing was applied.",
        headers={"Retry-After": "1"},
    )


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
