"""What the mapping, as it is now, would change in SYNAPSE: counted and named before any run does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from plant3d_sync.model.link import LinkState
from plant3d_sync.model.record import Value
from plant3d_sync.model.step import Adopt, Archive, Create, Restore, Update, from_text
from plant3d_sync.run.both_sides import Reader, greet, remembered
from plant3d_sync.run.decide import Planned, make_plan
from plant3d_sync.run.life import Life
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.request import Request
from plant3d_sync.state import links

SHOWN = 20
"""Items named for each field, and of those that enter or leave; the rest is counted."""


Named = TypedDict("Named", {"pnpid": int, "tag": str, "class": str})
"""An item that enters or leaves."""


class Example(TypedDict):
    """One value that would change."""

    pnpid: int
    tag: str
    was: Value
    now: Value


class FieldDiff(TypedDict):
    changes: int
    examples: list[Example]


"""What would change in one field, with a few examples."""


class Some(TypedDict):
    """How many, and the first of them."""

    count: int
    items: list[Named]


class Diff(TypedDict):
    """What a mapping would change; its members are those of the interface."""

    project: str
    changed: bool
    fields: dict[str, FieldDiff]
    enter: Some
    leave: Some
    archived: int
    questions: int
    guards: list[dict[str, str]]


def mapping_diff(world: World, project: Project) -> Diff:
    """What the mapping as it is now would change in SYNAPSE. Stores and writes nothing."""
    request = Request()
    with Life(world, project).clock(request, None):
        known = remembered(world, project)
        greet(project, known)
        reader = Reader(world, project, known, keep=False)
        with reader.copied(reader.feed(full=True)) as sides:
            planned = make_plan(world, project, sides, request.asked)
            with world.state.read() as connection:
                leaving = [
                    Named({"pnpid": brief.pnpid, "tag": brief.tag, "class": brief.class_name})
                    for brief in links.briefs(connection, known.number)
                    if brief.class_name not in sides.rules.classes
                    and brief.state in (LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING)
                ]
            return _document(planned, leaving, project=project.name, last=known.mapping_digest)


def _document(planned: Planned, leaving: Iterable[Named], *, project: str, last: str | None) -> Diff:
    """The changes by field with examples, and the items that enter or leave.

    `leaving`: items with an asset whose class the mapping leaves out; their assets are left alone. `last`: digest of the
    mapping of the last complete run.
    """
    fields: dict[str, FieldDiff] = {}
    enter: list[Named] = []
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
