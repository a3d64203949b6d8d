"""Answers that were given under an `Idempotency-Key`, kept so that a repetition gets the same one."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import insert_if_new
from plant3d_sync.state.tables import idempotency


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """An Idempotency-Key and the API key that sent it."""

    key: str
    caller: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is being carried out (`status_code` None), or was. `answer`: its marker, or its answer."""

    body_hash: str
    status_code: int | None
    answer: str
    created_at: float


def _mine(whose: Whose) -> tuple[sa.ColumnElement[bool], ...]:
    return (idempotency.c.key == whose.key, idempotency.c.caller == whose.caller)


def get(connection: Connection, whose: Whose) -> Kept | None:
    """What is known of a request."""
    row = connection.execute(sa.select(idempotency).where(*_mine(whose))).first()
    if row is None:
        return None
    return Kept(
        body_hash=row.body_hash, status_code=row.status_code, answer=row.answer, created_at=row.created_at
    )


def begin(
    connection: Connection, whose: Whose, *, route: str, body_hash: str, marker: str, at: float
) -> bool:
    """Mark a request as being carried out. False if it is by now."""
    return insert_if_new(
        connection,
        idempotency,
        {
            "key": whose.key,
            "caller": whose.caller,
            "route": route,
            "body_hash": body_hash,
            "answer": marker,
            "created_at": at,
        },
    )


def keep(connection: Connection, whose: Whose, *, status: int, answer: str) -> None:
    """It was carried out, with this answer."""
    connection.execute(sa.update(idempotency).where(*_mine(whose)).values(status_code=status, answer=answer))


def carry_on(connection: Connection, whose: Whose, *, marker: str, at: float) -> None:
    """Another process carries out what one left behind."""
    connection.execute(sa.update(idempotency).where(*_mine(whose)).values(answer=marker, created_at=at))


def forget(connection: Connection, whose: Whose) -> None:
    """It failed before anything was done: the key is free again."""
    connection.execute(sa.delete(idempotency).where(*_mine(whose), idempotency.c.status_code.is_(None)))


def leave(connection: Connection, whose: Whose, *, since: float) -> None:
    """It failed after something was done: a repetition may carry it on, as if nobody had been seen since then."""
    connection.execute(
        sa.update(idempotency)
        .where(*_mine(whose), idempotency.c.status_code.is_(None))
        .values(created_at=since)
    )
