"""How many, of what, and why not: the statistics of a plan, and what its guards weigh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from plant3d_sync.model.plan import Stats, Tally
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import Archive
from plant3d_sync.reconcile.case import Decision, Fate

_FINAL = (Fate.SKIPPED, Fate.ERRORS)
"""What becomes of an item whatever is found out about its tag."""


class Ledger:
    """Counts decisions. What is written is not counted here: that is the number of steps that are left.

    `stats`: entity -> name -> how many. `for_person`: operation -> steps that only a person carries out. `waiting`: how much
    waits for somebody or something.
    """

    def __init__(self) -> None:
        self.stats: dict[str, Counter[str]] = {str(entity): Counter() for entity in Entity}
        self.tally = Tally()
        self.for_person: Counter[str] = Counter()
        self.waiting = 0
        self._push: Counter[str] = Counter()
        self._why_not: dict[int, tuple[str, str]] = {}
        """Items that are not handed over -> entity and the first reason."""
        self._blanked: dict[int, str] = {}

    def record(self, decision: Decision, pnpid: int, entity: str) -> None:
        """One more decision."""
        stats = self.stats[entity]
        if decision.fate in _FINAL:
            self._end(pnpid, entity, decision.fate, (decision.errors or decision.findings)[-1].code)
        stats["conflicts"] += len(decision.conflicts)
        stats["archived"] += decision.archived
        stats["missing"] += decision.missing
        if decision.push is not None:
            self._push["total"] += 1
            self._push[decision.push] += 1
        self.waiting += decision.waits
        for step in decision.steps:
            if isinstance(step, Archive) and step.needs is not None:
                self.for_person[step.op.value] += 1
        amounts, tally = decision.amounts, self.tally
        if amounts.gone:
            tally.gone[entity] += 1
        tally.older_rows += amounts.older_rows
        tally.older_assets += amounts.older_assets
        if amounts.blanks:
            self._blanked[pnpid] = entity
        if amounts.push_updates:
            tally.push_updates[entity] += 1
        if amounts.push_blanks:
            tally.push_blanks[entity] += 1

    def withdraw(self, pnpid: int, entity: str, fate: Fate, code: str) -> bool:
        """The item's step is left out after all, and waits; False if nothing is written for it anyway."""
        if pnpid in self._why_not:
            return False
        self._blanked.pop(pnpid, None)
        self._end(pnpid, entity, fate, code)
        self.waiting += 1
        return True

    def _end(self, pnpid: int, entity: str, fate: Fate, code: str) -> None:
        """Nothing is written for the item, whatever else is found out about it."""
        self.stats[entity][fate] += 1
        self._why_not.setdefault(pnpid, (str(entity), code))

    def counts(self, entity: str, *, created: int, updated: int) -> Stats:
        """What becomes of the items of a kind: unchanged is whatever is nothing else."""
        stats = Stats(**{str(name): count for name, count in self.stats[entity].items()})
        stats.created, stats.updated = created, updated
        stats.unchanged = stats.total - created - updated - stats.skipped - stats.errors
        return stats

    def push_stats(self) -> Stats:
        """What becomes of the items that have something to say to Plant 3D."""
        return Stats(**{str(name): count for name, count in self._push.items()})

    def weighed(self, by_entity: Mapping[str, Stats]) -> Tally:
        """What the guards look at, once it is known which steps are left."""
        self.tally.creates = Counter({name: one.created for name, one in by_entity.items()})
        self.tally.updates = Counter({name: one.updated for name, one in by_entity.items()})
        self.tally.blanks = Counter(self._blanked.values())
        return self.tally

    def not_handed_over(self) -> dict[int, str]:
        """Items that are not handed over -> the first reason."""
        return {pnpid: code for pnpid, (_entity, code) in self._why_not.items()}

    def reasons(self) -> dict[str, dict[str, int]]:
        """How many items are not handed over, by entity and reason."""
        found: dict[str, dict[str, int]] = {}
        for (entity, code), count in Counter(self._why_not.values()).items():
            found.setdefault(entity, {})[code] = count
        return found
