"""First contact with a SYNAPSE that already has assets, and rebuilding lost links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from plant3d_sync.connectors.base import AssetWrite
from plant3d_sync.errors import SyncError
from plant3d_sync.model.record import Asset, PlantItem
from plant3d_sync.model.side import ASSET_TYPES
from plant3d_sync.reconcile.match import Candidate, Pair, propose
from plant3d_sync.state import audit, intents, links, runs
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases.bookkeeping import change_row, new_link
from plant3d_sync.usecases.feed import read_feed
from plant3d_sync.usecases.project import Project, World


def _candidates(world: World, project: Project) -> tuple[list[Candidate], list[Asset]]:
    """Tagged items without a link, and live assets without a link of ours."""
    with world.state.read() as connection:
        known = project_state.get(connection, project.name)
        linked = {brief.plant3d_id for brief in links.briefs(connection, known.number)} if known else set()
    from plant3d_sync.state.projects import ProjectState

    feed = read_feed(
        world, project, known or ProjectState(name=project.name, number=0), full=True, keep=False
    )
    assets = [asset for asset in [*feed.unlinked, *feed.news.values()] if not asset.archived]
    assets = [asset for asset in assets if asset.plant3d_id not in linked]
    snapshot = project.source.snapshot()
    try:
        rules = project.rules(snapshot.catalog)
        items = []
        for batch in snapshot.scan(sorted(rules.classes), {}):
            for item in batch.changed:
                if not item.guid or item.guid in linked:
                    continue
                tag = rules.translate[item.class_name](item).fields.get("tag")
                tag_text = tag.strip() if isinstance(tag, str) and rules.is_tagged(tag) else None
                items.append(_candidate(item, tag_text, ASSET_TYPES[rules.classes[item.class_name].entity]))
    finally:
        snapshot.close()
    return items, assets


def _candidate(item: PlantItem, tag: str | None, asset_type: str) -> Candidate:
    return Candidate(
        pnpid=item.pnpid, plant3d_id=item.guid, class_name=item.class_name, tag=tag, asset_type=asset_type
    )


def propose_links(world: World, project: Project) -> dict[str, Any]:
    """Pairs with the reason; writes nothing."""
    items, assets = _candidates(world, project)
    pairs = propose(items, assets)
    return {
        "project": project.name,
        "pairs": [_pair(pair) for pair in pairs],
        "total": len(pairs),
        "ambiguous": sum(1 for pair in pairs if not pair.certain),
        "unlinked_assets": len(assets),
        "unlinked_items": len(items),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    data = asdict(pair)
    data["class"] = data.pop("class_name")
    return data


def accept_links(world: World, project: Project, *, only: frozenset[str] | None = None) -> dict[str, Any]:
    """Tie every certain pair: SYNAPSE gets the identity, we get the link (without a base).

    Nothing else is written; the next pull merges the fields by the first-sync rules.
    """
    items, assets = _candidates(world, project)
    pairs = [pair for pair in propose(items, assets) if pair.certain and (only is None or pair.tag in only)]
    by_id = {asset.asset_id: asset for asset in assets}
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
        return _accept_as_run(world, project, run, items, pairs, by_id)
    except SyncError as error:
        with world.state.write() as connection:
            runs.update(
                connection,
                run.run_id,
                status="failed",
                outcome="failed",
                completed_at=world.clock(),
                error=error.to_dict(),
            )
            project_state.update(connection, project.name, force_compare=True)
        raise


def _accept_as_run(
    world: World,
    project: Project,
    run: Run,
    items: Sequence[Candidate],
    pairs: Sequence[Pair],
    by_id: dict[str, Asset],
) -> dict[str, Any]:
    errors: list[dict[str, Any]] = []
    linked = 0
    with Lease(world.state, project.name, run.run_id, seconds=world.lease_seconds) as lease:
        with world.state.write() as connection:
            runs.update(connection, run.run_id, fence=lease.fence.number)
        for start in range(0, len(pairs), project.batch_size):
            linked += _accept_batch(
                world, project, lease, run, pairs[start : start + project.batch_size], by_id, errors
            )
            world.progress("link", linked, len(pairs))
        with world.state.write() as connection:
            runs.update(
                connection,
                run.run_id,
                status="completed",
                outcome="with_issues" if errors else "clean",
                completed_at=world.clock(),
                stats={"total": len(pairs), "updated": linked, "errors": len(errors)},
            )
            project_state.update(connection, project.name, force_compare=True)
    return {
        "project": project.name,
        "run_id": run.run_id,
        "linked": linked,
        "left": len(items) - linked,
        "errors": errors,
    }


def _accept_batch(
    world: World,
    project: Project,
    lease: Lease,
    run: Run,
    pairs: Sequence[Pair],
    by_id: dict[str, Asset],
    errors: list[dict[str, Any]],
) -> int:
    import hashlib

    with world.state.read() as connection:
        known = project_state.ensure(connection, project.name)
    to_tie = [pair for pair in pairs if by_id[pair.asset_id].plant3d_id != pair.plant3d_id]
    answers: dict[str, Asset] = {
        pair.plant3d_id: by_id[pair.asset_id]
        for pair in pairs
        if by_id[pair.asset_id].plant3d_id == pair.plant3d_id
    }
    lines = [
        {
            "op": "adopt",
            "accepted": True,
            "entity": pair.entity,
            "pnpid": pair.pnpid,
            "id": pair.plant3d_id,
            "class": pair.class_name,
            "tag": pair.tag,
            "set": {"tag": pair.tag},
            "asset_id": pair.asset_id,
        }
        for pair in to_tie
    ]
    intent_id = 0
    if to_tie:
        body = project.synapse.encode(
            [
                AssetWrite(op="upsert", plant3d_id=pair.plant3d_id, set={"tag": pair.tag}, link_by_tag=True)
                for pair in to_tie
            ]
        )
        key = hashlib.sha256(
            project.config.synapse_project_id.encode() + run.run_id.encode() + body
        ).hexdigest()
        with world.state.write() as connection:
            intent_id = intents.record(
                connection,
                lease.fence,
                run_id=run.run_id,
                plan_id="links",
                side="synapse",
                key=key,
                body=body,
                lines=lines,
                at=world.clock(),
            )
        for pair, result in zip(to_tie, project.synapse.send(body, key=key), strict=True):
            if result.asset is not None and result.status in ("created", "updated", "unchanged"):
                answers[pair.plant3d_id] = result.asset
            else:
                errors.append(
                    {
                        "tag": pair.tag,
                        "pnpid": pair.pnpid,
                        "code": result.code or result.status,
                        "message": result.message,
                    }
                )
    _store_links(world, project, lease, run, pairs, answers, known.number, intent_id, len(to_tie), lines)
    return len(answers)


def _store_links(
    world: World,
    project: Project,
    lease: Lease,
    run: Run,
    pairs: Sequence[Pair],
    answers: dict[str, Asset],
    number: int,
    intent_id: int,
    written: int,
    lines: Sequence[dict[str, Any]],
) -> None:
    from plant3d_sync.state.codec import dump

    now = world.clock()
    with world.state.write() as connection:
        lease.fence.check(connection)
        known = project_state.ensure(connection, project.name)
        next_link = known.next_link
        rows, changes = [], []
        by_line = {line["id"]: line for line in lines}
        for pair in pairs:
            asset = answers.get(pair.plant3d_id)
            if asset is None:
                continue
            line = by_line.get(pair.plant3d_id) or {
                "pnpid": pair.pnpid,
                "id": pair.plant3d_id,
                "class": pair.class_name,
                "tag": pair.tag,
                "op": "adopt",
            }
            line = {**line, "entity": pair.entity}
            link_id = project_state.link_id(number, next_link)
            next_link += 1
            row = new_link(line, asset, link_id=link_id, number=number, run_id=run.run_id, fields={})
            row |= {"base": None, "synapse_delta": dump(dict(asset.fields)), "digest": None}
            rows.append(row)
            if pair.plant3d_id in by_line:
                changes.append(
                    change_row(
                        number=number,
                        run_id=run.run_id,
                        intent_id=intent_id,
                        link_id=link_id,
                        line={
                            **line,
                            "set": {"plant3d_id": pair.plant3d_id},
                            "why": {"*": "link_accepted"},
                        },
                        outcome="linked",
                        asset=None,
                        at=now,
                    )
                )
        links.insert_many(connection, rows)
        links.drop_unlinked(connection, number, [row["asset_id"] for row in rows])
        intents.put_changes(connection, changes)
        if changes:
            audit.append(
                connection,
                project.name,
                action="links.accepted",
                actor="cli",
                at=now,
                run=run.run_id,
                items=len(changes),
                changes=audit.digest_of(changes),
            )
        if intent_id:
            intents.close(connection, intent_id, status="done", at=now)
        project_state.update(connection, project.name, next_link=next_link)
