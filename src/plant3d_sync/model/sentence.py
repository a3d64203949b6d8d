"""What a step of a plan says of itself: the one place where a step becomes sentences for people.

Read by the command line and by the API from the same list of steps that `apply` carries out; a step without a sentence
does not pass the type checker. Where a step is a matter of several fields, there is one sentence for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

import msgspec
from msgspec import UnsetType

from plant3d_sync.model.link import LinkState, Open
from plant3d_sync.model.record import Value
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Cell,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    Touch,
    Update,
)
from plant3d_sync.words import counted, said


class Gone(msgspec.Struct, frozen=True):
    """An item that was not seen: since when (ISO 8601), in how many counted reads, and who may archive its asset."""

    state: LinkState
    since: str
    reads: int
    needs: str | None


def gone(step: Step) -> Gone | None:
    """What the step says of an item that was not seen; None if it is about something else."""
    match step:
        case Absent() | Archive():
            missing = step.after.missing
            needs = step.needs if isinstance(step, Archive) else None
            return Gone(step.after.state, missing.since, missing.reads, needs) if missing else None
        case Create() | Adopt() | Update() | Restore() | Push() | Settle() | Touch():
            return None
    assert_never(step)


def sentences(step: Step, *, needed: int | None = None) -> list[str]:
    """The step for people. `needed`: reads after which an absent item counts as gone."""
    match step:
        case Create():
            return [_item(step), *_open(step, step.after.pending)]
        case Absent() | Archive():
            told = gone(step)
            return [
                _item(step) if told is None else _absent(step, told, needed),
                *_open(step, step.after.pending),
            ]
        case Adopt() | Update() | Restore():
            fields = [_set(step, name, value) for name, value in step.set.items()]
            return [*(fields or [_item(step)]), *_open(step, step.after.pending)]
        case Push():
            return [_cell(step, cell) for cell in step.cells]
        case Settle():
            return list(_open(step, step.after.pending)) or [_quiet(step)]
        case Touch():
            return [_quiet(step)]
    assert_never(step)


def _item(step: Step) -> str:
    return f"{step.op.value:8} {step.tag}  ({step.class_name}, PnPID {step.pnpid})"


def _quiet(step: Settle | Touch) -> str:
    return f"{step.op.value:8} {step.tag} · nothing is written; what was seen is remembered"


def _set(step: Adopt | Update | Restore, name: str, value: Value) -> str:
    old, why = step.was.get(name), step.why.get(name, "")
    return (
        f"{step.op.value:8} {step.tag} · {name} · Plant 3D to SYNAPSE · {said(old)} to {said(value)} · {why}"
    )


def _cell(step: Push, cell: Cell) -> str:
    needs = f" · {step.needs}" if step.needs else ""
    return (
        f"push     {step.tag} · {cell.field} · SYNAPSE to Plant 3D · {said(cell.old)} to {said(cell.new)} · "
        f"{cell.why or ''}{needs}"
    )


def _open(step: Step, pending: Mapping[str, Open]) -> Iterator[str]:
    for name, entry in pending.items():
        plant3d, synapse = (
            None if isinstance(value, UnsetType) else value for value in (entry.plant3d, entry.synapse)
        )
        yield f"open     {step.tag} · {name} · {said(plant3d)} / {said(synapse)} · {entry.why}"


def _absent(step: Absent | Archive, told: Gone, needed: int | None) -> str:
    """An item that was not seen: after how many reads of how many, and what that means."""
    if told.needs == "person":
        means = "pending: it is archived only when a person applies the plan"
    elif isinstance(step, Archive):
        means = "archived"
    elif told.state is LinkState.PENDING:
        means = "pending: it stays in SYNAPSE until somebody decides"
    else:
        means = "it stays in SYNAPSE and is looked for again"
    return f"{_item(step)} · not seen since {told.since} ({_reads(told.reads, needed)}) · {means}"


def _reads(reads: int, needed: int | None) -> str:
    if needed is None:
        return counted(reads, f"{reads} read", f"{reads} reads")
    if reads > needed:
        return counted(reads, f"{reads} read, {needed} needed", f"{reads} reads, {needed} needed")
    return counted(needed, f"{reads} of {needed} read", f"{reads} of {needed} reads")
