"""First contact with a SYNAPSE that already has assets, and rebuilding lost links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec.structs import asdict

from plant3d_sync.connectors.base import AssetWrite
from plant3d_sync.errors import SyncError
from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.model.record import Asset, PlantItem, Value
from plant3d_sync.model.run import Ending, RunOutcome, RunStatus
from plant3d_sync.model.side import ASSET_TYPES
from plant3d_sync.model.step import Adopt
from plant3d_sync.model.tags import telling_apart
from plant3d_sync.reconcile import advance
from plant3d_sync.reconcile.identity import unlinked_problem
from plant3d_sync.reconcile.match import ENTITY_OF, Candidate, Pair, picked, propose
from plant3d_sync.reconcile.tags import Bearer, Claim, Tags, Twins, settled_by
from plant3d_sync.run import preflight
from plant3d_sync.run.bookkeeping import Call, change_row
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import read_feed
from plant3d_sync.run.recall import live_tags
from plant3d_sync.run.recount import recount
from plant3d_sync.run.write_synapse import idempotency_key, in_full
from plant3d_sync.state import audit, intents, links, ours, quarantine, runs
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.links import Brief
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.runs import Run
from plant3d_sync.words import said


class MovedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A linked item that stands in another row now (its PnPID changed): the link follows its identity."""

    link_pnpid: int
    pnpid: int
    plant3d_id: str
    tag: str
    class_name: str


class _Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """`items`: tagged items without a link; `assets`: live assets without a link of ours; `moved`: linked items whose
    row changed; `tagged`: every item that shows a tag, linked or not; `live`: tags of linked assets, and their items.
    """

    items: list[Candidate]
    assets: list[Asset]
    moved: list[MovedRow]
    tagged: list[Candidate]
    live: Mapping[str, int]


def _candidates(world: World, project: Project) -> _Candidates:
    """What may be linked. Raises what the preflight raises: nothing is linked in a project that is not ours."""
    with world.state.read() as connection:
        known = project_state.get(connection, project.name) or ProjectState(name=project.name, number=0)
        briefs = list(links.briefs(connection, known.number))
    linked = {brief.plant3d_id: brief for brief in briefs}
    preflight.check_synapse_project(project, known)
    feed = read_feed(world, project, known, full=True, keep=False)
    assets = [asset for asset in [*feed.unlinked, *feed.news.values()] if not asset.archived]
    assets = [asset for asset in assets if asset.plant3d_id not in linked]
    items: list[Candidate] = []
    moved: list[MovedRow] = []
    tagged: list[Candidate] = []
    snapshot = project.source.snapshot()
    try:
        preflight.check_neighbours(world, project, snapshot.identity)
        preflight.check_source(known, snapshot.identity)
        rules = project.rules(snapshot.catalog)
        with world.state.read() as connection:
            reading = reading_of(connection, project.name, known.number, rules)
        for batch in snapshot.scan(sorted(rules.classes), {}, reading):
            for item in batch.changed:
                link = linked.get(item.guid)
                if reading.is_undrawn(item):
                    continue  # a line without a segment is not there
                tag = rules.translate[item.class_name](item).fields.get("tag")
                tag_text = tag.strip() if isinstance(tag, str) and rules.is_tagged(tag) else None
                kind = ASSET_TYPES[rules.classes[item.class_name].entity]
                found = _candidate(item, tag_text, kind)
                if tag_text is not None:
                    tagged.append(found)
                if unlinked_problem(item) is not None:
                    continue  # its identity is not its own
                if link is not None and link.pnpid not in (item.pnpid, item.follows):
                    moved.append(_moved_row(item, link))
                elif link is None:
                    items.append(found)
    finally:
        snapshot.close()
    return _Candidates(items=items, assets=assets, moved=moved, tagged=tagged, live=live_tags(briefs, feed))


def _moved_row(item: PlantItem, link: Brief) -> MovedRow:
    """A linked identity that stands in one row alone, and that row is not the one we knew."""
    return MovedRow(
        link_pnpid=link.pnpid,
        pnpid=item.pnpid,
        plant3d_id=item.guid,
        tag=link.tag,
        class_name=item.class_name,
    )


def _candidate(item: PlantItem, tag: str | None, asset_type: str) -> Candidate:
    return Candidate(
        pnpid=item.pnpid, plant3d_id=item.guid, class_name=item.class_name, tag=tag, asset_type=asset_type
    )


def propose_links(world: World, project: Project) -> dict[str, object]:
    """Pairs with the reason; writes nothing.

    Tags that read the same within Plant 3D, or within SYNAPSE, are pairs too. Nobody can accept those: they are settled on
    their own side.
    """
    found = _candidates(world, project)
    pairs = propose(found.items, found.assets)
    alike = _alike(found)
    between = Counter(_between(twins) for twins in alike)
    return {
        "project": project.name,
        "pairs": [*map(_pair, pairs), *(_alike_pair(twins, found) for twins in alike)],
        "total": len(pairs) + len(alike),
        "ambiguous": sum(1 for pair in pairs if not pair.certain) + len(alike),
        "look_alikes": {"plant3d": between["plant3d"], "synapse": between["synapse"]},
        "unlinked_assets": len(found.assets),
        "unlinked_items": len(found.items),
        "moved_rows": [_row_moved(row) for row in found.moved],
    }


def _row_moved(row: MovedRow) -> dict[str, object]:
    return {
        "tag": row.tag,
        "plant3d_id": row.plant3d_id,
        "class": row.class_name,
        "linked_pnpid": row.link_pnpid,
        "pnpid": row.pnpid,
        "reason": "the linked item stands in another row now",
    }


def _pair(pair: Pair) -> dict[str, object]:
    data = asdict(pair)
    data["class"] = data.pop("class_name")
    return data | {"between": "plant3d_synapse", "hint": "", **_other()}


def _other(
    tag: str | None = None,
    pnpid: int | None = None,
    plant3d_id: str | None = None,
    class_name: str | None = None,
    asset_id: str | None = None,
) -> dict[str, object]:
    """The second of two tags that read the same."""
    return {
        "other_tag": tag,
        "other_pnpid": pnpid,
        "other_plant3d_id": plant3d_id,
        "other_class": class_name,
        "other_asset_id": asset_id,
    }


def _alike(found: _Candidates) -> list[Twins]:
    """Tags that read the same, each pair once; not those of an item and an asset that may be linked, which are proposed."""
    loose = {
        asset.tag: (asset.asset_id, str(asset.fields.get("asset_type") or ""))
        for asset in found.assets
        if not asset.plant3d_id
    }
    tags = Tags(loose)
    tags.announce(found.live)
    for item in found.tagged:
        entity = ENTITY_OF[item.asset_type]
        tags.claim(str(item.tag), item.pnpid, Claim(item.class_name, item.plant3d_id, entity))
    theirs = {item.plant3d_id for item in found.items}
    for asset in found.assets:
        if asset.plant3d_id and asset.plant3d_id not in theirs:
            tags.stray(asset.tag, asset.asset_id)
    created = {item.pnpid for item in found.items if item.tag and item.tag not in loose}
    pairs = {
        frozenset((twins.one[:3], twins.other[:3])): twins
        for twins in tags.twins(created)
        if not (twins.one.is_item and twins.other.pnpid is None and not twins.other.stray)
    }
    return sorted(pairs.values(), key=lambda twins: (twins.one.tag, twins.other.tag))


def _between(twins: Twins) -> str:
    if twins.one.is_item and twins.other.is_item:
        return "plant3d"
    return "plant3d_synapse" if twins.one.is_item else "synapse"


def _alike_pair(twins: Twins, found: _Candidates) -> dict[str, object]:
    """Two tags that read the same, as a pair that nobody can accept."""
    one, other = twins.one, twins.other
    items = {item.pnpid: item for item in found.tagged}
    mine = items.get(one.pnpid or 0) if one.is_item else None
    theirs = items.get(other.pnpid or 0)
    return {
        "tag": one.tag,
        "pnpid": None if mine is None else mine.pnpid,
        "plant3d_id": None if mine is None else mine.plant3d_id,
        "class": None if mine is None else mine.class_name,
        "entity": None if mine is None else ENTITY_OF[mine.asset_type],
        "asset_id": one.asset_id or None,
        "reason": _reads_like(one, other),
        "certain": False,
        "asset_tag": "",
        "between": _between(twins),
        "hint": settled_by(twins),
        **_other(
            other.tag,
            other.pnpid,
            None if theirs is None else theirs.plant3d_id,
            None if theirs is None else theirs.class_name,
            other.asset_id or None,
        ),
    }


def _reads_like(one: Bearer, other: Bearer) -> str:
    return f"the tag reads like {said(other.tag)} of {other.said()}: {telling_apart(one.tag, other.tag)}"


def accept_links(world: World, project: Project, *, only: frozenset[str] | None = None) -> dict[str, object]:
    """Link every certain pair: SYNAPSE gets the identity, we get the link (without a base).

    A linked item whose row changed (`identity_mismatch`) keeps its asset: its link follows it to the new row.
    `only`: these tags, among which pairs of tags that only look alike are accepted too, where nothing else could be meant.
    Nothing else is written; the next pull merges the fields by the first-sync rules.
    """
    found = _candidates(world, project)
    proposed = propose(found.items, found.assets)
    pairs = [pair for pair in proposed if pair.certain and (only is None or pair.tag in only)]
    if only is not None:  # a person named them, which is what a look-alike pair waits for
        pairs += picked(proposed, only)
    moved = [row for row in found.moved if only is None or row.tag in only]
    run = Run(
        run_id=world.new_id(),
        project=project.name,
        direction="pull",
        trigger="links",
        status="running",
        requested_by="cli",
        created_at=world.clock(),
        started_at=world.clock(),
        heartbeat_at=world.clock(),
    )
    with world.state.write() as connection:
        project_state.ensure(connection, project.name)
        runs.insert(connection, run)
    try:
        answer = _accept_as_run(world, project, run, found, pairs, moved)
    except SyncError as error:
        with world.state.write() as connection:
            ending = Ending(
                at=world.clock(),
                status=RunStatus.FAILED,
                outcome=RunOutcome.FAILED,
                error=error.to_dict(),
            )
            runs.end(connection, run.run_id, ending)
            recount(connection, run.run_id)
            project_state.update(connection, project.name, force_compare=True)
        raise
    done = {pair.tag for pair in pairs} | {row.tag for row in moved}
    return answer | {"not_linked": _not_linked((only or frozenset()) - done, proposed, found)}


def _not_linked(
    tags: Collection[str], proposed: Sequence[Pair], found: _Candidates
) -> list[dict[str, object]]:
    """Why nothing was linked for tags that a person named."""
    alike = (
        {bearer.tag: twins for twins in reversed(_alike(found)) for bearer in (twins.other, twins.one)}
        if tags
        else {}
    )
    told: list[dict[str, object]] = []
    for tag in sorted(tags):
        mine = [pair for pair in proposed if pair.tag == tag]
        reason = "no item without a link has this tag, or no asset could be meant"
        hint = "`links propose` shows every pair."
        if len(mine) > 1 or (mine and mine[0].asset_tag):
            reason = "several items or assets could be meant"
            hint = "Give all but one another tag, or archive them."
        elif mine:
            reason = mine[0].reason
            hint = "Settle that first: in Plant 3D, or in SYNAPSE."
        elif tag in alike:
            twins = alike[tag]
            one, other = twins.one, twins.other
            reason = _reads_like(one, other) if one.tag == tag else _reads_like(other, one)
            hint = settled_by(twins)
        told.append({"tag": tag, "reason": reason, "hint": hint})
    return told


class _Accepting(msgspec.Struct, frozen=True, kw_only=True):
    """A run that links: what it needs for each batch. `by_id`: the assets; `errors`: what SYNAPSE refused, as it is shown;
    `known`: items whose asset carried their identity already, so that nothing was written.
    """

    world: World
    project: Project
    run: Run
    lease: Lease
    by_id: Mapping[str, Asset]
    errors: list[dict[str, object]] = msgspec.field(default_factory=list)
    known: set[int] = msgspec.field(default_factory=set)

    def statistics(self, pairs: Sequence[Pair]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """What became of the pairs, of all and by kind of asset, but for what was written: that is counted from the history."""
        refused = {error["pnpid"] for error in self.errors}
        stats = dict.fromkeys(STAT_NAMES, 0)
        by_entity: dict[str, dict[str, int]] = {}
        for pair in pairs:
            for counts in (stats, by_entity.setdefault(pair.entity, dict.fromkeys(STAT_NAMES, 0))):
                counts["total"] += 1
                counts["errors"] += pair.pnpid in refused
                counts["unchanged"] += pair.pnpid in self.known
        return stats, by_entity


def _accept_as_run(
    world: World,
    project: Project,
    run: Run,
    found: _Candidates,
    pairs: Sequence[Pair],
    moved: Sequence[MovedRow],
) -> dict[str, object]:
    linked = 0
    with Lease(world.state, project.name, run.run_id, seconds=world.lease_seconds) as lease:
        with world.state.write() as connection:
            runs.update(connection, run.run_id, fence=lease.fence.number)
        accepting = _Accepting(
            world=world,
            project=project,
            run=run,
            lease=lease,
            by_id={asset.asset_id: asset for asset in found.assets},
        )
        _follow_rows(world, project, lease, run, moved)
        for start in range(0, len(pairs), project.batch_size):
            linked += _accept_batch(accepting, pairs[start : start + project.batch_size])
            world.progress("link", linked, len(pairs))
        errors = accepting.errors
        with world.state.write() as connection:
            stats, by_entity = accepting.statistics(pairs)
            ending = Ending(
                at=world.clock(),
                outcome=RunOutcome.WITH_ISSUES if errors else RunOutcome.CLEAN,
                stats=stats,
                result={"stats": stats, "by_entity": by_entity},
            )
            runs.end(connection, run.run_id, ending)
            recount(connection, run.run_id)
            project_state.update(connection, project.name, force_compare=True)
    return {
        "project": project.name,
        "run_id": run.run_id,
        "linked": linked,
        "moved_rows": len(moved),
        "left": len(found.items) - linked,
        "errors": errors,
    }


def _follow_rows(world: World, project: Project, lease: Lease, run: Run, moved: Sequence[MovedRow]) -> None:
    """The links of moved items name their new rows; what they remember of values stays, and is compared anew."""
    if not moved:
        return
    now = world.clock()
    with world.state.write() as connection:
        lease.fence.check(connection)
        known = project_state.ensure(connection, project.name)
        by_guid = {
            link.plant3d_id: link
            for link in links.by_items(connection, known.number, [row.plant3d_id for row in moved], [])
        }
        links.save(connection, [advance.row_moved(by_guid[row.plant3d_id], row.pnpid) for row in moved])
        rows = {row.link_pnpid: row.pnpid for row in moved}
        ours.follow(connection, project.name, rows)
        quarantine.follow(connection, known.number, project.name, rows, at=now)
        for row in moved:
            link = by_guid[row.plant3d_id]
            audit.append(
                connection,
                project.name,
                action="links.row_moved",
                actor=run.requested_by or "cli",
                at=now,
                run=run.run_id,
                tag=link.tag,
                plant3d_id=row.plant3d_id,
                pnpid=[row.link_pnpid, row.pnpid],
            )


def _accept_batch(on: _Accepting, pairs: Sequence[Pair]) -> int:
    """Link these pairs; SYNAPSE is told where it does not know the identity yet. Returns how many were linked."""
    answers: dict[str, Asset] = {
        pair.plant3d_id: on.by_id[pair.asset_id]
        for pair in pairs
        if on.by_id[pair.asset_id].plant3d_id == pair.plant3d_id
    }
    unknown = [pair for pair in pairs if pair.plant3d_id not in answers]
    on.known.update(pair.pnpid for pair in pairs if pair.plant3d_id in answers)
    intent_id = _tell_synapse(on, unknown, answers) if unknown else 0
    told = frozenset(pair.plant3d_id for pair in unknown)
    _store_links(on, [pair for pair in pairs if pair.plant3d_id in answers], answers, intent_id, told)
    return len(answers)


def _tell_synapse(on: _Accepting, pairs: Sequence[Pair], answers: dict[str, Asset]) -> int:
    """Give assets their identities; what was taken joins `answers`. Returns the intent, closed when links are stored."""
    synapse = on.project.synapse
    batch = synapse.encode(
        [
            AssetWrite(
                op="upsert",
                plant3d_id=pair.plant3d_id,
                set={"tag": pair.asset_tag or pair.tag},
                if_version=on.by_id[pair.asset_id].version,
                link_by_tag=True,
            )
            for pair in pairs
        ]
    )
    key = idempotency_key(on.project.config.synapse_project_id, on.run.run_id, batch.body)
    steps = [_step(pair, {"tag": pair.asset_tag or pair.tag}) for pair in pairs]
    with on.world.state.write() as connection:
        intent_id = intents.record(
            connection,
            on.lease.fence,
            intents.Meant(
                run_id=on.run.run_id,
                plan_id="links",
                side="synapse",
                key=key,
                body=batch.body,
                steps=steps,
                at=on.world.clock(),
            ),
        )
    for pair, result in zip(pairs, in_full(steps, synapse.send(batch, key=key)), strict=True):
        if result.asset is not None and result.status in ("created", "updated", "unchanged"):
            answers[pair.plant3d_id] = result.asset
        else:
            on.errors.append(
                {
                    "tag": pair.tag,
                    "pnpid": pair.pnpid,
                    "code": result.code or result.status,
                    "message": result.message,
                }
            )
    return intent_id


def _step(pair: Pair, values: dict[str, Value], why: dict[str, str] | None = None) -> Adopt:
    """The `Adopt` step of an accepted pair, which writes these values."""
    return Adopt(
        entity=pair.entity,
        pnpid=pair.pnpid,
        plant3d_id=pair.plant3d_id,
        class_name=pair.class_name,
        tag=pair.tag or "",
        asset_id=pair.asset_id,
        set=values,
        why=why or {},
        accepted=True,
    )


def _store_links(
    on: _Accepting,
    pairs: Sequence[Pair],
    answers: Mapping[str, Asset],
    intent_id: int,
    told: frozenset[str],
) -> None:
    """The links of these pairs, and the history of what SYNAPSE was told: one transaction."""
    name, run_id, now = on.project.name, on.run.run_id, on.world.clock()
    with on.world.state.write() as connection:
        on.lease.fence.check(connection)
        known = project_state.ensure(connection, name)
        call = Call(known.number, run_id, intent_id, now)
        made, changes = [], []
        for place, pair in enumerate(pairs):
            step = _step(pair, {"plant3d_id": pair.plant3d_id}, {WHOLE: "link_accepted"})
            link_id = project_state.link_id(known.number, known.next_link + place)
            made.append(advance.accepted(step, answers[pair.plant3d_id], link_id=link_id))
            if pair.plant3d_id in told:
                changes.append(change_row(call, step, "linked", link_id=link_id, asset=None))
        links.add(connection, made, number=known.number, run_id=run_id)
        links.drop_unlinked(connection, known.number, [link.asset_id for link in made])
        digest = intents.put_changes(connection, name, changes)
        if changes:
            audit.append(
                connection,
                name,
                action="links.accepted",
                actor="cli",
                at=now,
                run=run_id,
                items=len(changes),
                changes=digest,
            )
        if intent_id:
            intents.close(connection, intent_id, status="done", at=now)
        project_state.update(connection, name, next_link=known.next_link + len(pairs))
