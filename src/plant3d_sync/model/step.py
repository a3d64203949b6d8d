"""The steps of a plan: one small type per kind, told apart by `op`, and how they stand as JSON in the state database.

Fast because what a creation sets stays text: a first pull is nearly all creations, and what such a step sets goes to
SYNAPSE, into the base and into the history just as it stands. Equal to the same creation taken apart by
`tests/properties/test_creation_text.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, TypedDict

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType

from plant3d_sync.model.fields import Grouped, flat
from plant3d_sync.model.link import Flip, Hold, Interval, Link, LinkState, Missing, Open
from plant3d_sync.model.plan import Op
from plant3d_sync.model.record import Value

_NOTHING: Final = Raw(b"{}")


class After(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the link will remember once the step is done.

    `base_set`: field -> agreed value as SYNAPSE holds it; `plant_set`: Plant 3D's spelling where it is another one.
    `digest` (hex), `ticks` and `revision`: the item as it was read; without them the next run reads it again.
    `ends`: the fields of which what was open, observed or held is over, unless the step says it anew; of any other field
    the link keeps what it knows when the step is stored. None (a step of an older version): of all fields.
    """

    state: LinkState = LinkState.ACTIVE
    missing: Missing | None = None
    digest: str | None = None
    ticks: int | None = None
    revision: int | None = None
    base_set: dict[str, Value] = {}
    plant_set: dict[str, Value] = {}
    pending: dict[str, Open] = {}
    observed: dict[str, dict[str, Interval]] = {}
    holds: dict[str, Hold] = {}
    flips: dict[str, Flip] = {}
    ends: list[str] | None = None


class AfterCreation(msgspec.Struct, kw_only=True, omit_defaults=True, rename={"blank": "base_set"}):
    """What the link of a new pair will remember. `blank`: the fields known to be empty, as JSON."""

    digest: str | None = None
    ticks: int | None = None
    revision: int | None = None
    pending: dict[str, Open] = {}
    blank: Raw = _NOTHING

    @property
    def base_set(self) -> dict[str, Value]:
        """The fields known to be empty on both sides."""
        return _decoded(self.blank)


class Cell(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One Plant 3D cell to write. `old`, `new`: its text; `plant3d`, `synapse`: both sides' values of the field.

    `reads`: what the field says once the cell holds `new`, where its converter makes another value of the text.
    `hold`: an undo puts it back, and the field keeps `kept` until SYNAPSE's value moves.
    `by`, `at`: who typed the value in SYNAPSE and when, where SYNAPSE says so. `ticks`, `revision`: the row's when it was read.
    """

    field: str
    column: str
    table_class: str
    old: Value
    new: Value
    ticks: int | None
    plant3d: Value
    synapse: Value
    why: str | None = None
    hold: bool = False
    kept: Value = None
    reads: Value | UnsetType = UNSET
    by: str = ""
    at: str = ""
    revision: int | None = None

    @property
    def says(self) -> Value:
        """What the field says once the cell is written."""
        if self.hold:
            return self.kept
        return self.new if isinstance(self.reads, UnsetType) else self.reads


class _Item(
    msgspec.Struct,
    omit_defaults=True,
    tag_field="op",
    rename={"plant3d_id": "id", "class_name": "class", "text": "set"},
):
    """Whose step it is."""

    op: ClassVar[Op]

    entity: str
    pnpid: int
    plant3d_id: str
    class_name: str
    tag: str


class _OfPair(_Item, kw_only=True):
    """Whose pair it is, and the versions of the asset it was decided on. A pair that is only made now has no link yet."""

    link_id: int | None = None
    asset_id: str | None = None
    asset_version: int | None = None
    description_version: int | None = None


class Head(TypedDict):
    """The members that every step of a pair begins with."""

    entity: str
    pnpid: int
    plant3d_id: str
    class_name: str
    tag: str
    link_id: int | None
    asset_id: str | None
    asset_version: int | None
    description_version: int | None


def head(link: Link) -> Head:
    """The head of a step about this link's pair, as the link knows it."""
    return Head(
        entity=link.entity,
        pnpid=link.pnpid,
        plant3d_id=link.plant3d_id,
        class_name=link.class_name,
        tag=link.tag,
        link_id=link.link_id or None,
        asset_id=link.asset_id,
        asset_version=link.asset_version,
        description_version=link.description_version,
    )


class Create(_Item, kw_only=True, tag=Op.CREATE.value, gc=False):
    """A new asset in SYNAPSE. `text`: what it sets, JSON with sorted keys, grouped as SYNAPSE takes it (`model.fields`); flat
    in a plan of an older version.
    """

    op: ClassVar[Op] = Op.CREATE

    drawing: str | None = None
    link_id: int | None = None
    after: AfterCreation
    text: Raw

    @property
    def set(self) -> dict[str, Value]:
        """What it sets, taken apart."""
        return _decoded(self.text)

    @property
    def is_usual(self) -> bool:
        """A new pair with nothing open: its text is passed on and never taken apart."""
        after = self.after
        return (
            self.link_id is None
            and not after.pending
            and after.digest is not None
            and after.ticks is not None
        )


class Adopt(_OfPair, kw_only=True, tag=Op.ADOPT.value):
    """Link an asset that already carries this identity (or tag, when a person `accepted` the pair)."""

    op: ClassVar[Op] = Op.ADOPT

    old_tag: str | None = None
    set: dict[str, Value] = {}
    was: dict[str, Value] = {}
    after: After = msgspec.field(default_factory=After)
    why: dict[str, str] = {}
    drawing: str | None = None
    accepted: bool = False


class Update(_OfPair, kw_only=True, tag=Op.UPDATE.value):
    """Write fields to SYNAPSE. `was`: the values they must still have; `why`: field -> the rule that decided."""

    op: ClassVar[Op] = Op.UPDATE

    old_tag: str | None = None
    set: dict[str, Value] = {}
    was: dict[str, Value] = {}
    after: After = msgspec.field(default_factory=After)
    why: dict[str, str] = {}
    drawing: str | None = None
    undo_change: int | None = None


class Restore(_OfPair, kw_only=True, tag=Op.RESTORE.value):
    """Bring an archived asset back, with these values."""

    op: ClassVar[Op] = Op.RESTORE

    set: dict[str, Value] = {}
    was: dict[str, Value] = {}
    after: After = msgspec.field(default_factory=After)
    why: dict[str, str] = {}
    drawing: str | None = None
    undo_change: int | None = None


class Archive(_OfPair, kw_only=True, tag=Op.ARCHIVE.value):
    """The item is gone for good, or its creation is undone. `needs`: "person" when no unattended run may do it."""

    op: ClassVar[Op] = Op.ARCHIVE

    after: After = msgspec.field(default_factory=After)
    why: dict[str, str] = {}
    needs: str | None = None
    undo_change: int | None = None


class Push(_OfPair, kw_only=True, tag=Op.PUSH.value):
    """Write cells into Plant 3D. `needs`: the way in which a person writes them; `undo`: "undo" when it puts back.

    `row_guid`: PnPGuid of the row they are in, where that is not the identity of the item.
    """

    op: ClassVar[Op] = Op.PUSH

    cells: list[Cell] = []
    why: dict[str, str] = {}
    needs: str | None = None
    drawing: str | None = None
    undo_change: int | None = None
    undo: str | None = None
    row_guid: str = ""


class Settle(_OfPair, kw_only=True, tag=Op.SETTLE.value):
    """No write; the base or what is open moves."""

    op: ClassVar[Op] = Op.SETTLE

    after: After = msgspec.field(default_factory=After)
    drawing: str | None = None


class Touch(_OfPair, kw_only=True, tag=Op.TOUCH.value):
    """No write, no base; only what was seen is remembered."""

    op: ClassVar[Op] = Op.TOUCH

    after: After = msgspec.field(default_factory=After)
    drawing: str | None = None


class Absent(_OfPair, kw_only=True, tag=Op.MISSING.value):
    """The item was not seen in this read."""

    op: ClassVar[Op] = Op.MISSING

    after: After


Step = Create | Adopt | Update | Restore | Archive | Push | Settle | Touch | Absent

ToSynapse = Create | Adopt | Update | Restore | Archive
"""Steps that write to SYNAPSE; an `Adopt` only if it sets something."""

Quiet = Adopt | Settle | Touch | Absent | Archive
"""Steps that only change our own memory; of `Adopt` and `Archive` those that are not written now."""


_ENCODER: Final = msgspec.json.Encoder()
_STEPS: Final = msgspec.json.Decoder(list[Step])
_VALUES: Final = msgspec.json.Decoder(dict[str, Value | dict[str, Value]])


def to_text(step: Step) -> bytes:
    """The step as it is stored."""
    return _ENCODER.encode(step)


def from_text(steps: bytes) -> list[Step]:
    """A JSON list of stored steps."""
    return _STEPS.decode(steps)


def list_text(steps: Sequence[Step]) -> bytes:
    """Steps as a JSON list."""
    return _ENCODER.encode(list(steps))


def document(step: Step | Cell) -> dict[str, object]:
    """The step (or cell) as a document for people and other programs."""
    shown: dict[str, object] = orjson.loads(_ENCODER.encode(step))
    return {**shown, "set": step.set} if isinstance(step, Create) else shown


def values_text(values: Grouped) -> Raw:
    """What a creation sets, as its text: keys sorted."""
    return Raw(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))


def blank_text(names: Iterable[str]) -> Raw:
    """Fields that are known to be empty, as text."""
    return Raw(orjson.dumps(dict.fromkeys(names), option=orjson.OPT_SORT_KEYS))


def base_text(sent: bytes, blank: bytes) -> str:
    """What a created pair agrees on, as JSON: what was set, and, flat behind it, what is known to be empty."""
    return (sent[:-1] + b"," + blank[1:] if len(blank) > len(b"{}") else sent).decode()


def _decoded(text: Raw) -> dict[str, Value]:
    return flat(_VALUES.decode(text))


__all__ = [
    "UNSET",
    "Absent",
    "Adopt",
    "After",
    "AfterCreation",
    "Archive",
    "Cell",
    "Create",
    "Head",
    "Push",
    "Quiet",
    "Restore",
    "Settle",
    "Step",
    "ToSynapse",
    "Touch",
    "UnsetType",
    "Update",
    "base_text",
    "blank_text",
    "document",
    "from_text",
    "head",
    "list_text",
    "to_text",
    "values_text",
]
