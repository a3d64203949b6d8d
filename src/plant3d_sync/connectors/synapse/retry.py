"""One call with its repeats: what an answer means, when to try again, and what is said when nothing helps.

Every call is repeated only where a repeat is safe: reads always, a batch with the same key and the same body. "Not applied"
and "not known whether applied" are kept apart: after a lost answer, a 5xx or a cut body a batch may have been committed (a
proxy may answer for a server that went on), so the run reads before it decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import msgspec
import tenacity

from plant3d_sync.connectors.base import CursorReset
from plant3d_sync.connectors.synapse import errors, wire
from plant3d_sync.connectors.synapse.address import origin_of
from plant3d_sync.connectors.synapse.errors import Stop, Transient, WireError
from plant3d_sync.connectors.synapse.exchange import Call, Exchange, Reply
from plant3d_sync.errors import SyncError

T = TypeVar("T")

RETRY_AFTER_CAP: Final = 120.0
"""Longest pause asked for by SYNAPSE that one call waits, in seconds; beyond it the run is deferred."""


class _Tries(msgspec.Struct):
    """The attempts of one call: how many, and whether one of them may have been applied."""

    made: int = 0
    delivered: bool = False

    def note(self, failure: Transient) -> None:
        self.delivered = self.delivered or failure.delivered

    def may_have_been_applied(self, final: Exception) -> bool:
        """Also true when a clear refusal follows an attempt whose answer was lost, or a 200 could not be read."""
        return self.delivered or (isinstance(final, SyncError) and final.error_code == "synapse_not_json")


class Retries:
    """Calls over one exchange. `attempts`: how often one call is tried in all; `delay`: seconds between.

    `on_event(name, facts)` hears of `synapse.call` and `synapse.retry`; facts hold no row and no secret.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        attempts: int,
        delay: float,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        on_event: Callable[[str, Mapping[str, object]], None] | None,
    ) -> None:
        self.url = exchange.url
        self._exchange = exchange
        self._words = exchange.key.words
        self._attempts = max(1, attempts)
        self._delay = max(0.0, delay)
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._on_event = on_event
        self._retrying = (
            tenacity.Retrying(  # one for all calls: each holds itself, and would hold its call's body
                stop=tenacity.stop_after_attempt(self._attempts),
                wait=self._pause,
                retry=tenacity.retry_if_exception_type(Transient),
                before_sleep=self._tell_retry,
                sleep=self._sleep,
                reraise=True,
            )
        )

    def run(
        self,
        call: Call,
        read: Callable[[Reply], T],
        *,
        before: Callable[[], None] | None = None,
        missing_is_none: bool = False,
    ) -> T:
        """Try one call until it is answered soundly, refused for good, or the attempts are used up."""
        tries = _Tries()

        def attempt(call: Call) -> T:
            tries.made += 1
            if before is not None:
                before()
            try:
                return self._attempt(call, tries, read, missing_is_none)
            except Transient as failure:
                tries.note(failure)
                if failure.retry_after is not None and failure.retry_after > RETRY_AFTER_CAP:
                    raise Stop(self._gave_up(call, tries, failure)) from None
                raise

        final: Exception
        try:
            return self._retrying(attempt, call)
        except Transient as failure:
            final = self._gave_up(call, tries, failure)
        except Stop as stop:
            final = stop.error
        if isinstance(final, SyncError):
            final.details["attempts"] = tries.made
            if call.writes:
                final.details["may_have_been_applied"] = tries.may_have_been_applied(final)
        raise final

    def _pause(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(failure, Transient) or failure.retry_after is None:
            return self._delay
        return max(failure.retry_after, self._delay) if failure.patient else failure.retry_after

    def _tell_retry(self, state: tenacity.RetryCallState) -> None:
        call: Call = state.args[0]
        failure = state.outcome.exception() if state.outcome is not None else None
        self.tell(
            "synapse.retry",
            {
                "request_id": call.request_id,
                "path": call.path,
                "attempt": state.attempt_number,
                "attempts": self._attempts,
                "reason": str(failure),
                "wait_seconds": state.upcoming_sleep,
            },
        )

    def _gave_up(self, call: Call, tries: _Tries, failure: Transient) -> SyncError:
        applied = tries.delivered if call.writes else None
        code = "synapse_unknown_outcome" if applied else failure.code
        if call.writes and not applied:
            code = "synapse_unavailable"
        details: dict[str, object] = {"request_id": call.request_id, "reason": failure.reason}
        if failure.status is not None:
            details["status"] = failure.status
        if failure.retry_after is not None:
            details["retry_after"] = failure.retry_after
        return errors.gave_up(self.url, code, failure.reason, applied, details)

    def _attempt(self, call: Call, tries: _Tries, read: Callable[[Reply], T], missing_is_none: bool) -> T:
        begun = self._monotonic()
        reply = self._exchange.transmit(call)
        facts: dict[str, object] = {
            "method": call.method,
            "path": call.path,
            "request_id": call.request_id,
            "milliseconds": round((self._monotonic() - begun) * 1000, 1),
            "bytes_sent": len(call.body or b""),
        }
        if isinstance(reply, Reply):
            self.tell("synapse.call", {**facts, "status": reply.status, "bytes_read": len(reply.body)})
        else:
            self.tell("synapse.call", {**facts, "failure": str(reply)})
            raise reply
        if reply.status == 404 and missing_is_none and self._is_missing_asset(reply):
            return read(reply)
        if reply.status != 200:
            raise self._judge(call, reply, tries.delivered if call.writes else None)
        if not reply.is_json:
            raise Stop(
                errors.not_json(
                    self.url, self._words(reply.media), call.writes or None, self._details(call, reply)
                )
            )
        try:
            return read(reply)
        except WireError as error:
            reason = str(error)
        raise Transient(
            f"an unusable answer: {reason}", delivered=True, code="synapse_bad_answer", status=reply.status
        )

    @staticmethod
    def _is_missing_asset(reply: Reply) -> bool:
        problem = wire.read_problem(reply.body) if reply.is_json else wire.Problem()
        return bool(problem.type) and problem.type != "project_not_found"

    def _judge(self, call: Call, reply: Reply, applied: bool | None) -> Exception:
        """What an answer other than 200 means: wait and repeat (Transient), or stop (Stop)."""
        status = reply.status
        problem = wire.read_problem(reply.body) if reply.is_json else wire.Problem()
        retry_after = _seconds(reply.headers.get("retry-after"), self._clock())
        if status == 409 and problem.type == "request_in_progress":
            return Transient(
                "the first delivery of this batch is still being worked on",
                delivered=True,
                status=status,
                retry_after=retry_after,
                patient=True,
            )
        if status in (408, 429):
            words = "it asks us to slow down" if status == 429 else "it waited too long for our request"
            return Transient(f"{words} ({status})", delivered=False, status=status, retry_after=retry_after)
        if status >= 500:
            return Transient(f"it answered {status}", delivered=True, status=status, retry_after=retry_after)
        if 200 <= status < 300:
            return Transient(
                f"an unusable answer: status {status}",
                delivered=True,
                code="synapse_bad_answer",
                status=status,
            )
        return Stop(self._refusal(call, reply, problem, applied))

    def _refusal(self, call: Call, reply: Reply, problem: wire.Problem, applied: bool | None) -> Exception:
        """The error of an answer that repeating cannot change."""
        status, details = reply.status, self._details(call, reply, problem)
        if 300 <= status < 400:
            target = self._words(origin_of(reply.headers.get("location", "")))
            return errors.redirected(self.url, target, applied, {**details, "target": target})
        if "cursor" in call.query and (status == 410 or problem.type == "invalid_cursor"):
            return CursorReset(problem.type or "cursor_reset")
        if status == 401:
            return errors.unauthorized(self.url, applied, details)
        if status == 403:
            return errors.forbidden(self.url, self._exchange.project_id, applied, details)
        if status == 404:
            if problem.type == "project_not_found":
                return errors.project_unknown(self.url, self._exchange.project_id, applied, details)
            return errors.no_contract(self.url, applied, details)
        if status == 413:
            return errors.too_large(self.url, applied, details)
        words = self._words(f"{problem.type}: {problem.detail}" if problem.type else "")
        return errors.refused(self.url, status, words, applied, details)

    def _details(self, call: Call, reply: Reply, problem: wire.Problem | None = None) -> dict[str, object]:
        details: dict[str, object] = {"status": reply.status, "request_id": call.request_id}
        if problem is not None and problem.type:
            details["type"] = self._words(problem.type)
            details["detail"] = self._words(problem.detail)
            if problem.request_id and problem.request_id != call.request_id:
                details["synapse_request_id"] = self._words(problem.request_id)
        return details

    def tell(self, name: str, facts: Mapping[str, object]) -> None:
        if self._on_event is not None:
            self._on_event(name, facts)


def _seconds(header: str | None, now: datetime) -> float | None:
    """Retry-After in seconds from now: a number, or a date. None when missing or meaningless."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
