"""Every item is read once, whatever is odd about it: the oddity becomes a finding, the good cells land."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import Snapshot, inspect_source, open_source
from plant3d_sync.model.record import Finding, PlantItem
from tests.support.dcf import Dcf

CLASSES = ["CentrifugalPump", "GateValve", "FieldMountedDCS", "Nozzles", "Primary", "PipeLineGroup"]
Read = Callable[[], Snapshot]


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    return Dcf(tmp_path / "ProcessPower.dcf")


@pytest.fixture
def read(dcf: Dcf) -> Iterator[Read]:
    opened: list[Snapshot] = []

    def snapshot() -> Snapshot:
        opened.append(open_source(dcf.path).snapshot())  # type: ignore[arg-type]
        return opened[-1]

    yield snapshot
    for each in opened:
        each.close()


def items(snapshot: Snapshot, classes: Sequence[str] = CLASSES) -> dict[int, PlantItem]:
    return {item.pnpid: item for batch in snapshot.scan(classes, {}) for item in batch.changed}


def digests(snapshot: Snapshot) -> dict[int, bytes]:
    return {pnpid: item.digest for pnpid, item in items(snapshot).items()}


def found(snapshot: Snapshot, code: str) -> list[Finding]:
    items(snapshot)
    return [finding for finding in snapshot.findings() if finding.code == code]


# ---------------------------------------------------------------- plain reading


def test_an_item_carries_its_class_columns_identity_and_time(dcf: Dcf, read: Read) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", Description="Feed pump", D1="x", **{"Größe mm": "80"})
    item = items(read())[pump]
    assert (item.class_name, item.guid) == ("CentrifugalPump", str(uuid.UUID(int=pump, version=4)))
    assert (item.timestamp, item.revision) == (638947573946251024 + pump * 10_000_000, 0)
    assert {k: v for k, v in item.values.items() if v is not None} == {
        "Tag": "P-1",
        "Description": "Feed pump",
        "D1": "x",
        "Größe mm": "80",
    }
    assert item.unknown == frozenset()


def test_a_clean_database_has_no_findings(dcf: Dcf, read: Read) -> None:
    drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
    pump, valve = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("GateValve", Tag="V-1")
    dcf.draw(drawing, pump, valve)
    snapshot = read()
    assert len(items(snapshot)) == 2
    assert list(snapshot.findings()) == []


def test_items_come_once_in_the_order_of_classes_and_ids(dcf: Dcf, read: Read) -> None:
    for number in range(6):
        dcf.add(("GateValve", "CentrifugalPump")[number % 2], Tag=f"X-{number}")
    batches = list(read().scan(["GateValve", "Nowhere", "centrifugalpump", "GateValve"], {}))
    assert [i.pnpid for b in batches for i in b.changed] == [1, 3, 5, 2, 4, 6]


def test_a_database_without_any_item_reads_as_empty(dcf: Dcf, read: Read) -> None:
    snapshot = read()
    assert items(snapshot) == {}
    assert list(snapshot.findings()) == []


def test_item_number_zero_is_an_item_when_plant_3d_says_so(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", pnpid=0, Tag="P-0")
    assert items(read())[0].values["Tag"] == "P-0"


def test_class_names_in_another_case_in_pnpbase_are_the_same_class(dcf: Dcf, read: Read) -> None:
    pump, other = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("CentrifugalPump", Tag="P-2")
    dcf.sql("UPDATE PnPBase SET PnPClassName = 'CENTRIFUGALPUMP' WHERE PnPID = ?", other)
    snapshot = read()
    assert {i.class_name for i in items(snapshot).values()} == {"CentrifugalPump"}
    assert set(items(snapshot)) == {pump, other}
    assert snapshot.counts(["CentrifugalPump"]) == {"CentrifugalPump": 2}


# ---------------------------------------------------------------- digests


def test_an_item_with_the_known_digest_comes_back_as_unchanged(dcf: Dcf, read: Read) -> None:
    first, second = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("GateValve", Tag="V-1")
    known = digests(read())
    dcf.sql("UPDATE HandValves SET Tag = 'V-2' WHERE PnPID = ?", second)
    batch = next(iter(read().scan(CLASSES, known)))
    assert batch.unchanged == [first]
    assert [(i.pnpid, i.values["Tag"]) for i in batch.changed] == [(second, "V-2")]


def test_a_new_stamp_or_revision_alone_is_no_change(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", Tag="P-1")
    before = digests(read())
    dcf.sql("UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 5, PnPRevision = 9")
    assert digests(read()) == before


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE Equipment SET Tag = 'P-2'",
        "UPDATE Equipment SET Area = ''",
        "UPDATE CentrifugalPump SET D1 = 'x'",
        "DELETE FROM Pumps",
        "UPDATE PnPBase SET PnPGuid = zeroblob(16) WHERE PnPClassName = 'CentrifugalPump'",
        "UPDATE PnPDrawings SET PnID = 'PID-2'",
        "DELETE FROM PnPDataLinks",
        "UPDATE PnPTagRegistry SET Tag = 'P-9'",
        "DELETE FROM AssetOwnership",
        "UPDATE EngineeringItems SET ParamOnLine = 0.5",
        "UPDATE EngineeringItems SET ParamOnLine = 9e999",
        "UPDATE EngineeringItems SET ParamOnLine = -9e999",
        "UPDATE Equipment SET Area = x'00ff'",
    ],
)
def test_whatever_belongs_to_an_item_changes_its_digest(dcf: Dcf, read: Read, edit: str) -> None:
    drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
    pump, skid = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("GateValve", Tag="SKID-1")
    dcf.draw(drawing, pump)
    dcf.register("P-1", pump)
    dcf.relate("AssetOwnership", Owner=skid, Owned=pump)
    before = digests(read())
    dcf.sql(edit)
    assert digests(read())[pump] != before[pump]
    compared = [item.pnpid for batch in read().scan(CLASSES, before) for item in batch.changed]
    assert pump in compared


def test_digests_are_the_same_in_another_process(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", Tag="P-1", Description="Ligne é", ParamOnLine=0.5)
    dcf.add("GateValve", Tag=" V-1\n", without=["InLineAssets"])
    program = (
        "import sys; from plant3d_sync.connectors.plant3d import open_source\n"
        "for b in open_source(sys.argv[1]).snapshot().scan(['CentrifugalPump', 'GateValve'], {}):\n"
        "    [print(i.pnpid, i.digest.hex()) for i in b.changed]"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", program, str(dcf.path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    assert out.split("\n")[:-1] == [f"{k} {v.hex()}" for k, v in digests(read()).items()]


# ---------------------------------------------------------------- hazards of levels and rows


@pytest.mark.parametrize("level", ["EngineeringItems", "Equipment", "Pumps", "CentrifugalPump"])
def test_a_missing_level_is_unknown_not_empty(dcf: Dcf, read: Read, level: str) -> None:
    whole = dcf.add("CentrifugalPump", Tag="P-1", Description="d", Power="5", D1="x")
    broken = dcf.add("CentrifugalPump", Tag="P-2", Description="d", Power="5", D1="x", without=[level])
    snapshot = read()
    got = items(snapshot)
    lost = {c.name for c in snapshot.catalog.columns["CentrifugalPump"].values() if c.table_class == level}
    assert got[broken].unknown == lost
    assert got[broken].values.keys() == got[whole].values.keys() - lost
    [finding] = found(snapshot, "row_missing")
    assert (finding.pnpid, finding.data["levels"]) == (broken, [level])


def test_several_missing_levels_are_one_finding(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", Tag="P-1")
    dcf.add("CentrifugalPump", Tag="P-2", without=["Equipment", "Pumps"])
    [finding] = found(read(), "row_missing")
    assert finding.data["levels"] == ["Pumps", "Equipment"]


def test_a_level_whose_table_is_gone_makes_its_columns_unknown(dcf: Dcf, read: Read) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", Power="5")
    dcf.sql("DROP TABLE Pumps")
    snapshot = read()
    item = items(snapshot)[pump]
    assert (item.values["Tag"], item.unknown) == ("P-1", {"Power"})
    assert [f.data["level"] for f in found(snapshot, "class_without_table")] == ["Pumps"]


def test_a_column_that_the_table_lacks_is_unknown_in_that_class_alone(dcf: Dcf, read: Read) -> None:
    pump, valve = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("GateValve", Tag="V-1", Size="50")
    dcf.sql("INSERT INTO PnPProperties VALUES ('Equipment', 'Weight', 'System.String', 255)")
    snapshot = read()
    got = items(snapshot)
    assert got[pump].unknown == {"Weight"} and "Weight" not in got[pump].values
    assert got[valve].unknown == frozenset()
    assert [(f.class_name, f.column) for f in found(snapshot, "column_missing")] == [("Equipment", "Weight")]


def test_rows_without_item_and_rows_of_another_class_are_reported_and_not_read(dcf: Dcf, read: Read) -> None:
    pump, link = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("GateValve", Tag="V-1")
    dcf.sql("INSERT INTO Equipment (PnPID, Tag) VALUES (0, 'GHOST')")
    dcf.sql("INSERT INTO Equipment (PnPID, Tag) VALUES (?, 'FOREIGN')", link)
    snapshot = read()
    assert set(items(snapshot)) == {pump, link}
    assert items(snapshot)[link].values["Tag"] == "V-1"
    assert [(f.pnpid, f.class_name) for f in found(snapshot, "orphan_row")] == [(0, "Equipment")]
    assert [(f.pnpid, f.class_name) for f in found(snapshot, "foreign_row")] == [(link, "Equipment")]


def test_a_foreign_row_is_found_even_where_a_missing_one_keeps_the_count(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", Tag="P-1", without=["Equipment"])
    valve = dcf.add("GateValve", Tag="V-1")
    dcf.sql("INSERT INTO Equipment (PnPID, Tag) VALUES (?, 'FOREIGN')", valve)
    assert [f.pnpid for f in found(read(), "foreign_row")] == [valve]


def test_items_of_a_class_the_catalogue_does_not_know_are_counted(dcf: Dcf, read: Read) -> None:
    dcf.sql("INSERT INTO PnPBase VALUES (50, 'Mystery', 0, 0, NULL, 1), (51, NULL, 0, 0, NULL, 1)")
    assert sorted((str(f.class_name), f.data["count"]) for f in found(read(), "unknown_class")) == [
        ("Mystery", 1),
        ("None", 1),
    ]


def test_two_rows_for_one_item_in_a_table_without_key_yield_it_once(dcf: Dcf, read: Read) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1")
    dcf.sql("DROP TABLE Equipment")
    dcf.sql("CREATE TABLE Equipment (PnPID int, Tag text, Area text)")
    for tag in ("P-1", "P-X"):
        dcf.sql("INSERT INTO Equipment VALUES (?, ?, NULL)", pump, tag)
    snapshot = read()
    batches = list(snapshot.scan(["CentrifugalPump"], {}))
    assert [i.pnpid for b in batches for i in b.changed] == [pump]
    assert [f.pnpid for f in found(snapshot, "duplicate_row")] == [pump]


@pytest.mark.parametrize(
    "guid",
    [
        None,
        b"short",
        "not a guid",
        "",
        " ",
        bytes(16),
        "{00000000-0000-0000-0000-000000000000}",
        "1_" * 16,
        7,
    ],
)
def test_an_item_without_a_valid_guid_is_read_and_reported(dcf: Dcf, read: Read, guid: object) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", PnPGuid=guid)
    snapshot = read()
    assert (items(snapshot)[pump].guid, items(snapshot)[pump].values["Tag"]) == ("", "P-1")
    assert [f.pnpid for f in found(snapshot, "bad_guid")] == [pump]


def test_items_that_share_a_guid_are_both_read_and_reported(dcf: Dcf, read: Read) -> None:
    guid = uuid.UUID(int=99, version=4).bytes_le
    first, second = dcf.add("CentrifugalPump", PnPGuid=guid), dcf.add("GateValve", PnPGuid=guid)
    snapshot = read()
    assert set(items(snapshot)) == {first, second}
    assert [f.data["pnpids"] for f in found(snapshot, "duplicate_guid")] == [[first, second]]
    assert {item.sharing for item in items(snapshot).values()} == {(first, second)}


@pytest.mark.parametrize(
    "spelling", ["{%s}", "(%s)", "%s", " %s\n", "{%S}", "%S", "%n"], ids=lambda text: repr(text)
)
def test_one_guid_is_one_guid_however_it_is_written(dcf: Dcf, read: Read, spelling: str) -> None:
    guid = uuid.UUID(int=0xABCDEF99, version=4)
    text = spelling.replace("%s", str(guid)).replace("%S", str(guid).upper()).replace("%n", guid.hex)
    pump = dcf.add("CentrifugalPump", Tag="P-1", PnPGuid=guid.bytes_le)
    valve, alone = dcf.add("GateValve", Tag="V-1", PnPGuid=text), dcf.add("GateValve", Tag="V-2")
    got = items(read())
    assert {got[pump].guid, got[valve].guid} == {str(guid)}
    assert {pnpid: item.sharing for pnpid, item in got.items()} == {
        pump: (pump, valve),
        valve: (pump, valve),
        alone: (),
    }


def test_two_rows_of_pnpbase_with_one_pnpid_and_one_guid_share_it(dcf: Dcf, read: Read) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1")
    rows = dcf.sql("SELECT * FROM PnPBase")
    dcf.sql("DROP TABLE PnPBase")
    dcf.sql(
        "CREATE TABLE PnPBase (PnPID int, PnPClassName text, PnPStatus int, PnPRevision int, PnPGuid, PnPTimestamp int)"
    )
    for row in rows:
        dcf.sql("INSERT INTO PnPBase VALUES (?, ?, ?, ?, ?, ?)", *row)
    dcf.sql(
        "INSERT INTO PnPBase SELECT PnPID, 'GateValve', 0, 0, PnPGuid, PnPTimestamp FROM PnPBase WHERE PnPID = ?",
        pump,
    )
    read_twice = [item for batch in read().scan(CLASSES, {}) for item in batch.changed]
    assert [(item.pnpid, item.sharing) for item in read_twice] == [(pump, (pump, pump))] * 2


def test_many_items_without_identity_do_not_share_one(dcf: Dcf, read: Read) -> None:
    for number in range(3):
        dcf.add("CentrifugalPump", Tag=f"P-{number}", PnPGuid=bytes(16))
    snapshot = read()
    assert [item.sharing for item in items(snapshot).values()] == [(), (), ()]
    assert len(found(snapshot, "bad_guid")) == 3 and not found(snapshot, "duplicate_guid")


def test_a_guid_on_hundreds_of_items_is_one_finding_of_bounded_size(dcf: Dcf, read: Read) -> None:
    for number in range(1100):
        dcf.add("GateValve", Tag=f"V-{number}", PnPGuid=b"x" * 16)
    snapshot = read()
    assert {len(item.sharing) for item in items(snapshot).values()} == {1100}
    [finding] = found(snapshot, "duplicate_guid")
    assert len(finding.message) < 300 and "and 1090 more" in finding.message
    assert (finding.data["count"], len(finding.data["pnpids"])) == (1100, 1000)  # type: ignore[arg-type]


# ---------------------------------------------------------------- hazards of cells


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("invalid_utf8", "CAST(x'50ff31' AS TEXT)"),
        ("nul_character", "CAST(x'500031' AS TEXT)"),
        ("wrong_type", "x'0102'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_unknown_and_all_others_land(
    dcf: Dcf, read: Read, code: str, bad: str
) -> None:
    pumps = [dcf.add("CentrifugalPump", Tag=f"P-{n}", Area="1") for n in range(5)]
    dcf.sql(f"UPDATE Equipment SET Area = {bad} WHERE PnPID = ?", pumps[2])
    snapshot = read()
    got = items(snapshot)
    assert [got[p].values["Tag"] for p in pumps] == [f"P-{n}" for n in range(5)]
    assert got[pumps[2]].unknown == {"Area"} and "Area" not in got[pumps[2]].values
    assert all(got[p].values["Area"] == "1" for p in pumps if p != pumps[2])
    [finding] = found(snapshot, code)
    assert (finding.pnpid, finding.column, finding.tag) == (pumps[2], "Area", "P-2")


@pytest.mark.parametrize("bad", ["'abc'", "1.5", "9e999"])
def test_text_or_fractions_in_a_whole_number_column_are_unknown(dcf: Dcf, read: Read, bad: str) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1")
    dcf.sql(f"UPDATE EngineeringItems SET FlagValue = {bad}")
    snapshot = read()
    assert items(snapshot)[pump].unknown == {"FlagValue"}
    assert {f.code for f in snapshot.findings()} <= {"wrong_type", "infinity"}


def test_infinity_is_unknown(dcf: Dcf, read: Read) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", ParamOnLine=float("inf"))
    snapshot = read()
    assert items(snapshot)[pump].unknown == {"ParamOnLine"}
    assert [f.pnpid for f in found(snapshot, "infinity")] == [pump]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("line_break", "a\r\nb"),
        ("line_break", "a\nb"),
        ("mojibake", "GOÂ±"),
        ("mojibake", "VÃ©rin"),
        ("outer_blanks", " P-1"),
        ("outer_blanks", "P-1 "),
        ("outer_blanks", "   "),
        ("outer_blanks", '"x" '),
        ("outer_blanks", "x\t"),
        ("outer_blanks", "x\u00a0"),
        ("too_long", "x" * 256),
        ("too_long", '"' * 256),
        ("too_long", "é" * 300),
    ],
)
def test_an_odd_but_readable_value_is_kept_and_reported(dcf: Dcf, read: Read, code: str, value: str) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", Description=value)
    snapshot = read()
    assert items(snapshot)[pump].values["Description"] == value
    assert [(f.pnpid, f.column) for f in found(snapshot, code)] == [(pump, "Description")]


@pytest.mark.parametrize(
    "value", ["Vérin à 25° ±2", '1/2"', "É", "Â", "x" * 255, '"', "Ø50 «é»", "日本", "a  b", "\\"]
)
def test_an_unusual_but_good_value_is_no_finding(dcf: Dcf, read: Read, value: str) -> None:
    pump = dcf.add("CentrifugalPump", Tag="P-1", Description=value)
    snapshot = read()
    assert items(snapshot)[pump].values["Description"] == value
    assert list(snapshot.findings()) == []


def test_findings_of_unchanged_items_are_still_reported(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump", Tag="P-1 ")
    known = digests(read())
    snapshot = read()
    assert [b.changed for b in snapshot.scan(CLASSES, known)] == [[]]
    assert [f.code for f in snapshot.findings()] == ["outer_blanks"]


def test_null_and_empty_text_are_both_kept_as_stored(dcf: Dcf, read: Read) -> None:
    one, two = dcf.add("CentrifugalPump", Tag=None), dcf.add("CentrifugalPump", Tag="")
    got = items(read())
    assert (got[one].values["Tag"], got[two].values["Tag"]) == (None, "")


# ---------------------------------------------------------------- drawings, registry


def test_the_drawing_number_falls_back_to_the_drawing_and_the_file_name(dcf: Dcf, read: Read) -> None:
    numbered = dcf.add("PnPDrawings", PnPType="DWG", PnID="D-1 ", Title="Broyage")
    named = dcf.add("PnPDrawings", PnPType="DWG", PnID="", **{"Dwg Name": "Area 2"})
    filed = dcf.add("PnPDrawings", PnPType="DWG", PnPRelativePath=r"PID DWG\Area 3.dwg")
    folder = dcf.add("PnPDrawings", PnPType="FOLDER", PnID="no drawing")
    pumps = [dcf.add("CentrifugalPump", Tag=f"P-{n}") for n in range(4)]
    for pump, drawing in zip(pumps, (numbered, named, filed, folder), strict=True):
        dcf.draw(drawing, pump)
    got = items(read())
    assert [got[p].drawing for p in pumps] == ["D-1", "Area 2", "Area 3", None]
    assert (got[pumps[0]].drawing_title, got[pumps[0]].drawing_id) == ("Broyage", numbered)


def test_links_leading_nowhere_are_reported(dcf: Dcf, read: Read) -> None:
    drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="D-1")
    pump = dcf.add("CentrifugalPump", Tag="P-1")
    dcf.draw(777, pump)
    dcf.draw(drawing, 888)
    snapshot = read()
    assert items(snapshot)[pump].drawing is None
    assert sorted(f.pnpid or 0 for f in found(snapshot, "dangling_link")) == [pump, 888]


def test_the_registry_is_compared_with_the_items(dcf: Dcf, read: Read) -> None:
    dcf.add("PnPTagEnlistedColumns", TagRegistyName="R", TableName="Equipment", ColumnName="Tag")
    good, other, silent, unfilled = (dcf.add("CentrifugalPump", Tag=t) for t in ("P-1", "P-2", "P-3", "P-?"))
    dcf.register("P-1", good)
    dcf.register("P-9", other)
    dcf.register("GONE", 4315)
    snapshot = read()
    assert items(snapshot)[other].registry_tag == "P-9"
    assert [f.pnpid for f in found(snapshot, "registry_mismatch")] == [other]
    assert [f.pnpid for f in found(snapshot, "not_registered")] == [silent]
    assert [(f.pnpid, f.tag) for f in found(snapshot, "registry_orphan")] == [(4315, "GONE")]
    assert unfilled not in {f.pnpid for f in snapshot.findings()}


def test_an_owned_nozzle_is_registered_under_its_tag_and_owner(dcf: Dcf, read: Read) -> None:
    dcf.add("PnPTagEnlistedColumns", TagRegistyName="R", TableName="Nozzles", ColumnName="Tag")
    pump, nozzle = dcf.add("CentrifugalPump", Tag="P-1"), dcf.add("Nozzles", Tag="N-8")
    dcf.relate("AssetOwnership", Owner=pump, Owned=nozzle)
    dcf.register(f"N-8_{pump}", nozzle)
    snapshot = read()
    item = items(snapshot)[nozzle]
    assert (item.registry_tag, item.owner, item.owner_id) == ("N-8", "P-1", pump)
    assert found(snapshot, "registry_mismatch") == []


# ---------------------------------------------------------------- relations


def line(dcf: Dcf, tag: str | None, segments: Sequence[str | None]) -> tuple[int, list[int]]:
    group = dcf.add("PipeLineGroup", Tag=tag)
    ids = [dcf.add("Primary", Tag=t) for t in segments]
    for segment in ids:
        dcf.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)
    return group, ids


@pytest.mark.parametrize("relation", ["LineInlineAsset", "LineStartAsset", "LineEndAsset"])
def test_a_valve_is_on_a_line_by_any_of_the_three_relations(dcf: Dcf, read: Read, relation: str) -> None:
    group, (segment,) = line(dcf, "50-PW-1", ["?"])
    valve = dcf.add("GateValve", Tag="V-1")
    dcf.relate(relation, Line=segment, Asset=valve)
    item = items(read())[valve]
    assert (item.segments, item.lines, item.line_groups) == ((segment,), ("50-PW-1",), (group,))


def test_a_valve_on_two_lines_names_both(dcf: Dcf, read: Read) -> None:
    _, (one,) = line(dcf, "L-2", [None])
    _, (two,) = line(dcf, "L-1", [None])
    valve = dcf.add("GateValve", Tag="V-1")
    dcf.relate("LineStartAsset", Line=one, Asset=valve)
    dcf.relate("LineEndAsset", Line=two, Asset=valve)
    assert items(read())[valve].lines == ("L-1", "L-2")


@pytest.mark.parametrize(
    ("segments", "tag"),
    [
        (["L-1", "L-1"], "L-1"),
        (["L-1", "L-2"], None),
        (["L-1", "?"], None),
        (["?", "?"], None),
        (["NA", "NA"], None),
        (["HOLD"], None),
        ([None], None),
        ([], None),
    ],
)
def test_the_tag_of_an_unnamed_line_is_the_one_all_its_segments_carry(
    dcf: Dcf, read: Read, segments: list[str | None], tag: str | None
) -> None:
    group, ids = line(dcf, "?", segments)
    valve = dcf.add("GateValve", Tag="V-1")
    for segment in ids:
        dcf.relate("LineInlineAsset", Line=segment, Asset=valve)
    got = items(read())
    assert (got[group].segment_tag, got[group].segments) == (tag, tuple(ids))
    assert got[valve].lines == ((tag,) if tag else ())


def test_from_and_to_of_a_line_go_through_what_is_inside_it(dcf: Dcf, read: Read) -> None:
    group, (one, two) = line(dcf, "L-1", [None, None])
    pump, reducer, tank = (
        dcf.add("CentrifugalPump", Tag="P-1"),
        dcf.add("GateValve", Tag="V-1"),
        dcf.add("Nozzles"),
    )
    owner = dcf.add("CentrifugalPump", Tag="TK-1")
    dcf.relate("AssetOwnership", Owner=owner, Owned=tank)
    dcf.relate("LineStartAsset", Line=one, Asset=pump)
    dcf.relate("LineEndAsset", Line=one, Asset=reducer)
    dcf.relate("LineStartAsset", Line=two, Asset=reducer)
    dcf.relate("LineEndAsset", Line=two, Asset=tank)
    got = items(read())
    assert (got[group].from_tag, got[group].to_tag) == ("P-1", "TK-1")
    assert (got[one].from_tag, got[one].to_tag) == ("P-1", "V-1")


def test_a_line_that_begins_on_another_line_comes_from_that_line(dcf: Dcf, read: Read) -> None:
    group, (segment,) = line(dcf, "L-1", [None])
    _, (header,) = line(dcf, "HEADER", [None])
    dcf.relate("LineStartLine", Line1=segment, Line2=header)
    item = items(read())[group]
    assert (item.from_tag, item.to_tag) == ("HEADER", None)


def test_several_ends_are_joined_in_order_and_reported(dcf: Dcf, read: Read) -> None:
    group, (segment,) = line(dcf, "L-1", [None])
    for tag in ("P-2", "P-1"):
        dcf.relate("LineEndAsset", Line=segment, Asset=dcf.add("CentrifugalPump", Tag=tag))
    snapshot = read()
    assert items(snapshot)[group].to_tag == "P-1; P-2"
    assert [f.pnpid for f in found(snapshot, "several_ends")] == [segment]


def test_a_valve_that_sits_before_a_nozzle_is_not_where_the_line_goes(dcf: Dcf, read: Read) -> None:
    group, (segment,) = line(dcf, "L-1", [None])
    valve, nozzle, tank = (
        dcf.add("GateValve", Tag="V-1"),
        dcf.add("Nozzles"),
        dcf.add("CentrifugalPump", Tag="TK-1"),
    )
    dcf.relate("AssetOwnership", Owner=tank, Owned=nozzle)
    for asset in (valve, nozzle):
        dcf.relate("LineEndAsset", Line=segment, Asset=asset)
    snapshot = read()
    assert items(snapshot)[group].to_tag == "TK-1"
    assert found(snapshot, "several_ends") == []


def test_a_nozzle_without_a_side_fills_the_open_end(dcf: Dcf, read: Read) -> None:
    group, (segment,) = line(dcf, "L-1", [None])
    nozzle, tank, pump = (
        dcf.add("Nozzles"),
        dcf.add("CentrifugalPump", Tag="TK-1"),
        dcf.add("CentrifugalPump", Tag="P-1"),
    )
    dcf.relate("AssetOwnership", Owner=tank, Owned=nozzle)
    dcf.relate("LineNozzle", Line=segment, Nozzle=nozzle)
    dcf.relate("LineEndAsset", Line=segment, Asset=pump)
    item = items(read())[group]
    assert (item.from_tag, item.to_tag) == ("TK-1", "P-1")


def test_a_line_is_on_the_drawings_of_its_segments(dcf: Dcf, read: Read) -> None:
    group, (one, two) = line(dcf, "L-1", [None, None])
    second, first = (dcf.add("PnPDrawings", PnPType="DWG", PnID=n) for n in ("D-2", "D-1"))
    dcf.draw(second, one)
    dcf.draw(first, two)
    item = items(read(), ["PipeLineGroup"])[group]
    assert (item.drawing, item.drawing_id) == ("D-1; D-2", first)


def test_a_segment_in_two_lines_is_reported(dcf: Dcf, read: Read) -> None:
    _, (segment,) = line(dcf, "L-1", [None])
    other, _ = line(dcf, "L-2", [])
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=other, PipeLine=segment)
    assert [f.pnpid for f in found(read(), "segment_in_two_groups")] == [segment]


def test_relations_leading_nowhere_are_reported_and_harmless(dcf: Dcf, read: Read) -> None:
    valve = dcf.add("GateValve", Tag="V-1")
    dcf.relate("LineInlineAsset", Line=999, Asset=valve)
    dcf.sql("INSERT INTO LineInlineAsset VALUES (70, NULL, 'x', NULL, NULL)")
    snapshot = read()
    assert items(snapshot)[valve].lines == ()
    assert len(found(snapshot, "dangling_relation")) == 2


def test_the_loop_comes_from_the_column_of_the_class(dcf: Dcf, read: Read) -> None:
    filled, empty = dcf.add("FieldMountedDCS", LoopNumber="F-100"), dcf.add("FieldMountedDCS", LoopNumber=" ")
    got = items(read())
    assert (got[filled].loop, got[empty].loop) == ("F-100", None)


# ---------------------------------------------------------------- size


def test_memory_does_not_grow_with_the_values_of_the_items(dcf: Dcf, read: Read) -> None:
    dcf.add("CentrifugalPump")
    dcf.sql(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) "
        "INSERT INTO PnPBase SELECT i, 'CentrifugalPump', 0, 0, randomblob(16), i FROM n"
    )
    for table, columns in (("EngineeringItems", 4), ("Equipment", 2), ("Pumps", 1), ("CentrifugalPump", 2)):
        filler = "".join(", hex(randomblob(100))" for _ in range(columns))
        dcf.sql(f"INSERT INTO [{table}] SELECT PnPID{filler} FROM PnPBase WHERE PnPID > 1")
    dcf.sql("UPDATE EngineeringItems SET FlagValue = 0, ParamOnLine = NULL")
    snapshot = read()
    tracemalloc.start()
    try:
        sizes = Counter(len(batch.changed) for batch in snapshot.scan(["CentrifugalPump"], {}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == {100: 60}
    assert peak < 6_000_000  # the values alone are more than 8 MB


# ---------------------------------------------------------------- inspect


def test_inspect_describes_the_project(dcf: Dcf) -> None:
    drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="D-1", Title="T")
    for tag in ("P-1", "P-?", None):
        dcf.draw(drawing, dcf.add("CentrifugalPump", Tag=tag))
    dcf.add("CentrifugalPump", without=["Equipment"])
    dcf.add("PnPProjectVariables", Name="VersionMajor", Value="92")
    dcf.add("PnPProjectVariables", Name="VersionMinor", Value="1")
    dcf.attribute("CentrifugalPump", "D1", "ISNEWCREATION", "TRUE")
    report = inspect_source(open_source(dcf.path))
    classes = {entry["class"]: entry for entry in report["classes"]}  # type: ignore[attr-defined]
    assert classes["CentrifugalPump"]["count"] == 4
    assert classes["CentrifugalPump"]["tags"] == {"complete": 1, "placeholder": 1, "empty": 1, "unknown": 1}
    assert (report["version"], report["engine"], report["journal_mode"]) == ("92.1", "sqlite", "rollback")
    assert [c["column"] for c in report["custom_columns"]] == ["D1"]  # type: ignore[attr-defined]
    assert report["drawings"] == [{"pnpid": drawing, "number": "D-1", "title": "T", "links": 3}]
    assert {f["code"]: f["count"] for f in report["findings"]} == {"row_missing": 1}  # type: ignore[attr-defined]


def test_inspect_tells_how_the_projects_own_columns_are_filled(dcf: Dcf) -> None:
    """Only what the project added itself; a cell whose row is missing is neither filled nor empty."""
    dcf.attribute("CentrifugalPump", "D1", "ISNEWCREATION", "True")
    dcf.attribute("Equipment", "Tag", "ISNEWCREATION", "False")
    dcf.attribute("Equipment", "Tag", "ISREMOVABLE", "True")
    for value in ("Water", "Water", "Oil", "  ", None):
        dcf.add("CentrifugalPump", Tag="P-1", D1=value)
    dcf.add("CentrifugalPump", without=["CentrifugalPump"], Tag="P-2")
    (own,) = inspect_source(open_source(dcf.path))["custom_columns"]  # type: ignore[misc]
    assert (own["class"], own["column"]) == ("CentrifugalPump", "D1")
    assert (own["items"], own["filled"], own["share"]) == (5, 3, 0.6)
    assert (own["examples"], own["example_class"]) == (["Water", "Oil"], "CentrifugalPump")


def test_inspect_is_plain_json(dcf: Dcf) -> None:
    dcf.sql("INSERT INTO PnPBase VALUES (50, CAST(x'ff' AS TEXT), 0, 0, NULL, 1)")
    dcf.add("CentrifugalPump", Tag="a\nb")
    assert json.loads(json.dumps(inspect_source(open_source(dcf.path))))["source"].endswith(".dcf")
