"""Rows that were altered from outside are set aside: none of them leads to a write, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable

from plant3d_sync.model.run import Ending, RunOutcome
from plant3d_sync.run.project import World
from plant3d_sync.state import (
    Connection,
    acknowledgements,
    audit,
    cells,
    intents,
    keys,
    lines,
    plans,
    runs,
    seals,
)
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.audit import Broken

REFUSED = "refused"
"""Status of an intent that was set aside: the next run compares what it may have written."""


def set_aside(world: World, *, by: str) -> list[Broken]:
    """Close every row that `audit verify` names, as far as it could still lead to a write; returns those rows.

    A plan is superseded, an open intent is left to the next comparison, a choice is void, a word about a refused row or a
    finding ends, a request ends, a key is revoked, what lines are made of is forgotten. Change entries and before-images stay named: their runs cannot be undone. Audited.
    """
    with world.state.read() as connection:
        found = [item for item in seals.verify(connection).broken if item.row is not None]
    if not found:
        return []
    by_table: dict[str, list[str]] = {}
    for item in found:
        by_table.setdefault(str(item.table), []).append(str(item.row))
    now = world.clock()
    with world.state.write() as connection:
        altered = {*by_table.get("plan", ()), *(row.split("/")[0] for row in by_table.get("plan_chunk", ()))}
        for plan_id in sorted(altered):
            plans.supersede(connection, plan_id, at=now)
        _intents(connection, by_table, altered, now)
        words = [int(row) for row in by_table.get("acknowledgement", ())]
        acknowledgements.end(connection, words, acknowledgements.ALTERED, at=now)
        acknowledgements.reseal(connection, words, at=now)
        numbers = [int(row) for row in by_table.get("conflict", ())]
        conflict_state.void(connection, numbers, "the row was altered from outside", at=now)
        _requests(connection, by_table.get("run", ()), now)
        for key_id in by_table.get("api_key", ()):
            keys.end_altered(connection, key_id, now=now)
        for name in sorted({audit.project_of(item.project) for item in found}):
            rows = [f"{item.table} {item.row}" for item in found if audit.project_of(item.project) == name]
            audit.append(connection, name, action="rows.set_aside", actor=by, at=now, rows=rows)
            known = project_state.get(connection, name)
            if known is not None:
                if any(item.table == "line_members" and item.project in (name, "?") for item in found):
                    lines.forget(connection, name, known.number, at=now)
                project_state.update(connection, name, force_compare=True)
    return found


def _intents(connection: Connection, by_table: dict[str, list[str]], plan_ids: set[str], now: float) -> None:
    altered = [int(row) for row in by_table.get("plant_write", ()) if row.isdigit()]
    named = [int(row) for row in by_table.get("intent", ())]
    of_cells = cells.intents_of(connection, altered)
    for intent_id, plan_id in intents.all_open(connection):
        if intent_id in named or plan_id in plan_ids or intent_id in of_cells:
            intents.close(connection, intent_id, status=REFUSED, at=now)
    seals.seal(connection, "intent", named, at=now)


def _requests(connection: Connection, ids: Iterable[str], now: float) -> None:
    for run_id in ids:
        found = runs.get(connection, run_id)
        if found is None:
            continue
        if found.status == "queued":
            ending = Ending(at=now, outcome=RunOutcome.CANCELLED, error=found.error)
            runs.end(connection, run_id, ending)
        seals.end_request(connection, found.project, run_id, at=now)
