"""The catalog is what the project says about itself; nothing about its classes is known beforehand."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import Snapshot, open_source
from tests.support.dcf import Dcf


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    return Dcf(tmp_path / "ProcessPower.dcf")


@pytest.fixture
def read(dcf: Dcf) -> Iterator[object]:
    opened: list[Snapshot] = []

    def snapshot() -> Snapshot:
        opened.append(open_source(dcf.path).snapshot())  # type: ignore[arg-type]
        return opened[-1]

    yield snapshot
    for each in opened:
        each.close()


def codes(snapshot: Snapshot) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for finding in snapshot.findings():
        found.setdefault(finding.code, []).append(finding.class_name)
        assert finding.message and finding.hint
    return found


def test_a_class_has_its_own_and_all_inherited_columns(dcf: Dcf, read) -> None:
    columns = read().catalog.columns["CentrifugalPump"]
    assert {"description", "tag", "area", "power", "d1", "größe mm", "paramonline"} <= set(columns)
    assert columns["tag"].table_class == "Equipment"
    assert columns["paramonline"].type == "System.Double"
    assert "pnpid" not in columns


def test_what_the_catalogue_was_made_of_is_given_up_with_the_reading(read) -> None:
    gc.collect()
    gc.disable()
    try:
        catalogue = read().catalog
        assert catalogue.columns and not [one for one in gc.get_objects() if type(one).__name__ == "_Draft"]
    finally:
        gc.enable()


def test_the_nearest_class_that_has_an_attribute_wins_attribute_by_attribute(dcf: Dcf, read) -> None:
    dcf.attribute("EngineeringItems", "Description", "VALUE", "ENGINEERING ITEMS")
    dcf.attribute("EngineeringItems", "Description", "ISREADONLY", "TRUE")
    dcf.attribute("Pumps", "Description", "VALUE", "PUMPS")
    dcf.attribute("Pumps", "DESCRIPTION", "DISPLAYNAME", "What it is")
    dcf.attribute("CentrifugalPump", "description", "ISREADONLY", "False")
    catalog = read().catalog
    pump, tank = catalog.column("CentrifugalPump", "Description"), catalog.column("HandValves", "Description")
    assert pump is not None and tank is not None
    assert (pump.default, pump.read_only, pump.label) == ("PUMPS", False, "What it is")
    assert (tank.default, tank.read_only, tank.label) == ("ENGINEERING ITEMS", True, "Description")


def test_labels_pick_lists_and_custom_columns_are_read(dcf: Dcf, read) -> None:
    number = dcf.add("PnPPicklists", PicklistName="Spec list")
    dcf.add("PnPPicklistValues", PicklistValue="CS150", PicklistId=number)
    dcf.attribute("InLineAssets", "Spec", "PICKLISTNAME", "Spec list")
    dcf.attribute("InLineAssets", "Spec", "PICKLISTTYPE", "SymbolSelect")
    dcf.attribute("CentrifugalPump", "D1", "ISNEWCREATION", "true")
    dcf.attribute("Pumps", "Power", "ISREMOVABLE", "true")
    catalog = read().catalog
    spec, d1 = catalog.column("gatevalve", "SPEC"), catalog.column("CentrifugalPump", "D1")
    assert spec is not None and d1 is not None
    assert (spec.picklist, spec.symbol_select, d1.custom) == ("Spec list", True, True)
    power = catalog.column("CentrifugalPump", "Power")
    assert power is not None and not power.custom, "removable, but from a template of Autodesk"
    assert catalog.picklists["Spec list"] == ("CS150",)
    assert catalog.classes["Pumps"].label == "The Pumps"


def test_a_class_that_never_had_an_item_has_no_table(dcf: Dcf, read) -> None:
    dcf.add("CentrifugalPump")
    snapshot = read()
    assert not snapshot.catalog.classes["SprayNozzle"].has_table
    assert snapshot.catalog.classes["CentrifugalPump"].has_table
    assert snapshot.counts(["SprayNozzle", "CENTRIFUGALPUMP"]) == {"SprayNozzle": 0, "CENTRIFUGALPUMP": 1}


def test_a_class_stored_under_another_physical_name_is_read_there(dcf: Dcf, read) -> None:
    item = dcf.add("GateValve", Tag="V-1", Size="50")
    dcf.sql("ALTER TABLE InLineAssets RENAME TO IL_1")
    dcf.sql("UPDATE PnPTables SET PhysicalName = 'IL_1' WHERE TableName = 'InLineAssets'")
    batch = next(iter(read().scan(["GateValve"], {})))
    assert (batch.changed[0].pnpid, batch.changed[0].values["Size"]) == (item, "50")


def test_a_cycle_of_classes_is_cut_and_reported(dcf: Dcf, read) -> None:
    dcf.declare("A", "B", {"x": "String"})
    dcf.declare("B", "A", {})
    snapshot = read()
    assert set(codes(snapshot)["class_cycle"]) & {"A", "B"}
    assert len(snapshot.catalog.chain("A")) <= 2


def test_a_class_with_an_unknown_base_stays_usable(dcf: Dcf, read) -> None:
    dcf.declare("Odd", "Nowhere", {"x": "String"})
    snapshot = read()
    assert codes(snapshot)["unknown_base"] == ["Odd"]
    assert snapshot.catalog.column("Odd", "x") is not None


def test_two_classes_differing_only_in_case_do_not_hide_each_other_in_silence(dcf: Dcf, read) -> None:
    dcf.sql("INSERT INTO PnPTables VALUES ('pumps', 'Equipment', 'FALSE', 'pumps')")
    snapshot = read()
    assert codes(snapshot)["class_case_clash"] == ["pumps"]
    assert snapshot.catalog.classes["Pumps"].base == "Equipment"


def test_two_columns_differing_only_in_case_are_both_read(dcf: Dcf, read) -> None:
    dcf.declare("Vessel", "Equipment", {"Été": "String", "été": "String"})
    dcf.add("Vessel", Tag="T-1", Été="one", été="two")
    snapshot = read()
    item = next(iter(snapshot.scan(["Vessel"], {}))).changed[0]
    assert (item.values["Été"], item.values["été"]) == ("one", "two")
    assert "column_case_clash" in codes(snapshot)


def test_a_name_that_cannot_be_quoted_never_reaches_sql(dcf: Dcf, read) -> None:
    dcf.sql('ALTER TABLE PnPBase ADD COLUMN "a]b" int')
    snapshot = read()
    assert codes(snapshot)["unusable_name"] == ["PnPBase"]


def test_a_column_repeated_by_a_subclass_is_taken_from_the_subclass(dcf: Dcf, read) -> None:
    dcf.declare("Vessel", "Equipment", {"Area": "String"})
    item = dcf.add("Vessel", Tag="T-1", Area="300")
    dcf.sql("UPDATE Equipment SET Area = '100' WHERE PnPID = ?", item)
    snapshot = read()
    assert next(iter(snapshot.scan(["Vessel"], {}))).changed[0].values["Area"] == "300"
    assert codes(snapshot)["column_repeated"] == ["Vessel"]


def test_a_project_of_2010_without_nocase_and_newer_tables_is_read(tmp_path: Path) -> None:
    old = Dcf(tmp_path / "old.dcf", nocase=False, page_size=1024)
    old.sql("DROP TABLE PnPTableAttributes")
    old.sql("DROP TABLE PnPColumnAttributes")
    old.sql("UPDATE PnPProperties SET Length = -1 WHERE PropertyType = 'System.String'")
    old.add("CentrifugalPump", Tag="P-1")
    snapshot = open_source(old.path).snapshot()
    item = next(iter(snapshot.scan(["centrifugalpump"], {}))).changed[0]
    assert (item.class_name, item.values["Tag"]) == ("CentrifugalPump", "P-1")
    column = snapshot.catalog.column("CentrifugalPump", "Tag")
    assert column is not None and column.length == 255
    snapshot.close()
