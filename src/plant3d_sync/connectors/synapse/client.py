"""SYNAPSE over HTTP: the port of one project, under the integration contract 1.x.

What goes over the wire is in `wire`; one exchange in `exchange`, its repeats in `retry`, the place and the key in `address`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import asdict, replace

from plant3d_sync import patience
from plant3d_sync.connectors.base import (
    AssetWrite,
    Batch,
    Capabilities,
    ChangePage,
    Creation,
    Echo,
    WriteResult,
)
from plant3d_sync.connectors.synapse import echo, errors, wire
from plant3d_sync.connectors.synapse.address import ApiKey, Secret, project_of, root_of
from plant3d_sync.connectors.synapse.errors import WireError
from plant3d_sync.connectors.synapse.exchange import MAX_REPLY_BYTES, Call, Exchange, Reply, Timeouts
from plant3d_sync.connectors.synapse.retry import Retries
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.record import Asset

if TYPE_CHECKING:
    import httpx2

MAX_EMPTY_PAGES: Final = 100
"""Pages without an entry that one pass over the feed may have."""

CHANGED_MEANWHILE: Final = 10_000
"""Entries that a pass may have beyond twice what SYNAPSE said it holds: users go on working while we read."""

_IDEMPOTENCY_SHAPE: Final = re.compile(r"[!-~]{1,128}")


class _Progress(msgspec.Struct):
    """How a pass over the change feed makes progress, and how far it may go.

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
        """Why this pass is left, None while it makes progress."""
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
        self._key = ApiKey(api_key)
        if not self._key.usable():
            raise ConfigError(
                "The API key of SYNAPSE is not usable in a header. Nothing was sent."
                if self._key
                else "The API key of SYNAPSE is empty. Nothing was sent.",
                code="synapse_key_invalid",
                hint="Set SYNAPSE_API_KEY (or its *_FILE) to the key alone: printable, no spaces or line breaks.",
            )
        self._run_id = request_id or uuid.uuid4().hex[:12]
        self._calls = 0
        self._clock = clock or _now
        self._exchange = Exchange(
            self.url,
            self._key,
            self.project_id,
            timeout=timeout or Timeouts(),
            deadline=deadline,
            max_reply_bytes=max_reply_bytes,
            transport=transport,
            ca_file=ca_file,
            monotonic=monotonic,
        )
        self._retries = Retries(
            self._exchange,
            attempts=retry_attempts,
            delay=retry_delay,
            clock=self._clock,
            monotonic=monotonic,
            sleep=sleep,
            on_event=on_event,
        )
        self._alike = partial(
            SynapseClient,
            self.url,
            self._key,
            self.project_id,
            max_reply_bytes=max_reply_bytes,
            transport=transport,
            ca_file=ca_file,
            clock=clock,
            monotonic=monotonic,
            sleep=sleep,
            on_event=on_event,
        )
        self._capabilities: Capabilities | None = None

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

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> Batch:
        """One batch call, with the exact body that is sent.

        Errors as `wire.encode_batch`; the limit is SYNAPSE's own once its capabilities are known, else 5 MiB.
        """
        return wire.encode_batch(writes, max_body_bytes=self._max_body())

    def send(self, batch: Batch, *, key: str) -> Sequence[WriteResult | Echo]:
        """Send one batch under an idempotency key. Safe to repeat with the same key and body.

        One answer for each item sent, in the order sent; an item the answer did not settle is `unknown`, one that was
        created and is held exactly as sent is an `Echo`, if the batch says what it sends.
        Errors carry `details["may_have_been_applied"]`: False only if no attempt can have reached SYNAPSE's code.
        """
        if _IDEMPOTENCY_SHAPE.fullmatch(key) is None:
            raise ConfigError(
                "An idempotency key has 1 to 128 printable ASCII characters. Nothing was sent.",
                code="idempotency_key",
                hint="This is a fault of plant3d-sync; please report it.",
            )
        call = self._call(
            "POST",
            "/assets/batch",
            body=batch.body,
            headers={"Idempotency-Key": key, "Content-Type": "application/json"},
            writes=True,
        )
        return self._retries.run(call, lambda reply: self._results(call, reply, batch))

    def get(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        call = self._call("GET", f"/assets/{quote(asset_id, safe='')}")
        return self._retries.run(
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
        self._exchange.close()

    def without_retries(self) -> SynapseClient:
        """The same SYNAPSE, asked once a call and one asset a page: for `doctor`, which must not wait."""
        return self._alike(
            page_size=1,
            retry_attempts=1,
            timeout=Timeouts(connect=10.0, read=20.0, write=20.0),
            deadline=30.0,
            request_id=f"{self._run_id}.doctor",
        )

    # ---------------------------------------------------------------- one operation each

    def _ask_capabilities(self) -> Capabilities:
        moments: list[datetime] = []

        def read(reply: Reply) -> wire.Greeting:
            greeting = wire.read_capabilities(wire.load(reply.body))
            moments.append(self._clock())
            return greeting

        call = self._call("GET", "/capabilities")
        greeting = self._retries.run(call, read, before=lambda: moments.append(self._clock()))
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

        def read(reply: Reply) -> tuple[ChangePage, int]:
            page, last = wire.read_page(wire.load(reply.body), self.project_id, after=seq, totals=totals)
            if page.has_more and page.next_cursor in seen:
                raise WireError("the change feed promises more and stays at the same cursor")
            return page, last

        return self._retries.run(self._call("GET", "/assets/changes", query=query), read)

    def _results(self, call: Call, reply: Reply, batch: Batch) -> Sequence[WriteResult | Echo]:
        ids, results = batch.ids, list[WriteResult | Echo]()
        if batch.sent:
            results, extra = echo.read_briefly(reply.body, ids, self.project_id, batch.sent)
        else:
            whole, extra = wire.read_results(wire.load(reply.body), ids, self.project_id)
            results.extend(whole)
        if extra:
            self._retries.tell(
                "synapse.extra_results", {"request_id": call.request_id, "extra": extra, "sent": len(ids)}
            )
        replayed = reply.headers.get("idempotency-replayed") == "true"
        if replayed:
            self._retries.tell("synapse.replayed", {"request_id": call.request_id, "items": len(ids)})
        for result in results:
            if isinstance(result, WriteResult):
                result.replayed = replayed
                result.message = self._key.words(result.message)
        return results

    def _max_body(self) -> int:
        return self._capabilities.max_body_bytes if self._capabilities else wire.DEFAULT_BODY_BYTES

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        writes: bool = False,
    ) -> Call:
        self._calls += 1
        self.last_request_id = f"{self._run_id}.{self._calls}"
        return Call(
            method=method,
            path=wire.PREFIX + path,
            query=query or {},
            body=body,
            headers=headers or {},
            writes=writes,
            request_id=self.last_request_id,
        )


def _now() -> datetime:
    return datetime.now(UTC)
