"""Counts of a run that did not tell them itself: taken from the changes that are recorded under it.

A killed run says nothing, and a write whose reply was lost is found later, by another run. Both are recorded as
changes of the run that made them, so that the counts over the history add up to what is in SYNAPSE and Plant 3D.
"""

from __future__ import annotations

from typing import Any

from plant3d_sync.model.plan import STAT_NAMES, Op
from plant3d_sync.model.run import is_live
from plant3d_sync.model.side import Direction
from plant3d_sync.model.tally import STATISTIC, WRITTEN
from plant3d_sync.state import Connection, cells, intents, runs
from plant3d_sync.state.runs import Run


def recount(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Bring the counts of an ended run up to what is recorded of it, and return its result.

    A run that goes on counts for itself: None.
    """
    run = runs.get(connection, run_id)
    if run is None or is_live(run.status):
        return None
    result = dict(run.result) or _meant(connection, run)
    written = cells.count_written(connection, run_id)
    by_entity = _by_entity(connection, run_id)
    if run.direction != Direction.PUSH.value:
        _set(result["stats"], by_entity.values())
        for name, stats in result["by_entity"].items():
            _set(stats, [by_entity.get(name, {})])
        if "pull_stats" in result:
            result["pull_stats"] = dict(result["stats"])
    if "push_stats" in result:
        result["push_stats"] = {**result["push_stats"], "updated": written}
    if run.direction == Direction.PUSH.value:
        result["stats"] = {**result["stats"], "updated": written}
    result["writes"] = {"synapse": intents.count_sent(connection, run_id), "plant3d": written}
    runs.update(connection, run_id, stats=result["stats"], result=result)
    return result


def _meant(connection: Connection, run: Run) -> dict[str, Any]:
    """The result of a run that told none: what its plan counted, if there was one."""
    stored = runs.get_plan(connection, run.plan_id) if run.plan_id else None
    header = stored.header if stored is not None else {}
    nothing = dict.fromkeys(STAT_NAMES, 0)
    meant: dict[str, Any] = {
        "run_id": run.run_id,
        "plan_id": run.plan_id,
        "project": run.project,
        "direction": run.direction,
        "status": run.status,
        "outcome": run.outcome,
        "stats": dict(header.get("stats") or nothing),
        "by_entity": {name: dict(stats) for name, stats in (header.get("by_entity") or {}).items()},
        "planned_writes": header.get("writes"),
    }
    if run.direction != Direction.PULL.value:
        meant["push_stats"] = dict(header.get("push_stats") or nothing)
    if run.direction == Direction.BOTH.value:
        meant["pull_stats"] = dict(meant["stats"])
    if run.direction == Direction.PUSH.value:
        meant["stats"], meant["by_entity"] = dict(meant["push_stats"]), {}
    return meant


def _set(stats: dict[str, int], counts: Any) -> None:
    """Put what was done into the statistics that count it."""
    stats |= dict.fromkeys(WRITTEN, 0)
    for one in counts:
        for name, number in one.items():
            stats[name] += number


def _by_entity(connection: Connection, run_id: str) -> dict[str, dict[str, int]]:
    """Kind of item -> statistic -> items, of what the run wrote into SYNAPSE."""
    found: dict[str, dict[str, int]] = {}
    for entity, op, items in intents.counts_of_run(connection, run_id):
        if op in STATISTIC:
            name = STATISTIC[Op(op)]
            counts = found.setdefault(entity, {})
            counts[name] = counts.get(name, 0) + items
    return found


__all__ = ["recount"]
