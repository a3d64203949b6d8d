"""What the other side refused, at the end of a run: it goes into the quarantine, and leaves it when it is refused no more."""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.model.fields import attribute_key
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import Direction
from plant3d_sync.reconcile.quarantine import IGNORED
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.project import Project
from plant3d_sync.run.report import Report
from plant3d_sync.run.standing import lasts
from plant3d_sync.state import Connection, quarantine
from plant3d_sync.state import projects as project_state


def keep(connection: Connection, project: Project, asked: Asked, planned: Planned, report: Report) -> None:
    """What was refused and lasts goes in; a run that compared everything lets the rest out."""
    number, name = project_state.ensure(connection, project.name).number, project.name
    errors = [error for error in report.errors if lasts(error)]
    pnpids = {error.pnpid for error in errors if error.pnpid is not None}
    pulls = asked.direction is not Direction.PUSH
    pushes = asked.direction is not Direction.PULL
    at = report.completed_at or 0.0
    is_left_out = _left_out(planned.sides.rules)
    quarantine.keep(
        connection,
        number,
        name,
        quarantine.Looked(
            errors=errors,
            at=at,
            entity_of=_entities(planned.sides.rules, errors),
            drawing_of=planned.sides.snapshot.drawings_of(pnpids),
            settled=[
                side for side, done in (("synapse", pulls), ("plant3d", pushes)) if done and asked.whole
            ],
            aside=planned.draft.uncompared,
            run_id=report.run_id,
            is_left_out=is_left_out,
            left_alone={
                int(str(one.data["quarantine"])) for one in planned.draft.findings if one.code == IGNORED
            },
        ),
    )
    if asked.whole and not pushes:
        quarantine.forget_pushes(connection, number, name, at=at, is_left_out=is_left_out)
    quarantine.end_moved(connection, number, name, at=at)


def keep_of_stored(connection: Connection, sides: Sides, report: Report, execution: Execution) -> None:
    """A stored plan says nothing of rows that it does not name: none leaves the quarantine."""
    errors = [error for error in execution.outcome.errors if lasts(error)]
    quarantine.keep(
        connection,
        execution.known.number,
        execution.project.name,
        quarantine.Looked(
            errors=errors,
            at=report.completed_at or 0.0,
            entity_of=_entities(execution.rules, errors),
            drawing_of=sides.snapshot.drawings_of({error.pnpid for error in errors if error.pnpid}),
        ),
    )


def _left_out(rules: RuleSet) -> quarantine.LeftOut:
    """What this mapping does not carry: the field is not in it, or SYNAPSE's value of it may not go into Plant 3D."""

    def is_left_out(class_name: str, side: str, field: str) -> bool:
        of_class = rules.classes.get(class_name)
        if of_class is None or not field:
            return False
        rule = of_class.fields.get(field)
        if side == "plant3d":
            return rule is None or not rule.push
        return rule is None and (field == "description" or attribute_key(field) is not None)

    return is_left_out


def _entities(rules: RuleSet, errors: Sequence[RowError]) -> dict[int, str]:
    """What the items of these errors become, where the mapping says so."""
    found: dict[int, str] = {}
    for error in errors:
        rule = rules.classes.get(error.class_name or "")
        if error.pnpid is not None and rule is not None:
            found[error.pnpid] = str(rule.entity)
    return found
