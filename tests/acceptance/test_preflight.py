"""No command is a door around the checks: the same questions before every command that links or writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import both, kept, now, ok, planned, redescribed, small_worlds, user_describes
from tests.support.world import NAME, MakeWorld, World


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def settled(make_small: MakeWorld) -> World:
    """A pulled project."""
    world = make_small()
    world.pulled()
    return world


def older_copy_put_back(world: World, pnpid: int) -> None:
    """The database of before a designer's edit that was synchronised is put back."""
    before = kept(world)
    redescribed(world, pnpid, "Designer's newer words")
    now(world)
    shutil.copyfile(before, world.dcf)


def with_a_copy(world: World, name: str = "copy") -> None:
    """A second project of the configuration brings a copy of the database to the same SYNAPSE project."""
    copy = world.folder / "copy.dcf"
    shutil.copyfile(world.dcf, copy)
    file = yaml.safe_load(world.config.read_text())
    file["projects"][name] = file["projects"][NAME] | {"source": copy.name}
    world.config.write_text(yaml.safe_dump(file))


def test_applying_a_plan_does_not_accept_an_older_copy_of_the_database(settled: World) -> None:
    pnpid = settled.items("equipment")[1].pnpid
    plan = planned(settled)
    older_copy_put_back(settled, pnpid)
    assert now(settled, code=5)["guards"]
    said = settled.apply(plan["plan_id"])
    assert said.code == 3 and said.error == "plan_superseded", said.out
    assert now(settled, code=5)["guards"], "the guard is as watchful as before"
    assert both(settled, pnpid)[1] == "Designer's newer words"


def test_an_older_copy_is_accepted_by_approving_the_guard_of_its_own_plan(settled: World) -> None:
    pnpid = settled.items("equipment")[1].pnpid
    older_copy_put_back(settled, pnpid)
    plan = planned(settled, code=5)
    assert settled.apply(plan["plan_id"], "--approve-guards").code in (0, 3)
    report = now(settled, code=3)
    assert not report["guards"]
    assert [one["kind"] for one in settled.conflicts()] == ["older_copy"], (
        "each older value is still a question"
    )


def test_an_undo_is_not_applied_to_an_older_copy(settled: World) -> None:
    pnpid = settled.items("equipment")[1].pnpid
    user_describes(settled, pnpid, "User's words")
    run = now(settled)
    before = kept(settled)
    redescribed(settled, pnpid, "Designer's")
    now(settled)
    undo = ok(settled.cli("undo", run["run_id"]))
    shutil.copyfile(before, settled.dcf)
    fingerprint = settled.fingerprint()
    assert settled.apply(undo["plan_id"]).code == 5
    assert settled.fingerprint() == fingerprint


@pytest.mark.parametrize("command", [("now",), ("pull",), ("push",), ("plan",), ("links", "accept")])
def test_a_copy_of_the_database_is_not_brought_to_the_same_synapse_project(
    settled: World, command: tuple[str, ...]
) -> None:
    pnpid = settled.items("equipment")[1].pnpid
    with_a_copy(settled)
    edits.set_value(settled.folder / "copy.dcf", pnpid, "Description", "Words of the copy")
    assets, links = settled.assets(), settled.rows("SELECT * FROM link")
    said = settled.cli(*command, "copy")
    assert (said.code, said.error) == (78, "source_shared"), said.out
    assert settled.assets() == assets
    assert settled.rows("SELECT * FROM link") == links
    assert now(settled)["writes"] == {"synapse": 0, "plant3d": 0}, "the first project goes on"


def test_a_project_that_was_renamed_in_the_configuration_goes_on(settled: World) -> None:
    settled.config.write_text(settled.config.read_text().replace(f"{NAME}:", "renamed:"))
    report = ok(settled.cli("now", "renamed"))
    assert report["stats"]["created"] == 0 and report["writes"] == {"synapse": 0, "plant3d": 0}


@pytest.mark.parametrize("words", [("propose",), ("accept",)])
def test_links_are_not_made_in_another_synapse_project(
    settled: World, reference_synapse: RunningSynapse, words: tuple[str, ...]
) -> None:
    mine, other = settled.uuid, reference_synapse.new_project(None)
    item = settled.items("equipment")[1]
    settled.uuid = other
    settled.user_adds(tag=item.tag, asset_type="Equipment", description="Of the other plant")
    settled.configure()
    assert settled.cli("now", NAME).code == 78
    said = settled.cli("links", *words, NAME)
    assert (said.code, said.error) == (78, "synapse_project_changed"), said.out
    assert [asset["plant3d_id"] for asset in settled.assets()] == [None]
    settled.uuid = mine
    settled.configure()
    assert now(settled)["writes"] == {"synapse": 0, "plant3d": 0}


def test_links_are_not_made_from_an_older_copy(settled: World) -> None:
    older_copy_put_back(settled, settled.items("equipment")[1].pnpid)
    assert settled.cli("links", "accept", NAME).code == 5


def test_a_linked_item_in_another_row_is_followed_as_the_hint_says(settled: World) -> None:
    pnpid = settled.items("equipment")[1].pnpid
    link = settled.link_of(pnpid)
    for table in ("PnPBase", "EngineeringItems", "Equipment", "CentrifugalPump", "Pump"):
        for (found,) in settled.sql("SELECT name FROM sqlite_master WHERE name = ?", table):
            settled.change(f"UPDATE [{found}] SET PnPID = 90001 WHERE PnPID = ?", pnpid)
    settled.change("UPDATE PnPDataLinks SET RowId = 90001 WHERE RowId = ?", pnpid)
    redescribed(settled, 90001, "Words in the new row")
    report = now(settled, code=3)
    assert [error["code"] for error in report["errors"]] == ["identity_mismatch"]
    proposed = ok(settled.cli("links", "propose", NAME))
    assert [(row["linked_pnpid"], row["pnpid"]) for row in proposed["moved_rows"]] == [(pnpid, 90001)]
    accepted = ok(settled.cli("links", "accept", NAME))
    assert (accepted["linked"], accepted["moved_rows"]) == (0, 1)
    assert now(settled)["errors"] == []
    assert settled.link_of(90001)["id"] == link["id"]
    assert both(settled, 90001) == ("Words in the new row",) * 2
