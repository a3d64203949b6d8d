"""An item without a link: a creation, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Raw

from plant3d_sync.model.fields import ATTRIBUTES, flat
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.step import AfterCreation, Create, blank_text, values_text
from plant3d_sync.model.tags import MAX_TAG, TagRule, Unusable, control_character
from plant3d_sync.reconcile.case import Case, Decision, Fate, refused, row_error, skipped
from plant3d_sync.reconcile.context import Context, Kind
from plant3d_sync.reconcile.limits import (
    MAX_ATTRIBUTES,
    MAX_DESCRIPTION,
    MAX_SUBTYPE,
    Refusal,
    attributes_refused,
    value_refused,
)
from plant3d_sync.reconcile.pair import unread
from plant3d_sync.words import said

_UNCHANGED = Decision(fate=Fate.UNCHANGED)


def decide(case: Case, on: Context, *, link_id: int | None = None) -> Decision:
    """`link_id`: the link of an asset that SYNAPSE lost, which the new asset takes over."""
    item, tag, fields = case.item, case.tag, case.translated.fields
    if tag is None or on.rules.reading.is_undrawn(item):
        return _untagged(case, on)
    if not on.pulls:
        return _UNCHANGED
    holder = on.know.unlinked.get(tag)
    if holder is not None:
        return skipped(
            item,
            tag,
            "unlinked_asset",
            f"SYNAPSE already holds an asset with the tag {tag} that is not linked. Nothing was created.",
            "Run `links propose`, review the pairs, then `links accept`.",
            data={"asset_id": holder[0], "asset_type": holder[1]},
            waits=True,
        )
    made = creation(item, on.kind(item.class_name), fields, tag, link_id=link_id)
    if isinstance(made, Create):
        return Decision(fate=Fate.CREATED, steps=(made,))
    return row_error(refused(item, tag, made, fields))


def creation(
    item: PlantItem, kind: Kind, fields: Mapping[str, Value], tag: str, *, link_id: int | None = None
) -> Create | Refusal:
    """The step that makes the asset, or why SYNAPSE would refuse it. Once for each item of a first pull."""
    keys, theirs = kind.attributes, kind.theirs
    columns: dict[str, Value | dict[str, Value]] = {}
    attributes: dict[str, Value] = {}
    blank: list[str] = []
    for name, value in fields.items():
        if value is None:  # known to be empty, which is not the same as never agreed
            blank.append(name)
        elif (key := keys.get(name)) is not None:
            attributes[key] = value
        elif name not in theirs:  # what is theirs is never overwritten from Plant 3D, not even at birth
            columns[name] = value
    columns["tag"] = tag
    if attributes:
        columns[ATTRIBUTES] = attributes
    text = values_text(columns)
    kind_of_item = columns.get("asset_subtype")
    if len(text) > MAX_DESCRIPTION or (type(kind_of_item) is str and len(kind_of_item) > MAX_SUBTYPE):
        problem = value_refused(columns)  # nothing in the text is longer than all of it
        if problem is None and len(text) > MAX_ATTRIBUTES // 2:
            problem = attributes_refused(flat(columns))
        if problem is not None:
            return problem
    after = AfterCreation(digest=item.digest.hex(), ticks=item.timestamp, revision=item.revision)
    if blank:
        after.blank = _blank(tuple(blank))
    if len(fields) < len(kind.rule.fields):
        after.pending = unread(kind.rule, fields, None)
    return Create(
        entity=kind.name,
        pnpid=item.pnpid,
        plant3d_id=item.guid,
        class_name=item.class_name,
        tag=tag,
        drawing=item.drawing or None,
        link_id=link_id,
        after=after,
        text=text,
    )


@lru_cache(maxsize=4096)
def _blank(names: tuple[str, ...]) -> Raw:
    """These fields, known to be empty, as JSON: few different ones for each class."""
    return blank_text(names)


def _untagged(case: Case, on: Context) -> Decision:
    item, shown = case.item, case.translated.fields.get("tag")
    if "tag" not in case.translated.fields:
        code, message, hint = (
            "tag_unknown",
            "The tag is unknown: the row that holds it is missing, or its cell cannot be read.",
            "Run the project audit in Plant 3D, or type the tag again; the next run takes the item along.",
        )
    elif not item.segments and _is_group(item, on):
        code, message = "line_not_drawn", "No segment of this line group is drawn, and it has no number."
        if case.tag is not None:
            message = f"No segment carries the line number {case.tag}: the line is not drawn."
        hint = "Nothing to do, unless the line should be there: then draw it."
    else:
        code, message, hint = _why_no_tag(on.rules.reading.tags, shown)
    if item.registry_tag:
        hint = (
            f"The tag registry knows this item as {item.registry_tag}; repair the item in Plant 3D (audit)."
        )
    return skipped(
        item,
        str(shown) if shown else None,
        code,
        f"{message} Skipped.",
        hint,
        data={"registry_tag": item.registry_tag} if item.registry_tag else None,
    )


def _is_group(item: PlantItem, on: Context) -> bool:
    return any(name.lower() == "pipelinegroup" for name in on.know.catalog.chain(item.class_name))


def _why_no_tag(rule: TagRule, value: Value) -> tuple[str, str, str]:
    """Code, sentence and hint of an item whose text in the tag is none."""
    text = value if isinstance(value, str) else ""
    problem = rule.problem(text)
    if problem is Unusable.CONTROL:
        char = control_character(text) or ""
        return (
            "invalid_tag",
            f"The tag {said(text)} holds a line break or control character (U+{ord(char):04X}).",
            "Type the tag again in Plant 3D, on one line.",
        )
    if problem is Unusable.TOO_LONG:
        return (
            "tag_too_long",
            f"The tag has {len(text)} characters; SYNAPSE holds {MAX_TAG}.",
            "Shorten the tag in Plant 3D.",
        )
    return (
        "untagged",
        "The item has no complete tag yet.",
        "Complete the tag in Plant 3D; the next run takes the item along.",
    )
