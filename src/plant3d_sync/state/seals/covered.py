"""What is sealed: the tables, their columns under a seal, and the chain that holds the seals of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from plant3d_sync.state.tables import (
    Name,
    acknowledgement,
    api_key,
    change,
    conflict,
    intent,
    plan,
    plant_write,
    run,
)

BEGUN = "seals.begun"
SEALED = "rows.sealed"
PRUNED = "retention.begun"
ACTOR = "plant3d-sync"
ROWS, CHOICES, REQUESTS, LINES = "rows", "choices", "requests", "lines"
SYSTEM = f"{ROWS}:system"
WAITING_PLANS = ("draft", "guarded", "approved", "applying")
ENDED = "ended"
"""Stands in place of a digest for a request that must never be carried out any more."""
AT_ONCE = 500
"""Keys in one statement, and digests in one entry."""

RowKind = Literal["plan", "intent", "conflict", "acknowledgement", "api_key", "run"]
"""A table whose rows are sealed one by one."""
Kind = RowKind | Literal["plant_write", "change"]
"""Those, and the tables whose rows are sealed together: the before-images of an intent, the changes of a call."""


class Covered(msgspec.Struct, frozen=True):
    """A table whose rows are sealed one by one, and the columns under the seal."""

    table: sa.Table
    key: sa.Column[Any]
    chain: str
    columns: tuple[str, ...]


def _all_but(table: sa.Table, *left_out: str) -> tuple[str, ...]:
    return tuple(str(column.name) for column in table.columns if column.name not in left_out)


KINDS: Mapping[RowKind, Covered] = {
    "plan": Covered(plan, plan.c.id, ROWS, _all_but(plan)),
    "intent": Covered(intent, intent.c.id, ROWS, _all_but(intent)),
    "conflict": Covered(conflict, conflict.c.seq, CHOICES, _all_but(conflict)),
    "acknowledgement": Covered(acknowledgement, acknowledgement.c.id, CHOICES, _all_but(acknowledgement)),
    "api_key": Covered(api_key, api_key.c.id, SYSTEM, _all_but(api_key, "last_used_at")),
    "run": Covered(
        run,
        run.c.id,
        REQUESTS,
        (
            "id",
            "project",
            "direction",
            "trigger",
            "requested_by",
            "request_id",
            "dry_run",
            "options",
            "created_at",
        ),
    ),
}
CELL_COLUMNS = _all_but(plant_write)
_TOGETHER = {"plant_write": CELL_COLUMNS, "change": _all_but(change)}


def columns(kind: Kind) -> tuple[str, ...]:
    """The columns of a table that are under a seal."""
    if kind == "plant_write" or kind == "change":
        return _TOGETHER[kind]
    return KINDS[kind].columns


def chain_name(kind: str, project: str) -> str:
    """The chain that holds a project's seals of one kind; a name too long for the column stands as its digest."""
    name = f"{kind}:{project}"
    if len(name) <= (Name.length or 0):
        return name
    return f"{kind}:{hashlib.blake2b(project.encode(), digest_size=20).hexdigest()}"
