"""The words of a run, and what each of them means.

`status` says where a run stands, `outcome` how it ended. Neither alone says that its work was done: a request that
another run covered, a run that a person cancelled and one that a guard stopped are all `completed`. Whoever needs
one of those meanings asks for it here by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec


class RunStatus(StrEnum):
    """Where a run stands: the plan's four words."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class RunOutcome(StrEnum):
    """How a run ended."""

    CLEAN = "clean"
    WITH_ISSUES = "with_issues"
    GUARDED = "guarded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ends: what its row says from then on. None leaves what stands there; only an error that is not given goes.

    `at`: POSIX seconds. `errors`: its row errors, as stored. `errors_total`: how many it tells of, where they are kept
    with another run whose decision it repeats.
    """

    at: float
    outcome: RunOutcome
    status: RunStatus = RunStatus.COMPLETED
    error: Mapping[str, object] | None = None
    plan_id: str | None = None
    stats: Mapping[str, object] | None = None
    result: Mapping[str, object] | None = None
    errors: Sequence[Mapping[str, object]] | None = None
    errors_total: int | None = None


LIVE = (RunStatus.QUEUED.value, RunStatus.RUNNING.value)
"""Statuses of a run that may still do something."""

OVER = (RunStatus.COMPLETED.value, RunStatus.FAILED.value)
"""Statuses of a run that does nothing any more, whatever came of it."""

DONE = (RunOutcome.CLEAN.value, RunOutcome.WITH_ISSUES.value)
"""Outcomes of a run that did its work to the end."""


def is_over(status: str) -> bool:
    """Whether the run does nothing any more. It says nothing about success."""
    return status in OVER


def is_live(status: str) -> bool:
    """Whether the run waits or is going."""
    return status in LIVE


def did_its_work(status: str, outcome: str | None) -> bool:
    """Whether the run came to its own end: everything that could be written was, and what could not is reported."""
    return status == RunStatus.COMPLETED and outcome in DONE


def read_both_sides(status: str, outcome: str | None) -> bool:
    """Whether the run reached Plant 3D and SYNAPSE: one that a guard stopped had read both before."""
    return did_its_work(status, outcome) or (
        status == RunStatus.COMPLETED and outcome == RunOutcome.GUARDED.value
    )
