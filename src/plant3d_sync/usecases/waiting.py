"""What waits for a person, as it is shown: each thing with its way out."""

from __future__ import annotations

from typing import assert_never

from plant3d_sync.run.project import iso
from plant3d_sync.state.waiting import WaitingKind, Waits


def document(one: Waits, project: str) -> dict[str, object]:
    """As in the JSON of `waiting`."""
    return {
        "kind": one.kind,
        "id": one.id,
        "tag": one.tag,
        "pnpid": one.pnpid,
        "class": one.class_name,
        "field": one.field,
        "drawing": one.drawing,
        "code": one.code,
        "message": one.message,
        "hint": " ".join(filter(None, (one.hint, what_to_do(one.kind, project, one.id)))),
        "since": iso(one.since),
    }


def what_to_do(kind: WaitingKind, project: str, number: str) -> str:
    """The way out of a thing that waits. `number`: its id."""
    match kind:
        case "conflict":
            return (
                f"Decide it: `plant3d-sync resolve {number} plant3d` (or `synapse`, or `manual --value …`)."
            )
        case "plan":
            return f"Look at it (`plant3d-sync show {number}`), then `plant3d-sync apply {number}` (a guarded one with `--approve-guards`) or `discard {number}`."
        case "archive":
            return f"`plant3d-sync plan {project}`, look at it, then `apply`; or bring the item back in Plant 3D."
        case "schema_step":
            return (
                f"`plant3d-sync schema show {project}`, then `schema accept`; or correct it in Project Setup."
            )
        case "quarantine":
            return (
                f"`plant3d-sync quarantine retry {project} {number}` tries it now, "
                f"`quarantine ignore {project} {number} --reason …` leaves it alone."
            )
        case "workbook":
            return f"`plant3d-sync workbook {project} -o FILE`, then import it in the Data Manager and accept the cells."
        case "work_item":
            return "Have the drawing changed by a designer, as the message says."
        case _:
            assert_never(kind)
