"""What becomes of one item: which case it is, and the decision of that case."""

from __future__ import annotations

from msgspec.structs import replace

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import Finding, PlantItem
from plant3d_sync.model.rules import Translated
from plant3d_sync.reconcile import archived, identity, newcomer, pair
from plant3d_sync.reconcile.case import ASSET_REMOVED, Case, Decision, Known, finding, row_error
from plant3d_sync.reconcile.context import Context, Kind


def decide(case: Case, on: Context) -> Decision:
    """New, archived in SYNAPSE, known to SYNAPSE already, or a pair."""
    link = case.link
    if link is None and case.asset is None:
        return newcomer.decide(case, on)
    if link is not None and case.item.guid in on.know.lost and WHOLE not in link.holds:
        return _lost(case, link, on)
    if archived.is_so(case):
        return archived.decide(case, on)
    if link is not None:
        return pair.decide(case, link, on)
    if case.asset is None:
        raise AssertionError("a case without a link and without an asset is new")
    return pair.adopt(case, case.asset, on)


def case_of(item: PlantItem, kind: Kind, translated: Translated, known: Known, on: Context) -> Case:
    """What is decided about. Where two records of one tag disagree, nobody is renamed by the registry: no tag."""
    tag, link = on.tag_of(translated), known.link
    if tag is not None and link is not None and link.base is not None and on.tag_from_registry(translated):
        tag = tag if tag == link.base.get("tag", link.tag) else None
    return Case(item, kind.entity, kind.rule, translated, tag, link, known.asset, known.ours, known.late)


def _lost(case: Case, link: Link, on: Context) -> Decision:
    told = finding(
        case.item,
        link.tag,
        "asset_lost",
        "The asset is not in SYNAPSE any more (removed there, or an older backup); created again.",
    )
    made = newcomer.decide(case, on, link_id=link.link_id)
    if not made.steps:
        return replace(made, findings=(told, *made.findings))
    # the new asset holds what Plant 3D holds: nothing is left of what was asked, or chosen, about the old one
    choices = on.know.resolutions.items()
    void = tuple((one.conflict_id, ASSET_REMOVED) for key, one in choices if key[0] == link.link_id)
    return replace(made, findings=(told, *made.findings), choices=void, ends_questions=True)


def set_aside(case: Case, other: Link | None) -> Decision | None:
    """Why nothing may be planned for an item whose identity is not its own; None if it is."""
    problem = identity.problem_of(case.item, case.link, other, case.entity.value)
    return None if problem is None else replace(row_error(problem), uncompared=True)


def remarks(case: Case) -> list[Finding]:
    """What is worth saying of an item whatever is decided: another class, fields that cannot be read."""
    item, link = case.item, case.link
    told = [
        finding(item, case.tag, code, message, column=name)
        for name, code, message in case.translated.problems
    ]
    if link is not None and link.class_name != item.class_name:
        changed = f"The class changed from {link.class_name} to {item.class_name}."
        told.insert(0, finding(item, link.tag, "class_changed", changed))
    return told


def has_its_own_identity(item: PlantItem, link: Link | None, other: Link | None) -> bool:
    """The usual case of a new item, told without looking closer."""
    return link is None and other is None and bool(item.guid) and not item.sharing
