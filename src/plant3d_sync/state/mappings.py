"""Versions of a project's mapping: the digest of every field's definition, as long as some link was compared under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import dump, insert_if_new, load_map
from plant3d_sync.state.tables import definitions, link, mapping_version

ByClass = Mapping[str, Mapping[str, str]]
"""Class -> field -> digest of where its value comes from."""


_OTHERS = sa.select(definitions.c.n, definitions.c.fields).where(
    definitions.c.project == sa.bindparam("whose"), definitions.c.n != sa.bindparam("but")
)
_ANY_OTHER = _OTHERS.with_only_columns(definitions.c.n).limit(1)


def earlier(connection: Connection, number: int, current: int | None) -> dict[int, ByClass]:
    """All versions but the current one."""
    rows = connection.execute(_OTHERS, {"whose": number, "but": current or 0})
    return {row.n: load_map(row.fields) for row in rows}


def add(connection: Connection, number: int, fields: ByClass) -> int:
    """Store a new version; returns its number, from 1."""
    newest = connection.execute(
        sa.select(sa.func.max(definitions.c.n)).where(definitions.c.project == number)
    ).scalar()
    n = int(newest or 0) + 1
    connection.execute(sa.insert(definitions).values(project=number, n=n, fields=dump(fields) or "{}"))
    return n


def keep(
    connection: Connection, project: str, digest: str, source: Mapping[str, object], *, at: float
) -> None:
    """Keep a mapping as it was written, from the first complete run on that used it."""
    values = {"project": project, "digest": digest, "first_used": at, "sources": dump(source) or "{}"}
    insert_if_new(connection, mapping_version, values)


def kept(connection: Connection, project: str) -> list[dict[str, Any]]:
    """Every mapping that was used, the newest first."""
    rows = connection.execute(
        sa.select(mapping_version)
        .where(mapping_version.c.project == project)
        .order_by(mapping_version.c.first_used.desc(), mapping_version.c.digest)
    )
    return [
        {"digest": row.digest, "first_used": row.first_used, "mapping": load_map(row.sources)} for row in rows
    ]


def forget(connection: Connection, number: int, current: int) -> None:
    """Drop the versions that no link was compared under any more."""
    if connection.execute(_ANY_OTHER, {"whose": number, "but": current}).first() is None:
        return
    in_use = sa.select(link.c.mapping_version).where(
        link.c.project == number, link.c.mapping_version.is_not(None)
    )
    connection.execute(
        sa.delete(definitions).where(
            definitions.c.project == number,
            definitions.c.n != current,
            definitions.c.n.not_in(in_use),
        )
    )
