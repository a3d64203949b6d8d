"""Every combination of base, Plant 3D and SYNAPSE against a table written down independently of the code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import msgspec
import pytest

from plant3d_sync.model.link import Hold, Interval
from plant3d_sync.model.outcome import FieldOutcome, Resolution, Times, Verdict
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import BlankPolicy, ConflictPolicy, DriftPolicy, FieldRule
from plant3d_sync.model.side import Owner, Side
from plant3d_sync.reconcile.latest import newest
from plant3d_sync.reconcile.merge import ASKED_BY_RULE, NO_BASE, Situation, is_blank, merge_field
from plant3d_sync.reconcile.older import ANSWER_LOST, OLDER_COPY, OLDER_SYNAPSE, OTHER_ROW
from plant3d_sync.usecases.conflicts import KINDS

A, B, C = "a", "b", "c"
LONG_A = "a, as it was before SYNAPSE cut it"
VALUES: tuple[Value, ...] = (None, A, B, C)
# (base as SYNAPSE spells it, base as Plant 3D spells it); "none" = the sides never agreed
BASES = {"none": None, "empty": (None, None), "a": (A, A), "b": (B, B), "altered": (A, LONG_A)}

PLANT_LATER = Times(
    now=1000.0, plant3d=Interval(at_base=500.0, away=600.0), synapse=Interval(at_base=100.0, away=200.0)
)
SYNAPSE_LATER = Times(
    now=1000.0, plant3d=Interval(at_base=100.0, away=200.0), synapse=Interval(at_base=500.0, away=600.0)
)
NOBODY_KNOWS = Times(now=1000.0)
TIMES = {"plant3d": PLANT_LATER, "synapse": SYNAPSE_LATER, "unknown": NOBODY_KNOWS}

# situation -> owner -> what shall happen (anchors: "the per-field decision")
TABLE = {
    "equal": {"plant3d": "settle", "synapse": "settle", "shared": "settle"},
    "nobody moved": {"plant3d": "settle", "synapse": "settle", "shared": "settle"},
    "plant3d moved": {"plant3d": "write S", "synapse": "drift from P", "shared": "write S"},
    "synapse moved": {"plant3d": "drift from S", "synapse": "push", "shared": "push"},
    "both moved": {"plant3d": "write S", "synapse": "push", "shared": "tie"},
    "no base, plant3d blank": {"plant3d": "never erase", "synapse": "push", "shared": "push"},
    "no base, synapse blank": {"plant3d": "write S", "synapse": "never erase", "shared": "write S"},
    "no base, differ": {"plant3d": "write S", "synapse": "push", "shared": "conflict"},
}


def same(one: Value, two: Value) -> bool:
    return str(one or "").strip() == str(two or "").strip()


def rule(
    owner: Owner = Owner.SHARED,
    *,
    push: bool = True,
    blank: BlankPolicy = BlankPolicy.ALLOW,
    drift: DriftPolicy = DriftPolicy.RESTORE,
    conflict: ConflictPolicy = ConflictPolicy.NEWEST,
) -> FieldRule:
    return FieldRule(
        field="description",
        owner=owner,
        columns=("D",),
        push=push,
        blank=blank,
        drift=drift,
        conflict=conflict,
    )


def situation(base: tuple[Value, Value] | None, plant3d: Value, synapse: Value) -> str:
    if same(plant3d, synapse):
        return "equal"
    if base is None:
        if plant3d is None:
            return "no base, plant3d blank"
        return "no base, synapse blank" if synapse is None else "no base, differ"
    moved = (not same(plant3d, base[1]), not same(synapse, base[0]))
    return {
        (False, False): "nobody moved",
        (True, False): "plant3d moved",
        (False, True): "synapse moved",
    }.get(moved, "both moved")


def expected(
    situation_: str, chosen: FieldRule, plant3d: Value, synapse: Value, winner: str
) -> tuple[Verdict, Value]:
    what = TABLE[situation_][chosen.owner.value]
    keep = chosen.blank is BlankPolicy.KEEP and not situation_.startswith("no base")
    into_plant3d = Verdict.TO_PLANT3D if chosen.push else Verdict.WAIT
    if what == "tie":
        blank_involved = keep and (plant3d is None or synapse is None)
        if winner == "unknown" or chosen.conflict is ConflictPolicy.ASK or blank_involved:
            return Verdict.CONFLICT, None
        what = {"plant3d": "write S", "synapse": "push"}[winner]
    if what == "settle":
        return Verdict.SETTLED, plant3d
    if what == "conflict":
        return Verdict.CONFLICT, None
    if what == "never erase":
        return Verdict.DRIFT, synapse if plant3d is None else plant3d
    owners_value = plant3d if what in ("write S", "drift from S") else synapse
    restores = not what.startswith("drift") or chosen.drift is DriftPolicy.RESTORE
    if restores and owners_value is None and keep:
        return Verdict.LEAVE, None
    if not restores:
        return Verdict.DRIFT, owners_value
    return (Verdict.TO_SYNAPSE if what in ("write S", "drift from S") else into_plant3d), owners_value


def merge(
    chosen: FieldRule,
    base: tuple[Value, Value] | None,
    plant3d: Value,
    synapse: Value,
    times: Times = NOBODY_KNOWS,
    *,
    resolution: Resolution | None = None,
    hold: Hold | None = None,
    frozen: bool = False,
    put_back: bool = False,
    late: bool = False,
    reverts: int = 0,
) -> FieldOutcome:
    return merge_field(
        Situation(
            rule=chosen,
            base=NO_BASE if base is None else base[0],
            base_plant=NO_BASE if base is None else base[1],
            plant3d=plant3d,
            synapse=synapse,
            same=same,
            times=times,
            resolution=resolution,
            hold=hold,
            frozen=frozen,
            put_back=put_back,
            late=late,
            reverts=reverts,
        )
    )


@pytest.mark.parametrize("owner", list(Owner))
def test_every_cell_of_the_truth_table_is_decided_as_written(owner: Owner) -> None:
    cases = 0
    for (name, base), plant3d, synapse, push, blank, drift, conflict, winner in product(
        BASES.items(),
        (*VALUES, LONG_A),
        VALUES,
        (True, False),
        BlankPolicy,
        DriftPolicy,
        ConflictPolicy,
        TIMES,
    ):
        chosen = rule(owner, push=push, blank=blank, drift=drift, conflict=conflict)
        where = situation(base, plant3d, synapse)
        outcome = merge(chosen, base, plant3d, synapse, TIMES[winner])
        assert (outcome.verdict, outcome.value) == expected(where, chosen, plant3d, synapse, winner), (
            f"{name} P={plant3d!r} S={synapse!r} {where} {chosen} {winner}: {outcome}"
        )
        assert outcome.verdict is not Verdict.TO_SYNAPSE or not same(outcome.value, synapse)
        assert outcome.verdict is not Verdict.TO_PLANT3D or not same(outcome.value, plant3d)
        cases += 1
    assert cases == 5 * 5 * 4 * 2 * 2 * 3 * 2 * 3


def test_every_overwritten_value_is_kept_in_the_outcome() -> None:
    """Whoever loses stays visible: an overwritten filled value is always named."""
    for base, plant3d, synapse, owner, winner in product(
        [base for base in BASES.values() if base], VALUES, VALUES, Owner, TIMES
    ):
        outcome = merge(rule(owner), base, plant3d, synapse, TIMES[winner])
        if outcome.verdict is Verdict.TO_SYNAPSE:
            assert outcome.loses == synapse
        if outcome.verdict in (Verdict.TO_PLANT3D, Verdict.WAIT):
            assert outcome.loses == plant3d


def test_without_a_base_no_filled_value_is_ever_erased() -> None:
    for plant3d, synapse, owner, blank, drift in product(VALUES, VALUES, Owner, BlankPolicy, DriftPolicy):
        outcome = merge(rule(owner, blank=blank, drift=drift), None, plant3d, synapse)
        if outcome.verdict in (Verdict.TO_SYNAPSE, Verdict.TO_PLANT3D, Verdict.WAIT):
            assert not is_blank(outcome.value)


def test_an_empty_base_is_not_the_same_as_no_base() -> None:
    erased_in_synapse = merge(rule(), (A, A), A, None)
    never_filled = merge(rule(), None, A, None)
    filled_in_plant3d = merge(rule(), (None, None), A, None)
    assert (erased_in_synapse.verdict, erased_in_synapse.value) == (Verdict.TO_PLANT3D, None)
    assert (never_filled.verdict, never_filled.value) == (Verdict.TO_SYNAPSE, A)
    assert filled_in_plant3d.reason == "plant3d_changed"


def resolution(plant3d: Value, synapse: Value, chosen: Value) -> Resolution:
    return Resolution(conflict_id="k", plant3d_value=plant3d, synapse_value=synapse, chosen=chosen, by="eve")


@pytest.mark.parametrize("base", [(C, C), None])
def test_a_choice_holds_only_between_the_two_values_it_was_made_for(base: tuple[Value, Value] | None) -> None:
    asking = rule(conflict=ConflictPolicy.ASK)
    for chosen, plant3d, synapse in product(
        (A, B, "by hand"), (A, B, "later", "by hand"), (A, B, "later", "by hand")
    ):
        if same(plant3d, synapse):
            continue
        outcome = merge(asking, base, plant3d, synapse, resolution=resolution(A, B, chosen))
        still_meant = plant3d in (A, chosen) and synapse in (B, chosen)
        if not still_meant:
            assert outcome.verdict is Verdict.CONFLICT, (chosen, plant3d, synapse, outcome)
        elif synapse != chosen:
            assert (outcome.verdict, outcome.value) == (Verdict.TO_SYNAPSE, chosen)
        else:
            assert (outcome.verdict, outcome.value) == (Verdict.TO_PLANT3D, chosen)


def test_a_choice_beats_newest_wins() -> None:
    outcome = merge(rule(), (C, C), A, B, PLANT_LATER, resolution=resolution(A, B, B))
    assert (outcome.verdict, outcome.value) == (Verdict.TO_PLANT3D, B)


def test_a_frozen_field_asks_and_obeys_only_a_choice() -> None:
    for base, plant3d, synapse, owner in product(
        [base for base in BASES.values() if base], VALUES, VALUES, Owner
    ):
        outcome = merge(rule(owner), base, plant3d, synapse, PLANT_LATER, frozen=True)
        where = situation(base, plant3d, synapse)
        if where in ("equal", "nobody moved"):
            assert outcome.verdict is Verdict.SETTLED
        else:
            assert (outcome.verdict, outcome.reason) == (Verdict.CONFLICT, "flip_flop")
    chosen = merge(rule(), (C, C), A, B, frozen=True, resolution=resolution(A, B, A))
    assert (chosen.verdict, chosen.value) == (Verdict.TO_SYNAPSE, A)


@pytest.mark.parametrize("policy", list(ConflictPolicy))
@pytest.mark.parametrize("blank", list(BlankPolicy))
def test_a_value_put_back_over_our_write_never_wins_by_itself(
    policy: ConflictPolicy, blank: BlankPolicy
) -> None:
    """We wrote the base over what Plant 3D holds again; whatever the times say and SYNAPSE did since."""
    for plant3d, synapse, times in product(VALUES, VALUES, TIMES.values()):
        if same(plant3d, B):
            continue
        chosen = rule(conflict=policy, blank=blank)
        outcome = merge(chosen, (B, B), plant3d, synapse, times, put_back=True, reverts=1)
        if same(plant3d, synapse):
            assert outcome.verdict is Verdict.SETTLED
            continue
        assert (outcome.verdict, outcome.reason) == (Verdict.CONFLICT, "reverted")
        assert (outcome.suggestion, outcome.suggestion_reason) == ("synapse", "put_back_after_our_write")
        for value in (plant3d, synapse, C):
            decided = merge(
                chosen,
                (B, B),
                plant3d,
                synapse,
                times,
                put_back=True,
                reverts=1,
                resolution=resolution(plant3d, synapse, value),
            )
            assert (decided.value, decided.reason) == (value, "resolved")


def test_after_two_times_only_a_choice_moves_the_field_whatever_the_sides_hold() -> None:
    for plant3d, synapse in product(VALUES, VALUES):
        where = situation((B, B), plant3d, synapse)
        frozen = merge(rule(), (B, B), plant3d, synapse, PLANT_LATER, reverts=2)
        free = merge(rule(), (B, B), plant3d, synapse, PLANT_LATER, reverts=1)
        if where in ("equal", "nobody moved"):
            assert frozen.verdict is Verdict.SETTLED
            continue
        assert (frozen.verdict, frozen.reason) == (Verdict.CONFLICT, "reverted")
        assert free.verdict is not Verdict.CONFLICT


@pytest.mark.parametrize("owner", list(Owner))
def test_an_undone_field_is_held_until_the_other_side_says_something_else(owner: Owner) -> None:
    hold = Hold(side="synapse", value=B, kept=A)  # SYNAPSE was put back to a while Plant 3D says b
    held = merge(rule(owner), (B, B), B, A, hold=hold)
    assert (held.verdict, held.reason) == (Verdict.LEAVE, "held_after_undo")
    assert merge(rule(owner), (B, B), C, A, hold=hold).verdict is not Verdict.LEAVE
    assert merge(rule(owner), (B, B), B, C, hold=hold).reason != "held_after_undo"
    assert merge(rule(owner), (B, B), B, B, hold=hold).verdict is Verdict.SETTLED
    other_way = Hold(side="plant3d", value=B, kept=A)
    assert merge(rule(owner), (B, B), A, B, hold=other_way).reason == "held_after_undo"


# ------------------------------------------------------------------ which side was edited last

NOW = datetime(2026, 11, 1, 7, 30, tzinfo=UTC).timestamp()
POLL = 300.0
SHIFTS = {
    "exact": 0.0,
    "an hour fast": 3600.0,
    "an hour slow": -3600.0,
    "a day fast": 86400.0,
    "a day slow": -86400.0,
    "half a poll": POLL / 2,
}


def intervals(edit: float) -> Interval:
    """What polling every five minutes sees of an edit."""
    before = NOW - ((NOW - edit) // POLL + 1) * POLL
    return Interval(at_base=before, away=before + POLL)


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=list(SHIFTS))
def test_no_clock_shift_of_synapse_makes_a_wrong_winner(shift: float) -> None:
    """The stamp may lie by any shift, the skew may be known, unknown or measured wrongly by seconds."""
    decided = 0
    minutes = [NOW - 60.0 * n for n in range(1, 40, 2)]
    for plant_edit, synapse_edit, skew in product(minutes, minutes, (shift, shift + 2.0, None)):
        times = Times(
            now=NOW,
            tolerance=120.0,
            plant3d=intervals(plant_edit),
            synapse=intervals(synapse_edit),
            synapse_stamp=synapse_edit + shift,
            skew=skew,
        )
        winner, why = newest(times)
        assert why
        if winner is not None:
            decided += 1
            truth = Side.PLANT3D if plant_edit > synapse_edit else Side.SYNAPSE
            assert winner is truth, (plant_edit, synapse_edit, shift, skew, why)
    assert decided > 100, "the rule must decide where the order is known"


@pytest.mark.parametrize("shift", [value for value in SHIFTS.values() if abs(value) >= 3600])
def test_a_skew_believed_to_be_zero_cannot_crown_a_shifted_stamp(shift: float) -> None:
    """The clock jumped after the skew was measured: the stamp leaves the interval in which we saw the change."""
    for plant_edit, synapse_edit in product([NOW - 60.0 * n for n in range(1, 30, 3)], repeat=2):
        times = Times(
            now=NOW,
            plant3d=intervals(plant_edit),
            synapse=intervals(synapse_edit),
            synapse_stamp=synapse_edit + shift,
            skew=0.0,
        )
        winner, why = newest(times)
        assert winner is None or winner is (Side.PLANT3D if plant_edit > synapse_edit else Side.SYNAPSE), why


@pytest.mark.parametrize("when", ["2026-11-01T05:59+00:00", "2027-03-14T06:59+00:00"])
def test_the_change_of_summer_time_changes_no_winner(when: str) -> None:
    toronto = ZoneInfo("America/Toronto")
    start = datetime.fromisoformat(when)
    for offset in range(-120, 121, 7):
        edit = (start + timedelta(minutes=offset)).astimezone(toronto)
        later = Times(
            now=edit.timestamp() + 7200,
            plant3d=Interval(at_base=edit.timestamp() - 400, away=edit.timestamp() - 300),
            synapse=None,
            synapse_stamp=edit.timestamp(),
            skew=0.0,
        )
        assert newest(later) == (Side.SYNAPSE, "synapse_changed_later")


def at(
    plant: tuple[float | None, float] | None, synapse: tuple[float | None, float] | None, **more: float
) -> Times:
    return Times(
        now=10_000.0,
        plant3d=Interval(at_base=plant[0], away=plant[1]) if plant else None,
        synapse=Interval(at_base=synapse[0], away=synapse[1]) if synapse else None,
        **more,
    )


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (at(None, (100, 200)), "plant3d_change_not_observed"),
        (at((100, 400), (300, 600)), "synapse_time_missing"),
        (at((100, 400), (300, 600), synapse_stamp=550.0), "clock_skew_unknown"),
        (at((100, 400), (300, 600), synapse_stamp=20_000.0, skew=0.0), "synapse_time_implausible"),
        (at((100, 400), (300, 600), synapse_stamp=150.0, skew=0.0), "synapse_time_implausible"),
        (at((100, 400), (300, 600), synapse_stamp=410.0, skew=0.0), "changed_at_about_the_same_time"),
        (at((None, 400), (None, 600), synapse_stamp=350.0, skew=0.0), "changed_at_about_the_same_time"),
        (at((100, 400), None, synapse_stamp=10_500.0, skew=0.0), "synapse_time_implausible"),
        (at((100, 400), (300, 600), synapse_stamp=900.0, skew=0.0), "synapse_time_implausible"),
        (at((400, 100), (500, 600)), "our_clock_went_back"),
        (at((100, 200), (600, 500)), "our_clock_went_back"),
    ],
)
def test_what_cannot_be_known_is_left_to_a_person_with_the_reason(times: Times, why: str) -> None:
    assert newest(times) == (None, why)
    assert KINDS[why] != why, "and the reason is told in words"


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        (at((100, 200), (200, 300)), Side.SYNAPSE),
        (at((200, 300), (100, 200)), Side.PLANT3D),
        (at((100, 400), (300, 600), synapse_stamp=590.0, skew=0.0), Side.SYNAPSE),
        (at((100, 400), (300, 600), synapse_stamp=4190.0, skew=3600.0), Side.SYNAPSE),
        (at((500, 900), (300, 600), synapse_stamp=350.0, skew=0.0), Side.PLANT3D),
    ],
)
def test_what_is_known_is_decided(times: Times, winner: Side) -> None:
    assert newest(times)[0] is winner


# ---------------------------------------------------------------- copies of an earlier day

OLDER_TABLE = {
    # (owner, what went back) -> what shall happen when only that side differs from the base
    (Owner.SHARED, OLDER_COPY): Verdict.CONFLICT,
    (Owner.PLANT3D, OLDER_COPY): Verdict.CONFLICT,
    (Owner.SYNAPSE, OLDER_COPY): Verdict.TO_PLANT3D,  # put back, as any drift
    (Owner.SHARED, OLDER_SYNAPSE): Verdict.CONFLICT,
    (Owner.SYNAPSE, OLDER_SYNAPSE): Verdict.CONFLICT,
    (Owner.PLANT3D, OLDER_SYNAPSE): Verdict.TO_SYNAPSE,  # put back, as any drift
    (Owner.SHARED, ANSWER_LOST): Verdict.CONFLICT,
    (Owner.PLANT3D, ANSWER_LOST): Verdict.TO_SYNAPSE,
}


@pytest.mark.parametrize(("owner", "older"), OLDER_TABLE, ids=str)
@pytest.mark.parametrize("times", TIMES.values(), ids=list(TIMES))
@pytest.mark.parametrize("both", [False, True], ids=["one moved", "both moved"])
def test_a_value_of_an_earlier_day_never_wins_or_loses_by_itself(
    owner: Owner, older: str, times: Times, both: bool
) -> None:
    plant3d, synapse = (B, C if both else A) if older == OLDER_COPY else (C if both else A, B)
    outcome = merge_field(
        Situation(
            rule=rule(owner),
            base=A,
            base_plant=A,
            plant3d=plant3d,
            synapse=synapse,
            same=same,
            times=times,
            no_edit=older,
        )
    )
    if OLDER_TABLE[owner, older] is Verdict.CONFLICT:
        assert (outcome.verdict, outcome.reason) == (Verdict.CONFLICT, older)
        assert KINDS[older] != older, "and the question is told in words"
    else:
        assert outcome.verdict is OLDER_TABLE[owner, older], "the owner's rule stands"


@pytest.mark.parametrize("older", [OLDER_COPY, OLDER_SYNAPSE, ANSWER_LOST])
@pytest.mark.parametrize(
    ("chosen", "verdict"), [("of plant3d", Verdict.TO_SYNAPSE), ("of synapse", Verdict.TO_PLANT3D)]
)
def test_a_choice_about_an_earlier_day_is_carried_out(older: str, chosen: str, verdict: Verdict) -> None:
    base = "of synapse" if older == OLDER_COPY else "of plant3d"
    choice = Resolution(
        conflict_id="c", plant3d_value="of plant3d", synapse_value="of synapse", chosen=chosen, by="anna"
    )
    outcome = merge_field(
        Situation(
            rule=rule(),
            base=base,
            base_plant=base,
            plant3d="of plant3d",
            synapse="of synapse",
            same=same,
            times=NOBODY_KNOWS,
            resolution=choice,
            no_edit=older,
        )
    )
    assert (outcome.verdict, outcome.value) == (verdict, chosen)


@pytest.mark.parametrize("blank", BlankPolicy)
@pytest.mark.parametrize("conflict", ConflictPolicy)
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize(("plant3d", "synapse"), list(product((None, B, C), (None, A, B, C))))
def test_a_late_write_of_ours_is_no_edit_and_synapse_holds(
    plant3d: Value, synapse: Value, times: Times, conflict: ConflictPolicy, blank: BlankPolicy
) -> None:
    """The base is A on both sides; only a run that was overtaken moved Plant 3D."""
    outcome = merge(rule(blank=blank, conflict=conflict), (A, A), plant3d, synapse, times, late=True)
    if same(plant3d, synapse):
        assert outcome.verdict is Verdict.SETTLED
    elif is_blank(synapse) and blank is BlankPolicy.KEEP:
        assert (outcome.verdict, outcome.reason) == (Verdict.LEAVE, "blank_kept")
    else:
        assert (outcome.verdict, outcome.value) == (Verdict.TO_PLANT3D, synapse)
        assert (outcome.reason, outcome.loses) == ("late_write_of_ours", plant3d)


@pytest.mark.parametrize("owner", Owner)
@pytest.mark.parametrize("plant3d", [None, A, C])
def test_a_late_write_of_ours_into_synapse_is_no_edit_and_plant3d_holds(owner: Owner, plant3d: Value) -> None:
    """The base is A on both sides; only a run that was overtaken moved SYNAPSE."""
    outcome = merge_field(
        Situation(
            rule=rule(owner),
            base=A,
            base_plant=A,
            plant3d=plant3d,
            synapse=B,
            same=same,
            times=NOBODY_KNOWS,
            late_in_synapse=True,
        )
    )
    if owner is Owner.SYNAPSE:
        assert outcome.reason != "late_write_of_ours", "never written from Plant 3D"
    else:
        assert (outcome.verdict, outcome.value, outcome.loses) == (Verdict.TO_SYNAPSE, plant3d, B)


@pytest.mark.parametrize("blank", [None, "", "  ", "\t\n", "\u00a0"])
@pytest.mark.parametrize("owner", [Owner.PLANT3D, Owner.SHARED])
def test_a_text_without_a_visible_character_erases_nothing_where_blanks_are_kept(
    owner: Owner, blank: Value
) -> None:
    outcome = merge(rule(owner, blank=BlankPolicy.KEEP), (A, A), blank, A)
    assert (outcome.verdict, outcome.reason) == (Verdict.LEAVE, "blank_kept")


@pytest.mark.parametrize("conflict", ConflictPolicy)
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_a_question_that_was_asked_by_rule_is_not_answered_by_time(
    times: Times, asked: bool, conflict: ConflictPolicy
) -> None:
    at = Situation(
        rule=rule(conflict=conflict),
        base=A,
        base_plant=A,
        plant3d=B,
        synapse=C,
        same=same,
        times=times,
        asked=ASKED_BY_RULE if asked else "",
    )
    stays = asked or conflict is ConflictPolicy.ASK or newest(times)[0] is None
    assert (merge_field(at).verdict is Verdict.CONFLICT) == stays


@pytest.mark.parametrize("plant3d", [None, A, C])
@pytest.mark.parametrize("synapse", [C, "D"])
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_words_of_a_row_that_is_gone_stay_a_question(plant3d: Value, synapse: Value, times: Times) -> None:
    """B stood in the row that stood for the line; what stands in the row that does now was typed by nobody."""
    at = Situation(
        rule=rule(),
        base=A,
        base_plant=A,
        plant3d=plant3d,
        synapse=synapse,
        same=same,
        times=times,
        no_edit=OTHER_ROW,
        words=B,
    )
    if plant3d == synapse:
        assert merge_field(at).verdict is Verdict.SETTLED
        return
    assert (merge_field(at).verdict, merge_field(at).reason) == (Verdict.CONFLICT, OTHER_ROW)
    assert OTHER_ROW in KINDS
    choice = Resolution(conflict_id="c", plant3d_value=B, synapse_value=synapse, chosen=B, by="anna")
    done = merge_field(msgspec.structs.replace(at, resolution=choice))
    assert (done.verdict, done.value, done.reason) == (Verdict.TO_SYNAPSE, B, "resolved")
