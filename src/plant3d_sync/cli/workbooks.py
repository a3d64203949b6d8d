"""The workbook route: plan the push, then put its cells where a designer can import and accept them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plant3d_sync.bootstrap import App
from plant3d_sync.cli.output import ProgressLine
from plant3d_sync.connectors.base import CellWrite
from plant3d_sync.connectors.plant3d.workbook import build_workbook, fill_export
from plant3d_sync.errors import GuardStop, NotFoundError
from plant3d_sync.model.ours import Origin
from plant3d_sync.model.plan import GuardHit, Tally
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.side import Direction, WriteMode
from plant3d_sync.model.step import Push
from plant3d_sync.reconcile.guard import check_amounts
from plant3d_sync.reconcile.merge import is_blank
from plant3d_sync.state import Connection, links, ours, runs, seals
from plant3d_sync.state import projects as project_state
from plant3d_sync.usecases.engine import Engine, Request
from plant3d_sync.usecases.lines import reading_of
from plant3d_sync.usecases.make_plan import GUARD_STATES, Asked
from plant3d_sync.usecases.project import World
from plant3d_sync.usecases.push import cells_of
from plant3d_sync.usecases.report import Report
from plant3d_sync.words import said

PUSHED = ("push_update", "push_blank")
"""Guards about what would reach Plant 3D."""


def make_workbook(
    app: App, name: str, *, export: Path | None, out: Path, language: str, approved: bool = False
) -> dict[str, Any]:
    """Write the workbook. Changes nothing but that file, the stored plan and the record of cells: what a designer may
    import any day is known as ours from then on. `approved`: however many items a workbook would newly change.

    The values stay open ("waiting") until a later read of Plant 3D shows that they were accepted.
    """
    if language not in ("en", "fr"):
        raise NotFoundError(
            f"{said(language)} is not a language of the workbook.", hint="en or fr.", code="language_unknown"
        )
    project = app.project(name)
    world = app.world(ProgressLine())
    plan = Engine(world, project).plan(
        Request(asked=Asked(direction=Direction.PUSH), dry_run=True, trigger="workbook")
    )
    _stop_if_guarded(
        plan.guards if not approved else [hit for hit in plan.guards if hit.name not in PUSHED], plan
    )
    with app.state.read() as connection:
        seals.one_moment(connection)
        seals.check_plan(connection, name, str(plan.plan_id), nothing="No workbook was written.")
        stored = runs.get_plan(connection, str(plan.plan_id))
        steps = runs.all_steps(connection, stored) if stored else iter(())
        pushes = [step for step in steps if isinstance(step, Push)]
        if project.config.write is WriteMode.OFF and not approved:
            _stop_if_guarded(
                check_amounts(_tally(connection, name, pushes), project.config.limits, first_sync=False), plan
            )
    cells = [cell for step in pushes for cell in cells_of(step)]
    _remember(world, name, str(plan.plan_id), cells)
    snapshot = project.source.snapshot()
    try:
        wanted = {cell.pnpid for cell in cells}
        rules = project.rules(snapshot.catalog)
        with app.state.read() as connection:
            known = project_state.get(connection, name)
            reading = rules.reading if known is None else reading_of(connection, known.number, rules)
        rows = {
            item.pnpid: _row(item)
            for batch in snapshot.scan(sorted(rules.classes), {}, reading)
            for item in batch.changed
            if item.pnpid in wanted
        }
        if export is not None:
            report = fill_export(
                export, cells, catalog=snapshot.catalog, out=out, language="fr" if language == "fr" else "en"
            )
        else:
            report = build_workbook(
                cells,
                catalog=snapshot.catalog,
                rows=rows,
                out=out,
                language="fr" if language == "fr" else "en",
            )
    finally:
        snapshot.close()
    tags = {cell.pnpid: cell.tag for cell in cells}
    refused = [
        {
            "pnpid": cell.pnpid,
            "tag": tags.get(cell.pnpid),
            "column": cell.column,
            "status": cell.status,
            "code": cell.code or cell.status,
            "message": cell.message,
        }
        for cell in report.cells
        if cell.status != "written"
    ]
    return {
        "project": name,
        "plan_id": plan.plan_id,
        "path": str(report.path) if report.path else None,
        "sheets": list(report.sheets),
        "written": sum(1 for cell in report.cells if cell.status == "written"),
        "refused": refused,
        "errors": [error.to_dict() for error in plan.errors],
    }


def _tally(connection: Connection, name: str, pushes: Sequence[Push]) -> Tally:
    """What the guards count where no run writes, so no plan did: items of which a cell was in no workbook yet."""
    known = project_state.ensure(connection, name)
    of = Counter(
        brief.entity for brief in links.briefs(connection, known.number) if brief.state in GUARD_STATES
    )
    tally = Tally(links=of.total(), links_of=of)
    known_as_ours = ours.by_pnpid(connection, name, [step.pnpid for step in pushes])
    for step in pushes:
        before = {
            (one.table, one.column, one.value)
            for one in known_as_ours.get(step.pnpid, ())
            if one.origin is Origin.WORKBOOK
        }
        new = [cell for cell in step.cells if (cell.table_class, cell.column, cell.new) not in before]
        tally.push_updates[step.entity] += bool(new)
        tally.push_blanks[step.entity] += any(is_blank(cell.new) and not is_blank(cell.old) for cell in new)
    return tally


def _stop_if_guarded(guards: Sequence[GuardHit], plan: Report) -> None:
    """What a guard stops goes into no workbook either, before a person approves."""
    if not guards:
        return
    again = "`workbook` again with `--approve-guards`"
    if any(hit.name not in PUSHED for hit in guards):
        again = f"`apply {plan.plan_id} --approve-guards`; then `workbook` again"
    raise GuardStop(
        f"{guards[0].message.removesuffix(' Nothing was written.')} No workbook was made.",
        hint=f"Look at the plan (`show {plan.plan_id}`), then {again}.",
        details={"guards": [hit.to_dict() for hit in guards]},
    )


def _remember(world: World, name: str, plan_id: str, cells: Sequence[CellWrite]) -> None:
    """Before the workbook is there: a copy that nobody knows of would pass as a designer's edit."""
    with world.state.write() as connection:
        ours.note_workbook(
            connection,
            name,
            plan_id=plan_id,
            cells=[
                {
                    "pnpid": cell.pnpid,
                    "table_name": cell.table_class,
                    "column_name": cell.column,
                    "old_value": cell.old,
                    "new_value": cell.new,
                }
                for cell in cells
            ],
            at=world.clock(),
        )


def _row(item: PlantItem) -> dict[str, object]:
    """The columns an engineer needs to recognise the item, in the Data Manager's order."""
    shown: dict[str, object] = {"@drawing": item.drawing}
    for name in ("Tag", "Size", "Spec", "Description", "Manufacturer", "Comment", "ClassName"):
        if name in item.values:
            shown[name] = item.values[name]
    shown["PnPID"] = item.pnpid
    shown["PnPGuid"] = item.row_guid or item.guid
    return shown
