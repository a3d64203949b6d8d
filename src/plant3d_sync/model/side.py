"""The two systems, who owns a field, and what kinds of assets there are."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """One of the two systems. Never "source" and "target": each is both."""

    PLANT3D = "plant3d"
    SYNAPSE = "synapse"


class Owner(StrEnum):
    """Who may change a field: one side, or both."""

    PLANT3D = "plant3d"
    SYNAPSE = "synapse"
    SHARED = "shared"


class Entity(StrEnum):
    """The four kinds of assets, by their names in the API."""

    EQUIPMENT = "equipment"
    INSTRUMENTS = "instruments"
    LINES = "lines"
    VALVES = "valves"


ASSET_TYPES: dict[Entity, str] = {
    Entity.EQUIPMENT: "Equipment",
    Entity.INSTRUMENTS: "Instrument",
    Entity.LINES: "Line",
    Entity.VALVES: "Valve",
}
"""`asset_type` in SYNAPSE of each kind."""


class Direction(StrEnum):
    """What a run does."""

    PULL = "pull"
    PUSH = "push"
    BOTH = "both"


class WriteMode(StrEnum):
    """How values get into Plant 3D, per project."""

    OFF = "off"
    WORKBOOK = "workbook"
    SQL = "sql"
