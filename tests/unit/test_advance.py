"""Where a link's memory moves: what was sent, what was read back and what was open, to what is remembered."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from plant3d_sync.model.link import Flip, Hold, InSynapse, Interval, Link, LinkState, Missing, Open
from plant3d_sync.model.record import Asset, FieldInfo, Value
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    After,
    AfterCreation,
    Archive,
    Cell,
    Create,
    Settle,
    Touch,
    Update,
    values_text,
)
from plant3d_sync.reconcile import advance

Fields = dict[str, Value]
D = "description"
WHOSE: dict[str, Any] = {
    "entity": "valves",
    "pnpid": 7,
    "plant3d_id": "guid-7",
    "class_name": "GateValve",
    "tag": "HV-7",
}
INFO = {D: FieldInfo(version=4, updated_at="2026-01-01T00:00:00Z", by="sam")}


def asset(version: int = 2, *, archived: bool = False, **fields: Value) -> Asset:
    held = {"tag": "HV-7", **fields}
    return Asset(
        asset_id="a",
        plant3d_id="guid-7",
        version=version,
        seq=1,
        archived=archived,
        fields=held,
        field_info=INFO,
    )


def link(**more: Any) -> Link:
    known = Link(
        link_id=1,
        pnpid=7,
        plant3d_id="guid-7",
        class_name="GateValve",
        entity="valves",
        asset_id="a",
        asset_version=1,
        description_version=1,
        tag="HV-7",
        digest=b"\1",
        base={"tag": "HV-7"},
    )
    return replace(known, **more)


def memory(of: Link) -> tuple[Fields, Fields, Fields, dict[str, Open]]:
    return dict(of.base or {}), dict(of.base_plant), dict(of.synapse_delta), dict(of.pending)


# ---------------------------------------------------------------- a new pair


def creation(**after: Any) -> Create:
    values: Fields = {"tag": "HV-7", "size": "50"}
    return Create(**WHOSE, text=values_text(values), after=AfterCreation(digest="00ff", ticks=1, **after))


def test_a_field_left_empty_at_creation_is_agreed_to_be_empty_so_filling_it_in_is_a_change() -> None:
    step = creation(blank=values_text({D: None}))
    made = advance.created(step, asset(size="50", description=None), link_id=1)
    assert memory(made) == ({"tag": "HV-7", "size": "50", D: None}, {}, {}, {})
    assert (made.digest, made.ticks) == (b"\x00\xff", 1)


def test_a_field_that_could_not_be_read_stays_open_and_gets_no_base() -> None:
    unread = Open(why="unread")
    made = advance.created(creation(pending={"spec": unread}), asset(size="50", spec="CS300"), link_id=1)
    assert memory(made) == ({"tag": "HV-7", "size": "50"}, {}, {"spec": "CS300"}, {"spec": unread})


def test_a_value_that_synapse_altered_keeps_plant_3d_s_spelling_beside_the_base() -> None:
    made = advance.created(creation(), asset(size="50.0"), link_id=1)
    assert memory(made) == ({"tag": "HV-7", "size": "50.0"}, {"size": "50"}, {}, {})


def test_an_adopted_pair_agrees_on_what_both_hold_and_keeps_the_rest_open() -> None:
    asked = Open(why="conflict", plant3d="p", synapse="s")
    after = After(digest="00", ticks=1, base_set={"tag": "HV-7"}, pending={D: asked})
    made = advance.created(Adopt(**WHOSE, after=after), asset(description="s"), link_id=1)
    assert memory(made) == ({"tag": "HV-7"}, {}, {D: "s"}, {D: asked})


def test_what_an_asset_holds_besides_is_an_edit_in_synapse_and_not_agreed() -> None:
    after = After(digest="00", ticks=1, base_set={"tag": "HV-7", D: "both"}, plant_set={D: "both "})
    adopted = advance.created(
        Adopt(**WHOSE, set={"size": "50"}, after=after),
        asset(size="50", description="typed since"),
        link_id=1,
    )
    assert memory(adopted) == (
        {"tag": "HV-7", "size": "50", D: "both"},
        {D: "both "},
        {D: "typed since"},
        {},
    )
    filled = advance.created(
        creation(blank=values_text({D: None})), asset(size="50", description="filled in"), link_id=1
    )
    assert memory(filled) == ({"tag": "HV-7", "size": "50", D: None}, {}, {D: "filled in"}, {})


@pytest.mark.parametrize(
    ("held", "base", "plant3d", "delta"),
    [
        ("50", "50", {}, {}),
        ("50 ", "50 ", {"size": "50"}, {}),  # another spelling of what was sent
        ("60", "50", {}, {"size": "60"}),  # somebody's edit
        (None, "50", {}, {"size": None}),
    ],
)
def test_of_a_creation_found_after_a_crash_the_base_is_what_was_sent(
    held: Value, base: Value, plant3d: Fields, delta: Fields
) -> None:
    made = advance.found(creation(), asset(3, size=held), link_id=1, same=spelled_alike)
    assert memory(made) == ({"tag": "HV-7", "size": base}, plant3d, delta, {})


@pytest.mark.parametrize("archived", [False, True])
def test_a_new_pair_knows_whether_its_asset_was_archived_before_we_heard_of_it(archived: bool) -> None:
    held = asset(2, archived=archived, size="50")
    where = InSynapse.ARCHIVED if archived else InSynapse.LIVE
    assert advance.created(creation(), held, link_id=1).in_synapse is where
    assert advance.found(creation(), held, link_id=1, same=spelled_alike).in_synapse is where
    assert advance.accepted(Adopt(**WHOSE, set={}), held, link_id=1).in_synapse is where


def spelled_alike(_name: str, one: Value, other: Value) -> bool:
    return str(one).strip() == str(other).strip()


def test_a_link_that_a_person_accepted_has_no_base_so_that_the_next_comparison_merges_everything() -> None:
    made = advance.accepted(Adopt(**WHOSE, set={"tag": "HV-7"}), asset(description="s"), link_id=1)
    assert (made.base, made.synapse_delta, made.digest) == (None, {"tag": "HV-7", D: "s"}, b"")


# ---------------------------------------------------------------- a write to SYNAPSE

RESOLVING = Open(why="resolving", plant3d="p", synapse="c", given=("c", "c"))
WAITS = Open(why="waiting_for_cad", plant3d="p", synapse="s")

WRITES: list[tuple[str, Fields, Fields, After, Fields, Fields, Fields, Fields, dict[str, Open]]] = [
    # name, base before, sent, what the plan says, read back: base, base_plant, delta, pending
    ("as sent", {D: "old"}, {D: "new"}, After(), {D: "new"}, {D: "new"}, {}, {}, {}),
    ("altered", {D: "old"}, {D: "new "}, After(), {D: "new"}, {D: "new"}, {D: "new "}, {}, {}),
    ("first", {}, {D: "new"}, After(), {D: "new"}, {D: "new"}, {}, {}, {}),
    ("emptied", {D: "old"}, {D: None}, After(), {D: None}, {D: None}, {}, {}, {}),
    (
        "a choice that Plant 3D does not hold yet",
        {D: "old"},
        {D: "c"},
        After(pending={D: RESOLVING}),
        {D: "c"},
        {D: "old"},
        {},
        {D: "c"},
        {D: RESOLVING},
    ),
    (
        "such a choice, altered",
        {D: "old"},
        {D: "c"},
        After(pending={D: RESOLVING}),
        {D: "C"},
        {D: "old"},
        {},
        {D: "C"},
        {D: Open(why="resolving", plant3d="p", synapse="C", given=("c", "C"))},
    ),
    (
        "another field is open",
        {D: "old", "size": "50"},
        {"size": "60"},
        After(pending={D: WAITS}),
        {D: "s", "size": "60"},
        {D: "old", "size": "60"},
        {},
        {D: "s"},
        {D: WAITS},
    ),
    (
        "another field is open and never had a base",
        {"size": "50"},
        {"size": "60"},
        After(pending={D: WAITS}),
        {D: "s", "size": "60"},
        {"size": "60"},
        {},
        {D: "s"},
        {D: WAITS},
    ),
    (
        "another field moved in SYNAPSE since the plan",
        {D: "old", "size": "50"},
        {"size": "60"},
        After(),
        {D: "typed since", "size": "60"},
        {D: "old", "size": "60"},
        {},
        {D: "typed since"},
        {},
    ),
    (
        "another field is settled by the way",
        {D: "old", "size": "50"},
        {"size": "60"},
        After(base_set={D: "both"}, plant_set={D: "both "}),
        {D: "both", "size": "60"},
        {D: "both", "size": "60"},
        {D: "both "},
        {},
        {},
    ),
]


@pytest.mark.parametrize(
    ("base", "sent", "after", "back", "agreed", "plant3d", "delta", "pending"),
    [row[1:] for row in WRITES],
    ids=[row[0] for row in WRITES],
)
def test_a_write_moves_the_base_only_to_what_was_read_back(
    base: Fields,
    sent: Fields,
    after: After,
    back: Fields,
    agreed: Fields,
    plant3d: Fields,
    delta: Fields,
    pending: dict[str, Open],
) -> None:
    step = Update(**WHOSE, link_id=1, set=sent, after=after)
    moved = advance.written(link(base={"tag": "HV-7", **base}), step, asset(**back))
    assert memory(moved) == ({"tag": "HV-7", **agreed}, plant3d, delta, pending)
    assert (moved.asset_version, moved.description_version) == (2, 4)


def test_a_step_without_a_write_moves_the_base_to_what_both_sides_hold() -> None:
    known = link(base={D: "old"}, synapse_delta={D: "both"}, pending={D: WAITS})
    settled = advance.remembered(
        known, Settle(**WHOSE, link_id=1, after=After(digest="01", base_set={D: "both"}))
    )
    assert memory(settled) == ({D: "both"}, {}, {}, {})
    touched = advance.remembered(
        known, Touch(**WHOSE, link_id=1, after=After(digest="02", pending={D: WAITS}))
    )
    assert memory(touched) == memory(known) and touched.digest == b"\2"


def test_what_is_known_of_the_asset_stays_when_only_the_item_was_seen() -> None:
    known = link(in_synapse=InSynapse.ARCHIVED_TOLD, state=LinkState.ARCHIVED)
    touched = advance.remembered(known, Touch(**WHOSE, link_id=1, after=After(state=LinkState.ARCHIVED)))
    assert (touched.in_synapse, touched.state) == (InSynapse.ARCHIVED_TOLD, LinkState.ARCHIVED)


# ---------------------------------------------------------------- a write into Plant 3D


def cell(**more: Any) -> Cell:
    facts: dict[str, Any] = {"field": D, "column": "Remark", "table_class": "Pump", "old": "p", "ticks": 1}
    return Cell(**(facts | {"new": "s", "plant3d": "p", "synapse": "s"} | more))


PUSHES: list[tuple[str, Link, Cell, Value, Fields, Fields, Fields]] = [
    # name, before, cell, read back: base, base_plant, delta
    ("as planned", link(base={D: "p"}, synapse_delta={D: "s"}), cell(), "s", {D: "s"}, {}, {}),
    ("never agreed", link(base={}, synapse_delta={D: "s"}), cell(), "s", {D: "s"}, {}, {}),
    (
        "a choice of which SYNAPSE holds another spelling",
        link(base={D: "p"}, synapse_delta={D: "C"}),
        cell(new="c", synapse="C"),
        "c",
        {D: "C"},
        {D: "c"},
        {},
    ),
    (
        "SYNAPSE was seen again since the plan",
        link(base={D: "p"}, synapse_delta={D: "typed since"}),
        cell(),
        "s",
        {D: "s"},
        {},
        {D: "typed since"},
    ),
    (
        "an undo",
        link(base={D: "s"}),
        cell(new="p", plant3d="s", hold=True, kept="p", why="undo"),
        "p",
        {D: "p"},
        {},
        {D: "s"},
    ),
]


@pytest.mark.parametrize(
    ("before", "written", "stored", "base", "plant3d", "delta"),
    [row[1:] for row in PUSHES],
    ids=[row[0] for row in PUSHES],
)
def test_a_written_cell_moves_the_base_to_what_was_read_back(
    before: Link, written: Cell, stored: Value, base: Fields, plant3d: Fields, delta: Fields
) -> None:
    open_too = {D: WAITS, "size": WAITS}
    seen = {name: {"p": Interval(at_base=1.0, away=2.0)} for name in open_too}
    moved = advance.pushed(replace(before, pending=open_too, observed=seen), [(written, stored)], at=9.0)
    assert memory(moved) == (base, plant3d, delta, {"size": WAITS})
    kept_away = {D: {"s": Interval(at_base=None, away=9.0)}} if written.hold else {}
    assert moved.observed == {"size": seen["size"], **kept_away} and moved.digest == b""
    assert moved.holds == ({D: Hold(side="plant3d", value="s", kept="p")} if written.hold else {})
    assert moved.flips[D].last == "plant3d"


def test_writes_between_the_same_two_values_are_counted_until_a_person_decides() -> None:
    known = link(base={D: "p"}, synapse_delta={D: "s"})
    once = advance.pushed(known, [(cell(), "s")], at=9.0)
    again = advance.pushed(once, [(cell(), "s")], at=9.0)
    chosen = advance.pushed(again, [(cell(why="resolved"), "s")], at=9.0)
    other = advance.pushed(again, [(cell(new="x"), "x")], at=9.0)
    assert [one.flips[D].writes for one in (once, again, chosen, other)] == [1, 2, 1, 1]
    assert again.flips[D].pair == advance.value_pair("s", "p")


# ---------------------------------------------------------------- what is seen


def test_an_edit_seen_in_synapse_is_remembered_with_the_time_between_two_reads() -> None:
    known = link(base={D: "old", "size": "50"})
    edited = advance.seen(known, asset(description="new", size="50"), at=20.0, last_read=10.0)
    assert edited.synapse_delta == {D: "new"}
    assert edited.observed == {D: {"s": Interval(at_base=10.0, away=20.0)}}
    later = advance.seen(edited, asset(3, description="new", size="50"), at=40.0, last_read=30.0)
    assert later.observed == edited.observed, "the first time counts"
    back = advance.seen(later, asset(4, description="old", size="50"), at=60.0, last_read=50.0)
    assert (back.synapse_delta, back.observed) == ({}, {})


def test_a_condition_that_did_not_hold_shows_the_asset_and_has_the_item_compared_again() -> None:
    shown = advance.refused(link(base={D: "old"}), asset(3, description="new"), at=20.0, last_read=10.0)
    assert (shown.asset_version, shown.synapse_delta, shown.digest) == (3, {D: "new"}, b"")


@pytest.mark.parametrize(
    ("before", "archived", "after"),
    [
        (InSynapse.LIVE, True, InSynapse.ARCHIVED),
        (InSynapse.ARCHIVED, True, InSynapse.ARCHIVED),
        (InSynapse.ARCHIVED_TOLD, True, InSynapse.ARCHIVED_TOLD),
        (InSynapse.LOST, True, InSynapse.ARCHIVED),
        (InSynapse.ARCHIVED_TOLD, False, InSynapse.LIVE),
        (InSynapse.LOST, False, InSynapse.LIVE),
    ],
)
def test_an_asset_known_to_be_archived_is_not_news_again(
    before: InSynapse, archived: bool, after: InSynapse
) -> None:
    moved = advance.seen(link(in_synapse=before), asset(archived=archived), at=2.0, last_read=1.0)
    assert moved.in_synapse is after


def test_who_restores_an_asset_that_we_archived_takes_that_back() -> None:
    since = Missing(
        since="2026-01-01T00:00:00Z", reads=3, last_counted="2026-01-02T00:00:00Z", signature=None
    )
    known = link(state=LinkState.ARCHIVED, in_synapse=InSynapse.ARCHIVED, missing=since)
    assert advance.see_asset(known, asset(3, archived=True)).missing == since
    assert advance.see_asset(known, asset(3)).missing is None


def test_a_row_that_moved_says_nothing_of_the_age_of_the_new_one() -> None:
    moved = advance.row_moved(link(ticks=5, revision=6), 8)
    assert (moved.pnpid, moved.digest, moved.ticks, moved.revision) == (8, b"", None, None)


@pytest.mark.parametrize("state", [LinkState.MISSING, LinkState.PENDING])
def test_an_item_that_is_there_again_is_missed_no_more_also_in_another_row(state: LinkState) -> None:
    since = Missing(since="2026", reads=3, last_counted="2026", signature=None)
    missed = link(state=state, missing=since)
    for known in (advance.there(missed), advance.row_moved(missed, 8)):
        assert (known.state, known.missing, known.base) == (LinkState.ACTIVE, None, missed.base)
    kept = advance.row_moved(link(state=LinkState.ARCHIVED, missing=since), 8)
    assert (kept.state, kept.missing) == (LinkState.ARCHIVED, since)


def test_an_archived_pair_remembers_how_its_item_was_missed() -> None:
    missed = Missing(since="2026", reads=3, last_counted="2026", signature=None)
    hold = {"*": Hold(side="synapse", value=None)}
    step = Archive(**WHOSE, link_id=1, after=After(missing=missed, holds=hold))
    done = advance.archived(link(pending={D: WAITS}), step, asset(5, archived=True))
    assert (done.state, done.in_synapse, done.asset_version) == (LinkState.ARCHIVED, InSynapse.ARCHIVED, 5)
    assert (done.missing, done.pending, done.holds, done.digest) == (missed, {}, hold, b"")


def test_an_item_that_was_not_seen_is_read_again_when_it_is_back() -> None:
    missed = Missing(since="2026", reads=1, last_counted="2026", signature=None)
    step = Absent(**WHOSE, link_id=1, after=After(state=LinkState.MISSING, missing=missed))
    away = advance.gone(link(base={D: "x"}), step)
    assert (away.state, away.missing, away.digest, away.base) == (LinkState.MISSING, missed, b"", {D: "x"})


HELD = Hold(side="synapse", value="p")
SEEN = {"s": Interval(at_base=1.0, away=2.0)}


@pytest.mark.parametrize("ends", [None, [], [D], ["size"], [D, "size"]])
def test_what_a_step_does_not_end_stays_as_the_link_has_it_when_the_step_is_stored(
    ends: list[str] | None,
) -> None:
    """An undo, a choice or another run may have moved it since the step was planned."""
    both = (D, "size")
    known = link(
        base={D: "old", "size": "50", "n": "1"},
        pending=dict.fromkeys(both, WAITS),
        observed=dict.fromkeys(both, SEEN),
        holds=dict.fromkeys(both, HELD),
    )
    moved = advance.written(
        known,
        Update(**WHOSE, link_id=1, set={"n": "2"}, after=After(ends=ends)),
        asset(description="old", size="50", n="2"),
    )
    kept = set() if ends is None else set(both) - set(ends)
    assert (set(moved.pending), set(moved.observed), set(moved.holds)) == (kept, kept, kept)


def test_what_is_sent_is_over_and_what_a_step_says_anew_holds() -> None:
    known = link(base={D: "old"}, pending={D: WAITS, "size": WAITS}, holds={D: HELD})
    new = Hold(side="synapse", value="n", kept="o")
    step = Update(**WHOSE, link_id=1, set={D: "new"}, after=After(ends=[], holds={D: new}))
    moved = advance.written(known, step, asset(description="new"))
    assert (set(moved.pending), moved.holds) == ({"size"}, {D: new})


def test_flips_of_other_fields_stay_and_holds_are_those_of_the_step() -> None:
    known = link(flips={"size": Flip(2, "x")}, holds={D: Hold(side="synapse", value="p")})
    step = Update(**WHOSE, link_id=1, set={D: "n"}, after=After(flips={D: Flip(1, "y")}))
    moved = advance.written(known, step, asset(description="n"))
    assert (moved.flips, moved.holds) == ({"size": Flip(2, "x"), D: Flip(1, "y")}, {})


def test_a_value_that_is_not_known_is_not_taken_for_an_empty_one() -> None:
    assert Open(why="unread").plant3d is UNSET
    step = Touch(**WHOSE, link_id=1, after=After(pending={D: Open(why="unread")}))
    assert advance.remembered(link(synapse_delta={D: "s"}), step).synapse_delta == {D: "s"}
