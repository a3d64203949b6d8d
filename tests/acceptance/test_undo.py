"""Undo: what a run wrote goes back, what was edited since stays and is listed, and later runs leave it so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    at_rest,
    both,
    cell,
    changed_cells,
    description,
    kept,
    now,
    ok,
    push,
    redescribed,
    retagged,
    small_worlds,
    undone,
    user_describes,
    values_only,
)
from tests.support.world import MakeWorld, Row, World


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def ready(make_small: MakeWorld) -> World:
    """A pulled project that may be written to."""
    world = make_small()
    world.pulled()
    return world


def items(world: World, count: int) -> list[int]:
    return [item.pnpid for item in world.items("equipment")[:count]]


def shown(world: World) -> dict[str, tuple[str, str | None, bool]]:
    """SYNAPSE's side without versions and times."""
    return {
        asset["plant3d_id"]: (
            asset["tag"],
            asset["description"],
            asset["deleted_at"] is not None,
            asset["attributes"],
        )  # type: ignore[misc]
        for asset in world.assets()
    }


def test_undoing_a_run_of_both_directions_puts_back_all_but_what_was_edited_since(ready: World) -> None:
    up = items(ready, 4)
    down = [item.pnpid for item in ready.items("valves")[:4]]
    before, assets = kept(ready), shown(ready)
    for pnpid in up:
        user_describes(ready, pnpid, f"Up {pnpid}")
    for pnpid in down:
        redescribed(ready, pnpid, f"Down {pnpid}")
    run = now(ready)
    assert run["writes"] == {"synapse": 4, "plant3d": 4}
    redescribed(ready, up[0], "The designer went on")
    user_describes(ready, up[1], "The user went on")
    user_describes(ready, down[0], "Edited in SYNAPSE since")
    now(ready)
    middle = ready.fingerprint(), ready.writes()
    plan = undone(ready, run["run_id"])
    assert (ready.fingerprint(), ready.writes()) == middle, "a plan writes nothing"
    left = {(entry["pnpid"], entry["field"]): entry for entry in plan["left_alone"]}
    assert set(left) == {(up[0], "description"), (up[1], "description"), (down[0], "description")}
    assert all(entry["reason"] == "edited since" for entry in left.values())
    assert plan["restores"] == 5
    report = ok(ready.apply(plan["plan_id"]))
    assert report["writes"] == {"synapse": 3, "plant3d": 2}
    for pnpid in up[2:]:
        assert cell(ready, pnpid) == before_cell(before, pnpid)
        assert description(ready, pnpid) == f"Up {pnpid}", "the user's words stay where he typed them"
    for pnpid in down[1:]:
        assert description(ready, pnpid) == assets[ready.guid(pnpid)][1]
        assert cell(ready, pnpid) == f"Down {pnpid}", "the designer's words stay where he typed them"
    assert both(ready, up[0]) == ("The designer went on", "The designer went on")
    assert both(ready, up[1]) == ("The user went on", "The user went on")
    assert both(ready, down[0]) == ("Edited in SYNAPSE since", "Edited in SYNAPSE since")
    untouched = {
        guid: state
        for guid, state in shown(ready).items()
        if guid not in {ready.guid(p) for p in (*up, down[0])}
    }
    assert untouched == {guid: assets[guid] for guid in untouched}
    touched = {key[1] for key in values_only(changed_cells(before, ready.dcf))}
    assert touched == {up[0], up[1], *down}
    at_rest(ready)


def before_cell(path: object, pnpid: int) -> str | None:
    import sqlite3

    connection = sqlite3.connect(str(path))
    try:
        row = connection.execute(
            "SELECT Description FROM EngineeringItems WHERE PnPID = ?", (pnpid,)
        ).fetchone()
    finally:
        connection.close()
    value: str | None = row[0]
    return value


def test_an_undone_push_is_held_until_somebody_types_in_synapse_again(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    old = cell(ready, pnpid)
    user_describes(ready, pnpid, "Unwanted")
    run = push(ready)
    ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert both(ready, pnpid) == (old, "Unwanted")
    at_rest(ready)
    ready.user_edits(ready.asset_of(pnpid)["id"], notes="another field")
    at_rest(ready)
    assert both(ready, pnpid) == (old, "Unwanted"), "held"
    user_describes(ready, pnpid, "Better")
    now(ready)
    assert both(ready, pnpid) == ("Better", "Better")
    at_rest(ready)


def test_an_undone_pull_is_held_until_somebody_types_in_plant_3d_again(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    old = description(ready, pnpid)
    redescribed(ready, pnpid, "Unwanted")
    run = ready.pulled()
    ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert both(ready, pnpid) == ("Unwanted", old)
    at_rest(ready)
    assert both(ready, pnpid) == ("Unwanted", old)
    redescribed(ready, pnpid, "Better")
    now(ready)
    assert both(ready, pnpid) == ("Better", "Better")
    at_rest(ready)


def test_an_undone_rename_is_held_until_the_tag_changes_again(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    old = ready.asset_of(pnpid)["tag"]
    retagged(ready, pnpid, "P-7777")
    run = ready.pulled()
    ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert ready.asset_of(pnpid)["tag"] == old
    at_rest(ready)
    assert ready.asset_of(pnpid)["tag"] == old
    retagged(ready, pnpid, "P-7778")
    now(ready)
    assert ready.asset_of(pnpid)["tag"] == "P-7778"
    at_rest(ready)


def test_an_undone_creation_is_archived_and_stays_so(ready: World) -> None:
    added = edits.add_item(ready.dcf, "GateValve", {"Tag": "HV-9002"})
    run = ready.pulled()
    assert ready.asset_of(added)["deleted_at"] is None
    ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert ready.asset_of(added)["deleted_at"] is not None
    edits.set_value(ready.dcf, added, "Description", "It lives on in Plant 3D")
    for _ in range(2):
        now_or_pull = ready.pull("--full")
        assert now_or_pull.code in (0, 3)
        assert now_or_pull.json["writes"] == {"synapse": 0, "plant3d": 0}
    assert ready.asset_of(added)["deleted_at"] is not None


def test_a_created_asset_that_somebody_edited_since_is_left_alone(ready: World) -> None:
    added = edits.add_item(ready.dcf, "GateValve", {"Tag": "HV-9002"})
    run = ready.pulled()
    ready.user_edits(ready.asset_of(added)["id"], notes="mine now")
    ready.pulled()
    plan = undone(ready, run["run_id"])
    assert [(entry["pnpid"], entry["reason"]) for entry in plan["left_alone"]] == [(added, "edited since")]
    assert plan["restores"] == 0


def test_an_edit_between_undo_and_apply_is_not_overwritten(ready: World) -> None:
    pushed, pulled = items(ready, 2)
    user_describes(ready, pushed, "Up")
    redescribed(ready, pulled, "Down")
    run = now(ready)
    plan = undone(ready, run["run_id"])
    redescribed(ready, pushed, "Designer, just now")
    user_describes(ready, pulled, "User, just now")
    report = ok(ready.apply(plan["plan_id"]), 3)
    assert report["writes"] == {"synapse": 0, "plant3d": 0}
    assert {error["pnpid"] for error in report["errors"]} == {pushed, pulled}
    assert cell(ready, pushed) == "Designer, just now" and description(ready, pulled) == "User, just now"


def test_one_change_of_a_run_can_be_undone_alone(ready: World) -> None:
    first, second = items(ready, 2)
    old = cell(ready, first)
    for pnpid in (first, second):
        user_describes(ready, pnpid, f"Up {pnpid}")
    run = push(ready)
    (change,) = ready.rows("SELECT id FROM change WHERE run_id = ? AND pnpid = ?", run["run_id"], first)
    plan = undone(ready, run["run_id"], "--change", str(change["id"]))
    assert plan["restores"] == 1
    ok(ready.apply(plan["plan_id"]))
    assert cell(ready, first) == old and cell(ready, second) == f"Up {second}"
    at_rest(ready)


@pytest.mark.parametrize("entity", ["equipment", "lines"])
@pytest.mark.parametrize("side", ["push", "pull"])
def test_an_undo_can_be_undone(ready: World, side: str, entity: str) -> None:
    """The first equipment item of the sample holds its class default, which reads as empty; the line does not."""
    pnpid = ready.items(entity)[0].pnpid
    plant3d, synapse = both(ready, pnpid)
    if side == "push":
        user_describes(ready, pnpid, "New")
    else:
        redescribed(ready, pnpid, "New")
    run = now(ready)
    undo = ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert both(ready, pnpid) == ((plant3d, "New") if side == "push" else ("New", synapse))
    again = ok(ready.apply(undone(ready, undo["run_id"])["plan_id"]))
    assert again["writes"]["plant3d"] + again["writes"]["synapse"] == 1
    assert both(ready, pnpid) == ("New", "New")
    at_rest(ready)
    user_describes(ready, pnpid, "Free again")
    now(ready)
    assert both(ready, pnpid) == ("Free again", "Free again"), "nothing is held any more"


def test_an_undo_cannot_be_done_twice(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    user_describes(ready, pnpid, "New")
    run = push(ready)
    first, second = undone(ready, run["run_id"])["plan_id"], undone(ready, run["run_id"])["plan_id"]
    ok(ready.apply(first))
    before = ready.fingerprint()
    assert ready.apply(first).error == "plan_applied"
    said = ready.apply(second)
    assert ready.fingerprint() == before, said.out
    assert undone(ready, run["run_id"])["restores"] == 0, "nothing of it stands any more"


def test_an_undo_after_writing_was_switched_off_is_planned_and_waits(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    user_describes(ready, pnpid, "New")
    run = push(ready)
    ready.configure(write="off")
    before = ready.fingerprint()
    plan = undone(ready, run["run_id"])
    said = ready.apply(plan["plan_id"])
    assert ready.fingerprint() == before and said.code != 1, said.out


def test_undoing_a_push_gives_back_an_empty_cell(ready: World) -> None:
    (pnpid,) = items(ready, 1)
    redescribed(ready, pnpid, None)
    ready.pulled()
    old = cell(ready, pnpid)
    user_describes(ready, pnpid, "Filled")
    run = push(ready)
    ok(ready.apply(undone(ready, run["run_id"])["plan_id"]))
    assert cell(ready, pnpid) in (None, "") and old in (None, "")
    at_rest(ready)


def test_undo_of_an_unknown_run_or_change_is_refused(ready: World) -> None:
    assert ready.cli("undo", "nonsense").code == 2 or ready.cli("undo", "nonsense").code == 5
    (run,) = ready.rows("SELECT id FROM run LIMIT 1")
    assert ready.cli("undo", run["id"], "--change", "999999").code != 0


# ---------------------------------------------------------------- an asset that was archived


@pytest.fixture
def archiving(make_small: MakeWorld) -> World:
    """A pulled project that archives what is gone by itself, at the first read without it."""
    world = make_small(missing={"reads": 1, "minutes": 0, "policy": "archive"})
    world.pulled()
    return world


def vanished(world: World, pnpid: int) -> Row:
    """The run that archived the item's asset."""
    guid = world.guid(pnpid)
    edits.delete_item(world.dcf, pnpid)
    run = world.pulled()
    assert run["stats"]["archived"] == 1 and shown(world)[guid][2]
    return run


def come_back(world: World, before: Path) -> None:
    """As if the designer had undone his deletion: the rows are there again, the counters go on."""
    shutil.copyfile(before, world.dcf)
    world.change("UPDATE PnPSys_PnPBase_PnPID SET cnt = cnt + 100")
    for _ in range(20):
        world.change("UPDATE PnPSys_PnPBase_PnPID SET cnt = cnt")


def test_undoing_an_archive_brings_the_asset_back_and_it_stays(archiving: World) -> None:
    gone, other = items(archiving, 2)
    guid = archiving.guid(gone)
    archiving.user_edits(archiving.asset_of(gone)["id"], notes="mine", description="The user's words")
    now(archiving)
    before = shown(archiving)
    run = vanished(archiving, gone)
    plan = undone(archiving, run["run_id"])
    assert plan["restores"] == 1 and plan["left_alone"] == []
    report = ok(archiving.apply(plan["plan_id"]))
    assert report["writes"] == {"synapse": 1, "plant3d": 0} and report["errors"] == []
    assert shown(archiving) == before, "with everything it held"
    for number in range(3):
        redescribed(archiving, other, f"Another save {number}")
        later = archiving.pulled("--full")
        assert later["stats"]["archived"] == 0 and later["writes"]["synapse"] == 1
        assert later["stats"]["missing"] == 1, "it is said, not acted on"
    assert shown(archiving)[guid] == before[guid]
    assert archiving.pulled()["writes"] == {"synapse": 0, "plant3d": 0}
    assert undone(archiving, run["run_id"])["restores"] == 0, "it lives, nothing is left to put back"


def test_an_item_that_comes_back_after_an_undone_archive_is_archived_when_it_vanishes_anew(
    archiving: World,
) -> None:
    (gone,) = items(archiving, 1)
    guid = archiving.guid(gone)
    with_it = kept(archiving)
    run = vanished(archiving, gone)
    ok(archiving.apply(undone(archiving, run["run_id"])["plan_id"]))
    archiving.pulled()
    come_back(archiving, with_it)
    at_rest(archiving)
    assert not shown(archiving)[guid][2]
    vanished(archiving, gone)


def test_the_undo_of_an_archive_can_be_undone(archiving: World) -> None:
    (gone,) = items(archiving, 1)
    guid = archiving.guid(gone)
    run = vanished(archiving, gone)
    undo = ok(archiving.apply(undone(archiving, run["run_id"])["plan_id"]))
    again = ok(archiving.apply(undone(archiving, undo["run_id"])["plan_id"]))
    assert again["writes"] == {"synapse": 1, "plant3d": 0}
    assert shown(archiving)[guid][2]
    at_rest(archiving)


def test_an_undo_of_fields_leaves_an_asset_that_was_archived_since_alone(archiving: World) -> None:
    (gone,) = items(archiving, 1)
    redescribed(archiving, gone, "Unwanted")
    run = archiving.pulled()
    vanished(archiving, gone)
    plan = undone(archiving, run["run_id"])
    assert plan["restores"] == 0
    assert [entry["reason"] for entry in plan["left_alone"]] == ["archived since"]


def test_an_asset_that_a_person_restored_meanwhile_is_not_restored_by_an_undo(archiving: World) -> None:
    (gone,) = items(archiving, 1)
    asset = archiving.asset_of(gone)["id"]
    run = vanished(archiving, gone)
    plan = undone(archiving, run["run_id"])
    archiving.user_edits(asset, deleted_at=None)
    report = ok(archiving.apply(plan["plan_id"]), 3)
    assert [error["code"] for error in report["errors"]] == ["stale"]
    assert report["writes"] == {"synapse": 0, "plant3d": 0}
