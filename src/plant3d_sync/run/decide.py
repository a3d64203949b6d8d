"""Step 2: the plan, from what both sides hold and what is remembered; not yet stored and not yet applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.plan import GuardHit
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.reconcile.guard import check_identity, check_synapse
from plant3d_sync.reconcile.once import told_once, without_refused
from plant3d_sync.reconcile.planning import Draft, Planner
from plant3d_sync.run import schema
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.compare import Comparison
from plant3d_sync.run.letters import unread_letters
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recall import is_archived, recall
from plant3d_sync.run.spool import LineSpool
from plant3d_sync.state.lines import Made


class Planned(msgspec.Struct, kw_only=True):
    """A draft with what it was made from."""

    draft: Draft
    sides: Sides
    read_at: float
    mapping_digest: str
    choices: frozenset[str] = frozenset()
    """The choices that were known when the plan was made; what a person chose since is left to the next run."""
    stirs: int = 0
    """How often something had asked for a comparison when the state was read for it."""
    whole: dict[str, int] = msgspec.field(default_factory=dict)
    """Entity -> items of Plant 3D that the mapping's classes hold."""
    same_line: dict[str, int] = msgspec.field(default_factory=dict)
    """Entity -> those of them that are part of another item: line groups with one number."""
    undrawn: dict[str, int] = msgspec.field(default_factory=dict)
    """Entity -> lines with an asset of which no segment is drawn any more."""
    lines: dict[str, Made] = msgspec.field(default_factory=dict)
    """Identity of a line -> what it is made of, where that is not what was known of it."""
    schema: schema.Look | None = None
    """The catalogue as it was accepted and as it is."""
    newly_gone: bool = False
    """Whether some linked asset was found archived in SYNAPSE since the last run that ended."""


def make_plan(
    world: World, project: Project, sides: Sides, asked: Asked, *, only: frozenset[str] | None = None
) -> Planned:
    """Compare the whole snapshot with what is remembered and decide every step.

    `only`: decide about the items with these identities and no others, as their links remember both sides.
    """
    snapshot, rules = sides.snapshot, sides.rules
    mapping_digest = sides.mapping_digest(project)
    known = recall(world, project, sides, asked, mapping_digest)
    planner = Planner(rules, known.knowledge, LineSpool)
    live, lost = known.announce(planner)
    compared = Comparison(world, project, sides, planner, known if only is None else known.narrowed(only))
    whole = compared.scan(only)
    hits: list[GuardHit] = []
    if only is None:
        hits += check_identity(sides.known.identity, snapshot.identity)
    compared.see_gone(older=bool(hits))
    if only is None:
        hits += check_synapse(links=live, missing_assets=lost, limits=project.config.limits)
    seen = [] if only is not None else snapshot.findings()  # now: with them the relations between items go
    draft = planner.finish(hits)
    if only is None:
        draft.findings.extend(
            [
                *without_refused(seen, draft.errors, draft.findings),
                *_mapping_findings(rules),
                *unread_letters(rules, snapshot),
                *known.look.findings(),
                *(
                    schema.out_of_mapping(brief)
                    for brief in schema.left_alone(known.briefs.values(), rules)
                    if not (compared.showed(brief) or is_archived(brief, sides.feed))
                ),
            ]
        )
    draft.findings[:] = _placed(told_once(draft.findings, _tag_columns(rules)), snapshot)
    draft.stats.findings = len(draft.findings)
    return Planned(
        draft=draft,
        sides=sides,
        read_at=known.knowledge.now,
        mapping_digest=mapping_digest,
        choices=frozenset(choice.conflict_id for choice in known.knowledge.resolutions.values()),
        stirs=known.stirs,
        whole=by_entity(rules, whole),
        same_line=by_entity(rules, snapshot.folded),
        undrawn=by_entity(rules, compared.undrawn),
        lines=compared.lines,
        schema=known.look,
        newly_gone=known.newly_gone,
    )


def _tag_columns(rules: RuleSet) -> Callable[[str], frozenset[str]]:
    """Class -> the columns that its tag may come from, in lower case."""

    def columns(name: str) -> frozenset[str]:
        used = rules.uses.get(name, {}).get("tag", ())
        return frozenset(column.lower() for column in used) | {"tag"}

    return columns


def _placed(found: Sequence[Finding], snapshot: PlantSnapshot) -> list[Finding]:
    """The findings with the drawings that their items are drawn in, and the class they are of."""
    drawings = snapshot.drawings_of(
        {one.pnpid for one in found if one.pnpid is not None and one.drawing is None}
    )
    classes = snapshot.classes_of(
        {one.pnpid for one in found if one.pnpid is not None and one.class_name is None}
    )
    return [
        replace(
            one,
            drawing=one.drawing or drawings.get(one.pnpid or 0),
            class_name=one.class_name or classes.get(one.pnpid or 0),
        )
        if not (one.drawing and one.class_name)
        else one
        for one in found
    ]


def by_entity(rules: RuleSet, counts: Mapping[str, int]) -> dict[str, int]:
    """Items per kind of asset from items per class."""
    found: Counter[str] = Counter()
    for name, count in counts.items():
        found[str(rules.classes[name].entity)] += count
    return dict(found)


def _mapping_findings(rules: RuleSet) -> list[Finding]:
    """What the project's own mapping names and the project lacks. The shipped one names more than most projects have."""
    return [Finding(code="mapping", message=warning) for warning in rules.own_warnings]
