"""The same `Idempotency-Key` gives the same answer, also when the first answer was lost on its way.

A row marks the request before anything is done and holds the id that a new run would get. Whoever repeats the
request after a crash finds that id and, if the run exists, answers with it instead of asking for a second one.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping

import msgspec
import orjson
from msgspec.structs import replace
from pydantic import BaseModel
from starlette.responses import Response

from plant3d_sync.failpoints import failpoint
from plant3d_sync.state import Connection, answers, runs
from plant3d_sync.state.answers import Kept, Whose
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.whose import holder_name, is_dead
from plant3d_sync.web.auth import Call
from plant3d_sync.web.errors import Refused

ABANDONED = 120.0
"""Seconds after which a request that never ended may be carried on by a repetition (the longest wait is 60)."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What the work may use: the id for a run it starts. `again`: an earlier attempt may have started it."""

    run_id: str
    again: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that can be stored. `kept`: what is stored in place of a body that must not be."""

    status: int
    body: BaseModel
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    kept: BaseModel | None = None


def once(call: Call, body: BaseModel | None, work: Callable[[Ticket], Answer]) -> Response:
    """Do the work, unless this key did it before. Refuses 409 while it is being done, 422 for another body."""
    if call.idempotency_key is None:
        return _response(_encode(work(Ticket(run_id=uuid.uuid4().hex))))
    digest = _digest(call, body)
    found = _claim(call, digest)
    if isinstance(found, Response):
        return found
    done = False
    try:
        made = work(found)
        answer = _encode(made)
        kept = answer if made.kept is None else _encode(replace(made, body=made.kept))
        with call.context.state.write() as connection:
            answers.keep(connection, _whose(call), status=answer.status, answer=kept.text)
        failpoint("web.answer_stored")
        done = True
    finally:
        if not done:
            with call.context.state.write() as connection:
                _let_go(connection, call, found)
    return _response(answer)


def _let_go(connection: Connection, call: Call, ticket: Ticket) -> None:
    """The work failed: the key is free again, unless a run was queued before that; then it leads to that run."""
    if runs.get(connection, ticket.run_id) is None:
        answers.forget(connection, _whose(call))
    else:
        answers.leave(connection, _whose(call), since=call.context.clock() - ABANDONED)


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    text: str


def _encode(answer: Answer) -> _Stored:
    text = (
        orjson.dumps({"headers": dict(answer.headers)})[:-1]
        + b',"body":'
        + answer.body.model_dump_json().encode()
    )
    return _Stored(status=answer.status, text=(text + b"}").decode())


def _response(stored: _Stored, *, replayed: bool = False) -> Response:
    data = orjson.loads(stored.text)
    headers = dict(data["headers"])
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(
        orjson.dumps(data["body"]), status_code=stored.status, media_type="application/json", headers=headers
    )


def _digest(call: Call, body: BaseModel | None) -> str:
    url = call.request.url
    text = body.model_dump_json() if body is not None else ""
    match = call.request.headers.get("if-match", "")
    return hashlib.sha256(
        f"{call.request.method} {url.path}?{url.query}\n{match}\n{text}".encode()
    ).hexdigest()


def _whose(call: Call) -> Whose:
    return Whose(key=call.idempotency_key or "", caller=call.key.key_id)


def _claim(call: Call, digest: str) -> Ticket | Response:
    """Mark the request as being done, or say what became of it."""
    ticket = Ticket(run_id=uuid.uuid4().hex)
    with call.context.state.write() as connection:
        kept = answers.get(connection, _whose(call))
        if kept is not None:
            return _known(call, connection, kept, digest)
        if not answers.begin(
            connection,
            _whose(call),
            route=call.request.url.path[:200],
            body_hash=digest,
            marker=_marker(ticket.run_id),
            at=call.context.clock(),
        ):
            raise _busy()
    return ticket


def _marker(run_id: str) -> str:
    return orjson.dumps({"run_id": run_id, "holder": holder_name(run_id)}).decode()


def _known(call: Call, connection: Connection, row: Kept, digest: str) -> Ticket | Response:
    if row.body_hash != digest:
        raise Refused(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request.",
            hint="Use a new key for a new request.",
        )
    if row.status_code is not None:
        return _response(_Stored(status=row.status_code, text=row.answer), replayed=True)
    marker = load_map(row.answer)
    if not is_dead(marker.get("holder")) and abs(call.context.clock() - row.created_at) < ABANDONED:
        raise _busy()
    answers.carry_on(connection, _whose(call), marker=_marker(marker["run_id"]), at=call.context.clock())
    return Ticket(run_id=marker["run_id"], again=True)


def _busy() -> Refused:
    return Refused(
        409,
        "idempotency_in_progress",
        "A request with this Idempotency-Key is being carried out.",
        hint="Send it again in a moment to get its answer.",
        headers={"Retry-After": "2"},
    )
