"""What the mapping, as it is now, would change in SYNAPSE: counted and named before any run does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict, assert_never

from plant3d_sync.model.coverage import Coverage, CoverageDocument
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding, Value
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Create,
    Push,
    Restore,
    Settle,
    Touch,
    Update,
    from_text,
)
from plant3d_sync.run.both_sides import Reader, greet, remembered
from plant3d_sync.run.decide import Planned, make_plan
from plant3d_sync.run.life import Life
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recall import GUARD_STATES
from plant3d_sync.run.request import Request
from plant3d_sync.run.telling import coverage_of
from plant3d_sync.state import Connection, findings, links, quarantine
from plant3d_sync.state.links import Brief
from plant3d_sync.state.projects import ProjectState

SHOWN = 20
"""Items named for each field, and of those that enter or leave; the rest is counted."""


CREATED = "created"
"""What an item that enters becomes, if nothing keeps it from that."""

Named = TypedDict("Named", {"pnpid": int, "tag": str | None, "class": str | None})
"""An item that leaves."""

Becoming = TypedDict("Becoming", {"pnpid": int, "tag": str | None, "class": str | None, "becomes": str})
"""An item and what becomes of it: `created`, or the code of what keeps it from being handed over."""


class Example(TypedDict):
    """One value that would change."""

    pnpid: int
    tag: str
    was: Value
    now: Value


class FieldDiff(TypedDict):
    """What would change in one field, with a few examples."""

    changes: int
    examples: list[Example]


class Some(TypedDict):
    """How many, and the first of them."""

    count: int
    items: list[Named]


class Entering(TypedDict):
    """How many, the first of them, and how many become what."""

    count: int
    items: list[Becoming]
    becomes: dict[str, int]


class Diff(TypedDict):
    """What a mapping would change; its members are those of the interface.

    `enter`: items without an asset that are created, or newly kept from it. `set_aside`: linked items that are newly kept
    from being compared; their assets stay as they are.
    """

    project: str
    changed: bool
    fields: dict[str, FieldDiff]
    enter: Entering
    leave: Some
    set_aside: Entering
    coverage: CoverageDocument
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
                briefs = list(links.briefs(connection, known.number))
                told = _told(connection, known, world.clock())
            return _document(planned, briefs, told, project=project.name, last=known.mapping_digest)


def _told(connection: Connection, known: ProjectState, now: float) -> set[tuple[int, str]]:
    """PnPID and code of what earlier runs told of items: not the mapping's doing."""
    found = findings.matching(connection, known.number, findings.Wanted(status="all"), now=now)
    told = {(one["pnpid"], one["code"]) for one in found if one["pnpid"] is not None}
    return told | {(row.pnpid, row.code) for row in quarantine.rows_of(connection, known.number)}


def _document(
    planned: Planned, briefs: Sequence[Brief], told: set[tuple[int, str]], *, project: str, last: str | None
) -> Diff:
    """The changes by field with examples, and the items that enter or leave.

    Items with an asset whose class the mapping leaves out leave; their assets are left alone. `last`: digest of the
    mapping of the last complete run.
    """
    fields: dict[str, FieldDiff] = {}
    enter: list[Becoming] = []
    archived = 0
    for line in planned.draft.lines:
        (step,) = from_text(b"[" + line + b"]")
        match step:
            case Create():
                enter.append(
                    {"pnpid": step.pnpid, "tag": step.tag, "class": step.class_name, "becomes": CREATED}
                )
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
            case Push() | Settle() | Touch() | Absent():
                pass  # the preview is of SYNAPSE
            case _:
                assert_never(step)
    kept_out = _kept_out(planned, told)
    linked = {brief.pnpid for brief in briefs if brief.state in GUARD_STATES}
    left = [
        Named({"pnpid": brief.pnpid, "tag": brief.tag, "class": brief.class_name})
        for brief in briefs
        if brief.class_name not in planned.sides.rules.classes and brief.state in GUARD_STATES
    ]
    by_entity = {name: stats.to_dict() for name, stats in planned.draft.by_entity.items()}
    return {
        "project": project,
        "changed": last != planned.mapping_digest,
        "fields": dict(sorted(fields.items(), key=lambda one: (-one[1]["changes"], one[0]))),
        "enter": _entering([*enter, *(one for one in kept_out if one["pnpid"] not in linked)]),
        "leave": {"count": len(left), "items": left[:SHOWN]},
        "set_aside": _entering([one for one in kept_out if one["pnpid"] in linked]),
        "coverage": Coverage.total(coverage_of(by_entity, planned).values()).to_dict(),
        "archived": archived,
        "questions": len(planned.draft.conflicts),
        "guards": [hit.to_dict() for hit in planned.draft.guards],
    }


def _kept_out(planned: Planned, told: set[tuple[int, str]]) -> list[Becoming]:
    """Items that are not handed over for a reason that no run told of them before."""
    draft = planned.draft
    known: dict[int, tuple[str | None, str | None]] = {}
    told_now: list[Finding | RowError] = [*draft.findings, *draft.errors]
    for one in told_now:
        if one.pnpid is not None:
            mine = one.code == draft.not_handed_over.get(one.pnpid)
            if mine or one.pnpid not in known:
                known[one.pnpid] = one.tag, one.class_name
    kept_out: list[Becoming] = []
    for pnpid, code in sorted(draft.not_handed_over.items()):
        if (pnpid, code) not in told:
            tag, class_name = known.get(pnpid, (None, None))
            kept_out.append({"pnpid": pnpid, "tag": tag, "class": class_name, "becomes": code})
    return kept_out


def _entering(items: Sequence[Becoming]) -> Entering:
    becomes = Counter(item["becomes"] for item in items)
    return {"count": len(items), "items": list(items[:SHOWN]), "becomes": dict(becomes.most_common())}
