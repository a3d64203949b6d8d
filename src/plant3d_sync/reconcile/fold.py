"""Decisions added up: the piles of steps, the counts, what people are told, and what the next run must know.

A decision is added once and never taken back; whoever may not have his tag after all has his step withdrawn from its
pile before anything is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce

from plant3d_sync.model.plan import GuardHit, Stats
from plant3d_sync.model.record import Finding
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import Create, to_text
from plant3d_sync.reconcile import guard
from plant3d_sync.reconcile.case import Case, Decision, Fate
from plant3d_sync.reconcile.context import Context, Knowledge
from plant3d_sync.reconcile.draft import Draft, LineList, Lines
from plant3d_sync.reconcile.ledger import Ledger
from plant3d_sync.reconcile.piles import Piles, Told
from plant3d_sync.reconcile.rulings import Ruling, rulings
from plant3d_sync.reconcile.sight import Sight
from plant3d_sync.reconcile.tags import Claim, Tags, Unchanged


class Fold:
    """What all decisions so far come to. `pile`: makes the lists that hold their steps.

    `uncompared`, `there`, `lag`, `lag_shown_by`: as `Draft` has them. `went_back`: some row is of an earlier day.
    """

    def __init__(self, know: Knowledge, pile: Callable[[], LineList]) -> None:
        self.uncompared: set[str] = set()
        self.there: set[str] = set()
        self.went_back = False
        self.lag = 0.0
        self.lag_shown_by: tuple[int, str] | None = None
        self._know = know
        self._piles = Piles(pile)
        self._told = Told()
        self._tags = Tags(know.unlinked)
        self._ledger = Ledger()
        self._examined: set[tuple[str, str]] = set()

    def announce(
        self, holders: Mapping[str, int], count: Mapping[str, int], left_alone: Mapping[str, int]
    ) -> None:
        """The live links: tag in SYNAPSE now -> PnPID; how many of each kind; tags of assets whose items are gone."""
        self._tags.announce(holders)
        self._tags.leave_alone(left_alone)
        self._ledger.tally.links_of = count
        self._ledger.tally.links = sum(count.values())

    def count(self, entity: str, number: int = 1) -> None:
        """Items of a kind, whatever becomes of them."""
        self._ledger.stats[entity]["total"] += number

    def carry(self, items: Sequence[Unchanged]) -> None:
        """Items that carry the tags they had."""
        self._tags.claim_all(items)

    def create(self, step: Create, tag: str, claim: Claim) -> None:
        """An item of which there is nothing to say but that it is new: nearly all of a first pull."""
        entity, pnpid = step.entity, step.pnpid
        self._ledger.stats[entity]["total"] += 1
        self._tags.claim(tag, pnpid, claim)
        self._piles.creations.put(entity, pnpid, to_text(step))

    def see(self, case: Case, seen: Sight) -> None:
        """What an item shows, whatever is decided about it."""
        pnpid, link = case.item.pnpid, case.link
        self._told.findings.extend(seen.remarks)
        if seen.registered:
            self._tags.only_registered(pnpid)
        if seen.claim is not None and case.tag is not None:
            self._tags.claim(case.tag, pnpid, seen.claim)
        self.went_back |= seen.went_back
        if link is not None and seen.lag > self.lag:
            self.lag, self.lag_shown_by = seen.lag, (pnpid, link.tag)

    def tell(self, findings: Iterable[Finding]) -> None:
        """What is found besides."""
        self._told.findings.extend(findings)

    def add(self, decision: Decision, pnpid: int, guid: str, entity: str) -> None:
        """One more decision."""
        for step in decision.steps:
            self._piles.put(step)
        if decision.fate is Fate.CREATED and not decision.findings:
            return  # the usual case of a first pull
        self._ledger.record(decision, pnpid, entity)
        self._told.add(decision)
        if decision.uncompared:
            self.uncompared.add(guid)
        self.look_at(guid, decision.looked_at)
        if decision.ends_questions:
            self._examined |= {one for one in self._know.questions if one[0] == guid}
        if decision.released is not None:
            self._tags.release(decision.released)
        if decision.taken is not None:
            self._tags.take(decision.taken, pnpid)

    def look_at(self, guid: str, names: Iterable[str]) -> None:
        """An open question is asked again, or answered, by comparing its own item; nothing else ends it."""
        if self._know.questions:
            self._examined |= self._know.questions.intersection([(guid, name) for name in names])

    def judge_tags(self, strays: Mapping[str, tuple[str, str]]) -> None:
        """Withdraw what is planned for items that may not have their tag. `strays`: as `Knowledge` has them."""
        for ruling in rulings(self._tags, self._piles, strays, self._know):
            self._carry_out(ruling)

    def _carry_out(self, ruling: Ruling) -> None:
        loss = ruling.loss
        if ruling.guid is not None:
            self.uncompared.add(ruling.guid)
        if loss is not None and self._ledger.withdraw(loss.pnpid, loss.entity, loss.fate, loss.code):
            self._piles.withdraw(loss.pnpid, loss.entity)  # what the item is otherwise found to be stays
        if ruling.finding is not None:
            self._told.findings.append(ruling.finding)
        if ruling.error is not None:
            self._told.errors.append(ruling.error)

    def draft(self, on: Context, extra_guards: Sequence[GuardHit]) -> Draft:
        """The plan that it came to. `extra_guards`: those that stop it whatever it holds."""
        know, piles, told, ledger = self._know, self._piles, self._told, self._ledger
        lines = Lines(piles.in_order(), on.rules.digest)
        by_entity = {str(entity): self._counts(entity) for entity in Entity}
        total = reduce(Stats.plus, by_entity.values(), Stats(findings=len(told.findings)))
        tally, push = ledger.weighed(by_entity), ledger.push_stats()
        first_sync = tally.links == 0 or know.first_pull
        amounts = guard.check_amounts(tally, know.limits, first_sync=first_sync)
        return Draft(
            lines=lines,
            stats=total,
            by_entity={str(entity): by_entity[entity] for entity in Entity if entity in know.entities},
            push_stats=push,
            tally=tally,
            guards=[*extra_guards, *amounts, *guard.check_older(tally)],
            errors=told.errors,
            findings=told.findings,
            conflicts=told.conflicts,
            work_items=told.work_items,
            fingerprint=lines.fingerprint,
            writes={"synapse": total.created + total.updated + total.archived, "plant3d": push.updated},
            waiting=ledger.waiting,
            waiting_for_person={op: count for op, count in ledger.for_person.items() if count},
            remembered=piles.remembered,
            examined=frozenset(self._examined),
            reasons=ledger.reasons(),
            not_handed_over=ledger.not_handed_over(),
            fates=told.choices,
            uncompared=frozenset(self.uncompared),
            there=frozenset(self.there),
            lag=self.lag,
            lag_shown_by=self.lag_shown_by,
        )

    def _counts(self, entity: str) -> Stats:
        """What becomes of the items of a kind, as far as steps are left."""
        return self._ledger.counts(
            entity, created=self._piles.created(entity), updated=self._piles.updated(entity)
        )
