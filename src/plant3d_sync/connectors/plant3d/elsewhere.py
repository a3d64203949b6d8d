"""Calls into a file system that may never come back, made where they can be left behind or ended.

A share that hangs holds whoever asks it, and no signal helps. What lies on one is asked by a process of its own that is
killed when the run may not wait any longer (`helper`). A disk of this machine is asked by a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TypeVar

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d import errors, helper
from plant3d_sync.connectors.plant3d.mounts import may_hang

T = TypeVar("T")

_left_behind: dict[str, Future[object]] = {}


def elsewhere(
    name: str, work: Callable[..., T], *arguments: object, seconds: float, places: Sequence[str | Path]
) -> T:
    """What `work(*arguments)` returns or raises; it reads only. `name`: the file, for people.

    `seconds`: how long the call may take by itself. `places`: the files and folders that it asks about; if one of them
    is not on a disk of this machine, `work` and `arguments` are pickled.

    Raises RetryLaterError `source_silent` when it hangs, at once as long as an earlier call for that file does,
    `source_helper` when the process that asked was ended by somebody else, and what the run of this thread must end with.
    """
    if not may_hang(*places):
        return in_a_thread(name, lambda: work(*arguments), seconds)
    asked = helper.take(name)
    try:
        with helper.failures(name, writes=False):
            return asked.call(work, *arguments, seconds=seconds + helper.SPARE)
    finally:
        helper.give_back(asked, name)


def written_elsewhere(
    name: str,
    work: Callable[..., T],
    *arguments: object,
    seconds: float,
    places: Sequence[str | Path] | None = None,
) -> T:
    """As `elsewhere` for what changes something: never left behind to change it later.

    On a disk of this machine it is a plain call. A helper that is killed changes nothing more from then on.
    `places`: None for what lies on no disk at all, such as a server.
    """
    if places is not None and not may_hang(*places):
        return work(*arguments)
    asked = helper.take(name)
    try:
        with helper.failures(name, writes=True):
            return asked.call(work, *arguments, seconds=seconds + helper.SPARE, grace=patience.GRACE)
    finally:
        helper.give_back(asked, name)


def in_a_thread(name: str, work: Callable[[], T], seconds: float) -> T:
    """As `elsewhere`, where whatever is asked comes back by itself some day, and reads only."""
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
    until = time.monotonic() + seconds + helper.SPARE
    try:
        while True:
            try:
                return made.result(patience.STEP)
            except FutureTimeout:
                if made.done():
                    raise
            patience.look()
            if time.monotonic() > until:
                raise errors.silent(name, seconds + helper.SPARE)
    finally:
        if not made.done():
            _left_behind[name] = made  # type: ignore[assignment]
