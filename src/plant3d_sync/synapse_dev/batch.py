"""Operation 2: upsert and archive up to 1,000 assets in one transaction, one result each."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from plant3d_sync.synapse_dev import assets, queries
from plant3d_sync.synapse_dev.assets import Wire
from plant3d_sync.synapse_dev.decide import (
    Done,
    Known,
    Outcome,
    Writer,
    decide,
    stored,
    tags_to_look_up,
    tags_to_take_over,
)
from plant3d_sync.synapse_dev.items import BadItem, Item, read_items
from plant3d_sync.synapse_dev.jsons import Json, parse
from plant3d_sync.synapse_dev.problems import Problem, unreadable
from plant3d_sync.synapse_dev.server import Answer, Call, Server, project_not_found, repeated
from plant3d_sync.synapse_dev.store import StillRunning

MAX_ITEMS = 1000
MAX_BODY_BYTES = 5 * 1024 * 1024
IDEMPOTENCY_HOURS = 24
KEY_PATTERN = re.compile(r"[!-~]{1,128}")
STATUSES = ("created", "updated", "unchanged", "archived", "conflict", "error")


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
    kept, applied = repeated(lambda: attempt(server, call, key, body, envelope))
    if applied is None:
        server.ledger.replayed()
        return Answer(body=kept or b"", headers={"Idempotency-Replayed": "true"})
    server.ledger.wrote(
        project_id=call.project_id, request_id=call.request_id, key=key, counts=applied.counts
    )
    return Answer(body=applied.answer)


def attempt(
    server: Server, call: Call, key: str, body: bytes, envelope: Envelope
) -> tuple[bytes | None, Applied | None]:
    """One transaction: the answer kept for this key, or the batch applied and its answer kept."""
    work = f"{call.project_id}\n{call.caller.name}\n{key}"
    try:
        with server.store.writing_once(work) as connection:
            kept = kept_answer(connection, call, key, body)
            if kept is not None:
                return kept, None
            applied = apply(connection, call, envelope)
            queries.keep_answer(
                connection,
                call.project_id,
                call.caller.name,
                key,
                body_hash=hashlib.sha256(body).hexdigest(),
                answer=applied.answer,
            )
            server.before_commit()
        return None, applied
    except StillRunning as error:
        message = "The first request with this key is still running."
        raise Problem(409, "request_in_progress", message, headers={"Retry-After": "1"}) from error


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
    """Lock what is touched, decide, store, and build the answer; the caller commits."""
    project = queries.open_project(connection, call.project_id)
    if project is None:
        raise project_not_found()
    writer = Writer(
        project_id=call.project_id, by=call.caller.author, now=assets.now(), new_id=lambda: str(uuid.uuid4())
    )
    decided = decide(envelope.items, load(connection, call.project_id, envelope.items), writer)
    effective = [done for done in decided if isinstance(done, Done) and done.effective]
    changes = [(done.before, done.after) for done in effective]
    saved = queries.save(connection, project, changes, by=writer.by)
    outcomes = [
        stored(outcome, saved.assets[outcome.after.id])
        if isinstance(outcome, Done) and outcome.effective
        else outcome
        for outcome in decided
    ]
    counted = Counter(outcome.status for outcome in outcomes)
    counts = {status: counted[status] for status in STATUSES}
    content = {
        "request_id": call.request_id,
        "counts": counts,
        "max_seq": saved.seq,
        "results": [result(outcome, full=envelope.full) for outcome in outcomes],
    }
    return Applied(answer=orjson.dumps(content), counts=counts)


def load(connection: sa.Connection, project_id: str, items: Sequence[Item]) -> Known:
    """Two queries: the assets named by the items, and the live holders of the tags they want."""
    keys = {item.plant3d_id for item in items if not isinstance(item, BadItem)}
    by_key = queries.assets_to_change(connection, project_id, keys, tags_to_take_over(items))
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


def kept_answer(connection: sa.Connection, call: Call, key: str, body: bytes) -> bytes | None:
    """The answer this caller got for this key, None for a new key; another body is 422."""
    queries.forget_answers(connection, older_than_hours=IDEMPOTENCY_HOURS)
    kept = queries.kept_answer(connection, call.project_id, call.caller.name, key)
    if kept is None:
        return None
    body_hash, answer = kept
    if body_hash != hashlib.sha256(body).hexdigest():
        reused: list[Json] = [{"loc": ["header", "Idempotency-Key"], "msg": "used with a different body"}]
        message = "This key was used with a different body."
        raise Problem(422, "idempotency_key_reused", message, extra={"errors": reused})
    return answer
