"""What SYNAPSE would refuse (contract D.2), checked while planning so that a dry run finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from plant3d_sync.model.fields import Grouped
from plant3d_sync.model.record import Value

MAX_SUBTYPE, MAX_DESCRIPTION, MAX_ATTRIBUTES = 100, 4000, 64 * 1024
"""Limits of SYNAPSE's asset: characters, and of all attributes together bytes."""


class Refusal(NamedTuple):
    """A value that cannot be written: its field, a stable word, a sentence."""

    field: str
    code: str
    message: str


def value_refused(values: Grouped) -> Refusal | None:
    """The first value that SYNAPSE would refuse."""
    value = values.get("asset_subtype")
    if isinstance(value, str) and len(value) > MAX_SUBTYPE:
        return _too_long("asset_subtype", value, MAX_SUBTYPE)
    value = values.get("description")
    if isinstance(value, str) and len(value) > MAX_DESCRIPTION:
        return _too_long("description", value, MAX_DESCRIPTION)
    return None


def attributes_refused(values: Mapping[str, Value]) -> Refusal | None:
    """Attributes that are too large together."""
    size = sum(len(name) + len(str(value)) + 8 for name, value in values.items() if name.startswith("attr"))
    if size <= MAX_ATTRIBUTES:
        return None
    return Refusal(
        "attributes", "attributes_too_large", f"About {size} bytes; SYNAPSE holds {MAX_ATTRIBUTES}."
    )


def _too_long(name: str, value: str, limit: int) -> Refusal:
    return Refusal(name, "too_long", f"{len(value)} characters; SYNAPSE holds {limit}.")
