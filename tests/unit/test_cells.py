"""What may be written into a cell of Plant 3D, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from plant3d_sync.model.catalog import Column
from plant3d_sync.model.cells import allowed_column, check_cell
from plant3d_sync.model.record import Value
from tests.support.builders import catalog, column, item


def checked(value: Value, one: Column | None = None, **of_item: Any) -> str | None:
    own = one or column("Remark", length=20)
    problem = check_cell(
        catalog(own, picklists={"Colours": ("red", "blue")}), item(1, "P-1", **of_item), own.name, value
    )
    if problem is None:
        return None
    code, sentence = problem
    assert sentence.endswith((".", ")"))
    return code


@pytest.mark.parametrize("value", ["feed pump", "", None, "x" * 20, "pompe alimentée", "=1+1", "右"])
def test_a_short_text_in_a_text_column_may_be_written(value: Value) -> None:
    assert checked(value) is None


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (column("Tag"), "composed_column"),
        (column("PnPID"), "system_column"),
        (column("Status", table_class="PnPBase"), "system_column"),
        (column("Number"), "tag_part"),
        (column("SPEC"), "tag_part"),
        (column("Remark", read_only=True), "read_only_column"),
        (column("Remark", hidden=True), "hidden_column"),
        (column("Remark", symbol_select=True), "symbol_select_column"),
        (column("Weight", type="System.Double"), "not_a_text_column"),
        (column("Done", type="System.Boolean"), "not_a_text_column"),
    ],
)
def test_columns_plant3d_keeps_for_itself_are_refused(one: Column, code: str) -> None:
    assert checked("x", one) == code
    assert allowed_column(catalog(one), "Pump", one.name) == (None, code)


def test_an_unknown_column_or_class_is_refused() -> None:
    assert check_cell(catalog(), item(1), "Nowhere", "x") is not None
    assert allowed_column(catalog(), "Nothing", "Remark") == (None, "column_unknown")


def test_a_column_is_found_in_any_case_of_its_letters() -> None:
    found, why = allowed_column(catalog(column("Remark")), "pump", "rEMARK")
    assert found is not None
    assert (found.name, why) == ("Remark", "")


def test_a_sign_that_takes_two_places_counts_twice() -> None:
    assert checked("\N{FIRE}" * 10) is None
    assert checked("\N{FIRE}" * 11) == "too_long"


def test_a_text_longer_than_the_column_is_refused() -> None:
    assert checked("x" * 21) == "too_long"
    assert checked("x" * 5000, column("Remark", length=0)) is None, "a length of 0 is no limit"


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\x00", "\x1b", "\x85", "\u2028", "\u2029", "\ud800"])
def test_line_breaks_and_control_characters_are_refused(char: str) -> None:
    assert checked(f"a{char}b") == "control_character"


@pytest.mark.parametrize("value", [12, 1.5, True])
def test_what_is_not_text_is_refused(value: Value) -> None:
    assert checked(value) == "not_text"


def test_a_selection_list_takes_only_its_own_values() -> None:
    colour = column("Colour", picklist="Colours")
    assert checked("red", colour) is None
    assert checked("green", colour) == "not_in_picklist"
    assert checked("anything", column("Colour", picklist="Unread")) is None, (
        "a list that was not read limits nothing"
    )


def test_a_column_filled_from_another_object_is_refused() -> None:
    acquiring = {"values": {"AcquisitionProperties": "Service, Remark ,#Spec"}}
    assert checked("x", **acquiring) == "acquired_column"
    assert checked("x", column("Comment"), **acquiring) is None
    assert checked("x", column("Coating"), values={"AcquisitionProperties": "#Coating"}) is None


def test_a_cell_without_a_row_cannot_be_written() -> None:
    assert checked("x", unknown=frozenset({"Remark"})) == "row_missing"
