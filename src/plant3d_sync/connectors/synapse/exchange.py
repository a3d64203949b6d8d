"""One exchange with SYNAPSE: a request, and its whole answer before the deadline.

A failure comes back as a value, `Transient` or `Stop`, made where no driver error can hang on it: those hold the request,
and the key is in its headers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from plant3d_sync.connectors.synapse.address import ApiKey
from plant3d_sync.connectors.synapse.errors import Stop, Transient, untrusted
from plant3d_sync.failpoints import failpoint

if TYPE_CHECKING:
    import httpx2

    from plant3d_sync.connectors.synapse.transport import Deadline

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until a connection, the next bytes read or written; `call` bounds one exchange as a whole."""

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as data. `writes`: whether it may change something over there."""

    method: str
    path: str
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    writes: bool = False
    request_id: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, still unread: `media` is the content type without parameters, in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    media: str

    @property
    def is_json(self) -> bool:
        return self.media == "application/json" or self.media.endswith("+json")


class Exchange:
    """The connection to one SYNAPSE for one project; made at the first call. One per thread.

    `deadline`: seconds one exchange may last whatever trickles in. `ca_file`: certificates (PEM) to trust instead of the
    system's.
    """

    def __init__(
        self,
        url: str,
        key: ApiKey,
        project_id: str,
        *,
        timeout: Timeouts,
        deadline: float,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        transport: httpx2.BaseTransport | None = None,
        ca_file: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.project_id = project_id
        self.key = key
        self._timeout = timeout
        self._deadline_seconds = deadline
        self._max_reply = max_reply_bytes
        self._transport = transport
        self._ca_file = ca_file
        self._monotonic = monotonic
        self._http: httpx2.Client | None = None
        self._deadline: Deadline | None = None

    def transmit(self, call: Call) -> Reply | Exception:
        """One request and its whole answer. Failures are returned, not raised: they must not carry the request."""
        import httpx2

        http = self._client()
        target = self.url + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        headers = {
            "X-API-Key": self.key.get_secret_value(),
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
                return Reply(
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
        """A connection that did not come about."""
        refused = untrusted(self.url, error)
        if refused is not None:
            return Stop(refused)
        words = "no connection in time" if type(error).__name__.endswith("Timeout") else "no connection"
        return Transient(words, delivered=False)

    def _client(self) -> httpx2.Client:
        if self._http is None:
            import httpx2

            from plant3d_sync.connectors.synapse.transport import Deadline, DeadlineTransport, tls_for

            self._deadline = Deadline(self._monotonic)
            transport = self._transport or DeadlineTransport(self._deadline, tls_for(self.url, self._ca_file))
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

    def close(self) -> None:
        """Give connections back. The next call would open new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None
