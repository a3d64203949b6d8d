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
