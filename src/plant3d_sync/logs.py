"""Logs: one JSON object a line, or text for people; constant event names; no secret ever.

`event` is a constant such as `run.started`; what differs stands in fields. Ids of the run and the request are
bound once (`structlog.contextvars`) and stand in every line of that thread. Times are UTC. Lines of libraries
(web server, wake-up) pass through the same chain. Everything goes to stderr: stdout is for data.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import structlog

SECRET_KEYS = re.compile(r"password|passwd|secret|api_?key|authorization|token|cookie|pwd\b", re.IGNORECASE)
NOT_SECRET = frozenset({"key_id", "mapping_token"})
HIDDEN = "***"

_IN_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@")
_OUR_KEY = re.compile(r"p3s_[A-Za-z0-9]+_[A-Za-z0-9_-]+")
_ODBC = re.compile(r"(?i)\b(pwd|password)\s*=\s*[^;\s]+")


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
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _IN_URL.sub(rf"\g<scheme>:{HIDDEN}@", text)
        text = _OUR_KEY.sub("p3s_" + HIDDEN, text)
        return _ODBC.sub(rf"\1={HIDDEN}", text)


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
    root = logging.getLogger()
    root.handlers = [handler]
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
