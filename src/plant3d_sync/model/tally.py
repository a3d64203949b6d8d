"""What became of a plan's steps, counted, and which statistic counts what: the one place that knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from plant3d_sync.model.document import Document
from plant3d_sync.model.plan import STAT_NAMES, Op


class End(StrEnum):
    """How one step ended."""

    DONE = "done"
    FAILED = "failed"
    ANEW = "anew"
    """It was refused, and the same run decided its item anew: another step counts in its place."""


STATISTIC: Final = MappingProxyType(
    {
        Op.CREATE: "created",
        Op.UPDATE: "updated",
        Op.ADOPT: "updated",
        Op.RESTORE: "updated",
        Op.ARCHIVE: "archived",
    }
)
"""Operation towards SYNAPSE -> the statistic that counts it. Others change nothing there."""

WRITTEN: Final = tuple(dict.fromkeys(STATISTIC.values()))
"""The statistics that count writes into SYNAPSE."""

_NO_ERROR: Final = (Op.ARCHIVE, Op.MISSING, Op.PUSH)
"""Operations that are not about a record that was read: if one fails, no read record is in error."""


class Counts(msgspec.Struct, kw_only=True):
    """The statistics of one run: of all, of each kind of asset, and of each direction that it had."""

    stats: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(STAT_NAMES, 0))
    by_entity: dict[str, dict[str, int]] = {}
    pull_stats: dict[str, int] | None = None
    push_stats: dict[str, int] | None = None

    def document(self) -> Document:
        """As in the JSON of a run: only the directions that it had."""
        told: Document = {"stats": self.stats, "by_entity": self.by_entity}
        if self.push_stats is not None:
            told["push_stats"] = self.push_stats
        if self.pull_stats is not None:
            told["pull_stats"] = self.pull_stats
        return told


def statistic(op: Op) -> str:
    """The statistic of which a planned step is a part."""
    return STATISTIC.get(op, "unchanged")


class StepCounts(msgspec.Struct):
    """How many steps ended how, by kind of asset and operation."""

    _ends: Counter[tuple[str, Op, End]] = msgspec.field(default_factory=Counter)

    def add(self, entity: str, op: Op, end: End, number: int = 1) -> None:
        """Count steps."""
        self._ends[entity, op, end] += number

    def join(self, other: StepCounts) -> None:
        """Add what another one counted."""
        self._ends.update(other._ends)

    def entities(self) -> frozenset[str]:
        """The kinds of asset of which a step was counted."""
        return frozenset(entity for entity, _op, _end in self._ends)

    def settle(self, stats: dict[str, int], entity: str | None = None, *, by_person: bool) -> None:
        """From what was planned to what happened, of one kind or of all: steps that failed, and those that were decided
        anew, leave their statistic.

        `by_person`: a person applied the plan, so exactly those assets are archived that were.
        """
        for op, number in self._of(entity, End.FAILED):
            if op not in _NO_ERROR:
                stats[statistic(op)] -= number
                stats["errors"] += number
            elif op is Op.ARCHIVE and not by_person:
                stats["archived"] -= number
        for op, number in self._of(entity, End.ANEW):
            stats[statistic(op)] -= number
        if by_person:
            stats["archived"] = sum(number for op, number in self._of(entity, End.DONE) if op is Op.ARCHIVE)

    def add_to(self, stats: dict[str, int], entity: str | None = None) -> None:
        """Add what was done, of one kind or of all: a run that ended early counts only what it came to."""
        for op, number in self._of(entity, End.DONE):
            if op in STATISTIC:
                stats[STATISTIC[op]] += number
        stats["errors"] += sum(number for op, number in self._of(entity, End.FAILED) if op not in _NO_ERROR)

    def _of(self, entity: str | None, end: End) -> Iterable[tuple[Op, int]]:
        return [
            (op, number)
            for (kind, op, how), number in self._ends.items()
            if how is end and entity in (None, kind)
        ]
