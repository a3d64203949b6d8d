"""Named places where a test makes the process kill itself with SIGKILL.

Inert unless `P3DSYNC_TEST=1` and `P3DSYNC_FAILPOINTS=name:n[,name:n]`: the n-th passage of that
name (from 1) ends the process at once, as a power cut would: no `finally`, no `atexit`.
Every side effect of a run has one point before and one after it; `plant3d-sync failpoints` lists them.
"""

from __future__ import annotations

import os
import signal
import sys
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

ALL_POINTS: tuple[str, ...] = PULL_POINTS + PUSH_POINTS

_passed: Counter[str] = Counter()
_armed: dict[str, int] | None = None


def _plan() -> dict[str, int]:
    if os.environ.get("P3DSYNC_TEST") != "1":
        return {}
    armed: dict[str, int] = {}
    for part in os.environ.get("P3DSYNC_FAILPOINTS", "").split(","):
        name, _, count = part.strip().partition(":")
        if not name:
            continue
        if name not in ALL_POINTS:
            sys.stderr.write(f"P3DSYNC_FAILPOINTS names an unknown failpoint: {name}\n")
            os._exit(78)
        armed[name] = int(count or "1")
    return armed


def failpoint(name: str) -> None:
    """Pass the named point; kill the process here if a test asked for it."""
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
    if _armed.get(name) == _passed[name]:
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)
