"""Which drawings show an item, and under which names their files may be locked; both wings ask."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final

GROUPS: Final = (
    ("PipeLineGroupRelationship", "PipeLineGroup", "PipeLine"),
    ("SignalLineGroupRelationship", "SignalLineGroup", "SignalLine"),
)
"""Relations of groups, which have no link to a drawing of their own: (table, role of the group, role of the segment)."""

ANNOTATIONS: Final = ("AnnotationRelationship", "Annotated", "Annotation")
"""Annotations that show an item; they may lie on another drawing than the item."""

UNKNOWN_DRAWING: Final = "(a drawing that is not in the project's list)"


_FILE_COLUMNS: Final = ("PnPRelativePath", "Dwg Name", "Path")
"""Where a drawing's file is named, best first. Projects of 2010 have no relative path and no `PnPType`."""


DRAWING_COLUMNS: Final = ("PnPID", "PnPType", *_FILE_COLUMNS)
"""The columns of `PnPDrawings` that say where a drawing lies."""


def drawing_columns(present: Container[str]) -> tuple[str, ...]:
    """The columns of `PnPDrawings` to read, of those this project has (lower-cased)."""
    return ("PnPID", *(name for name in ("PnPType", *_FILE_COLUMNS) if name.lower() in present))


def drawing_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """What to look for besides lock files: path or file name of each drawing, sorted. Folders are none.

    A link to a drawing that is not in the list, or has no name, is a drawing nobody can see.
    """
    found: set[str] = set()
    for row in rows:
        if row["PnPID"] is not None and str(row.get("PnPType")).upper() == "FOLDER":
            continue
        names = (row.get(name) for name in _FILE_COLUMNS if row["PnPID"] is not None)
        found.add(next((text for text in names if isinstance(text, str) and text.strip()), UNKNOWN_DRAWING))
    return sorted(found)
