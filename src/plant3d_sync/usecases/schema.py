"""A change of the schema that waits: shown now, and accepted by a person."""

from __future__ import annotations

from typing import TypedDict

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.schema import Schema
from plant3d_sync.run.project import Project
from plant3d_sync.run.schema import Look, look_at
from plant3d_sync.state import State, audit, schemas
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.schemas import Kept


def look_now(state: State, project: Project, at: float) -> Look:
    """Read the source and compare. Writes nothing. `at`: POSIX seconds. Raises what a read of the source raises."""
    snapshot = project.source.snapshot()
    try:
        rules = project.rules(snapshot.catalog)
        with state.read() as connection:
            known = project_state.get(connection, project.name)
            if known is None:
                return Look(kept=None, now=Schema(mapping=project.mapping_token(), classes=rules.used))
            return look_at(connection, known.number, project.mapping_token(), rules, snapshot, at)
    finally:
        snapshot.close()


class Accepted(TypedDict):
    """The step that was accepted, with what it says of each change."""

    project: str
    accepted: str
    changes: list[dict[str, object]]


def accept(state: State, name: str, *, step: str | None, by: str, at: float) -> Accepted:
    """Accept the step that waits, as the last look found it. `step`: its id, if only that one is meant.

    Raises NotFoundError `schema_no_step`; NeedsPersonError `schema_moved` when another one waits. Decides nothing by itself:
    the next run compares, and nothing is archived by it.
    """
    with state.write() as connection:
        known = project_state.get(connection, name)
        kept = schemas.get(connection, known.number) if known is not None else None
        if known is None or kept is None or kept.offered is None:
            raise NotFoundError(
                f"No change of the schema of {name} waits. Nothing was done.",
                hint="`plant3d-sync schema show` compares now.",
                code="schema_no_step",
            )
        if step is not None and step != kept.step["step"]:
            raise NeedsPersonError(
                f"The schema of {name} changed since: step {kept.step['step']} waits, not {step}. Nothing was accepted.",
                hint="Look at it again, then accept it.",
                code="schema_moved",
            )
        schemas.put(connection, known.number, Kept(accepted=kept.offered, accepted_at=at, accepted_by=by))
        project_state.update(connection, name, force_compare=True)
        audit.append(
            connection,
            name,
            action="schema.accepted",
            actor=by,
            at=at,
            step=kept.step["step"],
            changes=[change["message"] for change in kept.step["changes"]],
        )
    return {"project": name, "accepted": kept.step["step"], "changes": kept.step["changes"]}
