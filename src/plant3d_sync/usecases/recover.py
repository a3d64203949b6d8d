"""After a crash or a lost reply: look at what SYNAPSE holds and store the receipts that are missing.

Equal to what we meant to write: it was applied, and is recorded as found. Anything else: it was not, and the
new plan decides. Nothing is ever sent again blindly.
"""

from __future__ import annotations

from typing import assert_never

from plant3d_sync.connectors.base import WriteResult
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.record import Asset
from plant3d_sync.model.step import Adopt, Archive, Create, Restore, ToSynapse, Update
from plant3d_sync.state import intents, links
from plant3d_sync.usecases.apply import Execution, store_results
from plant3d_sync.usecases.feed import Feed


def recover_synapse(execution: Execution, feed: Feed) -> int:
    """Settle every open intent towards SYNAPSE. Returns how many items were found applied.

    What SYNAPSE made of their values stays in the execution's findings.
    """
    with execution.world.state.read() as connection:
        waiting = [
            item for item in intents.still_open(connection, execution.project.name) if item.side == "synapse"
        ]
    found = 0
    for intent in waiting:
        applied: list[ToSynapse] = []
        results: list[WriteResult] = []
        for step in intent.steps:
            if not isinstance(step, ToSynapse):
                continue
            asset = _asset_now(execution, feed, step)
            if asset is None or not _holds(execution, step, asset):
                continue
            applied.append(step)
            results.append(_result(step, asset))
        if applied:
            store_results(execution, intent.intent_id, applied, results, run_id=intent.run_id, found=True)
            for step in applied:
                feed.news.pop(step.plant3d_id, None)
            found += len(applied)
        else:
            with execution.world.state.write() as connection:
                execution.lease.fence.check(connection)
                intents.close(
                    connection, intent.intent_id, status=intents.NOT_APPLIED, at=execution.world.clock()
                )
        failpoint("recover.receipts_stored")
    execution.outcome.counts.clear()
    execution.outcome.errors.clear()
    return found


def _asset_now(execution: Execution, feed: Feed, step: ToSynapse) -> Asset | None:
    """The asset as SYNAPSE holds it now, None if it is not news since our last knowledge."""
    identity, link_id = step.plant3d_id, None if isinstance(step, Adopt) else step.link_id
    news = feed.news.get(identity)
    if news is not None:
        return news
    with execution.world.state.read() as connection:
        if not link_id:
            existing = links.by_items(connection, execution.known.number, [identity], [])
            if existing:
                return None  # the receipt is already stored
            return links.unlinked_by_plant3d_id(connection, execution.known.number, [identity]).get(identity)
        found = links.by_ids(connection, [link_id]).get(link_id)
    planned = None if isinstance(step, Create) else step.asset_version
    if found is None or found.asset_version == planned:
        return None  # SYNAPSE did not change it since the plan was made
    return execution.project.synapse.get(found.asset_id)


def _holds(execution: Execution, step: ToSynapse, asset: Asset) -> bool:
    match step:
        case Archive():
            return asset.archived
        case Restore() if asset.archived:
            return False
        case Create() if asset.version > 1 and not asset.archived:
            return True  # it was made, and somebody has edited it since
        case Create() | Adopt() | Update() | Restore():
            return all(execution.same(name, asset.fields.get(name), sent) for name, sent in step.set.items())
        case _:
            assert_never(step)


def _result(step: ToSynapse, asset: Asset) -> WriteResult:
    match step:
        case Create():
            status = "created"
        case Archive():
            status = "archived"
        case Adopt() | Update() | Restore():
            status = "updated"
        case _:
            assert_never(step)
    return WriteResult(
        plant3d_id=step.plant3d_id,
        status=status,
        asset=asset,
        asset_id=asset.asset_id,
        version=asset.version,
    )
