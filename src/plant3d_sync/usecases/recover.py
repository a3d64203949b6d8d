"""After a crash or a lost reply: look at what SYNAPSE holds and store the receipts that are missing.

Equal to what we meant to write: it was applied, and is recorded as found. Anything else: it was not, and the
new plan decides. Nothing is ever sent again blindly.
"""

from __future__ import annotations

from typing import Any

from plant3d_sync.connectors.base import WriteResult
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.record import Asset
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
        applied: list[dict[str, Any]] = []
        results: list[WriteResult] = []
        for line in intent.lines:
            asset = _asset_now(execution, feed, line)
            if asset is None or not _holds(execution, line, asset):
                continue
            applied.append(line)
            results.append(_result(line, asset))
        if applied:
            store_results(execution, intent.intent_id, applied, results, run_id=intent.run_id, found=True)
            for line in applied:
                feed.news.pop(line["id"], None)
            found += len(applied)
        else:
            with execution.world.state.write() as connection:
                execution.lease.fence.check(connection)
                intents.close(connection, intent.intent_id, status="not_applied", at=execution.world.clock())
        failpoint("recover.receipts_stored")
    execution.outcome.counts.clear()
    execution.outcome.errors.clear()
    return found


def _asset_now(execution: Execution, feed: Feed, line: dict[str, Any]) -> Asset | None:
    """The asset as SYNAPSE holds it now, None if it is not news since our last knowledge."""
    news = feed.news.get(line["id"])
    if news is not None:
        return news
    with execution.world.state.read() as connection:
        if not line.get("link_id"):
            existing = links.by_items(connection, execution.known.number, [line["id"]], [])
            if existing:
                return None  # the receipt is already stored
            return links.unlinked_by_plant3d_id(connection, execution.known.number, [line["id"]]).get(
                line["id"]
            )
        found = links.by_ids(connection, [line["link_id"]]).get(line["link_id"])
    if found is None or found.asset_version == line.get("asset_version"):
        return None  # SYNAPSE did not change it since the plan was made
    return execution.project.synapse.get(found.asset_id)


def _holds(execution: Execution, line: dict[str, Any], asset: Asset) -> bool:
    if line["op"] == "archive":
        return asset.archived
    if line["op"] == "restore" and asset.archived:
        return False
    for name, value in (line.get("set") or {}).items():
        same = execution.rules.same.get(name)
        stored = asset.fields.get(name)
        if stored != value and not (same is not None and same(stored, value)):
            return False
    return True


def _result(line: dict[str, Any], asset: Asset) -> WriteResult:
    status = {"create": "created", "archive": "archived"}.get(line["op"], "updated")
    return WriteResult(
        plant3d_id=line["id"], status=status, asset=asset, asset_id=asset.asset_id, version=asset.version
    )
