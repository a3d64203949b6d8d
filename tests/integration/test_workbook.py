"""The workbook for the Data Manager, read back by two libraries that did not write it, and looked at as a page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
from msgspec.structs import replace
from python_calamine import CalamineWorkbook

from plant3d_sync.cli.sync_commands import write_export
from plant3d_sync.connectors.base import CellWrite
from plant3d_sync.connectors.plant3d.writing.workbook import (
    Guide,
    Left,
    WorkbookReport,
    build_workbook,
    fill_export,
)
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.model.catalog import Catalog
from tests.support.catalogs import catalog, column

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HOSTILE = [
    "=1+1",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "https://example.invalid",
    "007",
    "1e5",
    "TRUE",
    "  x ",
    "[/x]",
    "é\u0301 ½ 水",
]


def plant() -> Catalog:
    return catalog(
        (
            "EngineeringItems",
            None,
            "Engineering Items",
            [
                column("ClassName", read_only=True, label="Class Name"),
                column("Description", label="Description"),
                column("Manufacturer", label="Fabricant"),
                column("Status", picklist="Status", label="État"),
            ],
        ),
        ("Equipment", "EngineeringItems", "Equipment", [column("Tag", label="Etiquette"), "Number"]),
        ("Vessel", "Equipment", "Réservoir [vertical]", [column("D1", custom=True, label="Désignation")]),
        ("Pump", "Equipment", "RÉSERVOIR _VERTICAL_", []),
        ("Flange", "Equipment", "Flanged Nozzle with a very long name indeed", []),
        ("Flange2", "Equipment", "Flanged Nozzle with a very long name, too", []),
        ("Log", "Equipment", "History", []),
    )


def planned(pnpid: int, new: str | None, *, class_name: str = "Vessel", **changes: object) -> CellWrite:
    made = CellWrite(
        pnpid=pnpid,
        plant3d_id=GUID,
        class_name=class_name,
        table_class="EngineeringItems",
        column="Description",
        old="VESSEL",
        new=new,
        expected_timestamp=1,
        tag=f"TK-{pnpid}",
        drawing="P-100-001",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def built(out: Path, cells: list[CellWrite], **options: object) -> WorkbookReport:
    rows = {
        cell.pnpid: {
            "Tag": cell.tag,
            "Description": cell.old,
            "Manufacturer": "=Atlas",
            "ClassName": "Vessel",
        }
        for cell in cells
    }
    settings: dict[str, object] = {"catalog": plant(), "rows": rows, "out": out, **options}
    return build_workbook(cells, **settings)  # type: ignore[arg-type]


# -- built from the catalog ---------------------------------------------------------------------------------------


def test_every_value_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    cells = [planned(number, value) for number, value in enumerate(HOSTILE, start=1)]
    report = built(out, cells)
    assert report.count("written") == len(HOSTILE)
    [_first, name] = CalamineWorkbook.from_path(out).sheet_names
    sheet = CalamineWorkbook.from_path(out).get_sheet_by_name(name).to_python(skip_empty_area=False)
    assert sheet[0] == [
        "DWG Number",
        "Etiquette",
        "Description",
        "Fabricant",
        "Class Name",
        "PnPID",
        "PnPGuid",
    ]
    assert [row[2] for row in sheet[1:]] == HOSTILE
    assert [row[5] for row in sheet[1:]] == [str(number) for number in range(1, len(HOSTILE) + 1)]
    assert {row[3] for row in sheet[1:]} == {"=Atlas"}
    for row in openpyxl.load_workbook(out).worksheets[1].iter_rows():
        for cell in row:
            assert cell.data_type in ("s", "n"), cell.coordinate
            assert cell.data_type == "s" or cell.value is None
            assert cell.hyperlink is None


def test_an_item_without_known_values_still_tells_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    built(out, [planned(7, "new")], rows={})
    assert CalamineWorkbook.from_path(out).get_sheet_by_index(1).to_python() == [
        ["DWG Number", "Etiquette", "Description", "Class Name", "PnPID", "PnPGuid"],
        ["P-100-001", "TK-7", "new", "Vessel", "7", GUID],
    ]


def test_ids_are_locked_free_columns_are_not_and_there_is_no_password(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    built(out, [planned(7, "new")])
    sheet = openpyxl.load_workbook(out).worksheets[1]
    assert sheet.protection.sheet
    assert not sheet.protection.password
    locked = {head.value: sheet.cell(row=2, column=head.column).protection.locked for head in sheet[1]}
    assert locked == {
        "DWG Number": True,
        "Etiquette": False,
        "Description": False,
        "Fabricant": False,
        "Class Name": True,
        "PnPID": True,
        "PnPGuid": True,
    }
    assert all(head.protection.locked for head in sheet[1])


def test_changed_cells_stand_out_and_tell_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    report = built(out, [planned(1, "new"), planned(2, None, old=None), planned(3, None)], language="fr")
    sheet = openpyxl.load_workbook(out).worksheets[1]
    assert [cell.comment.text for cell in (sheet["C2"], sheet["C3"], sheet["C4"])] == [
        "avant : VESSEL",
        "avant : (vide)",
        "avant : VESSEL",
    ]
    assert sheet["C2"].fill.fgColor.rgb != sheet["D2"].fill.fgColor.rgb
    assert sheet["D2"].comment is None
    assert [cell.address for cell in report.cells] == ["C2", "C3", "C4"]
    assert sheet["A1"].value == "Numéro DWG"


def test_sheets_are_named_after_the_classes_within_the_rules_of_excel(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    classes = ["Vessel", "Pump", "Flange", "Flange2", "Log"]
    built(out, [planned(number, "x", class_name=name) for number, name in enumerate(classes, start=1)])
    _first, *names = CalamineWorkbook.from_path(out).sheet_names
    assert sorted(names, key=str.casefold) == names
    assert set(names) == {
        "Réservoir _vertical_ (2)",
        "RÉSERVOIR _VERTICAL_",
        "Flanged Nozzle with a very long",
        "Flanged Nozzle with a very (2)",
        "History (2)",
    }


def test_what_may_not_be_written_is_reported_and_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    report = built(out, [planned(1, "ok"), planned(2, "x" * 256), planned(3, "x", column="Tag")])
    assert [(cell.status, cell.code) for cell in report.cells] == [
        ("written", ""),
        ("refused", "too_long"),
        ("refused", "composed_column"),
    ]
    assert len(CalamineWorkbook.from_path(out).get_sheet_by_index(1).to_python()) == 2


def test_if_every_value_is_refused_the_first_sheet_alone_says_so(tmp_path: Path) -> None:
    report = built(tmp_path / "out.xlsx", [planned(1, "x" * 256)], language="fr")
    assert (report.path, report.sheets) == (tmp_path / "out.xlsx", ())
    assert_told(tmp_path / "out.xlsx", ["plant3d-sync"])


def test_an_export_into_which_no_value_goes_is_given_back_with_a_sheet_that_says_why(tmp_path: Path) -> None:
    source = export(tmp_path / "export.xlsx", ["Tag", "Beschreibung", "PnPID"], [["TK-7", "moved", "7"]])
    report = fill_export(
        source, [planned(7, "new")], catalog=plant(), out=tmp_path / "out.xlsx", language="fr"
    )
    assert (report.path, report.sheets, report.count("written")) == (tmp_path / "out.xlsx", (), 0)
    assert_told(tmp_path / "out.xlsx", ["plant3d-sync", *CalamineWorkbook.from_path(source).sheet_names])


def assert_told(out: Path, sheets: list[str]) -> None:
    """The first sheet says that there is nothing to import, and of the one value why."""
    book = CalamineWorkbook.from_path(out)
    assert book.sheet_names == sheets
    rows = [[str(part) for part in row] for row in book.get_sheet_by_index(0).to_python()]
    assert rows[1][0].startswith("Rien ici ne peut être importé")
    assert rows[-1][0].startswith("TK-") and rows[-1][7]


def test_without_any_value_there_is_no_workbook(tmp_path: Path) -> None:
    assert built(tmp_path / "out.xlsx", []).path is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with a name as on POSIX")
def test_a_name_that_leads_to_no_file_is_refused_and_still_leads_there(tmp_path: Path) -> None:
    """A file that took the name would take a device or somebody's pipe away, to whoever has the rights for it."""
    pipe = tmp_path / "pipe.xlsx"
    os.mkfifo(pipe)
    with pytest.raises(RetryLaterError, match="it is a pipe, not a file"):
        built(pipe, [planned(1, "x")])
    with pytest.raises(RetryLaterError, match="it is a pipe, not a file"):
        write_export(pipe, b"findings")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_a_workbook_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(RetryLaterError) as stopped:
        built(tmp_path / "missing" / "out.xlsx", [planned(1, "x")])
    assert stopped.value.error_code == "workbook_not_written"


# -- filled into an export ----------------------------------------------------------------------------------------

ENGLISH = ["DWG Number", "Tag", "Description", "Class Name", "PnPID", "PnPGuid"]
GERMAN = ["DWG-Nummer", "Tag", "Beschreibung", "Class Name", "PnPID", "PnPGuid"]


def export(path: Path, headers: list[str], rows: list[list[str]], *, sheet: str = "Behälter") -> Path:
    """As the Data Manager exports it: text cells, protection without password, ids locked."""
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False}) as book:
        page = book.add_worksheet(sheet)
        free, locked = book.add_format({"locked": False, "num_format": "@"}), book.add_format({"bold": True})
        page.write_row(0, 0, headers, locked)
        for line, row in enumerate(rows, start=1):
            for place, value in enumerate(row):
                page.write_string(line, place, value, locked if place in (0, 3, 4, 5) else free)
        page.protect("")
        book.add_worksheet("Notizen").write_string(0, 0, "=nicht anfassen")
    return path


def rows_of(*pnpids: int) -> list[list[str]]:
    return [["P-100-001", f"TK-{number}", "VESSEL", "Vessel", str(number), GUID] for number in pnpids]


@pytest.mark.parametrize("headers", [ENGLISH, GERMAN])
def test_only_the_planned_cells_of_an_export_change(tmp_path: Path, headers: list[str]) -> None:
    source = export(tmp_path / "export.xlsx", headers, rows_of(1, 2, 3))
    before = source.read_bytes()
    out = tmp_path / "out.xlsx"
    report = fill_export(source, [planned(2, "=1+1")], catalog=plant(), out=out)
    assert [(cell.status, cell.sheet, cell.address) for cell in report.cells] == [
        ("written", "Behälter", "C3")
    ]
    was, now = CalamineWorkbook.from_path(source), CalamineWorkbook.from_path(out)
    assert ["plant3d-sync", *was.sheet_names] == now.sheet_names == ["plant3d-sync", "Behälter", "Notizen"]
    for name in was.sheet_names:
        expected = was.get_sheet_by_name(name).to_python()
        if name == "Behälter":
            expected[2][2] = "=1+1"
        assert now.get_sheet_by_name(name).to_python() == expected
    sheet = openpyxl.load_workbook(out)["Behälter"]
    assert sheet.protection.sheet
    assert sheet["E3"].protection.locked
    assert not sheet["C3"].protection.locked
    assert sheet["C3"].data_type == "s"
    assert sheet["C3"].comment.text == "was: VESSEL"
    assert sheet["C2"].comment is None
    assert source.read_bytes() == before


def outcome(
    tmp_path: Path, shown: list[str], rows: list[list[str]], cell: CellWrite, **options: object
) -> str:
    source = export(tmp_path / "export.xlsx", shown, rows)
    settings: dict[str, object] = {"catalog": plant(), "out": tmp_path / "out.xlsx", **options}
    report = fill_export(source, [cell], **settings)  # type: ignore[arg-type]
    assert report.path is not None and report.path.exists()
    return f"{report.cells[0].status} {report.cells[0].code}".strip()


def test_a_cell_that_moved_since_is_left_alone(tmp_path: Path) -> None:
    rows = rows_of(1)
    rows[0][2] = "Typed by a designer"
    assert outcome(tmp_path, ENGLISH, rows, planned(1, "new")) == "stale value_moved"


def test_a_cell_that_holds_the_value_already_says_so(tmp_path: Path) -> None:
    rows = rows_of(1)
    rows[0][2] = "new"
    assert outcome(tmp_path, ENGLISH, rows, planned(1, "new")) == "stale already_there"


def test_a_header_in_a_language_never_seen_is_not_guessed_but_may_be_told(tmp_path: Path) -> None:
    headers = ["a", "b", "説明", "Class Name", "PnPID", "PnPGuid"]
    assert outcome(tmp_path, headers, rows_of(1), planned(1, "new")) == "refused header_unknown"
    told = outcome(tmp_path, headers, rows_of(1), planned(1, "new"), headers={"Description": "説明"})
    assert told == "written"


def test_two_columns_of_one_name_are_not_told_apart(tmp_path: Path) -> None:
    headers = ["Description", "b", "Description", "Class Name", "PnPID", "PnPGuid"]
    assert outcome(tmp_path, headers, rows_of(1), planned(1, "new")) == "refused header_unknown"


def test_a_custom_column_is_found_by_the_name_the_project_gave_it(tmp_path: Path) -> None:
    headers = ["a", "b", "désignation", "Class Name", "PnPID", "PnPGuid"]
    cell = planned(1, "new", column="D1", table_class="Vessel")
    assert outcome(tmp_path, headers, rows_of(1), cell) == "written"


def test_an_item_that_is_not_in_the_export_or_of_another_project_is_refused(tmp_path: Path) -> None:
    assert outcome(tmp_path, ENGLISH, rows_of(1), planned(2, "new")) == "refused item_not_in_export"
    rows = rows_of(1)
    rows[0][5] = GUID.replace("0f", "1f")
    assert outcome(tmp_path, ENGLISH, rows, planned(1, "new")) == "refused guid_differs"


def test_a_formula_in_the_export_is_never_taken_for_a_value(tmp_path: Path) -> None:
    source = export(tmp_path / "export.xlsx", ENGLISH, rows_of(1))
    book = openpyxl.load_workbook(source)
    book["Behälter"]["C2"] = '="VESSEL"'
    book.save(source)
    report = fill_export(source, [planned(1, "x")], catalog=plant(), out=tmp_path / "out.xlsx")
    assert report.cells[0].code == "formula_in_cell"


@pytest.mark.parametrize(
    "guid",
    ["{" + GUID.upper() + "}", GUID.upper(), GUID.replace("-", ""), f" ({GUID}) "],
    ids=["braces and capitals", "capitals", "no hyphens", "parentheses"],
)
def test_an_identity_is_the_same_in_braces_and_capitals(tmp_path: Path, guid: str) -> None:
    rows = rows_of(1)
    rows[0][5] = guid
    assert outcome(tmp_path, ENGLISH, rows, planned(1, "new")) == "written"


def test_a_row_of_another_item_is_refused_with_what_was_found(tmp_path: Path) -> None:
    rows = rows_of(1)
    rows[0][5] = GUID.replace("0f", "1f")
    source = export(tmp_path / "export.xlsx", ENGLISH, rows)
    report = fill_export(source, [planned(1, "new")], catalog=plant(), out=tmp_path / "out.xlsx")
    assert rows[0][5] in report.cells[0].message and GUID in report.cells[0].message


@pytest.mark.parametrize("above", [1, 5, 19])
def test_titles_and_blank_rows_may_stand_above_the_headers(tmp_path: Path, above: int) -> None:
    source = tmp_path / "export.xlsx"
    with xlsxwriter.Workbook(str(source)) as book:
        page = book.add_worksheet("Vessel")
        page.write_string(0, 0, "Equipment list, PnPID order")
        for line, row in enumerate([ENGLISH, *rows_of(1, 2)], start=above):
            for place, value in enumerate(row):
                page.write_string(line, place, value)
    report = fill_export(source, [planned(2, "new")], catalog=plant(), out=tmp_path / "out.xlsx")
    assert [(cell.status, cell.address) for cell in report.cells] == [("written", f"C{above + 3}")]
    assert openpyxl.load_workbook(tmp_path / "out.xlsx")["Vessel"].cell(above + 3, 3).value == "new"


def test_an_export_without_headers_is_told_as_such(tmp_path: Path) -> None:
    source = export(tmp_path / "export.xlsx", ["a", "b", "Description", "d", "e", "f"], rows_of(1))
    report = fill_export(source, [planned(1, "new")], catalog=plant(), out=tmp_path / "out.xlsx")
    assert (report.cells[0].code, "headed PnPID" in report.cells[0].message) == ("item_not_in_export", True)


def test_a_value_is_compared_as_its_field_compares_it(tmp_path: Path) -> None:
    rows = rows_of(1)
    rows[0][2] = "two\r\nlines "

    def agrees(_cell: CellWrite, one: str | None, other: str | None) -> bool:
        return [line.rstrip() for line in (one or "").splitlines()] == (other or "").splitlines()

    cell = planned(1, "new", old="two\nlines")
    assert outcome(tmp_path, ENGLISH, rows, cell) == "stale value_moved"
    assert outcome(tmp_path, ENGLISH, rows, cell, agrees=agrees) == "written"


def first_sheet(path: Path) -> list[list[object]]:
    book = CalamineWorkbook.from_path(path)
    assert book.sheet_names[0] == "plant3d-sync"
    return book.get_sheet_by_name(book.sheet_names[0]).to_python()


REFUSED = planned(2, "x" * 300, old="=was", tag="=TK-2")
"""Too long for its column: left out, and its texts are no formulas on the first sheet either."""
ASKED = Guide(
    asked={(1, "description"): "marie", (2, "description"): "jo"},
    left=[
        Left(
            tag="TK-3",
            class_name="Vessel",
            pnpid=3,
            field="description",
            why="Nothing may be written for it.",
        )
    ],
)


@pytest.mark.parametrize("filled", [True, False], ids=["filled into an export", "built"])
@pytest.mark.parametrize(
    ("language", "why"), [("en", "Import this workbook there."), ("fr", "Importez-y ce classeur.")]
)
def test_the_first_sheet_says_what_to_do_what_is_there_and_what_is_not(
    tmp_path: Path, filled: bool, language: str, why: str
) -> None:
    cells, out = [planned(1, "new"), REFUSED], tmp_path / "out.xlsx"
    options = {"out": out, "language": language, "guide": ASKED}
    if filled:
        source = export(tmp_path / "export.xlsx", ENGLISH, rows_of(1, 2))
        fill_export(source, cells, catalog=plant(), **options)  # type: ignore[arg-type]
    else:
        built(cells=cells, **options)  # type: ignore[arg-type]
    rows = first_sheet(out)
    assert any(why in str(row[0]) for row in rows), rows
    by_tag = {row[0]: row for row in rows}
    assert by_tag["TK-1"][2:7] == ["1", "Description", "VESSEL", "new", "marie"]
    assert str(by_tag["TK-1"][7]).endswith("!C2")
    assert by_tag["=TK-2"][4:7] == ["=was", "x" * 300, "jo"]
    assert len(str(by_tag["=TK-2"][7])) > 20, "and why it is not in the workbook"
    assert by_tag["TK-3"][2] == "3"
    assert all("PnPID" not in row for row in rows), "no import takes it for data"


def test_our_own_workbook_can_be_filled_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first.xlsx", tmp_path / "second.xlsx"
    built(first, [planned(1, "new")])
    report = fill_export(first, [planned(1, "newer", old="new")], catalog=plant(), out=second)
    assert [cell.status for cell in report.cells] == ["written"]
    assert CalamineWorkbook.from_path(second).sheet_names[0] == "plant3d-sync (2)"


def bomb(path: Path) -> None:
    export(path, ENGLISH, rows_of(1))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", b"<x/>" + b" " * 20_000_000)


def endless(path: Path) -> None:
    with xlsxwriter.Workbook(str(path)) as book:
        book.add_worksheet().write_string(1_048_575, 16_383, "x")


def no_workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")


def broken_xml(path: Path) -> None:
    export(path, ENGLISH, rows_of(1))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"][:200]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "make",
    [bomb, endless, no_workbook, broken_xml, lambda path: path.write_bytes(b"not a zip"), lambda _path: None],
    ids=["bomb", "endless", "no workbook", "broken part", "no zip", "missing"],
)
def test_a_workbook_that_is_none_is_refused(tmp_path: Path, make: object) -> None:
    source = tmp_path / "export.xlsx"
    make(source)  # type: ignore[operator]
    with pytest.raises(ConfigError) as stopped:
        fill_export(source, [planned(1, "x")], catalog=plant(), out=tmp_path / "out.xlsx")
    assert stopped.value.error_code == "workbook_unreadable"
    assert not (tmp_path / "out.xlsx").exists()


# -- looked at ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not (shutil.which("soffice") and shutil.which("pdftotext")),
    reason="LibreOffice or poppler is not installed",
)
def test_libreoffice_shows_the_text_and_calculates_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    built(out, [planned(1, "=1+1"), planned(2, "Réservoir d'eau")])
    command = [
        "soffice",
        f"-env:UserInstallation=file://{tmp_path}/profile",
        "--headless",
        "--convert-to",
        "pdf",
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(
        [*command, "--outdir", str(tmp_path), str(out)],
        check=True,
        capture_output=True,
        env=environment,
        timeout=120,
    )
    shown = subprocess.run(
        ["pdftotext", "-layout", str(tmp_path / "out.pdf"), "-"], check=True, capture_output=True, text=True
    ).stdout
    assert "=1+1" in shown
    assert "Réservoir d'eau" in shown
    assert "Description" in shown
