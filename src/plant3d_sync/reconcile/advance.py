"""Where a link's memory moves: from the link as it stands, a step, and what was read back, to the link after it.

The base moves here and nowhere else, and only to what was read back. Nothing in here knows a column, JSON or a
database; `state/links.py` stores what comes out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from plant3d_sync.model.link import Flip, Hold, InSynapse, Interval, Link, LinkState, Open, known
from plant3d_sync.model.record import Asset, Value
from plant3d_sync.model.side import Side
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    After,
    Archive,
    Cell,
    Create,
    Restore,
    Settle,
    Touch,
    Update,
)
from plant3d_sync.reconcile import older

Written = Create | Adopt | Update | Restore
"""Steps after which a live asset holds what they set."""

MISSED = (LinkState.MISSING, LinkState.PENDING)
"""States of a link whose item was not seen."""

Observed = Mapping[str, Mapping[str, Interval]]


# ---------------------------------------------------------------- new links


def created(step: Written, asset: Asset, *, link_id: int) -> Link:
    """The link that a `Create` or an `Adopt` makes: agreed on what the comparison settled, and on what was sent.

    Whatever else the asset holds was typed in SYNAPSE meanwhile, and is remembered as that.
    """
    after, held = after_of(step), asset.fields
    new = _new(step, asset, link_id)
    fields = _Fields.of(new)
    fields.settle(after)
    for name, value in step.set.items():
        fields.agree(name, synapse=held.get(name), plant3d=value)
    return replace(
        new,
        digest=bytes.fromhex(after.digest or ""),
        ticks=after.ticks,
        revision=after.revision,
        base=fields.base,
        base_plant=fields.plant3d,
        synapse_delta=delta(fields.base, held, after.pending),
        pending=after.pending,
        observed=after.observed,
    )


def found(step: Create, asset: Asset, *, link_id: int, same: Callable[[str, Value, Value], bool]) -> Link:
    """The link of a creation whose receipt was lost and whose asset somebody has edited since.

    What was sent is the base. Where the asset holds another value (and `same` does not call it another spelling),
    somebody typed it in SYNAPSE.
    """
    made = created(step, asset, link_id=link_id)
    base, plant3d = dict(made.base or {}), dict(made.base_plant)
    for name, value in step.set.items():
        if not same(name, asset.fields.get(name), value):
            base[name] = value
            plant3d.pop(name, None)
    return replace(made, base=base, base_plant=plant3d, synapse_delta=delta(base, asset.fields, made.pending))


def accepted(step: Written, asset: Asset, *, link_id: int) -> Link:
    """A link without a base, as a person accepted it or as SYNAPSE knew it before: the next comparison merges its fields."""
    return replace(_new(step, asset, link_id), synapse_delta=dict(asset.fields))


def _new(step: Written, asset: Asset, link_id: int) -> Link:
    info = asset.field_info.get("description")
    return Link(
        link_id=link_id,
        pnpid=step.pnpid,
        plant3d_id=step.plant3d_id,
        class_name=step.class_name,
        entity=step.entity,
        asset_id=asset.asset_id,
        asset_version=asset.version,
        description_version=info.version if info else None,
        description_at=info.updated_at if info else None,
        description_by=info.by if info else None,
        tag=asset.tag,
        drawing=step.drawing,
        in_synapse=InSynapse.ARCHIVED if asset.archived else InSynapse.LIVE,
    )


# ---------------------------------------------------------------- what a step does


def written(link: Link, step: Written, asset: Asset) -> Link:
    """A write to SYNAPSE was read back as `asset`: what it set is agreed, unless Plant 3D does not hold it yet."""
    after = after_of(step)
    fields = _Fields.of(link)
    fields.settle(after)
    for name, value in step.set.items():
        if name not in after.pending:  # a choice that Plant 3D does not hold yet: the base must not move
            fields.agree(name, synapse=asset.fields.get(name), plant3d=value)
    opened = {
        name: _given(entry, step.set[name], asset.fields.get(name)) if name in step.set else entry
        for name, entry in after.pending.items()
    }
    return fields.after(see_asset(link, asset), step, opened, asset.fields, sent=step.set)


def remembered(link: Link, step: Settle | Touch) -> Link:
    """Nothing was written: the item was seen, and what both sides hold together is agreed."""
    after = step.after
    fields = _Fields.of(link)
    fields.settle(after)
    return fields.after(link, step, after.pending, link.synapse_fields())


def pushed(link: Link, done: Sequence[tuple[Cell, Value]], *, at: float) -> Link:
    """Cells were written into Plant 3D; each with what it was read back as. The base is SYNAPSE's spelling.

    What an undo keeps away was typed before the write that is undone, however often SYNAPSE was read since.
    """
    fields = _Fields.of(link)
    delta, held = dict(link.synapse_delta), link.synapse_fields()
    pending, observed = dict(link.pending), dict(link.observed)
    holds, flips = dict(link.holds), dict(link.flips)
    for cell, stored in done:
        name = cell.field
        # an undo may put back a class default, which reads as empty: its canonical value travels with the cell;
        # of a choice SYNAPSE may hold another spelling: the base is SYNAPSE's
        agreed = cell.kept if cell.hold else cell.synapse
        fields.agree(name, synapse=agreed, plant3d=stored)
        # SYNAPSE may have been seen again since the plan, in the answer to a write of another field
        seen = held.get(name, cell.synapse)
        if seen == agreed:
            delta.pop(name, None)
        else:
            delta[name] = seen
        flips[name] = _flipped(link.flips.get(name, Flip()), cell)
        if cell.hold:
            holds[name] = Hold(side=Side.PLANT3D.value, value=cell.synapse, kept=stored)
        pending.pop(name, None)
        observed.pop(name, None)
        if cell.hold and name in delta:
            observed[name] = {"s": Interval(at_base=None, away=at)}
    return replace(
        link,
        base=fields.base,
        base_plant=fields.plant3d,
        synapse_delta=delta,
        pending=pending,
        observed=observed,
        holds=holds,
        flips=flips,
        digest=b"",
    )


def archived(link: Link, step: Archive, asset: Asset) -> Link:
    """We archived the asset. How its item was missed is kept: if the item comes back, so does its asset.

    So is what is known to be nobody's edit: an older copy of the item is one still when it comes back.
    """
    return replace(
        link,
        state=LinkState.ARCHIVED,
        asset_version=asset.version,
        in_synapse=InSynapse.ARCHIVED,
        missing=step.after.missing,
        pending={name: entry for name, entry in link.pending.items() if entry.no_edit},
        digest=b"",
        holds={**link.holds, **step.after.holds},
    )


def gone(link: Link, step: Absent | Archive) -> Link:
    """The item was not seen. Where its class is left out nobody looked for it: it is as it was compared."""
    known_as = link.digest if step.after.state is LinkState.OUT else b""
    return replace(link, state=step.after.state, missing=step.after.missing, digest=known_as)


def there(link: Link) -> Link:
    """The item was seen, though nothing came of it (an error of its row, a write that was refused): it is not missed."""
    return replace(link, state=LinkState.ACTIVE, missing=None)


def row_moved(link: Link, pnpid: int) -> Link:
    """The item has another row in Plant 3D, so it is there; what is remembered of its values stays, and is compared again.

    The stamp and the revision were the old row's; they say nothing of the new one's age.
    """
    seen_now = there(link) if link.state in MISSED else link
    return replace(seen_now, pnpid=pnpid, digest=b"", ticks=None, revision=None)


# ---------------------------------------------------------------- what is seen of SYNAPSE


def seen(link: Link, asset: Asset, *, at: float, last_read: float | None) -> Link:
    """SYNAPSE shows the asset. `last_read`: when it was last seen completely."""
    away = delta(link.base, asset.fields, link.pending)
    return replace(
        see_asset(link, asset),
        went_back=link.went_back or older.asset_went_back(link, asset),
        synapse_delta=away,
        observed=observed_with_synapse(link.observed, away, last_read, at),
    )


def doubted(link: Link, names: Collection[str]) -> Link:
    """These fields of SYNAPSE hold what they held before a write of ours that counts as made, though nobody knows: asked."""
    doubts = {
        name: Open(
            why="conflict",
            plant3d=link.base_plant.get(name, (link.base or {}).get(name)),
            synapse=link.synapse_delta[name],
            reason=older.ANSWER_LOST,
            no_edit=older.ANSWER_LOST,
        )
        for name in names
        if name in link.synapse_delta and name not in link.pending
    }
    return replace(link, pending={**link.pending, **doubts}, digest=b"") if doubts else link


def refused(link: Link, asset: Asset, *, at: float, last_read: float | None) -> Link:
    """A write's condition did not hold; the answer shows the asset. The item is compared again."""
    return replace(seen(link, asset, at=at, last_read=last_read), digest=b"")


def lost(link: Link) -> Link:
    """SYNAPSE answered that there is no such asset any more. The item is compared again."""
    return replace(link, in_synapse=InSynapse.LOST, digest=b"")


def see_asset(link: Link, asset: Asset) -> Link:
    """What the asset says of itself; its fields are not looked at."""
    info = asset.field_info.get("description")
    where = InSynapse.LIVE
    if asset.archived:
        told = link.in_synapse is InSynapse.ARCHIVED_TOLD
        where = InSynapse.ARCHIVED_TOLD if told else InSynapse.ARCHIVED
    return replace(
        link,
        asset_id=asset.asset_id,
        asset_version=asset.version,
        description_version=info.version if info else None,
        description_at=info.updated_at if info else None,
        description_by=info.by if info else None,
        tag=asset.tag or link.tag,
        in_synapse=where,
        # who restores an asset that we archived takes that back: archived again, it was archived by a person
        missing=None if link.state is LinkState.ARCHIVED and not asset.archived else link.missing,
    )


def delta(
    base: Mapping[str, Value] | None, fields: Mapping[str, Value], open_fields: Iterable[str] = ()
) -> dict[str, Value]:
    """SYNAPSE's fields where they differ from the base (all of them without a base).

    `open_fields`: fields that wait without a base of their own; what SYNAPSE holds there must not be forgotten.
    """
    if base is None:
        return dict(fields)
    away = {name: fields.get(name) for name in base if fields.get(name) != base[name]}
    return away | {name: fields.get(name) for name in open_fields if name not in base}


def observed_with_synapse(
    observed: Observed, away: Mapping[str, Value], last_read: float | None, now: float
) -> dict[str, Mapping[str, Interval]]:
    """Observation intervals with SYNAPSE's side brought up to date: set where it is away, gone where it is back."""
    result: dict[str, Mapping[str, Interval]] = {}
    for name in set(observed) | set(away):
        sides = dict(observed.get(name, {}))
        if name in away:
            sides.setdefault("s", Interval(at_base=last_read, away=now))
        else:
            sides.pop("s", None)
        if sides:
            result[name] = sides
    return result


# ---------------------------------------------------------------- one field


class _Fields(msgspec.Struct):
    """What both sides agreed on, field by field, while it moves."""

    base: dict[str, Value]
    plant3d: dict[str, Value]

    @classmethod
    def of(cls, link: Link) -> _Fields:
        """As the link has them; they move apart from it."""
        return cls(base=dict(link.base or {}), plant3d=dict(link.base_plant))

    def agree(self, name: str, *, synapse: Value, plant3d: Value) -> None:
        """Both sides hold the value, each in its own spelling."""
        self.base[name] = synapse
        if plant3d != synapse:
            self.plant3d[name] = plant3d
        else:
            self.plant3d.pop(name, None)

    def settle(self, after: After) -> None:
        """What the comparison found both sides to hold."""
        for name, value in after.base_set.items():
            self.agree(name, synapse=value, plant3d=after.plant_set.get(name, value))

    def after(
        self,
        link: Link,
        step: Written | Settle | Touch,
        opened: Mapping[str, Open],
        held: Mapping[str, Value],
        sent: Iterable[str] = (),
    ) -> Link:
        """The link once its item was seen; `opened`: what is open anew or still, `held`: what SYNAPSE holds."""
        after = after_of(step)
        over = None if after.ends is None else {*after.ends, *sent}
        pending = _moved(link.pending, over, opened)
        away = delta(self.base, held)
        for name, entry in pending.items():
            if name not in self.base:
                away[name] = held.get(name, known(entry.synapse))
        return replace(
            link,
            state=after.state,
            base=self.base,
            base_plant=self.plant3d,
            synapse_delta=away,
            pending=pending,
            observed=_moved(link.observed, over, {name: s for name, s in after.observed.items() if s}),
            holds=_moved(link.holds, over, after.holds),
            flips={**link.flips, **after.flips},
            missing=None,
            class_name=step.class_name,
            pnpid=step.pnpid,
            drawing=step.drawing,
            digest=bytes.fromhex(after.digest or ""),
            ticks=after.ticks,
            revision=after.revision,
            looked_at=None,
            mapping_version=None,
            went_back=False,
        )


T = TypeVar("T")


def _moved(known: Mapping[str, T], over: Container[str] | None, said: Mapping[str, T]) -> dict[str, T]:
    """What a link knows of its fields once something is over for some of them (None: for all) and said anew."""
    kept = {} if over is None else {name: value for name, value in known.items() if name not in over}
    return {**kept, **said}


def after_of(step: Written | Settle | Touch) -> After:
    """What the step says that the link will remember; of a creation, what it says of the item."""
    if isinstance(step, Create):
        born = step.after
        return After(
            digest=born.digest,
            ticks=born.ticks,
            revision=born.revision,
            pending=born.pending,
            base_set=born.base_set,
        )
    return step.after


def _given(entry: Open, sent: Value, stored: Value) -> Open:
    """A choice that SYNAPSE was sent: what it made of it is remembered."""
    if entry.given is UNSET:
        return entry
    return msgspec.structs.replace(entry, synapse=stored, given=(sent, stored))


def _flipped(flip: Flip, cell: Cell) -> Flip:
    """One more write into Plant 3D, perhaps between the same two values as the one before."""
    pair = value_pair(cell.plant3d, cell.says)
    again = flip.pair == pair and cell.why not in ("resolved", "undo")
    return Flip(flip.writes + 1 if again else 1, pair, Side.PLANT3D.value, flip.reverts)


def value_pair(one: Value, two: Value) -> str:
    """Name of a pair of values, in either order: a field that flips is written between the same two."""
    values = sorted((repr(one), repr(two)))
    return hashlib.blake2b("|".join(values).encode(), digest_size=8).hexdigest()
