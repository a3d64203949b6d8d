"""How a value of a field is written in a Plant 3D cell, which holds text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import UNSET, UnsetType

from plant3d_sync.errors import SkipRecordError
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import Spelling
from plant3d_sync.reconcile.merge import Same, is_blank


class Spelled(msgspec.Struct, frozen=True, gc=False):
    """`text`: what to store. `reads`: what the field says then, where that is another value than the text."""

    text: Value
    reads: Value | UnsetType = UNSET


def spelled(
    value: Value, now: Value, *, spelling: Spelling | None, plain: bool, same: Same, choices: Iterable[str]
) -> Spelled:
    """The text for a value, close to what the cell holds `now`; of a selection list, the choice that means the value.

    `plain`: the converter takes texts as they are. Raises SkipRecordError if no text would read as this value again.
    """
    if spelling is None or (plain and (value is None or isinstance(value, str))):
        return Spelled(value)
    if is_blank(value) and same(value, None):
        return Spelled(None, None)
    text = spelling.to_cell(value, now if isinstance(now, str) else None)
    listed = tuple(choices)
    if listed and text not in listed:
        text = next((one for one in listed if _means(one, value, spelling.to_field, same)), text)
    reads = None if is_blank(text) else spelling.to_field(text)
    if not same(reads, value):
        raise SkipRecordError("Read back it would be another value.", code="not_convertible")
    return Spelled(text, reads)


def _means(text: str, value: Value, to_field: Callable[[Value], Value], same: Same) -> bool:
    """Whether a text reads as this value; one that reads as nothing does not."""
    try:
        return not is_blank(text) and same(to_field(text), value)
    except SkipRecordError:
        return False


def read(text: Value, spelling: Spelling | None) -> Value:
    """What a field says of a text that stood in its cell; the text itself where its converter takes none of it."""
    if spelling is None or is_blank(text):
        return text
    try:
        return spelling.to_field(text)
    except SkipRecordError:
        return text
