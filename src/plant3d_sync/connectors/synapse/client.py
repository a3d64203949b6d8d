"""SYNAPSE over HTTP: one client for one project, under the integration contract 1.x.

Every call is repeated only where a repeat is safe: reads always, a batch with the same key and the same body.
"Not applied" and "not known whether applied" are kept apart: after a lost answer, a 5xx or a cut body a batch
may have been committed (a proxy may answer for a server that went on), so the engine reads before it decides.
"""

from __future__ import annotations

import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import tenacity

from plant3d_sync import patience
from plant3d_sync.connectors.base import (
    AssetWrite,
    Capabilities,
    ChangePage,
    Creation,
    CursorReset,
    Echo,
    WriteResult,
)
from plant3d_sync.connectors.synapse import errors, wire
from plant3d_sync.connectors.synapse.errors import Transient, WireError
from plant3d_sync.errors import ConfigError, SyncError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.record import Asset

if TYPE_CHECKING:
    import httpx2

    from plant3d_sync.connectors.synapse.transport import Deadline

T = TypeVar("T")
R = TypeVar("R")
_Reader = Callable[[bytes, Sequence[str], str], tuple[list[R], int]]
"""Reads the answer to a batch: the results, and how many entries fitted no item."""

RETRY_AFTER_CAP: Final = 120.0
"""Longest pause asked for by SYNAPSE that one call waits, in seconds; beyond it the run is deferred."""

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
MAX_EMPTY_PAGES: Final = 100
"""Pages without an entry that one pass over the feed may have."""

CHANGED_MEANWHILE: Final = 10_000
"""Entries that a pass may have beyond twice what SYNAPSE said it holds: users go on working while we read."""

_WORDS: Final = 300
_KEY_SHAPE: Final = re.compile(r"[!-~]{1,512}")
_IDEMPOTENCY_SHAPE: Final = re.compile(r"[!-~]{1,128}")


class Secret(Protocol):
    """Anything that hides its value until asked, such as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value itself."""
        ...


class _ApiKey:
    """The key, where no repr, error or log can print it."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value = value if isinstance(value, str) else value.get_secret_value()

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def usable(self) -> bool:
        """Whether an HTTP header can carry it."""
        return _KEY_SHAPE.fullmatch(self._value) is not None

    def header(self) -> str:
        """The value, for the one header that needs it."""
        return self._value

    def scrub(self, text: str) -> str:
        """`text` without the key, should the other side echo it."""
        return text.replace(self._value, "***") if self._value else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds until a connection, the next bytes read or written; `call` bounds one exchange as a whole."""

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request as data. `writes`: whether it may change something over there."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    writes: bool = False
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """A whole answer, still unread: `media` is the content type without parameters, in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    media: str

    @property
    def is_json(self) -> bool:
        return self.media == "application/json" or self.media.endswith("+json")


class _Stop(Exception):
    """Carries the final error of a call out of the retries (it is raised again outside, without a chain)."""

    def __init__(self, error: Exception) -> None:
        super().__init__("stop")
        self.error = error


@dataclass(slots=True)
class _Progress:
    """How a pass over the change feed gets on, and how far it may go.

    SYNAPSE says how much there is: the newest number on the first page, its assets on the second. A feed that goes
    on far beyond that would never end.
    """

    pages: int = 0
    entries: int = 0
    empty_pages: int = 0
    promised: int | None = None

    def note(self, page: ChangePage) -> None:
        """Count one page, and what it says there is."""
        self.pages += 1
        self.entries += len(page.assets)
        self.empty_pages += not page.assets
        said = [page.max_seq] if self.pages == 1 else []
        if page.totals is not None:
            said.append(page.totals["live"] + page.totals["archived"])
        self.promised = min((one for one in [self.promised, *said] if one is not None), default=None)

    def trouble(self) -> str | None:
        """Why this pass is left, None while it gets on."""
        if self.empty_pages >= MAX_EMPTY_PAGES:
            return f"the change feed gave {self.empty_pages} empty pages and promises more"
        if self.promised is not None and self.entries > 2 * self.promised + CHANGED_MEANWHILE:
            return (
                f"the change feed gave {self.entries} entries and promises more, "
                f"where SYNAPSE said that there are {self.promised}"
            )
        return None


class SynapseClient:
    """SYNAPSE, for one project (`SynapsePort`). One per thread; connects at the first call.

    `url`: the root, with or without `/api/v1`. `retry_attempts`: how often one call is tried in all;
    `retry_delay`: seconds between. `deadline`: seconds one exchange may last whatever trickles in.
    `request_id`: prefix of the X-Request-ID of each call, so that a run can be found in SYNAPSE's log.
    `ca_file`: certificates (PEM) to trust instead of the system's. `on_event(name, facts)` hears of
    `synapse.call`, `synapse.retry`, `synapse.extra_results`, `synapse.replayed`; facts hold no row and no secret.
    """

    def __init__(
        self,
        url: str,
        api_key: str | Secret,
        project_id: str,
        *,
        batch_size: int = 500,
        page_size: int = 1000,
        retry_attempts: int = 3,
        retry_delay: float = 30.0,
        timeout: Timeouts | None = None,
        deadline: float = 120.0,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        transport: httpx2.BaseTransport | None = None,
        request_id: str | None = None,
        ca_file: str | None = None,
        clock: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = patience.sleep,
        on_event: Callable[[str, Mapping[str, object]], None] | None = None,
    ) -> None:
        self.url = root_of(url)
        self.project_id = project_of(project_id)
        self.batch_size = batch_size
        self.page_size = page_size
        self.last_request_id = ""
        self._key = _ApiKey(api_key)
        if not self._key.usable():
            raise ConfigError(
                "The API key of SYNAPSE is "
                + ("not usable in a header." if self._key else "empty.")
                + " Nothing was sent.",
                code="synapse_key_invalid",
                hint="Set SYNAPSE_API_KEY (or its *_FILE) to the key alone: printable, no spaces or line breaks.",
            )
        self._attempts = max(1, retry_attempts)
        self._delay = max(0.0, retry_delay)
        self._timeout = timeout or Timeouts()
        self._deadline_seconds = deadline
        self._max_reply = max_reply_bytes
        self._transport = transport
        self._ca_file = ca_file
        self._run_id = request_id or uuid.uuid4().hex[:12]
        self._calls = 0
        self._clock = clock or _now
        self._monotonic = monotonic
        self._sleep = sleep
        self._on_event = on_event
        self._http: httpx2.Client | None = None
        self._deadline: Deadline | None = None
        self._capabilities: Capabilities | None = None
        self._last_batch: tuple[bytes, list[str], list[wire.Sent]] | None = None

    def __repr__(self) -> str:
        return f"SynapseClient({self.url!r}, project_id={self.project_id!r})"

    # ---------------------------------------------------------------- the port

    def capabilities(self) -> Capabilities:
        """Ask what is there. Cached after the first call.

        Raises ConfigError `synapse_no_contract` (SYNAPSE 0.2), `synapse_contract` (another major version).
        `skew_seconds` is SYNAPSE's clock against the middle of the call on ours.
        """
        if self._capabilities is None:
            self._capabilities = self._ask_capabilities()
        return self._capabilities

    def changes(self, cursor: str | None, *, totals: bool = False) -> Iterator[ChangePage]:
        """Everything (no cursor) or everything since `cursor`, page by page, fetched as they are asked for.

        Raises CursorReset when SYNAPSE does not know the cursor (any more): its history was broken, or another
        SYNAPSE or project answers; read again from the beginning. A feed that does not advance, or that goes on
        far beyond what SYNAPSE said it holds, is left: RetryLaterError `synapse_answer_unusable`.
        """
        seen = {cursor}
        seq = 0
        progress = _Progress()
        limit = self.page_size
        if self._capabilities is not None:
            limit = min(limit, self._capabilities.max_page)
        while True:
            page, seq = self._page(cursor, limit, totals, seq, seen, count=progress.pages == 1)
            progress.note(page)
            why = progress.trouble()
            if page.has_more and why is not None:
                raise errors.gave_up(
                    self.url, "synapse_answer_unusable", why, None, {**asdict(progress), "seq": seq}
                )
            yield page
            if not page.has_more:
                return
            cursor = page.next_cursor
            seen.add(cursor)

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> bytes:
        """The exact body of one batch call: what the intent stores and what is sent.

        Errors as `wire.encode_batch`; the limit is SYNAPSE's own once its capabilities are known, else 5 MiB.
        """
        body, items = wire.encode_items(writes, max_body_bytes=self._max_body())
        self._last_batch = (body, [write.plant3d_id for write in writes], items)
        return body

    def send(self, body: bytes, *, key: str) -> list[WriteResult]:
        """Send one batch under an idempotency key. Safe to repeat with the same key and body.

        One result for each item sent, in the order sent; an item the answer did not settle is `unknown`.
        Errors carry `details["may_have_been_applied"]`: False only if no attempt can have reached SYNAPSE's code.
        """
        return self._send(
            body, key, lambda raw, ids, project: wire.read_results(wire.load(raw), ids, project)
        )

    def send_briefly(self, body: bytes, *, key: str) -> Sequence[WriteResult | Echo]:
        """As `send`, but a batch that was encoded here just before answers creations kept as sent by an `Echo`."""
        last = self._last_batch
        if last is None or last[0] != body:
            return self.send(body, key=key)
        sent = last[2]
        return self._send(body, key, lambda raw, ids, project: wire.read_briefly(raw, ids, project, sent))

    def _send(self, body: bytes, key: str, read: _Reader[R]) -> list[R]:
        if _IDEMPOTENCY_SHAPE.fullmatch(key) is None:
            raise ConfigError(
                "An idempotency key has 1 to 128 printable ASCII characters. Nothing was sent.",
                code="idempotency_key",
                hint="This is a fault of plant3d-sync; please report it.",
            )
        ids = self._ids_of(body)
        call = self._call(
            "POST",
            "/assets/batch",
            body=body,
            headers={"Idempotency-Key": key, "Content-Type": "application/json"},
            writes=True,
        )
        return self._run(call, lambda reply: self._results(call, reply, ids, read))

    def get(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        call = self._call("GET", f"/assets/{quote(asset_id, safe='')}")
        return self._run(
            call,
            lambda reply: (
                None if reply.status == 404 else wire.read_asset(wire.load(reply.body), self.project_id)
            ),
            missing_is_none=True,
        )

    def limits(self) -> list[Limit]:
        """None: it has the whole contract."""
        return []

    def close(self) -> None:
        """Give connections back. The next call would open new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def without_retries(self) -> SynapseClient:
        """The same SYNAPSE, asked once a call and one asset a page: for `doctor`, which must not wait."""
        return SynapseClient(
            self.url,
            self._key.header(),
            self.project_id,
            page_size=1,
            retry_attempts=1,
            timeout=Timeouts(connect=10.0, read=20.0, write=20.0),
            deadline=30.0,
            max_reply_bytes=self._max_reply,
            transport=self._transport,
            request_id=f"{self._run_id}.doctor",
            ca_file=self._ca_file,
            clock=self._clock,
            monotonic=self._monotonic,
            sleep=self._sleep,
            on_event=self._on_event,
        )

    # ---------------------------------------------------------------- one operation each

    def _ask_capabilities(self) -> Capabilities:
        moments: list[datetime] = []

        def read(reply: _Reply) -> wire.Greeting:
            greeting = wire.read_capabilities(wire.load(reply.body))
            moments.append(self._clock())
            return greeting

        call = self._call("GET", "/capabilities")
        greeting = self._run(call, read, before=lambda: moments.append(self._clock()))
        contract = greeting.capabilities.contract
        if re.fullmatch(r"1\.\d{1,6}", contract) is None:
            raise errors.other_contract(self.url, contract)
        begun, ended = moments[-2:]
        skew = (greeting.server_time - (begun + (ended - begun) / 2)).total_seconds()
        return replace(greeting.capabilities, skew_seconds=skew)

    def _page(
        self, cursor: str | None, limit: int, totals: bool, seq: int, seen: set[str | None], *, count: bool
    ) -> tuple[ChangePage, int]:
        """One page and its largest `seq`. `totals`: the counts are needed; `count`: they are welcome."""
        query = {"limit": str(limit)}
        if totals or count:
            query["include"] = "totals"
        if cursor is not None:
            query["cursor"] = cursor

        def read(reply: _Reply) -> tuple[ChangePage, int]:
            page, last = wire.read_page(wire.load(reply.body), self.project_id, after=seq, totals=totals)
            if page.has_more and page.next_cursor in seen:
                raise WireError("the change feed promises more and stays at the same cursor")
            return page, last

        return self._run(self._call("GET", "/assets/changes", query=query), read)

    def _results(self, call: _Call, reply: _Reply, ids: Sequence[str], read: _Reader[R]) -> list[R]:
        results, extra = read(reply.body, ids, self.project_id)
        if extra:
            self._tell(
                "synapse.extra_results", {"request_id": call.request_id, "extra": extra, "sent": len(ids)}
            )
        replayed = reply.headers.get("idempotency-replayed") == "true"
        if replayed:
            self._tell("synapse.replayed", {"request_id": call.request_id, "items": len(ids)})
        for result in results:
            if isinstance(result, WriteResult):
                result.replayed = replayed
                result.message = self._words(result.message)
        return results

    def _ids_of(self, body: bytes) -> list[str]:
        if self._last_batch is not None and self._last_batch[0] == body:
            return self._last_batch[1]
        try:
            return wire.sent_ids(body)
        except WireError as error:
            reason = str(error)
        raise ConfigError(
            f"A stored batch cannot be read ({reason}). Nothing was sent.",
            code="intent_unreadable",
            hint="The state database is damaged; restore it from a backup, then run again.",
        )

    def _max_body(self) -> int:
        return self._capabilities.max_body_bytes if self._capabilities else wire.DEFAULT_BODY_BYTES

    # ---------------------------------------------------------------- one call, with its retries

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        writes: bool = False,
    ) -> _Call:
        self._calls += 1
        self.last_request_id = f"{self._run_id}.{self._calls}"
        return _Call(
            method=method,
            path=wire.PREFIX + path,
            query=query or {},
            body=body,
            headers=headers or {},
            writes=writes,
            request_id=self.last_request_id,
        )

    def _run(
        self,
        call: _Call,
        read: Callable[[_Reply], T],
        *,
        before: Callable[[], None] | None = None,
        missing_is_none: bool = False,
    ) -> T:
        """Try one call until it is answered soundly, refused for good, or the attempts are used up."""
        tries = _Tries()

        def attempt() -> T:
            tries.made += 1
            if before is not None:
                before()
            try:
                return self._attempt(call, tries, read, missing_is_none)
            except Transient as failure:
                tries.note(failure)
                if failure.retry_after is not None and failure.retry_after > RETRY_AFTER_CAP:
                    raise _Stop(self._gave_up(call, tries, failure)) from None
                raise

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(Transient),
            before_sleep=lambda state: self._tell_retry(call, state),
            sleep=self._sleep,
            reraise=True,
        )
        final: Exception
        try:
            return retrying(attempt)
        except Transient as failure:
            final = self._gave_up(call, tries, failure)
        except _Stop as stop:
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

    def _tell_retry(self, call: _Call, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome is not None else None
        self._tell(
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

    def _gave_up(self, call: _Call, tries: _Tries, failure: Transient) -> SyncError:
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

    # ---------------------------------------------------------------- one exchange

    def _attempt(self, call: _Call, tries: _Tries, read: Callable[[_Reply], T], missing_is_none: bool) -> T:
        begun = self._monotonic()
        reply = self._transmit(call)
        facts: dict[str, object] = {
            "method": call.method,
            "path": call.path,
            "request_id": call.request_id,
            "milliseconds": round((self._monotonic() - begun) * 1000, 1),
            "bytes_sent": len(call.body or b""),
        }
        if isinstance(reply, _Reply):
            self._tell("synapse.call", {**facts, "status": reply.status, "bytes_read": len(reply.body)})
        else:
            self._tell("synapse.call", {**facts, "failure": str(reply)})
            raise reply
        if reply.status == 404 and missing_is_none and self._is_missing_asset(reply):
            return read(reply)
        if reply.status != 200:
            raise self._judge(call, reply, tries.delivered if call.writes else None)
        if not reply.is_json:
            raise _Stop(
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
    def _is_missing_asset(reply: _Reply) -> bool:
        problem = wire.read_problem(reply.body) if reply.is_json else wire.Problem()
        return bool(problem.type) and problem.type != "project_not_found"

    def _judge(self, call: _Call, reply: _Reply, applied: bool | None) -> Exception:
        """What an answer other than 200 means: wait and repeat (Transient), or stop (_Stop)."""
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
        return _Stop(self._refusal(call, reply, problem, applied))

    def _refusal(self, call: _Call, reply: _Reply, problem: wire.Problem, applied: bool | None) -> Exception:
        """The error of an answer that repeating cannot change."""
        status, details = reply.status, self._details(call, reply, problem)
        if 300 <= status < 400:
            target = self._words(_origin(reply.headers.get("location", "")))
            return errors.redirected(self.url, target, applied, {**details, "target": target})
        if "cursor" in call.query and (status == 410 or problem.type == "invalid_cursor"):
            return CursorReset(problem.type or "cursor_reset")
        if status == 401:
            return errors.unauthorized(self.url, applied, details)
        if status == 403:
            return errors.forbidden(self.url, self.project_id, applied, details)
        if status == 404:
            if problem.type == "project_not_found":
                return errors.project_unknown(self.url, self.project_id, applied, details)
            return errors.no_contract(self.url, applied, details)
        if status == 413:
            return errors.too_large(self.url, applied, details)
        words = self._words(f"{problem.type}: {problem.detail}" if problem.type else "")
        return errors.refused(self.url, status, words, applied, details)

    def _details(self, call: _Call, reply: _Reply, problem: wire.Problem | None = None) -> dict[str, object]:
        details: dict[str, object] = {"status": reply.status, "request_id": call.request_id}
        if problem is not None and problem.type:
            details["type"] = self._words(problem.type)
            details["detail"] = self._words(problem.detail)
            if problem.request_id and problem.request_id != call.request_id:
                details["synapse_request_id"] = self._words(problem.request_id)
        return details

    def _transmit(self, call: _Call) -> _Reply | Exception:
        """One request and its whole answer. Failures are returned, not raised: they must not carry the request."""
        import httpx2

        http = self._client()
        target = self.url + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        headers = {
            "X-API-Key": self._key.header(),
            "X-Project-ID": self.project_id,
            "X-Request-ID": call.request_id,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **call.headers,
        }
        until = self._monotonic() + self._deadline_seconds
        if self._deadline is not None:
            self._deadline.until = until
        try:
            with http.stream(call.method, target, content=call.body, headers=headers) as response:
                if call.writes:
                    failpoint("pull.request_sent")  # SYNAPSE has it and began to answer
                body = self._body(response, until)
                if isinstance(body, Exception):
                    return body
                return _Reply(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=body,
                    media=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return self._unreached(error)
        except httpx2.TimeoutException:
            return Transient("no complete answer in time", delivered=True)
        except httpx2.LocalProtocolError:
            return Transient("the request could not be written", delivered=False)
        except httpx2.TransportError as error:
            return Transient(f"the connection broke ({type(error).__name__})", delivered=True)
        finally:
            if self._deadline is not None:
                self._deadline.until = None

    def _body(self, response: httpx2.Response, until: float) -> bytes | Exception:
        """The answer's bytes as they are on the wire, at most `max_reply_bytes`, at the latest at `until`."""
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return Transient(
                "an unusable answer: compressed, not asked for", delivered=True, code="synapse_bad_answer"
            )
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > self._max_reply:
                return Transient(
                    f"an unusable answer: more than {self._max_reply} bytes",
                    delivered=True,
                    code="synapse_bad_answer",
                )
            if self._monotonic() > until:
                return Transient("no complete answer in time", delivered=True)
            chunks.append(chunk)
        return b"".join(chunks)

    def _unreached(self, error: Exception) -> Exception:
        """A connection that did not come about. A certificate that is not trusted will not heal by waiting."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return _Stop(_untrusted(self.url, cause.verify_message))
            cause = cause.__cause__ or cause.__context__
        words = "no connection in time" if type(error).__name__.endswith("Timeout") else "no connection"
        return Transient(words, delivered=False)

    def _client(self) -> httpx2.Client:
        if self._http is None:
            import httpx2

            from plant3d_sync.connectors.synapse.transport import Deadline, DeadlineTransport

            self._deadline = Deadline(self._monotonic)
            transport = self._transport or DeadlineTransport(self._deadline, self._tls())
            self._http = httpx2.Client(
                transport=transport,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx2.Timeout(
                    connect=self._timeout.connect,
                    read=self._timeout.read,
                    write=self._timeout.write,
                    pool=5.0,
                ),
            )
        return self._http

    def _tls(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        if self._ca_file is not None:
            return ssl.create_default_context(cafile=self._ca_file)
        import httpx2

        return httpx2.create_ssl_context(trust_env=False)

    def _words(self, text: str) -> str:
        """Words of the other side, fit for our own messages: short, one line, without our key."""
        printable = "".join(char if char.isprintable() else " " for char in self._key.scrub(text))
        return printable[:_WORDS]

    def _tell(self, name: str, facts: Mapping[str, object]) -> None:
        if self._on_event is not None:
            self._on_event(name, facts)


@dataclass(slots=True)
class _Tries:
    """The attempts of one call: how many, and whether one of them may have been applied."""

    made: int = 0
    delivered: bool = False

    def note(self, failure: Transient) -> None:
        self.delivered = self.delivered or failure.delivered

    def may_have_been_applied(self, final: Exception) -> bool:
        """Also true when a clear refusal follows an attempt whose answer was lost, or a 200 could not be read."""
        return self.delivered or (isinstance(final, SyncError) and final.error_code == "synapse_not_json")


def _now() -> datetime:
    return datetime.now(UTC)


def _untrusted(url: str, why: str) -> ConfigError:
    return ConfigError(
        f"The certificate of {url} is not trusted ({why}). Nothing was sent.",
        code="synapse_tls",
        hint="Install the company's root certificate on this machine, or correct SYNAPSE_API_URL.",
        details={"reason": why},
    )


def root_of(url: str) -> str:
    """The root of SYNAPSE without a trailing slash or `/api/v1`. Raises ConfigError; never echoes a password."""
    wrong, port = "", None
    parts = urlsplit("")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        str(parts.hostname).encode("idna")
    except ValueError:  # a UnicodeError of the host name is one too
        wrong = "it cannot be read"
    else:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            wrong = "it must start with http:// or https:// and a host name"
        elif "@" in url:  # also behind a / or #, where the library would not see a login
            wrong = "it must not hold a user or a password"
        elif parts.query or parts.fragment:
            wrong = "it must not hold '?' or '#'"
    if wrong:
        raise ConfigError(
            f"The address of SYNAPSE is not usable: {wrong}. Nothing was sent.",
            code="synapse_url",
            hint="Set SYNAPSE_API_URL to the root of SYNAPSE, such as https://synapse.example.com.",
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def project_of(project_id: str) -> str:
    """The UUID of a project in its usual form. Raises ConfigError."""
    try:
        return str(uuid.UUID(project_id))
    except ValueError:
        pass
    raise ConfigError(
        "synapse_project_id is not a UUID. Nothing was sent.",
        code="synapse_project_unknown",
        hint="Copy the UUID of the project from SYNAPSE (SYNAPSE_PROJECT_ID).",
        details={"project_id": project_id[:80]},
    )


def _origin(location: str) -> str:
    """Scheme and host of a redirect: the rest may hold tokens."""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.hostname}" if parts.hostname else ""
    except ValueError:
        return ""


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
