"""Small catalogs for tests that need classes and columns but no database."""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.model.catalog import Catalog, Column, PlantClass
from plant3d_sync.model.record import PlantItem, Value


def column(name: str, **options: object) -> Column:
    """A text column; `table_class` is filled in by `catalog`."""
    return Column(**{"name": name, "table_class": "", **options})  # type: ignore[arg-type]


def catalog(*classes: tuple[str, str | None, str, Sequence[Column | str]]) -> Catalog:
    """(name, base, label, own columns), bases before their sub-classes."""
    made: dict[str, PlantClass] = {}
    columns: dict[str, dict[str, Column]] = {}
    for name, base, label, own in classes:
        mine = [one if isinstance(one, Column) else column(one) for one in own]
        made[name] = PlantClass(
            name=name,
            base=base,
            label=label,
            physical=name,
            has_table=True,
        )
        placed = [
            Column(**{**{slot: getattr(one, slot) for slot in Column.__struct_fields__}, "table_class": name})
            for one in mine
        ]
        columns[name] = {**columns.get(base or "", {}), **{one.name.lower(): one for one in placed}}
    return Catalog(classes=made, columns=columns)


def plant() -> Catalog:
    """A project with the standard classes that matter, one custom column on Vessel and one on EngineeringItems."""
    return catalog(
        ("PnPBase", None, "", [column("PnPID", type="System.Int64"), "PnPClassName"]),
        (
            "EngineeringItems",
            "PnPBase",
            "Engineering Items",
            [
                column("ClassName", read_only=True, default="Engineering Items"),
                column("Description", default="ENGINEERING ITEMS"),
                "Manufacturer",
                "ModelNumber",
                column("Status", default="New", picklist="Status"),
                column("FlagValue", type="System.Int32", default="0", hidden=True, read_only=True),
            ],
        ),
        ("Equipment", "EngineeringItems", "Equipment", ["Tag", "Type", "EquipmentSpec", "Number", "Area"]),
        (
            "Tanks",
            "Equipment",
            "Tanks",
            ["Diameter", "Capacity", column("NumberOfTrays", type="System.Int32")],
        ),
        ("Vessel", "Tanks", "Vessel", [column("D1", custom=True), column("VOLUME", custom=True)]),
        ("Filters", "Equipment", "Filters", ["Rating"]),
        ("HandValvesBase", "EngineeringItems", "In Line Assets", ["Size", "Spec"]),
        (
            "HandValves",
            "HandValvesBase",
            "Hand Valves",
            ["Tag", "ValveCode", "Code", "Number", column("Normally", default="NO", picklist="SSPL$N")],
        ),
        ("GateValve", "HandValves", "Gate Valve", []),
        ("Instrumentation", "EngineeringItems", "Instrumentation", ["Tag", "Area", "Type", "LoopNumber"]),
        ("InlineInstruments", "Instrumentation", "Inline Instruments", ["Size"]),
        (
            "ControlValve",
            "InlineInstruments",
            "Control Valve",
            ["Failure", column("BodyType", read_only=True)],
        ),
        ("Nozzles", "EngineeringItems", "Nozzles", ["Tag", "Size"]),
        (
            "PipeLineGroup",
            "PnPBase",
            "Pipe Line Groups",
            [
                "Tag",
                "LineNumber",
                column("Description", default="PIPE LINE GROUP"),
                "NominalSize",
                "NominalSpec",
            ],
        ),
    )


def item(class_name: str, values: dict[str, Value], **options: object) -> PlantItem:
    """One item of that class with these columns."""
    given: dict[str, object] = {
        "pnpid": 7,
        "guid": "6f1c1a3e-0000-4000-8000-000000000007",
        "class_name": class_name,
        "timestamp": 638_000_000_000_000_000,
        "revision": 1,
        "values": values,
        **options,
    }
    return PlantItem(**given)  # type: ignore[arg-type]
