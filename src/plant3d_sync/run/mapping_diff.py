"""What the mapping, as it is now, would change in SYNAPSE: counted and named before any run does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plant3d_sync.model.step import Adopt, Archive, Create, Restore, Update, from_text
from plant3d_sync.run.decide import Planned

SHOWN = 20
"""Items named for each field, and of those that enter or leave; the rest is counted."""


def document(
    planned: Planned, leaving: Iterable[dict[str, Any]], *, project: str, last: str | None
) -> dict[str, Any]:
    """The changes by field with examples, and the items that enter or leave.

    `leaving`: items with an asset whose class the mapping leaves out; their assets are left alone. `last`: digest of the
    mapping of the last complete run.
    """
    fields: dict[str, dict[str, Any]] = {}
    enter: list[dict[str, Any]] = []
    archived = 0
    for line in planned.draft.lines:
        (step,) = from_text(b"[" + line + b"]")
        match step:
            case Create():
                enter.append({"pnpid": step.pnpid, "tag": step.tag, "class": step.class_name})
            case Update() | Restore() | Adopt():
                for name, value in step.set.items():
                    found = fields.setdefault(name, {"changes": 0, "examples": []})
                    found["changes"] += 1
                    if found["changes"] <= SHOWN:
                        found["examples"].append(
                            {"pnpid": step.pnpid, "tag": step.tag, "was": step.was.get(name), "now": value}
                        )
            case Archive():
                archived += step.needs is None
            case _:
                pass
    left = list(leaving)
    return {
        "project": project,
        "changed": last != planned.mapping_digest,
        "fields": dict(sorted(fields.items(), key=lambda one: (-one[1]["changes"], one[0]))),
        "enter": {"count": len(enter), "items": enter[:SHOWN]},
        "leave": {"count": len(left), "items": left[:SHOWN]},
        "archived": archived,
        "questions": len(planned.draft.conflicts),
        "guards": [hit.to_dict() for hit in planned.draft.guards],
    }
