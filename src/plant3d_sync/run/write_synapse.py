"""Carry out a plan in SYNAPSE: intent, write, read back, and only then remember. No decisions are left here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import assert_never

from plant3d_sync.connectors.base import AssetWrite, Batch, Creation, Echo, WriteResult
from plant3d_sync.errors import ConfigError, LeaseLost, SkipRecordError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.record import Asset
from plant3d_sync.model.step import Adopt, Archive, Create, Push, Restore, ToSynapse, Update
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.portions import Chunk, Memories, Pushes, Writes, portions
from plant3d_sync.run.quiet import remember_quiet
from plant3d_sync.run.receipts import note_late_batch, row_error, sent_by, store_as_sent, store_results
from plant3d_sync.state import intents


def apply_steps(execution: Execution, chunks: Sequence[Chunk], total: int) -> Sequence[Push]:
    """Write all steps, chunk by chunk. Returns the steps into Plant 3D, which are left to `push`."""
    size = min(execution.project.batch_size, execution.project.synapse.capabilities().max_batch_items)
    pushed: Sequence[Push] = ()
    done = 0
    for portion in portions(chunks, size, approved=execution.approved):
        match portion:
            case Writes():
                _write(execution, portion)
                execution.world.progress("write", done + len(portion.steps), total)
            case Memories():
                remember_quiet(execution, portion.steps)
            case Pushes():
                pushed = portion.steps
            case _:
                assert_never(portion)
        done += len(portion.steps)
    execution.world.progress("write", total, total)
    return pushed


def _write(execution: Execution, writes: Writes) -> None:
    """One call to SYNAPSE, the short way if it is nothing but usual creations of the stored plan."""
    steps = writes.steps
    refs = writes.refs if execution.stored_steps else None
    if refs is not None and writes.creations is not None:
        _create_batch(execution, writes.creations, refs)
    else:
        _write_batch(execution, steps, refs)


def asset_write(step: ToSynapse) -> AssetWrite:
    """What SYNAPSE is asked to do for this step, and under which conditions."""
    match step:
        case Archive():
            return AssetWrite(op="archive", plant3d_id=step.plant3d_id, if_version=step.asset_version)
        case Create():
            return AssetWrite(op="upsert", plant3d_id=step.plant3d_id, set=step.set, if_version=0)
        case Adopt() | Update() | Restore():
            return AssetWrite(
                op="upsert",
                plant3d_id=step.plant3d_id,
                set=step.set,
                if_version=step.asset_version,
                if_description_version=step.description_version if "description" in step.set else None,
                restore=isinstance(step, Restore),
            )
        case _:
            assert_never(step)


def _write_batch(
    execution: Execution, steps: Sequence[ToSynapse], refs: Sequence[Sequence[int]] | None = None
) -> None:
    """One call to SYNAPSE: intent committed first, receipts and base in one transaction after it.

    `refs`: where in the stored plan the steps stand; without them the intent holds the steps themselves.
    """
    execution.check()
    synapse = execution.project.synapse
    try:
        batch = synapse.encode([asset_write(step) for step in steps])
    except SkipRecordError as error:
        _leave_out(execution, steps, error)
        return
    except ConfigError as error:
        if error.error_code != "batch_too_large" or len(steps) == 1:
            raise
        half = len(steps) // 2
        _write_batch(execution, steps[:half])
        _write_batch(execution, steps[half:])
        return
    key, intent_id = _record_intent(execution, batch.body, steps, refs)
    answers = _send(execution, batch, key)
    failpoint("pull.reply_received")
    results = in_full(steps, answers)
    try:
        store_results(execution, intent_id, steps, results)
    except LeaseLost:
        note_late_batch(execution, intent_id, key, steps, results)
        raise
    failpoint("pull.receipts_stored")


def _create_batch(execution: Execution, creations: Sequence[Create], refs: Sequence[Sequence[int]]) -> None:
    """As `_write_batch` for a batch of the usual creations, as a first pull has them: values that are only passed on
    are never parsed. As soon as anything is unusual, the steps go the way of all others.
    """
    synapse = execution.project.synapse
    writes = [Creation(step.plant3d_id, bytes(step.text)) for step in creations]
    try:
        batch = synapse.encode(writes)
    except (SkipRecordError, ConfigError):  # which item, and what is to be done, is found out there
        _write_batch(execution, creations, refs)
        return
    execution.check()
    key, intent_id = _record_intent(execution, batch.body, [], refs)
    answers = _send(execution, batch, key)
    failpoint("pull.reply_received")
    echoes = [answer for answer in answers if type(answer) is Echo]
    try:
        if len(echoes) == len(creations):
            store_as_sent(execution, intent_id, creations, echoes)
        else:
            store_results(execution, intent_id, creations, in_full(creations, answers))
    except LeaseLost:
        note_late_batch(execution, intent_id, key, creations, in_full(creations, answers))
        raise
    failpoint("pull.receipts_stored")


def _record_intent(
    execution: Execution, body: bytes, steps: Sequence[ToSynapse], refs: Sequence[Sequence[int]] | None
) -> tuple[str, int]:
    """Commit what is about to be sent; its idempotency key and the number of the intent."""
    world = execution.world
    key = idempotency_key(execution.project.config.synapse_project_id, execution.run_id, body)
    failpoint("pull.before_intent")
    with world.state.write() as connection:
        while intents.is_used_up(connection, execution.project.name, key):
            key = next_key(key)
        intent_id = intents.record(
            connection,
            execution.lease.fence,
            intents.Meant(
                run_id=execution.run_id,
                plan_id=execution.plan_id,
                side="synapse",
                key=key,
                steps=steps,
                at=world.clock(),
                refs=refs,
            ),
        )
    failpoint("pull.intent_stored")
    return key, intent_id


def idempotency_key(project: str, run_id: str, body: bytes) -> str:
    """The key of a batch: it holds which project of SYNAPSE and which run sent it, and every byte of it."""
    return hashlib.sha256(b"|".join((project.encode(), run_id.encode(), body))).hexdigest()


def next_key(key: str) -> str:
    """The key of the same batch where this one is used up."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_reused_key(error: ConfigError) -> bool:
    """Whether SYNAPSE refused a batch because its key came with another body before."""
    return error.details.get("type") == "idempotency_key_reused"


def _send(execution: Execution, batch: Batch, key: str) -> Sequence[WriteResult | Echo]:
    """One call to SYNAPSE. Raises LeaseLost if another run has meanwhile asked whether this batch ever came."""
    try:
        return execution.project.synapse.send(batch, key=key)
    except ConfigError as error:
        if is_reused_key(error):
            with execution.world.state.write() as connection:
                execution.lease.fence.check(connection)
        raise


def in_full(steps: Sequence[ToSynapse], answers: Sequence[WriteResult | Echo]) -> list[WriteResult]:
    """Every answer with its asset: an echo says that it is what the step sent, and nothing else."""
    return [
        _result_of_echo(step, answer) if isinstance(answer, Echo) else answer
        for step, answer in zip(steps, answers, strict=True)
    ]


def _result_of_echo(step: ToSynapse, echo: Echo) -> WriteResult:
    asset = Asset(
        asset_id=echo.asset_id,
        plant3d_id=echo.plant3d_id,
        version=echo.version,
        seq=echo.seq,
        archived=False,
        fields={"asset_subtype": None, "description": None, **sent_by(step)},
        field_info={"description": echo.description},
    )
    return WriteResult(
        plant3d_id=echo.plant3d_id,
        status="created",
        asset=asset,
        asset_id=asset.asset_id,
        version=asset.version,
    )


def _leave_out(execution: Execution, steps: Sequence[ToSynapse], error: SkipRecordError) -> None:
    """One item cannot be said in JSON (a lone surrogate, say): it is reported, the others go on."""
    culprit = error.details.get("plant3d_id")
    bad = [step for step in steps if step.plant3d_id == culprit]
    if not bad:
        raise error
    for step in bad:
        execution.outcome.fail(step, row_error(step, error.error_code, error.message, error.hint))
    rest = [step for step in steps if step.plant3d_id != culprit]
    if rest:
        _write_batch(execution, rest)
