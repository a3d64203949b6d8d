"""The local copy that everything is read from, and how it is taken from a SQLite file that Plant 3D uses.

While we hold a read lock, Plant 3D cannot commit: the hold time is a budget, measured and reported. So the
source is locked once, copied in one read transaction, closed, and never looked at again.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from math import inf
from pathlib import Path

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.mounts import may_hang
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.regularfile import NotRegular, regular
from plant3d_sync.scratch import Scratch
from plant3d_sync.sqlitefile import sqlite_uri

SQLITE_MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
_PAGES_PER_STEP = 4096
"""Pages between two looks at the deadline. The read transaction stays open, so no step starts over."""
_BLOCK = 1024 * 1024
"""Bytes asked for at once: few calls, however long each of them takes."""
_PIECE, _SIDE_BY_SIDE = 1024 * 1024, 16
"""On a share: bytes asked for at once, the most that file systems ask a server for in one call, and how many such calls wait
at the same time.
"""
_COUNTER = slice(24, 28)
_PAGE_COUNT = slice(28, 32)
_VERSION_VALID_FOR = slice(92, 96)
_WAL_BYTES = (18, 19)
_LARGEST_PAGE_CODE = 1
_LARGEST_PAGE = 65536

_guards: dict[str, threading.RLock] = {}
_guards_lock = threading.Lock()


@contextmanager
def file_guard(path: Path) -> Iterator[None]:
    """Let only one thread of this process open or copy that file at a time.

    On POSIX systems closing any handle of a file drops all locks this process holds on it. A thread that
    reads sixteen bytes of the .dcf while another copies it would silently end the copy's read lock.
    """
    with _guards_lock:
        guard = _guards.setdefault(os.path.realpath(path), threading.RLock())
    with guard:
        yield


class LocalCopy:
    """A private SQLite file in a folder for us alone (`plant3d_sync.scratch`), gone when closed, collected or at exit.

    `connection` decodes text strictly (fast), `tolerant` replaces what is not UTF-8 and never fails on it.
    Where the system allows it (not on Windows) the file has no name while it is read, so that not even a
    killed process leaves customer data behind. Raises RetryLaterError `no_space` when there is no place for it.
    """

    def __init__(self) -> None:
        try:
            self._scratch = Scratch()
            self.path = self._scratch.file("copy.db")
        except OSError as error:
            raise errors.no_space(error.strerror or str(error)) from error
        self.connection: sqlite3.Connection
        self.tolerant: sqlite3.Connection
        self._open: list[sqlite3.Connection] = []

    def writable(self) -> sqlite3.Connection:
        """A connection to fill the copy with. Close it before `open`."""
        return writable(self.path)

    def open(self) -> None:
        """Open the finished copy for reading, and take its name away where possible."""
        self._leave_wal_mode()
        for _ in range(2):
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._open.append(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self.connection, self.tolerant = self._open
        self.tolerant.text_factory = _tolerant_text
        if os.name == "posix":
            self._scratch.close()

    def _leave_wal_mode(self) -> None:
        """A copied WAL database says so in its header, and would want a second file next to it."""
        with self.path.open("r+b") as stream:
            header = bytearray(stream.read(HEADER_BYTES))
            if len(header) == HEADER_BYTES and any(header[i] != 1 for i in _WAL_BYTES):
                for i in _WAL_BYTES:
                    header[i] = 1
                stream.seek(0)
                stream.write(header)

    def close(self) -> None:
        """Close the connections and remove the file. Safe to call twice."""
        for connection in self._open:
            connection.close()
        self._open = []
        self._scratch.close()


def writable(copy: Path) -> sqlite3.Connection:
    """A connection to fill a private copy with: nobody needs it after a crash."""
    connection = sqlite3.connect(copy, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def insert_all(connection: sqlite3.Connection, statement: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert many rows into a temporary table of the copy in one transaction: else each row is one of its own."""
    connection.execute("BEGIN")
    with connection:  # commits; an error rolls back, and stays the error that is told
        connection.executemany(statement, rows)


def _tolerant_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def change_counter(header: bytes) -> int:
    """Bytes 24-27 of a SQLite file: one more at every commit (not in WAL mode), back after a restore."""
    return int.from_bytes(header[_COUNTER], "big")


def is_truncated(header: bytes, size: int) -> bool:
    """Whether the file is shorter than its own header says. Says no where the header cannot tell."""
    promised = _promised(header)
    return promised is not None and size < promised


def _promised(header: bytes) -> int | None:
    """Bytes of the database by its own header. None where that cannot tell."""
    if header[_COUNTER] != header[_VERSION_VALID_FOR]:
        return None
    code = int.from_bytes(header[16:18], "big")
    page = _LARGEST_PAGE if code == _LARGEST_PAGE_CODE else code
    return page * int.from_bytes(header[_PAGE_COUNT], "big")


def _belonging(beginning: bytes | memoryview, size: int) -> int:
    """How many bytes of a file are the database: what lies behind the pages of its header is not read, as SQLite does not.

    In WAL mode the header may be older than the pages. What is no database, such as a log, belongs as a whole.
    """
    header = bytes(beginning[:HEADER_BYTES])
    if (
        len(header) < HEADER_BYTES
        or not header.startswith(SQLITE_MAGIC)
        or any(header[i] != 1 for i in _WAL_BYTES)
    ):
        return size
    return min(_promised(header) or size, size)


def read_header(path: Path) -> bytes:
    """The first 100 bytes, checked to be SQLite. Raises ConfigError for anything else."""
    try:
        regular(path)
        with path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
            size = os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise errors.not_found(path) from None
    except PermissionError as error:
        raise errors.unreadable(str(path), error.strerror or "no permission") from error
    except OSError as error:
        if isinstance(error, NotRegular) or error.errno == errno.ELOOP:
            raise errors.no_file(str(path), error.strerror or str(error)) from error
        raise errors.unreadable_now(str(path), error.strerror or str(error)) from error
    if size == 0:
        raise errors.empty_file(path)
    if not header.startswith(SQLITE_MAGIC):
        raise errors.link_file(path)
    if len(header) < HEADER_BYTES or is_truncated(header, size):
        raise errors.corrupt(str(path), "the file is shorter than its header says (cut off)")
    return header


class HeldSource:
    """A source file under our read lock. `since` is the moment (monotonic, seconds) the lock began."""

    def __init__(self, connection: sqlite3.Connection, since: float) -> None:
        self.connection = connection
        self.since = since


@contextmanager
def hold(path: Path, deadline: float) -> Iterator[HeldSource]:
    """Open read-only and take one read lock, waiting at most `deadline` seconds for it.

    Raises RetryLaterError when locked or in need of recovery, ConfigError when not readable as SQLite.
    """
    started = time.monotonic()
    try:
        connection = sqlite3.connect(
            sqlite_uri(path),
            uri=True,
            timeout=min(deadline, patience.STEP),
            isolation_level=None,
            check_same_thread=False,
        )
    except errors.UNREADABLE as error:
        raise errors.from_sqlite(error, str(path), time.monotonic() - started) from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            _take_read_lock(connection, started + deadline)
            yield HeldSource(connection, time.monotonic())
        except errors.UNREADABLE as error:
            raise errors.from_sqlite(error, str(path), time.monotonic() - started) from error


def _take_read_lock(connection: sqlite3.Connection, until: float) -> None:
    """Wait for it until then, and no longer than the run of this thread may go on."""
    while True:
        try:
            # reads one page; the list of tables is many small reads, slow on a share
            connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            patience.look()
        else:
            return


def fill_copy(
    path: Path, target: Path, *, deadline: float, while_held: Callable[[], None] = lambda: None
) -> float:
    """Copy one moment of the file into that of a `LocalCopy`. Returns the milliseconds the source was held.

    Nothing is asked of the source but its bytes, in large blocks: Plant 3D cannot save meanwhile. A file in WAL mode
    that nobody has open is copied without a lock, since taking one would leave files next to it. Never longer than
    `deadline` seconds in all. Raises what `hold` raises, and RetryLaterError `source_busy` or `no_space`.
    """
    until = time.monotonic() + deadline
    failpoint("source.copy_begun")
    if _is_wal(path) and not os.path.exists(f"{path}-shm"):
        _copy_resting_wal(path, target, until, deadline)
        lock_ms = 0.0
    else:
        # opened before the lock and closed after it: closing it would end the lock (POSIX)
        with _opened(path) as opened:
            with hold(path, deadline) as held:
                while_held()
                _copy_bytes(opened, target, path, until, deadline)
                if _is_wal(
                    target
                ):  # it was switched a moment ago, or somebody has it open: its log counts too
                    target.unlink()
                    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                    _backup(held.connection, target, path, until, deadline)
            lock_ms = (time.monotonic() - held.since) * 1000
    failpoint("source.copy_closed")
    return lock_ms


def _is_wal(path: Path) -> bool:
    with path.open("rb", buffering=0) as stream:
        return _WAL_BYTES[1] < len(header := stream.read(HEADER_BYTES)) and header[_WAL_BYTES[1]] == 2


class _Opened:
    """A file that is read from its beginning to its end.

    On a share several calls wait side by side, and past the cache of this machine where that can be: then the server is
    asked in the largest pieces it gives, and says what it holds now.
    """

    def __init__(self, path: Path, plain: io.FileIO) -> None:
        self.plain = plain
        self.distant = hasattr(os, "preadv") and may_hang(path)
        self._direct = -1
        if self.distant:
            with suppress(OSError):  # not every file system can
                self._direct = os.open(path, os.O_RDONLY | os.O_DIRECT)

    def close(self) -> None:
        if self._direct >= 0:
            os.close(self._direct)

    def piece(self, start: int, size: int, copied: int) -> None:
        """Copy these bytes to the same place of another file."""
        with mmap.mmap(-1, _PIECE) as block:  # begins at a page, as reading past the cache demands
            done = 0
            while done < size:
                got = self._read_into(memoryview(block)[done:], start + done)
                if got == 0:
                    raise OSError(errno.EIO, "the file became shorter while it was read")
                done += got
            os.pwrite(copied, memoryview(block)[:size], start)

    def _read_into(self, block: memoryview, start: int) -> int:
        if self._direct >= 0:
            try:
                return os.preadv(self._direct, [block], start)
            except OSError as error:
                if (
                    error.errno != errno.EINVAL
                ):  # a place or length that this file system cannot read past the cache
                    raise
        return os.preadv(self.plain.fileno(), [block], start)


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    with io.FileIO(path, "rb") as plain, closing(_Opened(path, plain)) as opened:
        yield opened


def seconds_of_a_read(path: Path) -> float:
    """How long the whole file takes to be read as `fill_copy` does, judged by its first 16 MiB. Takes no lock.

    Raises RetryLaterError `source_io`, `no_space`.
    """
    copy = LocalCopy()
    try:
        with _opened(path) as opened:
            stream = opened.plain.fileno()
            size = _belonging(os.pread(stream, HEADER_BYTES, 0), os.fstat(stream).st_size)
            part = min(size, _SIDE_BY_SIDE * _PIECE)
            began = time.monotonic()
            _copy_side_by_side(opened, copy.path, path, inf, 0.0, part)
            seconds = time.monotonic() - began
    finally:
        copy.close()
    return seconds * size / part if part else 0.0


def _copy_side_by_side(
    opened: _Opened, target: Path, path: Path, until: float, deadline: float, size: int
) -> None:
    try:
        with target.open("wb", buffering=0) as copied, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            copied.truncate(size)

            def one(start: int) -> None:
                if time.monotonic() > until:
                    raise errors.busy(str(path), deadline)
                opened.piece(start, min(_PIECE, size - start), copied.fileno())

            for _ in pool.map(one, range(0, size, _PIECE)):
                pass
    except OSError as error:
        raise _read_failed(path, error) from error


def _read_failed(path: Path, error: OSError) -> RetryLaterError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.no_space(error.strerror or str(error))
    return errors.unreadable_now(str(path), error.strerror or str(error))


def _copy_bytes(opened: _Opened, target: Path, path: Path, until: float, deadline: float) -> None:
    """The whole file, in as few calls as the file system allows."""
    stream = opened.plain
    if opened.distant:
        header, size = os.pread(stream.fileno(), HEADER_BYTES, 0), os.fstat(stream.fileno()).st_size
        _copy_side_by_side(opened, target, path, until, deadline, _belonging(header, size))
        return
    block = memoryview(bytearray(_BLOCK))
    try:
        with target.open("wb", buffering=0) as copied:
            done, whole = 0, inf
            while done < whole and (size := stream.readinto(block)):
                if time.monotonic() > until:
                    raise errors.busy(str(path), deadline)
                if done == 0:
                    whole = _belonging(block, os.fstat(stream.fileno()).st_size)
                size = int(min(size, whole - done))
                _write_all(copied, block[:size])
                done += size
    except OSError as error:
        raise _read_failed(path, error) from error


def _write_all(copied: io.RawIOBase, piece: memoryview) -> None:
    while piece:
        piece = piece[copied.write(piece) :]


def _copy_resting_wal(path: Path, copied: Path, until: float, deadline: float) -> None:
    """Copy file and log of a database that nobody has open, and bring them together in the copy."""
    log = Path(f"{path}-wal")
    while True:
        before = _look_at(path, log)
        for source, target in ((path, copied), (log, Path(f"{copied}-wal"))):
            target.unlink(missing_ok=True)
            if source.exists():
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                with _opened(source) as opened:
                    _copy_bytes(opened, target, path, until, deadline)
        if before == _look_at(path, log):
            break
        if time.monotonic() > until:
            raise errors.busy(str(path), deadline)
    try:
        with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except errors.UNREADABLE as error:
        raise errors.from_sqlite(error, str(path), 0.0) from error


def _look_at(*paths: Path) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for path in (*paths, Path(f"{paths[0]}-shm")):
        try:
            state = path.stat()
            found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def open_copy(copy: LocalCopy, path: Path) -> None:
    """Open a copy that was filled from `path`. Raises RetryLaterError `source_damaged` when it is none."""
    try:
        copy.open()
    except errors.UNREADABLE as error:
        raise errors.from_sqlite(error, str(path), 0.0) from error


def _backup(source: sqlite3.Connection, copied: Path, path: Path, until: float, deadline: float) -> None:
    def progress(_status: int, remaining: int, _total: int) -> None:
        if remaining and time.monotonic() > until:
            raise errors.busy(str(path), deadline)

    with closing(writable(copied)) as target:
        source.backup(target, pages=_PAGES_PER_STEP, progress=progress, sleep=0.05)
