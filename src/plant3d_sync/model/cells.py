"""May this value go into this Plant 3D cell? The rules of what a foreign program may write.

Facts behind them: Plant 3D composes tags from other columns, fills acquired columns from their source,
keeps read-only and hidden columns for itself, and draws another symbol when a symbol-select list changes.
"""

from __future__ import annotations

import unicodedata

from plant3d_sync.model.catalog import Catalog, Column
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.words import said

SYSTEM_CLASSES = frozenset({"pnpbase", "pnpdatalinks", "pnpdrawings", "pnptagregistry"})
COMPOSED_COLUMNS = frozenset({"tag"})
TAG_PARTS = frozenset(
    {"type", "number", "code", "area", "size", "spec", "service", "linenumber", "nominalsize", "nominalspec"}
)
"""Columns that tag formats are made of: Plant 3D recomposes the tag when they change, SQL does not."""


def allowed_column(catalog: Catalog, class_name: str, column: str) -> tuple[Column | None, str]:
    """The column if its kind may ever be written, else None and the reason (a stable word)."""
    found = catalog.column(class_name, column)
    if found is None:
        return None, "column_unknown"
    name = found.name.lower()
    if found.table_class.lower() in SYSTEM_CLASSES or name == "pnpid":
        return None, "system_column"
    if name in COMPOSED_COLUMNS:
        return None, "composed_column"
    if name in TAG_PARTS:
        return None, "tag_part"
    if found.read_only:
        return None, "read_only_column"
    if found.hidden:
        return None, "hidden_column"
    if found.symbol_select:
        return None, "symbol_select_column"
    if found.type not in ("System.String", "PnPStringType", "PnPPickListType"):
        return None, "not_a_text_column"
    return found, ""


def acquired_columns(item: PlantItem) -> frozenset[str]:
    """Lower-cased columns this item fills from another object (`AcquisitionProperties` without `#`)."""
    listed = item.values.get("AcquisitionProperties")
    if not isinstance(listed, str):
        return frozenset()
    names = (name.strip() for name in listed.split(","))
    return frozenset(name.lower() for name in names if name and not name.startswith("#"))


def check_cell(catalog: Catalog, item: PlantItem, column: str, value: Value) -> tuple[str, str] | None:
    """Why this value may not be written into this cell of this item: (code, sentence), or None if it may."""
    found, why = allowed_column(catalog, item.class_name, column)
    if found is None:
        return why, f"{item.class_name}.{column} is not a column that may be written ({why})."
    if found.name.lower() in acquired_columns(item):
        return "acquired_column", f"{column} of this item is filled from another object in Plant 3D."
    if found.name in item.unknown:
        return "row_missing", f"This item has no row in the table that holds {column}."
    if value is None:
        return None
    if not isinstance(value, str):
        return "not_text", f"{column} holds text; {said(value)} is not text."
    units = len(value.encode("utf-16-le", "surrogatepass")) // 2  # as Plant 3D and SQL Server count them
    if units > found.length > 0:
        return "too_long", f"{units} characters, the column {column} holds {found.length}."
    bad = next((char for char in value if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        return "control_character", (
            f"The value holds a line break or control character (U+{ord(bad):04X}); Plant 3D cells hold one line."
        )
    if found.picklist and value not in catalog.picklists.get(found.picklist, (value,)):
        return "not_in_picklist", f"{said(value)} is not in the selection list {found.picklist} of {column}."
    return None


def equals_default(column: Column, value: Value) -> bool:
    """Whether a value is the class default, which counts as "not filled in": reading it back would give nothing."""
    return (
        isinstance(value, str)
        and column.default is not None
        and value.strip().casefold() == column.default.strip().casefold()
    )
