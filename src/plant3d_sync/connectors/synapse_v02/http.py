"""Calls to SYNAPSE 0.2: login, its rate, and what a failed call leaves open.

A login is repeated when its token ends. A write whose answer is lost is never repeated here: `Lost` says so, and who
called reads back first. Reads, and creations whose id we chose, can be repeated.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec
import orjson

from plant3d_sync import patience
from plant3d_sync.connectors.synapse import errors as contract_errors
from plant3d_sync.connectors.synapse.address import Secret, root_of
from plant3d_sync.connectors.synapse.exchange import MAX_REPLY_BYTES, Timeouts
from plant3d_sync.connectors.synapse_v02 import errors
from plant3d_sync.errors import ConfigError, SyncError
from plant3d_sync.failpoints import failpoint

if TYPE_CHECKING:
    import httpx2

    from plant3d_sync.connectors.synapse.transport import Deadline

BASE: Final = "/api/v1"
CONNECTIONS: Final = 4
REQUESTS_PER_SECOND: Final = 25.0
"""Safe behind the proxy of SYNAPSE 0.2, which lets 30 a second through."""
BURST: Final = 20
RENEW_BEFORE: Final = 60.0
"""Seconds before the end of a token at which we log in again."""
_UNREADABLE_TOKEN: Final = 1500.0
"""Seconds for which a token is used whose end we cannot read."""
_REFUSALS: Final = 7
"""How often one call waits for a proxy that asks nothing but less haste."""
_PAUSE: Final = 0.5
_WORDS: Final = 300

Hear = Callable[[str, Mapping[str, object]], None]


class Lost(Exception):
    """A write whose answer did not come: it may be done. `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Failed(Exception):
    """One exchange failed. `delivered`: whether the other side may have acted on it."""

    def __init__(self, reason: str, *, delivered: bool) -> None:
        super().__init__(reason)
        self.reason, self.delivered = reason, delivered


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int
    body: bytes
    media: str
    location: str = ""

    def json(self) -> object:
        """The body as JSON; None where it is none."""
        if "json" not in self.media:
            return None
        try:
            value: object = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return value

    @property
    def detail(self) -> str:
        """What SYNAPSE says about a refusal."""
        value = self.json()
        said = value.get("detail") if isinstance(value, dict) else None
        return said if isinstance(said, str) else ""


class Pace:
    """How many calls a second are made at most; fewer when a proxy refuses some; shared by all threads of a client."""

    def __init__(
        self,
        rate: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = patience.sleep,
    ) -> None:
        self._most = self.rate = rate
        self._level = 0.0
        self._monotonic, self._sleep = monotonic, sleep
        self._at = monotonic()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait for this call's turn."""
        with self._lock:
            if not self.rate:
                return
            now = self._monotonic()
            self._level = max(0.0, self._level - (now - self._at) * self.rate)
            self._at = now
            self._level += 1
            wait = (self._level - BURST) / self.rate
        if wait > 0:
            self._sleep(wait)

    def refused(self) -> None:
        """A proxy found us too fast."""
        with self._lock:
            self.rate = max(1.0, (self.rate or REQUESTS_PER_SECOND) / 2)
            self._level = max(self._level, float(BURST))

    def passed(self) -> None:
        """A call went through: come back to the old rate, slowly."""
        with self._lock:
            if self.rate and (not self._most or self.rate < self._most):
                self.rate = min(self._most or REQUESTS_PER_SECOND, self.rate * 1.01)


class Http:
    """The calls of one project, logged in as one user. May be used by several threads at once."""

    def __init__(
        self,
        url: str,
        user: str,
        password: str | Secret,
        project_id: str,
        *,
        requests_per_second: float = REQUESTS_PER_SECOND,
        retry_attempts: int = 3,
        retry_delay: float = 30.0,
        timeout: Timeouts | None = None,
        deadline: float = 120.0,
        transport: httpx2.BaseTransport | None = None,
        request_id: str | None = None,
        ca_file: str | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = patience.sleep,
        on_event: Hear | None = None,
    ) -> None:
        self.url = root_of(url)
        self.user = user
        self.project_id = project_id
        self.calls = 0
        self._password = password
        self._attempts, self._delay = max(1, retry_attempts), max(0.0, retry_delay)
        self._timeout, self._deadline_seconds = timeout or Timeouts(), deadline
        self._transport, self._ca_file = transport, ca_file
        self._run_id = request_id or uuid.uuid4().hex[:12]
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        self._on_event = on_event
        self._pace = Pace(requests_per_second, monotonic=monotonic, sleep=sleep)
        self._token, self._token_until = "", 0.0
        self._lock, self._login_lock = threading.Lock(), threading.Lock()
        self._http: httpx2.Client | None = None
        self._deadline: Deadline | None = None

    # ---------------------------------------------------------------- what is called

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        """Read; repeated after a failure."""
        return self._patiently("GET", path, query or {}, b"")

    def post(self, path: str, body: bytes) -> Reply:
        """Create with an id that we chose, so that it can be repeated. Raises Lost when repeats do not help."""
        try:
            return self._called("POST", path, {}, body, repeats=True)
        except _Failed as failure:
            raise self._lost(failure) from None

    def patch(self, path: str, body: bytes) -> Reply:
        """Write once. Raises Lost if it may be done, RetryLaterError if it surely is not."""
        try:
            return self._called("PATCH", path, {}, body, repeats=False)
        except _Failed as failure:
            raise self._lost(failure) from None

    def open_get(self, path: str) -> Reply:
        """Read something that needs no login, from the root."""
        return self._patiently("GET", path, {}, b"", base="", login=False)

    def close(self) -> None:
        """Give connections back."""
        if self._http is not None:
            self._http.close()
            self._http = None

    # ---------------------------------------------------------------- repeats

    def _lost(self, failure: _Failed) -> Exception:
        if failure.delivered:
            return Lost(failure.reason)
        return errors.gave_up(self.url, failure.reason, False)

    def _patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        *,
        base: str = BASE,
        login: bool = True,
    ) -> Reply:
        reason = ""
        for attempt in range(1, self._attempts + 1):
            try:
                return self._called(method, path, query, body, repeats=True, base=base, login=login)
            except _Failed as failure:
                reason = failure.reason
            if attempt < self._attempts:
                self._tell(
                    "synapse.retry",
                    {
                        "path": path,
                        "attempt": attempt,
                        "attempts": self._attempts,
                        "reason": reason,
                        "wait_seconds": self._delay,
                    },
                )
                self._sleep(self._delay)
        raise errors.gave_up(self.url, reason, None)

    def _called(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        *,
        repeats: bool,
        base: str = BASE,
        login: bool = True,
    ) -> Reply:
        """One call to its end: pauses for the proxy, one repeat on a fresh connection, one renewed login."""
        broken = renewed = False
        refusals = 0
        while True:
            token = self._current_token() if login else ""
            try:
                reply = self._exchange(method, base + path, query, body, token)
            except _Failed as failure:
                if broken or not (repeats or not failure.delivered):
                    raise
                broken = True
                continue
            if reply.status in (429, 503):
                refusals += 1
                self._pace.refused()
                if refusals > _REFUSALS:
                    raise _Failed(f"it answered {reply.status} {refusals} times", delivered=False)
                self._sleep(min(8.0, _PAUSE * 2 ** (refusals - 1)))
                continue
            if reply.status == 401 and login and not renewed:
                renewed = True
                self._forget(token)
                continue
            self._pace.passed()
            if reply.status in (502, 504):
                raise _Failed(f"it answered {reply.status}", delivered=True)
            return self._judged(reply, login)

    def _judged(self, reply: Reply, login: bool) -> Reply:
        """The answer, unless it says that nothing will work like this."""
        if 300 <= reply.status < 400:
            raise contract_errors.redirected(self.url, "", None, {"status": reply.status})
        if login and reply.status == 401:
            raise errors.login_refused(self.url, self.user)
        if login and reply.status == 400 and "inactive" in reply.detail.lower():
            raise errors.user_inactive(self.url, self.user)
        if login and reply.status == 403:
            raise contract_errors.forbidden(self.url, self.project_id, None, {"status": 403})
        return reply

    # ---------------------------------------------------------------- the login

    def _current_token(self) -> str:
        with self._login_lock:
            if not self._token or self._clock() >= self._token_until - RENEW_BEFORE:
                self._log_in()
            return self._token

    def _forget(self, token: str) -> None:
        with self._login_lock:
            if self._token == token:
                self._token = ""

    def _log_in(self) -> None:
        word = self._password if isinstance(self._password, str) else self._password.get_secret_value()
        form = urlencode({"username": self.user, "password": word}).encode()
        reason = ""
        for attempt in range(1, self._attempts + 1):
            try:
                reply = self._called("POST", "/auth/login", {}, form, repeats=True, login=False)
            except _Failed as failure:
                reason = failure.reason
            else:
                if reply.status < 500:
                    self._keep_token(reply)
                    return
                reason = f"its login answered {reply.status}"
            if attempt < self._attempts:
                self._sleep(self._delay)
        raise errors.gave_up(self.url, reason, False)

    def _keep_token(self, reply: Reply) -> None:
        if reply.status in (400, 401, 403):
            if "inactive" in reply.detail.lower():
                raise errors.user_inactive(self.url, self.user)
            raise errors.login_refused(self.url, self.user)
        value = reply.json()
        token = value.get("access_token") if isinstance(value, dict) else None
        if reply.status != 200 or not isinstance(token, str) or not token.isascii() or not token:
            if reply.status == 200 and "json" not in reply.media:
                raise contract_errors.not_json(self.url, reply.media, None, {"status": 200})
            raise errors.login_unusable(self.url, reply.status)
        self._token, self._token_until = token, _end_of(token, self._clock())

    # ---------------------------------------------------------------- one exchange

    def _exchange(self, method: str, path: str, query: Mapping[str, str], body: bytes, token: str) -> Reply:
        import httpx2

        self._pace.take()
        http = self._client()
        with self._lock:
            self.calls += 1
            call_id = f"{self._run_id}.{self.calls}"
        headers = {
            "Accept": "application/json, text/csv",
            "Accept-Encoding": "identity",
            "X-Request-ID": call_id,
            "X-Project-ID": self.project_id,
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body:
            form = path.endswith("/auth/login")
            headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        target = self.url + path + (f"?{urlencode(query)}" if query else "")
        begun = self._monotonic()
        until = begun + self._deadline_seconds
        if self._deadline is not None:
            self._deadline.until = until
        failure: _Failed | ConfigError | None = None
        reply = Reply(status=0, body=b"", media="")
        try:
            with http.stream(method, target, content=body or None, headers=headers) as response:
                if method != "GET" and token:
                    failpoint("pull.request_sent")
                chunks: list[bytes] = []
                size = 0
                for chunk in response.iter_raw():
                    size += len(chunk)
                    chunks.append(chunk)
                    if size > MAX_REPLY_BYTES or self._monotonic() > until:
                        failure = _Failed("no complete answer in time", delivered=True)
                        break
                reply = Reply(
                    status=response.status_code,
                    body=b"".join(chunks),
                    media=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                    location=response.headers.get("location", ""),
                )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            failure = self._unreached(error)
        except httpx2.TimeoutException:
            failure = _Failed("no complete answer in time", delivered=True)
        except httpx2.LocalProtocolError:
            failure = _Failed("the request could not be written", delivered=False)
        except httpx2.TransportError as error:
            failure = _Failed(f"the connection broke ({type(error).__name__})", delivered=True)
        finally:
            if self._deadline is not None:
                self._deadline.until = None
        facts: dict[str, object] = {
            "method": method,
            "path": path,
            "request_id": call_id,
            "milliseconds": round((self._monotonic() - begun) * 1000, 1),
            "bytes_sent": len(body),
        }
        if failure is not None:
            self._tell("synapse.call", {**facts, "failure": str(failure)})
            raise failure
        self._tell("synapse.call", {**facts, "status": reply.status, "bytes_read": len(reply.body)})
        return reply

    def _unreached(self, error: Exception) -> _Failed | ConfigError:
        return contract_errors.untrusted(self.url, error) or _Failed("no connection", delivered=False)

    def _client(self) -> httpx2.Client:
        with self._lock:
            if self._http is None:
                import httpx2

                from plant3d_sync.connectors.synapse.transport import Deadline, DeadlineTransport, tls_for

                self._deadline = Deadline(self._monotonic)
                self._http = httpx2.Client(
                    transport=self._transport
                    or DeadlineTransport(self._deadline, tls_for(self.url, self._ca_file)),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=httpx2.Timeout(
                        connect=self._timeout.connect,
                        read=self._timeout.read,
                        write=self._timeout.write,
                        pool=30.0,
                    ),
                )
            return self._http

    def _tell(self, name: str, facts: Mapping[str, object]) -> None:
        if self._on_event is not None:
            with self._lock:
                self._on_event(name, facts)


def _end_of(token: str, now: float) -> float:
    """When a token ends, by what it says itself."""
    try:
        part = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        end = claims["exp"]
    except (IndexError, KeyError, TypeError, binascii.Error, ValueError):
        return now + _UNREADABLE_TOKEN
    return float(end) if isinstance(end, int | float) else now + _UNREADABLE_TOKEN


__all__ = ["Http", "Lost", "Reply", "SyncError"]
