"""One pass over the items of Plant 3D: each is shown to the planner with what is remembered of it and what SYNAPSE holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from plant3d_sync.connectors.base import ItemBatch
from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import Asset, PlantItem, Value
from plant3d_sync.reconcile.planning import Planner
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.lines import made_of
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.recall import GUARD_STATES, Recalled, is_archived
from plant3d_sync.run.unread import UnreadFields
from plant3d_sync.state import Connection, intents, links, ours
from plant3d_sync.state.lines import Made
from plant3d_sync.state.links import Brief

AT_ONCE = 100
"""Changed items that the state is asked about together."""


class _Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a batch of items. `loose`: assets without a link, by identity. `by_pnpid`: links of their rows
    under another identity. `ours`: values of ours in their cells. `late`: what an overtaken run wrote, by link.
    """

    by_guid: Mapping[str, Link]
    by_pnpid: Mapping[int, Link]
    loose: Mapping[str, Asset]
    ours: Mapping[int, Sequence[Ours]]
    late: Mapping[int, Mapping[str, Value]]


class Comparison:
    """Feeds a planner. `lines`: identity of a line -> what it is made of, where that is not what was known of it."""

    def __init__(
        self, world: World, project: Project, sides: Sides, planner: Planner, recalled: Recalled
    ) -> None:
        self.lines: dict[str, Made] = {}
        self.undrawn: Counter[str] = Counter()
        """Class -> lines with an asset of which no segment is drawn any more."""
        self._world = world
        self._sides = sides
        self._planner = planner
        self._recalled = recalled
        self._unread = UnreadFields(project.synapse, sides.rules)
        self._seen: dict[int, None] = {}  # of so many, a set would take three times the room
        self._waiting: list[PlantItem] = []

    def scan(self, only: frozenset[str] | None) -> Mapping[str, int]:
        """Every item, or those with these identities. Returns how many there are of each class."""
        classes = sorted(self._sides.rules.classes)
        whole = self._sides.snapshot.counts(classes)
        total, done = sum(whole.values()), 0
        for batch in self._sides.snapshot.scan(classes, self._recalled.digests, self._recalled.reading):
            if only is not None:
                batch = self._narrowed(batch, only)
            self._see(batch)
            done += len(batch.unchanged) + len(batch.changed) + len(batch.unsettled)
            self._world.progress("compare", done, total)
        self._see_waiting()
        return whole

    def _narrowed(self, batch: ItemBatch, only: frozenset[str]) -> ItemBatch:
        return ItemBatch(
            unchanged=[],
            changed=[item for item in batch.changed if item.guid in only],
            unsettled=[pnpid for pnpid in batch.unsettled if pnpid in self._recalled.briefs],
        )

    def _see(self, batch: ItemBatch) -> None:
        planner, briefs, seen = self._planner, self._recalled.briefs, self._seen
        if batch.unchanged:
            planner.see_unchanged([briefs[pnpid] for pnpid in batch.unchanged])
            seen.update(dict.fromkeys(batch.unchanged))
        if batch.changed:
            there = batch.changed
            if briefs:
                reading = self._recalled.reading
                there = [item for item in there if not self._is_missed_line(item, reading)]
                seen.update(dict.fromkeys([item.pnpid for item in there]))
                seen.update(dict.fromkeys([item.follows for item in there if item.follows is not None]))
            self._waiting += there
            if len(self._waiting) >= AT_ONCE:
                self._see_waiting()
        if batch.unsettled:  # there, but unknown this time: neither compared nor missed
            seen.update(dict.fromkeys(batch.unsettled))
            planner.set_aside([briefs[one] for one in batch.unsettled if one in briefs])

    def _see_waiting(self) -> None:
        """Show the items that changed, of however many batches they are: the state is asked about all of them at once."""
        there, self._waiting = self._waiting, []
        if there:
            self.lines |= made_of(there, self._recalled.reading)
            self._see_changed(there)

    def _is_missed_line(self, item: PlantItem, reading: Reading) -> bool:
        missed = _is_missed_line(item, self._recalled.briefs, reading)
        self.undrawn[item.class_name] += missed
        return missed

    def _see_changed(self, items: Sequence[PlantItem]) -> None:
        with self._world.state.read() as connection:
            known = self._look_up(connection, items)
        news = self._sides.feed.news
        if not (known.by_guid or known.by_pnpid or known.loose or any(item.guid in news for item in items)):
            self._planner.see_new(items)
            return
        for item in items:
            link = known.by_guid.get(item.guid) if item.guid else None
            asset = news.get(item.guid)
            if asset is None and link is None:
                asset = known.loose.get(item.guid)
            if asset is None and link is not None:
                asset = self._unread.asset_of(link, item)
            other = known.by_pnpid.get(item.pnpid) if link is None and not item.row_guid else None
            self._planner.see(
                item,
                link,
                asset,
                other,
                known.ours.get(item.pnpid, ()),
                known.late.get(link.link_id) if link else None,
            )

    def _look_up(self, connection: Connection, items: Sequence[PlantItem]) -> _Remembered:
        known, feed = self._sides.known, self._sides.feed
        guids = [item.guid for item in items if item.guid]
        linked = known.next_link > 1
        found = links.by_items(connection, known.number, guids, []) if linked else []
        by_guid = {item.plant3d_id: item for item in found}
        strangers = [item.pnpid for item in items if item.guid not in by_guid] if linked else []
        same_row = links.by_items(connection, known.number, [], strangers)
        same_row.sort(key=lambda link: link.state in GUARD_STATES)  # a live one hides a dead one
        loose = {} if feed.reset else links.unlinked_by_plant3d_id(connection, known.number, guids)
        away = [link.link_id for link in found if link.synapse_delta or link.plant3d_id in feed.news]
        return _Remembered(
            by_guid=by_guid,
            by_pnpid={link.pnpid: link for link in same_row},
            loose=loose,
            ours=self._ours(connection, items, by_guid, loose),
            late=intents.late_values(connection, known.name, away),
        )

    def _ours(
        self,
        connection: Connection,
        items: Sequence[PlantItem],
        by_guid: Mapping[str, Link],
        loose: Mapping[str, Asset],
    ) -> Mapping[int, Sequence[Ours]]:
        # a Plant 3D that did not move since it was compared, with nothing open, holds no copy of ours that is news
        news = self._sides.feed.news
        moved = [
            item.pnpid
            for item in items
            if (link := by_guid.get(item.guid)) is None
            and (item.guid in loose or item.guid in news)
            or link is not None
            and (link.pending or item.digest != link.digest)
        ]
        found = ours.by_pnpid(connection, self._sides.known.name, moved)
        pushed = {link.link_id: link.pnpid for link in by_guid.values() if link.pnpid in found}
        for link_id, held in intents.values_sent(connection, list(pushed)).items():
            found[pushed[link_id]].extend(held)
        return found

    def showed(self, brief: Brief) -> bool:
        """Whether this complete pass showed the item, of whatever class it is now."""
        return brief.pnpid in self._seen

    def see_gone(self, *, older: bool = False) -> None:
        """Links whose items this complete pass did not show. `older`: the file itself is of an earlier day."""
        number, feed = self._sides.known.number, self._sides.feed
        absent = [
            brief.plant3d_id
            for brief in self._recalled.briefs.values()
            if brief.pnpid not in self._seen
            and (brief.state in GUARD_STATES or _is_visited(brief, self._planner, feed))
        ]
        for start in range(0, len(absent), links.CHUNK):
            with self._world.state.read() as connection:
                found = links.by_items(connection, number, absent[start : start + links.CHUNK], [])
            for link in found:
                self._planner.gone(link, older=older)


def _is_missed_line(item: PlantItem, briefs: Mapping[int, Brief], reading: Reading) -> bool:
    """Whether it is a line with an asset of which no segment is drawn any more: it counts as not seen."""
    if not reading.is_undrawn(item):
        return False
    brief = briefs.get(item.pnpid if item.follows is None else item.follows)
    return brief is not None and brief.plant3d_id == item.guid


def _is_visited(brief: Brief, planner: Planner, feed: Feed) -> bool:
    """Whether a link that is not live has something to say: its class is mapped again, or its asset was restored."""
    if brief.state == LinkState.OUT:
        return planner.maps(brief.class_name)
    return brief.state in (LinkState.ARCHIVED, LinkState.UNLINKED) and not is_archived(brief, feed)
