"""Every write says which rule decided it."""

from __future__ import annotations

from pathlib import Path

import pytest

from plant3d_sync.cli import render
from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import now, ok, redescribed, small_worlds, undone, user_describes
from tests.support.world import MakeWorld, Row, World


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


def written(world: World, run_id: str) -> dict[tuple[int, str, str], dict[str, str]]:
    """(PnPID, side, operation) -> field -> rule of everything a run wrote."""
    document = ok(world.cli("show", run_id, "--changes"))
    assert document["changes_total"] == len(document["changes"])
    return {(one["pnpid"], one["side"], one["op"]): one["why"] for one in document["changes"]}


def test_each_field_of_a_change_names_the_rule_that_decided(make_small: MakeWorld) -> None:
    world = make_small(
        conflict={"policy": "ask"},
        drift={"attributes.area": "restore"},
        missing={"reads": 1, "minutes": 0, "policy": "archive"},
    )
    first = world.pulled()
    assert set(map(str, written(world, first["run_id"]).values())) == {"{'*': 'new_item'}"}
    designer, user, drifted, asked, gone = (item.pnpid for item in world.items("equipment")[:5])
    redescribed(world, designer, "From the designer")
    user_describes(world, user, "From a user")
    world.user_edits(world.asset_of(drifted)["id"], attributes={"area": "999"})
    user_describes(world, asked, "User's")
    redescribed(world, asked, "Designer's")
    edits.delete_item(world.dcf, gone)
    run = now(world, code=3)
    along = {"attributes.plant3d_updated_at": "information"}
    assert written(world, run["run_id"]) == {
        (designer, "synapse", "update"): {"description": "plant3d_changed"} | along,
        (user, "plant3d", "push"): {"description": "synapse_changed"},
        (drifted, "synapse", "update"): {"attributes.area": "drift_restored"},
        (gone, "synapse", "archive"): {"*": "missing_confirmed"},
    }
    (conflict,) = world.conflicts()
    ok(world.cli("resolve", conflict["id"], "plant3d"))
    latest = ok(world.cli("runs", "mine", "--limit", "1"))["items"][0]["run_id"]
    assert written(world, latest) == {(asked, "synapse", "update"): {"description": "resolved"} | along}
    report = ok(world.apply(undone(world, run["run_id"])["plan_id"]))
    why = written(world, report["run_id"])
    assert why[designer, "synapse", "update"] == {"description": "undo"} | along
    assert why[user, "plant3d", "undo"] == {"description": "undo"}


def test_the_changes_of_a_run_are_shown_to_people_too(
    make_small: MakeWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_small()
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    redescribed(world, pnpid, "From the [b]designer")
    document: Row = ok(world.cli("show", world.pulled()["run_id"], "--changes"))
    render.run(document, ())
    said = capsys.readouterr().out
    assert "'From the [b]designer' · plant3d_changed" in said
    assert "changes" not in ok(world.cli("show", document["run_id"]))
