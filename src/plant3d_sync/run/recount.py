"""Counts of a run that did not tell them itself: taken from the changes that are recorded under it.

A killed run says nothing, and a write whose reply was lost is found later, by another run. Both are recorded as
changes of the run that made them, so that the counts over the history add up to what is in SYNAPSE and Plant 3D.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plant3d_sync.model.document import Document
from plant3d_sync.model.plan import STAT_NAMES, Op
from plant3d_sync.model.run import is_live
from plant3d_sync.model.side import Direction
from plant3d_sync.model.tally import STATISTIC, WRITTEN, Counts
from plant3d_sync.state import Connection, cells, intents, runs
from plant3d_sync.state.runs import Run


def recount(connection: Connection, run_id: str) -> Counts | None:
    """Bring the counts of an ended run up to what is recorded of it, and return them.

    A run that goes on counts for itself: None.
    """
    run = runs.get(connection, run_id)
    if run is None or is_live(run.status):
        return None
    result: Document = run.result or _meant(connection, run)
    counts = runs.counts_of(result)
    written = cells.count_written(connection, run_id)
    by_entity = _by_entity(connection, run_id)
    if run.direction != Direction.PUSH.value:
        _set(counts.stats, by_entity.values())
        for name, stats in counts.by_entity.items():
            _set(stats, [by_entity.get(name, {})])
        if counts.pull_stats is not None:
            counts.pull_stats = dict(counts.stats)
    if counts.push_stats is not None:
        counts.push_stats["updated"] = written
    if run.direction == Direction.PUSH.value:
        counts.stats["updated"] = written
    writes = {"synapse": intents.count_sent(connection, run_id), "plant3d": written}
    runs.update(
        connection, run_id, stats=counts.stats, result={**result, **counts.document(), "writes": writes}
    )
    return counts


def _meant(connection: Connection, run: Run) -> Document:
    """The result of a run that told none: what its plan counted, if there was one."""
    stored = runs.get_plan(connection, run.plan_id) if run.plan_id else None
    counts = stored.counts if stored is not None else Counts()
    if run.direction != Direction.PULL.value:
        counts.push_stats = counts.push_stats or dict.fromkeys(STAT_NAMES, 0)
    else:
        counts.push_stats = None
    if run.direction == Direction.BOTH.value:
        counts.pull_stats = dict(counts.stats)
    if run.direction == Direction.PUSH.value:
        counts.stats, counts.by_entity = dict(counts.push_stats or {}), {}
    return {
        "run_id": run.run_id,
        "plan_id": run.plan_id,
        "project": run.project,
        "direction": run.direction,
        "status": run.status,
        "outcome": run.outcome,
        "stats": counts.stats,
        "by_entity": counts.by_entity,
        "planned_writes": stored.writes if stored is not None else None,
        **counts.document(),
    }


def _set(stats: dict[str, int], counts: Iterable[Mapping[str, int]]) -> None:
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
