"""The workbook a designer imports in Plant 3D's Data Manager, where every changed cell is accepted or rejected.

Layout of a Data Manager export: one sheet per class, named with its display name; row 1 the display names of the
columns; below one item per row, every cell text, the GUID in lower case with hyphens. Sheets are protected without a
password; DWG Number, Class Name, PnPID and PnPGuid are locked. Rows are matched by PnPID. Class names stay English in
every language, and so do the headers PnPID and PnPGuid.

A first sheet of ours tells the designer what to do, and lists every value: the old one, the new one, who asked for it,
what the step of the plan says of it and, if it is not in the workbook, why. It has no column headed PnPID, so an import passes it over.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree.ElementTree import ParseError

import msgspec
import openpyxl
import xlsxwriter
from openpyxl.cell.cell import MergedCell
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils.exceptions import InvalidFileException

from plant3d_sync.connectors.base import CellWrite
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.language import speaking, tr
from plant3d_sync.model.catalog import Catalog, Column
from plant3d_sync.model.cells import allowed_column, check_cell
from plant3d_sync.model.record import PlantItem
from plant3d_sync.regularfile import may_replace, regular
from plant3d_sync.words import said

Language = Literal["en", "fr"]

SHEET_NAME_LENGTH: Final = 31
HEADER_ROWS: Final = 20
"""How far down the headers of an exported sheet are looked for: titles and blank rows may stand above them."""
GUIDE: Final = "plant3d-sync"
"""Name of the first sheet."""
DRAWING: Final = "@drawing"
"""Key of an item's row for its drawing number, which is no column of the item."""

_ID, _GUID, _CLASS, _TAG = "PnPID", "PnPGuid", "PnPClassName", "Tag"
_DRAWING_HEADERS: Final[Mapping[str, str]] = {"en": "DWG Number", "fr": "Numéro DWG"}
_CLASS_HEADERS: Final[Mapping[str, str]] = {"en": "Class Name", "fr": "Class Name"}
_SEEN_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {"description": ("Description", "Beschreibung")}
"""Standard columns -> headers seen in exports of an English, French or German Plant 3D."""
_WAS: Final[Mapping[str, str]] = {"en": "was: ", "fr": "avant : "}
_EMPTY: Final[Mapping[str, str]] = {"en": "(empty)", "fr": "(vide)"}
_CHANGED_COLOUR: Final = "FFEB9C"
_AUTHOR: Final = "plant3d-sync"
_FORBIDDEN_IN_SHEET_NAMES: Final = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_ILLEGAL_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

MAX_FILE_BYTES: Final = 100 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 500 * 1024 * 1024
MAX_RATIO: Final = 200
"""Unpacked over packed size of one part; honest sheets reach about 20."""
_RATIO_FROM_BYTES: Final = 1024 * 1024
MAX_PARTS: Final = 5_000
MAX_CELLS: Final = 20_000_000
MAX_ROWS: Final = 200_000


class WorkbookCell(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one planned cell: `written`; `stale` (the export holds another value); `refused`."""

    pnpid: int
    column: str
    status: Literal["written", "stale", "refused"]
    code: str = ""
    message: str = ""
    sheet: str = ""
    address: str = ""


class WorkbookReport(msgspec.Struct, frozen=True, kw_only=True):
    """A written workbook; `path` is None if there was nothing to write and nothing to tell. One entry per planned cell, in
    order.
    """

    path: Path | None
    sheets: tuple[str, ...]
    cells: tuple[WorkbookCell, ...]

    def count(self, status: str) -> int:
        """Cells with this status."""
        return sum(cell.status == status for cell in self.cells)


Agrees = Callable[[CellWrite, str | None, str | None], bool]
"""Whether two texts mean the same in the field that a cell belongs to."""


class _Place(msgspec.Struct):
    """A row of the export that shows an item, with the header positions of its sheet (1-based)."""

    sheet: Any
    row: int
    headers: dict[str, list[int]]
    guid: str


class ShownRow(msgspec.Struct, frozen=True):
    """A row of a filled export that shows an item. `guid`: its PnPGuid there, "" without one."""

    guid: str
    _place: _Place
    _headers: Mapping[str, str]

    def text(self, column: Column) -> str | None:
        """What the row shows in a column; None if the column is not there, or holds a formula."""
        positions = _positions(self._place, column, self._headers)
        if len(positions) != 1:
            return None
        target = self._place.sheet.cell(row=self._place.row, column=positions[0])
        return None if isinstance(target, MergedCell) else _text_of(target)


ShownRows = Mapping[str, Sequence[ShownRow]]
"""PnPID (as text) -> the rows that show the item."""


def _same_text(_cell: CellWrite, one: str | None, other: str | None) -> bool:
    return (one or "") == (other or "")


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A value that never became a cell: what it is of, and why and what to do, as the plan says it.

    `columns`: where the mapping takes the field from.
    """

    tag: str | None
    class_name: str | None
    pnpid: int | None
    field: str | None
    why: str
    hint: str = ""
    old: str = ""
    new: str = ""
    asked: str = ""
    columns: Sequence[str] = ()


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """What the first sheet says besides the cells. `asked`: (PnPID, column in lower case) -> who asked for the value;
    `step`: the same -> what the step of the plan says of it.
    """

    asked: Mapping[tuple[int, str], str] = msgspec.field(default_factory=dict)
    step: Mapping[tuple[int, str], str] = msgspec.field(default_factory=dict)
    left: Sequence[Left] = ()


NO_GUIDE: Final = Guide()


class _Results(msgspec.Struct):
    """Outcome per position of the planned cells."""

    cells: Sequence[CellWrite]
    done: dict[int, WorkbookCell] = msgspec.field(default_factory=dict)

    def put(
        self,
        index: int,
        status: Literal["written", "stale", "refused"],
        *,
        code: str = "",
        message: str = "",
        sheet: str = "",
        address: str = "",
    ) -> None:
        cell = self.cells[index]
        self.done[index] = WorkbookCell(
            pnpid=cell.pnpid,
            column=cell.column,
            status=status,
            code=code,
            message=message,
            sheet=sheet,
            address=address,
        )

    def open(self) -> list[int]:
        return [index for index in range(len(self.cells)) if index not in self.done]

    def report(self, path: Path | None, sheets: Iterable[str]) -> WorkbookReport:
        return WorkbookReport(
            path=path, sheets=tuple(sheets), cells=tuple(self.done[index] for index in range(len(self.cells)))
        )


def _refuse_forbidden(catalog: Catalog, results: _Results) -> None:
    """The same rules as for direct writing: Plant 3D would overwrite, refuse or redraw the rest."""
    for index, cell in enumerate(results.cells):
        item = PlantItem(
            pnpid=cell.pnpid,
            guid=cell.plant3d_id,
            class_name=cell.class_name,
            timestamp=cell.expected_timestamp,
            revision=0,
            values={},
        )
        problem = check_cell(catalog, item, cell.column, cell.new)
        if problem is not None:
            results.put(index, "refused", code=problem[0], message=problem[1])


# -- built from the catalog ---------------------------------------------------------------------------------------


def build_workbook(
    cells: Sequence[CellWrite],
    *,
    catalog: Catalog,
    rows: Mapping[int, Mapping[str, object]],
    out: Path,
    language: Language = "en",
    guide: Guide = NO_GUIDE,
) -> WorkbookReport:
    """Make a workbook with only the items of the plan, when no fresh export is at hand.

    `rows`: PnPID -> column name -> present value (`@drawing` for the drawing number); only the columns given are
    shown, with the project's own display names. Cells the rules forbid are reported and left out; if that leaves none, the
    first sheet alone says so.
    Raises RetryLaterError `workbook_not_written`; `out` is complete or untouched.
    """
    results = _Results(cells)
    _refuse_forbidden(catalog, results)
    by_class: dict[str, dict[int, dict[str, int]]] = {}
    for index in results.open():
        cell = cells[index]
        by_class.setdefault(cell.class_name, {}).setdefault(cell.pnpid, {})[cell.column.lower()] = index
    if not (cells or guide.left):
        return results.report(None, ())
    labels = {name: _class_label(catalog, name) for name in by_class}
    names = _sheet_names(labels)
    with _whole_or_not_at_all(out) as temporary:
        book = xlsxwriter.Workbook(
            str(temporary),
            {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False},
        )
        try:
            book.set_properties({"author": _AUTHOR})
            formats = _formats(book)
            first = book.add_worksheet(GUIDE)
            for class_name in sorted(by_class, key=lambda one: names[one].casefold()):
                sheet = book.add_worksheet(names[class_name])
                _fill_sheet(
                    sheet, formats, class_name, by_class[class_name], rows, catalog, results, language
                )
            _write_guide(first, formats, _guide_rows(catalog, results, guide, language))
        finally:
            book.close()
    return results.report(out, sorted(names.values(), key=str.casefold))


# -- the first sheet ----------------------------------------------------------------------------------------------


def _guide_rows(
    catalog: Catalog, results: _Results, guide: Guide, language: Language
) -> list[tuple[str, list[str]]]:
    """The rows of the first sheet, in the language: (`title`, `text`, `header` or `row`; its texts)."""
    inside = [index for index in range(len(results.cells)) if results.done[index].status == "written"]
    outside = [index for index in range(len(results.cells)) if results.done[index].status != "written"]
    with speaking(language):
        told = [("title", [tr("Values from SYNAPSE, to be accepted in Plant 3D")])]
        steps = [f"{number}. {tr(text)}" for number, text in enumerate(_STEPS, start=1)]
        told += [("text", [text]) for text in (steps if inside else [tr(_NOTHING_INSIDE)])]
        told.append(("text", [""]))
        told.append(("title", [tr(f"Values in this workbook: {len(inside)}")]))
        if inside:
            told.append(("header", [*_heads(), tr("Where it stands"), tr("What the plan says")]))
        for index in inside:
            done, cell = results.done[index], results.cells[index]
            where = f"{done.sheet}!{done.address}"
            told.append(("row", [*_value_of(catalog, cell, guide), where, _step_of(cell, guide)]))
        told.append(("text", [""]))
        missing = len(outside) + len(guide.left)
        told.append(("title", [tr(f"Values not in this workbook: {missing}")]))
        if missing:
            told.append(("header", [*_heads(), tr("Why, and what to do"), tr("What the plan says")]))
        for index in outside:
            cell, why = results.cells[index], tr(results.done[index].message)
            told.append(("row", [*_value_of(catalog, cell, guide), why, _step_of(cell, guide)]))
        for one in guide.left:
            shown = (one.tag, *_shown(catalog, one))
            of = ["" if part is None else str(part) for part in shown]
            told.append(
                (
                    "row",
                    [*of, one.old, one.new, one.asked, " ".join(filter(None, (tr(one.why), tr(one.hint))))],
                )
            )
    return told


_STEPS: Final = (
    "Open the project in Plant 3D and its Data Manager. Choose the class that a sheet is named after, or all project data.",
    "Import this workbook there. Rows are found by their PnPID; leave the columns PnPID and PnPGuid as they are.",
    "Plant 3D marks every cell that would change. Compare it with the old value below and accept or reject it.",
    "If several drawings change, Plant 3D opens and saves them itself; nobody else may have them open meanwhile.",
    "Save. The next run of plant3d-sync reads what was accepted; what was rejected goes on waiting in SYNAPSE.",
)


_NOTHING_INSIDE: Final = "Nothing here can be imported: no value could go into a cell. Below stands why, value by value, and what to do."


def _heads() -> list[str]:
    return [
        tr("Tag of the item"),
        tr("Class of the item"),
        tr("Number of the item (its PnPID)"),
        tr("Column in Plant 3D"),
        tr("Old value"),
        tr("New value"),
        tr("Asked for by"),
    ]


def _value_of(catalog: Catalog, cell: CellWrite, guide: Guide) -> list[str]:
    column, _ = allowed_column(catalog, cell.class_name, cell.column)
    return [
        cell.tag,
        _class_label(catalog, cell.class_name),
        str(cell.pnpid),
        _label(column) if column is not None else cell.column,
        cell.old or "",
        cell.new or "",
        guide.asked.get((cell.pnpid, cell.column.lower()), ""),
    ]


def _step_of(cell: CellWrite, guide: Guide) -> str:
    return tr(guide.step.get((cell.pnpid, cell.column.lower()), ""))


def _shown(catalog: Catalog, one: Left) -> tuple[str | None, int | None, str | None]:
    """Class, row and column as Plant 3D shows them."""
    if one.class_name is None or catalog.find(one.class_name) is None:
        return one.class_name, one.pnpid, one.field
    found = (catalog.column(one.class_name, name) for name in one.columns)
    column = next((each for each in found if each is not None), None)
    named = one.field if column is None else _label(column)
    return _class_label(catalog, one.class_name), one.pnpid, named


_GUIDE_WIDTHS: Final = (18, 22, 16, 22, 34, 34, 22, 60, 60)


def _write_guide(sheet: Any, formats: Mapping[str, Any], rows: Sequence[tuple[str, list[str]]]) -> None:
    style = {"title": "title", "text": "plain", "header": "header", "row": "told"}
    for line, (kind, texts) in enumerate(rows):
        for place, text in enumerate(texts):
            _write_text(sheet, line, place, _readable(text), formats[style[kind]])
    for place, width in enumerate(_GUIDE_WIDTHS):
        sheet.set_column(place, place, width)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)


def _insert_guide(book: Any, rows: Sequence[tuple[str, list[str]]]) -> None:
    """The same in front of the sheets of an export."""
    taken = {sheet.title.casefold() for sheet in book.worksheets}
    name = next(
        one
        for one in (GUIDE, *(f"{GUIDE} ({number})" for number in range(2, 1000)))
        if one.casefold() not in taken
    )
    sheet = book.create_sheet(name, 0)
    for line, (kind, texts) in enumerate(rows, start=1):
        for place, text in enumerate(texts, start=1):
            target = sheet.cell(row=line, column=place)
            target.value = _readable(text) or None
            if text:
                target.data_type = "s"
            target.number_format = "@"
            target.font = Font(bold=kind in ("title", "header"))
            target.alignment = Alignment(vertical="top", wrap_text=kind in ("header", "row"))
    for place, width in enumerate(_GUIDE_WIDTHS):
        sheet.column_dimensions[openpyxl.utils.get_column_letter(place + 1)].width = width
    for other in book.worksheets:
        other.sheet_view.tabSelected = False
    book.active = 0


def _readable(text: str) -> str:
    return _ILLEGAL_IN_XML.sub("\ufffd", text)[:32_767]


def _formats(book: Any) -> dict[str, Any]:
    text = {"num_format": "@", "valign": "top"}
    return {
        "header": book.add_format({**text, "bold": True, "bg_color": "#D9E1F2", "bottom": 1}),
        "title": book.add_format({**text, "bold": True}),
        "plain": book.add_format(text),
        "told": book.add_format({**text, "text_wrap": True}),
        "locked": book.add_format({**text, "bg_color": "#F2F2F2"}),
        "free": book.add_format({**text, "locked": False}),
        "changed": book.add_format({**text, "locked": False, "bg_color": f"#{_CHANGED_COLOUR}"}),
    }


def _fill_sheet(
    sheet: Any,
    formats: Mapping[str, Any],
    class_name: str,
    items: Mapping[int, Mapping[str, int]],
    rows: Mapping[int, Mapping[str, object]],
    catalog: Catalog,
    results: _Results,
    language: Language,
) -> None:
    columns = _columns(class_name, items, rows, catalog, results.cells)
    headers = _headers(columns, language)
    widths = [len(header) for header in headers]
    for place, header in enumerate(headers):
        sheet.write_string(0, place, header, formats["header"])
    for line, (pnpid, planned) in enumerate(sorted(items.items()), start=1):
        shown = {name.lower(): value for name, value in rows.get(pnpid, {}).items()}
        some = results.cells[next(iter(planned.values()))]
        for place, column in enumerate(columns):
            name = column.name.lower()
            index = planned.get(name)
            if index is not None:
                value = results.cells[index].new or ""
                style = "changed"
                _write_text(sheet, line, place, value, formats[style])
                sheet.write_comment(
                    line, place, _note(results.cells[index].old, language), {"author": _AUTHOR}
                )
                address = xlsxwriter.utility.xl_rowcol_to_cell(line, place)
                results.put(index, "written", sheet=sheet.get_name(), address=address)
            else:
                value = _known(column, some, shown)
                locked = name in _LOCKED or column.read_only
                _write_text(sheet, line, place, value, formats["locked" if locked else "free"])
            widths[place] = max(widths[place], min(len(value), 60))
    for place, width in enumerate(widths):
        sheet.set_column(place, place, width + 2)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.autofilter(0, 0, len(items), len(columns) - 1)
    sheet.protect("", {"autofilter": True, "sort": True, "format_columns": True})


_LOCKED: Final = frozenset({DRAWING.lower(), _CLASS.lower(), "classname", _ID.lower(), _GUID.lower()})


def _write_text(sheet: Any, line: int, place: int, value: str, style: Any) -> None:
    if value:
        sheet.write_string(line, place, value, style)
    else:
        sheet.write_blank(line, place, None, style)


def _known(column: Column, cell: CellWrite, shown: Mapping[str, object]) -> str:
    name = column.name.lower()
    if name == _ID.lower():
        return str(cell.pnpid)
    if name == _GUID.lower():
        return cell.plant3d_id
    value = shown.get(name)
    if value is None and name == DRAWING:
        value = cell.drawing
    if value is None and name == _TAG.lower():
        value = cell.tag
    if value is None and name in (_CLASS.lower(), "classname"):
        value = column.default or cell.class_name
    return "" if value is None else _ILLEGAL_IN_XML.sub("\ufffd", str(value))[:32_767]


def _columns(
    class_name: str,
    items: Mapping[int, Mapping[str, int]],
    rows: Mapping[int, Mapping[str, object]],
    catalog: Catalog,
    cells: Sequence[CellWrite],
) -> list[Column]:
    """DWG Number, Tag, what is planned or given and known to the catalog, Class Name, PnPID, PnPGuid."""
    wanted = {name for planned in items.values() for name in planned}
    given = [name.lower() for pnpid in sorted(items) for name in rows.get(pnpid, {})]
    effective = catalog.columns.get(_actual(catalog, class_name), {})
    order = [
        _TAG.lower(),
        *(name for name in dict.fromkeys([*given, *sorted(wanted)]) if name != _TAG.lower()),
    ]
    middle = [effective[name] for name in order if name in effective and name not in _LOCKED]
    class_column = effective.get("classname") or Column(name=_CLASS, table_class=_CLASS)
    return [
        Column(name=DRAWING, table_class=""),
        *middle,
        class_column,
        Column(name=_ID, table_class="", label=_ID),
        Column(name=_GUID, table_class="", label=_GUID),
    ]


def _headers(columns: Sequence[Column], language: Language) -> list[str]:
    fixed = {DRAWING: _DRAWING_HEADERS[language], _CLASS.lower(): _CLASS_HEADERS[language]}
    return [fixed.get(column.name.lower()) or _label(column) for column in columns]


def _actual(catalog: Catalog, class_name: str) -> str:
    found = catalog.find(class_name)
    return found.name if found is not None else class_name


def _label(column: Column) -> str:
    return column.label or column.name


def _class_label(catalog: Catalog, class_name: str) -> str:
    found = catalog.find(class_name)
    return (found.label if found is not None else "") or class_name


def _sheet_names(labels: Mapping[str, str]) -> dict[str, str]:
    """Class -> sheet name: at most 31 UTF-16 units, no forbidden character, unique in any case, never `History`."""
    taken = {"history", GUIDE.casefold()}
    names: dict[str, str] = {}
    for class_name in sorted(labels):
        clean = _FORBIDDEN_IN_SHEET_NAMES.sub("_", labels[class_name]).strip().strip("'") or "Class"
        name, number = _cut(clean, SHEET_NAME_LENGTH), 2
        while name.casefold() in taken:
            ending = f" ({number})"
            name, number = _cut(clean, SHEET_NAME_LENGTH - len(ending)) + ending, number + 1
        taken.add(name.casefold())
        names[class_name] = name
    return names


def _cut(name: str, units: int) -> str:
    """The longest beginning that Excel counts as at most `units` (UTF-16) characters."""
    while len(name.encode("utf-16-le", "replace")) // 2 > units:
        name = name[:-1]
    return name.rstrip().strip("'") or "Class"


def _note(old: str | None, language: Language) -> str:
    return f"{_WAS[language]}{_ILLEGAL_IN_XML.sub(chr(0xFFFD), old) if old else _EMPTY[language]}"


# -- filled into a designer's export ------------------------------------------------------------------------------


def fill_export(
    export: Path,
    cells: Sequence[CellWrite],
    *,
    catalog: Catalog,
    out: Path,
    language: Language = "en",
    headers: Mapping[str, str] | None = None,
    guide: Guide = NO_GUIDE,
    agrees: Agrees = _same_text,
    note: Callable[[ShownRows], None] = lambda _shown: None,
) -> WorkbookReport:
    """Fill the planned cells into a workbook that was exported from the Data Manager a moment ago.

    Sheets, headers in whatever language, protection and all other cells stay as they are. Items are found by PnPID
    (and PnPGuid), columns by the project's own display name, or by `headers` (column name -> header in this export),
    or by a header seen in exports of other languages; nothing is guessed: what cannot be identified is `refused`
    (`header_unknown`, `item_not_in_export`), a cell that holds another value than expected is `stale`. Headers are looked
    for in the first rows of a sheet; `agrees` says whether two texts mean the same in their field. `note` is shown every
    row of the workbook before that is there.
    Raises ConfigError `workbook_unreadable`; RetryLaterError `workbook_not_written`. `export` is never changed.
    """
    results = _Results(cells)
    _refuse_forbidden(catalog, results)
    book = _load(export)
    try:
        places = _places(export, book)
        for index in results.open():
            _fill_cell(catalog, results, index, places, language, headers or {}, agrees)
        done = [cell for cell in results.done.values() if cell.status == "written"]
        told = bool(cells or guide.left)
        if told:
            note(
                {
                    pnpid: [ShownRow(place.guid, place, headers or {}) for place in found]
                    for pnpid, found in places.items()
                }
            )
            _insert_guide(book, _guide_rows(catalog, results, guide, language))
            with _whole_or_not_at_all(out) as temporary:
                book.save(str(temporary))
    finally:
        book.close()
    return results.report(out if told else None, sorted({cell.sheet for cell in done}, key=str.casefold))


def _fill_cell(
    catalog: Catalog,
    results: _Results,
    index: int,
    places: Mapping[str, list[_Place]],
    language: Language,
    headers: Mapping[str, str],
    agrees: Agrees,
) -> None:
    cell = results.cells[index]
    found = places.get(str(cell.pnpid), [])
    if not found:
        message = f"The export shows no row with PnPID {cell.pnpid}. Export the class {cell.class_name} too."
        if not places:
            message = (
                f"No sheet of the export has one column headed PnPID in its first {HEADER_ROWS} rows and items below it, so "
                "no item was found in it. Export from the Data Manager with the column PnPID."
            )
        results.put(index, "refused", code="item_not_in_export", message=message)
        return
    other = next(
        (place for place in found if place.guid and not _same_guid(place.guid, cell.plant3d_id)), None
    )
    if other is not None:
        results.put(
            index,
            "refused",
            code="guid_differs",
            message=f"The row with PnPID {cell.pnpid} on the sheet {other.sheet.title} carries the PnPGuid {said(other.guid)}, "
            f"and the item has {cell.plant3d_id}: it is another item's row. Export it again from this project.",
        )
        return
    column, _ = allowed_column(catalog, cell.class_name, cell.column)
    assert column is not None  # _refuse_forbidden has seen it
    targets = []
    for place in found:
        positions = _positions(place, column, headers)
        if len(positions) == 1:
            targets.append((place, place.sheet.cell(row=place.row, column=positions[0])))
    if len(targets) != len(found):
        results.put(
            index,
            "refused",
            code="header_unknown",
            message=f"The sheet {found[0].sheet.title} has no (or more than one) column headed {said(_label(column))}, "
            f"which is how this project calls {cell.column}. Nothing was guessed.",
        )
        return
    _fill_targets(results, index, targets, language, agrees)


def _same_guid(shown: str, known: str) -> bool:
    """Whether two texts are one identity, in braces or not, in capitals or not."""
    one = guid_text(shown)
    return one == guid_text(known) if one else shown.strip().casefold() == known.casefold()


def _positions(place: _Place, column: Column, headers: Mapping[str, str]) -> list[int]:
    """Where this column stands in the sheet: one position, or none, or several that cannot be told apart."""
    told = {name.lower(): header for name, header in headers.items()}.get(column.name.lower())
    if told is not None:
        return place.headers.get(_key(told), [])
    found = place.headers.get(_key(_label(column)), [])
    seen = () if found or column.custom else _SEEN_HEADERS.get(column.name.lower(), ())
    return found or [position for header in seen for position in place.headers.get(_key(header), [])]


def _fill_targets(
    results: _Results, index: int, targets: Sequence[tuple[_Place, Any]], language: Language, agrees: Agrees
) -> None:
    cell = results.cells[index]
    for place, target in targets:
        shown = None if isinstance(target, MergedCell) else _text_of(target)
        if shown is None or not agrees(cell, shown, cell.old):
            code = "value_moved" if shown is None or not agrees(cell, shown, cell.new) else "already_there"
            results.put(
                index,
                "stale",
                code=code if shown is not None else "formula_in_cell",
                message=f"The export shows {said(target.value)} in {place.sheet.title}!{target.coordinate}, not "
                f"{said(cell.old)}; it was left alone.",
                sheet=place.sheet.title,
                address=target.coordinate,
            )
            return
    for _place, target in targets:
        if cell.new:
            target.value = cell.new
            target.data_type = "s"  # also for a text that starts with "="
        else:
            target.value = None
        target.number_format = "@"
        target.fill = PatternFill(fill_type="solid", fgColor=_CHANGED_COLOUR)
        target.comment = Comment(_note(cell.old, language), _AUTHOR)
    place, target = targets[0]
    results.put(index, "written", sheet=place.sheet.title, address=target.coordinate)


def _places(export: Path, book: Any) -> dict[str, list[_Place]]:
    """PnPID (as text) -> the rows that show it, over all sheets that have a column headed PnPID."""
    found: dict[str, list[_Place]] = {}
    for sheet in book.worksheets:
        if sheet.max_row > MAX_ROWS:
            raise _unreadable(export, f"the sheet {sheet.title} has {sheet.max_row} rows")
        top, headers = _headers_of(sheet)
        ids, guids = headers.get(_key(_ID), []), headers.get(_key(_GUID), [])
        if len(ids) != 1:
            continue
        for row in range(top + 1, sheet.max_row + 1):
            pnpid = _text_of(sheet.cell(row=row, column=ids[0]))
            if pnpid and pnpid.strip():
                guid = _text_of(sheet.cell(row=row, column=guids[0])) if len(guids) == 1 else ""
                place = _Place(sheet=sheet, row=row, headers=headers, guid=guid or "")
                found.setdefault(pnpid.strip(), []).append(place)
    return found


def _headers_of(sheet: Any) -> tuple[int, dict[str, list[int]]]:
    """The first row that heads one column PnPID, of the first few, and the positions of its headers; (0, {}) for none."""
    for row, cells in enumerate(sheet.iter_rows(min_row=1, max_row=HEADER_ROWS), start=1):
        headers: dict[str, list[int]] = {}
        for position, target in enumerate(cells, start=1):
            text = _text_of(target)
            if text and text.strip():
                headers.setdefault(_key(text), []).append(position)
        if len(headers.get(_key(_ID), ())) == 1:
            return row, headers
    return 0, {}


_ESCAPED: Final = re.compile(r"_x(000[9ADad])_")
"""How Excel writes a tab, a line feed or a carriage return into a cell; the library leaves it so."""


def _text_of(target: Any) -> str | None:
    """The text shown in a cell; "" for an empty one, None for a formula (never evaluated, never trusted)."""
    value = target.value
    if target.data_type == "f":
        return None
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), str(value))


def _key(header: str) -> str:
    return unicodedata.normalize("NFC", header).strip().casefold()


def _load(export: Path) -> Any:
    """Open an export after looking at its parts: size, ratio and number of cells are limited, macros not kept."""
    try:
        regular(export)
        _refuse_bombs(export)
        return openpyxl.load_workbook(export, data_only=False, keep_vba=False, keep_links=False)
    except FileNotFoundError as error:
        raise _unreadable(export, "there is no such file") from error
    except (
        OSError,
        zipfile.BadZipFile,
        InvalidFileException,
        ParseError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        RuntimeError,
        AssertionError,
        OverflowError,
        EOFError,
        zlib.error,
        struct.error,
    ) as error:
        # openpyxl has no error of its own for a damaged part.
        raise _unreadable(export, f"{type(error).__name__}: {error}") from error


def _refuse_bombs(export: Path) -> None:
    if export.stat().st_size > MAX_FILE_BYTES:
        raise _unreadable(export, f"it is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    with zipfile.ZipFile(export) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS:
            raise _unreadable(export, f"it has {len(parts)} parts")
        if sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
            raise _unreadable(export, "it unpacks to more than 500 MB")
        for part in parts:
            if part.file_size > _RATIO_FROM_BYTES and part.file_size > MAX_RATIO * max(part.compress_size, 1):
                raise _unreadable(export, f"its part {part.filename} is packed too tightly to be honest")
            if part.filename.startswith("xl/worksheets/sheet"):
                _refuse_endless_sheets(export, archive, part)


def _refuse_endless_sheets(export: Path, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """A single cell in the last row and column makes a naive reader walk 17 billion cells."""
    with archive.open(part) as stream:
        head = stream.read(4096).decode("utf-8", "replace")
    found = re.search(r'<dimension ref="[A-Z]+\d+:([A-Z]+)(\d+)"', head)
    if found:
        columns = 0
        for letter in found.group(1):
            columns = columns * 26 + ord(letter) - 64
        if columns * int(found.group(2)) > MAX_CELLS:
            raise _unreadable(export, f"{part.filename} claims {columns} x {found.group(2)} cells")


def _unreadable(export: Path, why: str) -> ConfigError:
    return ConfigError(
        f"The workbook {export} cannot be used: {why}. Nothing was written.",
        hint="Export it again from the Data Manager (.xlsx), or let plant3d-sync build one without --from.",
        code="workbook_unreadable",
        details={"reason": why},
    )


@contextmanager
def _whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """A temporary file next to `out` that takes its name when the block ends well."""
    temporary: Path | None = None
    try:
        may_replace(out)
        handle, name = tempfile.mkstemp(prefix=f".{out.stem[:40]}-", suffix=".xlsx", dir=out.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.replace(out)
    except (OSError, xlsxwriter.exceptions.XlsxFileError) as caught:
        error = getattr(caught, "strerror", None) or caught
        raise RetryLaterError(
            f"The workbook {out} could not be written: {error}. What was there before is untouched.",
            hint="Close it in Excel, and check the folder and the free space.",
            code="workbook_not_written",
        ) from caught
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
