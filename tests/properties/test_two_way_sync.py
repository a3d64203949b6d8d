"""People edit both sides, runs crash anywhere; nothing is lost, nothing doubles, the sides meet.

Longer with P3DSYNC_LONG=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from plant3d_sync.model.outcome import FieldOutcome, Resolution, Verdict
from plant3d_sync.model.side import Direction, Side
from plant3d_sync.reconcile import fields, merge
from plant3d_sync.reconcile.merge import Situation
from tests.support.builders import balanced, lines, writes
from tests.support.two_sides import TwoSides

LONG = os.environ.get("P3DSYNC_LONG") == "1"
EXAMPLES, STEPS = (400, 40) if LONG else (150, 25)
TAGS = st.sampled_from(["A", "B", "C", "D", "?", " A ", None])
TEXTS = st.sampled_from(["one", "two", "three ", "four and more than twelve", "five", "", None])
SPECS = st.sampled_from(["CS", "SS", None])
PICK = st.integers(0, 50)


class TwoWaySync(RuleBasedStateMachine):
    """Each rule is something that happens; the invariants and the end are our promises."""

    @initialize(
        skew=st.sampled_from([0.0, 3600.0, -86400.0]),
        known=st.booleans(),
        policy=st.sampled_from(["archive", "keep"]),
    )
    def begins(self, skew: float, known: bool, policy: str) -> None:
        self.world = TwoSides(skew=skew, skew_known=known, policy=policy)
        for tag in ("A", "B"):
            self.world.draws(tag, "one")

    def pick(self, number: int) -> int | None:
        alive = sorted(self.world.plant)
        return alive[number % len(alive)] if alive else None

    def pick_linked(self, number: int) -> int | None:
        linked = sorted(self.world.links)
        return linked[number % len(linked)] if linked else None

    @rule(tag=TAGS, text=TEXTS)
    def a_designer_places_an_item(self, tag: str | None, text: str | None) -> None:
        if len(self.world.plant) < 5:
            self.world.draws(tag, text)

    @rule(which=PICK, text=TEXTS)
    def a_designer_edits_a_description(self, which: int, text: str | None) -> None:
        if (pnpid := self.pick(which)) is not None:
            self.world.edits_plant(pnpid, "Remark", text)

    @rule(which=PICK)
    def an_open_session_saves_its_old_copy(self, which: int) -> None:
        pushed = sorted(self.world.before_push.keys() & self.world.plant.keys())
        if pushed:
            self.world.saves_an_old_copy(pushed[which % len(pushed)])

    @rule(which=PICK, tag=TAGS)
    def a_designer_renames(self, which: int, tag: str | None) -> None:
        if (pnpid := self.pick(which)) is not None:
            self.world.edits_plant(pnpid, "Tag", tag)

    @rule(one=PICK, two=PICK)
    def a_designer_swaps_two_tags(self, one: int, two: int) -> None:
        first, second = self.pick(one), self.pick(two)
        if first is not None and second is not None:
            tags = self.world.plant[first]["Tag"], self.world.plant[second]["Tag"]
            self.world.edits_plant(first, "Tag", tags[1])
            self.world.edits_plant(second, "Tag", tags[0])

    @rule(which=PICK, spec=SPECS)
    def a_designer_edits_a_spec(self, which: int, spec: str | None) -> None:
        if (pnpid := self.pick(which)) is not None:
            self.world.edits_plant(pnpid, "Spec", spec)

    @rule(which=PICK)
    def a_designer_deletes(self, which: int) -> None:
        if (pnpid := self.pick(which)) is not None:
            self.world.deletes(pnpid)

    @rule(which=PICK, text=TEXTS)
    def somebody_edits_a_description_in_synapse(self, which: int, text: str | None) -> None:
        if (pnpid := self.pick_linked(which)) is not None:
            self.world.edits_synapse(pnpid, "description", text)

    @rule(which=PICK, spec=SPECS)
    def somebody_edits_a_field_that_plant3d_owns(self, which: int, spec: str | None) -> None:
        if (pnpid := self.pick_linked(which)) is not None:
            self.world.edits_synapse(pnpid, "attributes.spec", spec)

    @rule(which=PICK, text=TEXTS)
    def somebody_resolves(self, which: int, text: str | None) -> None:
        asked = sorted(n for n, known in self.world.links.items() if known.pending.get("description"))
        pool = asked if asked and which % 2 else sorted(self.world.links)
        if pool:
            self.world.resolves(pool[which % len(pool)], text)

    @rule(which=PICK, one=TEXTS, two=TEXTS)
    def both_sides_edit_a_description(self, which: int, one: str | None, two: str | None) -> None:
        pnpid = self.pick_linked(which)
        if pnpid is not None and pnpid in self.world.plant:
            self.world.edits_plant(pnpid, "Remark", one)
            self.world.edits_synapse(pnpid, "description", two)

    @rule(direction=st.sampled_from(list(Direction)))
    def a_run_completes(self, direction: Direction) -> None:
        draft = self.world.run(direction)
        assert balanced(draft)
        assert draft.stats.total == len(self.world.plant)

    @rule(after=st.integers(0, 6), lost=st.booleans(), direction=st.sampled_from(list(Direction)))
    def a_run_dies(self, after: int, lost: bool, direction: Direction) -> None:
        self.world.apply(self.world.plan(direction), upto=after, lose_last_reply=lost)

    @rule(which=PICK, text=TEXTS, in_plant=st.booleans())
    def somebody_edits_between_plan_and_write(self, which: int, text: str | None, in_plant: bool) -> None:
        draft = self.world.plan()
        pnpid = self.pick(which) if in_plant else self.pick_linked(which)
        if pnpid is not None and in_plant:
            self.world.edits_plant(pnpid, "Remark", text)
        elif pnpid is not None:
            self.world.edits_synapse(pnpid, "description", text)
        self.world.apply(draft)

    @rule()
    def our_state_is_lost(self) -> None:
        self.world.loses_our_state()

    @invariant()
    def no_newer_edit_was_overwritten_by_an_older_one(self) -> None:
        if hasattr(self, "world"):
            assert self.world.complaints == []

    @invariant()
    def every_identity_has_one_asset(self) -> None:
        if hasattr(self, "world"):
            assert self.world.judge_identity() == []

    @invariant()
    def the_base_holds_only_what_stood_on_both_sides(self) -> None:
        if hasattr(self, "world"):
            assert self.world.judge_links() == []

    def teardown(self) -> None:
        """Faults and edits stop: a few runs, then quiet, equal, or said to be open."""
        if not hasattr(self, "world"):
            return
        for _ in range(4):
            self.world.tick(3600)
            self.world.run()
        before = self.world.writes
        draft = self.world.run()
        assert self.world.complaints == []
        assert writes(draft) == [], "the last run still wanted to write"
        assert lines(draft, "push") == []
        assert self.world.writes == before
        everything = self.world.plan(full=True)
        assert writes(everything) == [], "a complete comparison still wanted to write"
        assert lines(everything, "push") == []
        unexplained = self.world.differences() - self.world.explained(draft)
        assert unexplained == set(), "different, and nobody says so"


def play(examples: int, steps: int, *, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        TwoWaySync,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not LONG,
            phases=phases,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(1200)
def test_both_sides_meet_and_no_edit_is_lost() -> None:
    play(EXAMPLES, STEPS)


# ------------------------------------------------------------------ stories


def test_a_third_value_chosen_by_hand_reaches_both_sides_even_through_pulls_only_at_first() -> None:
    world = TwoSides(skew_known=False)
    pnpid = world.draws("A", "one")
    world.run()
    world.edits_plant(pnpid, "Remark", "two")
    world.edits_synapse(pnpid, "description", "three")
    assert len(world.run().conflicts) == 1
    world.resolves(pnpid, "by hand")
    for direction in (Direction.PULL, Direction.PULL, Direction.BOTH, Direction.BOTH):
        world.run(direction)
        assert world.judge_links() == []
        held = world.held(pnpid)
        assert held is not None
        assert held.fields["description"] == "by hand"
    assert world.plant[pnpid]["Remark"] == "by hand"
    assert writes(world.plan(full=True)) == []


@pytest.mark.parametrize("before", [None, "", "one"])
def test_a_description_filled_after_the_creation_arrives(before: str | None) -> None:
    world = TwoSides()
    pnpid = world.draws("A", before)
    world.run(Direction.PULL)
    world.edits_plant(pnpid, "Remark", "filled")
    world.run(Direction.PULL)
    held = world.held(pnpid)
    assert held is not None
    assert held.fields["description"] == "filled"


@pytest.mark.parametrize("direction", [Direction.PULL, Direction.BOTH])
def test_a_choice_that_synapse_cuts_is_sent_once_and_reaches_plant3d(direction: Direction) -> None:
    world = TwoSides(skew_known=False)
    pnpid = world.draws("A", "one")
    world.run()
    world.edits_plant(pnpid, "Remark", "two")
    world.edits_synapse(pnpid, "description", "three")
    assert len(world.run().conflicts) == 1
    world.resolves(pnpid, "four and more than twelve")
    sent = [len(writes(world.run(direction))) for _ in range(4)]
    assert sent == [1, 0, 0, 0]
    for _ in range(2):
        world.run()
    assert world.plant[pnpid]["Remark"] == "four and more than twelve"
    held = world.held(pnpid)
    assert held is not None
    assert held.fields["description"] == "four and mor"
    before = world.writes
    assert writes(world.run()) == []
    assert world.writes == before


def test_an_edit_between_plan_and_write_is_not_forgotten_when_the_item_is_written_both_ways() -> None:
    """The answer to the write of another field shows the new description; the push that follows must not hide it."""
    world = TwoSides()
    pnpid = world.draws("A", "one")
    world.run()
    world.edits_plant(pnpid, "Spec", "CS")
    world.edits_synapse(pnpid, "description", "two")
    draft = world.plan()
    assert [line["op"] for line in lines(draft)] == ["update", "push"]
    world.edits_synapse(pnpid, "description", "one")
    world.apply(draft)
    world.run()
    held = world.held(pnpid)
    assert held is not None
    assert (world.plant[pnpid]["Remark"], held.fields["description"]) == ("one", "one")
    assert writes(world.plan(full=True)) == []


def test_an_old_copy_saved_over_our_write_reaches_nobody() -> None:
    world = TwoSides()
    pnpid = world.draws("A", "one")
    world.run()
    world.edits_synapse(pnpid, "description", "two")
    world.run()
    assert world.plant[pnpid]["Remark"] == "two"
    world.saves_an_old_copy(pnpid)
    for _ in range(3):
        draft = world.run()
        assert writes(draft) == []
        assert lines(draft, "push") == []
        assert [conflict.kind for conflict in draft.conflicts] == ["reverted"]
    assert world.complaints == []
    assert world.links[pnpid].flips["description"].reverts == 1, "counted once"


def test_a_conflict_of_the_first_sync_stays_open_when_synapse_changes_other_fields() -> None:
    world = TwoSides()
    pnpid = world.draws("A", "one")
    world.run()
    world.loses_our_state()
    world.edits_plant(pnpid, "Remark", "two")
    assert [conflict.kind for conflict in world.run().conflicts] == ["first_sync_differs"]
    for note in ("x", "y", "z"):
        world.edits_synapse(pnpid, "attributes.note", note)
        assert [conflict.kind for conflict in world.run().conflicts] == ["first_sync_differs"]


def test_a_lost_state_is_rebuilt_without_a_duplicate() -> None:
    world = TwoSides()
    for number in range(20):
        world.draws(f"T-{number}", f"text {number}")
    world.run()
    world.loses_our_state()
    draft = world.run()
    assert (draft.stats.created, writes(draft), len(world.synapse)) == (0, [], 20)
    assert world.run().stats.unchanged == 20


# ------------------------------------------------------------------ does the judge bite?

RIGHT = merge.merge_field


def base_is_ignored(at: Situation) -> FieldOutcome:
    """Two-way comparison: Plant 3D's value always goes to SYNAPSE."""
    return RIGHT(replace(at, base=at.synapse, base_plant=at.synapse))


def the_row_stamp_decides(at: Situation) -> FieldOutcome:
    """Newest wins by when a row was saved, whatever happened to the field."""
    outcome = RIGHT(at)
    if outcome.verdict is Verdict.CONFLICT and outcome.reason != "flip_flop":
        return FieldOutcome(
            field=at.rule.field,
            verdict=Verdict.TO_SYNAPSE,
            value=at.plant3d,
            loses=at.synapse,
            reason="newest",
        )
    return outcome


def a_choice_never_becomes_void(at: Situation) -> FieldOutcome:
    """A person's choice is carried out even if a side moved on since."""
    old = at.resolution
    if old is None:
        return RIGHT(at)
    forever = Resolution(
        conflict_id=old.conflict_id,
        plant3d_value=at.plant3d,
        synapse_value=at.synapse,
        chosen=old.chosen,
        by=old.by,
    )
    return RIGHT(replace(at, resolution=forever))


def a_blank_erases_without_a_base(at: Situation) -> FieldOutcome:
    """Plant 3D's value counts as the newer one where the sides never agreed."""
    if at.base is merge.NO_BASE:
        return RIGHT(replace(at, base=at.synapse, base_plant=at.synapse))
    return RIGHT(at)


def first_seen_wins(at: Situation) -> FieldOutcome:
    """Two edits within one poll go to SYNAPSE's, without asking."""
    outcome = RIGHT(at)
    if outcome.verdict is Verdict.CONFLICT and at.rule.push and outcome.reason != "flip_flop":
        return FieldOutcome(
            field=at.rule.field,
            verdict=Verdict.TO_PLANT3D,
            value=at.synapse,
            loses=at.plant3d,
            reason="newest",
        )
    return outcome


def a_value_put_back_is_an_edit(at: Situation) -> FieldOutcome:
    """Plant 3D holds again what it held before our write: as if a designer had typed it."""
    return RIGHT(replace(at, put_back=False, reverts=0))


def nothing_is_ever_agreed(at: Situation) -> FieldOutcome:
    """An altered value is written again and again."""
    outcome = RIGHT(at)
    if outcome.reason == "agreed_alteration":
        return FieldOutcome(
            field=at.rule.field, verdict=Verdict.TO_SYNAPSE, value=at.plant3d, reason="differs"
        )
    return outcome


BROKEN: list[Callable[[Situation], FieldOutcome]] = [
    base_is_ignored,
    the_row_stamp_decides,
    a_choice_never_becomes_void,
    a_blank_erases_without_a_base,
    first_seen_wins,
    a_value_put_back_is_an_edit,
    nothing_is_ever_agreed,
]


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "merge_field", request.param)
        yield


@pytest.mark.parametrize(
    "broken",
    [*BROKEN[:2], *(pytest.param(engine, marks=pytest.mark.long) for engine in BROKEN[2:])],
    ids=lambda engine: engine.__name__,
    indirect=True,
)
@pytest.mark.usefixtures("broken")
def test_a_broken_merge_is_caught() -> None:
    """The search ends at the first story that shows it; which one comes first depends on the modules loaded before."""
    with pytest.raises(AssertionError):
        play(5000, 25, phases=(Phase.generate,))


def test_intervals_that_keep_their_first_date_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A side that was edited a second time must not be dated by its first edit."""

    def first_date(times: Any) -> tuple[Side | None, str]:
        plant, synapse = times.plant3d, times.synapse
        if plant is not None and synapse is not None and plant.at_base and synapse.at_base:
            return (Side.PLANT3D if plant.at_base >= synapse.at_base else Side.SYNAPSE), "guessed"
        return None, "unknown"

    monkeypatch.setattr(merge, "newest", first_date)
    with pytest.raises(AssertionError):
        play(5000, 25, phases=(Phase.generate,))
