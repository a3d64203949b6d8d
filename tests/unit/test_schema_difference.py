"""What of a changed catalogue waits for a person, and what is nobody's business."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from plant3d_sync.model.schema import Kind, Schema, Step, Used, difference, without_change

TEXT: list[object] = ["EngineeringItems", "System.String", 255]
NUMBER: list[object] = ["EngineeringItems", "System.Double", 8]
Columns = Mapping[str, list[object] | None]


def schema(mapping: str = "m", base: str = "Equipment", **classes: Columns) -> Schema:
    used = {name: Used(base=base, columns=columns) for name, columns in classes.items()}
    return Schema(mapping=mapping, classes=used)


ACCEPTED = schema(Pump={"Description": TEXT, "Rating": None})
USES = {
    name: {"description": ("Description",), "attributes.rating": ("Rating",)} for name in ("Pump", "Valve")
}


def step(now: Schema, accepted: Schema = ACCEPTED, **counts: int) -> Step | None:
    return difference(accepted, now, USES, {"Pump": 1, **counts})


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"Description": None, "Rating": None}, Kind.COLUMN_REMOVED),
        ({"Description": NUMBER, "Rating": None}, Kind.COLUMN_CHANGED),
    ],
)
def test_a_column_that_went_or_changed_makes_its_field_unknown(columns: Columns, kind: Kind) -> None:
    found = step(schema(Pump=columns))
    assert found is not None and [one.kind for one in found.changes] == [kind]
    assert found.fields == {"Pump": {"description"}}


def test_a_first_column_for_a_field_concerns_nobody() -> None:
    assert step(schema(Pump={"Description": TEXT, "Rating": TEXT})) is None


def test_a_new_column_before_the_one_that_fills_a_field_makes_it_unknown() -> None:
    uses = {"Pump": {"description": ("Better", "Description")}}
    accepted = schema(Pump={"Better": None, "Description": TEXT})
    found = difference(accepted, schema(Pump={"Better": TEXT, "Description": TEXT}), uses, {"Pump": 1})
    assert found is not None and [one.kind for one in found.changes] == [Kind.COLUMN_ADDED]


def test_a_class_that_comes_waits_once_it_has_items() -> None:
    now = schema(Pump=ACCEPTED.classes["Pump"].columns, Valve={"Description": TEXT})
    assert step(now) is None
    found = step(now, Valve=2)
    assert found is not None and found.entering == {"Valve"} and not found.leaving


def test_a_class_that_goes_waits() -> None:
    accepted = schema(Pump=ACCEPTED.classes["Pump"].columns, Valve={"Description": TEXT})
    found = step(ACCEPTED, accepted)
    assert found is not None and found.leaving == {"Valve"} and not found.entering


def test_a_class_that_stands_elsewhere_waits() -> None:
    found = step(schema(base="Lines", Pump=ACCEPTED.classes["Pump"].columns))
    assert found is not None and [one.kind for one in found.changes] == [Kind.CLASS_MOVED]


def test_what_a_changed_mapping_brings_or_leaves_is_no_change_of_the_schema() -> None:
    now = schema("another", Valve={"Description": TEXT})
    assert step(now, Valve=2) is None


def test_while_a_step_waits_all_but_what_it_is_about_is_remembered_as_it_is() -> None:
    now = schema(Pump={"Description": None, "Rating": TEXT}, Valve={"Description": TEXT})
    found = step(now, Valve=1)
    kept = without_change(ACCEPTED, now, found)
    assert kept == schema(Pump={"Description": TEXT, "Rating": TEXT})
    assert step(now, kept, Valve=1) == found, "nothing is accepted by being looked at"
