"""A change of the schema, found before anything is decided: nothing that it touches is written until it is accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.document import Document
from plant3d_sync.model.link import InSynapse
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.schema import (
    Kind,
    MovingItem,
    Schema,
    Step,
    StepDocument,
    difference,
    without_change,
)
from plant3d_sync.run.project import iso
from plant3d_sync.state import Connection, links, schemas
from plant3d_sync.state.links import Brief
from plant3d_sync.state.schemas import Kept

SHOWN = 200
"""Items that are named; the rest is counted."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The catalogue as it was accepted and as it is. `document`: the step that waits, as it is shown; None if none does."""

    kept: Kept | None
    now: Schema
    step: Step | None = None
    document: StepDocument | None = None

    def findings(self) -> list[Finding]:
        """One for each change."""
        if self.step is None:
            return []
        return [
            Finding(
                code="schema_step",
                message=f"{change.said()} Until somebody accepts it, the fields and items that it concerns wait.",
                class_name=change.classes[0] if len(change.classes) == 1 else None,
                column=change.column or None,
                hint="`plant3d-sync schema show` shows the step, `schema accept` accepts it; or correct it in Project Setup.",
                data={
                    "step": self.step.step_id,
                    "classes": list(change.classes),
                    "fields": list(change.fields),
                },
            )
            for change in self.step.changes
        ]


def look_at(
    connection: Connection, number: int, token: str, rules: RuleSet, snapshot: PlantSnapshot, at: float
) -> Look:
    """Compare the catalogue of a snapshot with the accepted one. `token`: of the project's mapping. Writes nothing."""
    now = Schema(mapping=token, classes=rules.used)
    kept = schemas.get(connection, number, now)
    if kept is None:
        return Look(kept=None, now=now)
    counts = snapshot.counts(sorted(rules.classes))
    step = difference(kept.accepted, now, rules.uses, counts)
    if step is None:
        return Look(kept=kept, now=now)
    since = kept.step.get("since") if kept.step.get("step") == step.step_id else iso(at)
    leaving: list[MovingItem] = [
        {"pnpid": brief.pnpid, "tag": brief.tag, "class": brief.class_name}
        for brief in links.briefs(connection, number)
        if brief.class_name in step.leaving
    ]
    entering: list[MovingItem] = []
    if step.entering:
        for batch in snapshot.scan(sorted(step.entering), {}, rules.reading):
            for item in batch.changed:
                tag = rules.translate[item.class_name](item).fields.get("tag")
                entering.append({"pnpid": item.pnpid, "tag": tag, "class": item.class_name})
    return Look(kept=kept, now=now, step=step, document=_document(step, counts, since, entering, leaving))


def _document(
    step: Step,
    counts: Mapping[str, int],
    since: str | None,
    entering: list[MovingItem],
    leaving: list[MovingItem],
) -> StepDocument:
    left = Counter(item["class"] for item in leaving)
    return {
        "step": step.step_id,
        "since": since,
        "changes": [
            {
                "kind": change.kind.value,
                "message": change.said(),
                "column": change.column or None,
                "classes": list(change.classes),
                "fields": list(change.fields),
                "before": change.before,
                "after": change.after,
                "items": sum(
                    left[name] if change.kind is Kind.CLASS_REMOVED else counts.get(name, 0)
                    for name in change.classes
                ),
            }
            for change in step.changes
        ],
        "enter": {"count": len(entering), "items": entering[:SHOWN]},
        "leave": {"count": len(leaving), "items": leaving[:SHOWN]},
    }


def left_alone(briefs: Iterable[Brief], rules: RuleSet) -> Iterator[Brief]:
    """Items with a living asset whose class the mapping does not bring, or not any more: nothing is done with them."""
    return (
        brief
        for brief in briefs
        if brief.class_name not in rules.classes and brief.in_synapse is InSynapse.LIVE
    )


def out_of_mapping(brief: Brief) -> Finding:
    """What is reported of one of them."""
    return Finding(
        code="out_of_mapping",
        message=f"The mapping does not bring the class {brief.class_name} (any more). The asset is left alone.",
        hint="Nothing, if it is meant: archive the asset in SYNAPSE if it is not needed. Else bring the class back.",
        pnpid=brief.pnpid,
        class_name=brief.class_name,
        tag=brief.tag,
        data={"plant3d_id": brief.plant3d_id},
    )


def remember(connection: Connection, number: int, look: Look, *, at: float, by: str) -> None:
    """After a complete read: what nobody has to accept is accepted, the rest waits. A word of a person goes before it."""
    before = look.kept
    if schemas.accepted_at(connection, number) != (before.accepted_at if before is not None else None):
        return  # accepted meanwhile: the next run sees it
    accepted = look.now if before is None else without_change(before.accepted, look.now, look.step)
    offered = look.now if look.step is not None else None
    step: Document = {**look.document} if look.document is not None else {}
    if before is not None and (before.accepted, before.step, before.offered) == (accepted, step, offered):
        return
    schemas.put(
        connection,
        number,
        Kept(
            accepted=accepted,
            accepted_at=at if before is None else before.accepted_at,
            accepted_by=by if before is None else before.accepted_by,
            step=step,
            offered=offered,
        ),
    )
