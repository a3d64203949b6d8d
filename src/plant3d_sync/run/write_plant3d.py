"""Cells into Plant 3D: a look, verified backup, intent and before-image, compare-and-set, read back, base."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import cast

from msgspec import UNSET

from plant3d_sync.connectors.base import CellReceipt, CellWrite, PlantSnapshot
from plant3d_sync.errors import ConfigError, LeaseLost, SyncError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Value
from plant3d_sync.model.refused import offer_of
from plant3d_sync.model.step import Cell, Push, list_text
from plant3d_sync.reconcile import advance
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.life import Cancelled
from plant3d_sync.run.project import Writer
from plant3d_sync.run.push_backup import PushBackup
from plant3d_sync.run.recount import recount
from plant3d_sync.state import Connection, audit, intents, links
from plant3d_sync.state import cells as journal
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.intents import ChangeRow
from plant3d_sync.words import said

GROUP = 50
"""Items per intent. Each item is a transaction of its own in Plant 3D."""


def apply_push(execution: Execution, steps: Sequence[Push], snapshot: PlantSnapshot) -> None:
    """Write the cells of every step that may be written directly."""
    ready = [step for step in steps if step.needs is None]
    execution.outcome.push["waiting"] = len(steps) - len(ready)
    if not ready:
        return
    project = execution.project
    if project.writer is None or project.backup is None:
        raise ConfigError(
            f"The plan writes into Plant 3D, but writing is not allowed for {project.name}. Nothing was written.",
            hint="Set `write: sql` for the project, or make a new plan.",
            code="write_off",
        )
    execution.check()
    backup = PushBackup(execution)
    ahead = max(0.0, -(execution.known.skew or 0.0))
    with project.writer(snapshot.catalog, execution.rules, ahead) as writer:
        for start in range(0, len(ready), GROUP):
            worth_it = _worth_it(execution, writer, ready[start : start + GROUP])
            worth_it = [step for step in worth_it if _is_still_said(execution, step)]
            if worth_it:
                failpoint("push.preflight_passed")
                _check_allowed(execution)
                backup.make_sure()
                _check_allowed(execution)
                backup.note(_write_group(execution, worth_it, writer.write))
            execution.world.progress("push", min(start + GROUP, len(ready)), len(ready))
    backup.settle()


def _check_allowed(execution: Execution) -> None:
    """End here if somebody said `write: off` since the run began; a backup may have taken long."""
    if not execution.project.may_write():
        raise ConfigError(
            f"Writing into Plant 3D was switched off for {execution.project.name} while the run worked. "
            "What was written until then is recorded; nothing more was written.",
            hint="Nothing to do if it is meant. With `write: sql` in the configuration file the next run goes on.",
            code="write_off",
        )


def _worth_it(execution: Execution, writer: Writer, steps: Sequence[Push]) -> list[Push]:
    """The steps of which a cell would be written now. What becomes of the others is reported here, without a side effect.

    A step of which nothing is left to write and some cell holds its value already is stored as any other write is.
    """
    worth_it: list[Push] = []
    found: dict[int, list[CellReceipt]] = {}
    found_steps: list[Push] = []
    for step in steps:
        execution.check()
        receipts = writer.look(cells_of(step))
        if receipts is None:
            worth_it.append(step)
        elif any(answer.status == "found_applied" for answer in receipts):
            found[step.pnpid] = receipts
            found_steps.append(step)
        else:
            _report(execution, step, receipts)
    if found_steps:
        _write_group(execution, found_steps, lambda cells: found[cells[0].pnpid])
    return worth_it


def _is_still_said(execution: Execution, step: Push) -> bool:
    """Whether SYNAPSE holds what the step was decided by; what it holds instead is remembered, and compared again.

    What it showed in this run need not be asked for. What a link remembers of it is under no seal, and may be old.
    """
    cells = [cell for cell in step.cells if not cell.hold]
    if step.undo is not None or not cells or step.plant3d_id in execution.just_read:
        return True
    execution.check()
    asset = execution.project.synapse.get(step.asset_id or "")
    moved = [
        cell
        for cell in cells
        if asset is None
        or asset.archived
        or not execution.rules.is_same(cell.field, asset.fields.get(cell.field), cell.synapse)
    ]
    if not moved:
        return True
    if asset is None or asset.archived:
        message = "The asset is not in SYNAPSE any more, or archived. Nothing was written into Plant 3D."
    else:
        name = moved[0].field
        message = (
            f"SYNAPSE holds {said(asset.fields.get(name))} in {name} now, not {said(moved[0].synapse)}. "
            "Nothing was written into Plant 3D."
        )
    receipts = [
        CellReceipt(
            pnpid=step.pnpid, column=cell.column, status="stale", code="synapse_moved", message=message
        )
        for cell in step.cells
    ]
    _report(execution, step, receipts)
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        for link in links.by_ids(connection, [step.link_id] if step.link_id else []).values():
            now = execution.world.clock()
            seen = (
                advance.lost(link)
                if asset is None
                else advance.refused(link, asset, at=now, last_read=execution.known.feed_read_at)
            )
            links.save(connection, [seen])
        project_state.update(connection, execution.project.name, force_compare=True)
    return False


def cells_of(step: Push) -> list[CellWrite]:
    """The cells of one step into Plant 3D, for a writer or a workbook."""
    return [
        CellWrite(
            pnpid=step.pnpid,
            plant3d_id=step.row_guid or step.plant3d_id,
            class_name=step.class_name,
            table_class=cell.table_class,
            column=cell.column,
            old=cast("str | None", cell.old),  # only text cells are planned
            new=cast("str | None", cell.new),
            expected_timestamp=cast("int", cell.ticks),
            tag=step.tag,
            field=cell.field,
            drawing=step.drawing,
        )
        for cell in step.cells
    ]


def _write_group(
    execution: Execution,
    steps: Sequence[Push],
    write: Callable[[list[CellWrite]], list[CellReceipt]],
) -> list[list[CellReceipt]]:
    """Intent and before-images, the writes, the receipts. Returns the receipts of each step that was tried."""
    execution.check()
    world = execution.world
    body = list_text(steps)
    failpoint("push.before_intent")
    with world.state.write() as connection:
        intent_id = intents.record(
            connection,
            execution.lease.fence,
            intents.Meant(
                run_id=execution.run_id,
                plan_id=execution.plan_id,
                side="plant3d",
                key=hashlib.sha256(execution.run_id.encode() + body).hexdigest(),
                steps=steps,
                at=world.clock(),
            ),
        )
        journal.intend(
            connection,
            execution.project.name,
            steps,
            run_id=execution.run_id,
            intent_id=intent_id,
            at=world.clock(),
        )
    failpoint("push.intent_stored")
    grouped: list[list[CellReceipt]] = []
    ends: SyncError | Cancelled | None = None
    for step in steps:
        ends = _ends(execution)
        if ends is not None:
            break
        if not _still_ours(execution):
            break
        grouped.append(write(cells_of(step)))
    tried = steps[: len(grouped)]
    try:
        store_receipts(execution, intent_id, tried, grouped, left=steps[len(grouped) :])
    except LeaseLost as lost:
        late = _note_late_writes(execution, intent_id, tried, grouped)
        if late:
            raise _overtaken(execution, late, lost) from lost
        raise
    failpoint("push.receipt_stored")
    if ends is not None:
        raise ends
    return grouped


def _overtaken(execution: Execution, cells: int, lost: LeaseLost) -> LeaseLost:
    """Says what was written all the same."""
    return LeaseLost(
        f"Another run of {execution.project.name} took over while this one was writing into Plant 3D: "
        f"cells written by then: {cells}. This run stopped, and what it wrote is on record as ours.",
        hint="The next run compares these items and writes SYNAPSE's values where they differ.",
        details={**lost.details, "cells_written": cells},
    )


def _ends(execution: Execution) -> SyncError | Cancelled | None:
    """What the run must end with, if it must. Asked before each item: what was written before it is stored first."""
    try:
        execution.check()
    except (SyncError, Cancelled) as error:
        return error
    return None


def _still_ours(execution: Execution) -> bool:
    """Asked before each item: one who was away too long writes no further item."""
    with execution.world.state.read() as connection:
        return execution.lease.fence.holds(connection)


def store_receipts(
    execution: Execution,
    intent_id: int,
    steps: Sequence[Push],
    receipts: Sequence[Sequence[CellReceipt]],
    *,
    left: Sequence[Push] = (),
    run_id: str | None = None,
) -> None:
    """Receipts, base, changes and audit in one transaction. `left`: steps that were meant, and are not tried any more."""
    world, run = execution.world, run_id or execution.run_id
    now = world.clock()
    written = [(step, answers, _done(step, answers)) for step, answers in zip(steps, receipts, strict=True)]
    for step, answers, _cells in written:
        _report(execution, step, answers)
    changes = [
        _change(execution, step, done, run_id=run, intent_id=intent_id, at=now)
        for step, _answers, done in written
        if done
    ]
    with world.state.write() as connection:
        execution.lease.fence.check(connection)
        old = links.by_ids(connection, [step.link_id for step in steps if step.link_id])
        moved = [
            advance.pushed(
                old[step.link_id], [(cell, _canonical(cell, answer)) for cell, answer in done], at=now
            )
            for step, _answers, done in written
            if done and step.link_id in old
        ]
        links.save(connection, moved)
        _note_changes(connection, execution, changes, run_id=run, at=now)
        answered = [
            _answer(step, one) for step, answers in zip(steps, receipts, strict=True) for one in answers
        ]
        answered += [
            journal.Answer(pnpid=step.pnpid, column=cell.column, status="waiting", ticks=None)
            for step in left
            for cell in step.cells
        ]
        journal.note(connection, execution.project.name, intent_id, answered, at=now)
        intents.close(connection, intent_id, status="done", at=now)
        if run != execution.run_id:
            recount(connection, run)


def _note_late_writes(
    execution: Execution, intent_id: int, steps: Sequence[Push], receipts: Sequence[Sequence[CellReceipt]]
) -> int:
    """Another run took over while we wrote. What is in the file and nobody has recorded yet stays in journal and
    audit under our run; links and base belong to the other run, which compares again. Returns how many cells those are.
    """
    written = 0
    now = execution.world.clock()
    with execution.world.state.write() as connection:
        unrecorded = journal.unrecorded(connection, intent_id)
        answered: list[journal.Answer] = []
        changes = []
        for step, answers in zip(steps, receipts, strict=True):
            done = [
                (cell, answer)
                for cell, answer in _done(step, answers)
                if answer.status == "applied" and (step.pnpid, answer.column) in unrecorded
            ]
            if done:
                changes.append(
                    _change(execution, step, done, run_id=execution.run_id, intent_id=intent_id, at=now)
                )
            written += len(done)
            answered += [_answer(step, answer) for _cell, answer in done]
        journal.note(connection, execution.project.name, intent_id, answered, at=now)
        _note_changes(connection, execution, changes, run_id=execution.run_id, at=now, after_takeover=True)
    return written


def _done(step: Push, answers: Sequence[CellReceipt]) -> list[tuple[Cell, CellReceipt]]:
    """The cells of a step that hold what was planned."""
    return [
        (cell, answer)
        for cell, answer in zip(step.cells, answers, strict=True)
        if answer.status in ("applied", "found_applied")
    ]


def _change(
    execution: Execution,
    step: Push,
    done: Sequence[tuple[Cell, CellReceipt]],
    *,
    run_id: str,
    intent_id: int,
    at: float,
) -> ChangeRow:
    """One item's row in the list of changes."""
    return {
        "project": execution.known.number,
        "run_id": run_id,
        "intent_id": intent_id,
        "link_id": step.link_id,
        "pnpid": step.pnpid,
        "tag": step.tag,
        "side": "plant3d",
        "op": step.undo or "push",
        "outcome": done[0][1].status,
        "fields": dump(
            intents.fields_with_why(
                {cell.field: [cell.plant3d, _canonical(cell, answer)] for cell, answer in done},
                {cell.field: cell.why for cell, _answer in done},
            )
        )
        or "{}",
        "at": at,
    }


def _note_changes(
    connection: Connection,
    execution: Execution,
    changes: Sequence[ChangeRow],
    *,
    run_id: str,
    at: float,
    **more: object,
) -> None:
    """Changes, and one audit entry for each."""
    intents.put_changes(connection, execution.project.name, changes)
    for entry in changes:
        audit.append(
            connection,
            execution.project.name,
            action="plant3d.write",
            actor=execution.actor,
            at=at,
            run=run_id,
            plan=execution.plan_id,
            pnpid=entry["pnpid"],
            tag=entry["tag"],
            outcome=entry["outcome"],
            fields=entry["fields"],
            changes=audit.digest_of([entry]),
            **more,
        )


def _answer(step: Push, receipt: CellReceipt) -> journal.Answer:
    """What the journal of before-images keeps of a receipt."""
    return journal.Answer(
        pnpid=step.pnpid, column=receipt.column, status=receipt.status, ticks=receipt.timestamp
    )


def _canonical(cell: Cell, receipt: CellReceipt) -> Value:
    """What the field says now: a converter may make another value of the text, and a class default reads as empty."""
    return receipt.value if cell.reads is UNSET and not cell.hold else cell.says


def _report(execution: Execution, step: Push, answers: Sequence[CellReceipt]) -> None:
    push = execution.outcome.push
    for answer in answers:
        push[answer.status] = push.get(answer.status, 0) + 1
        if answer.status in ("applied", "found_applied"):
            execution.outcome.cells_written += 1
            continue
        execution.outcome.waiting += 1
        cell = next((one for one in step.cells if one.column == answer.column), None)
        execution.outcome.errors.append(
            RowError(
                code=answer.code or answer.status,
                message=answer.message or f"The cell {answer.column} was not written ({answer.status}).",
                hint=_HINTS.get(answer.status, ""),
                plant3d_id=step.plant3d_id,
                pnpid=step.pnpid,
                class_name=step.class_name,
                tag=step.tag,
                field=cell.field if cell is not None else None,
                plant3d=UNSET if cell is None else cell.plant3d,
                synapse=UNSET if cell is None else cell.synapse,
                into="plant3d",
                offer=offer_of(step) if answer.status == "refused" else b"",
            )
        )


_HINTS = {
    "stale": "Plant 3D changed since the plan was made; the next run compares again.",
    "waiting": "The next run tries again by itself.",
    "refused": "Correct the value in SYNAPSE, have the drawing changed by a designer, or correct the mapping. "
    "`plant3d-sync quarantine list` shows it; `quarantine retry` tries it now, `quarantine ignore` leaves it alone.",
}
