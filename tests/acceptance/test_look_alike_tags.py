"""Tags that a reader takes for one another, at first contact with a SYNAPSE that has assets."""

from __future__ import annotations

import unicodedata

from tests.support.world import NAME, World


def test_the_pair_is_shown_and_a_person_may_tie_it(world: World) -> None:
    pump, vessel, third = world.items("equipment")[:3]
    spellings = {
        pump.pnpid: pump.tag.lower(),
        vessel.pnpid: vessel.tag.replace("-", "\N{EN DASH}", 1),
        third.pnpid: f"{third.tag}\N{ZERO WIDTH SPACE}",
    }
    for tag in spellings.values():
        world.user_adds(tag=tag, asset_type="Equipment")
    report = world.pulled()
    told = world.findings("look_alike_tag")
    assert {row["pnpid"] for row in told} == set(spellings)
    for row in told:
        spelling = spellings[row["pnpid"]]
        character = next(b for a, b in zip(row["data"]["tag"] + "\0", spelling, strict=False) if a != b)
        assert unicodedata.name(character).lower() in row["data"]["message"], (
            "the finding names the character"
        )
    assert not {pump.tag, vessel.tag, third.tag} & set(world.live()), "no second assets"
    assert report["outcome"] == "clean" and report["stats"]["skipped"] >= 3

    pairs = {p["pnpid"]: p for p in world.cli("links", "propose", NAME).json["pairs"] if p["asset_tag"]}
    assert {pnpid: pair["asset_tag"] for pnpid, pair in pairs.items()} == spellings
    assert world.cli("links", "accept", NAME).json["linked"] == 0, "nobody said which"

    assert world.cli("links", "accept", NAME, "--only", pump.tag).json["linked"] == 1
    world.pulled()
    assert world.asset_of(pump.pnpid)["tag"] == pump.tag, "one asset, with Plant 3D's spelling"
    assert spellings[pump.pnpid] not in world.live()
    assert {row["pnpid"] for row in world.findings("look_alike_tag")} == set(spellings) - {pump.pnpid}


def test_two_items_of_plant_3d_whose_tags_read_the_same_are_shown_as_a_pair(world: World) -> None:
    first, second, third, fourth = world.items("equipment")[:4]
    dashed, digit = first.tag.replace("-", "\N{EN DASH}", 1), third.tag.replace("-", "-O", 1)
    world.change("UPDATE Equipment SET Tag = ? WHERE PnPID = ?", dashed, second.pnpid)
    world.change("UPDATE Equipment SET Tag = ? WHERE PnPID = ?", digit, third.pnpid)
    world.change("UPDATE Equipment SET Tag = ? WHERE PnPID = ?", digit.replace("O", "0"), fourth.pnpid)
    world.pulled()
    live = world.live()
    assert not {first.tag, dashed} & set(live), "neither is created"
    assert {digit, digit.replace("O", "0")} <= set(live), "O and 0 are told, and both are created"

    proposed = world.cli("links", "propose", NAME)
    pairs = {frozenset((p["pnpid"], p["other_pnpid"])): p for p in proposed.json["pairs"]}
    for pair, character in (((first, second), "en dash"), ((third, fourth), "digit zero")):
        shown = pairs[frozenset(one.pnpid for one in pair)]
        assert shown["between"] == "plant3d" and not shown["certain"] and shown["asset_id"] is None
        assert character in shown["reason"]
    assert proposed.json["look_alikes"] == {"plant3d": 2, "synapse": 0}
    text = world.cli("links", "propose", NAME, as_json=False).out
    assert first.tag in text and dashed in text and "in Plant 3D" in text

    answer = world.cli("links", "accept", NAME, "--only", f"{first.tag},P-NOBODY").json
    assert answer["linked"] == 0
    reasons = {one["tag"]: f"{one['reason']} {one['hint']}" for one in answer["not_linked"]}
    assert dashed in reasons[first.tag] and "Plant 3D" in reasons[first.tag] and reasons["P-NOBODY"]


def test_two_assets_of_synapse_whose_tags_read_the_same_are_told_and_shown(settled: World) -> None:
    pump, vessel = settled.items("equipment")[:2]
    beside_linked = settled.user_adds(tag=pump.tag.lower(), asset_type="Equipment")
    settled.change("DELETE FROM PnPBase WHERE PnPID = ?", vessel.pnpid)
    pair = [settled.user_adds(tag=tag, asset_type="Equipment")["id"] for tag in ("ZZ-1O1", "ZZ-101")]
    settled.pulled()
    told = [row["data"] for row in settled.findings("look_alike_tag")]
    assert {one["data"]["asset_id"] for one in told} == {beside_linked["id"], pair[1]}
    shown = {p["asset_id"]: p for p in settled.cli("links", "propose", NAME).json["pairs"]}
    assert shown[pair[1]]["between"] == "synapse" and shown[pair[1]]["other_asset_id"] == pair[0]
    linked = shown[beside_linked["id"]]
    assert linked["other_pnpid"] == pump.pnpid and linked["other_tag"] == pump.tag
