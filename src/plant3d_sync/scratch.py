"""Folders for private copies of customer data: for us alone, and removed by whoever comes next if we cannot.

A process that is killed removes nothing. So each folder holds a file that its process keeps locked as long as it
lives; the system lets go of the lock however the process ends, in whatever container it ran. A folder of ours whose
lock nobody holds is an orphan, and nothing else is touched.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
import weakref
from pathlib import Path

PREFIX = "p3dsync-"
OWNER = "owner"
_MARK = b"plant3d-sync: while this file is locked, somebody works in this folder\n"

_swept = threading.Event()


class Scratch:
    """A folder of this process in the temporary folder, mode 0700. Gone when closed, collected or at exit.

    Raises OSError when it cannot be made.
    """

    def __init__(self) -> None:
        if not _swept.is_set():
            _swept.set()
            sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = _lock_in(self.path)
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def file(self, name: str) -> Path:
        """An empty file in it that nobody else may read: whatever opens it later keeps its mode 0600."""
        path = self.path / name
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def close(self) -> None:
        """Remove it. Safe to call twice."""
        self._remove()


def _lock_in(folder: Path) -> int:
    """Mark the folder as ours and locked, in this order: one that has the mark without a lock is an orphan."""
    fresh = folder / f"{OWNER}.new"
    handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.write(handle, _MARK)
    _try_lock(handle)
    if os.name == "posix":
        fresh.rename(folder / OWNER)
    return handle


def _remove(folder: Path, lock: int) -> None:
    if os.name != "posix":
        os.close(lock)  # Windows removes no file that is open
    shutil.rmtree(folder, ignore_errors=True)
    if os.name == "posix":
        os.close(lock)


def _try_lock(handle: int) -> bool:
    """Take the lock unless somebody has it. Never true where the system has no such locks: then nothing is removed."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep() -> list[Path]:
    """Remove the folders of processes that were killed. Returns them. Whatever is not provably ours and orphaned stays."""
    removed: list[Path] = []
    try:
        found = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    except OSError:
        return removed
    for folder in found:
        handle = _orphan(folder)
        if handle is None:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        if not folder.exists():
            removed.append(folder)
    return removed


def _orphan(folder: Path) -> int | None:
    """The lock of a folder that is ours and that no living process works in; None for any other."""
    if os.name != "posix":
        return None
    try:
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
            return None
        handle = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if os.read(handle, len(_MARK)) == _MARK and _try_lock(handle):
            kept, handle = handle, -1
            return kept
    except OSError:
        return None
    finally:
        if handle >= 0:
            os.close(handle)
    return None
