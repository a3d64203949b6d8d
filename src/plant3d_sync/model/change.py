"""What a run really did to one item, as recorded: what an undo reads."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plant3d_sync.model.record import Value


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded write. `fields`: field -> (before, after); `op`: create, update, adopt, archive, restore, push, undo.

    `information`: those of its fields that only went along with another one.
    """

    change_id: int
    link_id: int | None
    intent_id: int
    pnpid: int
    tag: str
    side: str
    op: str
    fields: Mapping[str, tuple[Value, Value]]
    information: tuple[str, ...] = ()


class WrittenCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of Plant 3D that a run wrote: its text before and after."""

    table_class: str
    column: str
    old: str | None
    new: str | None


class WrittenRow(msgspec.Struct, frozen=True, kw_only=True):
    """The cells that a change wrote, in the order of its fields, and the row they are in as it is now.

    `ticks`: the stamp the row has; `guid`: its PnPGuid, where that is not the identity of the item.
    """

    cells: tuple[WrittenCell, ...] = ()
    ticks: int | None = None
    guid: str = ""


class LeftAlone(msgspec.Struct, frozen=True, kw_only=True):
    """A field that an undo does not put back (`*`: the whole item), what it holds now, and why."""

    field: str
    value_now: Value
    why: str
