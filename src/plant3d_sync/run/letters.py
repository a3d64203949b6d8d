"""Whether the tags of a project's instruments follow ISA-5.1 at all."""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.mapping.isa import function_letters
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.words import said

FEWEST = 10
"""Fewer tags say nothing about a project."""
_EXAMPLES = 3


def _most_are_read(rules: RuleSet, snapshot: PlantSnapshot, classes: Sequence[str]) -> bool:
    """Whether the tags of half of the instruments hold letters; the largest classes first, no more than it takes to know."""
    rows = snapshot.counts(classes)
    read, usable = 0, rules.reading.tags.usable
    for name in sorted(filter(rows.__getitem__, rows), key=lambda one: -rows[one]):
        tags = snapshot.column_values([name], "Tag").values()
        read += sum(function_letters(tag) is not None and usable(tag) is not None for tag in tags)
        if 2 * read >= sum(rows.values()):
            return True
    return False


def unread_letters(rules: RuleSet, snapshot: PlantSnapshot) -> list[Finding]:
    """One finding if most instruments have no function letters, neither in the column Type nor in the tag."""
    classes = [
        name
        for name, rule in rules.classes.items()
        if any(column.startswith("@isa_") for one in rule.fields.values() for column in one.columns)
    ]
    if not classes:
        return []
    if _most_are_read(rules, snapshot, classes):
        return []
    tags = {
        pnpid: tag
        for pnpid, tag in snapshot.column_values(classes, "Tag").items()
        if rules.reading.tags.usable(tag)
    }
    if len(tags) < FEWEST:
        return []
    types = snapshot.column_values(classes, "Type")
    kinds = {one: function_letters(one) for one in set(types.values())}  # a few, of many instruments each
    untyped = [(pnpid, tag) for pnpid, tag in tags.items() if kinds.get(types.get(pnpid)) is None]
    if 2 * len(untyped) <= len(tags):
        return []
    unread = [str(tag) for _pnpid, tag in sorted(untyped) if function_letters(tag) is None]
    if 2 * len(unread) <= len(tags):
        return []
    shown = ", ".join(said(tag) for tag in unread[:_EXAMPLES])
    return [
        Finding(
            code="letters_unread",
            message=f"{len(unread)} of {len(tags)} instruments have no function letters after ISA-5.1, neither in their tag "
            f"nor in the column Type ({shown}, …); their kind is Unknown.",
            hint="If the plant has a standard of its own, name the column in which it records the kind of an instrument "
            "in the mapping, for asset_subtype and attributes.instrument_type.",
            data={"unread": len(unread), "of": len(tags)},
        )
    ]
