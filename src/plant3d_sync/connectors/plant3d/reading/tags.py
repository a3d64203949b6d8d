"""Tags as Plant 3D's registry spells them."""

from __future__ import annotations


def plain_tag(registered: str, owner: int | None) -> str:
    """A tag as the item has it. Owned nozzles are registered as tag + `_` + PnPID of the owner."""
    suffix = f"_{owner}"
    return registered.removesuffix(suffix) if owner is not None else registered
