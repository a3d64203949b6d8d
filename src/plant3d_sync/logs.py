"""Logs: one JSON object a line, or text for people; constant event names; no secret ever.

`event` is a constant such as `run.started`; what differs stands in fields. Ids of the run and the request are
bound once (`structlog.contextvars`) and stand in every line of that thread. Times are UTC. Lines of libraries
(web server, wake-up) pass through the same chain. Everything goes to stderr: stdout is for data.
"""

from __future__ import annotations

import atexit
import copy
import logging
import re
import sys
import threading
import time
from collections.abc import Hashable, Iterable, MutableMapping
from typing import Any, TextIO

import structlog

from plant3d_sync.address import HIDDEN, MASK, without

SECRET_KEYS = re.compile(r"password|passwd|secret|api_?key|authorization|token|cookie|pwd\b", re.IGNORECASE)
NOT_SECRET = frozenset({"key_id", "mapping_token"})


class Redaction:
    """A processor that hides secrets by field name, by form, and by value."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Every field, at any depth."""
        for name in list(event):
            event[name] = self._field(name, event[name])
        return event

    def _field(self, name: str, value: Any) -> Any:
        if SECRET_KEYS.search(name) and name not in NOT_SECRET and value is not None:
            return HIDDEN
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._field(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return value

    def text(self, text: str) -> str:
        """A text without secrets."""
        return MASK.text(without(text, *self._secrets))


class OncePerMinute(logging.Handler):
    """Passes a warning or an error on once a minute, with how often it came since; whatever else differs passes at once.

    Somebody outside can make a server say the same thing a thousand times a second: that fills a disk, no more.
    """

    def __init__(self, target: logging.Handler, *, window: float = 60.0, most: int = 1000) -> None:
        super().__init__()
        self._target = target
        self._window = window
        self._most = most
        self._seen: dict[Hashable, _Repeated] = {}
        self._seen_lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, or count it."""
        if record.levelno < logging.WARNING:
            self._target.handle(record)
            return
        what, now = _what_it_says(record), time.monotonic()
        with self._seen_lock:
            known = self._seen.get(what)
            if known is not None and now - known.since < self._window:
                known.count += 1
                known.last = record
                self._start_sweeper()
                return
            if len(self._seen) >= self._most:
                self._seen.pop(next(iter(self._seen)))
            self._seen.pop(what, None)
            self._seen[what] = _Repeated(now)
        if known is not None and known.last is not None:
            record = _with_count(record, known.count + 1)
        self._target.handle(record)

    def _start_sweeper(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Thread(target=self._sweep, name="log", daemon=True)
            self._sweeper.start()

    def _sweep(self) -> None:
        """Tell what was counted when its minute is over; end when nothing is counted any more."""
        while True:
            time.sleep(min(self._window, 1.0))
            self.tell(older_than=time.monotonic() - self._window)
            with self._seen_lock:
                if not any(one.last for one in self._seen.values()):
                    self._sweeper = None
                    return

    def tell(self, *, older_than: float = float("inf")) -> None:
        """Tell now what was counted for lines first said before this moment."""
        with self._seen_lock:
            due = [one for one in self._seen.values() if one.last is not None and one.since <= older_than]
            told = [_with_count(one.last, one.count) for one in due if one.last is not None]
            for one in due:
                one.last, one.count, one.since = None, 0, time.monotonic()
        for record in told:
            self._target.handle(record)


class _Repeated:
    """A line that was said: when, and how often since."""

    __slots__ = ("count", "last", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0
        self.last: logging.LogRecord | None = None


def _what_it_says(record: logging.LogRecord) -> Hashable:
    """The same for two lines that say the same thing: text, values, and the place of an exception."""
    error = record.exc_info[1] if record.exc_info and record.exc_info[1] else None
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = (type(error), trace.tb_frame.f_code, trace.tb_lineno) if trace is not None else None
    said = (
        tuple(sorted((str(name), repr(value)) for name, value in record.msg.items() if name != "timestamp"))
        if isinstance(record.msg, dict)
        else (str(record.msg), repr(record.args))
    )
    return record.name, record.levelno, said, place


def _with_count(record: logging.LogRecord, count: int) -> logging.LogRecord:
    """The record with how often it came."""
    counted = copy.copy(record)
    if isinstance(counted.msg, dict):
        counted.msg = {**counted.msg, "repeated": count}
    else:
        counted.repeated = count
    return counted


def configure(
    *,
    level: str = "INFO",
    form: str = "json",
    secrets: Iterable[str] = (),
    service: str = "plant3d-sync",
    stream: TextIO | None = None,
) -> None:
    """Set logging up for this process. `form`: `json` or `console`. `secrets`: values that never appear."""
    redaction = Redaction(secrets)
    chosen = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    before_output: list[Any] = [structlog.processors.format_exc_info, _service(service), redaction]
    output: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=chosen.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _foreign],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *before_output, output],
    )
    handler = logging.StreamHandler(chosen)
    handler.setFormatter(formatter)
    calm = OncePerMinute(handler)
    atexit.register(calm.tell)
    root = logging.getLogger()
    root.handlers = [calm]
    root.setLevel(_level(level))
    for name in ("apscheduler", "alembic", "rq", "uvicorn.access", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(max(_level(level), logging.WARNING))
    for name in ("uvicorn", "uvicorn.error"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_level(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _level(name: str) -> int:
    return logging.getLevelNamesMapping().get(name.upper(), logging.INFO)


def _service(name: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = name
        return event

    return add


def _foreign(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's sentence becomes a field; the event name stays constant."""
    event["message"], event["event"] = event.get("event"), "library.message"
    record = event.get("_record")
    event["logger"] = record.name if record is not None else None
    if (repeated := getattr(record, "repeated", None)) is not None:
        event["repeated"] = repeated
    return event


def get_logger() -> structlog.stdlib.BoundLogger:
    """The logger of this process."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("plant3d_sync")
    return logger


def bind(**ids: object) -> None:
    """Put ids into every further line of this thread, e.g. run_id, request_id, project."""
    structlog.contextvars.bind_contextvars(**ids)


def unbind() -> None:
    """Forget them."""
    structlog.contextvars.clear_contextvars()
