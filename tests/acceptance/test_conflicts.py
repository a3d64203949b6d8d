"""Both sides edited one field: never a wrong automatic winner, nothing typed is lost, and a choice is carried out."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from plant3d_sync.model.side import Direction
from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    DAY,
    HOUR,
    Bench,
    at_rest,
    bench,
    both,
    cell,
    description,
    now,
    ok,
    redescribed,
    retagged,
    small_worlds,
    user_describes,
)
from tests.support.world import NAME, MakeWorld, Row, World

MONDAY = datetime(2026, 6, 15, 12, 0, tzinfo=ZoneInfo("America/Toronto")).timestamp()
AUTUMN = datetime(2026, 11, 1, 1, 30, fold=0, tzinfo=ZoneInfo("America/Toronto")).timestamp()
"""01:30 for the first time; an hour later it is 01:30 again."""
SPRING = datetime(2027, 3, 14, 1, 30, tzinfo=ZoneInfo("America/Toronto")).timestamp()
"""Half an hour before 02:00 becomes 03:00."""


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def newest(make_small: MakeWorld) -> World:
    """A pulled project under the default rule."""
    return make_small()


@pytest.fixture
def ask(make_small: MakeWorld) -> World:
    """A pulled project whose conflicts are always asked."""
    world = make_small(conflict={"policy": "ask"})
    world.pulled()
    return world


def one(world: World, number: int = 0) -> int:
    return world.items("equipment")[number].pnpid


def quarrel(world: World, pnpid: int, plant3d: str = "Designer's", synapse: str = "User's") -> Row:
    """Both sides edit the description; the next run finds the conflict."""
    user_describes(world, pnpid, synapse)
    redescribed(world, pnpid, plant3d)
    now(world, code=3)
    (found,) = [item for item in listed(world) if item["plant3d_id"] == world.guid(pnpid)]
    return found


def listed(world: World, *words: str) -> list[Row]:
    items: list[Row] = ok(world.cli("conflicts", NAME, *words))["items"]
    return items


# ---------------------------------------------------------------- newest wins, but only when it is certain


def test_the_later_edit_wins_when_the_earlier_side_was_seen_before_it(newest: World) -> None:
    pnpid = one(newest)
    with bench(newest, at=MONDAY) as at:
        at.run()
        user_describes(newest, pnpid, "User, 12:30", _at=at.clock.iso(HOUR / 2))
        at.clock.at += HOUR
        at.run(Direction.PULL)  # sees SYNAPSE away, Plant 3D at its base
        redescribed(newest, pnpid, "Designer, after 13:00")
        at.clock.at += HOUR
        at.run()
        assert both(newest, pnpid) == ("Designer, after 13:00",) * 2
        at.clock.at += HOUR
        assert at.run().writes == {"synapse": 0, "plant3d": 0}
    lost = newest.rows("SELECT fields FROM change WHERE pnpid = ? AND op = 'update'", pnpid)
    assert json.loads(lost[-1]["fields"])["description"] == [
        "User, 12:30",
        "Designer, after 13:00",
        "plant3d_changed_later",
    ]
    assert newest.conflicts() == []


def test_synapses_later_time_wins_over_an_interval_that_ended_before_it(newest: World) -> None:
    pnpid = one(newest)
    newest.configure(write="off")
    with bench(newest, at=MONDAY) as at:
        at.run()
        redescribed(newest, pnpid, "Designer, before 13:00")
        at.clock.at += HOUR
        at.run(Direction.PUSH)  # a push does not carry Plant 3D's edit away, but sees it
        user_describes(newest, pnpid, "User, 13:30", _at=at.clock.iso(HOUR / 2))
        at.clock.at += HOUR
    newest.configure(write="sql")
    with bench(newest, at=MONDAY + 2 * HOUR) as at:
        at.run()
    assert both(newest, pnpid) == ("User, 13:30",) * 2
    written = newest.rows("SELECT fields FROM change WHERE pnpid = ? AND side = 'plant3d'", pnpid)
    assert json.loads(written[-1]["fields"])["description"] == [
        "Designer, before 13:00",
        "User, 13:30",
        "synapse_changed_later",
    ]


def test_a_value_that_lost_can_be_put_back(newest: World) -> None:
    pnpid = one(newest)
    with bench(newest, at=MONDAY) as at:
        at.run()
        user_describes(newest, pnpid, "Lost words", _at=at.clock.iso(HOUR / 2))
        at.clock.at += HOUR
        at.run(Direction.PULL)
        redescribed(newest, pnpid, "Winner")
        at.clock.at += HOUR
        run = at.run()
    assert description(newest, pnpid) == "Winner"
    plan = ok(newest.cli("undo", str(run.run_id)))
    assert plan["restores"] == 1
    ok(newest.apply(plan["plan_id"]))
    assert both(newest, pnpid) == ("Winner", "Lost words")
    at_rest(newest)


def overlapping(world: World, at: Bench, offset: float, *, wait: float = HOUR) -> tuple[int, str]:
    """Both sides edit between two runs; SYNAPSE's clock dates its edit `offset` seconds after the middle of them."""
    pnpid = one(world)
    at.run()
    redescribed(world, pnpid, "Designer's")
    user_describes(world, pnpid, "User's", _at=at.clock.iso(wait / 2 + offset))
    at.clock.at += wait
    at.run()
    return pnpid, "asked" if world.conflicts() else "decided"


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        *((MONDAY, offset) for offset in (0.0, HOUR, -HOUR, DAY, -DAY)),
        *(
            pytest.param(start, offset, marks=pytest.mark.long)
            for start in (AUTUMN, SPRING)
            for offset in (HOUR, -HOUR)
        ),
    ],
)
def test_whatever_synapses_clock_says_edits_of_the_same_interval_are_asked(
    newest: World, offset: float, start: float
) -> None:
    with bench(newest, at=start, skew=0.0) as at:
        pnpid, outcome = overlapping(newest, at, offset)
    assert outcome == "asked"
    assert both(newest, pnpid) == ("Designer's", "User's"), "nobody won"


@pytest.mark.parametrize("known", [True, False], ids=["skew known", "skew unknown"])
@pytest.mark.parametrize("skew", [HOUR, -HOUR, DAY])
def test_a_shifted_clock_decides_only_when_its_shift_is_known_and_then_rightly(
    newest: World, skew: float, known: bool
) -> None:
    pnpid = one(newest)
    newest.configure(write="off")
    with bench(newest, at=MONDAY, skew=skew if known else None) as at:
        at.run()
        redescribed(newest, pnpid, "Designer, first")
        at.clock.at += HOUR
        at.run(Direction.PUSH)  # the designer's edit is seen, SYNAPSE is at its base
        user_describes(newest, pnpid, "User, second", _at=at.clock.iso(HOUR / 2 + skew))
        at.clock.at += HOUR
        at.run(Direction.BOTH)
    newest.configure(write="sql")
    with bench(newest, at=MONDAY + 3 * HOUR, skew=skew if known else None) as at:
        at.run()
    assert both(newest, pnpid) in (("User, second",) * 2, ("Designer, first", "User, second")), (
        "no wrong winner"
    )


def test_an_hour_that_happens_twice_does_not_change_who_was_later(newest: World) -> None:
    """In autumn the designer saves at 01:45 the first time, the user at 01:35 the second time: fifty minutes later."""
    pnpid = one(newest)
    newest.configure(write="off")
    with bench(newest, at=AUTUMN) as at:
        at.run()
        redescribed(newest, pnpid, "Designer, 01:45 the first time")
        at.clock.at += HOUR / 2
        at.run(Direction.PUSH)
        user_describes(newest, pnpid, "User, 01:35 the second time", _at=at.clock.iso(35 * 60))
        at.clock.at += HOUR
    newest.configure(write="sql")
    with bench(newest, at=AUTUMN + 2 * HOUR) as at:
        at.run()
    assert both(newest, pnpid) == ("User, 01:35 the second time",) * 2


@pytest.mark.parametrize("moved", [-DAY, -HOUR, DAY])
def test_our_own_clock_stepping_between_two_runs_decides_nothing_wrongly(newest: World, moved: float) -> None:
    pnpid = one(newest)
    with bench(newest, at=MONDAY) as at:
        at.run()
        redescribed(newest, pnpid, "Designer's")
        user_describes(newest, pnpid, "User's", _at=at.clock.iso(HOUR / 2))
        at.clock.at += HOUR + moved
        at.run()
    assert both(newest, pnpid) == ("Designer's", "User's") and len(newest.conflicts()) == 1


# ---------------------------------------------------------------- a pending conflict


def test_a_pending_conflict_survives_ten_clean_runs_and_shows_everything_known(ask: World) -> None:
    pnpid = one(ask)
    base = description(ask, pnpid)
    user_describes(ask, pnpid, "User's", _by="user:marie")
    redescribed(ask, pnpid, "Designer's")
    now(ask, code=3)
    (first,) = listed(ask)
    for number in range(10):
        code = (ask.pull("--full") if number % 2 else ask.cli("now", NAME)).code
        assert code == 3
    (found,) = listed(ask)
    assert found == first, "same id, same age, same values"
    assert (found["base_value"], found["plant3d_value"], found["synapse_value"]) == (
        base,
        "Designer's",
        "User's",
    )
    assert found["suggested_resolution"] in ("plant3d", "synapse") and found["suggested_reason"]
    one_document = ok(ask.cli("conflict", found["id"]))
    assert "user:marie" in json.dumps(one_document) and one_document["synapse_updated_at"]
    assert both(ask, pnpid) == ("Designer's", "User's")


@pytest.mark.parametrize("side", ["plant3d", "synapse"])
def test_a_conflict_closes_itself_when_the_sides_agree(ask: World, side: str) -> None:
    pnpid = one(ask)
    found = quarrel(ask, pnpid)
    if side == "plant3d":
        redescribed(ask, pnpid, "User's")
    else:
        user_describes(ask, pnpid, "Designer's")
    report = now(ask)
    assert report["writes"] == {"synapse": 0, "plant3d": 0}
    (closed,) = listed(ask, "--status", "resolved")
    assert closed["id"] == found["id"] and listed(ask) == []
    at_rest(ask)


def test_a_conflict_freezes_only_its_own_field(ask: World) -> None:
    pnpid = one(ask)
    quarrel(ask, pnpid)
    edits.set_value(ask.dcf, pnpid, "Manufacturer", "ACME")
    retagged(ask, pnpid, "P-7777")
    now(ask, code=3)
    asset = ask.asset_of(pnpid)
    assert asset["attributes"]["manufacturer"] == "ACME" and asset["tag"] == "P-7777"
    assert both(ask, pnpid) == ("Designer's", "User's")
    (conflict,) = listed(ask)
    assert conflict["asset_tag"] == "P-7777"


def test_under_the_rule_ask_even_a_certain_order_is_asked_with_the_winner_suggested(
    make_small: MakeWorld,
) -> None:
    world = make_small(conflict={"policy": "ask"})
    pnpid = one(world)
    with bench(world, at=MONDAY) as at:
        at.run()
        user_describes(world, pnpid, "User, first", _at=at.clock.iso(HOUR / 2))
        at.clock.at += HOUR
        at.run(Direction.PULL)
        redescribed(world, pnpid, "Designer, later")
        at.clock.at += HOUR
        at.run()
    (found,) = listed(world)
    assert found["suggested_resolution"] == "plant3d" and both(world, pnpid) == (
        "Designer, later",
        "User, first",
    )


# ---------------------------------------------------------------- a person's choice


@pytest.mark.parametrize(
    ("choice", "words", "value"),
    [
        ("plant3d", (), "Designer's"),
        ("synapse", (), "User's"),
        ("manual", ("--value", "Both of them"), "Both of them"),
    ],
)
def test_a_choice_is_carried_out_on_both_sides_and_kept_with_its_note(
    ask: World, choice: str, words: tuple[str, ...], value: str
) -> None:
    pnpid = one(ask)
    found = quarrel(ask, pnpid)
    answer = ok(ask.cli("resolve", found["id"], choice, *words, "--note", "checked on site"))
    assert answer["status"] == "resolved" and answer["applied_value"] == value
    assert answer["applied_to"] == {"plant3d": "applied", "synapse": "applied"}
    assert both(ask, pnpid) == (value, value)
    document = ok(ask.cli("conflict", found["id"]))
    assert document["status"] == "resolved" and document["resolution"] == choice
    assert "checked on site" in json.dumps(document)
    assert ask.rows("SELECT count(*) AS n FROM audit WHERE body LIKE '%conflict.resolved%'")[0]["n"] == 1
    at_rest(ask)
    assert both(ask, pnpid) == (value, value)


def test_without_permission_to_write_a_choice_waits_and_says_so(make_small: MakeWorld) -> None:
    world = make_small(write="off", conflict={"policy": "ask"})
    world.pulled()
    pnpid = one(world)
    found = quarrel(world, pnpid)
    before = world.fingerprint()
    answer = ok(world.cli("resolve", found["id"], "synapse"))
    assert answer["applied_to"] == {"plant3d": "off", "synapse": "applied"}
    assert world.fingerprint() == before
    world.configure(write="sql", drawings_unseen="closed")
    now(world)
    assert both(world, pnpid) == ("User's", "User's"), "once allowed, the choice is carried out"
    at_rest(world)


@pytest.mark.parametrize("side", ["plant3d", "synapse"])
def test_a_choice_is_void_once_a_side_moves_elsewhere(ask: World, side: str) -> None:
    pnpid = one(ask)
    found = quarrel(ask, pnpid)
    ok(ask.cli("resolve", found["id"], "manual", "--value", "Chosen", "--no-run"))
    if side == "plant3d":
        redescribed(ask, pnpid, "Designer again")
    else:
        user_describes(ask, pnpid, "User again")
    now(ask, code=3)
    (again,) = listed(ask)
    wanted = ("Designer again", "User's") if side == "plant3d" else ("Designer's", "User again")
    assert both(ask, pnpid) == wanted and (again["plant3d_value"], again["synapse_value"]) == wanted
    document = ok(ask.cli("conflict", found["id"]))
    assert (document["carried_out"], bool(document["void_reason"])) == (False, True)
    assert again["id"] != found["id"], "the person is asked again"
    ok(ask.cli("resolve", again["id"], "synapse"))
    assert both(ask, pnpid) == (wanted[1], wanted[1])
    at_rest(ask)


def test_the_second_person_to_decide_gets_the_new_state(ask: World) -> None:
    pnpid = one(ask)
    found = quarrel(ask, pnpid)
    ok(ask.cli("resolve", found["id"], "plant3d"))
    second = ask.cli("resolve", found["id"], "synapse")
    assert second.code == 3 and second.error == "conflict_moved", second.out
    assert second.json["error"]["details"]["current"]["status"] == "resolved"
    assert both(ask, pnpid) == ("Designer's", "Designer's")


def test_many_conflicts_are_decided_at_once_after_a_preview(ask: World) -> None:
    pnpids = [item.pnpid for item in ask.items("equipment")[:3]]
    other = ask.items("valves")[0].pnpid
    for pnpid in (*pnpids, other):
        user_describes(ask, pnpid, f"User's {pnpid}")
        redescribed(ask, pnpid, f"Designer's {pnpid}")
    now(ask, code=3)
    tag = ask.asset_of(other)["tag"]
    before, writes = ask.fingerprint(), ask.writes()
    words = ("resolve", "--all", "synapse", "--project", NAME, "--field", "description")
    preview = ok(ask.cli(*words))
    assert preview["preview"] and preview["total"] == 4 and preview["resolved"] == 0
    assert {item["would_be"] for item in preview["items"]} == {
        f"User's {pnpid}" for pnpid in (*pnpids, other)
    }
    assert (ask.fingerprint(), ask.writes()) == (before, writes) and len(listed(ask)) == 4
    (later,) = ok(ask.cli(*words, "--tag", tag, "--yes", "--no-run"))["items"]
    assert later["applied_to"] == {"plant3d": "waiting", "synapse": "applied"}
    assert ask.fingerprint() == before
    now(ask, code=3)
    assert both(ask, other) == (f"User's {other}",) * 2 and len(listed(ask)) == 3
    decided = ok(ask.cli(*words, "--yes"))
    assert decided["resolved"] == 3 and decided["left"] == []
    for item in decided["items"]:
        assert (item["status"], item["applied_value"]) == ("resolved", item["synapse_value"])
        assert item["applied_to"] == {"plant3d": "applied", "synapse": "applied"}
    for pnpid in pnpids:
        assert both(ask, pnpid) == (f"User's {pnpid}",) * 2
    at_rest(ask)


@pytest.mark.parametrize(
    "words", [("nobody",), ("manual",), ("plant3d", "synapse")], ids=["word", "no value", "two choices"]
)
def test_a_choice_that_makes_no_sense_decides_nothing(ask: World, words: tuple[str, ...]) -> None:
    found = quarrel(ask, one(ask))
    assert ask.cli("resolve", found["id"], *words).code not in (0, 1)
    assert listed(ask) == [found]


# ---------------------------------------------------------------- delete on one side, edit on the other


def deleted_in_plant3d(world: World) -> tuple[int, str, Row]:
    """An item is deleted in Plant 3D while its asset was edited in SYNAPSE, until the conflict shows."""
    pnpid = one(world)
    guid = world.guid(pnpid)
    user_describes(world, pnpid, "Edited meanwhile")
    edits.delete_item(world.dcf, pnpid)
    for number in range(3):
        edits.set_value(world.dcf, one(world, 1), "Manufacturer", f"Save {number}")
        world.cli("now", NAME)
    (found,) = [item for item in listed(world) if item["plant3d_id"] == guid]
    return pnpid, guid, found


@pytest.fixture
def archiving(make_small: MakeWorld) -> World:
    """A pulled project that archives what is gone by itself."""
    world = make_small(missing={"reads": 1, "minutes": 0, "policy": "archive"})
    world.pulled()
    return world


def asset_with(world: World, guid: str) -> Row:
    (found,) = [asset for asset in world.assets() if asset["plant3d_id"] == guid]
    return found


@pytest.mark.parametrize(("choice", "archived"), [("plant3d", True), ("synapse", False)])
def test_deleted_in_plant_3d_and_edited_in_synapse_is_asked(
    archiving: World, choice: str, archived: bool
) -> None:
    _pnpid, guid, found = deleted_in_plant3d(archiving)
    assert found["field"] == "*" and found["kind"] == "gone_from_plant3d"
    assert asset_with(archiving, guid)["deleted_at"] is None, "not archived while it is asked"
    ok(archiving.cli("resolve", found["id"], choice))
    assert (asset_with(archiving, guid)["deleted_at"] is not None) == archived
    assert asset_with(archiving, guid)["description"] == "Edited meanwhile"
    at_rest(archiving)
    assert listed(archiving) == []
    assert (asset_with(archiving, guid)["deleted_at"] is not None) == archived


@pytest.mark.parametrize(("choice", "archived"), [("plant3d", False), ("synapse", True)])
def test_archived_in_synapse_and_edited_in_plant_3d_is_asked(ask: World, choice: str, archived: bool) -> None:
    pnpid = one(ask)
    ask.user_edits(ask.asset_of(pnpid)["id"], deleted_at=True)
    redescribed(ask, pnpid, "Edited meanwhile")
    now(ask, code=3)
    (found,) = listed(ask)
    assert found["field"] == "*" and found["kind"] == "archived_in_synapse"
    assert ask.asset_of(pnpid)["deleted_at"] is not None
    ok(ask.cli("resolve", found["id"], choice))
    asset = ask.asset_of(pnpid)
    assert (asset["deleted_at"] is not None) == archived
    assert cell(ask, pnpid) == "Edited meanwhile"
    if not archived:
        assert asset["description"] == "Edited meanwhile"
    at_rest(ask)
    assert listed(ask) == []


def test_a_choice_to_restore_that_was_killed_before_it_was_sent_is_carried_out_by_the_next_run(
    ask: World,
) -> None:
    pnpid = one(ask)
    ask.user_edits(ask.asset_of(pnpid)["id"], deleted_at=True, description="Edited meanwhile")
    redescribed(ask, pnpid, "Edited meanwhile")
    now(ask, code=3)
    (found,) = listed(ask)
    ok(ask.cli("resolve", found["id"], "plant3d", "--no-run"))
    killed = ask.apart("pull", NAME, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": "pull.intent_stored:1"})
    assert killed.code == -9 and ask.asset_of(pnpid)["deleted_at"] is not None
    ask.pulled()
    assert ask.asset_of(pnpid)["deleted_at"] is None
    assert ask.asset_of(pnpid)["description"] == "Edited meanwhile"
    assert [row["outcome"] for row in ask.rows("SELECT outcome FROM change WHERE op = 'restore'")] == [
        "updated"
    ]
    at_rest(ask)


# ---------------------------------------------------------------- ping-pong


def test_a_field_that_flips_between_two_values_is_frozen_and_explained_until_somebody_decides(
    newest: World,
) -> None:
    """A program in SYNAPSE rewrites a field that Plant 3D owns, after each of our writes."""
    pnpid = one(newest)
    edits.set_value(newest.dcf, pnpid, "Manufacturer", "Ours")
    newest.pulled()
    asset = newest.asset_of(pnpid)
    writes = 0
    for _round in range(12):
        newest.user_edits(asset["id"], attributes=asset["attributes"] | {"manufacturer": "Theirs"})
        said = newest.cli("now", NAME)
        if said.code == 3:
            break
        writes += ok(said)["writes"]["synapse"]
    assert 1 < writes <= 6, writes
    (found,) = listed(newest)
    assert found["kind"] == "flip_flop"
    assert (found["plant3d_value"], found["synapse_value"]) == ("Ours", "Theirs")
    assert "frozen" in found["explanation"]
    before = newest.fingerprint(), newest.writes()
    for _ in range(3):
        now(newest, code=3)
    assert (newest.fingerprint(), newest.writes()) == before
    ok(newest.cli("resolve", found["id"], "plant3d"))
    assert newest.asset_of(pnpid)["attributes"]["manufacturer"] == "Ours"
    at_rest(newest)
    edits.set_value(newest.dcf, pnpid, "Manufacturer", "After the decision")
    now(newest)
    assert newest.asset_of(pnpid)["attributes"]["manufacturer"] == "After the decision", "not frozen any more"


def test_a_third_program_that_keeps_putting_its_value_back_is_stopped_after_a_few_writes(
    newest: World,
) -> None:
    """It rewrites Plant 3D after each push; the user in SYNAPSE insists."""
    newest.pulled()
    pnpid = one(newest)
    writes = 0
    for _ in range(4):
        user_describes(newest, pnpid, "Ours")
        writes += now_any(newest)["plant3d"]
        redescribed(newest, pnpid, "Theirs")
        now_any(newest)
    assert writes <= 2, f"{writes} writes into Plant 3D"
    assert [item["kind"] for item in listed(newest)] == ["reverted"]


# ---------------------------------------------------------------- an open session saves its old copy over our write


def put_back(world: World, pnpid: int, typed: str = "Typed by a user") -> str | None:
    """A push, and a session that was open meanwhile saves what it still holds. Answers that old value."""
    stale = cell(world, pnpid)
    user_describes(world, pnpid, typed)
    assert now(world)["writes"] == {"synapse": 0, "plant3d": 1}
    redescribed(world, pnpid, stale)
    return stale


def stays_asked(world: World, kind: str = "reverted") -> Row:
    """Runs in all directions write nothing, and the one open question is of this kind."""
    before, known = (world.fingerprint(), world.writes()), [item["id"] for item in listed(world)]
    for words in (("pull", NAME, "--full"), ("push", NAME), ("now", NAME)):
        assert ok(world.cli(*words), 3)["writes"] == {"synapse": 0, "plant3d": 0}
    assert (world.fingerprint(), world.writes()) == before
    (found,) = listed(world)
    assert found["kind"] == kind
    assert known in ([], [found["id"]]), "asked once, with one id"
    return found


@pytest.mark.parametrize("policy", ["newest", "ask"])
@pytest.mark.parametrize("number", [0, 1], ids=["over an empty cell", "over a text"])
def test_a_stale_plant_3d_session_that_puts_the_old_value_back_loses_no_word(
    make_small: MakeWorld, policy: str, number: int
) -> None:
    """The old value is not taken for a designer's edit: it reaches nobody before a person has chosen."""
    world = make_small(conflict={"policy": policy})
    world.pulled()
    pnpid = one(world, number)
    stale = put_back(world, pnpid)
    found = stays_asked(world)
    assert both(world, pnpid) == (stale, "Typed by a user")
    assert (found["plant3d_value"], found["synapse_value"]) == (
        stale if number else None,
        "Typed by a user",
    )
    assert found["base_value"] == "Typed by a user"
    assert (found["suggested_resolution"], found["suggested_reason"]) == (
        "synapse",
        "put_back_after_our_write",
    )
    assert "session" in found["explanation"]


@pytest.mark.parametrize(
    ("choice", "words"), [("plant3d", ()), ("synapse", ()), ("manual", ("--value", "Peace"))]
)
def test_a_value_that_was_put_back_is_decided_by_a_person_and_then_quiet(
    newest: World, choice: str, words: tuple[str, ...]
) -> None:
    newest.pulled()
    pnpid = one(newest, 1)
    stale = put_back(newest, pnpid)
    found = ok(newest.cli("now", NAME), 3) and listed(newest)[0]
    value = ok(newest.cli("resolve", found["id"], choice, *words))["applied_value"]
    assert value == {"plant3d": stale, "synapse": "Typed by a user", "manual": "Peace"}[choice]
    assert both(newest, pnpid) == (value, value)
    at_rest(newest)
    assert listed(newest) == []
    user_describes(newest, pnpid, "After the decision")
    now(newest)
    redescribed(newest, pnpid, "A designer goes on")
    now(newest)
    assert both(newest, pnpid) == ("A designer goes on",) * 2, "edits travel again, both ways"


def test_a_designer_who_types_something_new_answers_the_question_himself(newest: World) -> None:
    newest.pulled()
    pnpid = one(newest, 1)
    put_back(newest, pnpid)
    now(newest, code=3)
    redescribed(newest, pnpid, "New words")
    now(newest)
    assert both(newest, pnpid) == ("New words",) * 2
    assert listed(newest) == []
    at_rest(newest)
    lost = newest.rows("SELECT fields FROM change WHERE pnpid = ? ORDER BY id", pnpid)
    assert json.loads(lost[-1]["fields"])["description"][:2] == ["Typed by a user", "New words"]


def test_a_field_put_back_twice_is_frozen_whatever_is_typed_until_somebody_decides(newest: World) -> None:
    newest.pulled()
    pnpid = one(newest, 1)
    stale = put_back(newest, pnpid)
    now(newest, code=3)
    ok(newest.cli("resolve", listed(newest)[0]["id"], "synapse"))
    assert both(newest, pnpid) == ("Typed by a user",) * 2
    redescribed(newest, pnpid, stale)
    stays_asked(newest)
    user_describes(newest, pnpid, "Typed again")
    stays_asked(newest)
    redescribed(newest, pnpid, "New words")
    found = stays_asked(newest)
    assert both(newest, pnpid) == ("New words", "Typed again")
    assert found["suggested_reason"] == "frozen_after_put_back"
    ok(newest.cli("resolve", found["id"], "manual", "--value", "Peace"))
    assert both(newest, pnpid) == ("Peace",) * 2
    at_rest(newest)
    user_describes(newest, pnpid, "After the decision")
    now(newest)
    assert both(newest, pnpid) == ("After the decision",) * 2, "not frozen any more"


def test_a_user_who_takes_his_own_words_back_is_no_open_session(newest: World) -> None:
    newest.pulled()
    pnpid = one(newest, 1)
    old = description(newest, pnpid)
    user_describes(newest, pnpid, "Typed by a user")
    now(newest)
    user_describes(newest, pnpid, old)
    assert now(newest)["writes"] == {"synapse": 0, "plant3d": 1}
    assert both(newest, pnpid) == (old, old)
    redescribed(newest, pnpid, "A designer's edit")
    now(newest)
    redescribed(newest, pnpid, old)
    now(newest)
    assert both(newest, pnpid) == (old, old), "a designer takes his own words back: SYNAPSE was written last"
    at_rest(newest)


def now_any(world: World) -> dict[str, int]:
    said = world.cli("now", NAME)
    assert said.code in (0, 3), said.out
    writes: dict[str, int] = said.json["writes"]
    return writes
