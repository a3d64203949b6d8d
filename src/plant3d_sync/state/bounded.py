"""A connection to PostgreSQL that never waits for an answer without an end.

A server that is frozen (stopped, paused, its disk gone) answers nothing and closes nothing, and the system keeps the
line up for it: no option of the driver or the server ends such a wait. So each wait has a clock here.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

RV = TypeVar("RV")

LINE = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""A line that is cut without a word is noticed within half a minute; an address may say otherwise."""


HURRY_SECONDS = 2.0
"""How long an answer may still take once this process was asked to end."""

_asked_to_end: list[float] = []


def hurry() -> None:
    """This process is to end: from now on nobody in it waits long for a server that says nothing."""
    _asked_to_end.append(time.monotonic())


class BoundedConnection(psycopg.Connection[Any]):
    """Raises OperationalError, and is closed, when a statement got no answer within `answer_seconds`."""

    answer_seconds: float

    def wait(self, gen: Generator[Any, Any, RV], *arguments: Any, **options: Any) -> RV:
        """As the driver waits, with a clock. Whether the statement was carried out is not known then."""
        try:
            return super().wait(_until(gen, self.answer_seconds), *arguments, **options)
        except _NoAnswer as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server gave no answer within {self.answer_seconds:g} seconds"
            ) from error


class _NoAnswer(Exception):
    """The clock of a wait ran out."""


def _until(gen: Generator[Any, Any, RV], seconds: float) -> Generator[Any, Any, RV]:
    """The driver's own steps. It asks several times a second whether something came; nothing for too long is an error."""
    begun = time.monotonic()
    end = begun + seconds
    try:
        wanted = next(gen)
        while True:
            came = yield wanted
            if not came and time.monotonic() > end:
                raise _NoAnswer
            if _asked_to_end and not came and time.monotonic() > max(begun, _asked_to_end[0]) + HURRY_SECONDS:
                raise _NoAnswer
            wanted = gen.send(came)
    except StopIteration as over:
        result: RV = over.value
        return result
