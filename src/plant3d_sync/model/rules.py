"""The mapping after validation: what each class becomes, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Final, Protocol

import msgspec

from plant3d_sync.model.fields import attribute_key
from plant3d_sync.model.reading import PLAIN, Reading
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.schema import Used
from plant3d_sync.model.side import Entity, Owner

INFORMATION: Final = "information"
"""Comparator of a field that is written along with others and makes no update by itself."""
REGISTRY_TAG = "@registry_tag"
"""Name by which a mapping asks for the tag in Plant 3D's own registry."""


class DriftPolicy(StrEnum):
    """What to do about an edit on the side that does not own the field."""

    RESTORE = "restore"
    PROPOSE = "propose"
    IGNORE = "ignore"


class ConflictPolicy(StrEnum):
    """What to do when both sides moved a shared field to different values."""

    NEWEST = "newest"
    ASK = "ask"


class BlankPolicy(StrEnum):
    """Whether an empty value of the owner may erase a filled one."""

    ALLOW = "allow"
    KEEP = "keep"


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """How one canonical field is filled, compared and owned.

    `columns`: candidates, first filled one wins; names starting with `@` are values the reader
    derives (drawing, line, from, to, ...). `push`: whether SYNAPSE's value may go into Plant 3D.
    """

    field: str
    owner: Owner
    columns: tuple[str, ...]
    convert: str = "text"
    compare: str = "text"
    push: bool = False
    blank: BlankPolicy = BlankPolicy.ALLOW
    drift: DriftPolicy = DriftPolicy.RESTORE
    conflict: ConflictPolicy = ConflictPolicy.NEWEST


class Groups(msgspec.Struct, frozen=True):
    """The fields of a class by who decides them, asked instead of the rules wherever an item is looked at.

    `compared`: the fields that make an update by themselves. `information`: those that go along, and never make one.
    `of_us`: those that Plant 3D decides, alone or with SYNAPSE. `of_synapse`: those that SYNAPSE decides alone.
    `attributes`: field -> the key under which SYNAPSE keeps it among the attributes; the others are columns there.
    """

    compared: Mapping[str, FieldRule]
    information: tuple[str, ...]
    of_us: frozenset[str]
    of_synapse: frozenset[str]
    attributes: Mapping[str, str]

    @classmethod
    def of(cls, fields: Mapping[str, FieldRule]) -> Groups:
        """Group these."""
        of_synapse = frozenset(name for name, rule in fields.items() if rule.owner is Owner.SYNAPSE)
        return cls(
            compared={name: rule for name, rule in fields.items() if rule.compare != INFORMATION},
            information=tuple(name for name, rule in fields.items() if rule.compare == INFORMATION),
            of_us=frozenset(fields) - of_synapse,
            of_synapse=of_synapse,
            attributes={name: key for name in fields if (key := attribute_key(name)) is not None},
        )


class ClassRule(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What items of one concrete class become: entity and fields, inherited rules resolved."""

    class_name: str
    entity: Entity
    fields: Mapping[str, FieldRule]

    @cached_property
    def groups(self) -> Groups:
        """The fields, grouped when the class is met first."""
        return Groups.of(self.fields)


class Translated(msgspec.Struct, kw_only=True, gc=False):
    """One item in canonical fields, with what could not be read or translated. Mutable only for speed.

    `fields` lacks unknown fields; a field known to be empty is None, never blank text. `columns` says which column each field came from (for writing back).
    `problems`: field -> (code, message).
    """

    fields: dict[str, Value]
    columns: dict[str, str]
    problems: tuple[tuple[str, str, str], ...] = ()
    is_tagged: bool = False
    """Whether the tag is known to be one; else nobody asked yet."""


class Spelling(Protocol):
    """A converter, as far as one side's value has to become the other's."""

    @property
    def to_field(self) -> Callable[[Value], Value]:
        """Filled raw value -> canonical value; raises SkipRecordError."""
        ...

    @property
    def to_cell(self) -> Callable[[Value, str | None], str | None]:
        """(canonical value, text now in the cell) -> text to store; None empties the cell. Raises SkipRecordError."""
        ...


def _not_told(_class_name: str, _name: str) -> str:
    return ""


class RuleSet(msgspec.Struct, frozen=True):
    """A whole mapping, compiled against one catalog.

    `classes`: concrete class name -> rule, only for classes that become assets.
    `digest`: hash of mapping and of the catalog parts it touches; a change forces a full compare.
    `translate`: class name -> function from a raw item to canonical fields (compiled for speed).
    `same`: field name -> comparator by meaning (null = empty, CRLF, trailing blanks, 12.50 = 12.5).
    """

    classes: Mapping[str, ClassRule]
    digest: str
    translate: Mapping[str, Callable[[PlantItem], Translated]]
    same: Mapping[str, Callable[[Value, Value], bool]]
    reading: Reading = PLAIN
    warnings: tuple[str, ...] = ()
    own_warnings: tuple[str, ...] = ()
    """Those about the project's own files, not about what is shipped."""
    source: Mapping[str, object] = msgspec.field(default_factory=dict)
    """The mapping as it was written, all files merged, with their names."""
    used: Mapping[str, Used] = msgspec.field(default_factory=dict)
    """Class -> what the mapping uses of it in the catalogue."""
    uses: Mapping[str, Mapping[str, tuple[str, ...]]] = msgspec.field(default_factory=dict)
    """Class -> field -> the columns it may come from as the mapping writes them, those that the project lacks among them."""
    definition: Callable[[str, str], str] = _not_told
    """(class, field) -> digest of where the field's value comes from."""
    spellings: Mapping[str, Spelling] = msgspec.field(default_factory=dict)
    """Converters by the name that a rule has in `convert`; one that is missing takes texts as they are."""

    def definitions(self) -> dict[str, dict[str, str]]:
        """The digests of all fields, by class."""
        return {
            name: {one: self.definition(name, one) for one in rule.fields}
            for name, rule in self.classes.items()
        }

    def comparators(self) -> dict[str, str]:
        """Field -> the name of its comparator, which is one in all classes."""
        return {name: one.compare for rule in self.classes.values() for name, one in rule.fields.items()}

    def is_same(self, name: str, one: Value, other: Value) -> bool:
        """Whether two values of a field are one value, perhaps in two spellings."""
        same = self.same.get(name)
        return one == other or (same is not None and same(one, other))

    def is_tagged(self, tag: Value) -> bool:
        """Whether a text can be the tag of an asset."""
        return self.reading.tags.usable(tag) is not None
