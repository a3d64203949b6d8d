"""A project as one is found in the field: edited by an SQL tool, with most of what the mapping asks for missing.

The shares are those of a real chemical plant, the values are made up: 879 items of mapped classes, of which a
program that reads the Tag columns alone hands over 47.

- Rows of one middle level are missing (levels above and below are there), so that `Tag` cannot be read: 143 of 146
  hand valves, 109 of 143 instruments, 38 of 47 equipment items, 388 of 431 line segments. Plant 3D's own registry
  still has the tags of 150 of them.
- Line numbers stand on the segments, and most of them on several line groups; 324 of 543 groups have no segment.
- Half of the tags of instruments follow a company's own standard, not ISA-5.1.
- The project has columns of its own beside the many that Autodesk's templates add.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.support.dcf import Dcf

ITEMS = 879
READABLE = {"equipment": 9, "valves": 3, "instruments": 31, "lines": 4}
"""Tags in the Tag columns themselves, by entity; a line is one of the nine numbers that only one group carries."""
REGISTERED = {"equipment": 33, "valves": 111, "instruments": 6}
"""Tags that only the registry still knows."""
LINE_NUMBERS = 9
GROUPS, GROUPS_WITHOUT_SEGMENT = 543, 324
OWN_COLUMNS = {"Vessel": "D1", "CentrifugalPump": "D1", "ElectricMotor": "D1", "HandValves": "Omschrijving"}
AUTODESK_COLUMNS = 12
"""Columns that a template marks removable: not the project's own."""
_INSTRUMENT_TAGS = tuple(f"MF300\N{PLUS-MINUS SIGN}KSA{number}" for number in range(3001, 3017))
"""A company standard: no letters in it are function letters."""


@dataclass(slots=True)
class Pruned:
    """The project and what a test may want to name. Ids by what is known of them."""

    dcf: Dcf
    readable: list[int] = field(default_factory=list)
    registered: list[int] = field(default_factory=list)
    nowhere: list[int] = field(default_factory=list)
    """Items whose row is missing and that the registry does not know either."""
    mismatch: int = 0
    """The one valve whose registry entry says another tag than its row."""
    groups: dict[str, list[int]] = field(default_factory=dict)
    """Line number -> its groups."""
    bare_groups: list[int] = field(default_factory=list)
    """Groups without a segment."""


def pruned_project(path: Path) -> Pruned:
    """Write the project to `path`."""
    dcf = Dcf(path)
    made = Pruned(dcf)
    with dcf.at_once():
        _columns(dcf)
        for name in ("Equipment", "HandValves", "Instrumentation", "PipeLineGroup"):
            dcf.add("PnPTagEnlistedColumns", TagRegistyName="Tags", TableName=name, ColumnName="Tag")
        drawing = dcf.add("PnPDrawings", PnPType="DWG", PnPRelativePath="PID\\PID.dwg", Title="Chemicals")
        _tagged(made, drawing, "Vessel", "Equipment", "V", own=4, registry=18, nowhere=3)
        _tagged(made, drawing, "CentrifugalPump", "Equipment", "P", own=3, registry=10, nowhere=1)
        _tagged(made, drawing, "ElectricMotor", "Equipment", "M", own=2, registry=5, nowhere=1)
        _tagged(made, drawing, "GateValve", "HandValves", "H", own=3, registry=111, nowhere=32)
        _instruments(made, drawing)
        _lines(made, drawing)
        _other_oddities(made)
    return made


def _columns(dcf: Dcf) -> None:
    for name, base in (("Vessel", "Equipment"), ("ElectricMotor", "Equipment"), ("Secondary", "PipeLines")):
        dcf.declare(name, base, {})
    for table, names in {
        "EngineeringItems": ("ModelNumber", "Status"),
        "Equipment": ("Type", "Number", "EquipmentSpec"),
        "HandValves": ("ValveCode", "Number"),
        "Instrumentation": ("Area", "Type", "Location"),
        "PipeLines": ("Size", "Spec", "InsulationType", "DesignPressure"),
        "PipeLineGroup": ("Service", "NominalSize", "NominalSpec", "Status"),
    }.items():
        for name in names:
            dcf.column(table, name)
    for table, name in OWN_COLUMNS.items():
        if name != "D1" or table != "CentrifugalPump":
            dcf.column(table, name)
        dcf.attribute(table, name, "ISNEWCREATION", "True")
        dcf.attribute(table, name, "ISREMOVABLE", "True")
    for number in range(AUTODESK_COLUMNS):
        dcf.column("Equipment", f"Rated{number}", ISREMOVABLE="True", ISNEWCREATION="False")


def _tagged(
    made: Pruned, drawing: int, name: str, level: str, letter: str, *, own: int, registry: int, nowhere: int
) -> None:
    dcf = made.dcf
    for number in range(own + registry + nowhere):
        tag = f"{letter}-{1001 + number}"
        has_row = number < own
        item = dcf.add(name, without=() if has_row else (level,), Tag=tag, Description="")
        dcf.draw(drawing, item)
        if number < own + registry:
            dcf.register(tag, item)
        (made.readable if has_row else made.registered if number < own + registry else made.nowhere).append(
            item
        )


def _instruments(made: Pruned, drawing: int) -> None:
    dcf = made.dcf
    tags = [*_INSTRUMENT_TAGS, *(f"FT-{number}" for number in range(2001, 2016))]
    for number, tag in enumerate(tags):
        item = dcf.add("FieldMountedDCS", Tag=tag)
        made.readable.append(item)
        dcf.draw(drawing, item)
        if number:
            dcf.register(tag, item)
    for number in range(3):
        dcf.draw(drawing, dcf.add("FieldMountedDCS", Tag=f"?HVM\N{PLUS-MINUS SIGN}KH664{number}"))
    for number in range(109):
        tag = f"PT-{4001 + number}"
        item = dcf.add("FieldMountedDCS", without=("Instrumentation",), Tag=tag)
        dcf.draw(drawing, item)
        if number < REGISTERED["instruments"]:
            dcf.register(tag, item)
        (made.registered if number < REGISTERED["instruments"] else made.nowhere).append(item)


def _lines(made: Pruned, drawing: int) -> None:
    """Nine numbers with readable segments; other groups have segments whose row is missing, or none."""
    dcf = made.dcf
    for number in range(LINE_NUMBERS):
        tag = f"25-CS150-PW-{5001 + number}"
        for _ in range(1 if number < READABLE["lines"] else 3):
            group = dcf.add("PipeLineGroup", Tag=tag if number == 0 else "?", LineNumber="")
            if number == 0:
                dcf.register(tag, group)
            made.groups.setdefault(tag, []).append(group)
            for _ in range(2):
                _segment(made, drawing, group, Tag=tag, Size="25", Spec="CS150")
    numbered = sum(map(len, made.groups.values()))
    with_segments = GROUPS - GROUPS_WITHOUT_SEGMENT - numbered
    for number in range(with_segments):
        group = dcf.add("PipeLineGroup", Tag="?", LineNumber=None)
        if number < 5:
            _segment(made, drawing, group, Tag="NA")
        for _ in range(2 if number < 388 - with_segments else 1):
            _segment(made, drawing, group, without=("PipeLines",))
    for number in range(GROUPS_WITHOUT_SEGMENT):
        made.bare_groups.append(dcf.add("PipeLineGroup", Tag="?" if number else None, LineNumber=""))


def _segment(made: Pruned, drawing: int, group: int, *, without: tuple[str, ...] = (), **values: str) -> None:
    segment = made.dcf.add("Primary", without=without, **values)
    made.dcf.draw(drawing, segment)
    made.dcf.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)


def _other_oddities(made: Pruned) -> None:
    """A registry entry of an item that is no more, and one that says another tag than the item's row."""
    made.dcf.register("R565B1", 4_000_315)
    made.mismatch = next(
        item for item in made.readable if made.dcf.sql("SELECT 1 FROM HandValves WHERE PnPID = ?", item)
    )
    made.dcf.sql("UPDATE PnPTagRegistry SET Tag = '1001-H' WHERE RowId = ?", made.mismatch)
