"""A pull seen from outside: what designers and SYNAPSE users do, and what the command line then says and writes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.sample import edits
from tests.support import invariants
from tests.support.both_ways import without_times
from tests.support.world import MakeWorld, Recorder, World, recorded

ITEMS = 80
"""Items of a world unless a test asks for another number."""


SAVED = "plant3d_updated_at"
"""Attribute that says when the row was saved last in Plant 3D; it goes along with every update."""


def batches_of(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """plant3d_id -> what was sent for it, all batches together."""
    return {
        item["plant3d_id"]: item.get("set") or {"op": item["op"]}
        for batch in recorder.batches
        for item in batch["items"]
    }


# ---------------------------------------------------------------- first pull, second pull


def test_the_first_pull_creates_every_tagged_item_and_the_second_writes_nothing(world: World) -> None:
    before = world.fingerprint()
    with recorded(world) as recorder:
        report = world.pulled()
    counted = {entity: len(world.items(entity)) for entity in ("equipment", "instruments", "lines", "valves")}
    assert {name: stats["created"] for name, stats in report["by_entity"].items()} == counted
    assert report["stats"]["total"] == ITEMS and report["writes"] == {"synapse": ITEMS, "plant3d": 0}
    assert report["status"] == "completed" and report["outcome"] == "clean"
    assert len(world.live()) == ITEMS and world.fingerprint() == before
    invariants.writes_had_intents(world, recorder)
    invariants.nobodys_fields_were_touched(world, recorder)
    invariants.all_hold(world)


def test_a_quiet_run_says_the_same_counts_and_findings_as_the_full_one(settled: World) -> None:
    quiet = settled.pulled()
    full = settled.pulled("--full")
    assert quiet["stats"] == full["stats"]
    assert quiet["by_entity"] == full["by_entity"]


def test_small_batches_write_the_same_as_one_big_one(make_world: MakeWorld) -> None:
    small, big = make_world(name="small"), make_world(name="big")
    small.env["SYNC_BATCH_SIZE"] = "7"
    small.pulled()
    big.pulled()
    assert small.dump() == big.dump()
    invariants.all_hold(small)


# ---------------------------------------------------------------- edits in Plant 3D


def edited(world: World, *pnpids: int) -> set[str]:
    return {world.guid(pnpid) for pnpid in pnpids}


def test_each_edit_of_a_designer_is_shown_and_written_exactly(settled: World) -> None:
    described, sized, renamed = (item.pnpid for item in settled.items("valves")[:3])
    filled = settled.items("equipment")[0].pnpid
    gone = settled.items("instruments")[0].pnpid
    edits.set_value(settled.dcf, described, "Description", "Vanne d'isolement neuve")
    edits.set_value(settled.dcf, sized, "Size", "999")
    edits.set_value(settled.dcf, filled, "Manufacturer", "ACME")
    edits.rename_tag(settled.dcf, renamed, "HV-9001")
    gone_guid = settled.guid(gone)
    edits.delete_item(settled.dcf, gone)
    added = edits.add_item(settled.dcf, "GateValve", {"Tag": "HV-9002", "Code": "HV", "Number": "9002"})
    with recorded(settled) as recorder:
        report = settled.pulled()
    sent = batches_of(recorder)
    saved = [fields.get("attributes", {}).pop(SAVED) for fields in sent.values()]
    assert len(saved) == len(sent) and all(time.endswith("Z") for time in saved)
    for fields in sent.values():
        if not fields["attributes"]:
            del fields["attributes"]
    assert sent[settled.guid(described)] == {"description": "Vanne d'isolement neuve"}
    assert sent[settled.guid(sized)] == {"attributes": {"size": "999"}}
    assert sent[settled.guid(filled)] == {"attributes": {"manufacturer": "ACME"}}
    assert sent[settled.guid(renamed)] == {"tag": "HV-9001", "attributes": {"number": "9001"}}
    assert sent[settled.guid(added)]["tag"] == "HV-9002"
    ends = [
        fields
        for guid, fields in sent.items()
        if guid not in edited(settled, described, sized, filled, renamed, added)
    ]
    assert all(set(fields["attributes"]) <= {"from", "to"} for fields in ends), "lines name their end items"
    assert gone_guid not in sent
    stats = report["stats"]
    assert (stats["created"], stats["updated"], stats["missing"], stats["archived"]) == (
        1,
        len(sent) - 1,
        1,
        0,
    )
    assert settled.writes() == ITEMS + len(sent)
    (shown,) = settled.rows("SELECT fields FROM change WHERE pnpid = ? AND op = 'update'", described)
    assert "Vanne d'isolement neuve" in shown["fields"]
    invariants.all_hold(settled)


def test_a_row_that_is_saved_again_makes_no_update_and_the_next_one_says_when(settled: World) -> None:
    item = settled.items("equipment")[0]
    then = settled.asset_of(item.pnpid)["attributes"][SAVED]
    settled.change("UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 600000000 WHERE PnPID = ?", item.pnpid)
    assert settled.pulled()["writes"] == {"synapse": 0, "plant3d": 0}
    edits.set_value(settled.dcf, item.pnpid, "Manufacturer", "ACME")
    plan = settled.pulled("--dry-run")
    shown = settled.cli("show", plan["plan_id"]).json
    [line] = [one for one in shown["lines"] if one["op"] == "update"]
    run = settled.apply(plan["plan_id"]).json
    now = settled.asset_of(item.pnpid)["attributes"]
    assert line["set"] == {"attributes.manufacturer": "ACME", "attributes.plant3d_updated_at": now[SAVED]}
    assert line["why"]["attributes.plant3d_updated_at"] == "information"
    assert now[SAVED] > then
    undo = settled.cli("undo", run["run_id"]).json
    assert (undo["restores"], undo["left_alone"]) == (1, [])
    assert settled.apply(undo["plan_id"]).code == 0
    assert settled.asset_of(item.pnpid)["attributes"][SAVED] == then
    assert settled.pulled()["writes"] == {"synapse": 0, "plant3d": 0}
    invariants.all_hold(settled)


def test_an_upgrade_that_brings_information_makes_no_update(world: World) -> None:
    without = "fields: {attributes.plant3d_updated_at: null}"
    (world.folder / "before.yml").write_text(
        f"version: 1\nextends: stock\nclasses: {{EngineeringItems: {{{without}}}, PipeLineGroup: {{{without}}}}}\n"
    )
    world.configure(mapping=["before.yml"])
    world.pulled()
    assert not any(SAVED in asset["attributes"] for asset in world.assets())
    world.configure(mapping=["stock"])
    for words in ((), ("--full",)):
        report = world.pulled(*words)
        assert report["writes"] == {"synapse": 0, "plant3d": 0} and report["outcome"] == "clean"
    item = world.items("valves")[0]
    edits.set_value(world.dcf, item.pnpid, "Manufacturer", "ACME")
    assert world.pulled()["writes"]["synapse"] == 1
    assert world.asset_of(item.pnpid)["attributes"][SAVED]
    invariants.all_hold(world)


def without_description(world: World) -> edits.Found:
    return next(
        item for item in world.items("equipment") if world.asset_of(item.pnpid)["description"] is None
    )


def test_a_field_that_was_empty_at_the_first_pull_is_a_field_like_any_other_later(settled: World) -> None:
    item = without_description(settled)
    edits.set_value(settled.dcf, item.pnpid, "Description", "Filtre à air")
    assert settled.pulled()["stats"]["updated"] == 1
    edits.set_value(settled.dcf, item.pnpid, "Description", None)
    assert settled.pulled()["stats"]["updated"] == 1
    assert settled.asset_of(item.pnpid)["description"] is None
    invariants.all_hold(settled)


def test_a_cell_that_could_not_be_read_is_synchronised_once_it_is_repaired(world: World) -> None:
    item = world.items("equipment")[0]
    world.change(
        "UPDATE EngineeringItems SET Description = CAST(? AS TEXT) WHERE PnPID = ?", b"R\xe9s\xff", item.pnpid
    )
    world.pulled()
    assert world.asset_of(item.pnpid)["description"] is None
    world.pulled("--full")
    edits.set_value(world.dcf, item.pnpid, "Description", "Réservoir")
    world.pulled()
    assert world.asset_of(item.pnpid)["description"] == "Réservoir"
    invariants.all_hold(world)


# ---------------------------------------------------------------- renames


def renamed_only(world: World, report: dict[str, Any], count: int) -> None:
    """Only updates, `count` of them renames; the others are lines that name a renamed end item."""
    stats = report["stats"]
    assert (stats["created"], stats["archived"], stats["missing"], stats["errors"]) == (0, 0, 0, 0)
    changes = world.rows("SELECT fields FROM change WHERE run_id = ?", report["run_id"])
    names = [set(json.loads(row["fields"])) - {f"attributes.{SAVED}"} for row in changes]
    assert len([fields for fields in names if "tag" in fields]) == count
    assert all("tag" in fields or fields <= {"attributes.from", "attributes.to"} for fields in names)
    assert stats["updated"] == len(names) and len(world.assets()) == ITEMS


def test_renaming_a_hundred_tags_creates_and_archives_nothing(make_world: MakeWorld) -> None:
    settled = make_world(items=200)
    settled.pulled()
    renamed = [*settled.items("valves"), *settled.items("instruments")][:100]
    for number, item in enumerate(renamed):
        settled.change("UPDATE HandValves SET Tag = ? WHERE PnPID = ?", f"NEW-{number}", item.pnpid)
        settled.change("UPDATE Instrumentation SET Tag = ? WHERE PnPID = ?", f"NEW-{number}", item.pnpid)
    report = settled.pulled()
    stats = report["stats"]
    assert (stats["created"], stats["archived"], stats["missing"], stats["errors"]) == (0, 0, 0, 0)
    assert len(settled.assets()) == 200
    assert len(settled.rows("SELECT id FROM tag_history")) == len(renamed) == 100
    invariants.all_hold(settled)


def test_swapping_two_tags_creates_and_archives_nothing(settled: World) -> None:
    first, second = settled.items("valves")[:2]
    edits.swap_tags(settled.dcf, first.pnpid, second.pnpid)
    renamed_only(settled, settled.pulled(), 2)
    assert settled.asset_of(first.pnpid)["tag"] == second.tag
    assert settled.asset_of(second.pnpid)["tag"] == first.tag
    invariants.all_hold(settled)


@pytest.mark.parametrize(
    "batch", ["1", *(pytest.param(size, marks=pytest.mark.long) for size in ("2", "500"))]
)
def test_a_chain_of_three_renames_creates_and_archives_nothing(settled: World, batch: str) -> None:
    settled.env["SYNC_BATCH_SIZE"] = batch
    one, two, three = settled.items("valves")[:3]
    edits.rename_tag(settled.dcf, three.pnpid, "HV-8003")
    edits.rename_tag(settled.dcf, two.pnpid, three.tag)
    edits.rename_tag(settled.dcf, one.pnpid, two.tag)
    renamed_only(settled, settled.pulled(), 3)
    assert settled.asset_of(one.pnpid)["tag"] == two.tag
    invariants.all_hold(settled)


@pytest.mark.parametrize("batch", [pytest.param("1", marks=pytest.mark.long), "500"])
def test_a_cycle_of_three_renames_creates_and_archives_nothing(settled: World, batch: str) -> None:
    settled.env["SYNC_BATCH_SIZE"] = batch
    items = settled.items("valves")[:3]
    edits.swap_tags(settled.dcf, items[0].pnpid, items[1].pnpid)
    edits.swap_tags(settled.dcf, items[1].pnpid, items[2].pnpid)
    renamed_only(settled, settled.pulled(), 3)
    invariants.all_hold(settled)


def test_reusing_a_retired_tag_creates_and_archives_nothing(settled: World) -> None:
    first, second = settled.items("valves")[:2]
    edits.rename_tag(settled.dcf, first.pnpid, "HV-8001")
    renamed_only(settled, settled.pulled(), 1)
    edits.rename_tag(settled.dcf, second.pnpid, first.tag)
    renamed_only(settled, settled.pulled(), 1)
    assert settled.asset_of(second.pnpid)["tag"] == first.tag
    invariants.all_hold(settled)


def test_a_new_item_cannot_take_the_tag_of_one_that_is_only_missing(make_world: MakeWorld) -> None:
    world = make_world(missing={"reads": 2, "minutes": 0})
    world.pulled()
    old = world.items("valves")[0]
    edits.delete_item(world.dcf, old.pnpid)
    new = edits.add_item(world.dcf, "GateValve", {"Tag": old.tag})
    report = world.pulled(code=3)
    (error,) = report["errors"]
    assert (error["code"], error["pnpid"], error["tag"]) == ("tag_taken", new, old.tag)
    assert (report["stats"]["created"], report["stats"]["errors"]) == (0, 1)
    world.pulled(code=3)
    plan = world.cli("plan", "mine", "--direction", "pull").json
    world.apply(plan["plan_id"])
    healed = world.pulled()
    assert healed["stats"]["created"] == 1
    assert world.asset_of(new)["tag"] == old.tag
    invariants.all_hold(world, archived=[old.pnpid])


# ---------------------------------------------------------------- guards


def guarded(world: World, *names: str) -> dict[str, Any]:
    """A pull that a guard stops: exit 5, nothing written; it stays stopped when run again."""
    before = world.writes(), world.dump_links(), world.fingerprint()
    for _ in range(2):
        report = world.pulled(code=5)
        assert [guard["name"] for guard in report["guards"]] == list(names)
        assert report["outcome"] == "guarded" and report["writes"]["synapse"] == 0
        kept = world.cli("runs", "mine").json["items"][0]["stats"]
        for stats in (report["stats"], kept):
            assert (stats["created"], stats["updated"], stats["archived"]) == (0, 0, 0), "meant is not done"
    assert (world.writes(), world.dump_links(), world.fingerprint()) == before
    return report


def approved(world: World, report: dict[str, Any], *, code: int = 0) -> dict[str, Any]:
    """The way past the guard."""
    refused = world.apply(report["plan_id"])
    assert refused.code == 5 and refused.error == "guard"
    said = world.apply(report["plan_id"], "--approve-guards")
    assert said.code == code, (said.out, said.err)
    return said.json


def test_an_older_copy_put_back_is_stopped_before_the_first_write(settled: World, tmp_path: Path) -> None:
    older = tmp_path / "older.dcf"
    shutil.copyfile(settled.dcf, older)
    item = settled.items("valves")[0]
    edits.set_value(settled.dcf, item.pnpid, "Description", "plus récent")
    edits.add_item(settled.dcf, "GateValve", {"Tag": "HV-9002"})
    settled.pulled()
    shutil.copyfile(older, settled.dcf)
    report = guarded(settled, "pnpid_counter", "change_counter")
    assert "older copy" in report["guards"][0]["message"]
    done = approved(
        settled, report, code=3
    )  # the database is meant; whether each older value is, too, is asked
    assert done["stats"]["updated"] == 0
    settled.pulled(code=3)
    (asked,) = settled.conflicts()
    assert (asked["field"], asked["kind"]) == ("description", "older_copy")
    assert settled.cli("resolve", asked["id"], "plant3d").code == 0
    assert settled.conflicts() == []
    assert settled.pulled()["writes"]["synapse"] == 0
    invariants.all_hold(settled)


def test_another_database_is_stopped_before_the_first_write(settled: World) -> None:
    settled.change("UPDATE PnPDatabase SET DBID = ?", b"another-database")
    edits.set_value(settled.dcf, settled.items("valves")[0].pnpid, "Tag", "HV-?")
    before = settled.findings()
    guarded(settled, "database_id")
    assert settled.findings() == before  # what another plant lacks is no finding of this one


def test_mass_deletion_is_stopped_before_the_first_write(make_world: MakeWorld) -> None:
    settled = make_world(items=200)
    settled.pulled()
    items = [item for entity in ("valves", "instruments") for item in settled.items(entity)][:80]
    for item in items:
        edits.delete_item(settled.dcf, item.pnpid)
    report = guarded(settled, "archive")
    done = approved(settled, report)
    assert done["stats"]["archived"] == 0 and len(settled.live()) == 200
    assert settled.pulled()["stats"]["missing"] == 80
    invariants.archived_only(settled, [])


def test_a_blanked_column_is_stopped_before_the_first_write(make_world: MakeWorld) -> None:
    settled = make_world(items=200)
    settled.pulled()
    settled.change("UPDATE EngineeringItems SET Description = NULL")
    report = guarded(settled, "blank")
    done = approved(settled, report)
    assert done["stats"]["updated"] > 50
    invariants.all_hold(settled)


def test_a_mass_update_is_stopped_before_the_first_write(make_world: MakeWorld) -> None:
    world = make_world(guards={"update": [0.3, 20]})
    world.pulled()
    world.change("UPDATE EngineeringItems SET Manufacturer = 'ACME'")
    unfilled = world.items("valves")[0].pnpid
    edits.set_value(world.dcf, unfilled, "Tag", "HV-?")
    report = guarded(world, "update")
    assert unfilled in {finding["pnpid"] for finding in world.findings()}  # whoever decides can see it
    done = approved(world, report)
    assert done["stats"]["updated"] > 60
    invariants.all_hold(world)


def test_a_mass_creation_is_stopped_but_never_at_the_first_pull(make_world: MakeWorld) -> None:
    world = make_world(guards={"create": [0.01, 3]})
    assert world.pulled()["stats"]["created"] == ITEMS
    for number in range(5):
        edits.add_item(world.dcf, "GateValve", {"Tag": f"HV-90{number}"})
    done = approved(world, guarded(world, "create"))
    assert done["stats"]["created"] == 5
    invariants.all_hold(world)


def test_a_synapse_that_lost_most_assets_is_stopped(make_world: MakeWorld) -> None:
    world = make_world(guards={"archive": [0.1, 10]})
    world.pulled()
    for asset in world.assets()[:30]:
        world.user_edits(asset["id"], deleted_at=True)
    writes, links = world.writes(), len(world.rows("SELECT id FROM link"))
    for _ in range(2):
        report = world.pulled(code=5)
        assert [guard["name"] for guard in report["guards"]] == ["synapse_lost"]
    assert (world.writes(), len(world.rows("SELECT id FROM link"))) == (writes, links)
    assert world.apply(report["plan_id"], "--approve-guards").code == 0
    after = world.pulled()
    assert after["stats"]["skipped"] == 30 and after["writes"]["synapse"] == 0


def purge(world: World, assets: list[dict[str, Any]]) -> None:
    """Remove assets physically and break the feed's history, as a restored backup of SYNAPSE does."""
    with world.client() as client:
        for asset in assets:
            assert client.delete(f"/dev/projects/{world.uuid}/assets/{asset['id']}").is_success
        assert client.post(f"/dev/projects/{world.uuid}/new-epoch").is_success


def test_assets_that_are_not_in_synapse_any_more_stop_every_run_until_a_person_approves(
    make_world: MakeWorld,
) -> None:
    world = make_world(guards={"archive": [0.1, 10]})
    total = world.pulled()["stats"]["total"]
    purge(world, world.assets()[:30])
    writes = world.writes()
    for _ in range(3):
        report = world.pulled(code=5)
        assert [guard["name"] for guard in report["guards"]] == ["synapse_lost"]
    assert world.writes() == writes
    assert world.apply(report["plan_id"], "--approve-guards").code == 0
    assert len(world.live()) == total
    after = world.pulled()
    assert (after["stats"]["unchanged"], after["writes"]["synapse"]) == (total, 0)


def test_a_few_assets_that_are_not_in_synapse_any_more_are_created_again(make_world: MakeWorld) -> None:
    world = make_world()
    total = world.pulled()["stats"]["total"]
    purge(world, world.assets()[:3])
    report = world.pulled()
    assert (report["stats"]["created"], report["findings_by_code"]["asset_lost"]) == (3, 3)
    assert len(world.live()) == total
    assert world.pulled()["writes"]["synapse"] == 0


def test_guards_stop_only_when_share_and_count_are_both_exceeded(make_world: MakeWorld) -> None:
    world = make_world(guards={"update": [0.0, 10], "blank": [0.99, 0]})
    world.pulled()
    for item in world.items("valves")[:5]:
        edits.set_value(world.dcf, item.pnpid, "Status", None)
    assert world.pulled()["stats"]["updated"] >= 5


# ---------------------------------------------------------------- missing


def deletion(world: World) -> int:
    item = world.items("valves")[0]
    edits.delete_item(world.dcf, item.pnpid)
    return item.pnpid


def states(world: World, pnpid: int, runs: int) -> list[str]:
    seen = []
    for _ in range(runs):
        world.pulled()
        seen.append(world.link_of(pnpid)["state"])
    return seen


def test_a_missing_item_is_archived_only_after_k_reads_and_a_persons_approval(make_world: MakeWorld) -> None:
    world = make_world(missing={"reads": 3, "minutes": 0})
    world.pulled()
    gone = deletion(world)
    assert states(world, gone, 5) == ["missing", "missing", "pending", "pending", "pending"]
    assert len(world.live()) == ITEMS
    invariants.archived_only(world, [])
    planned = world.cli("plan", "mine", "--direction", "pull")
    assert planned.code == 0
    done = world.apply(planned.json["plan_id"])
    assert done.code == 0 and done.json["stats"]["archived"] == 1 and done.json["writes"]["synapse"] == 1
    assert len(world.live()) == ITEMS - 1 and world.link_of(gone)["state"] == "archived"
    invariants.all_hold(world, archived=[gone])


def test_by_policy_a_missing_item_is_archived_by_the_next_run(make_world: MakeWorld) -> None:
    world = make_world(missing={"reads": 3, "minutes": 0, "policy": "archive"})
    world.pulled()
    gone = deletion(world)
    assert states(world, gone, 3) == ["missing", "missing", "archived"]
    assert len(world.live()) == ITEMS - 1
    invariants.all_hold(world, archived=[gone])


def test_by_policy_keep_a_missing_item_is_never_archived(make_world: MakeWorld) -> None:
    world = make_world(missing={"reads": 1, "minutes": 0, "policy": "keep"})
    world.pulled()
    gone = deletion(world)
    assert states(world, gone, 3) == ["pending", "pending", "pending"]
    planned = world.cli("plan", "mine", "--direction", "pull").json
    assert world.apply(planned["plan_id"]).json["writes"]["synapse"] == 0
    assert len(world.live()) == ITEMS


def test_an_item_that_comes_back_gets_its_own_asset_back(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(missing={"reads": 1, "minutes": 0, "policy": "archive"})
    world.pulled()
    item = world.items("equipment")[0]
    asset = world.asset_of(item.pnpid)
    shutil.copyfile(world.dcf, tmp_path / "kept.dcf")
    edits.delete_item(world.dcf, item.pnpid)
    assert world.pulled()["stats"]["archived"] == 1
    world.user_edits(asset["id"], notes="in the yard")
    shutil.copyfile(tmp_path / "kept.dcf", world.dcf)
    with_higher_counters(world)
    stats = world.pulled()["stats"]
    back = world.asset_of(item.pnpid)
    assert (stats["created"], stats["updated"]) == (0, 1)
    assert back["id"] == asset["id"] and back["deleted_at"] is None and back["notes"] == "in the yard"
    assert (back["tag"], back["attributes"]) == (asset["tag"], asset["attributes"])
    assert world.pulled()["writes"]["synapse"] == 0
    invariants.all_hold(world)


def test_reads_of_an_unchanged_source_do_not_count(settled: World) -> None:
    gone = deletion(settled)
    assert states(settled, gone, 5) == ["missing"] * 5


def test_an_item_that_reappears_cancels_its_absence(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(missing={"reads": 2, "minutes": 0})
    world.pulled()
    kept = tmp_path / "kept.dcf"
    shutil.copyfile(world.dcf, kept)
    gone = deletion(world)
    assert states(world, gone, 2) == ["missing", "pending"]
    shutil.copyfile(kept, world.dcf)
    with_higher_counters(world)
    assert states(world, gone, 1) == ["active"]
    assert world.link_of(gone)["missing"] is None
    invariants.all_hold(world)


def with_higher_counters(world: World) -> None:
    """As if the designer had undone his deletion in Plant 3D: the counters go on."""
    world.change("UPDATE PnPSys_PnPBase_PnPID SET cnt = cnt + 100")
    for _ in range(20):
        world.change("UPDATE PnPSys_PnPBase_PnPID SET cnt = cnt")


# ---------------------------------------------------------------- tags


def test_two_items_with_one_tag_are_both_skipped_and_each_names_the_other(settled: World) -> None:
    first, second = settled.items("valves")[:2]
    settled.change("UPDATE HandValves SET Tag = ? WHERE PnPID = ?", first.tag, second.pnpid)
    report = settled.pulled()
    assert report["stats"]["skipped"] == 2
    assert {settled.asset_of(item.pnpid)["tag"] for item in (first, second)} == {first.tag, second.tag}
    found = {row["pnpid"]: row["data"] for row in settled.findings("duplicate_tag")}
    assert set(found) == {first.pnpid, second.pnpid}
    assert found[first.pnpid]["data"]["others"] == [second.pnpid]
    edits.rename_tag(settled.dcf, second.pnpid, "HV-8100")
    settled.pulled()
    assert settled.findings("duplicate_tag") == []
    invariants.all_hold(settled)


def test_an_untagged_item_waits_and_is_created_once_it_is_tagged(world: World) -> None:
    item = world.items("valves")[0]
    edits.rename_tag(world.dcf, item.pnpid, "HV-?")
    first = world.pulled()
    assert (first["stats"]["created"], first["stats"]["skipped"], first["stats"]["errors"]) == (
        ITEMS - 1,
        1,
        0,
    )
    (finding,) = world.findings("untagged")
    assert finding["pnpid"] == item.pnpid
    edits.rename_tag(world.dcf, item.pnpid, item.tag)
    assert world.pulled()["stats"]["created"] == 1
    invariants.all_hold(world)


def test_a_linked_item_that_loses_its_tag_keeps_synapses_tag(settled: World) -> None:
    item = settled.items("valves")[0]
    edits.rename_tag(settled.dcf, item.pnpid, "?")
    edits.set_value(settled.dcf, item.pnpid, "Description", "sans repère")
    settled.pulled()
    asset = settled.asset_of(item.pnpid)
    assert (asset["tag"], asset["description"]) == (item.tag, "sans repère")
    (finding,) = settled.findings("tag_lost")
    assert finding["pnpid"] == item.pnpid
    edits.rename_tag(settled.dcf, item.pnpid, item.tag)
    settled.pulled()
    assert settled.findings("tag_lost") == []
    invariants.all_hold(settled)


# ---------------------------------------------------------------- first contact, lost state


def test_nothing_is_created_while_an_unlinked_asset_holds_the_tag(world: World) -> None:
    item = world.items("valves")[0]
    asset = world.user_adds(
        tag=item.tag, asset_type="Valve", description="posée à la main", priority=2, notes="à garder"
    )
    first = world.pulled()
    assert (first["stats"]["created"], first["stats"]["skipped"]) == (ITEMS - 1, 1)
    (finding,) = world.findings("unlinked_asset")
    assert finding["data"]["data"]["asset_id"] == asset["id"]
    proposed = world.cli("links", "propose", "mine").json
    assert [(pair["tag"], pair["asset_id"], pair["certain"]) for pair in proposed["pairs"]] == [
        (item.tag, asset["id"], True)
    ]
    accepted = world.cli("links", "accept", "mine")
    assert accepted.code == 0 and accepted.json["linked"] == 1
    said = world.pull()
    assert said.code == (3 if said.json["stats"]["conflicts"] else 0)
    tied = world.asset_of(item.pnpid)
    assert tied["id"] == asset["id"] and (tied["priority"], tied["notes"]) == (2, "à garder")
    assert tied["description"] == "posée à la main", "nobody's text is overwritten at first contact"
    assert len(world.live()) == ITEMS
    invariants.one_asset_per_identity(world)
    invariants.audit_tells_everything(world)
    invariants.all_hold(world, but=[item.pnpid], code=said.code)


def test_an_asset_of_another_type_is_proposed_but_not_accepted(world: World) -> None:
    item = world.items("valves")[0]
    world.user_adds(tag=item.tag, asset_type="Equipment")
    world.pulled()
    (pair,) = world.cli("links", "propose", "mine").json["pairs"]
    assert pair["certain"] is False and "Equipment" in pair["reason"]
    assert world.cli("links", "accept", "mine").json["linked"] == 0
    assert len(world.live()) == ITEMS


def test_a_lost_state_database_is_rebuilt_by_the_same_command_without_duplicates(settled: World) -> None:
    before = settled.dump_synapse()
    for path in settled.folder.glob("state.db*"):
        path.unlink()
    report = settled.pulled()
    assert (report["stats"]["created"], report["writes"]["synapse"]) == (0, 0)
    assert settled.dump_synapse() == before
    invariants.quiet(settled)
    invariants.one_asset_per_identity(settled)
    invariants.both_sides_agree(settled)
    invariants.bases_were_shared(settled)
    item = settled.items("valves")[0]
    edits.set_value(settled.dcf, item.pnpid, "Description", "après la perte")
    assert settled.pulled()["stats"]["updated"] == 1


def test_rebuilding_a_lost_state_asks_synapse_a_few_times_not_once_per_item(settled: World) -> None:
    for path in settled.folder.glob("state.db*"):
        path.unlink()
    asked: list[str] = []

    with recorded(settled) as recorder:
        recorder.edit = lambda seen, answer: (asked.append(seen.target), answer)[1]
        settled.pulled()
    assert len(asked) < 10, asked[:20]


# ---------------------------------------------------------------- options


def test_entity_types_restrict_what_is_written_and_the_rest_follows(world: World) -> None:
    first = world.pulled("--entity-types", "equipment,valves")
    assert set(first["by_entity"]) == {"equipment", "valves"}
    expected = len(world.items("equipment")) + len(world.items("valves"))
    assert first["stats"]["created"] == first["stats"]["total"] == expected == len(world.live())
    assert {asset["asset_type"] for asset in world.assets()} == {"Equipment", "Valve"}
    rest = world.pulled()
    assert rest["stats"]["created"] == ITEMS - expected
    invariants.all_hold(world)


def test_a_change_read_during_a_partial_pull_is_not_forgotten_by_the_next_full_one(settled: World) -> None:
    valve = settled.items("valves")[0]
    asset = settled.asset_of(valve.pnpid)
    settled.user_edits(asset["id"], attributes={"size": "13"})
    settled.pulled("--entity-types", "equipment")
    settled.pulled()
    assert settled.asset_of(valve.pnpid)["attributes"]["size"] == asset["attributes"]["size"]
    invariants.all_hold(settled)


def test_a_dry_run_stores_a_plan_and_changes_no_other_byte(settled: World) -> None:
    valve, user_edited = settled.items("valves")[:2]
    edits.set_value(settled.dcf, valve.pnpid, "Description", "Vanne neuve")
    edits.delete_item(settled.dcf, settled.items("instruments")[0].pnpid)
    settled.user_edits(settled.asset_of(user_edited.pnpid)["id"], attributes={"size": "13"})
    left_out = ("plan", "plan_chunk", "audit", "audit_head")
    before = settled.every_table(but=left_out), settled.fingerprint(), settled.assets()
    dry = settled.pulled("--dry-run")
    after = settled.every_table(but=left_out), settled.fingerprint(), settled.assets()
    assert after == before
    assert dry["dry_run"] is True and dry["run_id"] is None and dry["stats"]["updated"] == 2
    shown = settled.cli("show", dry["plan_id"])
    assert shown.code == 0 and len([line for line in shown.json["lines"] if line["op"] == "update"]) == 2
    done = settled.apply(dry["plan_id"])
    assert done.code == 0 and done.json["writes"]["synapse"] == 2
    invariants.all_hold(settled)


def test_a_dry_run_before_the_first_pull_leaves_no_project_behind(world: World) -> None:
    dry = world.pulled("--dry-run")
    assert dry["stats"]["created"] == ITEMS and world.assets() == []
    tables = world.every_table(
        but=("plan", "plan_chunk", "audit", "audit_head", "alembic_version", "sqlite_sequence")
    )
    assert [name for name, rows in tables.items() if rows] == []
    assert world.apply(dry["plan_id"]).json["stats"]["created"] == ITEMS
    invariants.all_hold(world)


def test_applying_a_plan_refuses_what_moved_since_and_does_the_rest(settled: World) -> None:
    moved, kept, by_user = settled.items("valves")[:3]
    for item in (moved, kept, by_user):
        edits.set_value(settled.dcf, item.pnpid, "Size", "77")
    plan = settled.cli("plan", "mine", "--direction", "pull").json
    edits.set_value(settled.dcf, moved.pnpid, "Size", "78")
    settled.user_edits(settled.asset_of(by_user.pnpid)["id"], attributes={"size": "79"})
    done = settled.apply(plan["plan_id"])
    assert done.code == 3
    assert {(error["code"], error["pnpid"]) for error in done.json["errors"]} == {
        ("stale", moved.pnpid),
        ("stale", by_user.pnpid),
    }
    assert settled.asset_of(kept.pnpid)["attributes"]["size"] == "77"
    assert done.json["writes"]["synapse"] == 1
    again = settled.apply(plan["plan_id"])
    assert again.code == 3 and again.error == "plan_applied"
    settled.pulled()
    assert settled.asset_of(moved.pnpid)["attributes"]["size"] == "78"
    assert settled.asset_of(by_user.pnpid)["attributes"]["size"] == "77"
    invariants.all_hold(settled)


# ---------------------------------------------------------------- edits in SYNAPSE


def test_what_synapse_owns_is_never_touched(settled: World) -> None:
    for number, asset in enumerate(settled.assets()[:20]):
        settled.user_edits(
            asset["id"],
            priority=1 + number % 5,
            notes=f"note {number}",
            fbs_code="F.1",
            lbs_code="L.2",
            wbs_code="W.3",
            status="Installed",
            tags=["critique"],
            workflow_status="En revue",
            m_files_links=[{"id": 7}],
            discipline_code="MEC",
        )
    before = settled.assets()
    for item in settled.items("valves")[:10]:
        edits.set_value(settled.dcf, item.pnpid, "Size", "66")
    assert settled.pulled()["stats"]["updated"] == 10
    invariants.synapse_owned_unchanged(settled, before)
    invariants.all_hold(settled)


def test_an_edit_of_plant_3ds_field_in_synapse_is_put_back(settled: World) -> None:
    item = settled.items("valves")[0]
    asset = settled.asset_of(item.pnpid)
    settled.user_edits(asset["id"], attributes={"size": "13", "note_of_user": "reste"})
    report = settled.pulled()
    assert report["stats"]["updated"] == 1
    now = settled.asset_of(item.pnpid)["attributes"]
    assert now == {**asset["attributes"], "note_of_user": "reste"}
    invariants.all_hold(settled)


def test_filling_plant_3ds_empty_field_in_synapse_is_put_back_too(settled: World) -> None:
    linked = {
        asset["plant3d_id"]: asset for asset in settled.assets() if "manufacturer" not in asset["attributes"]
    }
    item = next(item for item in settled.items("valves") if settled.guid(item.pnpid) in linked)
    asset = linked[settled.guid(item.pnpid)]
    settled.user_edits(asset["id"], attributes={"manufacturer": "ACME"})
    assert settled.pulled()["stats"]["updated"] == 1
    assert "manufacturer" not in settled.asset_of(item.pnpid)["attributes"]
    invariants.all_hold(settled)


@pytest.mark.parametrize("policy", ["propose", "ignore"])
def test_under_another_drift_policy_the_edit_in_synapse_stays(make_world: MakeWorld, policy: str) -> None:
    world = make_world(drift={"attributes.size": policy})
    world.pulled()
    item = world.items("valves")[0]
    world.user_edits(world.asset_of(item.pnpid)["id"], attributes={"size": "13"})
    report = world.pulled()
    assert report["writes"]["synapse"] == 0
    assert world.asset_of(item.pnpid)["attributes"]["size"] == "13"
    assert len(world.findings("drift")) == (1 if policy == "propose" else 0)
    invariants.all_hold(world)


def test_a_description_edited_in_synapse_waits_and_is_not_overwritten(settled: World) -> None:
    item = settled.items("valves")[0]
    settled.user_edits(settled.asset_of(item.pnpid)["id"], description="texte de SYNAPSE")
    for _ in range(3):
        report = settled.pulled("--full")
        assert report["writes"]["synapse"] == 0 and report["stats"]["conflicts"] == 0
    edits.set_value(settled.dcf, item.pnpid, "Size", "66")
    settled.pulled()
    asset = settled.asset_of(item.pnpid)
    assert asset["description"] == "texte de SYNAPSE" and asset["attributes"]["size"] == "66"
    assert "description" in settled.link_of(item.pnpid)["pending"]
    edits.set_value(settled.dcf, item.pnpid, "Description", "texte de SYNAPSE")
    settled.pulled()
    assert settled.link_of(item.pnpid)["pending"] is None
    invariants.all_hold(settled)


def test_a_description_edited_on_both_sides_stays_a_conflict_until_they_agree(make_world: MakeWorld) -> None:
    world = make_world(conflict={"policy": "ask"})
    world.pulled()
    item = world.items("valves")[0]
    world.user_edits(world.asset_of(item.pnpid)["id"], description="texte de SYNAPSE")
    edits.set_value(world.dcf, item.pnpid, "Description", "texte de Plant 3D")
    first = world.pulled(code=3)
    assert first["stats"]["conflicts"] == 1 and first["writes"]["synapse"] == 0
    (conflict,) = world.conflicts()
    assert (conflict["field"], conflict["kind"]) == ("description", "changed_at_about_the_same_time")
    assert (conflict["data"]["plant3d"], conflict["data"]["synapse"]) == (
        "texte de Plant 3D",
        "texte de SYNAPSE",
    )
    assert conflict["data"]["base"] == item.description
    for words in ((), ("--full",), ()):
        world.pulled(*words, code=3)
    (still,) = world.conflicts()
    assert (still["id"], still["version"]) == (conflict["id"], conflict["version"])
    edits.set_value(world.dcf, item.pnpid, "Description", "texte de SYNAPSE")
    world.pulled()
    assert world.conflicts() == []
    (closed,) = world.conflicts("resolved")
    assert (closed["id"], closed["resolution"]) == (conflict["id"], "converged")
    invariants.all_hold(world)


def test_a_user_who_puts_his_edit_back_ends_the_conflict(make_world: MakeWorld) -> None:
    world = make_world(conflict={"policy": "ask"})
    world.pulled()
    item = world.items("valves")[0]
    asset = world.asset_of(item.pnpid)
    world.user_edits(asset["id"], description="texte de SYNAPSE")
    edits.set_value(world.dcf, item.pnpid, "Description", "texte de Plant 3D")
    world.pulled(code=3)
    world.user_edits(asset["id"], description=asset["description"])
    report = world.pulled()
    assert report["writes"]["synapse"] == 1 and world.conflicts() == []
    assert world.asset_of(item.pnpid)["description"] == "texte de Plant 3D"
    invariants.all_hold(world)


def test_an_asset_archived_by_a_user_is_left_alone_and_said(settled: World) -> None:
    item = settled.items("valves")[0]
    settled.user_edits(settled.asset_of(item.pnpid)["id"], deleted_at=True)
    report = settled.pulled()
    assert (report["stats"]["skipped"], report["stats"]["created"], report["writes"]["synapse"]) == (1, 0, 0)
    assert [row["pnpid"] for row in settled.findings("archived_in_synapse")] == [item.pnpid]
    invariants.quiet(settled)
    settled.user_edits(settled.asset_of(item.pnpid)["id"], deleted_at=None)
    settled.pulled()
    assert settled.findings("archived_in_synapse") == []
    invariants.all_hold(settled)


def test_a_broken_history_in_synapse_is_read_again_without_a_write(settled: World) -> None:
    with settled.synapse.client(settled.uuid) as client:
        client.post(f"/dev/projects/{settled.uuid}/new-epoch").raise_for_status()
    report = settled.pulled()
    assert report["writes"]["synapse"] == 0 and report["stats"]["created"] == 0
    invariants.all_hold(settled)


# ---------------------------------------------------------------- mapping, echo, dirty data


def test_a_field_mapped_later_is_filled_in_and_quiet_after(settled: World) -> None:
    filled = [item.pnpid for item in settled.items("valves")[:3]]
    for pnpid in filled:
        settled.change("UPDATE EngineeringItems SET Comment = 'voir note' WHERE PnPID = ?", pnpid)
    settled.pulled()
    (settled.folder / "mine.yml").write_text(
        "version: 1\nextends: stock\nclasses:\n  HandValves:\n    fields:\n"
        "      attributes.comment: {column: Comment, owner: plant3d}\n",
        encoding="utf-8",
    )
    settled.configure(mapping=["stock", "./mine.yml"])
    with_comment = settled.sql(
        "SELECT count(*) FROM EngineeringItems e JOIN HandValves v ON v.PnPID = e.PnPID "
        "JOIN PnPBase b ON b.PnPID = e.PnPID WHERE e.Comment <> ''"
    )
    report = settled.pulled()
    assert (report["stats"]["updated"],) == with_comment[0]
    assert settled.asset_of(filled[0])["attributes"]["comment"] == "voir note"
    edits.set_value(settled.dcf, filled[0], "Comment", "autre note")
    assert settled.pulled()["stats"]["updated"] == 1
    invariants.all_hold(settled)


def test_a_value_that_synapse_alters_is_reported_once_and_then_agreed(settled: World) -> None:
    item = settled.items("valves")[0]
    edits.set_value(settled.dcf, item.pnpid, "Description", "UN TEXTE TROP LONG POUR SYNAPSE")
    with recorded(settled) as recorder:
        recorder.request = lambda seen: seen.body.replace(b"UN TEXTE TROP LONG POUR SYNAPSE", b"UN TEXTE")
        report = settled.pulled()
        assert report["stats"]["updated"] == 1
        (finding,) = settled.findings("altered_by_synapse")
        assert finding["pnpid"] == item.pnpid
        for words in ((), ("--full",)):
            again = settled.pulled(*words)
            assert again["writes"]["synapse"] == 0
    assert settled.asset_of(item.pnpid)["description"] == "UN TEXTE"
    invariants.all_hold(settled, but=[item.pnpid])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_dirty_database_loses_no_good_row_and_stops_at_no_hazard(make_world: MakeWorld, seed: int) -> None:
    world = make_world(items=300, dirty=0.3, seed=seed)
    said = world.pull()
    assert said.code in (0, 3), (said.out, said.err)
    report = said.json
    invariants.totals_add_up(report)
    (count,) = world.sql(
        "SELECT count(*) FROM PnPBase b WHERE b.PnPClassName IN "
        f"({', '.join(repr(name) for root in ('Equipment', 'Instrumentation', 'HandValves', 'PipeLineGroup') for name in invariants._members(world, root))})"
    )
    assert report["stats"]["total"] == count[0] == 300
    good = invariants.tagged_rows(world)
    bad = {error["pnpid"] for error in report["errors"]}
    landed = {row["pnpid"] for row in world.rows("SELECT pnpid FROM link")}
    assert set(good) - landed <= bad, "a good row was lost"
    assert len(world.live()) == report["stats"]["created"] == len(landed)
    assert report["stats"]["findings"] > 0
    report = invariants.quiet(world, code=said.code)
    invariants.one_asset_per_identity(world)
    invariants.bases_were_shared(world)
    invariants.audit_tells_everything(world)
    invariants.no_run_is_stuck(world)


def test_the_same_inputs_give_the_same_history(make_world: MakeWorld, tmp_path: Path) -> None:
    worlds = [make_world(name=name) for name in ("one", "two")]
    item, other = worlds[0].items("valves")[:2]
    traces = []
    for world in worlds:
        world.pulled()
        trace = world.folder / "trace"
        edits.set_value(world.dcf, item.pnpid, "Description", "pareil")
        edits.rename_tag(world.dcf, other.pnpid, "HV-8000")
        world.pull(env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINT_TRACE": str(trace)})
        traces.append(trace.read_text(encoding="ascii"))
    one, two = (
        without_times(world.dump()) for world in worlds
    )  # which second an edit falls into is no input
    for link in (*one["links"], *two["links"]):
        link.pop("digest")
    assert {**one, "plant3d": ""} == {**two, "plant3d": ""}
    assert traces[0] == traces[1]


def test_the_key_is_told_nowhere(world: World) -> None:
    world.pulled()
    world.pull("--entity-types", "nothing")
    world.cli("runs", "mine")
    world.process("pull", "mine", env={"SYNAPSE_API_KEY": world.synapse.api_key, "LOG_LEVEL": "DEBUG"})
    world.through("http://127.0.0.1:1")
    world.pull()
    invariants.no_secret_was_told(world)


# ---------------------------------------------------------------- values and states that mislead


def test_values_that_look_like_parts_of_a_request_arrive_as_they_are(make_world: MakeWorld) -> None:
    world = make_world(items=20)
    item = world.items("valves")[0]
    edits.set_value(world.dcf, item.pnpid, "Manufacturer", "attributes.x")
    edits.set_value(world.dcf, item.pnpid, "ModelNumber", ":foo")
    world.pulled()
    held = world.asset_of(item.pnpid)["attributes"]
    assert (held["manufacturer"], held["model"]) == ("attributes.x", ":foo")
    invariants.all_hold(world)


def test_a_dead_link_does_not_hide_a_live_one_with_the_same_row(make_world: MakeWorld) -> None:
    """The row of one item got another identity, while a link of old holds that row under a third one."""
    world = make_world(items=60)
    world.pulled()
    kinds: dict[str, list[int]] = {}
    for item in world.items("valves"):
        kinds.setdefault(item.class_name, []).append(item.pnpid)
    first, second = next(pnpids for pnpids in kinds.values() if len(pnpids) > 1)[:2]
    with closing(sqlite3.connect(world.state)) as connection, connection:
        connection.execute("UPDATE link SET pnpid = ?, state = 'archived' WHERE pnpid = ?", (first, second))
    world.change("UPDATE PnPBase SET PnPGuid = ? WHERE PnPID = ?", uuid.UUID(int=77).bytes_le, first)
    edits.rename_tag(world.dcf, first, "HV-7777")
    said = world.pull("--full")
    assert said.json["stats"]["created"] == 0
    assert {error["code"] for error in said.json["errors"]} == {"identity_mismatch"}
    assert {error["pnpid"] for error in said.json["errors"]} == {first, second}
