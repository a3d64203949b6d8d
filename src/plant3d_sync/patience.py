"""How long the work of this thread may still go on.

A run has one clock: its deadline, and whether somebody asked it to end. Whatever takes long (the next page, the next
rows, an answer of a peer, another process) looks at it while it waits, so no place of a run is out of its reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STEP = 0.2
"""Seconds between two looks of somebody who waits."""

GRACE = 1.0
"""Seconds that something begun and not to be torn, such as a batch on its way, may still take."""


class Patience:
    """`ended` gives the error a run must end with now, or None. It is asked often: it must be cheap."""

    def __init__(self, ended: Callable[[], Exception | None]) -> None:
        self._ended = ended
        self._since: float | None = None

    def look(self, grace: float = 0.0) -> None:
        """Raise what the run must end with, if it must for at least `grace` seconds."""
        error = self._ended()
        if error is None:
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since >= grace:
            raise error


_current: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def held(patience: Patience) -> Iterator[None]:
    """Whatever this thread does inside looks at this clock."""
    before = _current.set(patience)
    try:
        yield
    finally:
        _current.reset(before)


def look(grace: float = 0.0) -> None:
    """Raise what the run of this thread must end with, if it must end; nothing outside of a run."""
    patience = _current.get()
    if patience is not None:
        patience.look(grace)


def sleep(seconds: float) -> None:
    """Sleep, but no longer than the run of this thread may go on."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        look()
        time.sleep(min(STEP, left))
