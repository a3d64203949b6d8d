"""Does the oracle bite? Each of its rules is silent in a world that is well, and speaks once somebody spoils that world."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.worlds import fast, moves, oracle
from tests.worlds.play import happens
from tests.worlds.world import CLOCK, LATE, STRICT, Row, World

TAG = "P-1"
Spoils = Callable[[World], None]


# ---------------------------------------------------------------- what somebody spoils


def user(**values: Any) -> Spoils:
    """SYNAPSE holds something else."""

    def spoils(world: World) -> None:
        row = world.asset(TAG)
        assert row is not None
        world.memory.user_edit(str(row["id"]), **values)

    return spoils


def designer(column: str, text: str | None, table: str = "EngineeringItems") -> Spoils:
    """Plant 3D holds something else."""

    def spoils(world: World) -> None:
        world.sql(f"UPDATE [{table}] SET [{column}] = ? WHERE PnPID = ?", text, world.items[TAG][0])

    return spoils


def state(*statements: str) -> Spoils:
    """The state database holds something else."""

    def spoils(world: World) -> None:
        fast.put_down(world.state)
        with closing(sqlite3.connect(world.state)) as connection, connection:
            for statement in statements:
                assert connection.execute(statement).rowcount != 0, statement

    return spoils


def known(change: Callable[[World], object]) -> Spoils:
    """What the oracle knows of the people is something else."""

    def spoils(world: World) -> None:
        change(world)

    return spoils


def all_of(*each: Spoils) -> Spoils:
    def spoils(world: World) -> None:
        for one in each:
            one(world)

    return spoils


def a_second_asset(world: World) -> None:
    made = world.memory.user_create("P-77")
    next(row for row in world.memory._by_seq() if row["id"] == made)["plant3d_id"] = world.items[TAG][1]


def a_journal(world: World) -> None:
    (world.folder / f"{world.dcf.name}-journal").touch()


TYPED = ("the designer types", "now")
ASKED = ("conflicts are asked about", "the designer types", "the user types", "now")
PUSHED = ("the user types", "now")

SPOILED: dict[str, tuple[tuple[str, ...], Spoils, str]] = {
    "words that stand nowhere": (
        TYPED,
        all_of(designer("Description", "x"), user(description="x"), state("DELETE FROM change")),
        "'designer 1' (description of P-1) stands nowhere any more",
    ),
    "words that one side lost": (TYPED, user(description="x"), "'designer 1' was typed last into description"),
    "a question that does not show the words": (
        ASKED,
        all_of(
            user(description="x"),
            state(
                "UPDATE conflict SET data = '{}'",
                "UPDATE change SET fields = fields || ' designer 1 user 2'",
            ),
        ),
        "does not show 'user 2'",
    ),
    "words of another plant in SYNAPSE": (
        TYPED,
        all_of(known(lambda world: world.told.never.add("strange")), user(notes="strange")),
        "'strange' came over",
    ),
    "words of another plant in Plant 3D": (
        TYPED,
        all_of(known(lambda world: world.told.never.add("strange")), designer("Description", "strange")),
        "'strange' came over",
    ),
    "an asset that is archived over unseen words": (
        ("the user types",),
        user(deleted_at="2027-01-15T00:00:00Z"),
        "the asset of P-1 was archived over 'user 1'",
    ),
    "a question that was decided": (
        ASKED,
        known(lambda world: world.told.decided.add((TAG, "description"))),
        "a person decided about P-1 and is asked again",
    ),
    "what was put back and did not stay": (
        TYPED,
        known(lambda world: world.told.undone.update({(TAG, "model"): ("before", "before")})),
        "model of P-1 was put back to ('before', 'before')",
    ),
    "an error whose hint does not help": (
        ("links accept",),
        known(lambda world: world.errors.append({"plant3d_id": world.items[TAG][1], "code": "identity_mismatch"})),
        "P-1 was accepted under its other number, and the error stays",
    ),
    "words that an older copy overwrote": (
        TYPED,
        all_of(known(lambda world: world.told.must_stay.update({TAG: "designer 1"})),
            known(lambda world: world.told.saves_behind.update({TAG: 2})), user(description="x")),
        "an older copy overwrote 'designer 1' of P-1",
    ),
    "two assets of one item": (TYPED, a_second_asset, "P-1 has 2 assets"),
    "a cell of Plant 3D that nobody there wrote": (
        TYPED,
        designer("Manufacturer", "x"),
        "manufacturer of P-1 is 'x' in Plant 3D",
    ),
    "a field of Plant 3D that SYNAPSE holds otherwise": (
        TYPED,
        user(attributes={"manufacturer": "x"}),
        "SYNAPSE holds 'x' as manufacturer of P-1",
    ),
    "a field of SYNAPSE that nobody there wrote": (TYPED, user(notes="x"), "the notes of P-1 are 'x'"),
    "sides that differ": (TYPED, designer("Tag", "P-8", "Equipment"), "of P-1 the sides hold"),
    "an asset whose item is gone": (
        TYPED,
        lambda world: [moves.designer_deletes(world, TAG), None][1],
        "P-1 lives on one side only",
    ),
    "an open intent": (TYPED, state("UPDATE intent SET status = 'open'"), "open intents"),
    "a run that goes on": (TYPED, state("UPDATE run SET status = 'running'"), "runs that go on"),
    "a run without an outcome": (TYPED, state("UPDATE run SET outcome = NULL"), "without an outcome"),
    "a lease": (TYPED, state("UPDATE lease SET holder = 'x'"), "leases"),
    "a plan half applied": (TYPED, state("UPDATE plan SET status = 'applying'"), "plans half applied"),
    "a file beside the database": (TYPED, a_journal, "files beside the database"),
    "a write that is not recorded": (
        TYPED,
        state("DELETE FROM change WHERE side = 'synapse'"),
        "0 changes are recorded (0 found), SYNAPSE counted",
    ),
    "what was seen on the way": (
        TYPED,
        known(lambda world: world.told.wrong.append("that was seen")),
        "that was seen",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_a_world_that_is_well_is_told_from_one_that_is_spoiled(world: World, what: str) -> None:
    before, spoils, says = SPOILED[what]
    happens(world, *before)
    with world.looking():
        assert oracle._asked_all(world, looked=True) == [] or before == ("the user types",)
    spoils(world)
    with world.looking():
        assert says in "; ".join(oracle._asked_all(world, looked=True))


def test_an_audit_trail_that_was_altered_is_seen(world: World) -> None:
    happens(world, *TYPED)
    assert list(oracle._audited(world)) == []
    state("DROP TRIGGER audit_no_update", "UPDATE audit SET body = body || ' '")(world)
    assert list(oracle._audited(world)) == ["the audit trail does not hold"]


# ---------------------------------------------------------------- a program that says something else than it does


def answers(world: World, becomes: Callable[[Row], Row], *, to: str, then: Spoils | None = None) -> None:
    """From now on a command says that, and leaves this behind."""
    real = world.cli

    def cli(*words: str) -> Row:
        said = real(*words)
        if words[0] != to.partition(" ")[0] or to.partition(" ")[2] not in " ".join(words):
            return said
        if then is not None:
            then(world)
        return becomes(said)

    world.cli = cli  # type: ignore[method-assign]


def broken(world: World) -> str:
    try:
        oracle.judge(world)
    except oracle.Broken as found:
        return str(found)
    return ""


WRITES = {"synapse": 1, "plant3d": 0}
QUIETLY: list[str] = []


def edits_again(world: World) -> None:
    QUIETLY.append("x")
    designer("Description", f"x{len(QUIETLY)}")(world)


def fails(world: World) -> None:
    world.code = 75


def has_row_errors(world: World) -> None:
    world.code = 3


LIES: dict[str, tuple[str, Callable[[Row], Row], Spoils | None, str]] = {
    "a run at rest that fails": ("now", lambda said: said, fails, "a run at rest ended with 75"),
    "a run that changes a side and says it wrote nothing": (
        "now",
        lambda said: said,
        edits_again,
        "a run that says it wrote nothing changed a side",
    ),
    "runs that never come to rest": (
        "now",
        lambda said: said | {"writes": WRITES},
        has_row_errors,
        "after 4 runs it still writes",
    ),
    "a run after rest that writes": (
        "pull --full",
        lambda said: said | {"writes": WRITES},
        None,
        "`pull mine --full` after rest writes",
    ),
    "a run after rest that changes a side": (
        "pull --full",
        lambda said: said,
        edits_again,
        "`pull mine --full` after rest changed a side",
    ),
    "a run after rest that compares everything each time": (
        "now",
        lambda said: said | {"unchanged_source": False},
        None,
        "nothing moves, and each run compares everything again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_a_run_that_says_something_else_than_it_did_is_seen(world: World, what: str) -> None:
    to, becomes, then, says = LIES[what]
    answers(world, becomes, to=to, then=then)
    assert says in broken(world)


def without_items(said: Row) -> Row:
    return said | {"items": []}


WAITS: dict[str, tuple[tuple[str, ...], Spoils, str]] = {
    "a question that is not listed": (
        ASKED,
        lambda world: answers(world, lambda said: without_items(said) | {"counts": {}}, to="waiting"),
        "and what waits is None",
    ),
    "a list that is counted wrongly": (
        ASKED,
        lambda world: answers(world, lambda said: said | {"counts": {"conflict": 7}}, to="waiting"),
        "what waits is counted as {'conflict': 7}",
    ),
    "what was refused and is not listed": (
        ("the user types two lines", "now"),
        lambda world: answers(world, lambda said: without_items(said) | {"counts": {}}, to="waiting"),
        "and what waits is None",
    ),
    "what was left alone and is told again": (
        ("the user types two lines", "now"),
        known(lambda world: world.told.left_alone.add(TAG)),
        "what was refused of P-1 was left alone, and is told again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WAITS)
def test_a_list_of_what_waits_that_is_not_so_is_seen(world: World, what: str) -> None:
    before, spoils, says = WAITS[what]
    happens(world, *before)
    spoils(world)
    assert says in broken(world)


# ---------------------------------------------------------------- what is seen on the way


def test_a_run_that_does_more_than_the_guard_says_is_seen(world: World) -> None:
    world.configure(guards=STRICT)
    before = world.sides()
    for tag in world.items:
        world.saves(tag, "Description", None)
    world.sql("UPDATE CentrifugalPump SET D1 = NULL")
    world._watch("run", before, unattended=True)
    assert world.told.wrong == [
        "Plant 3D: 3 items were emptied, and the guard says 1",
        "Plant 3D: 3 items were changed, and the guard says 2",
    ]


def test_an_item_that_is_archived_before_its_time_is_seen(world: World) -> None:
    world.configure(missing=LATE)
    world.told.deleted[TAG] = CLOCK.now
    before = world.sides()
    user(deleted_at="2027-01-15T00:00:00Z")(world)
    world._watch("run", before, unattended=True)
    assert "was archived before its item was missing for half an hour" in world.told.wrong[1]


def test_an_asset_that_is_archived_while_its_item_lives_is_seen(world: World) -> None:
    before = world.sides()
    user(deleted_at="2027-01-15T00:00:00Z")(world)
    world.told.moves.append("apply")
    world._watch("run", before, unattended=False)
    assert world.told.wrong == ["the asset of P-1 was archived, and its item lives"]


def test_an_absence_begins_anew_once_a_run_saw_the_item(world: World) -> None:
    since = CLOCK.now
    happens(world, "the designer deletes the item", "now", "the designer brings the item back")
    happens(world, "the designer deletes the item")
    assert world.told.deleted[TAG] <= since + 600.0, "nobody saw that it was back"
    happens(world, "the designer brings the item back", "now", "the designer deletes the item")
    assert world.told.deleted[TAG] == CLOCK.now


def test_a_blank_counts_as_soon_as_a_base_is_known_again(world: World) -> None:
    happens(world, "the state is lost", "the user empties the description")
    assert not world.told.words[TAG, "description"].counts
    happens(world, "now", "the user empties the description")
    assert world.told.words[TAG, "description"].counts
