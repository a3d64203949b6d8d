"""Which texts in a Tag column are tags, and which stand for "not filled in yet"."""

from __future__ import annotations

PLACEHOLDERS = frozenset({"NA", "HOLD"})
"""Words drafters write instead of a tag. Plant 3D itself shows unfilled parts as `?`."""


def complete_tag(value: object) -> str | None:
    """The tag without outer blanks, or None for an empty, `?` or placeholder one."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    return None if not text or "?" in text or text.upper() in PLACEHOLDERS else text


def plain_tag(registered: str, owner: int | None) -> str:
    """A tag as the item has it. Owned nozzles are registered as tag + `_` + PnPID of the owner."""
    suffix = f"_{owner}"
    return registered.removesuffix(suffix) if owner is not None else registered
