"""Runs, plans and findings as documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from plant3d_sync.model.document import Document
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.model.sentence import Gone, gone, sentences
from plant3d_sync.model.step import Absent, Archive, Push, Step, Touch, document
from plant3d_sync.run import leftovers
from plant3d_sync.run.project import iso
from plant3d_sync.run.report import always
from plant3d_sync.state import Connection, plans
from plant3d_sync.state import runs as run_state
from plant3d_sync.state.plans import WAITING
from plant3d_sync.state.runs import Run, StoredPlan


def run_document(run: Run) -> Document:
    """One run: what was asked, what came of it."""
    whole: Document = {
        "by_entity": {},
        "writes": {"synapse": 0, "plant3d": 0},
        "lock_ms": 0.0,
        "guards": [],
        "waiting_for_person": {},
        **always(),
        **run.result,
        "run_id": run.run_id,
        "sync_id": run.run_id,
        "project": run.project,
        "project_id": run.project,
        "direction": run.direction,
        "trigger": run.trigger,
        "requested_by": run.requested_by,
        "request_id": run.request_id,
        "status": run.status,
        "outcome": run.outcome,
        "dry_run": run.dry_run,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "completed_at": iso(run.completed_at),
        "plan_id": run.plan_id,
        "stats": dict.fromkeys(STAT_NAMES, 0) | run.stats,
        "errors_total": run.errors_total,
        "error": run.error,
    }
    return whole


def plan_brief(stored: StoredPlan) -> Document:
    """One plan without its steps, for a list."""
    return {
        "plan_id": stored.plan_id,
        "direction": stored.direction,
        "status": stored.status,
        "created_at": iso(stored.created_at),
        "created_by": stored.created_by,
        "undo_of": stored.undo_of,
        "lines": stored.lines,
        "remembered": stored.remembered,
    }


def waiting_briefs(connection: Connection, project: str, *, limit: int) -> tuple[list[Document], int]:
    """Plans of a project that wait for a person, newest first, and how many there are."""
    found = plans.waiting(connection, project)
    stored = (run_state.get_plan(connection, one.plan_id) for one in reversed(found[-limit:]))
    return [plan_brief(one) for one in stored if one is not None], len(found)


def plan_steps(connection: Connection, stored: StoredPlan) -> list[Step]:
    """The steps of a plan that people are shown: all but those that only remember what was seen."""
    return [step for step in run_state.all_steps(connection, stored) if not isinstance(step, Touch)]


def plan_document(connection: Connection, stored: StoredPlan, steps: Sequence[Step]) -> Document:
    """One plan with these steps (`lines`), and what of them waits for a person.

    `remembered`: how many others it has, which only update what is remembered.
    """
    by_person = stored.status not in WAITING and leftovers.applied_by_person(connection, stored)
    waiting = () if by_person else (step.op.value for step in steps if _needs(step) == "person")
    return {
        "plan_id": stored.plan_id,
        "project": stored.project,
        "direction": stored.direction,
        "status": stored.status,
        "fingerprint": stored.fingerprint,
        "note": leftovers.note(connection, stored),
        **stored.header,
        "waiting_for_person": dict(Counter(waiting)),
        "remembered": stored.lines - len(steps),
        "lines": [document(step) for step in steps],
    }


def plan_sentences(stored: StoredPlan, steps: Iterable[Step]) -> list[str]:
    """What the steps say of themselves."""
    needed = reads_needed(stored)
    return [sentence for step in steps for sentence in sentences(step, needed=needed)]


def reads_needed(stored: StoredPlan) -> int | None:
    """After how many reads an absent item counts as gone, by the rules of this plan."""
    needed = stored.header.get("reads_until_pending")
    return needed if isinstance(needed, int) else None


def _needs(step: Step) -> str | None:
    """Who must carry the step out, if no unattended run may."""
    return step.needs if isinstance(step, Archive | Push) else None


class MissingItem(msgspec.Struct, frozen=True):
    """An item that a run did not find in Plant 3D. `needed`: how many reads are asked for."""

    step: Absent | Archive
    gone: Gone
    needed: int | None

    def to_dict(self) -> Document:
        """For programs."""
        return {
            "op": self.step.op.value,
            "tag": self.step.tag,
            "class": self.step.class_name,
            "pnpid": self.step.pnpid,
            "state": self.gone.state.value,
            "since": self.gone.since,
            "reads": self.gone.reads,
            "needs": self.gone.needs,
            "reads_until_pending": self.needed,
        }

    def sentences(self) -> list[str]:
        """For people."""
        return sentences(self.step, needed=self.needed)


def missing_items(connection: Connection, run: Run) -> list[MissingItem]:
    """Items that a run did not find in Plant 3D: how many reads counted, and how many are asked for."""
    stored = run_state.get_plan(connection, run.plan_id) if run.plan_id else None
    if stored is None or not run.stats.get("missing"):
        return []
    return [
        MissingItem(step, told, reads_needed(stored))
        for step in run_state.all_steps(connection, stored)
        if isinstance(step, Absent | Archive) and (told := gone(step)) is not None
    ]
