"""What a caller asks of a run."""

from __future__ import annotations

import threading
import time

import msgspec

from plant3d_sync.run.asked import Asked


class Request(msgspec.Struct, kw_only=True):
    """What a caller wants done. `run_id`: an already queued run to carry out.

    `attempt`: the claim under which it is carried out; a run that somebody else claimed since is left alone.
    `deadline`: when it must stop, on the monotonic clock: changing the wall clock cannot make a run late. `hurry`: set by
    another thread to have it stop before its next batch.
    """

    asked: Asked = msgspec.field(default_factory=Asked)
    dry_run: bool = False
    trigger: str = "cli"
    by: str = "cli"
    run_id: str | None = None
    attempt: int | None = None
    request_id: str | None = None
    deadline: float | None = None
    hurry: threading.Event = msgspec.field(default_factory=threading.Event)

    def is_late(self) -> bool:
        """Whether the run must stop now, to be carried on later."""
        return self.hurry.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)
