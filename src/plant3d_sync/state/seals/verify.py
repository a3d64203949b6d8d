"""Everything is looked at: each chain in itself, and each row that is under a seal."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.state import audit
from plant3d_sync.state.audit import Broken
from plant3d_sync.state.seals import lines
from plant3d_sync.state.seals.altered import (
    ADDED,
    Altered,
    Look,
    Whose,
    of_cells,
    of_changes,
    of_chunks,
    of_row,
)
from plant3d_sync.state.seals.chains import ChainBroken, Seals, pruned_before, system_of
from plant3d_sync.state.seals.checks import is_asked_for
from plant3d_sync.state.seals.covered import (
    AT_ONCE,
    CHOICES,
    KINDS,
    LINES,
    REQUESTS,
    ROWS,
    RowKind,
)
from plant3d_sync.state.seals.making import cells_of
from plant3d_sync.state.tables import audit_head, change, plant_write
from plant3d_sync.state.tables import project as project_table


class Verified(msgspec.Struct, frozen=True):
    """The entries seen, what does not hold, and by table the rows that are older than the seals."""

    entries: int
    broken: list[Broken]
    not_covered: dict[str, int]


def verify(connection: Connection) -> Verified:
    """Walk every chain and recompute the digest of every sealed row, in a reading transaction."""
    count, broken = audit.verify(connection)
    try:
        seals = _all_seals(connection)
    except ChainBroken as error:  # told by `audit.verify` too
        if not broken:
            broken.append(Broken(project=error.chain, seq=error.seq, what="does not hold"))
        return Verified(count, broken, {})
    older: Counter[str] = Counter()
    for table, look in _looks(connection, seals):
        broken += map(broken_of, look.altered)
        older[table] += look.older
    return Verified(count, broken, dict(+older))


def broken_of(one: Altered) -> Broken:
    """As what `audit verify` names."""
    return Broken(
        project=one.project,
        seq=0,
        what=one.in_its_project(),
        code="row_altered",
        table=one.table,
        row=one.row,
    )


def _looks(connection: Connection, seals: Seals) -> Iterator[tuple[str, Look]]:
    """Every look there is, with the table whose rows it counts."""
    for kind in KINDS:
        yield from ((kind, look) for look in _of_rows(connection, kind, seals))
    yield from (("plant_write", look) for look in _of_cells(connection, seals))
    yield from (("change", look) for look in _of_changes(connection, seals))
    yield "line_members", lines.look_at_all(connection)


_KEYS = {kind: sa.select(what.key) for kind, what in KINDS.items()}
_CELL_INTENTS = sa.select(plant_write.c.intent_id).where(plant_write.c.intent_id.is_not(None)).distinct()


def _all_seals(connection: Connection) -> Seals:
    seals = Seals(system_of(connection))
    there: set[str] = set()
    for kind, keys in _KEYS.items():
        there |= {f"{kind}:{key}" for key in connection.execute(keys).scalars()}
    there |= {name.replace("plan:", "chunks:", 1) for name in there if name.startswith("plan:")}
    there |= {f"cells:{number}" for number in connection.execute(_CELL_INTENTS).scalars()}
    names = connection.execute(sa.select(audit_head.c.project)).scalars().all()
    for chain in sorted(names):
        if chain.startswith((f"{ROWS}:", f"{CHOICES}:", f"{REQUESTS}:", f"{LINES}:")):
            seals.read(connection, chain, there)
    return seals


def _of_rows(connection: Connection, kind: RowKind, seals: Seals) -> Iterator[Look]:
    what = KINDS[kind]
    for row in _pages(connection, what.table, what.key):
        if kind == "run" and f"run:{row.id}" not in seals.rows and not is_asked_for(row):
            continue
        project = "system" if kind == "api_key" else row.project
        yield of_row(kind, row, seals, project)
        if kind == "plan":
            yield of_chunks(connection, row.id, seals, project)


@functools.cache
def _paged(table: sa.Table, key: sa.Column[Any]) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The first page, and the one after a key."""
    first = sa.select(table).order_by(key).limit(AT_ONCE)
    return first, first.where(key > sa.bindparam("last", type_=key.type))


def _pages(connection: Connection, table: sa.Table, key: sa.Column[Any]) -> Iterator[Row[Any]]:
    """All rows by their key, a page at a time: other statements may run in between."""
    first, further = _paged(table, key)
    last: Any = None
    while True:
        rows = connection.execute(*((first,) if last is None else (further, {"last": last}))).fetchall()
        yield from rows
        if len(rows) < AT_ONCE:
            return
        last = rows[-1]._mapping[key]


_LOOSE = sa.select(plant_write).where(
    plant_write.c.intent_id.is_(None), plant_write.c.status.in_(("applied", "found_applied", "intended"))
)


def _of_cells(connection: Connection, seals: Seals) -> Iterator[Look]:
    for number in sorted(connection.execute(_CELL_INTENTS).scalars()):
        yield of_cells(cells_of(connection, number), number, seals)
    loose = connection.execute(_LOOSE).fetchall()
    yield Look([Altered(row.project, "plant_write", str(row.id), ADDED) for row in loose])


def _of_changes(connection: Connection, seals: Seals) -> Iterator[Look]:
    """The entries of a call are held until all of them came by, since other calls wrote in between."""
    pruned = pruned_before(connection)
    numbers = connection.execute(sa.select(project_table.c.number, project_table.c.name))
    names = {row.number: row.name for row in numbers}
    held: dict[int, list[Row[Any]]] = {}
    seen: Counter[int] = Counter()
    older = 0

    def whose(number: int) -> Whose:
        return Whose(names.get(number, "?"), seals, pruned)

    for row in _pages(connection, change, change.c.id):
        number = row.intent_id
        if seals.system.is_older("change", row):
            older += 1
            continue
        batches, place = seals.batches.get(number, []), seen[number]
        if place == len(batches):
            yield Look([Altered(names.get(row.project, "?"), "change", str(row.id), ADDED)])
            continue
        rows = held.setdefault(number, [])
        rows.append(row)
        if len(rows) == batches[place].rows:
            del held[number]
            seen[number] += 1
            yield of_changes(connection, rows, [batches[place]], whose(batches[place].project))
    for number, batches in seals.batches.items():
        if left := batches[seen[number] :]:
            yield of_changes(connection, held.get(number, []), left, whose(left[0].project))
    yield Look(older=older)
