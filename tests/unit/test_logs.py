"""No secret stands in a log, by whatever way it came there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from plant3d_sync import logs

SECRET = "canary-7Qf3"
LONGER = "canary-7Qf3-and-more"
CONNECTION = "Driver=x;Pwd=hunter2;Server=s"
ADDRESS = "postgresql://me:hunter2@host/db"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process that knows the two secrets logs."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers, root.level, structlog.get_config()
    logs.configure(secrets=[SECRET, LONGER], stream=stream)
    yield stream
    root.handlers, root.level = before[0], before[1]
    structlog.configure(**before[2])


def told(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize(
    "facts",
    [
        {"text": f"refused the key {SECRET} of somebody"},
        {"text": f"refused the key {LONGER} of somebody"},
        {"nested": {"inner": {"text": f"x{SECRET}x"}}},
        {"listed": ["fine", (f"x{SECRET}x",)]},
        {"api_key": "hunter2"},
        {"nested": {"Password": "hunter2"}},
        {"listed": [{"cookie": "hunter2"}]},
        {"address": ADDRESS},
        {"connection": CONNECTION},
        {"text": "the key p3s_live_hunter2_x was refused"},
    ],
    ids=str,
)
def test_a_secret_is_hidden_wherever_it_stands(written: io.StringIO, facts: dict[str, Any]) -> None:
    logs.get_logger().info("something.happened", **facts)
    text = written.getvalue()
    assert "hunter2" not in text and "canary" not in text and "and-more" not in text
    assert logs.HIDDEN in text and told(written)["event"] == "something.happened"


def test_a_secret_in_an_exception_is_hidden(written: io.StringIO) -> None:
    try:
        raise ValueError(f"the server said no to {SECRET}")
    except ValueError:
        logs.get_logger().exception("something.failed")
    assert "ValueError" in written.getvalue() and SECRET not in written.getvalue()


def test_a_secret_in_the_words_of_a_library_is_hidden(written: io.StringIO) -> None:
    logging.getLogger("some.library").warning("connecting with %s to %s", SECRET, ADDRESS)
    assert SECRET not in written.getvalue() and "hunter2" not in written.getvalue()
    assert told(written)["event"] == "library.message"


def test_what_is_no_secret_is_readable(written: io.StringIO) -> None:
    logs.get_logger().info("key.used", key_id="k-1", api_key=None, tag="P-1")
    found = told(written)
    assert (found["key_id"], found["api_key"], found["tag"]) == ("k-1", None, "P-1")
