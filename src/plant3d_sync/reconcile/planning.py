"""From what both sides hold to a plan: every write, with its reason, before the first write.

The planner is fed item by item, so that its memory is the plan and the tags, not the project. Every decision is made
by a pure function (`decide.py`, `absence.py`) and added up (`fold.py`); a step that may not be carried out after all is
withdrawn from its pile before anything is counted (`rulings.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import starmap

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Link
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.plan import GuardHit
from plant3d_sync.model.record import Asset, Finding, PlantItem, Value
from plant3d_sync.model.rules import REGISTRY_TAG, RuleSet, Translated
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import Adopt, Create, Push, Restore, Update
from plant3d_sync.reconcile import absence, unaccepted
from plant3d_sync.reconcile.case import NOTHING_KNOWN, Case, Decision, Known
from plant3d_sync.reconcile.context import Context, Kind, Knowledge
from plant3d_sync.reconcile.decide import case_of, decide, has_its_own_identity, set_aside
from plant3d_sync.reconcile.draft import Draft, LineList
from plant3d_sync.reconcile.fold import Fold
from plant3d_sync.reconcile.latest import BY_TIME
from plant3d_sync.reconcile.newcomer import creation
from plant3d_sync.reconcile.sight import sight_of
from plant3d_sync.reconcile.tags import Claim, Unchanged


class Planner:
    """Builds one plan. Feed `see` with every changed item, `see_unchanged` with the rest, then `finish`.

    `pile`: makes the lists that hold the lines until then.
    """

    def __init__(self, rules: RuleSet, know: Knowledge, pile: Callable[[], LineList] = list[bytes]) -> None:
        self._on = Context(rules, know)
        self._fold = Fold(know, pile)
        self._disputed: set[str] = set()
        self._strays = dict(know.strays)
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
        self._fold.announce(holders, count, left_alone or {})

    def maps(self, class_name: str) -> bool:
        """Whether the mapping brings this class to SYNAPSE."""
        return class_name in self._on.rules.classes

    # ------------------------------------------------------------------ what is seen

    def see_unchanged(self, items: Sequence[Unchanged]) -> None:
        """Items whose digest is the stored one and whose links have nothing open."""
        for entity, count in Counter([item.entity for item in items]).items():
            if entity in self._on.know.entities:
                self._fold.count(entity, count)
        self._fold.carry(items)

    def set_aside(self, items: Sequence[Unchanged]) -> None:
        """Items that are there and could not be read whole this time: not compared, and not missed."""
        whose = [item.plant3d_id for item in items]
        self._fold.uncompared.update(whose)
        self._fold.there.update(whose)
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
        usable, unlinked, create = on.rules.reading.tags.usable, know.unlinked, self._fold.create
        of_class, kind = "", None
        for item in items:
            if kind is None or item.class_name != of_class:
                of_class = item.class_name
                kind = on.kind(of_class)
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
                    create(made, tag, Claim(item.class_name, item.guid, kind.name))
                    continue
            self._see(item, kind, translated, NOTHING_KNOWN)

    def _see(self, item: PlantItem, kind: Kind, translated: Translated, known: Known) -> None:
        on, fold = self._on, self._fold
        if self._strays:
            self._strays.pop(item.guid, None)
        if known.link is not None and known.link.missing is not None:
            fold.there.add(item.guid)
        if kind.asked:
            fold.count(kind.name)
        if (step := on.know.schema) is not None:
            translated = on.as_accepted(item.class_name, translated)
            if unaccepted.concerns(step, item.class_name):
                fold.uncompared.add(item.guid)
            if unaccepted.enters(step, item.class_name):
                if kind.asked:
                    kept = unaccepted.kept_back(item, on.tag_of(translated))
                    fold.add(kept, item.pnpid, item.guid, kind.entity)
                return
        case = case_of(item, kind, translated, known, on)
        own = has_its_own_identity(item, known.link, known.other)
        if not own and self._is_set_aside(case, known.other, asked=kind.asked):
            return
        fold.see(case, sight_of(case, on))
        if kind.asked:
            fold.look_at(item.guid, (WHOLE,))
            self._decide(case)

    def _decide(self, case: Case) -> None:
        decision = decide(case, self._on)
        if case.link is not None and _is_by_time(decision):
            self._by_time.append(case)  # a row that is still to come may show that a clock was behind
        else:
            self._settle(decision, case)

    def _settle(self, decision: Decision, case: Case) -> None:
        """Add the decision about an item, without what of it waits in the quarantine."""
        settled = self._on.know.quarantine.settle(case.item.pnpid, decision)
        self._fold.add(settled, case.item.pnpid, case.item.guid, case.entity)

    def _is_set_aside(self, case: Case, other: Link | None, *, asked: bool) -> bool:
        """Whether it cannot be told from another item: neither of them is compared, or counts as missing."""
        aside = set_aside(case, other)
        if aside is None:
            return False
        disputed = [known.plant3d_id for known in (case.link, other) if known is not None]
        self._disputed.update(disputed)
        self._fold.uncompared.update((case.item.guid, *disputed))
        if asked:
            self._settle(aside, case)
        return True

    def gone(self, link: Link, *, older: bool = False) -> None:
        """A link whose item this complete read did not show, if there is anything to say about it.

        `older`: what was read is of an earlier day.
        """
        self._fold.uncompared.add(link.plant3d_id)
        asked = self._on.pulls and Entity(link.entity) in self._on.know.entities
        if asked and link.plant3d_id not in self._disputed:
            # a disputed one was seen in some row: that is an error of the row, not an absence
            decision = absence.decide(link, self._on, older=older or self._fold.went_back)
            decision = self._on.know.quarantine.settle(link.pnpid, decision)
            self._fold.add(decision, link.pnpid, link.plant3d_id, link.entity)

    # ------------------------------------------------------------------ the end

    def finish(self, extra_guards: Sequence[GuardHit] = ()) -> Draft:
        """Settle everything that needs the whole picture: what time decides, whose asset is whose, tags, guards."""
        on = self._on.knowing(self._fold.lag)  # what every row of this read shows of the clocks
        for case in self._by_time:
            self._settle(decide(case, on), case)
        self._fold.tell(starmap(_stray, self._strays.items()))
        self._fold.judge_tags(self._strays)
        return self._fold.draft(self._on, extra_guards)


def _stray(guid: str, held: tuple[str, str]) -> Finding:
    """An asset with an identity of ours that no item carries: no link tells of it, so the run does."""
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


__all__ = ["Draft", "Knowledge", "Planner"]
