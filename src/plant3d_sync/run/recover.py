"""After a crash or a lost reply: look at what both sides hold and store the receipts that are missing.

Equal to what we meant to write: it was applied, and is recorded as found. As it was when we decided: it was not, and
the new plan decides. Anything else is what somebody did since, and does not tell what we did: SYNAPSE is asked for
its kept answer (`asking.py`). Where it keeps none any more, and the write may have been made and taken back, it counts as
made, and what was taken back is asked about. Nothing is ever carried out again blindly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import msgspec

from plant3d_sync.connectors.base import CellReceipt, PlantSnapshot, WriteResult
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.link import InSynapse
from plant3d_sync.model.record import Asset, Finding, PlantItem
from plant3d_sync.model.side import Owner
from plant3d_sync.model.step import Adopt, Archive, Cell, Create, Push, Restore, ToSynapse, Update
from plant3d_sync.model.version import is_counted
from plant3d_sync.reconcile import advance
from plant3d_sync.run.asking import NEVER_RECEIVED, kept_answer
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.receipts import HeardLater, store_results
from plant3d_sync.run.report import Report
from plant3d_sync.run.write_plant3d import store_receipts
from plant3d_sync.state import intents, links
from plant3d_sync.state.intents import Intent

_DONE = ("created", "updated", "archived", "unchanged")


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Writes of an earlier run whose receipts were missing, found where they were meant to be."""

    synapse: int
    plant3d: int
    findings: list[Finding]

    def tell(self, report: Report) -> None:
        """Say it in the report, if there were any."""
        if self.synapse or self.plant3d:
            report.found_applied = {"synapse": self.synapse, "plant3d": self.plant3d}


class _Seen(msgspec.Struct, frozen=True):
    """What SYNAPSE shows of one step.

    `asset`: as it is now, None if it is not news since our last knowledge, or gone. `holds`: it is as the step meant it
    to be. `told`: that answers whether the step was carried out; else somebody else may have brought it about.
    """

    step: ToSynapse
    asset: Asset | None
    holds: bool
    told: bool = True


def recover_synapse(execution: Execution, feed: Feed) -> int:
    """Settle every open intent towards SYNAPSE. Returns how many items were found applied.

    What SYNAPSE made of their values stays in the execution's findings; its counts are nobody's: the runs that wrote are
    counted anew.
    """
    with execution.world.state.read() as connection:
        waiting = [
            item for item in intents.still_open(connection, execution.project.name) if item.side == "synapse"
        ]
    found = 0
    for intent in waiting:
        found += _settle(execution, feed, intent)
        failpoint("recover.receipts_stored")
    return found


def _settle(execution: Execution, feed: Feed, intent: Intent) -> int:
    seen = [_look(execution, feed, step) for step in intent.steps if isinstance(step, ToSynapse)]
    answers: Sequence[WriteResult] | None = None
    if intent.body or not all(one.told for one in seen):
        answers = kept_answer(execution, intent)
    if answers:
        return _take(execution, feed, intent, seen, answers)
    never = answers is NEVER_RECEIVED
    applied = [one for one in seen if one.holds and (not never or isinstance(one.step, Create))]
    taken_back = [] if never else [one for one in seen if not one.told and _may_be_taken_back(execution, one)]
    if not applied and not taken_back:
        status = intents.NEVER_RECEIVED if never else intents.NOT_APPLIED
        return _close(execution, intent, status)
    steps = [one.step for one in (*applied, *taken_back)]
    results = [_result(one.step, one.asset) for one in applied if one.asset is not None]
    results += [_as_made(one.step, one.asset) for one in taken_back if one.asset is not None]
    later = HeardLater(
        run_id=intent.run_id,
        since={one.step.plant3d_id: one.asset for one in taken_back},
        found=True,
        doubts={one.step.plant3d_id: _shared(execution, one.step) for one in taken_back},
    )
    store_results(execution, intent.intent_id, steps, results, later)
    for one in applied:
        feed.news.pop(one.step.plant3d_id, None)
    return len(steps)


def _take(
    execution: Execution, feed: Feed, intent: Intent, seen: Sequence[_Seen], answers: Sequence[WriteResult]
) -> int:
    """Store the answers that SYNAPSE kept, then what it holds now. What it refused at the time, it refused: a new plan
    decides.
    """
    steps: list[ToSynapse] = []
    results: list[WriteResult] = []
    since: dict[str, Asset | None] = {}
    for one, answer in zip(seen, answers, strict=True):
        step, asset = one.step, one.asset
        if answer.status == "unknown" and one.holds and asset is not None:
            answer = _result(step, asset)
        if answer.status not in _DONE or answer.asset is None:
            continue
        steps.append(step)
        results.append(answer)
        if asset is None:
            asset = execution.project.synapse.get(answer.asset.asset_id)
        since[step.plant3d_id] = asset
        if asset is not None and asset.version == answer.asset.version:
            feed.news.pop(step.plant3d_id, None)
    if not steps:
        return _close(execution, intent, "done")
    store_results(execution, intent.intent_id, steps, results, HeardLater(run_id=intent.run_id, since=since))
    return len(steps)


def _close(execution: Execution, intent: Intent, status: str) -> int:
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        intents.close(connection, intent.intent_id, status=status, at=execution.world.clock())
    return 0


def _look(execution: Execution, feed: Feed, step: ToSynapse) -> _Seen:
    """What SYNAPSE shows of the step now."""
    identity, link_id = step.plant3d_id, None if isinstance(step, Adopt) else step.link_id
    asset = feed.news.get(identity)
    if asset is None and not link_id:
        with execution.world.state.read() as connection:
            if links.by_items(connection, execution.known.number, [identity], []):
                return _Seen(step, None, holds=False)  # the receipt is already stored
            known = links.unlinked_by_plant3d_id(connection, execution.known.number, [identity])
        asset = known.get(identity)
        if asset is None:  # in a read from the beginning an asset may be missing that was made and is gone
            return _Seen(step, None, holds=False, told=not feed.reset)
    elif asset is None and link_id:
        with execution.world.state.read() as connection:
            found = links.by_ids(connection, [link_id]).get(link_id)
        if found is None:
            return _Seen(step, None, holds=False)
        if found.asset_version == _planned(step):  # SYNAPSE did not change it since the plan was made
            return _Seen(step, None, holds=False, told=found.in_synapse is not InSynapse.LOST)
        asset = execution.project.synapse.get(found.asset_id)
    if asset is None:
        return _Seen(step, None, holds=False, told=False)
    if _holds(execution, step, asset):
        return _Seen(step, asset, holds=True, told=not isinstance(step, Archive | Restore))
    return _Seen(step, asset, holds=False, told=asset.version == _planned(step))


def _planned(step: ToSynapse) -> int | None:
    """The version of the asset that the step was decided on."""
    return None if isinstance(step, Create) else step.asset_version


def _holds(execution: Execution, step: ToSynapse, asset: Asset) -> bool:
    match step:
        case Archive():
            return asset.archived
        case Restore() if asset.archived:
            return False
        case Create() if asset.version > 1:
            return True  # it was made, and somebody has edited or archived it since
        case Create() | Adopt() | Update() | Restore():
            return all(
                execution.rules.is_same(name, asset.fields.get(name), sent) for name, sent in step.set.items()
            )
        case _:
            assert_never(step)


# ---------------------------------------------------------------- made, and taken back since?


def _may_be_taken_back(execution: Execution, one: _Seen) -> bool:
    """Whether the step may have been carried out and taken back since, where nobody can be asked any more.

    Every write carries the version it was decided on, so ours would be the next one, and what took it back a later one.
    Where SYNAPSE counts none, only a part of what was sent tells, if it still stands there.
    """
    step, asset = one.step, one.asset
    if asset is None or isinstance(step, Create | Adopt):
        return False
    if not is_counted(asset.version):
        return (
            not isinstance(step, Archive)
            and _is_partly_there(step, asset)
            and bool(_back(execution, step, asset))
        )
    if asset.version < (_planned(step) or 0) + 2 or _is_surely_not_ours(step, asset):
        return False
    match step:
        case Archive():
            return not asset.archived and not _is_edited(execution, step, asset)
        case Restore() if asset.archived:
            return True
        case Update() | Restore():
            return bool(_back(execution, step, asset))
        case _:
            assert_never(step)


def _is_surely_not_ours(step: Update | Restore | Archive, asset: Asset) -> bool:
    """Whether the version after the one that the step was decided on is somebody else's, as that of the description tells."""
    info, ours = asset.field_info.get("description"), (_planned(step) or 0) + 1
    if info is None:
        return False
    if isinstance(step, Archive) or "description" not in step.set:
        return info.version == ours
    return info.version <= ours and asset.fields.get("description") != step.set["description"]


def _back(execution: Execution, step: Update | Restore, asset: Asset) -> list[str]:
    """Shared fields that hold what they held before the write."""
    same, now = execution.rules.is_same, asset.fields
    return [
        name
        for name in _shared(execution, step)
        if same(name, now.get(name), step.was.get(name)) and not same(name, now.get(name), step.set[name])
    ]


def _shared(execution: Execution, step: ToSynapse) -> list[str]:
    """What a step writes of fields that either side may edit, besides what Plant 3D does not hold yet."""
    if not isinstance(step, Update | Restore) or step.class_name not in execution.rules.classes:
        return []
    fields = execution.rules.classes[step.class_name].fields
    return [
        name
        for name in step.set
        if name in fields and fields[name].owner is Owner.SHARED and name not in step.after.pending
    ]


def _is_partly_there(step: Update | Restore, asset: Asset) -> bool:
    return any(asset.fields.get(name) == sent != step.was.get(name) for name, sent in step.set.items())


def _is_edited(execution: Execution, step: Archive, asset: Asset) -> bool:
    """Whether the asset holds what both sides did not agree on: then nothing is archived without a question."""
    with execution.world.state.read() as connection:
        found = links.by_ids(connection, [step.link_id or 0]).get(step.link_id or 0)
    return found is None or bool(advance.delta(found.base, asset.fields))


def _as_made(step: ToSynapse, asset: Asset) -> WriteResult:
    """What SYNAPSE would have answered."""
    version = (_planned(step) or 0) + is_counted(asset.version)
    sent = {} if isinstance(step, Archive) else step.set
    made = msgspec.structs.replace(
        asset, version=version, archived=isinstance(step, Archive), fields={**asset.fields, **sent}
    )
    return _result(step, made)


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


# ---------------------------------------------------------------- towards Plant 3D


def recover_plant3d(execution: Execution, snapshot: PlantSnapshot) -> int:
    """Settle open intents towards Plant 3D by looking at the cells. Returns cells found applied."""
    with execution.world.state.read() as connection:
        waiting = [
            item for item in intents.still_open(connection, execution.project.name) if item.side == "plant3d"
        ]
    if not waiting:
        return 0
    written = {
        intent.intent_id: [step for step in intent.steps if isinstance(step, Push)] for intent in waiting
    }
    wanted = {step.pnpid for steps in written.values() for step in steps}
    items = _items(execution, snapshot, wanted)
    found = 0
    for intent in waiting:
        found += _settle_cells(execution, intent, written[intent.intent_id], items)
        failpoint("recover.receipts_stored")
    return found


def _settle_cells(
    execution: Execution, intent: Intent, steps: Sequence[Push], items: Mapping[int, PlantItem]
) -> int:
    """Store the receipts of the rows that hold all that was meant, or held it. Returns how many cells hold it."""
    receipts = [[_look_at_cell(items.get(step.pnpid), cell) for cell in step.cells] for step in steps]
    applied = [
        (step, group)
        for step, group in zip(steps, receipts, strict=True)
        if all(answer.status == "found_applied" for answer in group)
    ]
    applied += [
        (msgspec.structs.replace(step, cells=back), [_taken_back(step, cell) for cell in back])
        for step in steps
        if (item := items.get(step.pnpid)) is not None
        and (back := [cell for cell in step.cells if _is_taken_back(item, cell)])
    ]
    store_receipts(
        execution,
        intent.intent_id,
        [step for step, _group in applied],
        [group for _step, group in applied],
        run_id=intent.run_id,
    )
    return sum(answer.status == "found_applied" for group in receipts for answer in group)


def _items(execution: Execution, snapshot: PlantSnapshot, wanted: set[int]) -> dict[int, PlantItem]:
    rules = execution.rules
    with execution.world.state.read() as connection:
        reading = reading_of(connection, execution.project.name, execution.known.number, rules)
    return {
        item.pnpid: item
        for batch in snapshot.scan(sorted(rules.classes), {}, reading)
        for item in batch.changed
        if item.pnpid in wanted
    }


def _look_at_cell(item: PlantItem | None, cell: Cell) -> CellReceipt:
    """Whether the cell holds what we meant to write."""
    text = _text(item, cell) if item is not None else None
    applied = item is not None and text == cell.new
    return CellReceipt(
        pnpid=item.pnpid if item else 0,
        column=cell.column,
        status="found_applied" if applied else "stale",
        value=text,
        timestamp=item.timestamp if item else None,
    )


def _text(item: PlantItem, cell: Cell) -> str | None:
    value = item.values.get(cell.column)
    return value if isinstance(value, str) else None


def _is_taken_back(item: PlantItem, cell: Cell) -> bool:
    """Whether the cell is as it was before, in a row that was saved since, and not just once: our write may have been one of
    the saves, and whoever typed the old value back the other. Once is somebody else, who left the cell alone.

    What an undo put back and somebody typed again is as both sides agreed before.
    """
    if cell.hold or _text(item, cell) != (cell.old or None) or item.timestamp == cell.ticks:
        return False
    return cell.revision is None or item.revision != cell.revision + 1


def _taken_back(step: Push, cell: Cell) -> CellReceipt:
    """It counts as written: what the row holds is older than that, and a person is asked. No stamp of ours is known."""
    new = cell.new if isinstance(cell.new, str) else None
    return CellReceipt(pnpid=step.pnpid, column=cell.column, status="found_applied", value=new)
