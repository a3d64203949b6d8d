"""Whatever a drawing holds, a file of findings opens, and no cell of it is a formula."""

from __future__ import annotations

import csv
import io
from typing import Any

import openpyxl
import pytest

from plant3d_sync.usecases.findings_export import export

EMPTY: dict[str, Any] = dict.fromkeys(
    ("code", "drawing", "class", "tag", "pnpid", "column", "message", "hint", "first_seen", "acknowledged")
)


def cell_of(tag: str) -> tuple[str, str | None]:
    """The tag as the CSV and the workbook show it."""
    rows = [EMPTY | {"code": "untagged", "tag": tag, "pnpid": 7}]
    (_header, line) = csv.reader(io.StringIO(export(rows, [], "csv").decode("utf-8-sig")))
    book = openpyxl.load_workbook(io.BytesIO(export(rows, [], "xlsx")))
    cell = book["One by one"]["D2"]
    assert cell.data_type != "f"
    return line[3], cell.value


@pytest.mark.parametrize("tag", ["=1+1", "+cmd", "-P", "@SUM(A1)", "\tP"])
def test_a_text_like_a_formula_is_a_text(tag: str) -> None:
    in_csv, in_workbook = cell_of(tag)
    assert in_csv == f"'{tag}" and in_workbook == tag


@pytest.mark.parametrize("tag", ["-1", "+2,5", "P-1", "1;2,3", 'P "x"', "Größe\nzwei"])
def test_other_texts_stand_as_they_are(tag: str) -> None:
    assert cell_of(tag) == (tag, tag)


def test_what_no_file_may_hold_is_shown_as_a_mark() -> None:
    assert cell_of("P\x01\ud800") == ("P\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}",) * 2
