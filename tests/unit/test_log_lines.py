"""A log says the same thing once a minute, with how often it happened."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from plant3d_sync import logs
from plant3d_sync.logs import OncePerMinute


class Kept(logging.Handler):
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def logger(target: Kept, **more: float) -> logging.Logger:
    made = logging.Logger("somebody.else")
    made.addHandler(OncePerMinute(target, **more))  # type: ignore[arg-type]
    return made


def counts(kept: Kept) -> list[int | None]:
    return [getattr(record, "repeated", None) for record in kept.records]


def test_a_line_that_comes_again_is_written_once_and_counted(kept: Kept) -> None:
    log = logger(kept)
    for _ in range(5000):
        log.warning("Invalid HTTP request received.")
    assert counts(kept) == [None]
    handler = log.handlers[0]
    assert isinstance(handler, OncePerMinute)
    handler.tell()
    assert counts(kept) == [None, 4999]
    handler.tell()
    assert counts(kept) == [None, 4999]


def test_what_differs_is_written_at_once(kept: Kept) -> None:
    log = logger(kept)
    for number in range(10):
        log.warning("request %s failed", number)
    assert len(kept.records) == 10


def test_news_that_are_no_trouble_are_never_counted(kept: Kept) -> None:
    log = logger(kept)
    for _ in range(10):
        log.info("run.ended")
    assert len(kept.records) == 10


def test_two_faults_of_one_sentence_are_two(kept: Kept) -> None:
    log = logger(kept)
    for fault in (ValueError("a"), KeyError("b"), ValueError("a")):
        try:
            raise fault
        except (ValueError, KeyError):
            log.exception("Exception in ASGI application")
    assert len(kept.records) == 2


def test_after_its_minute_it_is_written_again_with_the_number(kept: Kept) -> None:
    log = logger(kept, window=0.0)
    for _ in range(3):
        log.warning("again")
    assert counts(kept) == [None, None, None]


def test_lines_that_all_differ_take_no_memory_for_ever(kept: Kept) -> None:
    log = logger(kept, most=50)
    for number in range(500):
        log.error("no %s", number)
    handler = log.handlers[0]
    assert isinstance(handler, OncePerMinute)
    assert len(handler._seen) <= 50


@pytest.fixture
def configured() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, stream = root.handlers, io.StringIO()
    logs.configure(stream=stream)
    yield stream
    root.handlers = before


def test_a_library_and_our_own_lines_are_both_counted_in_a_field(configured: io.StringIO) -> None:
    for _ in range(100):
        logging.getLogger("some.library").warning("Invalid HTTP request received.")
        logs.get_logger().warning("worker.postponed", code="state_busy")
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, OncePerMinute)
    handler.tell()
    lines = [json.loads(line) for line in configured.getvalue().splitlines()]
    told = [(line["event"], line.get("repeated")) for line in lines]
    assert sorted(told, key=str) == [
        ("library.message", 99),
        ("library.message", None),
        ("worker.postponed", 99),
        ("worker.postponed", None),
    ]
