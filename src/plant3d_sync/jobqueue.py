"""The doorbell: Redis tells workers that a run waits. The run table is the queue; this may lose everything.

What rings is an RQ job in the queue `plant3d-sync`, written with RQ's JSON serializer and holding a run id and
nothing else. What listens takes the job apart itself and never imports or calls what a job names: with RQ's
own worker any importable function can be named in a job, whatever the serializer. So whoever can write into
this Redis can at most make a worker look into its table.

Without an address the bell is silent and the worker looks into the table once a second.
"""

from __future__ import annotations

import re
import socket
import threading
import time
import uuid
import zlib
from typing import Any, cast

import msgspec
import orjson
import redis
import rq
import structlog
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer

from plant3d_sync.address import Address, parse
from plant3d_sync.errors import ConfigError
from plant3d_sync.lookup import UnknownName, addresses

QUEUE = "plant3d-sync"
JOB_PREFIX = f"{QUEUE}-"
"""How the ids of our jobs begin. Other programs may share this Redis: no key but one of these is ever deleted."""

FUNCTION = "plant3d_sync.worker.main.carry_out"
"""The one name a job may hold. It is compared, never imported."""

MAX_PAYLOAD = 4096
"""Bytes of a job's payload; ours have about 100."""

RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
QUIET_SECONDS = 1.0
TIMEOUT = 2.0
"""Seconds for one call to Redis: a caller who rings is never held up for longer."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a wait brought: a run id, or the reason why a job was refused, or neither."""

    run_id: str | None = None
    refused: str | None = None
    job_id: str | None = None


NOTHING = Heard()

_log: structlog.stdlib.BoundLogger = structlog.get_logger("plant3d_sync")

ADDRESS = "redis://user:password@host:6379/0"
SCHEMES: dict[str, type[Connection] | type[UnixDomainSocketConnection]] = {}
"""How each kind of address is reached; filled below."""

LOG_EVERY = 60.0
"""Seconds. A Redis that is away says so once in this time, with the number of failures."""


class Bell:
    """Embedded: nobody rings across processes; within one process `ring` wakes whoever waits."""

    kind = "embedded"

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self, run_id: str) -> bool:
        """Say that a run waits (or, as a hint, that one is to be cancelled). True if somebody may hear it."""
        self._rung.set()
        return bool(run_id)

    def wait(self, seconds: float) -> Heard:
        """Wait for the bell, at most so long."""
        self._rung.wait(min(seconds, QUIET_SECONDS))
        self._rung.clear()
        return NOTHING

    def wake(self) -> None:
        """End a wait of this process."""
        self._rung.set()

    @property
    def trouble(self) -> str | None:
        """Why the last call did not work, None if it did. It holds no secret."""
        return None

    def alive(self) -> bool:
        """Whether the bell works."""
        return True

    def close(self) -> None:
        """Give the connections back."""


class _Found(Connection):
    """A connection whose server is looked up within a bound: the library would wait for the name server without end."""

    def _connect(self) -> socket.socket:
        _look_up(self.host)
        return cast("socket.socket", super()._connect())  # type: ignore[no-untyped-call]


class _FoundSecurely(SSLConnection):
    """The same with TLS."""

    def _connect(self) -> socket.socket:
        _look_up(self.host)
        return cast("socket.socket", super()._connect())  # type: ignore[no-untyped-call]


def _look_up(host: str) -> None:
    try:
        addresses(host)
    except UnknownName as error:
        raise redis.ConnectionError(str(error)) from error


SCHEMES |= {
    "redis": _Found,
    "valkey": _Found,
    "rediss": _FoundSecurely,
    "valkeys": _FoundSecurely,
    "unix": UnixDomainSocketConnection,
}


class RedisBell(Bell):
    """RQ's queue as the bell. `log`: False where the caller tells of `trouble` itself."""

    kind = "redis"

    def __init__(self, url: str, *, log: bool = True) -> None:
        super().__init__()
        self._log = log
        self._address = redis_address(url)
        self._redis = redis.Redis(connection_pool=_pool(self._address))
        self._trouble: str | None = None
        self._failures = 0
        self._said_at = -LOG_EVERY
        self._saying = threading.Lock()
        self._key = f"{rq.Queue.redis_queue_namespace_prefix}{QUEUE}"

    def ring(self, run_id: str) -> bool:
        """Put the run's id into RQ's queue. False if Redis cannot be reached: the run is found in the table."""
        try:
            queue = rq.Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)
            queue.enqueue_call(
                func=FUNCTION,
                args=(run_id,),
                job_id=f"{JOB_PREFIX}{uuid.uuid4().hex}",
                timeout=-1,  # our own deadline is checked between batches
                result_ttl=0,
                failure_ttl=60,
                ttl=86_400,
            )
        except redis.RedisError as error:
            self._failed(error)
            return False
        self._works()
        return True

    @property
    def trouble(self) -> str | None:
        """Why the last call to Redis did not work, None if it did. It holds no secret."""
        return self._trouble

    def _works(self) -> None:
        if self._trouble is None:
            return
        with self._saying:
            self._trouble, failures, self._failures, self._said_at = None, self._failures, 0, -LOG_EVERY
        if self._log:
            _log.info("redis.back", failures=failures)

    def _failed(self, error: redis.RedisError) -> None:
        """Remember why, and say it once a minute with how often it happened since."""
        why = self._address.hidden(str(error)) or type(error).__name__
        now = time.monotonic()
        with self._saying:
            self._trouble = f"{type(error).__name__}: {why}" if why != type(error).__name__ else why
            self._failures += 1
            if now - self._said_at < LOG_EVERY:
                return
            self._said_at, failures, self._failures = now, self._failures, 0
        if not self._log:
            return
        _log.warning("redis.failed", reason=self._trouble, redis=self._address.shown, failures=failures)

    def wait(self, seconds: float) -> Heard:
        """Wait for the bell, at most a second longer than Redis allows. A dead Redis is a quiet one."""
        if self._rung.is_set():
            self._rung.clear()
            return NOTHING
        try:
            heard = self._listen(max(1, int(min(seconds, TIMEOUT))))
        except redis.RedisError as error:
            self._failed(error)
            self._rung.wait(min(seconds, QUIET_SECONDS))
            self._rung.clear()
            return NOTHING
        self._works()
        return heard

    def _listen(self, seconds: int) -> Heard:
        try:
            _key, raw = rq.Queue.lpop([self._key], seconds, connection=self._redis)
        except DequeueTimeout:
            return NOTHING
        name = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        try:
            return self._open(name)
        except redis.ResponseError:
            return Heard(refused="a key that holds no job", job_id=name[:80])

    def _open(self, name: str) -> Heard:
        """Look at a job; it goes only if its id is one of ours, whoever put it into our queue."""
        key = f"rq:job:{name}"
        size = self._redis.hstrlen(key, "data")
        data = None if size > MAX_PAYLOAD else cast("bytes | None", self._redis.hget(key, "data"))
        if name.startswith(JOB_PREFIX):
            self._redis.delete(key)
        if size > MAX_PAYLOAD:
            return Heard(refused=f"payload of more than {MAX_PAYLOAD} bytes", job_id=name[:80])
        if data is None:
            return NOTHING  # evicted or expired: the table knows
        try:
            return Heard(run_id=_read(data), job_id=name[:80])
        except ValueError as error:
            return Heard(refused=str(error), job_id=name[:80])

    def alive(self) -> bool:
        """Whether Redis answers."""
        try:
            answered = bool(self._redis.ping())
        except redis.RedisError as error:
            self._failed(error)
            return False
        self._works()
        return answered

    def policy(self) -> str | None:
        """Redis' `maxmemory-policy`, None if it does not tell. Anything but `noeviction` may drop a ring."""
        try:
            answer = cast("dict[str, Any]", self._redis.config_get("maxmemory-policy"))
        except redis.RedisError:
            return None
        return str(answer.get("maxmemory-policy")) if answer else None

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()


def _read(data: bytes) -> str:
    """The run id of a job's payload. Raises ValueError naming what is wrong; nothing in it is executed."""
    text = _unpacked(data)
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError("payload that is not JSON") from error
    if not isinstance(payload, list) or len(payload) != 4:
        raise ValueError("payload that is not a job")
    function, instance, args, kwargs = payload
    if function != FUNCTION or instance is not None or kwargs:
        raise ValueError(f"function {str(function)[:80]!r}")
    if (
        not isinstance(args, list)
        or len(args) != 1
        or not isinstance(args[0], str)
        or not RUN_ID.match(args[0])
    ):
        raise ValueError("arguments that are not one run id")
    return args[0]


def _unpacked(data: bytes) -> bytes:
    """RQ compresses payloads with zlib; never more than `MAX_PAYLOAD` comes out."""
    if data[:1] != b"\x78":
        return data
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(data, MAX_PAYLOAD)
    except zlib.error as error:
        raise ValueError("payload that is not JSON") from error
    if unpack.unconsumed_tail:
        raise ValueError("payload that is too large")
    return text


def redis_address(url: str) -> Address:
    """REDIS_URL in its parts. Raises ConfigError `redis_url` without any part of it."""
    return parse(url, name="REDIS_URL", code="redis_url", example=ADDRESS)


def _pool(address: Address) -> ConnectionPool:
    """Connections to this Redis. Raises ConfigError for an address that is none of Redis'."""
    kind = SCHEMES.get(address.scheme)
    database = (address.query.get("db") or ["" if address.scheme == "unix" else address.path])[-1]
    if kind is None or (database and not (database.isascii() and database.isdigit())):
        raise ConfigError(
            f"REDIS_URL is no address of Redis ({address.shown}). Nothing was done.",
            hint=f"Write it like {ADDRESS}, rediss:// for TLS, unix:///path?db=0; the database is a number.",
            code="redis_url",
        )
    options: dict[str, Any] = {
        "db": int(database or 0),
        "username": address.user or None,
        "password": address.password or None,
        "socket_timeout": TIMEOUT + QUIET_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if address.scheme == "unix":
        options["path"] = "/" + address.path
    else:
        options |= {"host": address.host or "localhost", "port": address.port or 6379}
        options["socket_connect_timeout"] = TIMEOUT
    options |= {name: values[-1] for name, values in address.query.items() if name.startswith("ssl_")}
    return ConnectionPool(connection_class=kind, **options)


def make_bell(url: str | None) -> Bell:
    """The bell for REDIS_URL, or the silent one."""
    return RedisBell(url) if url else Bell()
