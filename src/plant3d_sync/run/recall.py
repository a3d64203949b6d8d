"""What is remembered when a run decides: links in brief, questions, choices, the schema, what may be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from plant3d_sync.model.link import InSynapse, LinkState
from plant3d_sync.model.outcome import Clocks
from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.reconcile.definitions import Definitions
from plant3d_sync.reconcile.planning import Knowledge, Planner
from plant3d_sync.reconcile.quarantine import Quarantine
from plant3d_sync.run import schema
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.project import Project, World, iso
from plant3d_sync.run.read_synapse import Feed, stored_unlinked, stray_assets
from plant3d_sync.state import Connection, links, mappings, quarantine, seals
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import let_go_of_pages
from plant3d_sync.state.links import Brief
from plant3d_sync.state.projects import ProjectState

ARCHIVED = frozenset((InSynapse.ARCHIVED, InSynapse.ARCHIVED_TOLD))
GUARD_STATES = frozenset((LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING))


class Recalled(msgspec.Struct, frozen=True, kw_only=True):
    """What the state said at one moment. `briefs`: links by row. `stirs`: how often something had asked for a comparison.

    `digests`: of rows whose pairs need not be compared while they stay. `look`: the catalogue as accepted and as it is.
    """

    knowledge: Knowledge
    briefs: dict[int, Brief]
    digests: dict[int, bytes]
    reading: Reading
    look: schema.Look
    stirs: int
    feed: Feed
    everything: bool

    @property
    def newly_gone(self) -> bool:
        """Whether some linked asset was found archived in SYNAPSE since the last run that ended."""
        return any(brief.in_synapse is InSynapse.ARCHIVED for brief in self.briefs.values())

    def announce(self, planner: Planner) -> tuple[int, int]:
        """Tell the planner who holds which tag in SYNAPSE. Returns live links, and how many of them SYNAPSE lost."""
        return _announce(planner, self.briefs, self.knowledge.lost, self.feed)

    def narrowed(self, only: frozenset[str]) -> Recalled:
        """The links of these identities alone; whatever else stands as it was compared."""
        known = (
            {} if self.everything else {one.pnpid: one.digest for one in self.briefs.values() if one.digest}
        )
        return replace(
            self,
            briefs={pnpid: brief for pnpid, brief in self.briefs.items() if brief.plant3d_id in only},
            digests={pnpid: one for pnpid, one in known.items() if self.briefs[pnpid].plant3d_id not in only},
        )


def recall(world: World, project: Project, sides: Sides, asked: Asked, mapping_digest: str) -> Recalled:
    """Ask the state, in one moment. `mapping_digest`: of the mapping as it is. Raises NeedsPersonError if a choice was altered from outside."""
    known, feed, rules = sides.known, sides.feed, sides.rules
    now = world.clock()
    everything = asked.full or known.mapping_digest != mapping_digest or feed.reset
    with world.state.read() as connection:
        seals.check_choices(
            connection, project.name, nothing="Nothing was planned or written.", writing=False
        )
        stirs = project_state.stirs(connection, known.name)  # first: a word that comes now counts as not seen
        every = list(links.briefs(connection, known.number))
        reading = reading_of(connection, known.name, known.number, rules, every)
        briefs = _by_row(every)
        del every
        let_go_of_pages(connection)
        look = schema.look_at(
            connection, known.number, mapping_digest.partition(":")[0], rules, sides.snapshot, now
        )
        knowledge = Knowledge(
            now=now,
            now_iso=iso(now) or "",
            direction=asked.direction,
            entities=asked.entities,
            catalog=sides.snapshot.catalog,
            limits=project.config.limits,
            missing=project.config.missing,
            write_mode=project.config.write,
            signature=sides.signature,
            clocks=_clocks(project, known, sides.snapshot.identity),
            last_plant3d_read=known.plant_read_at,
            last_synapse_read=known.feed_read_at,
            unlinked=stored_unlinked(connection, known.number, feed),
            resolutions=conflict_state.resolutions(connection, project.name),
            questions=conflict_state.open_questions(connection, project.name),
            only_assets=asked.only_assets,
            workbook_days=project.config.workbook_days,
            definitions=_definitions(connection, known, rules, mapping_digest),
            strays=stray_assets(connection, known.number, feed, briefs.values()),
            lost=_lost(briefs.values(), feed),
            schema=look.step,
            quarantine=Quarantine(
                rows=quarantine.read(connection, known.number, project.name), now=now, all_due=everything
            ),
            first_pull=project_state.first_pull_is_unfinished(known),
        )
    return Recalled(
        knowledge=knowledge,
        briefs=briefs,
        digests=_known_digests(briefs, feed, everything),
        reading=reading,
        look=look,
        stirs=stirs,
        feed=feed,
        everything=everything,
    )


def is_archived(brief: Brief, feed: Feed) -> bool:
    """Whether the asset is archived now."""
    news = feed.news.get(brief.plant3d_id)
    return news.archived if news is not None else brief.in_synapse in ARCHIVED


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


def _by_row(every: Sequence[Brief]) -> dict[int, Brief]:
    """Links by the row of their item; a live one hides a dead one, whose row stands for another line now."""
    found = {brief.pnpid: brief for brief in every}
    if len(found) == len(every):
        return found
    found = {}
    for brief in every:
        other = found.get(brief.pnpid)
        if other is None or other.state not in GUARD_STATES:
            found[brief.pnpid] = brief
    return found


def _definitions(
    connection: Connection, known: ProjectState, rules: RuleSet, mapping_digest: str
) -> Definitions:
    """The mapping as it is, and the versions under which links were compared that are not it."""
    same = known.mapping_digest == mapping_digest
    current = known.mapping_version if same else None
    earlier = mappings.earlier(connection, known.number, current)
    return Definitions(
        now=rules.definition,
        current=current,
        last=known.mapping_version,
        is_new=not same,
        earlier=earlier,
        comparators=rules.comparators() if earlier else {},
    )


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


def _lost_in_synapse(brief: Brief, feed: Feed) -> bool:
    """Archived or removed in SYNAPSE since the last run that ended."""
    if brief.in_synapse is not InSynapse.LIVE:
        return brief.in_synapse is InSynapse.ARCHIVED
    news = feed.news.get(brief.plant3d_id)
    return news is not None and news.archived


def _live_tag(brief: Brief, feed: Feed) -> str:
    news = feed.news.get(brief.plant3d_id)
    return news.tag if news is not None and not news.archived else brief.tag


def live_tags(briefs: Iterable[Brief], feed: Feed) -> dict[str, int]:
    """Tag in SYNAPSE now -> PnPID of the linked item, of every asset with a link of ours that lives there."""
    return {
        _live_tag(brief, feed): brief.pnpid
        for brief in briefs
        if not is_archived(brief, feed)
        and (brief.in_synapse is not InSynapse.LOST or brief.plant3d_id in feed.news)
    }


def _announce(
    planner: Planner, briefs: dict[int, Brief], not_shown: frozenset[str], feed: Feed
) -> tuple[int, int]:
    """Tell the planner who holds which tag in SYNAPSE. Returns live links, and how many of them SYNAPSE lost."""
    news, holders = feed.news, {}
    left_alone: dict[str, int] = {}
    lost = 0
    live: Counter[str] = Counter()
    usual, is_live = LinkState.ACTIVE.value, InSynapse.LIVE
    for brief in briefs.values():
        if brief.state == usual and brief.in_synapse is is_live and brief.plant3d_id not in news:
            live[brief.entity] += 1
            holders[brief.tag] = brief.pnpid
            lost += brief.plant3d_id in not_shown
            continue
        if brief.state == LinkState.OUT and not is_archived(brief, feed):
            holders[_live_tag(brief, feed)] = brief.pnpid  # nobody looks for its item, yet its asset lives
        if brief.state not in GUARD_STATES:
            if brief.state == LinkState.ARCHIVED and brief.in_synapse is InSynapse.LIVE:
                holders[_live_tag(brief, feed)] = brief.pnpid  # a person restored the asset
            if brief.state == LinkState.UNLINKED and not is_archived(brief, feed):
                left_alone[_live_tag(brief, feed)] = (
                    brief.pnpid
                )  # a person keeps the asset of an item that is gone
            continue
        live[brief.entity] += 1
        if brief.in_synapse is InSynapse.LIVE and brief.plant3d_id not in news:
            holders[brief.tag] = brief.pnpid
            lost += brief.plant3d_id in not_shown
            continue
        holders[_live_tag(brief, feed)] = brief.pnpid
        lost += brief.plant3d_id in not_shown or _lost_in_synapse(brief, feed)
    planner.known_links(holders, live, left_alone)
    return live.total(), lost


def _known_digests(briefs: dict[int, Brief], feed: Feed, everything: bool) -> dict[int, bytes]:
    """Digests that may be trusted: nothing is open on the link and SYNAPSE said nothing new."""
    if everything:
        return {}
    return {
        brief.pnpid: brief.digest
        for brief in briefs.values()
        if brief.digest and not brief.open and brief.state == "active" and brief.plant3d_id not in feed.news
    }
