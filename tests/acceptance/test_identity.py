"""Rows that cannot be told apart: set aside before anything is planned for them, the run goes on, mending heals."""

from __future__ import annotations

import uuid

import pytest

from plant3d_sync.sample import edits
from tests.support import invariants
from tests.support.world import MakeWorld, Row, Said, World


def give_guid(world: World, pnpid: int, guid: object) -> None:
    world.change("UPDATE PnPBase SET PnPGuid = ? WHERE PnPID = ?", guid, pnpid)


def raw_guid(world: World, pnpid: int) -> bytes:
    return uuid.UUID(world.guid(pnpid)).bytes_le


def errors_of(said: Said) -> dict[int, str]:
    assert "Traceback" not in said.err, said.err
    return {error["pnpid"]: error["code"] for error in said.json["errors"]}


def everything_arrived(world: World) -> None:
    assert len(world.live()) == len(world.assets()) == len(invariants.tagged_rows(world))
    invariants.all_hold(world)


def quiet(world: World) -> None:
    """Run it again and it writes nothing."""
    before = world.writes()
    world.pulled("--full")
    assert world.writes() == before


def pick(world: World, *kinds: str) -> list[int]:
    """One tagged item of each kind, another one where a kind is named twice."""
    taken: list[int] = []
    for kind in kinds:
        taken.append(next(item.pnpid for item in world.items(kind) if item.pnpid not in taken))
    return taken


# ---------------------------------------------------------------- nothing linked yet


@pytest.mark.parametrize(
    "kinds",
    [("valves", "valves"), ("valves", "equipment"), ("valves", "instruments", "lines")],
    ids=lambda kinds: "-".join(kinds),
)
def test_none_of_the_items_with_one_guid_arrives_and_all_others_do(
    make_world: MakeWorld, kinds: tuple[str, ...]
) -> None:
    world = make_world(items=60)
    chosen = pick(world, *kinds)
    own = {pnpid: raw_guid(world, pnpid) for pnpid in chosen}
    for pnpid in chosen[1:]:
        give_guid(world, pnpid, own[chosen[0]])
    for _again in range(2):
        said = world.pull()
        assert said.code == 3, said.err
        assert errors_of(said) == dict.fromkeys(chosen, "duplicate_guid")
        assert world.findings("duplicate_guid") == [], "each row says it, and names the others"
        assert len(world.live()) == len(invariants.tagged_rows(world)) - len(chosen)
    for error in said.json["errors"]:
        others = [str(pnpid) for pnpid in chosen if pnpid != error["pnpid"]]
        assert all(other in error["message"] for other in others)
    for pnpid, guid in own.items():
        give_guid(world, pnpid, guid)
    assert world.pulled()["stats"]["created"] == len(chosen)
    everything_arrived(world)
    quiet(world)


@pytest.mark.parametrize("spelling", ["{%s}", "%s"])
def test_a_guid_in_another_spelling_is_the_same_guid(make_world: MakeWorld, spelling: str) -> None:
    world = make_world(items=40)
    one, two = pick(world, "valves", "valves")
    own = raw_guid(world, two)
    give_guid(world, two, spelling % world.guid(one).upper())
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, dict.fromkeys((one, two), "duplicate_guid"))
    give_guid(world, two, own)
    assert world.pulled()["stats"]["created"] == 2
    everything_arrived(world)


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        bytes(16),
        *(pytest.param(one, marks=pytest.mark.long) for one in ("", "   ", b"short")),
        "{00000000-0000-0000-0000-000000000000}",
    ],
)
def test_items_without_a_guid_are_set_aside_each_for_itself(make_world: MakeWorld, nothing: object) -> None:
    world = make_world(items=40)
    chosen = pick(world, "valves", "valves", "equipment")
    own = {pnpid: raw_guid(world, pnpid) for pnpid in chosen}
    for pnpid in chosen:
        give_guid(world, pnpid, nothing)
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, dict.fromkeys(chosen, "bad_guid"))
    for pnpid, guid in own.items():
        give_guid(world, pnpid, guid)
    assert world.pulled()["stats"]["created"] == len(chosen)
    everything_arrived(world)


def test_a_run_for_one_kind_sees_a_guid_that_is_also_on_another_kind(make_world: MakeWorld) -> None:
    world = make_world(items=60)
    valve, pump = pick(world, "valves", "equipment")
    own = raw_guid(world, pump)
    give_guid(world, pump, raw_guid(world, valve))
    said = world.pull("--entity-types", "valves")
    assert (said.code, errors_of(said)) == (3, {valve: "duplicate_guid"})
    said = world.pull("--entity-types", "equipment")
    assert (said.code, errors_of(said)) == (3, {pump: "duplicate_guid"})
    give_guid(world, pump, own)
    world.pulled()
    everything_arrived(world)


def test_rebuilding_lost_links_does_not_tie_an_asset_to_one_of_two(make_world: MakeWorld) -> None:
    world = make_world(items=40)
    one, two = pick(world, "valves", "valves")
    own = raw_guid(world, two)
    tags = {item.pnpid: item.tag for item in world.items("valves")}
    world.user_adds(tag=tags[one], asset_type="Valve")
    world.user_adds(tag=tags[two], asset_type="Valve")
    give_guid(world, two, raw_guid(world, one))
    assert not [
        pair for pair in world.cli("links", "propose", "mine").json["pairs"] if pair["pnpid"] in (one, two)
    ]
    assert world.cli("links", "accept", "mine").json["linked"] == 0
    give_guid(world, two, own)
    assert world.cli("links", "accept", "mine").json["linked"] == 2
    world.pulled()
    everything_arrived(world)


# ---------------------------------------------------------------- linked before


def test_the_linked_one_goes_on_and_the_newcomer_waits(make_world: MakeWorld) -> None:
    world = make_world(items=40)
    (linked,) = pick(world, "valves")
    world.pulled()
    newcomer = edits.add_item(world.dcf, "GateValve", {"Tag": "HV-8888"})
    own = raw_guid(world, newcomer)
    give_guid(world, newcomer, raw_guid(world, linked))
    edits.set_value(world.dcf, linked, "Description", "goes on")
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, {newcomer: "duplicate_guid"})
    assert str(linked) in said.json["errors"][0]["message"]
    assert world.asset_of(linked)["description"] == "goes on"
    give_guid(world, newcomer, own)
    assert world.pulled()["stats"]["created"] == 1
    everything_arrived(world)
    quiet(world)


def test_both_linked_and_one_takes_the_others_guid(make_world: MakeWorld) -> None:
    world = make_world(items=40)
    keeps, taker = pick(world, "valves", "equipment")
    world.pulled()
    own, before = raw_guid(world, taker), world.asset_of(taker)
    give_guid(world, taker, raw_guid(world, keeps))
    edits.set_value(world.dcf, keeps, "Description", "goes on")
    for _again in range(3):
        said = world.pull()
        assert (said.code, errors_of(said)) == (3, {taker: "duplicate_guid"})
        assert said.json["stats"]["missing"] == 0
    assert world.asset_of(keeps)["description"] == "goes on"
    give_guid(world, taker, own)
    world.pulled()
    assert world.asset_of(taker) == before
    everything_arrived(world)
    quiet(world)


def test_two_newcomers_with_the_guid_of_a_deleted_item_wait_and_its_asset_is_not_missing(
    make_world: MakeWorld,
) -> None:
    world = make_world(items=40)
    (gone,) = pick(world, "valves")
    world.pulled()
    guid = raw_guid(world, gone)
    added = [edits.add_item(world.dcf, "GateValve", {"Tag": f"HV-888{n}"}) for n in range(2)]
    for pnpid in added:
        give_guid(world, pnpid, guid)
    edits.delete_item(world.dcf, gone)
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, dict.fromkeys(added, "duplicate_guid"))
    assert said.json["stats"]["missing"] == 0
    assert world.cli("links", "propose", "mine").json["moved_rows"] == [], "which of both is it?"


# ---------------------------------------------------------------- a row that moved


def moved(world: World) -> tuple[int, int, Row]:
    """An item that lives on under another PnPID, its old PnPID, and its asset."""
    world.pulled()
    (old,) = pick(world, "valves")
    found = next(item for item in world.items("valves") if item.pnpid == old)
    asset, guid = world.asset_of(old), raw_guid(world, old)
    edits.delete_item(world.dcf, old)
    new = edits.add_item(world.dcf, found.class_name, {"Tag": found.tag})
    give_guid(world, new, guid)
    return new, old, asset


def test_an_item_under_another_pnpid_waits_for_a_person_who_has_a_way_to_say_yes(
    make_world: MakeWorld,
) -> None:
    world = make_world(items=40)
    new, old, asset = moved(world)
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, {new: "identity_mismatch"})
    assert "links accept" in said.json["errors"][0]["hint"]
    [row] = world.cli("links", "propose", "mine").json["moved_rows"]
    assert (row["linked_pnpid"], row["pnpid"], row["tag"]) == (old, new, asset["tag"])
    accepted = world.cli("links", "accept", "mine")
    assert (accepted.code, accepted.json["moved_rows"]) == (0, 1)
    world.pulled()
    assert world.asset_of(new)["id"] == asset["id"]
    assert world.cli("links", "propose", "mine").json["moved_rows"] == []
    assert world.cli("audit", "verify").code == 0
    everything_arrived(world)
    quiet(world)


def test_two_rows_that_swapped_their_guids_swap_their_links(make_world: MakeWorld) -> None:
    world = make_world(items=60)
    world.pulled()
    one, two = pick(world, "valves", "valves")
    first, second = raw_guid(world, one), raw_guid(world, two)
    give_guid(world, one, second)
    give_guid(world, two, first)
    said = world.pull()
    assert (said.code, errors_of(said)) == (3, dict.fromkeys((one, two), "identity_mismatch"))
    assert world.cli("links", "accept", "mine").json["moved_rows"] == 2
    world.pulled()
    everything_arrived(world)
