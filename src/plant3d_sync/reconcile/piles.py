"""The steps of a plan while it is made, in the piles in which they are written; and what people are told besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

import msgspec

from plant3d_sync.model.conflict import ConflictDraft
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    Touch,
    Update,
    to_text,
)
from plant3d_sync.reconcile.case import Decision
from plant3d_sync.reconcile.draft import LineList, Pile
from plant3d_sync.reconcile.tags import Rename, in_order


class Piles:
    """Steps by what must come before what. `pile`: makes the lists that hold them."""

    def __init__(self, pile: Callable[[], LineList]) -> None:
        self._free, self._updates, self.creations, self._quiet = (Pile(pile()) for _pile in range(4))
        self.renames: dict[int, Rename] = {}
        """PnPID -> the step that gives its asset another tag."""
        self.remembered = 0
        """Steps that only update what is remembered."""

    def put(self, step: Step) -> None:
        """Lay a step on its pile."""
        match step:
            case Create():
                self.creations.put(step.entity, step.pnpid, to_text(step))
            case Update() | Adopt() if step.old_tag is not None:
                new = str(step.set["tag"])
                self.renames[step.pnpid] = Rename(step.old_tag, new, to_text(step), step.entity)
            case Update() | Restore():
                self._updates.put(step.entity, step.pnpid, to_text(step))
            case Adopt():
                pile = self._updates if step.set else self._quiet
                pile.put(step.entity, step.pnpid, to_text(step))
            case Archive():
                self._free.add(to_text(step))
            case Push() | Settle() | Absent():
                self._quiet.add(to_text(step))
            case Touch():
                self._quiet.add(to_text(step))
                self.remembered += 1
            case _:
                assert_never(step)

    def withdraw(self, pnpid: int, entity: str) -> None:
        """Leave the item's steps out of the plan."""
        self.renames.pop(pnpid, None)
        for pile in (self.creations, self._updates, self._quiet):
            pile.withdraw(entity, pnpid)

    def in_order(self) -> tuple[Iterable[bytes], ...]:
        """What is left, in the order of writing: a tag is released before it is taken."""
        return self._free, in_order(self.renames), self._updates, self.creations, self._quiet

    def created(self, entity: str) -> int:
        """How many items of a kind are made."""
        return self.creations.count(entity)

    def updated(self, entity: str) -> int:
        """How many items of a kind get other values, their tag among them."""
        return self._updates.count(entity) + sum(one.entity == entity for one in self.renames.values())


class Told(msgspec.Struct):
    """What a plan tells people, in the order in which it was found. `choices`: what became of those looked at."""

    findings: list[Finding] = msgspec.field(default_factory=list)
    errors: list[RowError] = msgspec.field(default_factory=list)
    conflicts: list[ConflictDraft] = msgspec.field(default_factory=list)
    work_items: list[dict[str, object]] = msgspec.field(default_factory=list)
    choices: dict[str, str] = msgspec.field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """What one decision tells."""
        self.findings.extend(decision.findings)
        self.errors.extend(decision.errors)
        self.conflicts.extend(decision.conflicts)
        self.work_items.extend(decision.work_items)
        self.choices.update(decision.choices)
