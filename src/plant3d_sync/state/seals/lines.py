"""What the lines of a project are made of, under one digest in the newest entry of a chain of their own.

Every run asks, so only that entry and its hash are looked at: whoever can forge that one can forge the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import bare_rows
from plant3d_sync.state.seals.altered import (
    ADDED,
    CHANGED,
    GONE,
    TOUCHED,
    Altered,
    Look,
    refusal,
    refused_if_broken,
)
from plant3d_sync.state.seals.chains import newest, walk
from plant3d_sync.state.seals.covered import LINES, chain_name
from plant3d_sync.state.seals.digests import digest_of
from plant3d_sync.state.seals.making import enter
from plant3d_sync.state.tables import line_members
from plant3d_sync.state.tables import project as project_table

LineRow = tuple[str, str, str]
"""Identity of a line, PnPGuid of the row that stands for it, its members as stored."""
_FEW = 50


def seal_lines(
    connection: Connection, project: str, rows: Sequence[LineRow], moved: Collection[str], *, at: float
) -> None:
    """What all lines of a project are made of (`rows`), of which these were written now.

    One digest over all of them, and one of each that was written, so that `verify` can name a row. Without any rows
    all are forgotten.
    """
    each = {row[0]: _digest_of_line(row) for row in rows if row[0] in moved}
    whole, chain = _digest_of_lines(rows), chain_name(LINES, project)
    enter(connection, chain, at, digest=whole, lines=each)
    if len(each) > _FEW:
        enter(connection, chain, at, digest=whole, lines={})  # the newest is read in every run


def check_lines(connection: Connection, project: str, rows: Sequence[LineRow], *, nothing: str) -> None:
    """What the lines of a project are made of, all of its rows. Raises NeedsPersonError `row_altered`."""
    with refused_if_broken(nothing):
        entry = newest(connection, chain_name(LINES, project))
    sealed = str(entry["digest"]) if entry is not None else _NO_LINES
    if sealed != _digest_of_lines(rows):
        raise refusal([Altered(project, "line_members", "(one or more)", TOUCHED)], nothing)


def line_rows(connection: Connection, number: int) -> list[LineRow]:
    """What all lines of a project are made of, as stored."""
    query = "SELECT plant3d_id, row_guid, members FROM line_members WHERE project = ?"
    return list(bare_rows(connection, query, (number,), _as_line))


def look_at_all(connection: Connection) -> Look:
    """Name the lines that are not made of what was stored, walking the chain of each project."""
    projects = connection.execute(sa.select(project_table.c.number, project_table.c.name)).fetchall()
    altered: list[Altered] = []
    for number, name in projects:
        altered += _of_project(connection, number, name)
    known = {number for number, _name in projects}
    strays = connection.execute(sa.select(line_members.c.project, line_members.c.plant3d_id)).fetchall()
    altered += [
        Altered("?", "line_members", row.plant3d_id, ADDED) for row in strays if row.project not in known
    ]
    return Look(altered)


def _of_project(connection: Connection, number: int, name: str) -> list[Altered]:
    sealed: dict[str, str] = {}
    for entry in walk(connection, chain_name(LINES, name)):
        sealed = {**sealed, **entry["lines"]} if entry["digest"] != _NO_LINES else {}
    rows = {row[0]: _digest_of_line(row) for row in line_rows(connection, number)}
    found = [
        Altered(name, "line_members", identity, CHANGED if identity in sealed else ADDED)
        for identity, digest in sorted(rows.items())
        if sealed.get(identity) != digest
    ]
    return found + [Altered(name, "line_members", one, GONE) for one in sorted(sealed.keys() - rows.keys())]


def _as_line(row: tuple[Any, ...]) -> LineRow:
    identity, row_guid, members = row
    return str(identity), str(row_guid), str(members)


def _digest_of_lines(rows: Iterable[LineRow]) -> str:
    return digest_of("\n".join(map("\t".join, sorted(rows))).encode("utf-8", "surrogatepass"))


def _digest_of_line(row: LineRow) -> str:
    return hashlib.blake2b("\t".join(row).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


_NO_LINES = _digest_of_lines(())
