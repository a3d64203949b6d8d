"""The link between one Plant 3D item and one SYNAPSE asset, and what both last agreed on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from plant3d_sync.model.record import Value


class LinkState(StrEnum):
    """Life of a link. Reappearing in a read cancels `missing` and `pending` at any point.

    `out`: the mapping leaves its class out, so nobody looks for its item; back in the mapping it is compared, or
    missing, like any other. `unlinked`: a person chose to keep the asset of an item that is gone.
    """

    ACTIVE = "active"
    MISSING = "missing"
    PENDING = "pending"
    ARCHIVED = "archived"
    OUT = "out"
    UNLINKED = "unlinked"


class InSynapse(IntEnum):
    """Where the asset of a pair is, as last seen."""

    LIVE = 0
    ARCHIVED = 1  # seen archived, and no run that ended has said so yet
    ARCHIVED_TOLD = 2
    LOST = 3  # a complete read of SYNAPSE did not show it any more


class Missing(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How long an item has not been seen: first time (UTC, ISO) and in how many counted reads.

    `older`: rows of the database went back to an earlier day meanwhile, so it may have been drawn after that day.
    """

    since: str
    reads: int
    last_counted: str
    signature: str | None
    older: bool = False


class Interval(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """When a change happened, on our own clock: after `at_base` (last seen unchanged), up to `away` (first seen changed).

    Both are POSIX seconds. `at_base` is None when the field was never seen at the base.
    """

    at_base: float | None
    away: float


class Hold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An undone field: `side` was put back to `kept` and keeps it until the other side's value leaves `value`."""

    side: str
    value: Value
    kept: Value = None


class Flip(NamedTuple):
    """What we last wrote into one field, to see it written back and forth.

    `writes`: how many in a row between the same two values. `pair`: those two, hashed, in either order.
    `last`: the side that was written last; `reverted`: it was Plant 3D, and it was then found holding again what it
    held before that write; empty: not known. `reverts`: how often that happened.
    """

    writes: int = 0
    pair: str = ""
    last: str = ""
    reverts: int = 0


def known(value: Value | UnsetType) -> Value:
    """A value that may be unset; None if it is."""
    return None if isinstance(value, UnsetType) else value


class Open(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"plant3d": "p", "synapse": "s"}
):
    """A field that is not settled: why, both values (unset: not known), the rule that said so.

    `since`: when it began to wait (UTC, ISO). `given`: a choice SYNAPSE was sent, and what SYNAPSE made of it.
    `no_edit`: this side's value came with a copy of an earlier day or a changed mapping (the kind of that question).
    `words`: what a person is asked about in place of Plant 3D's value: they stood in a row that is no more.
    """

    why: str
    plant3d: Value | UnsetType = UNSET
    synapse: Value | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    since: str | UnsetType = UNSET
    given: tuple[Value, Value] | UnsetType = UNSET
    no_edit: str = ""
    words: Value | UnsetType = UNSET


REVERTED = "reverted"
"""`Flip.last` once our last write into Plant 3D was found put back."""


class Link(msgspec.Struct, kw_only=True):
    """One link with its base.

    `base`: field -> value both sides agreed on, as SYNAPSE holds it; None = never agreed ("no base").
    `base_plant`: only fields where SYNAPSE altered what it was given (trim, truncation): Plant 3D's spelling of the base.
    `synapse_delta`: fields where SYNAPSE was last seen away from the base.
    `pending`: fields not settled by the last run, with the reason.
    `digest`, `ticks`, `revision`: the item as it was last compared; without a digest the next run compares it again.
    Without a revision (a state of an earlier version) nothing tells an older copy of its row.
    `looked_at`: when the item was last compared (POSIX seconds, 0 = never), if the last complete read of Plant 3D did not
    compare it; None: that read did.
    `mapping_version`: the version of the mapping it was compared under then; None: that of the last complete read.
    `went_back`: the asset was seen in an earlier version than before, and was not compared since.
    """

    link_id: int
    pnpid: int
    plant3d_id: str
    class_name: str
    entity: str
    asset_id: str
    asset_version: int
    description_version: int | None
    tag: str
    state: LinkState = LinkState.ACTIVE
    digest: bytes = b""
    ticks: int | None = None
    revision: int | None = None
    looked_at: float | None = None
    mapping_version: int | None = None
    drawing: str | None = None
    base: Mapping[str, Value] | None = None
    base_plant: Mapping[str, Value] = msgspec.field(default_factory=dict)
    synapse_delta: Mapping[str, Value] = msgspec.field(default_factory=dict)
    pending: Mapping[str, Open] = msgspec.field(default_factory=dict)
    observed: Mapping[str, Mapping[str, Interval]] = msgspec.field(default_factory=dict)
    holds: Mapping[str, Hold] = msgspec.field(default_factory=dict)
    flips: Mapping[str, Flip] = msgspec.field(default_factory=dict)
    missing: Missing | None = None
    in_synapse: InSynapse = InSynapse.LIVE
    went_back: bool = False
    description_at: str | None = None
    description_by: str | None = None

    @property
    def archived_in_synapse(self) -> bool:
        """Whether the asset was archived when it was last seen."""
        return self.in_synapse in (InSynapse.ARCHIVED, InSynapse.ARCHIVED_TOLD)

    @property
    def lost_in_synapse(self) -> bool:
        """Whether a complete read of SYNAPSE did not show the asset any more."""
        return self.in_synapse is InSynapse.LOST

    def synapse_fields(self) -> dict[str, Value]:
        """What SYNAPSE holds now, as last seen."""
        return {**(self.base or {}), **self.synapse_delta}
