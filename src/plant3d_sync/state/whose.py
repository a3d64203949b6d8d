"""Which process holds something, and whether it is provably gone.

A process is named by its machine since the last boot, its PID namespace, its number there and when it started, on the
machine's own count since boot: a clock that is set changes none of it. Only who shares machine, boot and namespace
can look; for anybody else a holder is gone when its lease ran out, and by nothing else. A host name proves nothing:
two machines and any number of containers may have the same.
"""

from __future__ import annotations

import functools
import os
import platform
import socket
import uuid
from pathlib import Path
from typing import Any

import msgspec
import orjson

_PROC = Path("/proc")
_LINUX = platform.system() == "Linux"


def holder_name(run_id: str) -> str:
    """This process, so that others can tell whether it still lives."""
    pid = os.getpid()
    here = _Here.find()
    return orjson.dumps(
        {
            "host": here.host,
            "boot": here.boot,
            "space": here.space,
            "pid": pid,
            "born": _born(pid),
            "run": run_id,
        }
    ).decode()


@functools.lru_cache(maxsize=1)
def _born(pid: int) -> float | None:
    """When this process started: asked once of each number that it has, which a fork changes."""
    seen = _look(pid)
    return seen.born if seen is not None else None


def is_alive(holder: str | None) -> bool | None:
    """Whether the holder's process lives; None where nobody here can tell."""
    if not holder:
        return None
    data: dict[str, Any] = orjson.loads(holder)
    here = _Here.find()
    if here.space is None or (data.get("host"), data.get("boot"), data.get("space")) != (
        here.host,
        here.boot,
        here.space,
    ):
        return None
    pid, born = data.get("pid"), data.get("born")
    if not isinstance(pid, int) or not isinstance(born, int | float):
        return None
    import psutil  # 15 ms, which a run in an own state never needs

    if not psutil.pid_exists(pid):
        return False
    seen = _look(pid)
    if seen is None:
        return None  # it is there and hidden from us
    return abs(seen.born - born) <= _ROUNDING and not seen.ended


def is_dead(holder: str | None) -> bool:
    """True only if the process is provably gone."""
    return is_alive(holder) is False


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A process as the system shows it: when it started, and whether only its exit code is left of it."""

    born: float
    ended: bool


class _Here(msgspec.Struct, frozen=True, kw_only=True):
    """Where this process runs. `space` is None where processes by the numbers we know cannot be looked up."""

    host: str
    boot: str
    space: str | None

    @staticmethod
    @functools.cache
    def find() -> _Here:
        """Asked once: neither changes while a process lives, except by `fork` into another namespace."""
        host = socket.gethostname()
        if not _LINUX:
            import psutil

            return _Here(host=host, boot=f"{uuid.getnode():x}:{psutil.boot_time():.0f}", space="")
        try:
            boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            shows_us = os.readlink(_PROC / "self") == str(os.getpid())
            space = os.readlink(_PROC / "self/ns/pid") if shows_us else None
        except OSError:
            return _Here(host=host, boot="", space=None)
        return _Here(host=host, boot=boot, space=space)


_ROUNDING = 0.0 if _LINUX else 1.0
"""Elsewhere the start is a time of day and may be rounded."""


def _look(pid: int) -> _Seen | None:
    """None if the process is not there, or hidden from us."""
    if _LINUX:
        return _look_at_proc(pid)
    import psutil

    try:
        process = psutil.Process(pid)
        return _Seen(born=process.create_time(), ended=process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return None


def _look_at_proc(pid: int) -> _Seen | None:
    """The start in ticks since boot: what psutil makes of it moves with the clock of the day."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Seen(born=float(fields[19]), ended=fields[0] in ("Z", "X"))
