"""Server-sent events of a run: the one asynchronous place.

Numbered events come from a table, so a reader that was away gets what it missed by its `Last-Event-ID`,
from any process. `progress` repeats the run's row when it changes and has no number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import orjson
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.model.run import is_over
from plant3d_sync.run.project import iso
from plant3d_sync.state import keys, runs
from plant3d_sync.state.runs import Run
from plant3d_sync.web import documents
from plant3d_sync.web.auth import Call
from plant3d_sync.web.errors import Refused

PING_SECONDS = 15.0
"""A comment goes out so often, so that proxies keep the line open; the key is checked again then."""

REPLAY = 500
"""Events read at once."""


class _Cursor(msgspec.Struct, kw_only=True):
    after: int
    shown: bytes = b""
    ended: bool = False


def event_stream(call: Call, run: Run, *, after: int) -> StreamingResponse:
    """A stream that ends with the run. Refuses 429 when too many are open."""
    place = call.context.streams.take(call.key.key_id)
    if place != "taken":
        raise Refused(
            429,
            "too_many_streams",
            "This key has as many event streams open as it may."
            if place == "share"
            else "Too many event streams are open.",
            hint="Ask for the run itself every few seconds instead.",
            headers={"Retry-After": "30"},
        )
    return _Stream(call, run, after=after)


class _Stream(StreamingResponse):
    """Gives its place back when it is over, however it ends."""

    def __init__(self, call: Call, run: Run, *, after: int) -> None:
        super().__init__(
            _events(call, run.run_id, _Cursor(after=after)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._places, self._who = call.context.streams, call.key.key_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back(self._who)


async def _events(call: Call, run_id: str, cursor: _Cursor) -> AsyncIterator[bytes]:
    yield b": run " + run_id.encode() + b"\n\n"
    pinged = time.monotonic()
    while not cursor.ended and not call.context.ending.is_set():
        try:
            pieces = await run_in_threadpool(_news, call, run_id, cursor)
        except RetryLaterError:
            pieces = [b": the state database cannot be read now\n\n"]
        for piece in pieces:
            yield piece
        if time.monotonic() - pinged > PING_SECONDS:
            pinged = time.monotonic()
            if not await run_in_threadpool(_still_valid, call):
                return
            yield b": ping\n\n"
        if not cursor.ended:
            await asyncio.sleep(call.context.poll)


def _still_valid(call: Call) -> bool:
    with call.context.state.read() as connection:
        key = keys.get(connection, call.key.key_id)
    return key is not None and key.valid(call.context.clock())


def _news(call: Call, run_id: str, cursor: _Cursor) -> list[bytes]:
    """What happened since; ends the cursor when the run is over and all its events are reported."""
    with call.context.state.read() as connection:
        run = runs.get(connection, run_id)
        events = runs.events(connection, run_id, after=cursor.after, limit=REPLAY)
    pieces = []
    for event in events:
        cursor.after = event["id"]
        data = {**event, "at": iso(event["at"])}
        pieces.append(_frame(orjson.dumps(data), event["event"], str(event["id"])))
    if run is None:
        cursor.ended = True
        return pieces
    over = is_over(run.status)
    state = orjson.dumps(
        {
            "sync_id": run.run_id,
            "status": run.status,
            "outcome": run.outcome,
            "phase": run.phase,
            "done": run.phase_done,
            "total": run.phase_total,
            "stats": documents.stats(run.stats).model_dump(),
            "error": run.error,
        }
    )
    if over and len(events) < REPLAY:
        cursor.ended = True
        pieces.append(_frame(state, "end", None))
    elif state != cursor.shown and not over:
        pieces.append(_frame(state, "progress", None))
    cursor.shown = state
    return pieces


def _frame(data: bytes, name: str, number: str | None) -> bytes:
    return format_sse_event(data_str=data.decode(), event=name, id=number)
