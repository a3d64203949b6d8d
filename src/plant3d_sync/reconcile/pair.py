"""An item and its asset: every field is compared, and the step of the pair follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from plant3d_sync.model.conflict import ARCHIVED_IN_SYNAPSE, GONE_FROM_PLANT3D, WHOLE
from plant3d_sync.model.link import REVERTED, Flip, Hold, Interval, Link, Open
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Asset, Finding, Value
from plant3d_sync.model.rules import INFORMATION, REGISTRY_TAG, ClassRule
from plant3d_sync.model.side import WriteMode
from plant3d_sync.model.step import Adopt, After, Cell, Head, Push, Restore, Settle, Touch, Update, head
from plant3d_sync.reconcile import older, place
from plant3d_sync.reconcile.case import (
    ASSET_LIVES,
    ITEM_BACK,
    NO_AMOUNTS,
    Amounts,
    Case,
    Decision,
    Fate,
    finding,
    refused,
)
from plant3d_sync.reconcile.context import Context
from plant3d_sync.reconcile.fields import Pair, compare
from plant3d_sync.reconcile.guard import newly_pushed
from plant3d_sync.reconcile.limits import Refusal, attributes_refused, value_refused
from plant3d_sync.reconcile.merge import is_blank
from plant3d_sync.reconcile.place import FieldDecision
from plant3d_sync.words import said

OfPair = Adopt | Restore | Update | Settle | Touch


def decide(case: Case, link: Link, on: Context, *, restore: str = "") -> Decision:
    """Merge every field of a pair. `restore`: why an archived asset lives again; it is merged like any other.

    A link without an id is of an asset that carries the item's identity already: it is linked.
    """
    pair = Pair(case, link, case.asset.fields if case.asset is not None else link.synapse_fields())
    choices = on.void(link, GONE_FROM_PLANT3D, ITEM_BACK)
    if not restore:
        choices += on.void(link, ARCHIVED_IN_SYNAPSE, ASSET_LIVES)
    sum_, unread = _sum_of(pair, on)
    fate: Fate
    steps: tuple[OfPair, ...] | tuple[Push, OfPair]
    errors: Sequence[RowError]
    if sum_.set or restore:
        sum_.inform(pair)
    problem = (value_refused(sum_.set) or attributes_refused(sum_.set)) if sum_.set else None
    found = [one.finding for one in sum_.decided if one.finding is not None]
    if problem is None:
        fate, steps = (
            Fate.UPDATED if sum_.set or restore else Fate.UNCHANGED,
            _steps(case, link, sum_, restore, on),
        )
        errors = _not_pushed(case, link, sum_) if on.pushes and sum_.refused else ()
        choices += tuple(one.field.choice for one in sum_.decided if one.field.choice is not None)
    else:
        fate, steps, errors = (
            Fate.ERRORS,
            (),
            (refused(case.item, case.tag or link.tag, problem, sum_.set, pair.held),),
        )
    return Decision(
        fate=fate,
        steps=steps,
        findings=found if case.tag is not None else [_tag_lost(case, link), *found],
        errors=errors,
        conflicts=[one.conflict for one in sum_.decided if one.conflict is not None],
        work_items=[one.work_item for one in sum_.decided if one.work_item is not None],
        waits=problem is not None or _waits(case, sum_),
        uncompared=unread or problem is not None,
        looked_at=case.translated.fields if problem is None else (),
        choices=choices,
        taken=None if link.link_id else link.tag,
        push=_push_fate(sum_, on) if problem is None else None,
        amounts=_amounts(link, sum_, restore, on) if problem is None else NO_AMOUNTS,
    )


def _sum_of(pair: Pair, on: Context) -> tuple[_Sum, bool]:
    """Every field decided and added up; and whether one of them waits until the asset is read."""
    case, link = pair.case, pair.link
    sum_, unread = _Sum(), False
    for name in case.rule.groups.information:
        sum_.note(pair, name)
    for name, rule in case.rule.groups.compared.items():
        if name not in case.translated.fields or (name == "tag" and case.tag is None):
            _keep_open(sum_, link, name, on)
        elif _is_unread(pair, name):
            unread |= name in case.rule.groups.of_us  # unknown is not a change; until the asset was read
        else:
            compared = compare(pair, rule, case.tag if name == "tag" else case.translated.fields[name], on)
            if compared is not None:
                sum_.decided.append(place.decide(compared, on))
    if case.translated.problems or len(case.translated.fields) < len(case.rule.fields):
        for name, why in _unknown(case, link).items():
            sum_.pending.setdefault(name, why)
    for name, entry in link.pending.items():
        if name not in case.rule.fields and _outlives_the_mapping(link, name):
            sum_.pending[name] = entry
    if case.tag is None:
        sum_.pending["tag"] = Open(why="tag_lost")
    for one in sum_.decided:
        sum_.add(one)
    return sum_, unread


def adopt(case: Case, asset: Asset, on: Context) -> Decision:
    """SYNAPSE already knows this identity (lost reply, lost state): link it, never create it again."""
    info = asset.field_info.get("description")
    link = Link(
        link_id=0,
        pnpid=case.item.pnpid,
        plant3d_id=case.item.guid,
        class_name=case.item.class_name,
        entity=case.entity.value,
        asset_id=asset.asset_id,
        asset_version=asset.version,
        description_version=info.version if info else None,
        tag=asset.tag,
        base=None,
    )
    return decide(case, link, on)


def unread(rule: ClassRule, fields: Mapping[str, Value], base: Mapping[str, Value] | None) -> dict[str, Open]:
    """Fields that never had a base because their cell cannot be read: kept open, so that SYNAPSE's side stays known."""
    return {
        name: Open(why="unread")
        for name in rule.fields
        if name not in fields and (base is None or name not in base)
    }


# ---------------------------------------------------------------- what cannot be compared


def _is_unread(pair: Pair, name: str) -> bool:
    """Whether SYNAPSE's value was never read, and is not now."""
    base = pair.link.base
    return pair.case.asset is None and name not in pair.held and base is not None and name not in base


def _keep_open(sum_: _Sum, link: Link, name: str, on: Context) -> None:
    """A field that could not be read keeps what the link knew about it, and when it was last compared."""
    entry = link.pending.get(name)
    if entry is not None and entry.plant3d is not UNSET:
        sum_.pending[name] = entry
    if link.base is not None and name in link.base:
        unseen = {"p": Interval(at_base=on.last_compared(link), away=on.know.now)}
        sum_.observed[name] = {**unseen, **link.observed.get(name, {})}


def _unknown(case: Case, link: Link) -> dict[str, Open]:
    """Fields that are open because Plant 3D's value is not known."""
    found: dict[str, Open] = {}
    for name, code, _message in case.translated.problems:
        if name in case.rule.fields:
            found.setdefault(name, Open(why=code))
    return {**unread(case.rule, case.translated.fields, link.base), **found}


def _tag_lost(case: Case, link: Link) -> Finding:
    now = case.translated.fields.get("tag")
    shown = f"In Plant 3D the tag is {now} now" if now else "In Plant 3D the tag is empty now"
    hint = "Complete the tag in Plant 3D."
    if "tag" not in case.translated.fields:
        shown = "In Plant 3D the row that holds the tag is missing, or its cell cannot be read"
    elif case.translated.columns.get("tag") == REGISTRY_TAG:
        shown = f"In Plant 3D only the tag registry still knows a tag of this item, {said(now)}"
        hint = "Type the right tag again in Plant 3D: nothing is renamed by the registry alone."
    registered = case.item.registry_tag
    return finding(
        case.item,
        link.tag,
        "tag_lost",
        f"{shown}; SYNAPSE keeps {link.tag}.",
        hint,
        data={"registry_tag": registered} if registered else None,
    )


# ---------------------------------------------------------------- what the fields add up to


class _Sum(msgspec.Struct):
    """What the fields of one pair add up to."""

    decided: list[FieldDecision] = msgspec.field(default_factory=list)
    set: dict[str, Value] = msgspec.field(default_factory=dict)
    was: dict[str, Value] = msgspec.field(default_factory=dict)
    why: dict[str, str] = msgspec.field(default_factory=dict)
    base_set: dict[str, Value] = msgspec.field(default_factory=dict)
    plant_set: dict[str, Value] = msgspec.field(default_factory=dict)
    pending: dict[str, Open] = msgspec.field(default_factory=dict)
    observed: dict[str, dict[str, Interval]] = msgspec.field(default_factory=dict)
    holds: dict[str, Hold] = msgspec.field(default_factory=dict)
    flips: dict[str, Flip] = msgspec.field(default_factory=dict)
    cells: list[Cell] = msgspec.field(default_factory=list)
    refused: list[Refusal] = msgspec.field(default_factory=list)

    def add(self, one: FieldDecision) -> None:
        """One more field."""
        name = one.field.name
        if one.observed:
            self.observed[name] = one.observed
        if one.flip is not None:
            self.flips[name] = one.flip
        if one.agreed is not None:
            synapse, plant3d = one.agreed
            self.base_set[name] = synapse
            if plant3d != synapse:
                self.plant_set[name] = plant3d
        if one.write is not None:
            self.set[name], self.was[name], self.why[name] = one.write.value, one.write.was, one.write.why
        if one.entry is not None:
            self.pending[name] = one.entry
        if one.hold is not None:
            self.holds[name] = one.hold
        if one.cell is not None:
            self.cells.append(one.cell)
        if one.refused is not None:
            self.refused.append(one.refused)

    def note(self, pair: Pair, name: str) -> None:
        """Of information only what SYNAPSE holds is remembered: no side of it is ever away."""
        if _is_unread(pair, name):
            return
        base, held = pair.link.base, pair.held.get(name)
        if base is None or name not in base or base[name] != held or name in pair.link.base_plant:
            self.base_set[name] = held

    def inform(self, pair: Pair) -> None:
        """What is written along with something else, and never by itself."""
        now, held = pair.case.translated.fields, pair.held
        for name in pair.case.rule.groups.information:
            if name in now and now[name] != held.get(name) and not _is_unread(pair, name):
                self.set[name], self.was[name], self.why[name] = now[name], held.get(name), INFORMATION

    def after(self, case: Case, link: Link) -> After:
        """What the link will remember."""
        return After(
            digest=case.item.digest.hex(),
            ticks=case.item.timestamp,
            revision=case.item.revision,
            base_set=self.base_set,
            plant_set=self.plant_set,
            pending=self.pending,
            observed=self.observed,
            holds=self.holds,
            flips=self.flips,
            ends=self._over(link, case.rule),
        )

    def _over(self, link: Link, rule: ClassRule) -> list[str]:
        """Fields that were compared, or left the mapping. What an unreadable one is known for stays; information has no end
        to wait for.
        """
        compared = {one.field.name for one in self.decided}
        compared.update(rule.groups.information)
        open_fields = {*link.pending, *link.observed}
        over = {
            name
            for name in open_fields
            if name in compared or (name not in rule.fields and not _outlives_the_mapping(link, name))
        }
        return sorted(over | {name for name in link.holds if name in compared or name == WHOLE})

    def is_newly_older(self, link: Link, kind: str) -> bool:
        """Whether a field is asked about for the first time because a copy of an earlier day holds it."""
        return any(
            entry.no_edit == kind and (name not in link.pending or link.pending[name].no_edit != kind)
            for name, entry in self.pending.items()
        )

    def loses_a_value(self) -> bool:
        """Whether a filled value of SYNAPSE is emptied."""
        return any(
            is_blank(value) and not is_blank(self.was.get(name)) and self.why.get(name) != INFORMATION
            for name, value in self.set.items()
        )


def _amounts(link: Link, sum_: _Sum, restore: str, on: Context) -> Amounts:
    """For the guards. A cell that waits in a workbook was counted when it came there."""
    if not (sum_.set or sum_.pending or restore):
        return NO_AMOUNTS
    cells = newly_pushed(sum_.cells, link.pending, on.know.write_mode)
    return Amounts(
        blanks=sum_.loses_a_value(),
        older_rows=sum_.is_newly_older(link, older.OLDER_COPY),
        older_assets=sum_.is_newly_older(link, older.OLDER_SYNAPSE),
        push_updates=bool(cells),
        push_blanks=any(is_blank(cell.new) and not is_blank(cell.old) for cell in cells),
    )


# ---------------------------------------------------------------- steps


def _head(case: Case, link: Link, tag: str) -> Head:
    """The head of the pair's step: the item as it is now, the asset as it was just read."""
    begun = head(link)
    begun["entity"], begun["pnpid"], begun["plant3d_id"] = (
        case.entity.value,
        case.item.pnpid,
        case.item.guid,
    )
    begun["class_name"], begun["tag"] = case.item.class_name, tag
    if case.asset is not None:
        info = case.asset.field_info.get("description")
        begun["asset_version"] = case.asset.version
        begun["description_version"] = info.version if info else None
    return begun


def _steps(
    case: Case, link: Link, sum_: _Sum, restore: str, on: Context
) -> tuple[OfPair, ...] | tuple[Push, OfPair]:
    """The step of the pair: what is written to SYNAPSE, or only remembered; before it what goes into Plant 3D."""
    begun = _head(case, link, case.tag or link.tag)
    step = _step(case, link, sum_, restore, begun)
    if not sum_.cells:
        return (step,)
    mode = on.know.write_mode
    push = Push(
        **begun,
        cells=sum_.cells,
        why={cell.field: cell.why or "" for cell in sum_.cells},
        drawing=case.item.drawing,
        needs=None if mode is WriteMode.SQL else "write_" + mode.value,
        row_guid=case.item.row_guid,
    )
    return push, step


def _step(case: Case, link: Link, sum_: _Sum, restore: str, begun: Head) -> OfPair:
    after, drawing = sum_.after(case, link), case.item.drawing
    old_tag = None
    if "tag" in sum_.set and isinstance(sum_.set["tag"], str):
        held = sum_.was.get("tag")
        old_tag = held if isinstance(held, str) else link.tag
    if not link.link_id:
        return Adopt(
            **begun,
            set=sum_.set,
            was=sum_.was,
            after=after,
            why=sum_.why,
            drawing=drawing,
            old_tag=old_tag,
        )
    if restore:
        why = {**sum_.why, WHOLE: restore}
        return Restore(**begun, set=sum_.set, was=sum_.was, after=after, why=why, drawing=drawing)
    if sum_.set:
        return Update(
            **begun,
            set=sum_.set,
            was=sum_.was,
            after=after,
            why=sum_.why,
            drawing=drawing,
            old_tag=old_tag,
        )
    kind = Settle if sum_.base_set or dict(link.pending) != sum_.pending else Touch
    return kind(**begun, after=after, drawing=drawing)


def _outlives_the_mapping(link: Link, name: str) -> bool:
    """Whether what is open on a field stays so while the mapping does not bring it: that a side's value was undone, or is
    nobody's edit, is as true when the field comes back.
    """
    entry = link.pending.get(name)
    nobodys = entry is not None and (entry.no_edit or link.flips.get(name, Flip()).last == REVERTED)
    return bool(nobodys) or name in link.holds


def _waits(case: Case, sum_: _Sum) -> bool:
    """Whether a field of the mapping is open."""
    return any(
        name in case.rule.fields and entry.plant3d is not UNSET for name, entry in sum_.pending.items()
    )


def _push_fate(sum_: _Sum, on: Context) -> Fate | None:
    """What the item counts as on the way into Plant 3D."""
    if not on.pushes or not (sum_.cells or sum_.refused):
        return None
    if sum_.refused:
        return Fate.ERRORS
    return Fate.UPDATED if on.know.write_mode is WriteMode.SQL else Fate.SKIPPED


def _not_pushed(case: Case, link: Link, sum_: _Sum) -> Sequence[RowError]:
    return [
        RowError(
            code=why.code,
            message=why.message + " The value was not written into Plant 3D.",
            hint="Correct the value in SYNAPSE, or have the drawing changed by a designer.",
            plant3d_id=case.item.guid,
            pnpid=case.item.pnpid,
            class_name=case.item.class_name,
            tag=link.tag,
            field=why.field,
            plant3d=one.field.plant3d,
            synapse=one.field.synapse,
            into="plant3d",
        )
        for one in sum_.decided
        if (why := one.refused) is not None
    ]
