"""The catalogue as a person, or the first run, accepted it for each project, and the step that waits for a person."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.schema import Schema
from plant3d_sync.state.codec import dump, load_map
from plant3d_sync.state.tables import catalogue

_SCHEMA = msgspec.json.Decoder(Schema)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted`: what was accepted last; `step`: the change that waits, as it is shown; `offered`: what accepting it accepts."""

    accepted: Schema
    accepted_at: float
    accepted_by: str
    step: dict[str, Any] = msgspec.field(default_factory=dict)
    offered: Schema | None = None


_OF_PROJECT = sa.select(catalogue).where(catalogue.c.project == sa.bindparam("whose"))
_ACCEPTED_AT = sa.select(catalogue.c.accepted_at).where(catalogue.c.project == sa.bindparam("whose"))


def get(connection: Connection, number: int, now: Schema | None = None) -> Kept | None:
    """What is kept of a project; None before its first complete read. If the accepted one is `now` to the letter, it is
    not read: it is `now` itself.
    """
    row = connection.execute(_OF_PROJECT, {"whose": number}).first()
    if row is None:
        return None
    is_now = now is not None and _is_text_of(now, row.accepted)
    return Kept(
        accepted=now if now is not None and is_now else _SCHEMA.decode(row.accepted),
        accepted_at=row.accepted_at,
        accepted_by=row.accepted_by,
        step=load_map(row.step),
        offered=_SCHEMA.decode(row.offered) if row.offered else None,
    )


def accepted_at(connection: Connection, number: int) -> float | None:
    """When what is kept of a project was accepted; None before its first complete read."""
    found: float | None = connection.execute(_ACCEPTED_AT, {"whose": number}).scalar()
    return found


def waiting(connection: Connection, number: int) -> dict[str, Any]:
    """The step that waits, empty if none does."""
    return load_map(
        connection.execute(sa.select(catalogue.c.step).where(catalogue.c.project == number)).scalar()
    )


def put(connection: Connection, number: int, kept: Kept) -> None:
    """Keep this of a project."""
    connection.execute(sa.delete(catalogue).where(catalogue.c.project == number))
    connection.execute(
        sa.insert(catalogue).values(
            project=number,
            accepted=_text(kept.accepted),
            accepted_at=kept.accepted_at,
            accepted_by=kept.accepted_by,
            step=dump(kept.step) if kept.step else None,
            offered=_text(kept.offered) if kept.offered is not None else None,
        )
    )


def _text(schema: Schema) -> str:
    return msgspec.json.encode(schema).decode()


def _is_text_of(schema: Schema, stored: str) -> bool:
    """`stored == _text(schema)`, class by class: the whole text is one of the largest of a small run."""
    piece = f'{{"mapping":{msgspec.json.encode(schema.mapping).decode()},"classes":{{'
    at = 0
    for name, used in schema.classes.items():
        piece += f"{msgspec.json.encode(name).decode()}:{msgspec.json.encode(used).decode()}"
        if not stored.startswith(piece, at):
            return False
        at += len(piece)
        piece = ","
    return stored[at:] == (piece if not schema.classes else "") + "}}"
