"""The health check: an answer within a second, whatever hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.types import Scope

from plant3d_sync import __version__
from plant3d_sync.errors import SyncError
from plant3d_sync.state.keys import ApiKey
from plant3d_sync.state.store import SCHEMA
from plant3d_sync.usecases import health
from plant3d_sync.usecases.health import Components, Health, Status
from plant3d_sync.usecases.status import read_components, read_status
from plant3d_sync.web import documents
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import RateLimits
from plant3d_sync.web.context import Context, may_see

ANSWER_WITHIN = 0.5
"""Seconds. What is not known by then is reported as an error."""

NO_ANSWER = "no answer in time"
WRONG = "wrong"
"""A key that was looked up and is none."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the state database says. `readable` is False when it did not answer."""

    readable: bool
    components: Components = msgspec.field(default_factory=Components)
    projects: tuple[Status, ...] = ()


class Watch:
    """Reads the facts in threads of its own: one look at a time is shared by everybody who asks meanwhile."""

    def __init__(self, context: Context, rates: RateLimits) -> None:
        self._context = context
        self._rates = rates
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._going: dict[str, Future[Any]] = {}
        self._last = Facts(readable=False)

    def close(self) -> None:
        """Let the threads end; a later question starts new ones."""
        with self._lock:
            threads, self._threads, self._going = self._threads, None, {}
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], Any]) -> Future[Any]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")
        return self._threads.submit(work)

    def _shared(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        with self._lock:
            going = self._going.get(name)
            if going is None or going.done():
                going = self._going[name] = self._submit(work)
            return going

    async def answer(self, presented: str | None, scope: Scope) -> s.HealthAnswer:
        """The plan's fields; more for a valid key. Asynchronous, so that it answers when every thread is busy.

        Refuses 429 whoever presents many wrong keys.
        """
        wanted: list[Future[Any]] = [
            self._shared("facts", self._read),
            self._shared("bell", self._ask_bell),
        ]
        if presented:
            with self._lock:
                wanted.append(self._submit(lambda: self._verify(presented)))
        await asyncio.wait([asyncio.wrap_future(one) for one in wanted], timeout=ANSWER_WITHIN)
        facts = _result(wanted[0])
        bell = _result(wanted[1]) if wanted[1].done() else NO_ANSWER
        key = _result(wanted[2]) if presented else None
        if key is WRONG:
            self._rates.failure(scope)
        if not isinstance(facts, Facts):
            facts = Facts(readable=False, components=self._last.components, projects=self._last.projects)
        return self._document(facts, bell, key if isinstance(key, ApiKey) else None)

    async def readiness(self) -> tuple[dict[str, str], bool]:
        """What this process needs to serve, and whether it is there. Within a second, like `answer`.

        Redis is not needed, so one that says nothing is reported and nobody waits for the state database because of it.
        """
        state, bell = self._shared("ready", self._check), self._shared("bell", self._ask_bell)
        await asyncio.wait([asyncio.wrap_future(one) for one in (state, bell)], timeout=ANSWER_WITHIN)
        if not state.done():
            return {"state": f"state_unavailable: {NO_ANSWER}"}, False
        checks, good = state.result()
        away = not bell.done() or bell.result()
        return checks | {"queue": "degraded: Redis does not answer, workers poll" if away else "ok"}, good

    def _check(self) -> tuple[dict[str, str], bool]:
        try:
            version = self._context.state.schema_version()
        except SyncError as error:
            return {"state": error.error_code}, False
        good = version == SCHEMA
        return {"state": "ok", "schema": "ok" if good else f"at {version}, needed {SCHEMA}"}, good

    def _ask_bell(self) -> str | None:
        """Why the bell does not work, None if it does."""
        bell = self._context.bell
        return None if bell.alive() else bell.trouble or NO_ANSWER

    def _verify(self, presented: str) -> ApiKey | str | None:
        try:
            return self._context.verify(presented) or WRONG
        except SyncError:
            return None  # the answer says anyway that the state database does not answer

    def _read(self) -> Facts:
        context = self._context
        try:
            with context.state.read() as connection:
                statuses = [
                    read_status(connection, context.watched(name), now=context.clock())
                    for name in context.app.project_names()
                ]
                facts = Facts(readable=True, components=read_components(connection), projects=tuple(statuses))
        except SyncError:
            return Facts(readable=False, components=self._last.components, projects=self._last.projects)
        self._last = facts
        return facts

    def _document(self, facts: Facts, bell_trouble: str | None, key: ApiKey | None) -> s.HealthAnswer:
        active = [status for status in facts.projects if status.project.active]
        reasons = health.unconfigured(active) if facts.readable else []
        if bell_trouble is not None:
            reasons = [*reasons, health.redis_away(bell_trouble)]
        level = health.worst([*(one.level for one in reasons), *(status.health for status in facts.projects)])
        if not facts.readable:
            level = Health.OFFLINE
        plain: dict[str, Any] = {
            "status": level.value,
            "plant3d_connection": _side(active, "plant3d", facts.readable),
            "synapse_connection": _side(active, "synapse", facts.readable),
            "redis_connection": "ok" if self._queue_works(facts, bell_trouble) else "error",
            "version": __version__,
            "queue": self._context.queue_kind,
        }
        if key is None:
            return s.HealthAnswer.model_validate(plain)
        return s.HealthDetail.model_validate(
            plain
            | {
                "worker_seen_at": documents.when(facts.components.worker),
                "scheduler_seen_at": documents.when(facts.components.scheduler),
                "reasons": [documents.reason(one) for one in reasons],
                "projects": [
                    _project(status) for status in facts.projects if may_see(key, status.project.name)
                ],
            }
        )

    def _queue_works(self, facts: Facts, bell_trouble: str | None) -> bool:
        """Redis answers; without one, the run table does, which is what workers look into then."""
        return bell_trouble is None and (self._context.queue_kind == "redis" or facts.readable)


def _result(future: Future[Any]) -> Any:
    """What a look brought, None if it is still going."""
    return future.result() if future.done() else None


def _side(active: list[Status], side: str, readable: bool) -> str:
    """A connection that nobody uses was never looked at: it is not well."""
    looked_at = [status.connections[side].ok for status in active]
    return "ok" if readable and looked_at and all(looked_at) else "error"


def _project(status: Status) -> dict[str, Any]:
    return {
        "project_id": status.project.name,
        "health": status.health.value,
        "last_sync": documents.when(status.last_sync),
        "reasons": [documents.reason(one) for one in status.reasons],
        "connections": {side: documents.connection(one) for side, one in status.connections.items()},
    }
