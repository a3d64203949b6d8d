"""The workbook route: plan the push, then put its cells where a designer can import and accept them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import replace

from plant3d_sync.bootstrap import App
from plant3d_sync.cli.output import ProgressLine
from plant3d_sync.connectors.base import CellWrite, PlantSnapshot
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.writing.workbook import (
    Agrees,
    Guide,
    Language,
    Left,
    ShownRows,
    WorkbookReport,
    build_workbook,
    fill_export,
)
from plant3d_sync.errors import GuardStop, NotFoundError
from plant3d_sync.language import DEFAULT, LANGUAGES, current
from plant3d_sync.model.catalog import Catalog, Column
from plant3d_sync.model.ours import Origin
from plant3d_sync.model.plan import GuardHit, PlanStatus, RowError, Tally
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.sentence import sentences
from plant3d_sync.model.side import Direction, Owner, WriteMode
from plant3d_sync.model.step import Push
from plant3d_sync.reconcile import spelling
from plant3d_sync.reconcile.guard import check_amounts
from plant3d_sync.reconcile.merge import is_blank
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.plans import IN_WORKBOOK, close
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recall import GUARD_STATES
from plant3d_sync.run.report import Report
from plant3d_sync.run.write_plant3d import cells_of
from plant3d_sync.state import Connection, links, ours, runs, seals
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import StoredPlan
from plant3d_sync.words import said

PUSHED = ("push_update", "push_blank")
"""Guards about what would reach Plant 3D."""


def make_workbook(
    app: App, name: str, *, export: Path | None, out: Path, language: str | None, approved: bool = False
) -> dict[str, Any]:
    """Write the workbook. Changes nothing but that file, the stored plan and the record of cells: what a designer may
    import any day is known as ours from then on. `approved`: however many items a workbook would newly change.
    `language`: of the first sheet, and of the headers without an export; None: the one we speak.

    The values stay open ("waiting") until a later read of Plant 3D shows that they were accepted.
    """
    spoken = language_of(language)
    project = app.project(name)
    world = app.world(ProgressLine())
    planned = _plan(app, project, world, approved=approved)
    cells = [cell for step in planned.pushes for cell in cells_of(step)]
    _remember(world, name, str(planned.plan.plan_id), cells)
    report = _fill(app, world, project, planned, cells, export=export, out=out, language=spoken)
    if planned.stored is not None:
        with app.state.write() as connection:  # it was made to be looked at in Excel; nobody has to apply it
            close(connection, planned.stored, PlanStatus.SUPERSEDED, {"why": IN_WORKBOOK, "run_id": None})
    return {
        "project": name,
        "plan_id": planned.plan.plan_id,
        "path": str(report.path) if report.path else None,
        "sheets": list(report.sheets),
        "written": sum(1 for cell in report.cells if cell.status == "written"),
        "refused": list(_refused(report, cells, planned.asked)),
        "errors": [error.to_dict() for error in planned.plan.errors],
    }


_Asked = dict[tuple[int, str], str]
"""Row and column of a cell -> who wants its value."""


class _Planned(msgspec.Struct, frozen=True):
    """A dry run of a push: its report, the plan as stored, its steps, who wants their values, and what it left out."""

    plan: Report
    stored: StoredPlan | None
    pushes: list[Push]
    asked: _Asked
    left: list[Left]


_SPOKEN: Final[tuple[Language, ...]] = get_args(Language)


def language_of(asked: str | None) -> Language:
    """The language of the workbook. Raises NotFoundError `language_unknown`."""
    spoken = current() if current() in LANGUAGES else DEFAULT
    language = spoken if asked is None else asked
    for one in _SPOKEN:
        if one == language:
            return one
    raise NotFoundError(
        f"{said(language)} is not a language of the workbook.", hint="en or fr.", code="language_unknown"
    )


def _plan(app: App, project: Project, world: World, *, approved: bool) -> _Planned:
    """What a push would write. Raises GuardStop, and what `seals.check_plan` raises."""
    name = project.name
    plan = Engine(world, project).plan(
        Request(asked=Asked(direction=Direction.PUSH), dry_run=True, trigger="workbook")
    )
    _stop_if_guarded(
        plan.guards if not approved else [hit for hit in plan.guards if hit.name not in PUSHED], plan
    )
    with app.state.read() as connection:
        seals.check_plan(connection, name, str(plan.plan_id), nothing="No workbook was written.")
        stored = runs.get_plan(connection, str(plan.plan_id))
        steps = runs.all_steps(connection, stored) if stored else iter(())
        pushes = [step for step in steps if isinstance(step, Push)]
        if project.config.write is WriteMode.OFF and not approved:
            _stop_if_guarded(
                check_amounts(_tally(connection, name, pushes), project.config.limits, first_sync=False), plan
            )
        asked = _who_asked(connection, name, pushes)
        return _Planned(plan, stored, pushes, asked, _left_out(project, connection, plan.errors))


def _fill(
    app: App,
    world: World,
    project: Project,
    planned: _Planned,
    cells: Sequence[CellWrite],
    *,
    export: Path | None,
    out: Path,
    language: Language,
) -> WorkbookReport:
    """Put the cells into an export, or into a workbook with the rows as they are now."""
    snapshot = project.source.snapshot()
    try:
        rules, catalog = project.rules(snapshot.catalog), snapshot.catalog
        guide = Guide(
            asked=planned.asked,
            step={key: sentence for step in planned.pushes for key, sentence in _said(step)},
            left=[replace(one, columns=_columns_of(rules, one)) for one in planned.left],
        )
        if export is not None:

            def note(rows: ShownRows) -> None:
                items = _items(
                    app, project.name, snapshot, rules, {int(one) for one in rows if one.isdecimal()}
                )
                _remember_shown(world, project.name, planned, _shown_in(rows, items, rules, catalog))

            return fill_export(
                export,
                cells,
                catalog=catalog,
                out=out,
                language=language,
                guide=guide,
                agrees=_by_field(rules),
                note=note,
            )
        items = _items(app, project.name, snapshot, rules, {cell.pnpid for cell in cells})
        columns = {cell.column for cell in cells}
        rows = {item.pnpid: _row(item, columns) for item in items}
        others = _next_to(cells, items, rows, rules, catalog)
        _remember_shown(world, project.name, planned, others)
        return build_workbook(cells, catalog=catalog, rows=rows, out=out, language=language, guide=guide)
    finally:
        snapshot.close()


def _items(
    app: App, name: str, snapshot: PlantSnapshot, rules: RuleSet, wanted: Collection[int]
) -> list[PlantItem]:
    """These items as they are in Plant 3D now."""
    with app.state.read() as connection:
        known = project_state.get(connection, name)
        reading = rules.reading if known is None else reading_of(connection, name, known.number, rules)
    return [
        item
        for batch in snapshot.scan(sorted(rules.classes), {}, reading)
        for item in batch.changed
        if item.pnpid in wanted
    ]


def _shared(item: PlantItem, rules: RuleSet, catalog: Catalog) -> Iterator[Column]:
    """The columns of an item that hold shared fields."""
    for field in rules.classes[item.class_name].fields.values():
        if field.owner is Owner.SHARED:
            found = (catalog.column(item.class_name, name) for name in field.columns)
            yield from (column for column in found if column is not None)


def _shown_in(
    rows: ShownRows, items: Sequence[PlantItem], rules: RuleSet, catalog: Catalog
) -> Iterator[dict[str, object]]:
    """What an export shows in the columns of shared fields."""
    for item in items:
        for row in rows[str(item.pnpid)]:
            if row.guid and guid_text(row.guid) not in (item.guid, item.row_guid):
                continue  # another project's
            for column in _shared(item, rules, catalog):
                if (text := row.text(column)) is not None:
                    yield _cell(item, column, text or None)


def _next_to(
    cells: Sequence[CellWrite],
    items: Sequence[PlantItem],
    rows: Mapping[int, Mapping[str, object]],
    rules: RuleSet,
    catalog: Catalog,
) -> Iterator[dict[str, object]]:
    """What a workbook of our own shows in the columns of shared fields next to the planned cells."""
    planned = {(cell.pnpid, cell.column) for cell in cells}
    for item in items:
        for column in _shared(item, rules, catalog):
            value = rows[item.pnpid].get(column.name)
            if (
                column.name in rows[item.pnpid]
                and (item.pnpid, column.name) not in planned
                and (value is None or isinstance(value, str))
            ):
                yield _cell(item, column, value)


def _cell(item: PlantItem, column: Column, text: str | None) -> dict[str, object]:
    held = item.values.get(column.name)
    return {
        "pnpid": item.pnpid,
        "table_name": column.table_class,
        "column_name": column.name,
        "old_value": held if isinstance(held, str) else None,
        "new_value": text,
    }


def _refused(
    report: WorkbookReport, cells: Sequence[CellWrite], asked: _Asked
) -> Iterator[dict[str, object]]:
    """The values that did not get into a cell, and why."""
    for cell, planned in zip(report.cells, cells, strict=True):
        if cell.status != "written":
            yield {
                "pnpid": cell.pnpid,
                "tag": planned.tag,
                "column": cell.column,
                "status": cell.status,
                "code": cell.code or cell.status,
                "message": cell.message,
                "old": planned.old,
                "new": planned.new,
                "asked_by": asked.get((cell.pnpid, cell.column.lower())),
            }


def _said(step: Push) -> Iterator[tuple[tuple[int, str], str]]:
    """Each cell of a step by its row and column, with the sentence that `show` and the API have for it."""
    for cell, sentence in zip(step.cells, sentences(step), strict=True):
        yield (step.pnpid, cell.column.lower()), sentence


def _who_asked(connection: Connection, name: str, pushes: Sequence[Push]) -> dict[tuple[int, str], str]:
    """Who wants each value: whoever decided a conflict so, else whoever typed it in SYNAPSE, with the time."""
    decided = conflict_state.resolutions(connection, name)
    asked: dict[tuple[int, str], str] = {}
    for step in pushes:
        for cell in step.cells:
            choice = decided.get((step.link_id or 0, cell.field))
            asked[step.pnpid, cell.column.lower()] = (
                choice.by if choice is not None else _told(cell.by, cell.at)
            )
    return asked


def _told(by: str, at: str) -> str:
    """An author and a time as SYNAPSE says them, for a designer."""
    when = at[:16].replace("T", " ")
    return ", ".join(filter(None, (by.removeprefix("user:"), f"{when} UTC" if when else "")))


LOOKED_UP: Final = 200
"""Refused values of which SYNAPSE is asked what they are."""


def _left_out(project: Project, connection: Connection, errors: Sequence[RowError]) -> list[Left]:
    """What the plan refused, with both values and who typed SYNAPSE's."""
    known = project_state.get(connection, project.name)
    guids = [error.plant3d_id for error in errors if error.plant3d_id]
    of = (
        {link.plant3d_id: link for link in links.by_items(connection, known.number, guids, [])}
        if known
        else {}
    )
    left = []
    for place, error in enumerate(errors):
        link, name = of.get(error.plant3d_id or ""), error.field or ""
        asset = (
            project.synapse.get(link.asset_id) if link is not None and name and place < LOOKED_UP else None
        )
        info = asset.field_info.get(name) if asset is not None else None
        base = link.base_plant.get(name, (link.base or {}).get(name)) if link is not None else None
        new = asset.fields.get(name) if asset is not None else None
        left.append(
            Left(
                tag=error.tag,
                class_name=error.class_name,
                pnpid=error.pnpid,
                field=error.field,
                why=error.message,
                hint=error.hint,
                old="" if base is None else str(base),
                new="" if new is None else str(new),
                asked=_told(info.by or "", info.updated_at or "") if info is not None else "",
            )
        )
    return left


def _columns_of(rules: RuleSet, one: Left) -> Sequence[str]:
    rule = rules.classes.get(one.class_name or "")
    field = rule.fields.get(one.field or "") if rule is not None else None
    return field.columns if field is not None else ()


def _by_field(rules: RuleSet) -> Agrees:
    """The comparison that the field itself is merged with, so that a workbook and a run never disagree about a value."""

    def agrees(cell: CellWrite, one: str | None, other: str | None) -> bool:
        rule = rules.classes[cell.class_name].fields[cell.field]
        by = rules.spellings.get(rule.convert)
        return rules.same[cell.field](spelling.read(one, by), spelling.read(other, by))

    return agrees


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
        f"{guards[0].message} No workbook was made.",
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


def _remember_shown(
    world: World, name: str, planned: _Planned, cells: Iterable[Mapping[str, object]]
) -> None:
    """What else stands in the workbook: whoever imports it late brings that back, too."""
    with world.state.write() as connection:
        ours.note_workbook(
            connection, name, plan_id=str(planned.plan.plan_id), cells=list(cells), at=world.clock()
        )


def _row(item: PlantItem, columns: Collection[str]) -> dict[str, object]:
    """The columns an engineer needs to recognise the item, in the Data Manager's order.

    `columns`: those that some item gets a value in. What this one holds there stands there too, since an import may take
    a blank for a value.
    """
    shown: dict[str, object] = {"@drawing": item.drawing}
    usual = ("Tag", "Size", "Spec", "Description", "Manufacturer", "Comment", "ClassName")
    for name in dict.fromkeys([*usual, *sorted(columns)]):
        if name in item.values:
            shown[name] = item.values[name]
    shown["PnPID"] = item.pnpid
    shown["PnPGuid"] = item.row_guid or item.guid
    return shown
