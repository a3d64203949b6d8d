"""What the last complete decision rested on, and whether any of it moved: the test in front of every run.

A decision stands until one of its inputs moves: the file, SYNAPSE's feed, the mapping, the settings (and the version of
this program), a word of a person or anything else that asked for a comparison (`project.stirs`), the lock files of the
drawings if something waits for one, or a date that the decision itself names. While it stands, a run reports what waits
as that decision found it, and reads nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import asdict

from plant3d_sync import __version__
from plant3d_sync.model.coverage import ProjectCoverage, ProjectCoverageDocument
from plant3d_sync.model.moment import posix
from plant3d_sync.model.plan import STAT_NAMES, GuardHit, RowError
from plant3d_sync.model.schema import StepDocument
from plant3d_sync.model.side import Direction, Entity, WriteMode
from plant3d_sync.reconcile import missing
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.project import Project, ProjectConfig
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.report import Report, add_stats
from plant3d_sync.state import Connection, links
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.quarantine import LOOK_AGAIN_SECONDS

DRAWING_CODES: Final = frozenset(
    {"drawing_open", "project_settings_open", "drawing_folder_unseen", "drawing_unseen"}
)
"""What waits for these waits for a lock file to go."""

_AT_ONCE: Final = frozenset(
    {
        "source_locked",
        "source_slow",
        "source_hot_journal",
        "source_replaced",
        "source_io",
        "source_read_only",
        "source_login_failed",
        "source_away",
        "no_space",
        "connection_lost",
        "outcome_unknown",
        "unknown_outcome",
        "value_moved",
        "stamp_moved",
        "synapse_moved",
        "item_gone",
        "item_replaced",
        "read_back_differs",
        "stale",
        "waiting",
    }
)
"""Codes of steps that the next run simply tries again: nothing that we could look at tells when it will work."""

_AT_REST: Final = ("total", "skipped", "errors", "conflicts", "missing", "findings")


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of the inputs without reading either side. `doors`: lock files of the drawings, None unwatched."""

    settings: str
    doors: str | None

    @classmethod
    def of(cls, project: Project, known: ProjectState) -> Inputs:
        """As they are now. Taken before the sides are read: what moves meanwhile counts as moved."""
        return cls(
            settings=_settings(project, known), doors=project.doors() if project.doors is not None else None
        )


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a quiet run repeats of the run that decided. `errors`: how many row errors it told of."""

    outcome: str
    by_entity: dict[str, dict[str, int]]
    push_stats: dict[str, int] | None
    push_only: dict[str, int]
    waiting_for_person: dict[str, int]
    guards: list[GuardHit]
    errors: int
    coverage: ProjectCoverageDocument | None = None
    schema_step: StepDocument | None = None
    planned_writes: dict[str, int] | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last decision that was made on everything. Times are POSIX seconds on our clock.

    `waiting`: how much waits for somebody or something. `due_at`: the earliest date it names. `told`: what a report says of it.
    """

    run_id: str
    plan_id: str | None
    at: float
    signature: str
    settings: str
    doors: str | None
    stirs: int
    direction: str
    waiting: int
    due_at: float | None
    told: Told

    @classmethod
    def of(cls, stored: Mapping[str, object]) -> Standing | None:
        """What is stored; None if nothing is, or another version stored it."""
        try:
            return msgspec.convert(stored, cls) if stored else None
        except msgspec.ValidationError:
            return None

    def moved(self, known: ProjectState, asked: Asked, inputs: Inputs, now: float) -> str:
        """What makes a run compare again, "" if this decision still stands. The file and the feed are the caller's."""
        if asked.full:
            return "full"
        if self.stirs != known.stirs:
            return "stirred"
        if self.settings != inputs.settings:
            return "settings"
        if not self._covers(asked):
            return "asked"
        if now < self.at or (self.due_at is not None and now >= self.due_at):
            return "due"
        return "doors" if self.doors is not None and self.doors != inputs.doors else ""

    def _covers(self, asked: Asked) -> bool:
        """Whether a run that is asked for this has nothing else to do than the run that decided."""
        if self.direction == Direction.PUSH.value or self.waiting:
            whole = asked.entities == frozenset(Entity) and asked.only_assets is None
            return self.direction == asked.direction.value and whole
        return True


def stands_so_far(known: ProjectState, asked: Asked, inputs: Inputs, now: float) -> bool:
    """Whether nothing that can be seen without the file and the feed speaks against the last decision."""
    decided = Standing.of(known.standing)
    return decided is not None and not decided.moved(known, asked, inputs, now)


def still_stands(
    project: Project, known: ProjectState, asked: Asked, inputs: Inputs, feed: Feed, now: float
) -> Standing | None:
    """The last decision, if none of its inputs moved: not the feed, which was just read, nor the file either."""
    decided = Standing.of(known.standing)
    if decided is None or decided.moved(known, asked, inputs, now):
        return None
    if feed.news or feed.unlinked or feed.reset:
        return None
    return decided if project.source.signature() == decided.signature else None


def _settings(project: Project, known: ProjectState) -> str:
    """Digest of everything configured, and of whether SYNAPSE's clock can be compared with ours."""
    config = {
        name: sorted(map(str, value)) if isinstance(value, frozenset) else str(value)
        for name, value in asdict(project.config).items()
    }
    text = repr((__version__, project.mapping_token(), sorted(config.items()), known.skew is None))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# ---------------------------------------------------------------- how long it stands


class LeftToDo(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves to later ones.

    `waiting`: how much waits for somebody or something. `errors`: what was not carried out. `misses`: steps whose condition
    failed in SYNAPSE, which the next run decides anew. `retries`: when what the other side refused is offered again.
    `told_once`: whether something was said of what this run itself ended; the next one does not say it any more.
    """

    waiting: int
    errors: Sequence[RowError] = ()
    misses: int = 0
    retries: Sequence[float] = ()
    told_once: bool = False


def due_at(
    connection: Connection, number: int, config: ProjectConfig, left: LeftToDo, *, read_at: float, now: float
) -> float | None:
    """The earliest date that what was decided names, None if nothing waits.

    `read_at`: when the decision looked at the items; a date before that was passed over by it on purpose.
    """
    if left.told_once:
        return now
    if not left.waiting:
        return None
    codes = {error.code for error in left.errors} - DRAWING_CODES
    if (
        left.misses
        or codes & (_AT_ONCE | _DECIDED_ANEW)
        or links.any_pending(connection, number, "resolving")
    ):
        return now
    dates = [now + LOOK_AGAIN_SECONDS]
    dates += [max(now, at) for at in left.retries]
    steps = [missing.next_step(one, config.missing) for one in links.absences(connection, number)]
    if config.write is WriteMode.WORKBOOK:
        age = config.workbook_days * 86_400
        steps += [posix(since) + age for since in links.waiting_since(connection, number)]
    return min([*dates, *(step for step in steps if step >= read_at - 0.001)])


_DECIDED_ANEW: Final = frozenset(
    {"version_mismatch", "field_version_mismatch", "archived", "exists", "not_found"}
)
"""Refusals by SYNAPSE that show what it holds: the next decision takes it into account."""


def lasts(error: RowError) -> bool:
    """Whether an error stays until somebody does something: neither a moment's trouble nor a drawing that is open."""
    return error.code not in _AT_ONCE | DRAWING_CODES | _DECIDED_ANEW


# ---------------------------------------------------------------- what is reported of it


def told_of(report: Report) -> Told:
    """How everything stands, nothing of what the run did."""
    return Told(
        outcome=report.outcome,
        by_entity={name: _still(stats, report) for name, stats in report.by_entity.items()},
        push_stats=None if report.push_stats is None else _push_still(report.push_stats, report),
        push_only=_push_still(report.stats, report),
        waiting_for_person=report.waiting_for_person,
        guards=report.guards,
        errors=len(report.errors),
        coverage=None if report.coverage is None else report.coverage.to_dict(),
        schema_step=report.schema_step,
        planned_writes=report.planned_writes if report.guards else None,
    )


def repeat(decided: Standing, asked: Asked, report: Report, errors: Sequence[RowError]) -> None:
    """Fill the report of a run in which nothing moved: the counts, the outcome and the errors of the decision."""
    told = decided.told
    push = told.push_stats or dict.fromkeys(STAT_NAMES, 0)
    if asked.direction is Direction.PUSH:
        report.stats = dict(told.push_only if decided.direction == Direction.PUSH.value else push)
    else:
        kinds = {entity.value for entity in asked.entities}
        report.by_entity = {name: dict(stats) for name, stats in told.by_entity.items() if name in kinds}
        report.stats = totals(report.by_entity)
    if asked.direction is Direction.BOTH:
        report.pull_stats = dict(report.stats)
    if asked.direction is not Direction.PULL:
        report.push_stats = dict(push)
    covered = None if told.coverage is None else ProjectCoverage.from_dict(told.coverage)
    if asked.direction is not Direction.PUSH and covered is not None:
        report.coverage = covered = covered.of(report.by_entity)
    report.schema_step = told.schema_step
    below = covered is not None and covered.below
    asked_or_refused = bool(errors) or report.stats["conflicts"] > 0
    left = decided.waiting or asked_or_refused or below or told.schema_step is not None
    report.outcome = told.outcome if left else "clean"
    report.waiting_for_person = dict(told.waiting_for_person)
    report.guards = told.guards
    report.errors = list(errors)
    if report.guards:
        report.plan_id = decided.plan_id
        report.planned_writes = told.planned_writes


def _still(stats: Mapping[str, int], report: Report) -> dict[str, int]:
    """A guarded plan is repeated as it is: its counts say already that nothing of it was done."""
    return dict(stats) if report.guards else _at_rest(stats)


def _push_still(stats: Mapping[str, int], report: Report) -> dict[str, int]:
    """What is left to push; what was pushed is done."""
    if report.guards:
        return dict(stats)
    left = {name: stats.get(name, 0) for name in ("skipped", "errors", "conflicts", "findings")}
    return {**dict.fromkeys(STAT_NAMES, 0), **left, "total": left["skipped"] + left["errors"]}


def _at_rest(stats: Mapping[str, int]) -> dict[str, int]:
    left = {name: stats.get(name, 0) for name in _AT_REST}
    return {
        **dict.fromkeys(STAT_NAMES, 0),
        **left,
        "unchanged": left["total"] - left["skipped"] - left["errors"],
    }


def totals(by_entity: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The sum over the kinds."""
    total = dict.fromkeys(STAT_NAMES, 0)
    for counts in by_entity.values():
        total = add_stats(total, counts)
    return total
