"""Calls into a file system that may never come back, made where they can be left behind.

A share that hangs holds whoever asks it, and no signal helps. So the asking is done by a thread of its own; the run
waits for it only as long as it may, and the thread ends when the share comes back or the process ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d import errors

T = TypeVar("T")

SPARE = 5.0
"""Seconds beyond the time a call has for itself after which it counts as hanging."""

_left_behind: dict[str, Future[object]] = {}


def elsewhere(name: str, work: Callable[[], T], *, seconds: float) -> T:
    """What `work` returns or raises. `name`: the file, for people; `seconds`: how long the call may take by itself.

    Raises RetryLaterError `source_silent` when it hangs, at once as long as an earlier call for that file does, and
    what the run of this thread must end with.
    """
    before = _left_behind.get(name)
    if before is not None and not before.done():
        raise errors.silent(name, 0.0)
    _left_behind.pop(name, None)
    made: Future[T] = Future()

    def call() -> None:
        try:
            made.set_result(work())
        except Exception as error:  # noqa: BLE001  (handed to whoever waits)
            made.set_exception(error)
        finally:
            made.cancel()  # whatever else happened, nobody waits without end

    threading.Thread(target=call, name="source", daemon=True).start()
    until = time.monotonic() + seconds + SPARE
    try:
        while True:
            try:
                return made.result(patience.STEP)
            except FutureTimeout:
                if made.done():
                    raise
            patience.look()
            if time.monotonic() > until:
                raise errors.silent(name, seconds + SPARE)
    finally:
        if not made.done():
            _left_behind[name] = made  # type: ignore[assignment]
