"""From what the merge says about one field to what is done: written, pushed, asked, or left open."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec import UNSET

from plant3d_sync.errors import SkipRecordError
from plant3d_sync.model.cells import check_cell, equals_default
from plant3d_sync.model.conflict import SHOWS_THROUGH, ConflictDraft
from plant3d_sync.model.link import Flip, Hold, Interval, Open
from plant3d_sync.model.outcome import Verdict
from plant3d_sync.model.record import Finding, Value
from plant3d_sync.model.side import Side, WriteMode
from plant3d_sync.model.step import Cell
from plant3d_sync.reconcile import questions
from plant3d_sync.reconcile.advance import value_pair
from plant3d_sync.reconcile.context import Context
from plant3d_sync.reconcile.fields import FieldCase, author, said_at, stamp
from plant3d_sync.reconcile.limits import Refusal
from plant3d_sync.reconcile.merge import NoBase
from plant3d_sync.reconcile.showing import shows_through
from plant3d_sync.reconcile.spelling import spelled
from plant3d_sync.words import said


class Write(msgspec.Struct, frozen=True, gc=False):
    """A value for SYNAPSE, and the one it takes the place of."""

    value: Value
    was: Value
    why: str


class FieldDecision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one field leads to.

    `agreed`: both sides hold the value (SYNAPSE's spelling, Plant 3D's): the base moves there. `entry`: why the field
    stays open. `refused`: why its value may not go into Plant 3D. `observed`: what is remembered of when it was edited.
    """

    field: FieldCase
    agreed: tuple[Value, Value] | None = None
    write: Write | None = None
    cell: Cell | None = None
    refused: Refusal | None = None
    entry: Open | None = None
    conflict: ConflictDraft | None = None
    finding: Finding | None = None
    work_item: dict[str, object] | None = None
    flip: Flip | None = None
    hold: Hold | None = None
    keeps_observed: bool = True

    @property
    def observed(self) -> dict[str, Interval]:
        """When each side's latest edit happened, as far as that is still of use."""
        return dict(self.field.observed) if self.keeps_observed else {}


def decide(field: FieldCase, on: Context) -> FieldDecision:
    """What is done about the field in this run."""
    outcome = field.outcome
    match outcome.verdict:
        case Verdict.SETTLED:
            return _settled(field)
        case Verdict.TO_SYNAPSE:
            return _to_synapse(field, on) if on.pulls else _open(field, "waits_for_pull")
        case Verdict.TO_PLANT3D:
            return _to_plant3d(field, on)
        case Verdict.CONFLICT:
            why = outcome.suggestion_reason or outcome.reason
            asked = questions.of_field(field, outcome.reason, suggestion=outcome.suggestion, why=why)
            return _open(field, "conflict", conflict=asked)
        case Verdict.WAIT:
            return _open(field, "waiting_for_cad", work_item=questions.work_item(field))
        case Verdict.DRIFT:
            return _drifted(field)
        case Verdict.LEAVE:
            kept = field.pair.link.holds.get(field.name) if outcome.reason == "held_after_undo" else None
            return _open(field, outcome.reason, hold=kept, finding=questions.kept_apart(field))
        case _:
            assert_never(outcome.verdict)


def _entry(field: FieldCase, why: str) -> Open:
    """The open field with both values."""
    return Open(
        why=why,
        plant3d=field.plant3d,
        synapse=field.synapse,
        reason=field.outcome.reason,
        given=field.given,
        no_edit=field.no_edit,
        words=field.words,
    )


def _open(
    field: FieldCase,
    why: str,
    *,
    conflict: ConflictDraft | None = None,
    finding: Finding | None = None,
    work_item: dict[str, object] | None = None,
    refused: Refusal | None = None,
    hold: Hold | None = None,
) -> FieldDecision:
    return FieldDecision(
        field=field,
        entry=_entry(field, why),
        conflict=conflict,
        finding=finding,
        work_item=work_item,
        refused=refused,
        flip=field.flip,
        hold=hold,
    )


def _settled(field: FieldCase) -> FieldDecision:
    """Both sides hold the value: the base moves there, in each side's own spelling."""
    base, link = field.base, field.pair.link
    stands = (
        not isinstance(base, NoBase)
        and field.synapse == base
        and field.plant3d == link.base_plant.get(field.name, base)
    )
    return FieldDecision(
        field=field,
        agreed=None if stands else (field.synapse, field.plant3d),
        finding=questions.undo_lost(field) if field.undo_lost else None,
        keeps_observed=stands,
        flip=field.flip,
    )


def _to_synapse(field: FieldCase, on: Context) -> FieldDecision:
    outcome, entry = field.outcome, None
    resolved = outcome.reason == "resolved"
    if resolved and not on.rules.same[field.name](field.plant3d, outcome.value):
        # a choice of a third value: Plant 3D does not hold it yet, so the base must not move
        chosen = outcome.value
        entry = msgspec.structs.replace(_entry(field, "resolving"), synapse=chosen, given=(chosen, chosen))
    flip = field.flip or field.pair.link.flips.get(field.name, Flip())
    pair = value_pair(outcome.value, field.synapse)
    return FieldDecision(
        field=field,
        write=Write(outcome.value, field.synapse, outcome.reason),
        entry=entry,
        finding=questions.drift(field) if outcome.reason == "drift_restored" else None,
        flip=Flip(
            writes=flip.writes + 1 if flip.pair == pair and not resolved else 1,
            pair=pair,
            last=Side.SYNAPSE.value,
            reverts=0 if resolved and outcome.value == field.plant3d else flip.reverts,
        ),
        keeps_observed=False,
    )


def _drifted(field: FieldCase) -> FieldDecision:
    """An edit on the side that does not own the field, left alone."""
    reason, rule = field.outcome.reason, field.rule
    proposed = reason == "drift_proposed" and not rule.push and rule.owner.value == "synapse"
    return _open(
        field,
        reason,
        finding=questions.drift(field) if reason != "drift_ignored" else None,
        work_item=questions.work_item(field) if proposed else None,
    )


# ---------------------------------------------------------------- towards Plant 3D


def _to_plant3d(field: FieldCase, on: Context) -> FieldDecision:
    case, name, value = field.pair.case, field.name, field.outcome.value
    column = case.translated.columns.get(name)
    shown: Value = None
    if column is not None:
        shown = shows_through(on.rules.translate[case.item.class_name], case.item, name, column, value)
    if shown is not None and field.outcome.reason != "resolved":
        # emptying the cell would bring out what nobody typed: a person says which value holds
        hides = f"{column} hides {said(shown)}"
        asked = questions.of_field(field, SHOWS_THROUGH, suggestion=Side.PLANT3D.value, why=hides)
        return _open(field, "conflict", conflict=asked)
    if not on.pushes or not on.selected(field.pair.link):
        return _open(field, "waits_for_push")
    found = _cell(field, column, shown, on)
    if isinstance(found, Refusal):
        return _open(field, "refused:" + found.code, work_item=questions.work_item(field), refused=found)
    entry = _entry(field, "push_" + on.know.write_mode.value)
    asked_late = None
    if on.know.write_mode is WriteMode.WORKBOOK and field.outcome.reason != "resolved":
        since = _waits_since(field, on)
        entry = msgspec.structs.replace(entry, since=since)
        if on.know.now - (said_at(since) or on.know.now) > on.know.workbook_days * 86_400:
            why = f"waiting for an import since {since}"
            asked_late = questions.of_field(field, "workbook_timeout", suggestion=Side.SYNAPSE.value, why=why)
    return FieldDecision(field=field, cell=found, entry=entry, conflict=asked_late, flip=field.flip)


def _waits_since(field: FieldCase, on: Context) -> str:
    """Since when the cell waits for a designer's import; after too long it becomes a question."""
    before = field.pair.link.pending.get(field.name)
    if before is not None and before.since is not UNSET and before.since and before.synapse == field.synapse:
        return before.since
    return on.know.now_iso


def _cell(field: FieldCase, column: str | None, shown: Value, on: Context) -> Cell | Refusal:
    """The cell to write, or why it may not be written. `shown`: what comes out behind the cell once it is empty."""
    item, name, value = field.pair.case.item, field.name, field.outcome.value
    found = on.know.catalog.column(item.class_name, column) if column is not None else None
    if column is None:
        return Refusal(name, "no_column", f"No column of {item.class_name} may take {name}.")
    now = item.values.get(found.name) if found is not None else None
    try:
        cell = spelled(
            value,
            now,
            spelling=on.rules.spellings.get(field.rule.convert),
            plain=field.rule.convert == "text",
            same=on.rules.same[name],
            choices=on.know.catalog.picklists.get(found.picklist or "", ()) if found is not None else (),
        )
    except SkipRecordError as error:
        message = f"{said(value)} cannot be written into {column} as {field.rule.convert}: {error.message}"
        return Refusal(name, error.error_code, message)
    problem = check_cell(on.know.catalog, item, column, cell.text)
    if problem is not None:
        return Refusal(name, *problem)
    if found is None:  # check_cell has just found it
        raise AssertionError(column)
    if equals_default(found, cell.text):
        return Refusal(
            name,
            "equals_class_default",
            f"{said(cell.text)} is the class default of {column}, which counts as not filled in; it would be lost.",
        )
    if shown is not None:
        return Refusal(
            name,
            SHOWS_THROUGH,
            f"With {column} emptied, {name} would say {said(shown)}, which stands in a column behind it.",
        )
    return Cell(
        field=name,
        column=found.name,
        table_class=found.table_class,
        old=now,
        new=cell.text,
        reads=cell.reads,
        ticks=item.timestamp,
        revision=item.revision,
        plant3d=field.plant3d,
        synapse=field.synapse,
        why=field.outcome.reason,
        by=author(field.pair, name),
        at=stamp(field.pair, name) or "",
    )
