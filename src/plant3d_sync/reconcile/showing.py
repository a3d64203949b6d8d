"""What a field would say once a cell is written: another column of the field may show through."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.rules import Translated
from plant3d_sync.reconcile.merge import is_blank


def shows_through(
    translate: Callable[[PlantItem], Translated], item: PlantItem, name: str, column: str, value: Value
) -> Value:
    """What the field would say if its cell `column` were emptied, where something stands behind it; else None.

    The first filled column of a field wins, so an emptied one lets the next come out: it would pass as a new edit
    of Plant 3D. A value that fills the cell hides whatever stands behind it.
    """
    if not is_blank(value):
        return None
    emptied = msgspec.structs.replace(item, values={**item.values, column: value})
    shown = translate(emptied).fields.get(name)
    return None if is_blank(shown) else shown
