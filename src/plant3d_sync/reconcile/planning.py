"""From what both sides hold to a plan: every write, with its reason, before the first write.

The planner is fed item by item, so that its memory is the plan and the tags, not the project. Every decision is made
by a pure function (`decide.py`, `absence.py`) and added up here; a step that may not be carried out after all is
withdrawn from its pile before anything is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import starmap

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Link
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.plan import STAT_NAMES, GuardHit, Stats
from plant3d_sync.model.record import Asset, Finding, PlantItem, Value
from plant3d_sync.model.rules import REGISTRY_TAG, RuleSet, Translated
from plant3d_sync.model.schema import Step as SchemaStep
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import (
    Adopt,
    Create,
    Push,
    Restore,
    Update,
    to_text,
)
from plant3d_sync.reconcile import absence, guard, older
from plant3d_sync.reconcile.case import NOTHING_KNOWN, Case, Decision, Fate, Known, skipped
from plant3d_sync.reconcile.context import Context, Kind, Knowledge
from plant3d_sync.reconcile.decide import case_of, decide, has_its_own_identity, remarks, set_aside
from plant3d_sync.reconcile.draft import Draft, LineList, Lines
from plant3d_sync.reconcile.fields import lag_shown
from plant3d_sync.reconcile.latest import BY_TIME
from plant3d_sync.reconcile.ledger import Ledger
from plant3d_sync.reconcile.newcomer import creation
from plant3d_sync.reconcile.piles import Piles, Told
from plant3d_sync.reconcile.quarantine import IGNORED, told_of
from plant3d_sync.reconcile.tags import Claim, Tags, Unchanged


class Planner:
    """Builds one plan. Feed `see` with every changed item, `see_unchanged` with the rest, then `finish`.

    `pile`: makes the lists that hold the lines until then.
    """

    def __init__(self, rules: RuleSet, know: Knowledge, pile: Callable[[], LineList] = list[bytes]) -> None:
        self._on = Context(rules, know)
        self._piles = Piles(pile)
        self._told = Told()
        self._tags = Tags(know.unlinked)
        self._ledger = Ledger()
        self._examined: set[tuple[str, str]] = set()
        self._uncompared: set[str] = set()
        self._disputed: set[str] = set()
        self._there: set[str] = set()
        self._strays = dict(know.strays)
        self._sees_older_copy = False
        self._lag = 0.0
        self._lag_shown_by: tuple[int, str] | None = None
        self._by_time: list[Case] = []

    def known_links(
        self,
        holders: Mapping[str, int],
        count: Mapping[str, int],
        left_alone: Mapping[str, int] | None = None,
    ) -> None:
        """Announce the live links before the scan: tag in SYNAPSE now -> PnPID; how many there are of each kind.

        `left_alone`: the same of assets that a person keeps although their items are gone.
        """
        self._tags.announce(holders)
        self._tags.leave_alone(left_alone or {})
        self._ledger.tally.links_of = count
        self._ledger.tally.links = sum(count.values())

    def maps(self, class_name: str) -> bool:
        """Whether the mapping brings this class to SYNAPSE."""
        return class_name in self._on.rules.classes

    # ------------------------------------------------------------------ what is seen

    def see_unchanged(self, items: Sequence[Unchanged]) -> None:
        """Items whose digest is the stored one and whose links have nothing open."""
        for entity, count in Counter([item.entity for item in items]).items():
            if entity in self._on.know.entities:
                self._ledger.stats[entity]["total"] += count
        self._tags.claim_all(items)

    def set_aside(self, items: Sequence[Unchanged]) -> None:
        """Items that are there and could not be read whole this time: not compared, and not missed."""
        whose = [item.plant3d_id for item in items]
        self._uncompared.update(whose)
        self._there.update(whose)
        self.see_unchanged(items)

    def see(
        self,
        item: PlantItem,
        link: Link | None,
        asset: Asset | None,
        other: Link | None = None,
        known_as_ours: Sequence[Ours] = (),
        late: Mapping[str, Value] | None = None,
    ) -> None:
        """An item that is new, changed, or has something open.

        `asset`: the SYNAPSE asset that carries its identity, if it was just read. `other`: a link that
        holds the item's PnPID under another identity. `known_as_ours`: values of its cells, oldest first. `late`: what
        an overtaken run wrote into its asset last.
        """
        kind = self._on.kind(item.class_name)
        self._see(item, kind, kind.translate(item), Known(link, asset, other, known_as_ours, late))

    def see_new(self, items: Sequence[PlantItem]) -> None:
        """As `see` for items of which nothing is remembered, and of which SYNAPSE shows nothing: a first pull.

        An item with a tag of its own, about which nothing is to be said, becomes a creation and goes no further.
        """
        on, know = self._on, self._on.know
        usual = (
            on.pulls and know.schema is None and not (self._strays or know.questions or know.quarantine.rows)
        )
        usable, unlinked = on.rules.reading.tags.usable, know.unlinked
        stats, claim, put = self._ledger.stats, self._tags.claim, self._piles.creations.put
        for item in items:
            kind = on.kind(item.class_name)
            translated = kind.translate(item)
            shown = translated.fields.get("tag")
            tag = shown if translated.is_tagged and type(shown) is str else usable(shown)
            if (
                usual
                and tag is not None
                and tag not in unlinked
                and kind.asked
                and item.guid
                and not (item.sharing or translated.problems or (kind.is_line and not item.segments))
                and translated.columns.get("tag") != REGISTRY_TAG
            ):
                made = creation(item, kind, translated.fields, tag)
                if type(made) is Create:
                    stats[kind.name]["total"] += 1
                    claim(tag, item.pnpid, Claim(item.class_name, item.guid, kind.name))
                    put(kind.name, item.pnpid, to_text(made))
                    continue
            self._see(item, kind, translated, NOTHING_KNOWN)

    def _see(self, item: PlantItem, kind: Kind, translated: Translated, known: Known) -> None:
        on = self._on
        if self._strays:
            self._strays.pop(item.guid, None)
        if known.link is not None and known.link.missing is not None:
            self._there.add(item.guid)
        if kind.asked:
            self._ledger.stats[kind.name]["total"] += 1
        if on.know.schema is not None:
            translated = on.as_accepted(item.class_name, translated)
            if self._waits_for_schema(on.know.schema, item, kind, translated):
                return
        case = case_of(item, kind, translated, known, on)
        own = has_its_own_identity(item, known.link, known.other)
        if not own and self._is_set_aside(case, known.other, asked=kind.asked):
            return
        self._note(case)
        if kind.asked:
            self._decide(case)

    def _waits_for_schema(
        self, step: SchemaStep, item: PlantItem, kind: Kind, translated: Translated
    ) -> bool:
        """Whether the item's class came into the mapping by a change that nobody accepted yet."""
        enters = item.class_name in step.entering
        if enters or item.class_name in step.fields:
            self._uncompared.add(item.guid)
        if enters and kind.asked:
            self._add(_enters(item, self._on.tag_of(translated)), item.pnpid, item.guid, kind.entity)
        return enters

    def _note(self, case: Case) -> None:
        """What an item says besides its own fields: of its tag, of older copies, of a workstation's clock."""
        item, link = case.item, case.link
        if link is not None or case.translated.problems:
            self._told.findings.extend(remarks(case))
        if case.tag is not None and not self._on.rules.reading.is_undrawn(item):
            if self._on.tag_from_registry(case.translated):
                self._tags.only_registered(item.pnpid)
            self._tags.claim(case.tag, item.pnpid, Claim(item.class_name, item.guid, case.entity))
        if link is not None:
            self._sees_older_copy |= older.row_went_back(link, item)
            lag = lag_shown(case, link, self._on)
            if lag > self._lag:
                self._lag, self._lag_shown_by = lag, (item.pnpid, link.tag)

    def _decide(self, case: Case) -> None:
        self._look_at(case.item.guid, (WHOLE,))
        decision = decide(case, self._on)
        if case.link is not None and _is_by_time(decision):
            self._by_time.append(case)  # a row that is still to come may show that a clock was behind
        else:
            self._settle(decision, case)

    def _settle(self, decision: Decision, case: Case) -> None:
        """Add the decision about an item, without what of it waits in the quarantine."""
        settled = self._on.know.quarantine.settle(case.item.pnpid, decision)
        self._add(settled, case.item.pnpid, case.item.guid, case.entity)

    def _is_set_aside(self, case: Case, other: Link | None, *, asked: bool) -> bool:
        """Whether it cannot be told from another item: neither of them is compared, or counts as missing."""
        aside = set_aside(case, other)
        if aside is None:
            return False
        self._disputed.update(known.plant3d_id for known in (case.link, other) if known is not None)
        self._uncompared.add(case.item.guid)
        if asked:
            self._settle(aside, case)
        return True

    def gone(self, link: Link, *, older: bool = False) -> None:
        """A link whose item this complete read did not show, if there is anything to say about it.

        `older`: what was read is of an earlier day.
        """
        self._uncompared.add(link.plant3d_id)
        asked = self._on.pulls and Entity(link.entity) in self._on.know.entities
        if asked and link.plant3d_id not in self._disputed:
            # a disputed one was seen in some row: that is an error of the row, not an absence
            decision = absence.decide(link, self._on, older=older or self._sees_older_copy)
            decision = self._on.know.quarantine.settle(link.pnpid, decision)
            self._add(decision, link.pnpid, link.plant3d_id, link.entity)

    # ------------------------------------------------------------------ adding up

    def _add(self, decision: Decision, pnpid: int, guid: str, entity: str) -> None:
        """One more decision."""
        for step in decision.steps:
            self._piles.put(step)
        if decision.fate is Fate.CREATED and not decision.findings:
            return  # the usual case of a first pull
        self._ledger.record(decision, pnpid, entity)
        self._told.add(decision)
        if decision.uncompared:
            self._uncompared.add(guid)
        self._look_at(guid, decision.looked_at)
        if decision.ends_questions:
            self._examined |= {one for one in self._on.know.questions if one[0] == guid}
        if decision.released is not None:
            self._tags.release(decision.released)
        if decision.taken is not None:
            self._tags.take(decision.taken, pnpid)

    def _look_at(self, guid: str, names: Iterable[str]) -> None:
        """An open question is asked again, or answered, by comparing its own item; nothing else ends it."""
        if self._on.know.questions:
            self._examined |= self._on.know.questions.intersection([(guid, name) for name in names])

    # ------------------------------------------------------------------ the end

    def finish(self, extra_guards: Sequence[GuardHit] = ()) -> Draft:
        """Settle everything that needs the whole picture: duplicate tags, taken tags, order, guards."""
        self._decide_by_time()
        self._tell_strays()
        self._judge_tags()
        know = self._on.know
        lines = Lines(self._piles.in_order(), self._on.rules.digest)
        by_entity = {str(entity): self._counts(entity) for entity in Entity}
        total = Stats(**{name: sum(getattr(one, name) for one in by_entity.values()) for name in STAT_NAMES})
        total.findings = len(self._told.findings)
        tally, push = self._ledger.weighed(by_entity), self._ledger.push_stats()
        first_sync = tally.links == 0 or know.first_pull
        amounts = guard.check_amounts(tally, know.limits, first_sync=first_sync)
        return Draft(
            lines=lines,
            stats=total,
            by_entity={str(entity): by_entity[entity] for entity in Entity if entity in know.entities},
            push_stats=push,
            tally=tally,
            guards=[*extra_guards, *amounts, *guard.check_older(tally)],
            errors=self._told.errors,
            findings=self._told.findings,
            conflicts=self._told.conflicts,
            work_items=self._told.work_items,
            fingerprint=lines.fingerprint,
            writes={
                "synapse": total.created + total.updated + total.archived,
                "plant3d": push.updated,
            },
            waiting=self._ledger.waiting,
            waiting_for_person={op: count for op, count in self._ledger.for_person.items() if count},
            remembered=self._piles.remembered,
            examined=frozenset(self._examined),
            reasons=self._ledger.reasons(),
            not_handed_over=self._ledger.not_handed_over(),
            fates=self._told.choices,
            uncompared=frozenset(self._uncompared | self._disputed),
            there=frozenset(self._there),
            lag=self._lag,
            lag_shown_by=self._lag_shown_by,
        )

    def _decide_by_time(self) -> None:
        """What time decides is decided by what every row of this read shows of the clocks."""
        on = self._on.knowing(self._lag)
        for case in self._by_time:
            self._settle(decide(case, on), case)

    def _counts(self, entity: str) -> Stats:
        """What becomes of the items of a kind, as far as steps are left."""
        return self._ledger.counts(
            entity, created=self._piles.created(entity), updated=self._piles.updated(entity)
        )

    def _tell_strays(self) -> None:
        """Assets with an identity of ours that no item carries: no link tells of them, so the run does."""
        self._told.findings.extend(starmap(_stray, self._strays.items()))

    def _judge_tags(self) -> None:
        """Withdraw what is planned for items that may not have their tag."""
        for pnpid, holder, told in self._tags.shared():
            self._uncompared.add(holder.plant3d_id)
            if holder.entity in self._on.know.entities:
                self._withdraw(pnpid, holder.entity, Fate.SKIPPED, told.code)
                self._told.findings.append(told)
        for asset_id, tag in self._strays.values():
            self._tags.stray(tag, asset_id)
        created = self._piles.creations
        for item, holder, held, told in self._tags.look_alikes(created):
            if item is None:
                self._told.findings.append(told)
            elif holder.entity in self._on.know.entities:
                if held:
                    self._uncompared.add(holder.plant3d_id)
                    self._withdraw(item, holder.entity, Fate.SKIPPED, told.code)
                self._told.findings.append(told)
        for pnpid, entity, error in self._tags.refused(self._piles.renames, created):
            self._uncompared.add(self._tags.holder(pnpid).plant3d_id)
            ignored = self._on.know.quarantine.ignored(error)
            if ignored is not None:
                self._withdraw(pnpid, entity, Fate.SKIPPED, IGNORED)
                self._told.findings.append(told_of(ignored))
                continue
            self._withdraw(pnpid, entity, Fate.ERRORS, error.code)
            self._told.errors.append(error)

    def _withdraw(self, pnpid: int, entity: str, fate: Fate, code: str) -> None:
        """Leave the item's step out of the plan; what the item is otherwise found to be stays."""
        if self._ledger.withdraw(pnpid, entity, fate, code):
            self._piles.withdraw(pnpid, entity)


def _stray(guid: str, held: tuple[str, str]) -> Finding:
    asset_id, tag = held
    return Finding(
        code="asset_without_item",
        message=f"The asset {tag} carries the identity {guid}, which no mapped item of Plant 3D has. Left alone.",
        hint="If its item was deleted, archive the asset in SYNAPSE.",
        tag=tag,
        data={"plant3d_id": guid, "asset_id": asset_id},
    )


def _is_by_time(decision: Decision) -> bool:
    """Whether something of it was decided because one side's edit is the later one."""
    return any(
        not BY_TIME.isdisjoint(step.why.values())
        for step in decision.steps
        if isinstance(step, Update | Adopt | Restore | Push)
    )


def _enters(item: PlantItem, tag: str | None) -> Decision:
    return skipped(
        item,
        tag,
        "schema_step",
        f"The class {item.class_name} came into what the mapping brings by a change of the schema. "
        "Nothing was done with the item.",
        "`plant3d-sync schema show` shows the step; once it is accepted, the next run takes the item along.",
    )


__all__ = ["Draft", "Knowledge", "Planner"]
