"""What changed in SYNAPSE: read the feed, remember it, keep what this run needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from plant3d_sync.connectors.base import CursorReset
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.record import Asset
from plant3d_sync.model.version import is_counted
from plant3d_sync.reconcile import advance
from plant3d_sync.run.project import Project, World
from plant3d_sync.state import Connection, links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.links import Brief
from plant3d_sync.state.projects import ProjectState


class Feed(msgspec.Struct):
    """What was read: assets that are news to us, and where the feed stands.

    `news`: plant3d_id -> asset for everything that is not our own echo. `unlinked`: assets without an identity of ours.
    """

    news: dict[str, Asset] = msgspec.field(default_factory=dict)
    unlinked: list[Asset] = msgspec.field(default_factory=list)
    cursor: str | None = None
    entries: int = 0
    echoes: int = 0
    reset: bool = False
    complete: bool = False
    seen: set[str] = msgspec.field(default_factory=set)
    """Identities met in a read from the beginning; `complete` says that it got to the end."""
    started_at: float = 0.0


RESETS = 1
"""How often SYNAPSE may break its history during one read: once is a restored backup, twice is no progress."""

Stop = Callable[[int], None]
"""Called before each page is kept, with the entries read so far that need not be read again; raises to end the run."""


def go_on(_entries: int) -> None:
    """Nobody asks this read to end."""


def read_feed(
    world: World, project: Project, known: ProjectState, *, full: bool, keep: bool, stop: Stop = go_on
) -> Feed:
    """Read every change since the stored cursor (or everything), page by page.

    `keep` stores each page, then the cursor; without it (a dry run) nothing is stored.
    Raises RetryLaterError `synapse_answer_unusable` if SYNAPSE does not let the read come to an end.
    """
    feed = Feed(cursor=None if full else known.feed_cursor, reset=full, started_at=world.clock())
    if full and known.mapping_digest is not None:  # the next attempt would begin at the beginning again
        stop = _without_progress(stop)
    for resets in range(RESETS + 1):
        try:
            _read(world, project, known, feed, keep, stop)
            return feed
        except CursorReset as reset:
            if resets == RESETS:
                raise RetryLaterError(
                    f"SYNAPSE broke its history {resets + 1} times while it was read ({reset}; {feed.entries} "
                    "entries in the last pass). No plan was made and nothing was written.",
                    hint="Is SYNAPSE being restored? The next run reads it from the beginning.",
                    code="synapse_answer_unusable",
                    details={"resets": resets + 1, "entries": feed.entries},
                ) from reset
            feed = Feed(cursor=None, reset=True, started_at=world.clock())
    raise AssertionError("the last pass ends or raises")


def _without_progress(stop: Stop) -> Stop:
    return lambda _entries: stop(0)


def _read(world: World, project: Project, known: ProjectState, feed: Feed, keep: bool, stop: Stop) -> None:
    first = True
    loose: set[str] = set()
    for page in project.synapse.changes(feed.cursor):
        if page.assets:
            stop(feed.entries)
        failpoint("feed.page_read")
        feed.entries += len(page.assets)
        if feed.reset or page.shows_all:
            feed.seen.update(asset.plant3d_id for asset in page.assets if asset.plant3d_id)
            feed.seen.update(page.unreadable)
            feed.complete = not page.has_more and page.proved
        if page.shows_all:
            loose.update(asset.asset_id for asset in page.assets if not asset.plant3d_id)
        if page.assets:
            with world.state.read() as connection:
                fresh = _news(connection, known.number, page.assets, feed)
            for asset in fresh:
                if asset.plant3d_id:
                    feed.news[asset.plant3d_id] = asset
                else:
                    feed.unlinked.append(asset)
        else:
            fresh = []
        if keep and (fresh or page.next_cursor != known.feed_cursor):
            with world.state.write() as connection:
                if first and feed.reset:
                    links.clear_unlinked(connection, known.number)
                _store(connection, known, fresh, world.clock())
                values: dict[str, object] = {"feed_cursor": page.next_cursor}
                lost = links.mark_lost(connection, known.number, feed.seen) if feed.complete else 0
                if feed.complete and page.shows_all and not feed.reset:
                    held = links.unlinked_versions(connection, known.number)
                    links.drop_unlinked(connection, known.number, [one for one in held if one not in loose])
                if fresh or lost:
                    # the cursor moves past it: a run that dies after this must not look like a quiet one
                    values["force_compare"] = True
                project_state.update(connection, project.name, **values)
            failpoint("feed.page_stored")
        first = False
        feed.cursor = page.next_cursor
        world.progress("feed", feed.entries, None)


def _news(connection: Connection, number: int, assets: Sequence[Asset], feed: Feed) -> list[Asset]:
    """Assets that are not just our own last write coming back (same version as we got from our batch)."""
    guids = [asset.plant3d_id for asset in assets if asset.plant3d_id]
    versions = links.versions(connection, number, guids)
    fresh = []
    loose: dict[str, int] = {}
    if not feed.reset and any(not is_counted(asset.version) for asset in assets):
        loose = links.unlinked_versions(connection, number)  # shown again in each read
    for asset in assets:
        if (
            not feed.reset
            and asset.plant3d_id
            and versions.get(asset.plant3d_id) == asset.version
            or loose.get(asset.asset_id) == asset.version
        ):
            feed.echoes += 1
        else:
            fresh.append(asset)
    return fresh


def _store(connection: Connection, known: ProjectState, assets: Sequence[Asset], at: float) -> None:
    """Remember where SYNAPSE stands: on the link if there is one, else as an asset without a link."""
    guids = [asset.plant3d_id for asset in assets if asset.plant3d_id]
    linked = {item.plant3d_id: item for item in links.by_items(connection, known.number, guids, [])}
    loose: list[Asset] = []
    for asset in assets:
        link = linked.get(asset.plant3d_id) if asset.plant3d_id else None
        if link is None:
            loose.append(asset)
        else:
            linked[link.plant3d_id] = advance.seen(link, asset, at=at, last_read=known.feed_read_at)
    links.save(connection, list(linked.values()))
    if loose:
        links.put_unlinked(connection, known.number, loose)


def stored_unlinked(connection: Connection, number: int, feed: Feed) -> dict[str, tuple[str, str]]:
    """tag -> (asset id, type) of live SYNAPSE assets that no link of ours holds, feed news included."""
    tags: dict[str, tuple[str, str]] = {}
    gone: set[str] = set()
    fresh = {asset.asset_id: asset for asset in feed.unlinked}
    for asset in feed.news.values():
        fresh[asset.asset_id] = asset
    if not feed.reset:
        for asset_id, plant3d_id, tag, kind, archived in links.unlinked(connection, number):
            if asset_id in fresh or archived or plant3d_id:
                continue
            tags[tag] = (asset_id, kind)
    for asset in feed.unlinked:
        if asset.archived:
            gone.add(asset.tag)
        else:
            tags[asset.tag] = (asset.asset_id, str(asset.fields.get("asset_type") or ""))
    return tags


def stray_assets(
    connection: Connection, number: int, feed: Feed, linked: Iterable[Brief]
) -> dict[str, tuple[str, str]]:
    """Identity -> (asset id, tag) of live SYNAPSE assets that carry an identity and have no link of ours."""
    strays: dict[str, tuple[str, str]] = {}
    if not feed.reset:
        for asset_id, plant3d_id, tag, _kind, archived in links.unlinked(connection, number):
            if plant3d_id and not archived:
                strays[plant3d_id] = (asset_id, tag)
    for plant3d_id, asset in feed.news.items():
        strays.pop(plant3d_id, None)
        if not asset.archived:
            strays[plant3d_id] = (asset.asset_id, asset.tag)
    if strays:
        for brief in linked:
            strays.pop(brief.plant3d_id, None)
    return strays
