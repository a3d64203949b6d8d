"""Operation 2: upsert and archive up to 1,000 assets in one transaction, one result each."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import sqlalchemy as sa

from plant3d_sync.synapse_dev import assets, queries
from plant3d_sync.synapse_dev.assets import Wire
from plant3d_sync.synapse_dev.decide import Done, Known, Outcome, Writer, decide, tags_to_look_up
from plant3d_sync.synapse_dev.items import BadItem, Item, read_items
from plant3d_sync.synapse_dev.jsons import Json, parse
from plant3d_sync.synapse_dev.ledger import STATUSES
from plant3d_sync.synapse_dev.problems import Problem, unreadable
from plant3d_sync.synapse_dev.server import Answer, Call, Server, project_not_found
from plant3d_sync.synapse_dev.store import StillRunning
from plant3d_sync.synapse_dev.tables import idempotency

MAX_ITEMS = 1000
MAX_BODY_BYTES = 5 * 1024 * 1024
IDEMPOTENCY_HOURS = 24
KEY_PATTERN = re.compile(r"[!-~]{1,128}")

log = logging.getLogger("plant3d_sync.synapse_dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A readable batch: its items, checked one by one, and whether whole assets are wanted back."""

    items: Sequence[Item]
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A batch that is stored but not committed yet: its answer, and how many items had which status."""

    answer: bytes
    counts: Mapping[str, int]


def run_batch(server: Server, call: Call, key: str | None, body: bytes | None) -> Answer:
    """Apply the batch, or give the answer stored for this key. Raises `Problem`: nothing was applied then."""
    key = checked_key(key)
    if body is None:
        raise Problem(413, "batch_too_large", f"The body may have at most {MAX_BODY_BYTES} bytes.")
    envelope = read_envelope(body)
    work = f"{call.project_id}\n{call.caller.name}\n{key}"
    try:
        with server.store.writing_once(work) as connection:
            stored = stored_answer(connection, call, key, body)
            applied = None if stored is not None else apply(connection, call, envelope)
            if applied is not None:
                remember_answer(connection, call, key, body, applied.answer)
                stall(server)
    except StillRunning as error:
        message = "The first request with this key is still running."
        raise Problem(409, "request_in_progress", message, headers={"Retry-After": "1"}) from error
    if applied is None:
        server.ledger.replayed()
        return Answer(body=stored or b"", headers={"Idempotency-Replayed": "true"})
    server.ledger.wrote(
        project_id=call.project_id, request_id=call.request_id, key=key, counts=applied.counts
    )
    return Answer(body=applied.answer)


def checked_key(key: str | None) -> str:
    if key is None or not KEY_PATTERN.fullmatch(key):
        message = "Send an Idempotency-Key of 1 to 128 printable ASCII characters."
        raise Problem(400, "idempotency_key_required", message)
    return key


def read_envelope(body: bytes) -> Envelope:
    """The batch's outer object. An unreadable one is 422; a bad item is only that item's error."""
    try:
        content = parse(body)
    except ValueError as error:
        raise unreadable([], "not JSON") from error
    if not isinstance(content, dict):
        raise unreadable([], "an object expected")
    for name in content:
        if name not in ("items", "reply"):
            raise unreadable([name], "unknown member")
    reply = content.get("reply", "minimal")
    if reply not in ("minimal", "full"):
        raise unreadable(["reply"], "minimal or full expected")
    return Envelope(items=read_items(checked_items(content.get("items"))), full=reply == "full")


def checked_items(items: Json) -> list[Json]:
    if not isinstance(items, list) or not items:
        raise unreadable(["items"], f"1 to {MAX_ITEMS} expected")
    if len(items) > MAX_ITEMS:
        raise Problem(413, "batch_too_large", f"items: 1 to {MAX_ITEMS} expected.")
    return items


def apply(connection: sa.Connection, call: Call, envelope: Envelope) -> Applied:
    """Lock the project's counter row, decide, store, and build the answer; the caller commits."""
    project = queries.project_row(connection, call.project_id, lock=True)
    if project is None:
        raise project_not_found()
    writer = Writer(
        project_id=call.project_id, by=call.caller.author, now=assets.now(), new_id=lambda: str(uuid.uuid4())
    )
    outcomes = decide(
        envelope.items, load(connection, call.project_id, envelope.items), writer, seq=project.seq
    )
    effective = [done for done in outcomes if isinstance(done, Done) and done.effective]
    queries.save(connection, [(done.before, done.after) for done in effective])
    if effective:
        queries.set_counter(connection, call.project_id, project.seq + len(effective))
    counted = Counter(outcome.status for outcome in outcomes)
    counts = {status: counted[status] for status in STATUSES}
    content = {
        "request_id": call.request_id,
        "counts": counts,
        "max_seq": project.seq + len(effective),
        "results": [result(outcome, full=envelope.full) for outcome in outcomes],
    }
    return Applied(answer=orjson.dumps(content), counts=counts)


def load(connection: sa.Connection, project_id: str, items: Sequence[Item]) -> Known:
    """Two queries: the assets named by the items, and the live holders of the tags they want."""
    keys = {item.plant3d_id for item in items if not isinstance(item, BadItem)}
    by_key = queries.assets_by_key(connection, project_id, keys)
    return Known(
        by_key=by_key,
        by_tag=queries.assets_by_live_tag(connection, project_id, tags_to_look_up(items, by_key)),
    )


def result(outcome: Outcome, *, full: bool) -> Wire:
    """One item's result."""
    item = outcome.item
    content: Wire = {"index": item.index, "plant3d_id": item.plant3d_id, "status": outcome.status}
    if item.ref is not None:
        content["ref"] = item.ref
    if isinstance(outcome, Done):
        content |= {"id": outcome.after.id, "version": outcome.after.version, "seq": outcome.after.seq}
        if outcome.linked:
            content["linked"] = True
        if outcome.restored:
            content["restored"] = True
        if full:
            content["asset"] = outcome.after.wire()
        return content
    content |= {"code": outcome.code, "message": outcome.message}
    if outcome.field is not None:
        content["field"] = outcome.field
    if outcome.current is not None:
        content["current"] = outcome.current.wire()
    if outcome.code == "tag_taken":
        content["other"] = outcome.other.holder() if outcome.other else None
    return content


def stored_answer(connection: sa.Connection, call: Call, key: str, body: bytes) -> bytes | None:
    """The answer this caller got for this key, None for a new key; another body is 422."""
    forget_old_answers(connection)
    row = connection.execute(
        sa.select(idempotency.c.body_hash, idempotency.c.answer).where(
            idempotency.c.project_id == call.project_id,
            idempotency.c.caller == call.caller.name,
            idempotency.c.key == key,
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_hash != hashlib.sha256(body).hexdigest():
        reused: list[Json] = [{"loc": ["header", "Idempotency-Key"], "msg": "used with a different body"}]
        message = "This key was used with a different body."
        raise Problem(422, "idempotency_key_reused", message, extra={"errors": reused})
    return bytes(row.answer)


def remember_answer(connection: sa.Connection, call: Call, key: str, body: bytes, answer: bytes) -> None:
    """Keep the answer in the same transaction as the changes: both are there or neither."""
    connection.execute(
        sa.insert(idempotency).values(
            project_id=call.project_id,
            caller=call.caller.name,
            key=key,
            body_hash=hashlib.sha256(body).hexdigest(),
            answer=answer,
            created_at=assets.now(),
        )
    )


def forget_old_answers(connection: sa.Connection) -> None:
    oldest = assets.timestamp(datetime.now(UTC) - timedelta(hours=IDEMPOTENCY_HOURS))
    connection.execute(sa.delete(idempotency).where(idempotency.c.created_at < oldest))


def stall(server: Server) -> None:
    """Kill tests only: hold the transaction open, say so on stderr, and let somebody kill the process."""
    if server.stall_commit:
        log.warning("stalling before commit")
        time.sleep(server.stall_commit)
