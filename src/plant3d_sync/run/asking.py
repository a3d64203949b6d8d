"""Whether a batch whose answer was lost was ever received, and what SYNAPSE answered. Only SYNAPSE can tell.

It keeps the answer to a batch for some hours, under the key of the batch. Sending the batch again would read that
answer, or carry the batch out now if it never came, over whatever somebody typed since. So another, harmless body goes
first, under the same key: refused, because the key belongs to another body, it says that the batch came, and the batch
may be sent again to read its answer. Taken, it says that the batch never came, and that it cannot any more: a late
delivery of it is refused. That key is used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plant3d_sync.connectors.base import AssetWrite, Batch, WriteResult
from plant3d_sync.errors import ConfigError, SkipRecordError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.step import ToSynapse
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.write_synapse import asset_write, idempotency_key, in_full, is_reused_key, next_key
from plant3d_sync.state import intents
from plant3d_sync.state.intents import Intent

MARGIN: Final = 3600.0
"""Seconds before SYNAPSE may forget an answer in which it is not asked for any more: asking takes time itself."""

MOST_KEYS: Final = 8
"""Keys that one batch is taken to have been sent under, each after the one before was used up."""

NEVER_RECEIVED: Final[Sequence[WriteResult]] = ()
"""The batch never came to SYNAPSE."""

_NOT_UNDERSTOOD: Final = (400, 413, 422)
"""Statuses that say that this SYNAPSE does not take our question, and nothing of the batch."""


def kept_answer(execution: Execution, intent: Intent) -> Sequence[WriteResult] | None:
    """What SYNAPSE answered to this batch, one result a step, or `NEVER_RECEIVED`.

    None if it cannot be known: SYNAPSE keeps no answers or may have forgotten this one, does not take the question, or
    the batch cannot be made again byte for byte. Raises RetryLaterError while SYNAPSE still works on the batch.
    """
    synapse, now = execution.project.synapse, execution.world.clock()
    kept_for = synapse.capabilities().idempotency_hours * 3600.0
    if not 0 <= now - intent.created_at < kept_for - MARGIN:
        return None
    steps = [step for step in intent.steps if isinstance(step, ToSynapse)]
    batch = _made_again(execution, intent, steps)
    if batch is None:
        return None
    execution.check()
    question = Batch.of(intent.body) if intent.body else _question(execution, intent)
    if not intent.body:
        with execution.world.state.write() as connection:
            execution.lease.fence.check(connection)
            intents.ask(connection, intent.intent_id, question=question.body, at=now)
    failpoint("recover.question_stored")
    try:
        synapse.send(question, key=intent.key)
    except ConfigError as error:
        if not is_reused_key(error):
            if error.details.get("status") in _NOT_UNDERSTOOD:
                return None
            raise
    else:
        failpoint("recover.question_answered")
        return NEVER_RECEIVED
    failpoint("recover.question_answered")
    try:
        answers = in_full(steps, synapse.send(batch, key=intent.key))
    except ConfigError as error:
        if is_reused_key(error):
            return None  # the key belongs to neither body: nothing can be said
        raise
    failpoint("recover.answer_read")
    return answers


def _question(execution: Execution, intent: Intent) -> Batch:
    """A batch that changes nothing, whatever SYNAPSE holds: nobody has such an identity."""
    nobody = f"asked-{intent.key}"
    return execution.project.synapse.encode([AssetWrite(op="archive", plant3d_id=nobody)])


def _made_again(execution: Execution, intent: Intent, steps: Sequence[ToSynapse]) -> Batch | None:
    """The very bytes that were sent, None if they cannot be made any more: their hash is in the key."""
    if not steps:
        return None
    try:
        batch = execution.project.synapse.encode([asset_write(step) for step in steps])
    except (SkipRecordError, ConfigError):
        return None
    key = idempotency_key(execution.project.config.synapse_project_id, intent.run_id, batch.body)
    for _ in range(MOST_KEYS):
        if key == intent.key:
            return batch
        key = next_key(key)
    return None


__all__ = ["NEVER_RECEIVED", "kept_answer"]
