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
