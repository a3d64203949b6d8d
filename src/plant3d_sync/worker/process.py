"""What worker and scheduler processes have in common: how they are asked to end, and how others see them."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import chain, repeat
from types import FrameType
from typing import Any

from plant3d_sync import __version__
from plant3d_sync.errors import RetryLaterError, SyncError
from plant3d_sync.logs import get_logger
from plant3d_sync.run.project import World
from plant3d_sync.state import components

SIGNS_OF_LIFE = 5.0
"""Seconds between two entries in `component`."""

STOP_CODE = 143
"""Exit code of a process ended at once by a second signal, as a shell would report SIGTERM."""

WAIT_FOR_STATE = 300.0
"""Seconds that a starting process waits for a state database that does not answer yet."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between two tries; the last one repeats."""


class Stop:
    """Asked to end: by SIGTERM or Ctrl-C, by the end of the parent's pipe, or by another thread.

    The first time, the process ends at a safe point; the second time at once (what was written is recorded).
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._then: list[Callable[[], None]] = []
        self.failure: BaseException | None = None
        """What ended a thread of this process that should have gone on."""

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until somebody asks."""
        return self._asked.wait(seconds)

    def ask(self) -> None:
        """End at the next safe point."""
        with self._lock:
            first, calls = not self._asked.is_set(), list(self._then)
            self._asked.set()
        if first:
            for call in calls:
                call()

    def then(self, call: Callable[[], None]) -> None:
        """Call this when somebody asks."""
        with self._lock:
            asked = self._asked.is_set()
            self._then.append(call)
        if asked:
            call()

    def not_then(self, call: Callable[[], None]) -> None:
        """Do not call this any more: what it is about has ended."""
        with self._lock:
            self._then.remove(call)

    def listen(self) -> None:
        """Listen to signals; only in the main thread."""
        for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self._signal)

    def _signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            os._exit(STOP_CODE)
        # A handler may interrupt a thread that holds the lock or is writing a log line: ask from outside.
        threading.Thread(target=self.ask, name="stop", daemon=True).start()

    def when_parent_ends(self) -> None:
        """End when the parent closes our stdin or dies: works on every system, even after kill -9 of the parent."""

        def watch() -> None:
            while sys.stdin.buffer.read(1024):
                pass
            self.ask()

        threading.Thread(target=watch, name="parent", daemon=True).start()

    def when_a_thread_fails(self) -> None:
        """End when a thread does: whoever started this process starts it again, with all its threads."""

        before = threading.excepthook

        def failed(arguments: threading.ExceptHookArgs) -> None:
            before(arguments)
            name = arguments.thread.name if arguments.thread is not None else "?"
            get_logger().error("thread.failed", thread=name, error=arguments.exc_type.__name__)
            self.failure = arguments.exc_value
            self.ask()

        threading.excepthook = failed

    def raise_failure(self) -> None:
        """Tell the failure of a thread as the process' own."""
        if self.failure is not None:
            raise self.failure


def wait_for_state(open_state: Callable[[], object], stop: Stop, *, patience: float = WAIT_FOR_STATE) -> bool:
    """Try until the state database answers, as after the start of a whole machine. False if asked to stop meanwhile.

    Only what passes by itself is waited for: a wrong password or another schema raises ConfigError at once, and after
    `patience` seconds of waiting RetryLaterError tells what stood in the way.
    """
    waited = 0.0
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        try:
            open_state()
            return not stop.is_set()
        except RetryLaterError as error:
            if waited + pause > patience:
                raise
            get_logger().warning(
                "state.waiting", code=error.error_code, reason=error.message, again_in=pause, waited=waited
            )
        if stop.wait(pause):
            return False
        waited += pause
    raise AssertionError("pauses have no end")


class Presence:
    """This process' row in `component`, renewed every few seconds, removed at a graceful end."""

    def __init__(self, world: World, kind: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._world = world
        self._kind = kind
        self._facts = facts
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="presence", daemon=True)
        self.name = f"{kind}:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        """A row of its own: two containers may share host name and process number."""

    def __enter__(self) -> Presence:
        self._try_to_show()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=SIGNS_OF_LIFE)
        try:
            with self._world.state.write() as connection:
                components.remove(connection, self.name)
        except SyncError as error:
            get_logger().warning("presence.not_removed", code=error.error_code)

    def show(self) -> None:
        """Write the row now."""
        facts = {"version": __version__, "pid": os.getpid(), **self._facts()}
        with self._world.state.write() as connection:
            components.show(connection, self.name, kind=self._kind, at=self._world.clock(), facts=facts)

    def _loop(self) -> None:
        while not self._ended.wait(SIGNS_OF_LIFE):
            self._try_to_show()

    def _try_to_show(self) -> None:
        try:
            self.show()
        except SyncError as error:
            get_logger().warning("presence.postponed", code=error.error_code, reason=error.message)
