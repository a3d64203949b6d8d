"""A seal is made: the digests of rows enter their chain, in the transaction that wrote the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.state import audit
from plant3d_sync.state.seals.covered import (
    ACTOR,
    AT_ONCE,
    CELL_COLUMNS,
    ENDED,
    KINDS,
    REQUESTS,
    ROWS,
    SEALED,
    SYSTEM,
    RowKind,
    chain_name,
)
from plant3d_sync.state.seals.digests import digest_of_row, marks_of
from plant3d_sync.state.tables import plan, plant_write

_THESE = {
    name: sa.select(kind.table).where(kind.key.in_(sa.bindparam("keys", expanding=True))).order_by(kind.key)
    for name, kind in KINDS.items()
}
_ONE_PLAN = sa.select(plan).where(plan.c.id == sa.bindparam("wanted"))


def enter(connection: Connection, chain: str, at: float, **facts: object) -> None:
    """One more entry of a chain of seals."""
    audit.append(connection, chain, action=SEALED, actor=ACTOR, at=at, **facts)


def seal(connection: Connection, kind: RowKind, keys: Iterable[object], *, at: float) -> None:
    """Enter the digests of these rows as they are now, in the transaction that wrote them."""
    what = KINDS[kind]
    wanted = list(keys)
    for start in range(0, len(wanted), AT_ONCE):
        rows = connection.execute(_THESE[kind], {"keys": wanted[start : start + AT_ONCE]}).fetchall()
        by_chain: dict[str, dict[str, str]] = {}
        for row in rows:
            chain = what.chain if what.chain == SYSTEM else chain_name(what.chain, row.project)
            name = f"{kind}:{row._mapping[what.key]}"
            by_chain.setdefault(chain, {})[name] = digest_of_row(row, what.columns)
        for chain, digests in by_chain.items():
            enter(connection, chain, at, rows=digests)


def seal_plan(
    connection: Connection, project: str, plan_id: str, chunks: Sequence[str], *, at: float
) -> None:
    """A new plan, with the digest of each chunk of its steps."""
    row = connection.execute(_ONE_PLAN, {"wanted": plan_id}).one()
    digests = {f"plan:{plan_id}": digest_of_row(row, KINDS["plan"].columns)}
    enter(connection, chain_name(ROWS, project), at, rows=digests, chunks={f"chunks:{plan_id}": list(chunks)})


def seal_changes(
    connection: Connection, project: str, first: Mapping[str, Any], lines: Sequence[bytes], *, at: float
) -> str:
    """The change entries of one call, of which `first` names project, run and intent; returns their digest.

    `lines`: see `audit.change_lines`; computed where the rows are written, so nothing is read again.
    """
    digest = audit.digest_of_lines(lines)
    facts = {
        "project": first["project"],
        "run": first["run_id"],
        "intent": first["intent_id"],
        "rows": len(lines),
        "digest": digest,
        "marks": marks_of(lines),
    }
    enter(connection, chain_name(ROWS, project), at, changes=facts)
    return digest


def seal_cells(connection: Connection, project: str, intent_id: int, *, at: float) -> None:
    """The before-images of one intent as they are now."""
    digests = [digest_of_row(row, CELL_COLUMNS) for row in cells_of(connection, intent_id)]
    enter(connection, chain_name(ROWS, project), at, rows={f"cells:{intent_id}": digests})


def cells_of(connection: Connection, intent_id: int) -> Sequence[Row[Any]]:
    """The before-images of one intent, in the order they were stored."""
    return connection.execute(
        sa.select(plant_write).where(plant_write.c.intent_id == intent_id).order_by(plant_write.c.id)
    ).fetchall()


def end_request(connection: Connection, project: str, run_id: str, *, at: float) -> None:
    """A request that is not to be carried out any more, whatever its row may say later."""
    enter(connection, chain_name(REQUESTS, project), at, rows={f"run:{run_id}": ENDED})
