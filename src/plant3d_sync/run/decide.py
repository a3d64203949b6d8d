"""Read both sides and decide: the plan, not yet stored and not yet applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from plant3d_sync.connectors.base import ItemBatch, PlantSnapshot
from plant3d_sync.model.link import InSynapse, Link, LinkState
from plant3d_sync.model.outcome import Clocks
from plant3d_sync.model.plan import GuardHit
from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import Asset, Finding, PlantItem, SourceIdentity
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import Direction, Entity
from plant3d_sync.reconcile.definitions import Definitions
from plant3d_sync.reconcile.guard import check_identity, check_synapse
from plant3d_sync.reconcile.once import told_once, without_refused
from plant3d_sync.reconcile.planning import Draft, Knowledge, Planner
from plant3d_sync.reconcile.quarantine import Quarantine
from plant3d_sync.run import schema
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.letters import unread_letters
from plant3d_sync.run.lines import made_of, reading_of
from plant3d_sync.run.project import Project, World, iso
from plant3d_sync.run.read_synapse import Feed, stored_unlinked, stray_assets
from plant3d_sync.run.spool import LineSpool
from plant3d_sync.run.unread import UnreadFields
from plant3d_sync.state import Connection, intents, links, mappings, ours, quarantine, seals
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lines import Made
from plant3d_sync.state.links import Brief
from plant3d_sync.state.projects import ProjectState

ARCHIVED = frozenset((InSynapse.ARCHIVED, InSynapse.ARCHIVED_TOLD))
GUARD_STATES = frozenset((LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING))


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a caller wants planned."""

    direction: Direction = Direction.PULL
    entities: frozenset[Entity] = frozenset(Entity)
    full: bool = False
    only_assets: frozenset[str] | None = None

    @property
    def all_kinds(self) -> bool:
        """Whether no kind of asset is left out."""
        return self.entities == frozenset(Entity)

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.all_kinds and self.only_assets is None

    @property
    def compares_all(self) -> bool:
        """Whether every item of the kinds is compared: the read dates what the next one finds moved."""
        return self.only_assets is None and self.direction is not Direction.PUSH


@dataclass(slots=True, kw_only=True)
class Planned:
    """A draft with what it was made from."""

    draft: Draft
    sides: Sides
    read_at: float
    mapping_digest: str
    choices: frozenset[str] = frozenset()
    """The choices that were known when the plan was made; what a person chose since is left to the next run."""
    stirs: int = 0
    """How often something had asked for a comparison when the state was read for it."""
    whole: dict[str, int] = field(default_factory=dict)
    """Entity -> items of Plant 3D that the mapping's classes hold."""
    same_line: dict[str, int] = field(default_factory=dict)
    """Entity -> those of them that are part of another item: line groups with one number."""
    lines: dict[str, Made] = field(default_factory=dict)
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
    known, feed, snapshot, rules = sides.known, sides.feed, sides.snapshot, sides.rules
    mapping_digest = sides.mapping_digest(project)
    read_at = world.clock()
    everything = asked.full or known.mapping_digest != mapping_digest or feed.reset
    with world.state.read() as connection:
        seals.one_moment(connection)
        seals.check_choices(connection, project.name, nothing="Nothing was planned or written.")
        stirs = project_state.stirs(connection, known.name)  # first: a word that comes now counts as not seen
        briefs = _by_row(links.briefs(connection, known.number))
        reading = reading_of(connection, known.name, known.number, rules)
        look = schema.look_at(connection, known.number, project.mapping_token(), rules, snapshot, read_at)
        resolutions = finding_state.resolutions(connection, project.name)
        knowledge = Knowledge(
            now=read_at,
            now_iso=iso(read_at) or "",
            direction=asked.direction,
            entities=asked.entities,
            catalog=snapshot.catalog,
            limits=project.config.limits,
            missing=project.config.missing,
            write_mode=project.config.write,
            signature=sides.signature,
            clocks=_clocks(project, known, snapshot.identity),
            last_plant3d_read=known.plant_read_at,
            last_synapse_read=known.feed_read_at,
            unlinked=stored_unlinked(connection, known.number, feed),
            resolutions=resolutions,
            questions=finding_state.open_questions(connection, project.name),
            only_assets=asked.only_assets,
            workbook_days=project.config.workbook_days,
            definitions=_definitions(connection, known, rules, mapping_digest),
            strays=stray_assets(connection, known.number, feed, briefs.values()),
            lost=_lost(briefs.values(), feed),
            schema=look.step,
            quarantine=Quarantine(
                rows=quarantine.read(connection, known.number, project.name), now=read_at, all_due=everything
            ),
            first_pull=project_state.first_pull_is_unfinished(known),
        )
    planner = Planner(rules, knowledge, LineSpool)
    unread = UnreadFields(project.synapse, rules)
    live, lost = _announce(planner, briefs, knowledge.lost, feed)
    digests = _known_digests(briefs, feed, everything)
    if only is not None:
        digests = (
            {brief.pnpid: brief.digest for brief in briefs.values() if brief.digest} if not everything else {}
        )
        digests = {
            pnpid: known_as for pnpid, known_as in digests.items() if briefs[pnpid].plant3d_id not in only
        }
        briefs = {pnpid: brief for pnpid, brief in briefs.items() if brief.plant3d_id in only}
    seen: set[int] = set()
    lines: dict[str, Made] = {}
    done = 0
    classes = sorted(rules.classes)
    whole = snapshot.counts(classes)
    total = sum(whole.values())
    for batch in snapshot.scan(classes, digests, reading):
        if only is not None:
            batch = ItemBatch(
                unchanged=[],
                changed=[item for item in batch.changed if item.guid in only],
                unsettled=[pnpid for pnpid in batch.unsettled if pnpid in briefs],
            )
        if batch.unchanged:
            planner.see_unchanged([briefs[pnpid] for pnpid in batch.unchanged])
            seen.update(batch.unchanged)
        if batch.changed:
            there = batch.changed
            if briefs:
                there = [item for item in there if not _is_missed_line(item, briefs, reading)]
                seen.update([item.pnpid for item in there])
                seen.update([item.follows for item in there if item.follows is not None])
            lines |= made_of(there, reading)
            _see_changed(world, known, planner, feed, there, unread)
        if batch.unsettled:  # there, but unknown this time: neither compared nor missed
            seen.update(batch.unsettled)
            planner.set_aside([briefs[one] for one in batch.unsettled if one in briefs])
        done += len(batch.unchanged) + len(batch.changed) + len(batch.unsettled)
        world.progress("compare", done, total)
    _see_gone(world, known, planner, feed, briefs, seen)
    hits: list[GuardHit] = []
    if only is None:
        hits += check_identity(known.identity, snapshot.identity)
        hits += check_synapse(links=live, missing_assets=lost, limits=project.config.limits)
    draft = planner.finish(hits)
    if only is None:
        draft.findings.extend(
            [
                *without_refused(snapshot.findings(), draft.errors),
                *_mapping_findings(rules),
                *unread_letters(rules, snapshot),
                *look.findings(),
            ]
        )
    draft.findings[:] = _placed(told_once(draft.findings, _tag_columns(rules)), snapshot)
    draft.stats.findings = len(draft.findings)
    return Planned(
        draft=draft,
        sides=sides,
        read_at=read_at,
        mapping_digest=mapping_digest,
        choices=frozenset(choice.conflict_id for choice in resolutions.values()),
        stirs=stirs,
        whole=by_entity(rules, whole),
        same_line=by_entity(rules, snapshot.folded),
        lines=lines,
        schema=look,
        newly_gone=any(brief.in_synapse is InSynapse.ARCHIVED for brief in briefs.values()),
    )


def _tag_columns(rules: RuleSet) -> Callable[[str], frozenset[str]]:
    """Class -> the columns that its tag may come from, in lower case."""

    def columns(name: str) -> frozenset[str]:
        used = rules.uses.get(name, {}).get("tag", ())
        return frozenset(column.lower() for column in used) | {"tag"}

    return columns


def _placed(found: Sequence[Finding], snapshot: PlantSnapshot) -> list[Finding]:
    """The findings with the drawings that their items are drawn in."""
    wanted = {one.pnpid for one in found if one.pnpid is not None and one.drawing is None}
    drawings = snapshot.drawings_of(wanted)
    return [
        one if (shown := drawings.get(one.pnpid or 0)) is None or one.drawing else replace(one, drawing=shown)
        for one in found
    ]


def _clocks(project: Project, known: ProjectState, source: SourceIdentity) -> Clocks:
    """What this run knows of the clocks, ours, SYNAPSE's, and the one that stamped the file."""
    last = known.identity
    once = (
        last is not None
        and known.signature is not None
        and last.signature == known.signature  # it is of the last complete read, and we wrote nothing since
        and last.change_counter is not None
        and source.change_counter == last.change_counter + 1
    )
    return replace(
        Clocks.allowing(project.config.tolerance_seconds),
        skew=known.skew,
        skew_before=known.skew_before,
        file_changed=source.changed_at,
        one_commit=once and source.changed_at is not None,
        lag=known.plant_lag or 0.0,
    )


def _by_row(briefs: Iterable[Brief]) -> dict[int, Brief]:
    """Links by the row of their item; a live one hides a dead one, whose row stands for another line now."""
    every = list(briefs)
    found = {brief.pnpid: brief for brief in every}
    if len(found) == len(every):
        return found
    found = {}
    for brief in every:
        other = found.get(brief.pnpid)
        if other is None or other.state not in GUARD_STATES:
            found[brief.pnpid] = brief
    return found


def _is_missed_line(item: PlantItem, briefs: Mapping[int, Brief], reading: Reading) -> bool:
    """Whether it is a line with an asset of which no segment is drawn any more: it counts as not seen."""
    if not reading.is_undrawn(item):
        return False
    brief = briefs.get(item.pnpid if item.follows is None else item.follows)
    return brief is not None and brief.plant3d_id == item.guid


def by_entity(rules: RuleSet, counts: Mapping[str, int]) -> dict[str, int]:
    """Items per kind of asset from items per class."""
    found: Counter[str] = Counter()
    for name, count in counts.items():
        found[str(rules.classes[name].entity)] += count
    return dict(found)


def _definitions(
    connection: Connection, known: ProjectState, rules: RuleSet, mapping_digest: str
) -> Definitions:
    """The mapping as it is, and the versions under which links were compared that are not it."""
    same = known.mapping_digest == mapping_digest
    current = known.mapping_version if same else None
    return Definitions(
        now=rules.definition,
        current=current,
        last=known.mapping_version,
        is_new=not same,
        earlier=mappings.earlier(connection, known.number, current),
    )


def _announce(
    planner: Planner, briefs: dict[int, Brief], not_shown: frozenset[str], feed: Feed
) -> tuple[int, int]:
    """Tell the planner who holds which tag in SYNAPSE. Returns live links, and how many of them SYNAPSE lost."""
    news, holders = feed.news, {}
    lost = 0
    live: Counter[str] = Counter()
    usual, is_live = LinkState.ACTIVE.value, InSynapse.LIVE
    for brief in briefs.values():
        if brief.state == usual and brief.in_synapse is is_live and brief.plant3d_id not in news:
            live[brief.entity] += 1
            holders[brief.tag] = brief.pnpid
            lost += brief.plant3d_id in not_shown
            continue
        if brief.state == LinkState.OUT and not _archived(brief, feed):
            holders[_live_tag(brief, feed)] = brief.pnpid  # nobody looks for its item, yet its asset lives
        if brief.state not in GUARD_STATES:
            if brief.state == LinkState.ARCHIVED and brief.in_synapse is InSynapse.LIVE:
                holders[_live_tag(brief, feed)] = brief.pnpid  # a person restored the asset
            continue
        live[brief.entity] += 1
        if brief.in_synapse is InSynapse.LIVE and brief.plant3d_id not in news:
            holders[brief.tag] = brief.pnpid
            lost += brief.plant3d_id in not_shown
            continue
        holders[_live_tag(brief, feed)] = brief.pnpid
        lost += brief.plant3d_id in not_shown or _lost_in_synapse(brief, feed)
    planner.known_links(holders, live)
    return live.total(), lost


def _lost_in_synapse(brief: Brief, feed: Feed) -> bool:
    """Archived or removed in SYNAPSE since the last run that ended."""
    if brief.in_synapse is not InSynapse.LIVE:
        return brief.in_synapse is InSynapse.ARCHIVED
    news = feed.news.get(brief.plant3d_id)
    return news is not None and news.archived


def _lost(briefs: Iterable[Brief], feed: Feed) -> frozenset[str]:
    """Pairs whose asset is not in SYNAPSE any more: by its answer to a write, or because a complete read of it, this one
    or an earlier one, did not show a live one.
    """
    return frozenset(
        brief.plant3d_id
        for brief in briefs
        if (brief.in_synapse is InSynapse.LOST or (feed.complete and brief.in_synapse is InSynapse.LIVE))
        and brief.plant3d_id not in feed.seen
        and brief.plant3d_id not in feed.news
    )


def _archived(brief: Brief, feed: Feed) -> bool:
    """Whether the asset is archived now."""
    news = feed.news.get(brief.plant3d_id)
    return news.archived if news is not None else brief.in_synapse in ARCHIVED


def _is_visited(brief: Brief, planner: Planner, feed: Feed) -> bool:
    """Whether a link that is not live has something to say: its class is mapped again, or its asset was restored."""
    if brief.state == LinkState.OUT:
        return planner.maps(brief.class_name)
    return brief.state in (LinkState.ARCHIVED, LinkState.UNLINKED) and not _archived(brief, feed)


def _live_tag(brief: Brief, feed: Feed) -> str:
    news = feed.news.get(brief.plant3d_id)
    return news.tag if news is not None and not news.archived else brief.tag


def _known_digests(briefs: dict[int, Brief], feed: Feed, everything: bool) -> dict[int, bytes]:
    """Digests that may be trusted: nothing is open on the link and SYNAPSE said nothing new."""
    if everything:
        return {}
    return {
        brief.pnpid: brief.digest
        for brief in briefs.values()
        if brief.digest and not brief.open and brief.state == "active" and brief.plant3d_id not in feed.news
    }


def _see_changed(
    world: World,
    known: ProjectState,
    planner: Planner,
    feed: Feed,
    items: Sequence[PlantItem],
    unread: UnreadFields,
) -> None:
    guids = [item.guid for item in items if item.guid]
    linked = known.next_link > 1
    with world.state.read() as connection:
        seals.one_moment(connection)
        found = links.by_items(connection, known.number, guids, []) if linked else []
        by_guid: dict[str, Link] = {item.plant3d_id: item for item in found}
        strangers = [item.pnpid for item in items if item.guid not in by_guid] if linked else []
        same_row = links.by_items(connection, known.number, [], strangers)
        same_row.sort(key=lambda link: link.state in GUARD_STATES)  # a live one hides a dead one
        by_pnpid: dict[int, Link] = {link.pnpid: link for link in same_row}
        loose: dict[str, Asset] = (
            {} if feed.reset else links.unlinked_by_plant3d_id(connection, known.number, guids)
        )
        # a Plant 3D that did not move since it was compared, with nothing open, holds no copy of ours that is news
        moved = [
            item.pnpid
            for item in items
            if (link := by_guid.get(item.guid)) is None
            and (item.guid in loose or item.guid in feed.news)
            or link is not None
            and (link.pending or item.digest != link.digest)
        ]
        known_as_ours = ours.by_pnpid(connection, known.name, moved)
        pushed = {link.link_id: link.pnpid for link in found if link.pnpid in known_as_ours}
        for link_id, held in intents.values_sent(connection, list(pushed)).items():
            known_as_ours[pushed[link_id]].extend(held)
        away = [link.link_id for link in found if link.synapse_delta or link.plant3d_id in feed.news]
        late = intents.late_values(connection, known.name, away)
    for item in items:
        link = by_guid.get(item.guid) if item.guid else None
        asset = feed.news.get(item.guid)
        if asset is None and link is None:
            asset = loose.get(item.guid)
        if asset is None and link is not None:
            asset = unread.asset_of(link, item)
        other = by_pnpid.get(item.pnpid) if link is None and not item.row_guid else None
        planner.see(
            item,
            link,
            asset,
            other,
            known_as_ours.get(item.pnpid, ()),
            late.get(link.link_id) if link else None,
        )


def _see_gone(
    world: World,
    known: ProjectState,
    planner: Planner,
    feed: Feed,
    briefs: dict[int, Brief],
    seen: set[int],
) -> None:
    absent = [
        brief.plant3d_id
        for brief in briefs.values()
        if brief.pnpid not in seen and (brief.state in GUARD_STATES or _is_visited(brief, planner, feed))
    ]
    for start in range(0, len(absent), links.CHUNK):
        with world.state.read() as connection:
            found = links.by_items(connection, known.number, absent[start : start + links.CHUNK], [])
        for link in found:
            planner.gone(link)


def _mapping_findings(rules: RuleSet) -> list[Finding]:
    """What the project's own mapping names and the project lacks. The shipped one names more than most projects have."""
    return [
        Finding(code="mapping", message=warning)
        for warning in rules.warnings
        if not warning.startswith("stock:")
    ]
