"""From what both sides hold to a plan: every write, with its reason, before the first write.

The planner is fed item by item, so that its memory is the plan and the tags, not the project.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import islice
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.cells import check_cell, equals_default
from plant3d_sync.model.link import REVERTED, Flip, Hold, Interval, Link, LinkState, Missing, Open
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.outcome import FieldOutcome, Resolution, Times, Verdict
from plant3d_sync.model.plan import (
    GuardHit,
    Limits,
    MissingPolicy,
    RowError,
    Stats,
    Tally,
)
from plant3d_sync.model.record import Asset, Finding, PlantItem, Value
from plant3d_sync.model.rules import REGISTRY_TAG, FieldRule, RuleSet, Translated
from plant3d_sync.model.side import Direction, Entity, Owner, Side, WriteMode
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    After,
    AfterCreation,
    Archive,
    Cell,
    Create,
    Push,
    Restore,
    Settle,
    Touch,
    Update,
    to_text,
    values_text,
)
from plant3d_sync.model.tags import (
    MAX_TAG,
    TagRule,
    Unusable,
    control_character,
    look_alike_key,
    misread_key,
    telling_apart,
)
from plant3d_sync.reconcile import guard, identity, missing, older, ours
from plant3d_sync.reconcile.advance import value_pair
from plant3d_sync.reconcile.definitions import Definitions
from plant3d_sync.reconcile.guard import newly_pushed
from plant3d_sync.reconcile.merge import NO_BASE, is_blank, merge_field
from plant3d_sync.reconcile.ours import Copy
from plant3d_sync.reconcile.showing import shows_through
from plant3d_sync.words import said

FLIP_LIMIT = 6
"""So many writes between the same two values, and the field is frozen."""

FOLLOWED = ""
"""Fate of a choice that the plan carries out."""
SIDE_MOVED = "a side moved elsewhere"
ITEM_BACK = "the item is back in Plant 3D"
ITEM_GONE = "the item is gone from Plant 3D"
ASSET_LIVES = "the asset is not archived any more"
ARCHIVED_IN_SYNAPSE, GONE_FROM_PLANT3D = "archived_in_synapse", "gone_from_plant3d"
"""Questions about a whole item."""
SHOWS_THROUGH = "shows_through"
"""A field that cannot be emptied by emptying one cell."""
AGREED = "both sides agree on another value"
WHOLE = "*"
"""The field of a question about a whole item."""

MAX_SUBTYPE, MAX_DESCRIPTION, MAX_ATTRIBUTES = 100, 4000, 64 * 1024
"""Limits of SYNAPSE's asset (contract D.2), checked while planning so that a dry run finds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the planner may look at besides the items. Times are POSIX seconds on our clock.

    `last_plant3d_read` / `last_synapse_read`: when each side was last seen completely.
    `unlinked`: tag -> (asset id, asset type) of live SYNAPSE assets without a link of ours.
    """

    now: float
    now_iso: str
    direction: Direction
    entities: frozenset[Entity]
    catalog: Catalog
    limits: Limits = Limits()
    missing: MissingPolicy = MissingPolicy()
    write_mode: WriteMode = WriteMode.OFF
    signature: str | None = None
    tolerance: float = 120.0
    skew: float | None = None
    last_plant3d_read: float | None = None
    last_synapse_read: float | None = None
    unlinked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    resolutions: Mapping[tuple[int, str], Resolution] = field(default_factory=dict)
    questions: frozenset[tuple[str, str]] = frozenset()
    """(identity, field) of the conflicts that are open; `Draft.examined` says which of them were compared."""
    only_assets: frozenset[str] | None = None
    workbook_days: float = 14.0
    strays: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Identity -> (asset id, tag) of live SYNAPSE assets that carry an identity of ours and have no link."""
    definitions: Definitions | None = None
    """The mapping as it is and as it was; None: nothing is known to have changed."""
    lost: frozenset[str] = frozenset()
    """Identities of links whose asset a complete read of SYNAPSE did not show any more."""
    first_pull: bool = False
    """The links so far are of a first pull that was interrupted; it goes on as it began, without the create guard."""


@dataclass(slots=True, kw_only=True)
class ConflictDraft:
    """A conflict as the plan found it; the state decides whether it is new, known or closed."""

    link_id: int | None
    plant3d_id: str
    asset_id: str | None
    tag: str
    field: str
    kind: str
    base: Value
    has_base: bool
    plant3d: Value
    synapse: Value
    plant3d_seen: Interval | None
    synapse_seen: Interval | None
    synapse_at: str | None
    synapse_by: str | None
    suggestion: str
    suggestion_reason: str
    drawing: str | None
    plant3d_ticks: int | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        data: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        for name in ("plant3d_seen", "synapse_seen"):
            seen = data[name]
            data[name] = [seen.at_base, seen.away] if isinstance(seen, Interval) else None
        return data


class _Holder(Protocol):
    """Whose tag or identity it is."""

    @property
    def class_name(self) -> str:
        """Its class when it was linked."""
        ...

    @property
    def plant3d_id(self) -> str:
        """Its identity."""
        ...

    @property
    def entity(self) -> str:
        """Kind of asset."""
        ...


class Unchanged(_Holder, Protocol):
    """What the planner needs to know of an item that did not change."""

    @property
    def pnpid(self) -> int:
        """The item."""
        ...

    @property
    def tag(self) -> str:
        """Its tag."""
        ...


class _Claim(msgspec.Struct, gc=False):
    class_name: str
    plant3d_id: str
    entity: str


class LineList(Protocol):
    """A list of JSON lines that may live outside of memory. Setting an index to b"" drops that line."""

    def append(self, line: bytes, /) -> None:
        """Add one line."""
        ...

    def __setitem__(self, index: int, line: bytes, /) -> None:
        """Drop one line."""
        ...

    def __len__(self) -> int:
        """The index the next line gets."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The lines in order; a dropped one is left out or empty."""
        ...


_LINES_AT_ONCE = 100


class Lines:
    """All lines of a plan in the order of writing, one pile after the other. `seed`: what the fingerprint begins with."""

    def __init__(self, piles: Sequence[Iterable[bytes]], seed: str) -> None:
        self._piles = tuple(piles)
        digest = hashlib.blake2b(seed.encode(), digest_size=16)
        self._count = 0
        lines = iter(self)
        while piece := list(islice(lines, _LINES_AT_ONCE)):
            self._count += len(piece)
            digest.update(b"".join(piece))
        self.fingerprint = digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """The lines."""
        for pile in self._piles:
            for line in pile:
                if line:
                    yield line

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def clear(self) -> None:
        """Forget them: they are stored."""
        self._piles, self._count = (), 0


@dataclass(slots=True)
class Draft:
    """A finished plan before it is stored. `lines` are JSON bytes in the order of writing."""

    lines: Lines
    stats: Stats
    by_entity: dict[str, Stats]
    push_stats: Stats
    tally: Tally
    guards: list[GuardHit]
    errors: list[RowError]
    findings: list[Finding]
    conflicts: list[ConflictDraft]
    work_items: list[dict[str, object]]
    fingerprint: str
    writes: dict[str, int]
    waiting: int
    waiting_for_person: dict[str, int]
    """Operation -> lines that only a person carries out, by applying the plan."""
    examined: frozenset[tuple[str, str]] = frozenset()
    """Open questions whose own item was compared: asked again, or answered. The others stay as they are."""
    fates: Mapping[str, str] = field(default_factory=dict)
    """What became of the choices that were looked at: conflict id -> FOLLOWED, or why the choice is void."""
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Entity -> code -> items that are skipped or set aside for it."""
    uncompared: frozenset[str] = frozenset()
    """Identities that this read did not compare: absent, or set aside with an error or a finding of the row."""


class Planner:
    """Builds one plan. Feed `see` with every changed item, `see_unchanged` with the rest, then `finish`.

    `pile`: makes the lists that hold the lines until then.
    """

    def __init__(self, rules: RuleSet, know: Knowledge, pile: Callable[[], LineList] = list[bytes]) -> None:
        self._rules = rules
        self._know = know
        self._stats: dict[str, Stats] = {str(entity): Stats() for entity in Entity}
        self._push = Stats()
        self._tally = Tally()
        self._lines: dict[str, LineList] = {name: pile() for name in ("free", "update", "create", "quiet")}
        self._create_index: dict[int, int] = {}
        self._create_line = self._lines["create"].append
        self._creations = 0
        self._update_index: dict[int, int] = {}
        self._adopt_index: dict[int, int] = {}
        self._fate: dict[int, str] = {}
        self._disputed: set[str] = set()
        self._uncompared: set[str] = set()
        self._renames: dict[int, tuple[str | None, str, bytes, str, bool]] = {}
        self._holders: dict[str, int] = {}
        self._shared_tags: dict[str, list[int]] = {}
        self._info: dict[int, _Holder] = {}
        self._why_not: dict[int, tuple[str, str]] = {}
        """Items that are not handed over -> entity and the first reason."""
        self._registered: set[int] = set()
        """Items whose tag only the registry knows."""
        self._live: dict[str, int] = {}
        self._released: set[str] = set()
        self._errors: list[RowError] = []
        self._findings: list[Finding] = []
        self._conflicts: list[ConflictDraft] = []
        self._work: list[dict[str, object]] = []
        self._waiting = 0
        self._for_person: Counter[str] = Counter()
        self._examined: set[tuple[str, str]] = set()
        self._fates: dict[str, str] = {}
        self._entity_of = {name: rule.entity for name, rule in rules.classes.items()}
        self._synapse_owned = {
            name: owned
            for name, rule in rules.classes.items()
            if (owned := frozenset(f for f, r in rule.fields.items() if r.owner is Owner.SYNAPSE))
        }
        self._pulls = know.direction is not Direction.PUSH
        self._pushes = know.direction is not Direction.PULL
        self._strays = dict(know.strays)
        self._sees_older_copy = False

    # ------------------------------------------------------------------ what is linked

    def known_links(self, holders: Mapping[str, int], count: Mapping[str, int]) -> None:
        """Announce the live links before the scan: tag in SYNAPSE now -> PnPID; how many there are of each kind."""
        self._live.update(holders)
        self._tally.links_of = count
        self._tally.links = sum(count.values())

    def maps(self, class_name: str) -> bool:
        """Whether the mapping brings this class to SYNAPSE."""
        return class_name in self._rules.classes

    # ------------------------------------------------------------------ items

    def see_unchanged(self, items: Sequence[Unchanged]) -> None:
        """Items whose digest is the stored one and whose links have nothing open."""
        for entity, count in Counter([item.entity for item in items]).items():
            if entity in self._know.entities:
                self._stats[entity].total += count
                self._stats[entity].unchanged += count
        holders = {item.tag: item.pnpid for item in items}
        if len(holders) == len(items) and self._holders.keys().isdisjoint(holders):
            self._holders.update(holders)
            self._info.update(zip(holders.values(), items, strict=True))
            return
        for item in items:
            self._claim_tag(item.tag, item.pnpid, item.class_name, item.plant3d_id, item.entity)

    def set_aside(self, items: Sequence[Unchanged]) -> None:
        """Items that are there and could not be read whole this time: not compared, and not missed."""
        self._uncompared.update(item.plant3d_id for item in items)
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
        entity = self._entity_of[item.class_name]
        asked = entity in self._know.entities
        self._strays.pop(item.guid, None)
        translated = self._rules.translate[item.class_name](item)
        if asked:
            self._stats[entity].total += 1
        if link is None and other is None and item.guid and not item.sharing:
            problem = None
        else:
            problem = self._identity_problem(item, link, other, entity)
        if problem is not None:
            self._disputed.update(known.plant3d_id for known in (link, other) if known is not None)
            self._uncompared.add(item.guid)
            if asked:
                self._row_error(item, entity, problem)
            return
        self._sees_older_copy |= link is not None and older.row_went_back(link, item)
        if translated.problems:
            self._field_problems(item, translated)
        tag = self._tag_of(translated)
        if tag is not None and translated.columns.get("tag") == REGISTRY_TAG:
            if link is not None and link.base is not None and tag != link.base.get("tag", link.tag):
                tag = None  # two records of one tag disagree: nobody is renamed by the registry
            self._registered.add(item.pnpid)
        if tag is not None:
            self._claim_tag(tag, item.pnpid, item.class_name, item.guid, entity)
        if not asked:
            return
        self._look_at(item.guid, WHOLE)
        if link is None and asset is None:
            self._new(item, entity, translated, tag)
        elif link is not None and item.guid in self._know.lost:
            self._findings.append(
                Finding(
                    code="asset_lost",
                    message="The asset is not in SYNAPSE any more (removed there, or an older backup); created again.",
                    pnpid=item.pnpid,
                    class_name=item.class_name,
                    tag=link.tag,
                )
            )
            self._new(item, entity, translated, tag, link_id=link.link_id)
        elif (asset is not None and asset.archived) or (
            asset is None and link is not None and _was_archived(link)
        ):
            self._archived_in_synapse(item, entity, link, translated, asset, known_as_ours, late or {})
        elif link is None and asset is not None:
            self._adopt(item, entity, translated, tag, asset, known_as_ours)
        elif link is not None:
            self._linked(
                item, entity, translated, tag, link, asset, known_as_ours=known_as_ours, late=late or {}
            )

    def _tag_of(self, translated: Translated) -> str | None:
        tag = translated.fields.get("tag")
        if isinstance(tag, str) and self._rules.is_tagged(tag):
            return tag.strip()
        return None

    def _claim_tag(self, tag: str, pnpid: int, class_name: str, guid: str, entity: str) -> None:
        first = self._holders.setdefault(tag, pnpid)
        if first != pnpid:
            self._shared_tags.setdefault(tag, [first]).append(pnpid)
        self._info[pnpid] = _Claim(class_name, guid, entity)

    def _identity_problem(
        self, item: PlantItem, link: Link | None, other: Link | None, entity: Entity
    ) -> RowError | None:
        problem = identity.problem_of(item, link, other, entity.value)
        if problem is None and link is not None and link.class_name != item.class_name:
            self._findings.append(
                Finding(
                    code="class_changed",
                    message=f"The class changed from {link.class_name} to {item.class_name}.",
                    pnpid=item.pnpid,
                    class_name=item.class_name,
                    tag=link.tag,
                )
            )
        return problem

    def _field_problems(self, item: PlantItem, translated: Translated) -> None:
        for name, code, message in translated.problems:
            self._findings.append(
                Finding(
                    code=code,
                    message=message,
                    pnpid=item.pnpid,
                    class_name=item.class_name,
                    column=name,
                    tag=self._tag_of(translated),
                )
            )

    def _look_at(self, guid: str, name: str) -> None:
        """An open question is asked again, or answered, by comparing its own item; nothing else ends it."""
        if (guid, name) in self._know.questions:
            self._examined.add((guid, name))

    def _ends(self, guid: str) -> None:
        """The item and its asset are no more: every question about them ends."""
        self._examined |= {question for question in self._know.questions if question[0] == guid}

    def _choice(self, link: Link, kind: str) -> Resolution | None:
        """A person's choice about the whole item, if it answers this kind of question."""
        choice = self._know.resolutions.get((link.link_id, WHOLE))
        return choice if choice is not None and choice.kind == kind else None

    def _void_choice(self, link: Link, kind: str, why: str) -> None:
        """The question that a choice answered does not arise any more."""
        choice = self._choice(link, kind)
        if choice is not None:
            self._fates[choice.conflict_id] = why

    # ------------------------------------------------------------------ new items

    def _new(
        self,
        item: PlantItem,
        entity: Entity,
        translated: Translated,
        tag: str | None,
        *,
        link_id: int | None = None,
    ) -> None:
        if tag is None:
            self._skip_untagged(item, entity, translated)
            return
        if not self._pulls:
            self._stats[entity].unchanged += 1
            return
        holder = self._know.unlinked.get(tag)
        if holder is not None:
            self._skip(
                item,
                entity,
                tag,
                "unlinked_asset",
                f"SYNAPSE already holds an asset with the tag {tag} that is not linked. Nothing was created.",
                "Run `links propose`, review the pairs, then `links accept`.",
                {"asset_id": holder[0], "asset_type": holder[1]},
            )
            self._waiting += 1
            return
        fields = translated.fields
        values = {name: value for name, value in fields.items() if value is not None}
        blank: dict[str, Value] = {}  # known to be empty, which is not the same as never agreed
        if len(values) < len(fields):
            blank = {name: None for name in fields if name not in values}
        theirs = self._synapse_owned.get(item.class_name)
        if theirs:  # never overwritten from Plant 3D, not even at birth
            values = {name: value for name, value in values.items() if name not in theirs}
        values["tag"] = tag
        problem = self._value_problem(values)
        if problem is not None:
            self._value_error(item, entity, tag, problem)
            return
        self._stats[entity].created += 1
        self._tally.creates[entity] += 1
        after = AfterCreation(digest=item.digest.hex(), ticks=item.timestamp, revision=item.revision)
        if len(fields) < len(self._rules.classes[item.class_name].fields):
            after.pending = self._unread(item, translated, None)
        if blank:
            after.blank = values_text(blank)
        data = to_text(
            Create(
                entity=entity.value,
                pnpid=item.pnpid,
                plant3d_id=item.guid,
                class_name=item.class_name,
                tag=tag,
                drawing=item.drawing or None,
                link_id=link_id,
                after=after,
                text=values_text(values),
            )
        )
        if len(data) > MAX_ATTRIBUTES:
            problem = _attributes_problem(values)
            if problem is not None:
                self._stats[entity].created -= 1
                self._tally.creates[entity] -= 1
                self._value_error(item, entity, tag, problem)
                return
        self._create_index[item.pnpid] = self._creations
        self._creations += 1
        self._create_line(data)

    def _unread(
        self, item: PlantItem, translated: Translated, base: Mapping[str, Value] | None
    ) -> dict[str, Open]:
        """Fields that never had a base because their cell cannot be read: kept open, so that SYNAPSE's side stays known."""
        return {
            name: Open(why="unread")
            for name in self._rules.classes[item.class_name].fields
            if name not in translated.fields and (base is None or name not in base)
        }

    def _skip_untagged(self, item: PlantItem, entity: Entity, translated: Translated) -> None:
        shown = translated.fields.get("tag")
        if "tag" not in translated.fields:
            code, message = (
                "tag_unknown",
                "The tag is unknown: the row that holds it is missing, or its cell cannot be read.",
            )
            hint = (
                "Run the project audit in Plant 3D, or type the tag again; the next run takes the item along."
            )
        elif not item.segments and self._is_group(item):
            code, message = "line_not_drawn", "No segment of this line group is drawn, and it has no number."
            hint = "Nothing to do, unless the line should be there: then draw it."
        else:
            code, message, hint = _why_no_tag(self._rules.reading.tags, shown)
        if item.registry_tag:
            hint = f"The tag registry knows this item as {item.registry_tag}; repair the item in Plant 3D (audit)."
        self._skip(
            item,
            entity,
            str(shown) if shown else None,
            code,
            f"{message} Skipped.",
            hint,
            {"registry_tag": item.registry_tag} if item.registry_tag else {},
        )

    def _is_group(self, item: PlantItem) -> bool:
        return any(name.lower() == "pipelinegroup" for name in self._know.catalog.chain(item.class_name))

    def _skip(
        self,
        item: PlantItem,
        entity: Entity,
        tag: str | None,
        code: str,
        message: str,
        hint: str,
        data: Mapping[str, object] | None = None,
    ) -> None:
        self._stats[entity].skipped += 1
        self._fate[item.pnpid] = "skipped"
        self._why_not.setdefault(item.pnpid, (str(entity), code))
        self._findings.append(
            Finding(
                code=code,
                message=message,
                hint=hint,
                pnpid=item.pnpid,
                class_name=item.class_name,
                tag=tag,
                data=data or {},
            )
        )

    def _value_problem(self, values: Mapping[str, Value]) -> tuple[str, str, str] | None:
        """(field, code, sentence) of the first value SYNAPSE would refuse."""
        value = values.get("asset_subtype")
        if isinstance(value, str) and len(value) > MAX_SUBTYPE:
            return "asset_subtype", "too_long", f"{len(value)} characters; SYNAPSE holds {MAX_SUBTYPE}."
        value = values.get("description")
        if isinstance(value, str) and len(value) > MAX_DESCRIPTION:
            return "description", "too_long", f"{len(value)} characters; SYNAPSE holds {MAX_DESCRIPTION}."
        return None

    def _value_error(
        self, item: PlantItem, entity: Entity, tag: str | None, problem: tuple[str, str, str]
    ) -> None:
        name, code, message = problem
        self._row_error(
            item,
            entity,
            RowError(
                code=code,
                message=message + " Nothing was written for this item.",
                hint="Shorten or correct the value in Plant 3D.",
                plant3d_id=item.guid,
                pnpid=item.pnpid,
                class_name=item.class_name,
                tag=tag,
                field=name,
            ),
        )

    def _row_error(self, item: PlantItem, entity: Entity, error: RowError) -> None:
        self._stats[entity].errors += 1
        self._fate[item.pnpid] = "errors"
        self._why_not.setdefault(item.pnpid, (str(entity), error.code))
        self._errors.append(error)
        self._waiting += 1

    # ------------------------------------------------------------------ pairs

    def _adopt(
        self,
        item: PlantItem,
        entity: Entity,
        translated: Translated,
        tag: str | None,
        asset: Asset,
        known_as_ours: Sequence[Ours],
    ) -> None:
        """SYNAPSE already knows this identity (lost reply, lost state): tie it, never create it again."""
        link = Link(
            link_id=0,
            pnpid=item.pnpid,
            plant3d_id=item.guid,
            class_name=item.class_name,
            entity=entity.value,
            asset_id=asset.asset_id,
            asset_version=asset.version,
            description_version=_version(asset),
            tag=asset.tag,
            base=None,
        )
        self._live[asset.tag] = item.pnpid
        self._linked(item, entity, translated, tag, link, asset, adopt=True, known_as_ours=known_as_ours)

    def _archived_in_synapse(
        self,
        item: PlantItem,
        entity: Entity,
        link: Link | None,
        translated: Translated,
        asset: Asset | None,
        known_as_ours: Sequence[Ours],
        late: Mapping[str, Value],
    ) -> None:
        choice = self._choice(link, ARCHIVED_IN_SYNAPSE) if link is not None else None
        void = choice is not None and choice.plant3d_ticks not in (None, item.timestamp)
        if choice is not None:
            self._fates[choice.conflict_id] = SIDE_MOVED if void else FOLLOWED
        if void:
            choice = None
        if choice is not None and choice.chosen == "plant3d" and not self._pulls:
            del self._fates[choice.conflict_id]  # this run does not restore: the choice waits
        held = link is not None and "*" in link.holds  # what was undone is not done again
        tag = self._tag_of(translated)
        if choice is not None and choice.chosen == "plant3d" and link is not None and self._pulls:
            self._linked(
                item,
                entity,
                translated,
                tag,
                link,
                asset,
                restore="resolved",
                known_as_ours=known_as_ours,
                late=late,
            )
            return
        if link is not None and choice is None and not held and self._pulls and _archived_as_gone(link):
            self._linked(
                item,
                entity,
                translated,
                tag,
                link,
                asset,
                restore="came_back",
                known_as_ours=known_as_ours,
                late=late,
            )
            return
        changed = void or (link is not None and self._is_edited(item, link, translated))
        self._uncompared.add(item.guid)
        if link is not None:
            self._released.add(link.tag)  # an archived asset gave up its tag
        if choice is not None and link is not None:
            if choice.chosen != "plant3d":
                self._stays_archived(item, entity, link)
        elif changed and link is not None:
            self._stats[entity].conflicts += 1
            self._conflicts.append(
                _conflict(
                    link,
                    item,
                    WHOLE,
                    ARCHIVED_IN_SYNAPSE,
                    self._tag_of(translated),
                    None,
                    base=link.tag,
                    suggestion="plant3d",
                    why="the item lives in Plant 3D, the asset is archived in SYNAPSE",
                )
            )
        self._skip(
            item,
            entity,
            self._tag_of(translated) or (link.tag if link else None),
            "archived_in_synapse",
            "The asset was archived in SYNAPSE while the item lives in Plant 3D. Left alone.",
            "Restore the asset in SYNAPSE, or delete the item in Plant 3D.",
        )

    def _is_edited(self, item: PlantItem, link: Link, translated: Translated) -> bool:
        """Whether the item is not as it was compared. After a write of ours its row was not read again: its values tell."""
        if link.digest:
            return item.digest != link.digest
        base = {**(link.base or {}), **link.base_plant}
        return any(
            name in base and not self._rules.same[name](value, base[name])
            for name, value in translated.fields.items()
        )

    def _stays_archived(self, item: PlantItem, entity: Entity, link: Link) -> None:
        """A person chose that the asset stays archived: the item as it is now is not asked about again."""
        step = Touch(
            entity=entity.value,
            pnpid=item.pnpid,
            plant3d_id=item.guid,
            class_name=item.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            after=After(
                state=link.state,
                digest=item.digest.hex(),
                ticks=item.timestamp,
                revision=item.revision,
                ends=[],
            ),
            drawing=item.drawing,
        )
        self._lines["quiet"].append(to_text(step))

    def _linked(
        self,
        item: PlantItem,
        entity: Entity,
        translated: Translated,
        tag: str | None,
        link: Link,
        asset: Asset | None,
        *,
        adopt: bool = False,
        restore: str = "",
        known_as_ours: Sequence[Ours] = (),
        late: Mapping[str, Value] | None = None,
    ) -> None:
        """Merge every field of a pair. `restore`: why an archived asset lives again; it is merged like any other."""
        rule = self._rules.classes[item.class_name]
        self._void_choice(link, GONE_FROM_PLANT3D, ITEM_BACK)
        if not restore:
            self._void_choice(link, ARCHIVED_IN_SYNAPSE, ASSET_LIVES)
        held = dict(asset.fields) if asset is not None else link.synapse_fields()
        if tag is None:
            self._tag_lost(item, translated, link)
        work = _FieldWork()
        for name, field_rule in rule.fields.items():
            if name not in translated.fields or (name == "tag" and tag is None):
                _keep_open(work, link, name, self._last_compared(link), self._know.now)
                continue
            if asset is None and name not in held and link.base is not None and name not in link.base:
                if field_rule.owner is not Owner.SYNAPSE:
                    self._uncompared.add(item.guid)  # until the asset was read
                continue  # never read on SYNAPSE's side: unknown is not a change
            value = tag if name == "tag" else translated.fields[name]
            alive = self._alive(field_rule, item, translated, known_as_ours) if known_as_ours else ()
            self._merge(work, field_rule, item, link, asset, value, held.get(name), alive, late or {})
        for name, code, _message in translated.problems:
            if name in rule.fields:
                work.pending.setdefault(name, Open(why=code))
        for name, why in self._unread(item, translated, link.base).items():
            work.pending.setdefault(name, why)
        if tag is None:
            work.pending["tag"] = Open(why="tag_lost")
        self._emit(item, entity, translated, tag, link, asset, work, adopt, restore)

    def _tag_lost(self, item: PlantItem, translated: Translated, link: Link) -> None:
        now = translated.fields.get("tag")
        shown = f"In Plant 3D the tag is {now} now" if now else "In Plant 3D the tag is empty now"
        hint = "Complete the tag in Plant 3D."
        if "tag" not in translated.fields:
            shown = "In Plant 3D the row that holds the tag is missing, or its cell cannot be read"
        elif translated.columns.get("tag") == REGISTRY_TAG:
            shown = f"In Plant 3D only the tag registry still knows a tag of this item, {said(now)}"
            hint = "Type the right tag again in Plant 3D: nothing is renamed by the registry alone."
        self._findings.append(
            Finding(
                code="tag_lost",
                message=f"{shown}; SYNAPSE keeps {link.tag}.",
                hint=hint,
                pnpid=item.pnpid,
                class_name=item.class_name,
                tag=link.tag,
                data={"registry_tag": item.registry_tag} if item.registry_tag else {},
            )
        )

    def _merge(
        self,
        work: _FieldWork,
        rule: FieldRule,
        item: PlantItem,
        link: Link,
        asset: Asset | None,
        plant3d: Value,
        synapse: Value,
        alive: Sequence[Ours],
        late_there: Mapping[str, Value],
    ) -> None:
        name = rule.field
        base: Any = NO_BASE
        base_plant: Any = NO_BASE
        if link.base is not None and name in link.base:
            base = link.base[name]
            base_plant = link.base_plant.get(name, base)
        same = self._rules.same[name]
        if plant3d == synapse and base is not NO_BASE and plant3d == base and name not in link.base_plant:
            return  # the usual case
        plant_away = base is not NO_BASE and not same(plant3d, base_plant)
        synapse_away = base is not NO_BASE and not same(synapse, base)
        observed = self._observe(
            work,
            link,
            name,
            plant_away=(plant3d,) if plant_away else None,
            synapse_away=(synapse,) if synapse_away else None,
        )
        stamp = asset.field_info[name].updated_at if asset and name in asset.field_info else None
        if stamp is None and name == "description":
            stamp = link.description_at
        resolution = self._know.resolutions.get((link.link_id, name))
        known = link.pending.get(name)
        if resolution is not None and known is not None and known.given == (resolution.chosen, synapse):
            resolution = replace(resolution, given=True)
            work.given[name] = (resolution.chosen, synapse)
        flip = link.flips.get(name, Flip())
        unlike = plant_away if base is not NO_BASE else not same(plant3d, synapse)
        copy = ours.what_it_is(plant3d, item.timestamp, alive, same) if unlike else Copy.NO
        late = copy is Copy.LATE
        put_back = copy is Copy.OLD or (
            plant_away and not late and _is_put_back(rule, flip, plant3d, base_plant)
        )
        if put_back and flip.last != REVERTED:
            flip = work.flips[name] = flip._replace(last=REVERTED, reverts=flip.reverts + 1)
        undecided = put_back or (flip.last == REVERTED and name in link.pending)
        no_edit = older.question(
            known,
            plant3d=older.Moved(plant3d, older.row_went_back(link, item)) if plant_away else None,
            synapse=older.Moved(synapse, self._synapse_is_older(link, asset)) if synapse_away else None,
            redefined=plant_away and self._is_redefined(link, item.class_name, name),
        )
        outcome = merge_field(
            rule,
            base=base,
            base_plant=base_plant,
            plant3d=plant3d,
            synapse=synapse,
            same=same,
            times=Times(
                now=self._know.now,
                tolerance=self._know.tolerance,
                plant3d=observed.get("p"),
                synapse=observed.get("s"),
                synapse_stamp=_posix(stamp),
                skew=self._know.skew,
            ),
            resolution=resolution,
            hold=link.holds.get(name),
            frozen=flip.writes >= FLIP_LIMIT,
            put_back=put_back,
            late=late,
            late_in_synapse=synapse_away and name in late_there and same(synapse, late_there[name]),
            reverts=flip.reverts if undecided else 0,
            no_edit=no_edit,
        )
        if no_edit:
            work.no_edit[name] = no_edit
        if resolution is not None and not (no_edit and outcome.verdict is Verdict.WAIT):
            work.fates[resolution.conflict_id] = _fate(outcome, resolution, same)
        work.outcomes[name] = (rule, outcome, plant3d, synapse, base)

    def _is_redefined(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the mapping fills the field otherwise since the link was compared: then Plant 3D was not edited."""
        definitions = self._know.definitions
        return definitions is not None and definitions.changed(link, class_name, name)

    def _last_compared(self, link: Link) -> float | None:
        """When the item was last compared: an edit that is found now is younger than that, and no more is known."""
        if link.looked_at is None:
            return self._know.last_plant3d_read
        return link.looked_at or None

    def _synapse_is_older(self, link: Link, asset: Asset | None) -> bool:
        """Whether the asset went back since it was compared; what a run read and did not act upon is on the link."""
        return link.went_back or (asset is not None and older.asset_went_back(link, asset))

    def _alive(
        self, rule: FieldRule, item: PlantItem, translated: Translated, known: Sequence[Ours]
    ) -> Sequence[Ours]:
        """What is ours in the cell that the field is taken from. Only shared fields are ever pushed."""
        column = translated.columns.get(rule.field) if rule.owner is Owner.SHARED else None
        found = self._know.catalog.column(item.class_name, column) if column else None
        return ours.of_cell(known, found.table_class, found.name, self._know.now) if found else ()

    def _observe(
        self,
        work: _FieldWork,
        link: Link,
        name: str,
        *,
        plant_away: tuple[Value] | None,
        synapse_away: tuple[Value] | None,
    ) -> dict[str, Interval]:
        """When each side's latest edit happened: after `at_base`, up to `away`.

        A known interval holds only while the side keeps the value it had when it was first seen away; a
        second edit may have happened as late as this read.
        """
        seen: dict[str, Interval] = {}
        for side, value, last_read in (
            ("p", plant_away, self._last_compared(link)),
            ("s", synapse_away, self._know.last_synapse_read),
        ):
            if value is None:
                continue
            known = link.observed.get(name, {}).get(side)
            if known is None:
                seen[side] = Interval(at_base=last_read, away=self._know.now)
            elif name in link.pending and _seen_value(link.pending[name], side) == value[0]:
                seen[side] = known
            else:
                seen[side] = Interval(at_base=known.at_base, away=self._know.now)
        if seen:
            work.observed[name] = seen
        return seen

    def _emit(
        self,
        item: PlantItem,
        entity: Entity,
        translated: Translated,
        tag: str | None,
        link: Link,
        asset: Asset | None,
        work: _FieldWork,
        adopt: bool,
        restore: str,
    ) -> None:
        for name, (rule, outcome, plant3d, synapse, base) in work.outcomes.items():
            self._place(work, name, rule, outcome, plant3d, synapse, base, item, link, asset, translated)
        stats = self._stats[entity]
        stats.conflicts += work.conflicts
        problem = (self._value_problem(work.set) or _attributes_problem(work.set)) if work.set else None
        if problem is not None:
            self._uncompared.add(item.guid)
            self._value_error(item, entity, tag or link.tag, problem)
            return
        self._fates |= work.fates
        for name in translated.fields:
            self._look_at(item.guid, name)
        self._count_push(item, link, work)
        self._tally.older_rows += work.is_newly_older(link, older.OLDER_COPY)
        self._tally.older_assets += work.is_newly_older(link, older.OLDER_SYNAPSE)
        mapped = self._rules.classes[item.class_name].fields
        if asset is not None:
            # what the decision rests on is what was just read
            link = replace(link, asset_version=asset.version, description_version=_version(asset))
        step = work.step(item, entity, link, tag or link.tag, adopt, restore, mapped)
        if work.set or restore:
            stats.updated += 1
            self._fate[item.pnpid] = "updated"
            self._tally.updates[entity] += 1
            if any(is_blank(value) and not is_blank(work.was.get(name)) for name, value in work.set.items()):
                self._tally.blanks[entity] += 1
        else:
            stats.unchanged += 1
        if any(entry.plant3d is not UNSET for entry in work.pending.values()):
            self._waiting += 1
        if work.cells:
            self._push_line(item, entity, link, tag, work)
            self._tally_push(entity, link, work)
        new_tag = work.set.get("tag")
        if isinstance(new_tag, str) and isinstance(step, Update | Adopt):
            held_tag = work.was.get("tag")
            step.old_tag = held_tag if isinstance(held_tag, str) else link.tag
            self._renames[item.pnpid] = (step.old_tag, new_tag, to_text(step), entity.value, adopt)
            return
        bucket = "update" if work.set or restore else "quiet"
        if work.set or restore:
            self._update_index[item.pnpid] = len(self._lines[bucket])
        elif adopt:
            self._adopt_index[item.pnpid] = len(self._lines[bucket])
        self._lines[bucket].append(to_text(step))

    def _place(
        self,
        work: _FieldWork,
        name: str,
        rule: FieldRule,
        outcome: FieldOutcome,
        plant3d: Value,
        synapse: Value,
        base: Any,
        item: PlantItem,
        link: Link,
        asset: Asset | None,
        translated: Translated,
    ) -> None:
        match outcome.verdict:
            case Verdict.SETTLED:
                work.settle(name, plant3d, synapse, base, link)
            case Verdict.TO_SYNAPSE if self._pulls:
                work.write(name, outcome, plant3d, synapse, link)
                if outcome.reason == "drift_restored":
                    self._findings.append(_drift_finding(item, link, name, plant3d, synapse, outcome))
                if outcome.reason == "resolved" and not self._rules.same[name](plant3d, outcome.value):
                    # a choice of a third value: Plant 3D does not hold it yet, so the base must not move
                    work.open(name, "resolving", plant3d, outcome.value, outcome)
                    work.given[name] = (outcome.value, outcome.value)
            case Verdict.TO_SYNAPSE:
                work.open(name, "waits_for_pull", plant3d, synapse, outcome)
            case Verdict.TO_PLANT3D:
                self._to_plant3d(work, name, outcome, plant3d, synapse, item, link, translated)
            case Verdict.CONFLICT:
                work.conflicts += 1
                work.open(name, "conflict", plant3d, synapse, outcome)
                self._conflicts.append(
                    _conflict(
                        link,
                        item,
                        name,
                        outcome.reason,
                        self._tag_of(translated) or link.tag,
                        asset,
                        base=None if base is NO_BASE else base,
                        has_base=base is not NO_BASE,
                        plant3d=plant3d,
                        synapse=synapse,
                        observed=work.observed.get(name, {}),
                        suggestion=outcome.suggestion,
                        why=outcome.suggestion_reason or outcome.reason,
                    )
                )
            case Verdict.WAIT:
                work.open(name, "waiting_for_cad", plant3d, synapse, outcome)
                self._work.append(_work_item(item, link, name, plant3d, synapse, outcome))
            case Verdict.DRIFT:
                work.open(name, outcome.reason, plant3d, synapse, outcome)
                if outcome.reason != "drift_ignored":
                    self._findings.append(_drift_finding(item, link, name, plant3d, synapse, outcome))
                if outcome.reason == "drift_proposed" and not rule.push and rule.owner.value == "synapse":
                    self._work.append(_work_item(item, link, name, plant3d, synapse, outcome))
            case Verdict.LEAVE:
                work.open(name, outcome.reason, plant3d, synapse, outcome)
        if name in link.holds and outcome.reason == "held_after_undo":
            work.holds[name] = link.holds[name]
        if name in work.no_edit and name in work.pending:
            work.amend(name, no_edit=work.no_edit[name])
        if name in work.given and name in work.pending:
            work.amend(name, given=work.given[name])

    # ------------------------------------------------------------------ towards Plant 3D

    def _to_plant3d(
        self,
        work: _FieldWork,
        name: str,
        outcome: FieldOutcome,
        plant3d: Value,
        synapse: Value,
        item: PlantItem,
        link: Link,
        translated: Translated,
    ) -> None:
        column = translated.columns.get(name)
        shown = self._shown_instead(item, name, column, outcome.value)
        if shown is not None and outcome.reason != "resolved":
            self._ask_what_shows(
                work, name, item, link, plant3d, synapse, outcome, f"{column} hides {said(shown)}"
            )
            return
        if not self._pushes or not self._selected(link):
            work.open(name, "waits_for_push", plant3d, synapse, outcome)
            return
        problem = (
            ("no_column", f"No column of {item.class_name} may take {name}.")
            if column is None
            else check_cell(self._know.catalog, item, column, outcome.value)
        )
        known_column = self._know.catalog.column(item.class_name, column) if column else None
        if problem is None and known_column is not None and equals_default(known_column, outcome.value):
            problem = (
                "equals_class_default",
                f"{said(outcome.value)} is the class default of {column}, which counts as not filled in; it would be lost.",
            )
        if problem is None and shown is not None:
            problem = (
                SHOWS_THROUGH,
                f"With {column} emptied, {name} would say {said(shown)}, which stands in a column behind it.",
            )
        if problem is not None or column is None:
            code, message = problem or ("no_column", "")
            work.refused.append((name, code, message))
            work.open(name, "refused:" + code, plant3d, synapse, outcome)
            self._work.append(_work_item(item, link, name, plant3d, synapse, outcome))
            return
        found = self._know.catalog.column(item.class_name, column)
        if found is None:  # check_cell has just found it
            raise AssertionError(column)
        old = item.values.get(found.name)
        work.cells.append(
            Cell(
                field=name,
                column=found.name,
                table_class=found.table_class,
                old=old,
                new=outcome.value,
                ticks=item.timestamp,
                plant3d=plant3d,
                synapse=synapse,
                why=outcome.reason,
            )
        )
        work.open(name, "push_" + self._know.write_mode.value, plant3d, synapse, outcome)
        if self._know.write_mode is WriteMode.WORKBOOK and outcome.reason != "resolved":
            self._wait_for_workbook(work, name, item, link, plant3d, synapse)

    def _shown_instead(self, item: PlantItem, name: str, column: str | None, value: Value) -> Value:
        """What would come out behind the cell if it took this value; None: nothing."""
        if column is None:
            return None
        return shows_through(self._rules.translate[item.class_name], item, name, column, value)

    def _ask_what_shows(
        self,
        work: _FieldWork,
        name: str,
        item: PlantItem,
        link: Link,
        plant3d: Value,
        synapse: Value,
        outcome: FieldOutcome,
        why: str,
    ) -> None:
        """Emptying the cell would bring out what nobody typed: a person says which value holds."""
        work.open(name, "conflict", plant3d, synapse, outcome)
        work.conflicts += 1
        self._conflicts.append(
            _conflict(
                link,
                item,
                name,
                SHOWS_THROUGH,
                link.tag,
                None,
                base=(link.base or {}).get(name),
                plant3d=plant3d,
                synapse=synapse,
                observed=work.observed.get(name, {}),
                suggestion="plant3d",
                why=why,
            )
        )

    def _wait_for_workbook(
        self, work: _FieldWork, name: str, item: PlantItem, link: Link, plant3d: Value, synapse: Value
    ) -> None:
        """A cell waits for a designer's import; after too long it becomes a question."""
        before, since = link.pending.get(name), self._know.now_iso
        if before is not None and before.since and before.synapse == synapse:
            since = before.since
        work.amend(name, since=since)
        waited = self._know.now - (_posix(since) or self._know.now)
        if waited <= self._know.workbook_days * 86_400:
            return
        work.conflicts += 1
        self._conflicts.append(
            _conflict(
                link,
                item,
                name,
                "workbook_timeout",
                link.tag,
                None,
                base=(link.base or {}).get(name),
                plant3d=plant3d,
                synapse=synapse,
                suggestion="synapse",
                why=f"waiting for an import since {since}",
            )
        )

    def _selected(self, link: Link) -> bool:
        return self._know.only_assets is None or link.asset_id in self._know.only_assets

    def _count_push(self, item: PlantItem, link: Link, work: _FieldWork) -> None:
        if not self._pushes:
            return
        if work.cells or work.refused:
            self._push.total += 1
            if work.refused:
                self._push.errors += 1
            elif self._know.write_mode is WriteMode.SQL:
                self._push.updated += 1
            else:
                self._push.skipped += 1
        for name, code, message in work.refused:
            self._errors.append(
                RowError(
                    code=code,
                    message=message + " The value was not written into Plant 3D.",
                    hint="Correct the value in SYNAPSE, or have the drawing changed by a designer.",
                    plant3d_id=item.guid,
                    pnpid=item.pnpid,
                    class_name=item.class_name,
                    tag=link.tag,
                    field=name,
                )
            )

    def _tally_push(self, entity: Entity, link: Link, work: _FieldWork) -> None:
        """For the guards: what would reach Plant 3D. A cell that waits in a workbook was counted when it came there."""
        cells = newly_pushed(work.cells, link.pending, self._know.write_mode)
        if cells:
            self._tally.push_updates[entity.value] += 1
        if any(is_blank(cell.new) and not is_blank(cell.old) for cell in cells):
            self._tally.push_blanks[entity.value] += 1

    def _push_line(
        self, item: PlantItem, entity: Entity, link: Link, tag: str | None, work: _FieldWork
    ) -> None:
        step = Push(
            entity=entity.value,
            pnpid=item.pnpid,
            plant3d_id=item.guid,
            class_name=item.class_name,
            tag=tag or link.tag,
            link_id=link.link_id or None,
            asset_id=link.asset_id,
            cells=work.cells,
            why={cell.field: cell.why or "" for cell in work.cells},
            drawing=item.drawing,
            needs=None if self._know.write_mode is WriteMode.SQL else "write_" + self._know.write_mode.value,
        )
        self._lines["quiet"].append(to_text(step))

    # ------------------------------------------------------------------ absence

    def gone(self, link: Link) -> None:
        """A link whose item this complete read did not show, if there is anything to say about it."""
        self._uncompared.add(link.plant3d_id)
        if not self._pulls or Entity(link.entity) not in self._know.entities:
            return
        if link.plant3d_id in self._disputed:
            return  # its identity or its row was seen: that is an error of the row, not an absence
        self._look_at(link.plant3d_id, WHOLE)
        if link.class_name not in self._rules.classes:
            if link.state is not LinkState.OUT:
                self._absent(link, After(state=LinkState.OUT))
            return
        if link.state in _WITHOUT_ITEM:
            self._lives_without_item(link)
            return
        if link.archived_in_synapse:  # gone on both sides: nothing is left to do or to ask
            self._absent(link, After(state=LinkState.ARCHIVED))
            self._released.add(link.tag)
            self._ends(link.plant3d_id)
            return
        stats = self._stats[link.entity]
        stats.missing += 1
        if "*" in link.holds:
            self._findings.append(
                Finding(
                    code="missing",
                    message="Not in Plant 3D. Archiving it was undone, so the asset stays.",
                    hint="Archive it in SYNAPSE if it is not needed any more.",
                    pnpid=link.pnpid,
                    class_name=link.class_name,
                    tag=link.tag,
                )
            )
            return
        absence = missing.step(
            state=link.state,
            missing=link.missing,
            policy=self._know.missing,
            now=self._know.now_iso,
            signature=self._know.signature,
            older=self._sees_older_copy,
        )
        newly = link.state in (LinkState.ACTIVE, LinkState.OUT)
        self._tally.gone[link.entity] += newly
        since = absence.missing
        after = After(state=absence.state, missing=since)
        self._findings.append(
            Finding(
                code="missing",
                message=f"Not in Plant 3D since {since.since} ({since.reads} counted reads).",
                hint=_hint_of_absence(self._know.missing, since),
                pnpid=link.pnpid,
                class_name=link.class_name,
                tag=link.tag,
            )
        )
        self._waiting += 1
        edited = dict(link.synapse_delta)
        choice = self._choice(link, GONE_FROM_PLANT3D)
        self._void_choice(link, ARCHIVED_IN_SYNAPSE, ITEM_GONE)
        if choice is not None:
            void = choice.synapse_value != _in_words(edited)
            self._fates[choice.conflict_id] = SIDE_MOVED if void else FOLLOWED
            choice = None if void else choice
        if choice is not None and choice.chosen == "synapse":
            after = After(state=LinkState.UNLINKED)
        elif choice is not None:
            self._archive(link, after, stats, "resolved", unattended=True)
            return
        elif absence.archive and edited:
            self._conflicts.append(
                _gone_conflict(link, edited),
            )
            stats.conflicts += 1
        elif absence.archive:
            self._archive(link, after, stats, "missing_confirmed", unattended=absence.unattended)
            return
        self._absent(link, after)

    def _lives_without_item(self, link: Link) -> None:
        """A person keeps the asset of an item that is gone: said in every run, nothing is done."""
        if not link.archived_in_synapse:
            code, message = _WITHOUT_ITEM[link.state]
            self._findings.append(
                Finding(
                    code=code,
                    message=message,
                    hint="Archive the asset in SYNAPSE if it is not needed any more.",
                    pnpid=link.pnpid,
                    class_name=link.class_name,
                    tag=link.tag,
                    data={"plant3d_id": link.plant3d_id, "asset_id": link.asset_id},
                )
            )

    def _absent(self, link: Link, after: After) -> None:
        step = Absent(
            entity=link.entity,
            pnpid=link.pnpid,
            plant3d_id=link.plant3d_id,
            class_name=link.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            after=after,
        )
        self._lines["quiet"].append(to_text(step))

    def _archive(self, link: Link, after: After, stats: Stats, why: str, *, unattended: bool) -> None:
        step = Archive(
            entity=link.entity,
            pnpid=link.pnpid,
            plant3d_id=link.plant3d_id,
            class_name=link.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            after=after,
            needs=None if unattended else "person",
            why={"*": why},
        )
        if unattended:
            self._ends(link.plant3d_id)
            stats.archived += 1
            if link.state not in (LinkState.ACTIVE, LinkState.OUT):  # these were counted as they went missing
                self._tally.gone[link.entity] += 1
            self._released.add(link.tag)
        else:
            self._for_person[step.op.value] += 1
        self._lines["free"].append(to_text(step))

    # ------------------------------------------------------------------ the end

    def finish(self, extra_guards: Sequence[GuardHit] = ()) -> Draft:
        """Settle everything that needs the whole picture: duplicate tags, taken tags, order, guards."""
        self._tell_strays()
        self._drop_duplicates()
        self._hold_look_alikes()
        self._drop_taken()
        pile = self._lines
        piles = (pile["free"], self._ordered_renames(), pile["update"], pile["create"], pile["quiet"])
        lines = Lines(piles, self._rules.digest)
        total = Stats()
        for stats in self._stats.values():
            stats.findings = 0
            for name in total.__slots__:
                setattr(total, name, getattr(total, name) + getattr(stats, name))
        total.findings = len(self._findings)
        guards = [
            *extra_guards,
            *guard.check_amounts(
                self._tally,
                self._know.limits,
                first_sync=self._tally.links == 0 or self._know.first_pull,
            ),
            *guard.check_older(self._tally),
        ]
        return Draft(
            lines=lines,
            stats=total,
            by_entity={
                str(entity): self._stats[entity] for entity in Entity if entity in self._know.entities
            },
            push_stats=self._push,
            tally=self._tally,
            guards=guards,
            errors=self._errors,
            findings=self._findings,
            conflicts=self._conflicts,
            work_items=self._work,
            fingerprint=lines.fingerprint,
            writes={
                "synapse": total.created + total.updated + total.archived,
                "plant3d": self._push.updated,
            },
            waiting=self._waiting,
            waiting_for_person=dict(self._for_person),
            examined=frozenset(self._examined),
            reasons=self._reasons(),
            fates=self._fates,
            uncompared=frozenset(self._uncompared | self._disputed),
        )

    def _reasons(self) -> dict[str, dict[str, int]]:
        """How many items are not handed over, by entity and reason."""
        found: dict[str, dict[str, int]] = {}
        for (entity, code), count in Counter(self._why_not.values()).items():
            found.setdefault(entity, {})[code] = count
        return found

    def _tell_strays(self) -> None:
        """Assets with an identity of ours that no item carries: no link tells of them, so the run does."""
        for guid, (asset_id, tag) in self._strays.items():
            self._findings.append(
                Finding(
                    code="asset_without_item",
                    message=f"The asset {tag} carries the identity {guid}, which no mapped item of Plant 3D has. "
                    "Left alone.",
                    hint="If its item was deleted, archive the asset in SYNAPSE.",
                    tag=tag,
                    data={"plant3d_id": guid, "asset_id": asset_id},
                )
            )

    def _drop_duplicates(self) -> None:
        for tag, holders in self._shared_tags.items():
            own = [pnpid for pnpid in holders if pnpid not in self._registered]
            if len(own) == 1:  # what an item itself shows goes before what the registry says of another one
                self._holders[tag] = own[0]
            for pnpid in holders:
                if own == [pnpid]:
                    continue
                holder = self._info[pnpid]
                class_name, guid, entity = holder.class_name, holder.plant3d_id, holder.entity
                others = [other for other in holders if other != pnpid]
                self._uncompared.add(guid)
                if Entity(entity) not in self._know.entities:
                    continue
                self._unplan(pnpid, entity, "duplicate_tag")
                self._findings.append(
                    Finding(
                        code="duplicate_tag",
                        message=f"The tag {tag} is also on {_names(others, self._info)}. "
                        + (
                            "All were skipped."
                            if len(own) != 1
                            else "Only the registry says so of this one; skipped."
                        ),
                        hint="If these groups are one line, put their segments into one group in Plant 3D; "
                        "else give each its own number."
                        if all(self._info[one].entity == Entity.LINES for one in holders)
                        else "Give each item its own tag in Plant 3D.",
                        pnpid=pnpid,
                        class_name=class_name,
                        tag=tag,
                        data={"others": others, "plant3d_id": guid},
                    )
                )

    def _hold_look_alikes(self) -> None:
        """No second asset is made silently because one tag is written in two ways.

        An item that would be created waits while an unlinked asset, or another item, holds a tag that reads the same.
        O and 0, I and 1 differ between two items of Plant 3D often enough: those are only told.
        """
        alike: dict[str, list[tuple[str, int | None]]] = {}
        for tag, pnpid in self._holders.items():
            alike.setdefault(misread_key(look_alike_key(tag)), []).append((tag, pnpid))
        if self._create_index:
            for tag in self._know.unlinked:
                key = misread_key(look_alike_key(tag))
                if key in alike:
                    alike[key].append((tag, None))
        for group in alike.values():
            if len(group) > 1:
                self._tell_look_alikes(group)

    def _tell_look_alikes(self, group: Sequence[tuple[str, int | None]]) -> None:
        for tag, pnpid in group:
            if pnpid is None:
                continue
            others = [(name, other) for name, other in group if name != tag]
            strict = [
                each for each in others if each[1] is None or look_alike_key(each[0]) == look_alike_key(tag)
            ]
            if not others:
                continue
            name, other = (strict or others)[0]
            holder = self._info[pnpid]
            if Entity(holder.entity) not in self._know.entities:
                continue
            held = pnpid in self._create_index and bool(strict)
            if other is None and not held:
                continue  # a linked item: what SYNAPSE holds besides is not its business
            whose = f"PnPID {other}" if other is not None else "an asset of SYNAPSE that is not linked"
            asset_id, _kind = self._know.unlinked.get(name, ("", "")) if other is None else ("", "")
            if held:
                self._uncompared.add(holder.plant3d_id)
                self._unplan(pnpid, holder.entity, "look_alike_tag")
            self._findings.append(
                Finding(
                    code="look_alike_tag",
                    message=f"The tag {said(tag)} looks like {said(name)} of {whose}: {telling_apart(tag, name)}."
                    + (" Nothing was created." if held else ""),
                    hint="Run `links propose`: it shows the pair; `links accept --only TAG` ties it."
                    if other is None
                    else "If both mean one item, delete one of them; if not, give one another tag.",
                    pnpid=pnpid,
                    class_name=holder.class_name,
                    tag=tag,
                    data={"other_tag": name, "other": other, "asset_id": asset_id or None},
                )
            )

    def _unplan(self, pnpid: int, entity: str, code: str) -> None:
        """Take back what was planned for an item and count it as skipped."""
        fate = "created" if pnpid in self._create_index else self._fate.get(pnpid, "unchanged")
        if fate in ("skipped", "errors"):
            return
        stats = self._stats[entity]
        setattr(stats, fate, getattr(stats, fate) - 1)
        stats.skipped += 1
        self._fate[pnpid] = "skipped"
        self._why_not[pnpid] = (str(Entity(entity)), code)
        self._waiting += 1
        if fate == "created":
            self._lines["create"][self._create_index.pop(pnpid)] = b""
            self._tally.creates[entity] -= 1
        elif fate == "updated":
            self._tally.updates[entity] -= 1
            if self._renames.pop(pnpid, None) is None:
                self._lines["update"][self._update_index.pop(pnpid)] = b""
        elif pnpid in self._adopt_index:
            self._lines["quiet"][self._adopt_index.pop(pnpid)] = b""

    def _drop_taken(self) -> None:
        """A tag that another live asset holds and keeps cannot be given away; chains fail as a whole."""
        while True:
            leaving = {old for old, _new, _line, _entity, _adopt in self._renames.values() if old}
            free = leaving | self._released
            taken = [
                (pnpid, new, entity)
                for pnpid, (_old, new, _line, entity, _adopt) in self._renames.items()
                if self._held_by_other(new, pnpid, free)
            ]
            for pnpid, new, entity in taken:
                self._refuse_tag(pnpid, new, entity, "updated")
            if not taken:
                break
        if not self._live and not self._know.unlinked:
            return
        wanted = {pnpid: tag for tag, pnpid in self._holders.items() if pnpid in self._create_index}
        for pnpid, tag in wanted.items():
            if not self._held_by_other(tag, pnpid, free):
                continue
            self._lines["create"][self._create_index.pop(pnpid)] = b""
            self._refuse_tag(pnpid, tag, self._info[pnpid].entity, "created")

    def _held_by_other(self, tag: str, pnpid: int, free: Iterable[str]) -> bool:
        holder = self._live.get(tag)
        if holder is not None and holder != pnpid:
            return tag not in free
        return tag in self._know.unlinked

    def _refuse_tag(self, pnpid: int, tag: str, entity: str, counter: str) -> None:
        self._renames.pop(pnpid, None)
        stats = self._stats[entity]
        setattr(stats, counter, getattr(stats, counter) - 1)
        if counter == "created":
            self._tally.creates[entity] -= 1
        else:
            self._tally.updates[entity] -= 1
        stats.errors += 1
        self._fate[pnpid] = "errors"
        self._why_not[pnpid] = (str(Entity(entity)), "tag_taken")
        self._waiting += 1
        claim = self._info.get(pnpid, _Claim("", "", ""))
        class_name, guid = claim.class_name, claim.plant3d_id
        self._uncompared.add(guid)
        holder = self._live.get(tag)
        who = f"the asset of PnPID {holder}" if holder is not None else "an asset that is not linked"
        self._errors.append(
            RowError(
                code="tag_taken",
                message=f"The tag {tag} is still held in SYNAPSE by {who}. Nothing was written for this item.",
                hint="If that item is gone from Plant 3D, approve its archiving (`plan`, then `apply`); "
                "if it is not linked, use `links propose`.",
                plant3d_id=guid or None,
                pnpid=pnpid,
                class_name=class_name or None,
                tag=tag,
                field="tag",
            )
        )

    def _ordered_renames(self) -> list[bytes]:
        """Renames so that a tag is released before, or in the same stretch as, it is taken."""
        by_old = {old: pnpid for pnpid, (old, *_rest) in self._renames.items() if old}
        done: set[int] = set()
        ordered: list[bytes] = []
        for start in self._renames:
            chain: list[int] = []
            current: int | None = start
            while current is not None and current not in done and current not in chain:
                chain.append(current)
                current = by_old.get(self._renames[current][1])
            for pnpid in reversed(chain):
                done.add(pnpid)
                ordered.append(self._renames[pnpid][2])
        return ordered


@dataclass(slots=True)
class _FieldWork:
    """What the fields of one pair add up to."""

    outcomes: dict[str, tuple[FieldRule, FieldOutcome, Value, Value, Any]] = field(default_factory=dict)
    set: dict[str, Value] = field(default_factory=dict)
    was: dict[str, Value] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    base_set: dict[str, Value] = field(default_factory=dict)
    plant_set: dict[str, Value] = field(default_factory=dict)
    pending: dict[str, Open] = field(default_factory=dict)
    observed: dict[str, dict[str, Interval]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    given: dict[str, tuple[Value, Value]] = field(default_factory=dict)
    """Choices SYNAPSE was sent and Plant 3D does not hold yet: the choice, and what SYNAPSE made of it."""
    flips: dict[str, Flip] = field(default_factory=dict)
    no_edit: dict[str, str] = field(default_factory=dict)
    """Fields that one side holds as a copy of an earlier day does: the kind of that question."""
    cells: list[Cell] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    conflicts: int = 0
    fates: dict[str, str] = field(default_factory=dict)
    """What became of a choice: conflict id -> FOLLOWED, or why it is void."""

    def settle(self, name: str, plant3d: Value, synapse: Value, base: Any, link: Link) -> None:
        """Both sides hold the value: the base moves there, in each side's own spelling."""
        if base is not NO_BASE and synapse == base and plant3d == link.base_plant.get(name, base):
            return
        self.base_set[name] = synapse
        if plant3d != synapse:
            self.plant_set[name] = plant3d
        self.observed.pop(name, None)

    def write(self, name: str, outcome: FieldOutcome, plant3d: Value, synapse: Value, link: Link) -> None:
        """Plan a write to SYNAPSE."""
        self.set[name] = outcome.value
        self.was[name] = synapse
        self.why[name] = outcome.reason
        self.observed.pop(name, None)
        pair = value_pair(outcome.value, synapse)
        flip = self.flips.get(name) or link.flips.get(name, Flip())
        resolved = outcome.reason == "resolved"
        self.flips[name] = Flip(
            writes=flip.writes + 1 if flip.pair == pair and not resolved else 1,
            pair=pair,
            last=Side.SYNAPSE.value,
            reverts=0 if resolved and outcome.value == plant3d else flip.reverts,
        )

    def open(self, name: str, why: str, plant3d: Value, synapse: Value, outcome: FieldOutcome) -> None:
        """The field stays open, with both values and the reason."""
        self.pending[name] = Open(why=why, plant3d=plant3d, synapse=synapse, reason=outcome.reason)

    def amend(self, name: str, **more: Any) -> None:
        """Something more is known of an open field."""
        self.pending[name] = msgspec.structs.replace(self.pending[name], **more)

    def is_newly_older(self, link: Link, kind: str) -> bool:
        """Whether a field is asked about for the first time because a copy of an earlier day holds it."""
        return any(
            entry.no_edit == kind and (name not in link.pending or link.pending[name].no_edit != kind)
            for name, entry in self.pending.items()
        )

    def pending_changed(self, link: Link) -> bool:
        """Whether the open fields differ from what the link remembers."""
        return dict(link.pending) != self.pending

    def after(self, item: PlantItem) -> After:
        """What the link will remember."""
        return After(
            digest=item.digest.hex(),
            ticks=item.timestamp,
            revision=item.revision,
            base_set=self.base_set,
            plant_set=self.plant_set,
            pending=self.pending,
            observed=self.observed,
            holds=self.holds,
            flips=self.flips,
        )

    def _over(self, link: Link, mapped: Container[str]) -> list[str]:
        """Fields that were compared, or left the mapping. What an unreadable one is known for stays."""
        open_fields = {*link.pending, *link.observed}
        over = {name for name in open_fields if name in self.outcomes or name not in mapped}
        return sorted(over | {name for name in link.holds if name in self.outcomes or name == "*"})

    def step(
        self,
        item: PlantItem,
        entity: Entity,
        link: Link,
        tag: str,
        adopt: bool,
        restore: str,
        mapped: Container[str],
    ) -> Adopt | Restore | Update | Settle | Touch:
        """The step of the pair: what is written to SYNAPSE, or only remembered."""
        after = self.after(item)
        after.ends = self._over(link, mapped)
        whose = (entity.value, item.pnpid, item.guid, item.class_name, tag)
        if adopt:
            return Adopt(
                *whose,
                asset_id=link.asset_id,
                asset_version=link.asset_version,
                description_version=link.description_version,
                set=self.set,
                was=self.was,
                after=after,
                why=self.why,
                drawing=item.drawing,
            )
        if restore:
            return Restore(
                *whose,
                link_id=link.link_id,
                asset_id=link.asset_id,
                asset_version=link.asset_version,
                description_version=link.description_version,
                set=self.set,
                was=self.was,
                after=after,
                why={**self.why, "*": restore},
                drawing=item.drawing,
            )
        if self.set:
            return Update(
                *whose,
                link_id=link.link_id,
                asset_id=link.asset_id,
                asset_version=link.asset_version,
                description_version=link.description_version,
                set=self.set,
                was=self.was,
                after=after,
                why=self.why,
                drawing=item.drawing,
            )
        kind = Settle if self.base_set or self.pending_changed(link) else Touch
        return kind(
            *whose,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            description_version=link.description_version,
            after=after,
            drawing=item.drawing,
        )


_WITHOUT_ITEM = {
    LinkState.ARCHIVED: (
        "restored_without_item",
        "Archived because its item is gone from Plant 3D, and restored in SYNAPSE since. Left alone.",
    ),
    LinkState.UNLINKED: (
        "kept_without_item",
        "The item is gone from Plant 3D; a person chose to keep the asset. Left alone.",
    ),
}
"""Links that are done with, as long as their asset lives: code and sentence of the finding."""


def _seen_value(entry: Open, side: str) -> Value | UnsetType:
    return entry.plant3d if side == "p" else entry.synapse


def _fate(outcome: FieldOutcome, choice: Resolution, same: Callable[[Value, Value], bool]) -> str:
    """What becomes of a choice about a field that was compared."""
    if outcome.reason == "resolved":
        return FOLLOWED
    if outcome.verdict is Verdict.SETTLED:
        return FOLLOWED if choice.given or same(outcome.value, choice.chosen) else AGREED
    return SIDE_MOVED


def _hint_of_absence(policy: MissingPolicy, since: Missing) -> str:
    if since.older:
        return (
            "Rows of the database went back to an earlier day: perhaps it was drawn after that day. "
            "Nothing is archived before a person applies the plan."
        )
    return "Nothing is archived before a person applies the plan." if policy.policy == "ask" else ""


def _archived_as_gone(link: Link) -> bool:
    """Whether we archived the asset because its item was gone: how it was missed is still remembered."""
    return link.state is LinkState.ARCHIVED and link.missing is not None


def _was_archived(link: Link) -> bool:
    """Whether the asset was archived when it was last seen, whoever did it: one that a person restored lives."""
    return link.archived_in_synapse


def _keep_open(work: _FieldWork, link: Link, name: str, last: float | None, now: float) -> None:
    """A field that could not be read keeps what the link knew about it, and when it was last compared."""
    entry = link.pending.get(name)
    if entry is not None and entry.plant3d is not UNSET:
        work.pending[name] = entry
    if link.base is not None and name in link.base:
        unread = {"p": Interval(at_base=last, away=now)}
        work.observed[name] = {**unread, **link.observed.get(name, {})}


def _why_no_tag(rule: TagRule, value: Value) -> tuple[str, str, str]:
    """Code, sentence and hint of an item whose text in the tag is none."""
    text = value if isinstance(value, str) else ""
    problem = rule.problem(text)
    if problem is Unusable.CONTROL:
        char = control_character(text) or ""
        return (
            "invalid_tag",
            f"The tag {said(text)} holds a line break or control character (U+{ord(char):04X}).",
            "Type the tag again in Plant 3D, on one line.",
        )
    if problem is Unusable.TOO_LONG:
        return (
            "tag_too_long",
            f"The tag has {len(text)} characters; SYNAPSE holds {MAX_TAG}.",
            "Shorten the tag in Plant 3D.",
        )
    return (
        "untagged",
        "The item has no complete tag yet.",
        "Complete the tag in Plant 3D; the next run takes the item along.",
    )


def _attributes_problem(values: Mapping[str, Value]) -> tuple[str, str, str] | None:
    size = sum(len(name) + len(str(value)) + 8 for name, value in values.items() if name.startswith("attr"))
    if size <= MAX_ATTRIBUTES:
        return None
    return "attributes", "attributes_too_large", f"About {size} bytes; SYNAPSE holds {MAX_ATTRIBUTES}."


def _is_put_back(rule: FieldRule, flip: Flip, plant3d: Value, written: Value) -> bool:
    """Whether Plant 3D holds what it held just before our last write, which was into Plant 3D.

    `written`: what we wrote there.
    """
    if rule.owner is not Owner.SHARED or flip.last not in (Side.PLANT3D.value, REVERTED):
        return False
    return flip.pair == value_pair(plant3d, written)


def _version(asset: Asset) -> int | None:
    info = asset.field_info.get("description")
    return info.version if info else None


def _posix(stamp: str | None) -> float | None:
    """POSIX seconds of an RFC 3339 time, None if missing or unreadable."""
    if not stamp:
        return None
    from datetime import datetime

    try:
        when = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _names(pnpids: Sequence[int], info: Mapping[int, _Holder]) -> str:
    shown = [f"PnPID {pnpid} ({info[pnpid].class_name}, {info[pnpid].plant3d_id})" for pnpid in pnpids[:5]]
    more = f" and {len(pnpids) - 5} more" if len(pnpids) > 5 else ""
    return ", ".join(shown) + more


def _conflict(
    link: Link,
    item: PlantItem,
    name: str,
    kind: str,
    tag: str | None,
    asset: Asset | None,
    *,
    base: Value = None,
    has_base: bool = True,
    plant3d: Value = None,
    synapse: Value = None,
    observed: Mapping[str, Interval] | None = None,
    suggestion: str = "",
    why: str = "",
) -> ConflictDraft:
    info = asset.field_info.get(name) if asset else None
    seen = observed or {}
    return ConflictDraft(
        link_id=link.link_id or None,
        plant3d_id=link.plant3d_id,
        asset_id=link.asset_id,
        tag=tag or link.tag,
        field=name,
        kind=kind,
        base=base,
        has_base=has_base,
        plant3d=plant3d,
        synapse=synapse,
        plant3d_seen=seen.get("p"),
        synapse_seen=seen.get("s"),
        synapse_at=info.updated_at if info else (link.description_at if name == "description" else None),
        synapse_by=info.by if info else (link.description_by if name == "description" else None),
        suggestion=suggestion,
        suggestion_reason=why,
        drawing=item.drawing,
        plant3d_ticks=item.timestamp,
    )


def _in_words(edited: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(edited.items()))


def _gone_conflict(link: Link, edited: Mapping[str, Value]) -> ConflictDraft:
    return ConflictDraft(
        link_id=link.link_id,
        plant3d_id=link.plant3d_id,
        asset_id=link.asset_id,
        tag=link.tag,
        field=WHOLE,
        kind=GONE_FROM_PLANT3D,
        base=link.tag,
        has_base=True,
        plant3d=None,
        synapse=_in_words(edited),
        plant3d_seen=None,
        synapse_seen=None,
        synapse_at=link.description_at,
        synapse_by=link.description_by,
        suggestion="synapse",
        suggestion_reason="deleted in Plant 3D, edited in SYNAPSE",
        drawing=None,
    )


def _work_item(
    item: PlantItem, link: Link, name: str, plant3d: Value, synapse: Value, outcome: FieldOutcome
) -> dict[str, object]:
    return {
        "pnpid": item.pnpid,
        "plant3d_id": item.guid,
        "tag": link.tag,
        "class": item.class_name,
        "field": name,
        "plant3d_value": plant3d,
        "synapse_value": synapse,
        "drawing": item.drawing,
        "reason": outcome.reason,
        "what": f"Change {name} of {link.tag} in drawing {item.drawing or '(no drawing)'}: "
        f"from {said(plant3d)} to {said(outcome.value)}",
    }


def _drift_finding(
    item: PlantItem, link: Link, name: str, plant3d: Value, synapse: Value, outcome: FieldOutcome
) -> Finding:
    return Finding(
        code="drift",
        message=f"{name} of {link.tag} was edited on the side that does not own it: "
        f"Plant 3D {said(plant3d)}, SYNAPSE {said(synapse)}."
        + (" The owner's value was put back." if outcome.reason == "drift_restored" else ""),
        hint="Correct one side, or change the drift policy of the field.",
        pnpid=item.pnpid,
        class_name=item.class_name,
        column=name,
        tag=link.tag,
        data={"plant3d": plant3d, "synapse": synapse, "reason": outcome.reason, "drawing": item.drawing},
    )
