"""What every decision may look at, besides the item it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Link
from plant3d_sync.model.outcome import Clocks, Resolution
from plant3d_sync.model.plan import Limits, MissingPolicy
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.rules import REGISTRY_TAG, ClassRule, RuleSet, Translated
from plant3d_sync.model.schema import Step
from plant3d_sync.model.side import Direction, Entity, WriteMode
from plant3d_sync.reconcile.definitions import Definitions
from plant3d_sync.reconcile.quarantine import NOTHING_REFUSED, Quarantine


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
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
    clocks: Clocks = Clocks()
    last_plant3d_read: float | None = None
    last_synapse_read: float | None = None
    unlinked: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    resolutions: Mapping[tuple[int, str], Resolution] = msgspec.field(default_factory=dict)
    questions: frozenset[tuple[str, str]] = frozenset()
    """(identity, field) of the conflicts that are open; `Draft.examined` says which of them were compared."""
    only_assets: frozenset[str] | None = None
    workbook_days: float = 14.0
    strays: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    """Identity -> (asset id, tag) of live SYNAPSE assets that carry an identity of ours and have no link."""
    definitions: Definitions | None = None
    """The mapping as it is and as it was; None: nothing is known to have changed."""
    lost: frozenset[str] = frozenset()
    """Identities of links whose asset a complete read of SYNAPSE did not show any more."""
    schema: Step | None = None
    """A change of the schema that nobody accepted yet."""
    quarantine: Quarantine = NOTHING_REFUSED
    """Rows that were refused before."""
    first_pull: bool = False
    """The links so far are of a first pull that was interrupted; it goes on as it began, without the create guard."""


class Kind(NamedTuple):
    """What is asked about each item of one class, and is the same for all of them.

    `name`: the entity as plain text. `asked`: whether this run is about it. `theirs`: fields that SYNAPSE owns.
    `attributes`: as `Groups` has them, without those of SYNAPSE. `is_line`: whether it is a line by its number.
    """

    entity: Entity
    name: str
    asked: bool
    rule: ClassRule
    translate: Callable[[PlantItem], Translated]
    theirs: frozenset[str]
    attributes: Mapping[str, str]
    is_line: bool


class Context:
    """The mapping, what is known, and what follows from both for every item."""

    __slots__ = ("_kinds", "know", "pulls", "pushes", "rules")

    def __init__(self, rules: RuleSet, know: Knowledge) -> None:
        self.rules, self.know = rules, know
        self.pulls = know.direction is not Direction.PUSH
        self.pushes = know.direction is not Direction.PULL
        self._kinds: dict[str, Kind] = {}

    def kind(self, class_name: str) -> Kind:
        """What holds for every item of the class; worked out for the classes that have items."""
        found = self._kinds.get(class_name)
        if found is None:
            rules, rule = self.rules, self.rules.classes[class_name]
            found = self._kinds[class_name] = Kind(
                entity=rule.entity,
                name=rule.entity.value,
                asked=rule.entity in self.know.entities,
                rule=rule,
                translate=rules.translate[class_name],
                theirs=rule.groups.of_synapse,
                attributes={
                    name: key
                    for name, key in rule.groups.attributes.items()
                    if name not in rule.groups.of_synapse
                },
                is_line=class_name in rules.reading.lines,
            )
        return found

    def as_accepted(self, class_name: str, translated: Translated) -> Translated:
        """Without the fields that a change of the schema concerns: they are unknown until somebody accepts it."""
        names = self.know.schema.fields.get(class_name) if self.know.schema is not None else None
        if not names:
            return translated
        return Translated(
            fields={name: value for name, value in translated.fields.items() if name not in names},
            columns=translated.columns,
            problems=tuple(one for one in translated.problems if one[0] not in names),
        )

    def tag_of(self, translated: Translated) -> str | None:
        """The tag of an item; None if it has no complete one."""
        return self.rules.reading.tags.usable(translated.fields.get("tag"))

    def tag_from_registry(self, translated: Translated) -> bool:
        """Whether only Plant 3D's own registry still knows the tag."""
        return translated.columns.get("tag") == REGISTRY_TAG

    def choice(self, link: Link, kind: str) -> Resolution | None:
        """A person's choice about the whole item, if it answers this kind of question."""
        choice = self.know.resolutions.get((link.link_id, WHOLE))
        return choice if choice is not None and choice.kind == kind else None

    def void(self, link: Link, kind: str, why: str) -> tuple[tuple[str, str], ...]:
        """The choice that answered a question which does not arise any more, with the reason."""
        choice = self.choice(link, kind)
        return () if choice is None else ((choice.conflict_id, why),)

    def last_compared(self, link: Link) -> float | None:
        """When the item was last compared: an edit that is found now is younger than that, and no more is known."""
        if link.looked_at is None:
            return self.know.last_plant3d_read
        return link.looked_at or None

    def clocks_for(self, link: Link) -> Clocks:
        """What is known of the clocks; that the file changed once counts only from the read that compared the item."""
        clocks = self.know.clocks
        return clocks if link.looked_at is None else replace(clocks, one_commit=False)

    def knowing(self, lag: float) -> Context:
        """The same for whoever knows that a workstation may be that far behind."""
        if lag <= self.know.clocks.lag:
            return self
        return Context(self.rules, replace(self.know, clocks=replace(self.know.clocks, lag=lag)))

    def redefined(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the mapping fills the field otherwise since the link was compared: then Plant 3D was not edited."""
        definitions = self.know.definitions
        return definitions is not None and definitions.changed(link, class_name, name)

    def arrives(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the field has a column now and had none when the link was compared."""
        definitions = self.know.definitions
        return definitions is not None and definitions.arrives(link, class_name, name)

    def compared_otherwise(self, link: Link, name: str) -> bool:
        """Whether the mapping compares the field otherwise since the link was compared."""
        definitions = self.know.definitions
        return definitions is not None and definitions.compared_otherwise(link, name)

    def selected(self, link: Link) -> bool:
        """Whether this run may push the item's values."""
        return self.know.only_assets is None or link.asset_id in self.know.only_assets
