"""Findings as a workbook and as CSV, for people who work in neither of our programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from plant3d_sync.language import heading, tr

Format = Literal["xlsx", "csv"]

_EACH: Final = (
    ("code", "code"),
    ("drawing", "drawing"),
    ("class", "class"),
    ("tag", "tag"),
    ("PnPID", "pnpid"),
    ("column", "column"),
    ("message", "message"),
    ("what to do", "hint"),
    ("since", "first_seen"),
    ("acknowledged by", "by"),
    ("reason", "reason"),
    ("until", "until"),
)
_GROUP: Final = (
    ("code", "code"),
    ("column", "column"),
    ("drawing", "drawing"),
    ("class", "class"),
    ("count", "count"),
    ("items", "items"),
    ("for example", "example"),
    ("what to do", "hint"),
    ("since", "first_seen"),
)
_TRANSLATED: Final = frozenset({"message", "example", "hint"})
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST: Final = 32_767
"""Characters of a cell of a workbook."""


def export(
    found: Sequence[Mapping[str, object]], groups: Sequence[Mapping[str, object]], form: Format
) -> bytes:
    """The findings as a file. A workbook shows them by cause first; a CSV (UTF-8, with BOM, so that spreadsheets know)
    has one line each. No cell is a formula, whatever a drawing holds.
    """
    rows = [_flat(one) for one in found]
    return _workbook(rows, groups) if form == "xlsx" else _csv(rows)


def _flat(item: Mapping[str, object]) -> dict[str, object]:
    said = item["acknowledged"]
    of = said if isinstance(said, Mapping) else {}
    return {**item, "by": of.get("by"), "reason": of.get("reason"), "until": of.get("until")}


def _text(name: str, value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value))
    return tr(text) if name in _TRANSLATED and text else text


def _csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([heading(header) for header, _name in _EACH])
    for row in rows:
        writer.writerow([_harmless(_text(name, row.get(name))) for _header, name in _EACH])
    return out.getvalue().encode("utf-8-sig", "replace")


def _harmless(text: str) -> str:
    """A spreadsheet takes a text that begins like a formula for one."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _workbook(rows: Sequence[Mapping[str, object]], groups: Sequence[Mapping[str, object]]) -> bytes:
    out = io.BytesIO()
    import xlsxwriter  # here: a pull imports this module, and would pay 5 MiB for it

    book = xlsxwriter.Workbook(
        out,
        {
            "in_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    header = book.add_format({"bold": True, "bg_color": "#D9E1F2", "bottom": 1})
    _sheet(book.add_worksheet(tr("By cause")), header, _GROUP, groups)
    _sheet(book.add_worksheet(tr("One by one")), header, _EACH, rows)
    book.close()
    return out.getvalue()


class Sheet(Protocol):
    """What is asked of a sheet of a workbook; its library ships no types."""

    def write_string(self, row: int, column: int, text: str, form: object = None, /) -> object:
        """A cell of text."""

    def write_number(self, row: int, column: int, number: float, /) -> object:
        """A cell with a number."""

    def set_column(self, first: int, last: int, width: float, /) -> object:
        """How wide columns are, in characters."""

    def freeze_panes(self, row: int, column: int, /) -> object:
        """What stays in sight."""

    def autofilter(self, _first_row: int, _first: int, _last_row: int, _last: int, /) -> object:
        """Heads by which rows are filtered."""


def _sheet(
    sheet: Sheet, header: object, columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, object]]
) -> None:
    widths = [len(heading(title)) for title, _name in columns]
    for place, (title, _name) in enumerate(columns):
        sheet.write_string(0, place, heading(title), header)
    for line, row in enumerate(rows, start=1):
        for place, (_title, name) in enumerate(columns):
            value = row.get(name)
            if isinstance(value, int) and abs(value) < 2**53:
                sheet.write_number(line, place, value)
                continue
            text = _text(name, value)[:_LONGEST]
            if text:
                sheet.write_string(line, place, text)
            widths[place] = max(widths[place], min(len(text), 60))
    for place, width in enumerate(widths):
        sheet.set_column(place, place, width + 2)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(len(rows), 1), len(columns) - 1)
