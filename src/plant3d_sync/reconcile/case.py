"""What one decision looks at, and what it leads to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec
from msgspec import UNSET

from plant3d_sync.model.conflict import ConflictDraft
from plant3d_sync.model.link import Link
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Asset, Finding, PlantItem, Value
from plant3d_sync.model.rules import ClassRule, Translated
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import Step
from plant3d_sync.reconcile.limits import Refusal

FOLLOWED = ""
"""Fate of a choice that the plan carries out."""
SIDE_MOVED = "a side moved elsewhere"
ITEM_BACK = "the item is back in Plant 3D"
ITEM_GONE = "the item is gone from Plant 3D"
ASSET_LIVES = "the asset is not archived any more"
AGREED = "both sides agree on another value"
RULES_CHANGED = "the mapping decides the field otherwise now"
ASSET_REMOVED = "the asset was removed from SYNAPSE"


class Fate(StrEnum):
    """What becomes of an item in a run, by the names of its counts."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    ERRORS = "errors"


class Case(msgspec.Struct, frozen=True, gc=False):
    """One item of Plant 3D with what is known of its pair.

    `asset`: the SYNAPSE asset that carries its identity, if it was just read. `known_as_ours`: values of its cells, oldest
    first. `late`: what an overtaken run wrote into its asset last.
    """

    item: PlantItem
    entity: Entity
    rule: ClassRule
    translated: Translated
    tag: str | None
    link: Link | None = None
    asset: Asset | None = None
    known_as_ours: Sequence[Ours] = ()
    late: Mapping[str, Value] | None = None


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of an item besides itself: its link, and what SYNAPSE shows of it.

    `asset`: the SYNAPSE asset that carries its identity, if it was just read. `other`: a link that holds the item's PnPID
    under another identity. `ours`: values of its cells, oldest first. `late`: what an overtaken run wrote into its asset
    last.
    """

    link: Link | None = None
    asset: Asset | None = None
    other: Link | None = None
    ours: Sequence[Ours] = ()
    late: Mapping[str, Value] | None = None


NOTHING_KNOWN = Known()


class Amounts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What guards count of one item: 0 or 1 each."""

    blanks: int = 0
    gone: int = 0
    older_rows: int = 0
    older_assets: int = 0
    push_updates: int = 0
    push_blanks: int = 0


NO_AMOUNTS = Amounts()


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one item leads to. Nothing of it has happened yet.

    `fate`: what is counted; None for an item that is not in Plant 3D. `push`: the same for what goes into Plant 3D.
    `archived`, `missing`: what an item that is not there counts as.
    """

    fate: Fate | None = None
    steps: tuple[Step, ...] = ()
    findings: Sequence[Finding] = ()
    errors: Sequence[RowError] = ()
    conflicts: Sequence[ConflictDraft] = ()
    work_items: Sequence[dict[str, object]] = ()
    waits: bool = False
    """The item needs somebody, or a later run."""
    uncompared: bool = False
    """What both sides hold was not compared, whatever else was decided."""
    looked_at: Collection[str] = ()
    """Fields of which an open question is asked again, or answered, by this decision; WHOLE for the item."""
    ends_questions: bool = False
    """The item and its asset are no more: every question about them ends."""
    choices: tuple[tuple[str, str], ...] = ()
    """What became of choices: conflict id, and FOLLOWED or why the choice is void."""
    released: str | None = None
    """A tag that SYNAPSE gives free."""
    taken: str | None = None
    """A tag that the asset of this item turned out to hold."""
    push: Fate | None = None
    archived: bool = False
    missing: bool = False
    amounts: Amounts = NO_AMOUNTS


def finding(
    item: PlantItem,
    tag: str | None,
    code: str,
    message: str,
    hint: str = "",
    *,
    column: str | None = None,
    data: Mapping[str, object] | None = None,
) -> Finding:
    """Something worth knowing about an item."""
    return Finding(
        code=code,
        message=message,
        hint=hint,
        pnpid=item.pnpid,
        class_name=item.class_name,
        column=column,
        tag=tag,
        data=data or {},
    )


def skipped(
    item: PlantItem,
    tag: str | None,
    code: str,
    message: str,
    hint: str = "",
    *,
    data: Mapping[str, object] | None = None,
    waits: bool = False,
) -> Decision:
    """Nothing is done for the item, and a finding says why."""
    found = finding(item, tag, code, message, hint, data=data)
    return Decision(fate=Fate.SKIPPED, findings=(found,), waits=waits)


def refused(
    item: PlantItem,
    tag: str | None,
    why: Refusal,
    wanted: Mapping[str, Value],
    held: Mapping[str, Value] | None = None,
) -> RowError:
    """A value that SYNAPSE would refuse: nothing is written for its item. `wanted`: what would be written; `held`: what
    SYNAPSE holds.
    """
    return RowError(
        code=why.code,
        message=why.message + " Nothing was written for this item.",
        hint="Shorten or correct the value in Plant 3D.",
        plant3d_id=item.guid,
        pnpid=item.pnpid,
        class_name=item.class_name,
        tag=tag,
        field=why.field,
        plant3d=wanted.get(why.field, UNSET),
        synapse=UNSET if held is None else held.get(why.field, UNSET),
    )


def row_error(error: RowError) -> Decision:
    """The item cannot be handled."""
    return Decision(fate=Fate.ERRORS, errors=(error,), waits=True)
