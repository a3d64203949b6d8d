"""One field of a pair: what is known of it, and what the merge says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from plant3d_sync.model.link import REVERTED, Flip, Interval, Link, Open
from plant3d_sync.model.moment import EPOCH_TICKS, TICKS, posix
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.outcome import FieldOutcome, Resolution, Times, Verdict
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import FieldRule
from plant3d_sync.model.side import Owner, Side
from plant3d_sync.reconcile import dating, older, ours, spelling
from plant3d_sync.reconcile.advance import value_pair
from plant3d_sync.reconcile.case import AGREED, FOLLOWED, RULES_CHANGED, SIDE_MOVED, Case
from plant3d_sync.reconcile.context import Context
from plant3d_sync.reconcile.definitions import COMPARED_OTHERWISE, MAPPING_CHANGED
from plant3d_sync.reconcile.merge import (
    ASKED_BY_RULE,
    BLANK_KEPT,
    CHOICE_VOID,
    NEW_COLUMN,
    NO_BASE,
    NoBase,
    Same,
    Situation,
    has_moved,
    is_blank,
    merge_field,
    still_holds,
)
from plant3d_sync.reconcile.ours import Copy

FLIP_LIMIT = 6
"""After this many writes between the same two values the field is frozen."""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """An item and its asset. `held`: what SYNAPSE holds; a field that is absent was never read there."""

    case: Case
    link: Link
    held: Mapping[str, Value]


class FieldCase(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One field of a pair that both sides know and that is not the same everywhere.

    `observed`: when each side's latest edit happened, by "p" and "s". `flip`: what our last write into the field came to,
    if that was found out now. `given`: a choice SYNAPSE was sent and Plant 3D does not hold yet: the choice, and what
    SYNAPSE made of it. `no_edit`: one side's value is nobody's edit (the kind of that question). `words`: see `Open`.
    `choice`: a person's choice, and what became of it. `undo_lost`: the side that holds again what an undo had taken out of
    it, and nobody typed it; "" for none.
    """

    pair: Pair
    rule: FieldRule
    base: Value | NoBase
    plant3d: Value
    synapse: Value
    outcome: FieldOutcome
    observed: Mapping[str, Interval]
    flip: Flip | None = None
    given: tuple[Value, Value] | UnsetType = UNSET
    no_edit: str = ""
    words: Value | UnsetType = UNSET
    choice: tuple[str, str] | None = None
    undo_lost: str = ""

    @property
    def asked_about(self) -> Value:
        """What a question shows as Plant 3D's value."""
        return self.plant3d if isinstance(self.words, UnsetType) else self.words

    @property
    def name(self) -> str:
        """The field."""
        return self.rule.field


def compare(pair: Pair, rule: FieldRule, plant3d: Value, on: Context) -> FieldCase | None:
    """Merge one field; None if both sides and the base agree and the field has nothing open."""
    name, link = rule.field, pair.link
    synapse = pair.held.get(name)
    agreed = link.base
    if (
        plant3d == synapse
        and agreed is not None
        and name in agreed
        and plant3d == agreed[name]
        and name not in link.base_plant
        and not (name in link.pending or name in link.observed or name in link.holds)
    ):
        return None  # the usual case: nothing moved, and nothing that is remembered of the field ends
    return _merged(pair, rule, plant3d, synapse, on)


def _merged(pair: Pair, rule: FieldRule, plant3d: Value, synapse: Value, on: Context) -> FieldCase:
    """What the merge says of a field of which something moved, or is open."""
    name, link, same = rule.field, pair.link, on.rules.same[rule.field]
    base, base_plant = _base(link, name)
    plant_away, synapse_away = has_moved(plant3d, base_plant, same), has_moved(synapse, base, same)
    observed = _observed(pair, name, on, (plant3d, plant_away), (synapse, synapse_away))
    choice = _choice(link, rule, synapse, on)
    taken_back = choice is not None and not choice.given and _was_given(link, name, choice.chosen)
    unlike = not same(plant3d, synapse) if isinstance(base, NoBase) else plant_away
    wrote = (
        _our_write(pair, rule, plant3d, base_plant, on) if unlike else _Wrote(link.flips.get(name, Flip()))
    )
    flip = wrote.flip
    undecided = wrote.put_back or (flip.last == REVERTED and name in link.pending)
    words = _words_of_another_row(pair, rule, plant3d, choice, on)
    no_edit = (
        _no_edit(pair, rule, (plant3d, plant_away), (synapse, synapse_away), on, is_ours=undecided)
        if words is UNSET
        else older.OTHER_ROW
    )
    situation = Situation(
        rule=rule,
        base=base,
        base_plant=base_plant,
        plant3d=plant3d,
        synapse=synapse,
        same=same,
        times=_times(pair, name, observed, on),
        resolution=None if taken_back else choice,
        hold=link.holds.get(name),
        frozen=flip.writes >= FLIP_LIMIT,
        put_back=wrote.put_back,
        late=wrote.copy is Copy.LATE,
        late_in_synapse=synapse_away and _is_late_in_synapse(pair, name, same),
        reverts=flip.reverts if undecided else 0,
        no_edit=no_edit,
        words=words,
        asked=_asked(link.pending.get(name), plant3d, synapse),
        new_column=no_edit == MAPPING_CHANGED and _is_of_a_new_column(pair, name, plant3d, on),
    )
    void = choice is not None and (taken_back or not still_holds(situation, choice))
    if void and _is_taken_back(situation, choice, plant_away=plant_away, synapse_away=synapse_away):
        situation = replace(situation, asked=CHOICE_VOID)
    outcome = merge_field(situation)
    stands = choice is None or (not taken_back and _waits_for_a_designer(situation, choice, outcome))
    return FieldCase(
        pair=pair,
        rule=rule,
        base=base,
        plant3d=plant3d,
        synapse=synapse,
        outcome=outcome,
        observed=observed,
        flip=flip if wrote.is_news else None,
        given=UNSET if choice is None or not choice.given else (choice.chosen, synapse),
        no_edit=no_edit,
        words=words,
        choice=None
        if stands or choice is None
        else (choice.conflict_id, SIDE_MOVED if taken_back else _fate(situation, choice, outcome)),
        undo_lost=_lost_undo(pair, rule, plant3d, synapse, on) if outcome.reason == "equal" else "",
    )


def _lost_undo(pair: Pair, rule: FieldRule, plant3d: Value, synapse: Value, on: Context) -> str:
    """The side to which an earlier state of its row or asset brought back what an undo had taken out of it; "" for none."""
    name, link, item, same = rule.field, pair.link, pair.case.item, on.rules.same[rule.field]
    hold = link.holds.get(name)
    if hold is None or same(hold.value, hold.kept):
        return ""
    if hold.side == Side.SYNAPSE.value:
        return hold.side if same(synapse, hold.value) and _synapse_is_older(pair) else ""
    newest = next(iter(_alive(pair, rule, on)), None)
    if not same(plant3d, hold.value) or newest is None or newest.ticks is None or link.revision is None:
        return ""
    return hold.side if item.revision <= link.revision and item.timestamp < newest.ticks else ""


def _times(pair: Pair, name: str, observed: Mapping[str, Interval], on: Context) -> Times:
    """When each side's value came, as far as it is known. `observed`: the latest edits, as this read dates them."""
    clocks = on.know.clocks
    return Times(
        now=on.know.now,
        tolerance=clocks.tolerance,
        plant3d=_plant3d_side(pair.link.observed.get(name, {}).get("p"), observed.get("p"), on),
        synapse=observed.get("s"),
        row_stamp=_row_stamp(pair),
        synapse_stamp=said_at(stamp(pair, name)),
        skew=clocks.skew,
    )


def _no_edit(
    pair: Pair,
    rule: FieldRule,
    plant3d: tuple[Value, bool],
    synapse: tuple[Value, bool],
    on: Context,
    *,
    is_ours: bool,
) -> str:
    """Which side's value is nobody's edit, as the kind of its question; "" if both are edits. Both come as (value, whether it
    is away). `is_ours`: Plant 3D's is an old one of ours, whatever became of the mapping.
    """
    name, link, item = rule.field, pair.link, pair.case.item
    (value, plant_away), (held, synapse_away) = plant3d, synapse
    if not (plant_away or synapse_away) and _is_compared_otherwise(pair, name, value, held, on):
        return COMPARED_OTHERWISE
    return older.question(
        link.pending.get(name),
        plant3d=older.Moved(value, older.row_went_back(link, item)) if plant_away else None,
        synapse=older.Moved(held, _synapse_is_older(pair)) if synapse_away else None,
        redefined=plant_away and not is_ours and on.redefined(link, item.class_name, name),
        other_row=plant_away and rule.owner is Owner.SHARED and _is_of_another_row(pair, name, value, on),
    )


def _is_of_another_row(pair: Pair, name: str, plant3d: Value, on: Context) -> bool:
    """Whether the value stood all along in a row that stands for its line only since the line was compared, where both sides
    agreed on words of SYNAPSE.

    That nothing stands there was typed by nobody either, however late that row was saved.
    """
    if not _stood_in_another_row(pair, plant3d, on):
        return False
    pushed = pair.link.flips.get(name, Flip()).last in (Side.PLANT3D.value, REVERTED)
    return pushed or author(pair, name).startswith(_OTHERS)


def _stood_in_another_row(pair: Pair, plant3d: Value, on: Context) -> bool:
    """Whether the value stood all along in a row that stands for its line only since the line was compared."""
    item, link = pair.case.item, pair.link
    if item.pnpid == link.pnpid or not on.kind(item.class_name).is_line:
        return False
    saved, seen, clocks = _row_stamp(pair), on.last_compared(link), on.know.clocks
    if is_blank(plant3d) or saved is None or seen is None:
        return True
    return saved + max(clocks.tolerance, clocks.behind) < seen


def _words_of_another_row(
    pair: Pair, rule: FieldRule, plant3d: Value, choice: Resolution | None, on: Context
) -> Value | UnsetType:
    """What a person is asked about, or chose upon, that stood in the row which stood for the line before; UNSET if nothing
    is asked, or somebody typed into the row that stands for it now.
    """
    asked = pair.link.pending.get(rule.field)
    if asked is None or rule.owner is not Owner.SHARED:
        return UNSET
    if asked.words is not UNSET and asked.plant3d == plant3d and pair.case.item.pnpid == pair.link.pnpid:
        return asked.words
    if not _stood_in_another_row(pair, plant3d, on):
        return UNSET
    if asked.words is not UNSET:
        return asked.words
    if choice is not None:
        return choice.plant3d_value
    return asked.plant3d if asked.why == "conflict" else UNSET


def _is_of_a_new_column(pair: Pair, name: str, plant3d: Value, on: Context) -> bool:
    """Whether nothing stands in a column that the field had not when the link was compared, and nobody typed there since."""
    asked = pair.link.pending.get(name)
    if not is_blank(plant3d):
        return False
    if asked is not None and asked.no_edit == MAPPING_CHANGED and asked.reason in (NEW_COLUMN, BLANK_KEPT):
        return True
    return on.arrives(pair.link, pair.case.item.class_name, name)


def _is_taken_back(at: Situation, choice: Resolution | None, *, plant_away: bool, synapse_away: bool) -> bool:
    """Whether a side holds again what both agreed on, where a person had something else of it to decide about, and did not
    choose what the other side holds.
    """
    if choice is None or plant_away == synapse_away:
        return False
    if plant_away:
        return not at.same(at.plant3d, choice.chosen) and has_moved(choice.synapse_value, at.base, at.same)
    return not at.same(at.synapse, choice.chosen) and has_moved(choice.plant3d_value, at.base_plant, at.same)


def _asked(entry: Open | None, plant3d: Value, synapse: Value) -> str:
    """Why a person was asked about just these two values, where nothing but a person's answer ends that; else ""."""
    if entry is None or entry.why != "conflict" or entry.reason not in (ASKED_BY_RULE, CHOICE_VOID):
        return ""
    return str(entry.reason) if entry.plant3d == plant3d and entry.synapse == synapse else ""


def _is_compared_otherwise(pair: Pair, name: str, plant3d: Value, synapse: Value, on: Context) -> bool:
    """Whether two spellings that both sides agreed on count as different only since the mapping compares otherwise."""
    if on.rules.same[name](plant3d, synapse):
        return False
    asked = pair.link.pending.get(name)
    if asked is not None and asked.no_edit == COMPARED_OTHERWISE:
        return asked.plant3d == plant3d and asked.synapse == synapse
    return on.compared_otherwise(pair.link, name)


def _choice(link: Link, rule: FieldRule, synapse: Value, on: Context) -> Resolution | None:
    """What a person chose for the field, as a value of it; `given` if SYNAPSE was sent it already and holds it."""
    choice = on.know.resolutions.get((link.link_id, rule.field))
    if choice is None:
        return None
    if rule.convert != "text":  # a person typed it, as into a cell
        by = on.rules.spellings.get(rule.convert)
        choice = replace(choice, chosen=spelling.read(choice.chosen, by))
    known = link.pending.get(rule.field)
    if known is not None and known.given == (choice.chosen, synapse):
        return replace(choice, given=True)
    return choice


def _was_given(link: Link, name: str, chosen: Value) -> bool:
    """Whether SYNAPSE was sent the choice already: what it holds now instead was typed by somebody since."""
    known = link.pending.get(name)
    return known is not None and known.given is not UNSET and known.given[0] == chosen


class _Wrote(NamedTuple):
    """What our last write into the field came to. `is_news`: that it was put back was found out now."""

    flip: Flip
    copy: Copy = Copy.NO
    put_back: bool = False
    is_news: bool = False


def _our_write(pair: Pair, rule: FieldRule, plant3d: Value, written: Value | NoBase, on: Context) -> _Wrote:
    """Whether Plant 3D's value, which is not the agreed one, is one of ours. `written`: what both agreed on there."""
    flip = pair.link.flips.get(rule.field, Flip())
    same = on.rules.same[rule.field]
    copy = ours.what_it_is(plant3d, pair.case.item.timestamp, _alive(pair, rule, on), same)
    put_back = copy is Copy.OLD or (copy is not Copy.LATE and _is_put_back(rule, flip, plant3d, written))
    if put_back and flip.last != REVERTED:
        return _Wrote(flip._replace(last=REVERTED, reverts=flip.reverts + 1), copy, put_back, is_news=True)
    return _Wrote(flip, copy, put_back)


def _base(link: Link, name: str) -> tuple[Value | NoBase, Value | NoBase]:
    """The agreed value in SYNAPSE's spelling and in Plant 3D's."""
    if link.base is None or name not in link.base:
        return NO_BASE, NO_BASE
    base = link.base[name]
    return base, link.base_plant.get(name, base)


def stamp(pair: Pair, name: str) -> str | None:
    """When SYNAPSE says that the field was edited."""
    asset = pair.case.asset
    if asset is not None and name in asset.field_info:
        said: str | None = asset.field_info[name].updated_at
        if said is not None:
            return said
    return pair.link.description_at if name == "description" else None


def _row_stamp(pair: Pair) -> float | None:
    """When the item's row was saved last, as the workstation says; None if it says nothing."""
    return ticks_posix(pair.case.item.timestamp)


def _synapse_is_older(pair: Pair) -> bool:
    """Whether the asset went back since it was compared; what a run read and did not act upon is on the link."""
    asset = pair.case.asset
    return pair.link.went_back or (asset is not None and older.asset_went_back(pair.link, asset))


def _is_late_in_synapse(pair: Pair, name: str, same: Same) -> bool:
    """Whether SYNAPSE holds what a run of ours wrote that was overtaken meanwhile; a user may have had the same idea."""
    late = pair.case.late
    return (
        late is not None
        and name in late
        and same(pair.held.get(name), late[name])
        and not author(pair, name).startswith(_OTHERS)
    )


_OTHERS = ("user:", "rule:", "import:")
"""How SYNAPSE names authors who are not us."""


def author(pair: Pair, name: str) -> str:
    """Who edited the field last in SYNAPSE; "" where it does not say."""
    asset = pair.case.asset
    if asset is not None and name in asset.field_info:
        return asset.field_info[name].by
    return (pair.link.description_by or "") if name == "description" else ""


def _alive(pair: Pair, rule: FieldRule, on: Context) -> Sequence[Ours]:
    """What is ours in the cell that the field is taken from. Only shared fields are ever pushed."""
    case = pair.case
    if not case.known_as_ours or rule.owner is not Owner.SHARED:
        return ()
    column = case.translated.columns.get(rule.field)
    found = on.know.catalog.column(case.item.class_name, column) if column else None
    if found is None:
        return ()
    alive = ours.of_cell(case.known_as_ours, found.table_class, found.name, on.know.now)
    held = ours.of_field(case.known_as_ours, alive, rule.field, on.know.now)
    if rule.convert != "text":
        by = on.rules.spellings.get(rule.convert)
        alive = [one._replace(value=spelling.read(one.value, by)) for one in alive]
    return [*alive, *held]


def _observed(
    pair: Pair, name: str, on: Context, plant3d: tuple[Value, bool], synapse: tuple[Value, bool]
) -> dict[str, Interval]:
    """When each side's latest edit happened: after `at_base`, up to `away`. Both come as (value, whether it is away).

    A known interval holds only while the side keeps the value it had when it was first seen away; a
    second edit may have happened as late as this read.
    """
    seen: dict[str, Interval] = {}
    link = pair.link
    for side, (value, away), last_read in (
        ("p", plant3d, on.last_compared(link)),
        ("s", synapse, on.know.last_synapse_read),
    ):
        if not away:
            continue
        known = link.observed.get(name, {}).get(side)
        if known is None:
            seen[side] = _dated(pair, name, side, last_read, on)
        elif name in link.pending and _seen_value(link.pending[name], side) == value:
            seen[side] = known
        else:
            seen[side] = _dated(pair, name, side, known.at_base, on)
    return seen


def _plant3d_side(known: Interval | None, seen: Interval | None, on: Context) -> Interval | None:
    """When Plant 3D was edited; what an earlier run found may not have allowed for the lag that is known now."""
    return dating.with_lag(seen, on.know.clocks) if seen is not None and seen is known else seen


def lag_shown(case: Case, link: Link, on: Context) -> float:
    """How far behind the workstation is that saved the item's row last, as far as its stamp shows it; else 0.0.

    Only a cell that holds another value tells: a changed relation stamps no row, and a row that is saved without a change
    is not compared, so its stamp may be older than our last sight.
    """
    item = case.item
    if link.pnpid != item.pnpid or link.ticks is None:
        return 0.0
    shown = dating.lag_shown(
        on.last_compared(link),
        on.know.now,
        ticks_posix(link.ticks),
        ticks_posix(item.timestamp),
        on.clocks_for(link),
    )
    return shown if shown and _is_typed(case, link, on) else 0.0


def _is_typed(case: Case, link: Link, on: Context) -> bool:
    """Whether a cell of the item holds another value than both sides agreed on."""
    agreed, columns = {**(link.base or {}), **link.base_plant}, case.translated.columns
    return any(
        name in agreed
        and not columns.get(name, "@").startswith("@")
        and not on.rules.same[name](value, agreed[name])
        for name, value in case.translated.fields.items()
    )


def _dated(pair: Pair, name: str, side: str, last_sight: float | None, on: Context) -> Interval:
    """When a side was edited that is seen to hold another value now."""
    if side == "p":
        return dating.plant3d_edit(last_sight, on.know.now, _row_stamp(pair), on.clocks_for(pair.link))
    return dating.synapse_edit(last_sight, on.know.now, said_at(stamp(pair, name)), on.know.clocks)


def _seen_value(entry: Open, side: str) -> Value | UnsetType:
    return entry.plant3d if side == "p" else entry.synapse


def _is_put_back(rule: FieldRule, flip: Flip, plant3d: Value, written: Value | NoBase) -> bool:
    """Whether Plant 3D holds what it held just before our last write, which was into Plant 3D.

    `written`: what we wrote there.
    """
    if rule.owner is not Owner.SHARED or flip.last not in (Side.PLANT3D.value, REVERTED):
        return False
    return not isinstance(written, NoBase) and flip.pair == value_pair(plant3d, written)


def _waits_for_a_designer(at: Situation, choice: Resolution, outcome: FieldOutcome) -> bool:
    """Whether the choice stands until a designer types it, since the mapping pushes nothing."""
    if outcome.verdict is not Verdict.WAIT:
        return False
    return bool(at.no_edit) or (still_holds(at, choice) and at.same(outcome.value, choice.chosen))


def _fate(at: Situation, choice: Resolution, outcome: FieldOutcome) -> str:
    """What becomes of a choice about a field that was compared."""
    same = at.same
    if outcome.reason == "resolved":
        return FOLLOWED
    if outcome.verdict is Verdict.SETTLED:
        return FOLLOWED if choice.given or same(outcome.value, choice.chosen) else AGREED
    if at.no_edit == MAPPING_CHANGED or still_holds(at, choice):
        return RULES_CHANGED
    return SIDE_MOVED


def ticks_posix(ticks: int | None) -> float | None:
    """POSIX seconds of a row's stamp, None if missing or of before 1970."""
    return (ticks - EPOCH_TICKS) / TICKS if ticks is not None and ticks > EPOCH_TICKS else None


def said_at(stamp: str | None) -> float | None:
    """POSIX seconds of a time that SYNAPSE tells, None if missing or unreadable."""
    if not stamp:
        return None
    try:
        return posix(stamp)
    except ValueError:
        return None
