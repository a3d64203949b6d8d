"""Named places where a test makes the process end, freeze or fail.

Inert unless `P3DSYNC_TEST=1` and `P3DSYNC_FAILPOINTS=name:n[:how][,name:n[:how]]`. What happens at the n-th
passage of that name (from 1):

- `kill` (if nothing is said): the process ends at once, as a power cut would: no `finally`, no `atexit`.
- `stop`: it freezes until somebody sends SIGCONT.
- `raise`: a RuntimeError, as a fault in the program would.
- `memory`: a MemoryError, as a full memory would.

Every side effect of a run has one point before and one after it; `plant3d-sync failpoints` lists them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter

PULL_POINTS: tuple[str, ...] = (
    "run.row_stored",
    "lease.taken",
    "source.copy_begun",
    "source.copy_closed",
    "feed.page_read",
    "feed.page_stored",
    "recover.receipts_stored",
    "plan.before_store",
    "plan.stored",
    "guards.passed",
    "pull.before_intent",
    "pull.intent_stored",
    "pull.request_sent",
    "pull.reply_received",
    "pull.receipts_stored",
    "pull.before_bookkeeping",
    "pull.bookkeeping_stored",
    "run.before_finish",
    "run.finished",
    "lease.released",
)
"""In the order a pull meets them."""

ASK_POINTS: tuple[str, ...] = ("recover.question_stored", "recover.question_answered", "recover.answer_read")
"""In the order a recovery meets them that has to ask SYNAPSE what became of a batch."""

PUSH_POINTS: tuple[str, ...] = (
    "push.preflight_passed",
    "push.backup_begun",
    "push.backup_verified",
    "push.before_intent",
    "push.intent_stored",
    "push.before_begin",
    "push.begun",
    "push.expected_read",
    "push.updated",
    "push.before_commit",
    "push.committed",
    "push.read_back",
    "push.receipt_stored",
    "resolve.stored",
)
"""In the order a push into Plant 3D meets them."""

WEB_POINTS: tuple[str, ...] = ("web.before_queue", "web.queued", "web.answer_stored")
"""In the order a request for a run meets them."""

ALL_POINTS: tuple[str, ...] = PULL_POINTS + ASK_POINTS + PUSH_POINTS + WEB_POINTS

HOW: tuple[str, ...] = ("kill", "stop", "raise", "memory")

_passed: Counter[str] = Counter()
_armed: dict[str, tuple[int, str]] | None = None


def _plan() -> dict[str, tuple[int, str]]:
    if os.environ.get("P3DSYNC_TEST") != "1":
        if os.environ.get("P3DSYNC_FAILPOINTS"):
            sys.stderr.write("warning: P3DSYNC_FAILPOINTS has no effect without P3DSYNC_TEST=1\n")
        return {}
    armed: dict[str, tuple[int, str]] = {}
    for part in os.environ.get("P3DSYNC_FAILPOINTS", "").split(","):
        name, count, how = [*part.strip().split(":"), "", ""][:3]
        if not name:
            continue
        how = how or HOW[0]
        if name not in ALL_POINTS or how not in HOW:
            sys.stderr.write(f"P3DSYNC_FAILPOINTS names an unknown failpoint: {part.strip()}\n")
            os._exit(78)
        armed[name] = (int(count or "1"), how)
    return armed


def failpoint(name: str) -> None:
    """Pass the named point; the process ends, freezes or fails here if a test asked for it."""
    global _armed
    if _armed is None:
        _armed = _plan()
    trace = os.environ.get("P3DSYNC_FAILPOINT_TRACE") if os.environ.get("P3DSYNC_TEST") == "1" else None
    if trace:
        with open(trace, "a", encoding="ascii") as stream:
            stream.write(name + "\n")
    if not _armed:
        return
    _passed[name] += 1
    number, how = _armed.get(name, (0, ""))
    if number == _passed[name]:
        _happen(name, how)


def _happen(name: str, how: str) -> None:
    if how == "raise":
        raise RuntimeError(f"failpoint {name}")
    if how == "memory":
        raise MemoryError
    if how == "stop" and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # the whole process, before the next line
        return
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)
