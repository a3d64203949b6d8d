"""Stored rows against their seals: what was changed, added or removed by somebody else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, assert_never

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.model.run import OVER
from plant3d_sync.state import audit
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.seals.chains import Batch, ChainBroken, Seals
from plant3d_sync.state.seals.covered import CELL_COLUMNS, ENDED, KINDS, RowKind
from plant3d_sync.state.seals.digests import MARK, digest_of_row, is_piece, is_sealed, mark_of
from plant3d_sync.state.tables import audit as audit_table
from plant3d_sync.state.tables import plan_chunk

Deed = Literal[
    "was changed",
    "was added",
    "was removed",
    "was changed, moved or removed",
    "was changed, added or removed",
]
"""What somebody did to a row, as far as its seal tells; each is said in a sentence of its own."""
CHANGED: Final = "was changed"
ADDED: Final = "was added"
GONE: Final = "was removed"
MOVED: Final = "was changed, moved or removed"
TOUCHED: Final = "was changed, added or removed"


class Altered(msgspec.Struct, frozen=True):
    """A row that is not what was stored, or that nobody of ours stored."""

    project: str
    table: str
    row: str
    what: Deed

    def __str__(self) -> str:
        table, row, project = self.table, self.row, self.project
        match self.what:
            case "was changed":
                return f"{table} {row} of {project} was changed"
            case "was added":
                return f"{table} {row} of {project} was added"
            case "was removed":
                return f"{table} {row} of {project} was removed"
            case "was changed, moved or removed":
                return f"{table} {row} of {project} was changed, moved or removed"
            case "was changed, added or removed":
                return f"{table} {row} of {project} was changed, added or removed"
            case _:
                assert_never(self.what)

    def in_its_project(self) -> str:
        """The same, where the project is named already."""
        table, row = self.table, self.row
        match self.what:
            case "was changed":
                return f"{table} {row} was changed"
            case "was added":
                return f"{table} {row} was added"
            case "was removed":
                return f"{table} {row} was removed"
            case "was changed, moved or removed":
                return f"{table} {row} was changed, moved or removed"
            case "was changed, added or removed":
                return f"{table} {row} was changed, added or removed"
            case _:
                assert_never(self.what)


class Look(msgspec.Struct, frozen=True):
    """What a look at rows came to: what does not hold, and how many of them are older than the seals."""

    altered: Sequence[Altered] = ()
    older: int = 0


HOLDS, OLDER = Look(), Look(older=1)


def refusal(found: Sequence[Altered | str], nothing: str) -> NeedsPersonError:
    """Says which rows were altered, and that nothing was done with them. `nothing`: what did not happen."""
    first, more = found[0], len(found) - 1
    return NeedsPersonError(
        (
            f"The state database was altered from outside: {first}, and {more} more."
            if more
            else f"The state database was altered from outside: {first}."
        )
        + f" {nothing}",
        hint="`plant3d-sync audit verify` names every row. Restore the state database from a backup, or set the rows "
        "aside with `plant3d-sync audit set-aside`, then make a new plan.",
        code="row_altered",
        details={
            "rows": [
                {"project": one.project, "table": one.table, "row": one.row, "what": one.what}
                if isinstance(one, Altered)
                else {"what": one}
                for one in found[:100]
            ]
        },
    )


@contextmanager
def refused_if_broken(nothing: str) -> Iterator[None]:
    """Refuses what is to be done where a chain of seals does not hold. `nothing`: what did not happen."""
    try:
        yield
    except ChainBroken as error:
        what = f"the audit chain {error.chain} does not hold at entry {error.seq}"
        raise refusal([what], nothing) from error


def of_row(kind: RowKind, row: Row[Any], seals: Seals, project: str) -> Look:
    """A row that is sealed by itself."""
    what = KINDS[kind]
    key = row._mapping[what.key]
    sealed = seals.rows.get(f"{kind}:{key}")
    if sealed is not None:
        holds = row.status in OVER if sealed == ENDED else is_sealed(row, what.columns, sealed)
        return HOLDS if holds else Look([Altered(project, kind, str(key), CHANGED)])
    if kind == "plan" and row.lines == 0 and row.chunks == 0:
        return HOLDS  # nothing can be written by it
    if seals.system.is_older(kind, row):
        return OLDER
    return Look([Altered(project, kind, str(key), ADDED)])


def of_chunks(connection: Connection, plan_id: str, seals: Seals, project: str) -> Look:
    """The chunks of a plan's steps; one that is older than the seals has none."""
    sealed: Sequence[str] | None = seals.rows.get(f"chunks:{plan_id}")
    if sealed is None:
        return HOLDS
    rows = connection.execute(
        sa.select(plan_chunk.c.n, plan_chunk.c.lines)
        .where(plan_chunk.c.plan_id == plan_id)
        .order_by(plan_chunk.c.n)
        .execution_options(yield_per=10)
    )
    holds: dict[int, bool] = {}
    for n, stored in rows:
        is_known = 0 <= n < len(sealed)
        holds[n] = is_known and is_piece(stored if isinstance(stored, bytes) else b"", sealed[n])
    found = [
        Altered(project, "plan_chunk", f"{plan_id}/{n}", CHANGED if n in holds else GONE)
        for n in range(len(sealed))
        if not holds.get(n)
    ]
    added = [
        Altered(project, "plan_chunk", f"{plan_id}/{n}", ADDED) for n in sorted(holds) if n >= len(sealed)
    ]
    return Look([*found, *added])


def of_cells(rows: Sequence[Row[Any]], intent_id: int, seals: Seals) -> Look:
    """The before-images of one intent."""
    sealed: Sequence[str] | None = seals.rows.get(f"cells:{intent_id}")
    if sealed is None:
        older = [row for row in rows if seals.system.is_older("plant_write", row)]
        added = [Altered(row.project, "plant_write", str(row.id), ADDED) for row in rows if row not in older]
        return Look(added, len(older))
    digests = [digest_of_row(row, CELL_COLUMNS) for row in rows]
    found = [
        Altered(row.project, "plant_write", str(row.id), CHANGED)
        for row, digest in zip(rows, digests, strict=True)
        if digest not in sealed
    ]
    if not found and digests != list(sealed):
        where = f"(of intent {rows[0].intent_id})" if rows else "(of an intent)"
        found.append(Altered(rows[0].project if rows else "?", "plant_write", where, GONE))
    return Look(found)


class Whose(msgspec.Struct, frozen=True):
    """The project whose change entries are looked at, its seals, and before when some may be gone."""

    project: str
    seals: Seals
    pruned: float


def of_changes(
    connection: Connection, rows: Sequence[Row[Any]], batches: Sequence[Batch], whose: Whose
) -> Look:
    """The change entries of one intent, in the order they were stored."""
    older = [row for row in rows if whose.seals.system.is_older("change", row)]
    rest = rows[len(older) :]
    found: list[Altered] = []
    for batch in batches:
        part, rest = rest[: batch.rows], rest[batch.rows :]
        lines = [_line(row) for row in part]
        heads = all((row.project, row.run_id) == (batch.project, batch.run) for row in part)
        if heads and len(part) == batch.rows and audit.digest_of_lines(lines) == batch.digest:
            continue
        if not part:
            if batch.at >= whose.pruned:
                where = f"(of run {batch.run}, intent {batch.intent})"
                found.append(Altered(whose.project, "change", where, GONE))
            continue
        found += _which(connection, part, lines, batch, whose.project)
    found += [Altered(whose.project, "change", str(row.id), ADDED) for row in rest]
    return Look(found, len(older))


def _line(row: Row[Any]) -> bytes:
    return audit.change_lines([dict(row._mapping)])[0]


def _which(
    connection: Connection, rows: Sequence[Row[Any]], lines: Sequence[bytes], batch: Batch, project: str
) -> list[Altered]:
    """The rows of a batch that moved, by their marks."""
    body = connection.execute(
        sa.select(audit_table.c.body).where(
            audit_table.c.project == batch.chain, audit_table.c.seq == batch.seq
        )
    ).scalar()
    marks = base64.b64decode(load_map(body)["changes"]["marks"])
    sealed = [marks[start : start + MARK] for start in range(0, len(marks), MARK)]
    found = []
    for row, line in zip(rows, lines, strict=True):
        if mark_of(line) not in sealed or (row.project, row.run_id) != (batch.project, batch.run):
            found.append(Altered(project, "change", str(row.id), CHANGED))
    if not found:
        where = f"(one between {rows[0].id} and {rows[-1].id})"
        found.append(Altered(project, "change", where, MOVED))
    return found
