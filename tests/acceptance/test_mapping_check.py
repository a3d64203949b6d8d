"""`mapping check`: every wrong name with file, line and the nearest valid one, and an exit code a script can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.world import NAME, World

HEAD = "version: 1\nextends: stock\nclasses:\n"


def check(world: World, text: str, *, source: bool = True) -> tuple[int, dict[str, tuple[str, int, str]]]:
    """Exit code; problems of the file as code -> (severity, line, message)."""
    path = Path(world.folder) / "mine.yml"
    path.write_text(HEAD + text, encoding="utf-8")
    said = world.cli("mapping", "check", str(path), *(["--source", str(world.dcf)] if source else []))
    assert said.json["ok"] is (said.code == 0)
    own = [one for one in said.json["problems"] if one["file"] == "mine.yml" and one["severity"] != "info"]
    return said.code, {
        one["code"]: (one["severity"], one["line"], f"{one['message']} {one.get('suggestion', '')}")
        for one in own
        if one["severity"] != "suggestion"
    }


def test_a_mapping_that_fits_the_project_is_usable(world: World) -> None:
    assert check(
        world, "  Equipment: {fields: {attributes.make: {column: Manufacturer, owner: plant3d}}}\n"
    ) == (
        0,
        {},
    )


@pytest.mark.parametrize(
    ("text", "code", "severity", "line", "nearest"),
    [
        ("  Equipmnt: {entity: equipment}\n", "class_missing", "warning", 4, "Equipment"),
        (
            "  Equipment:\n    fields:\n      attributes.spec: {column: EquipmentSpeck, owner: plant3d}\n",
            "column_missing",
            "warning",
            6,
            "EquipmentSpec",
        ),
        (
            "  Equipment:\n    fields:\n      tag: {column: Tagg, owner: plant3d}\n",
            "column_missing",
            "error",
            6,
            "Tag",
        ),
    ],
)
def test_a_misspelt_name_is_named_with_its_line_and_the_nearest_valid_one(
    world: World, text: str, code: str, severity: str, line: int, nearest: str
) -> None:
    ended, found = check(world, text)
    assert ended == 78
    assert found[code][:2] == (severity, line)
    assert nearest in found[code][2]


def test_one_of_several_columns_may_be_missing(world: World) -> None:
    ended, found = check(
        world, "  Equipment: {fields: {attributes.x: {column: [Nope, Type], owner: plant3d}}}\n"
    )
    assert ended == 0 and set(found) == {"candidate_missing"}


def test_a_pull_goes_on_without_a_misspelt_field_and_stops_without_a_tag(world: World) -> None:
    path = Path(world.folder) / "mine.yml"
    path.write_text(HEAD + "  Equipment: {fields: {attributes.x: {column: Tipe, owner: plant3d}}}\n")
    world.configure(mapping=["stock", str(path)])
    said = world.pull()
    assert said.code in (0, 3) and said.json["stats"]["created"] > 0
    path.write_text(HEAD + "  Equipment: {fields: {tag: {column: Tagg, owner: plant3d}}}\n")
    said = world.pull()
    assert said.code == 78 and said.json["error"]["code"] == "mapping_invalid"
    assert "Tagg" in said.err and "mine.yml" in said.err and "Tag?" in said.err
    assert NAME not in said.json


def test_every_class_that_the_mapping_brings_is_told_with_its_rows(world: World) -> None:
    path = Path(world.folder) / "mine.yml"
    path.write_text("version: 1\nextends: stock\n", encoding="utf-8")
    words = ("mapping", "check", str(path), "--project", NAME)
    rows = {one["class"]: one["rows"] for one in world.cli(*words).json["classes"]}
    held = world.sql("SELECT PnPClassName, count(*) FROM PnPBase GROUP BY PnPClassName")
    assert {name: count for name, count in held if name in rows} == {n: c for n, c in rows.items() if c}
    assert sum(rows.values()) == world.pulled()["coverage"]["whole"]
    name = max(rows, key=lambda one: rows[one])
    text = world.cli(*words, as_json=False).out
    assert f"{name} {rows[name]}" in text
    assert "info: mine.yml: classes that become assets" in text, "a sentence, not a JSON text"


def test_items_that_would_enter_are_told_as_what_they_would_become(world: World) -> None:
    path = Path(world.folder) / "mine.yml"
    path.write_text(HEAD + "  HandValves: {entity: none}\n", encoding="utf-8")
    world.configure(mapping=[str(path)])
    first, second, third = world.items("valves")[:3]
    world.pulled()
    world.change("UPDATE HandValves SET Tag = ? WHERE PnPID = ?", first.tag, second.pnpid)
    world.change("UPDATE HandValves SET Tag = '?' WHERE PnPID = ?", third.pnpid)
    world.change("DELETE FROM PnPTagRegistry WHERE RowId = ?", third.pnpid)
    enter = world.cli("mapping", "diff", NAME, "--mapping", "stock").json["enter"]
    valves = world.sql("SELECT count(*) FROM HandValves")[0][0]
    assert enter["count"] == valves
    assert enter["becomes"] == {"created": valves - 3, "duplicate_tag": 2, "untagged": 1}
    text = world.cli("mapping", "diff", NAME, "--mapping", "stock", as_json=False).out
    assert f"brings: {valves} (" in text and "duplicate_tag 2" in text
    world.configure(mapping=None)
    assert world.pulled()["stats"]["created"] == enter["becomes"]["created"]
    again = world.cli("mapping", "diff", NAME).json
    assert again["enter"]["count"] == 0, "what earlier runs told is not the mapping's doing"


def test_linked_items_that_a_mapping_gives_one_tag_are_told_by_name(settled: World) -> None:
    first, second = settled.items("equipment")[:2]
    for item in (first, second):
        settled.change("UPDATE EngineeringItems SET Manufacturer = 'M-1' WHERE PnPID = ?", item.pnpid)
    path = Path(settled.folder) / "mine.yml"
    path.write_text(HEAD + "  Equipment: {fields: {tag: {column: [Manufacturer, Tag]}}}\n", encoding="utf-8")
    found = settled.cli("mapping", "diff", NAME, "--mapping", str(path)).json
    aside = {item["pnpid"]: item["becomes"] for item in found["set_aside"]["items"]}
    assert aside == {first.pnpid: "duplicate_tag", second.pnpid: "duplicate_tag"}
