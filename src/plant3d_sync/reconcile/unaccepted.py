"""What a change of the schema that nobody accepted yet keeps back: the items of its classes, the values of its fields."""

from __future__ import annotations

from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.schema import Step
from plant3d_sync.reconcile.case import Decision, skipped


def concerns(step: Step, class_name: str) -> bool:
    """Whether an item of the class is not compared whole."""
    return class_name in step.entering or class_name in step.fields


def enters(step: Step, class_name: str) -> bool:
    """Whether the class came into the mapping by the change."""
    return class_name in step.entering


def kept_back(item: PlantItem, tag: str | None) -> Decision:
    """Nothing is done with an item whose class came into the mapping by the change."""
    return skipped(
        item,
        tag,
        "schema_step",
        f"The class {item.class_name} came into what the mapping brings by a change of the schema. "
        "Nothing was done with the item.",
        "`plant3d-sync schema show` shows the step; once it is accepted, the next run takes the item along.",
    )
