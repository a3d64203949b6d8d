"""Files that somebody named: looked at before they are opened or replaced, and read as far as a limit only.

A name may lead to a pipe that nobody writes into, to a device without end, to a folder or to itself. None of them is
opened: opening alone may never return.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)


class NotRegular(OSError):
    """It is no regular file. `strerror` says what it is."""


class TooLarge(ValueError):
    """It holds more than may be read of it."""


def kind_of(mode: int) -> str:
    """What a file is by the mode of its `stat`, in words; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


def regular(path: str | Path) -> os.stat_result:
    """The `stat` of a regular file. Raises NotRegular for anything else that is there, OSError (links in a circle too)."""
    found = os.stat(path)
    kind = kind_of(found.st_mode)
    if kind:
        raise NotRegular(errno.EINVAL, f"it is {kind}, not a file")
    return found


def may_replace(path: str | Path) -> None:
    """Whether a file may take this name: nothing stands there, or a regular file. Raises NotRegular, or OSError.

    Renaming onto a name removes what it named: with the rights for it, a pipe others listen at, or a device.
    """
    with contextlib.suppress(FileNotFoundError):
        regular(path)


def read_limited(path: str | Path, limit: int) -> bytes:
    """All bytes of a regular file. Raises NotRegular, OSError, and TooLarge beyond `limit` bytes."""
    size = regular(path).st_size
    if size <= limit:
        # what became of the name since cannot make the opening wait, and is looked at again
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as stream:
            kind = kind_of(os.fstat(handle).st_mode)
            if kind:
                raise NotRegular(errno.EINVAL, f"it is {kind}, not a file")
            data = stream.read(limit + 1)
        size = len(data)
        if size <= limit:
            return data
    raise TooLarge(f"it has {size} bytes, at most {limit} are read")
