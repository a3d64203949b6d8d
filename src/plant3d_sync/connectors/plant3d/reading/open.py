"""Find out what was given (folder, file or URL) and open it as a `PlantSource`."""

from __future__ import annotations

import os
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Final

from plant3d_sync.connectors.base import PlantSource
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.elsewhere import elsewhere
from plant3d_sync.connectors.plant3d.mounts import LOCAL, mount_kind
from plant3d_sync.connectors.plant3d.reading.copy import (
    LocalCopy,
    change_counter,
    file_guard,
    fill_copy,
    open_copy,
    read_header,
)
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.sqlserver_address import is_sqlserver
from plant3d_sync.errors import ConfigError
from plant3d_sync.regularfile import regular

DATABASE_FILE = "processpower.dcf"
"""The P&ID database of a project, in lower case (the file system may keep another case)."""

DEFAULT_DEADLINE = 30.0
"""Seconds for lock and copy together."""

LOOK_SECONDS = 10.0
"""For finding out what is there, at most."""

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+(?::sqlserver)?://")


def open_source(
    spec: str | Path, *, deadline: float = DEFAULT_DEADLINE, allow_copy: bool = False
) -> PlantSource:
    """A Plant 3D database that can be read: a project folder, a `.dcf` file or a SQLAlchemy URL.

    Touches nothing yet: folder and file are first looked at by `signature` or `snapshot`.
    `deadline`: seconds one copy may take, waiting for a lock included. `allow_copy`: read one user's
    working copy of a collaboration or Vault project all the same.
    Raises ConfigError `source_unknown_kind`.
    """
    text = str(spec)
    if isinstance(spec, str) and is_sqlserver(text):
        from plant3d_sync.connectors.plant3d.reading.sqlserver import SqlServerSource

        return SqlServerSource(text, deadline=deadline)
    if isinstance(spec, str) and _URL.match(text):
        return _open_url(text, deadline=deadline, allow_copy=allow_copy)
    return SqliteSource(Path(spec).expanduser(), deadline=deadline, allow_copy=allow_copy)


def _open_url(url: str, *, deadline: float, allow_copy: bool) -> PlantSource:
    scheme = url.partition("://")[0].lower()
    if scheme in ("sqlite", "sqlite+pysqlite"):
        path = url.partition("://")[2].removeprefix("/").partition("?")[0]
        return SqliteSource(Path(path), deadline=deadline, allow_copy=allow_copy)
    raise ConfigError(
        f"A Plant 3D database cannot be opened by a {scheme}:// URL. Nothing was read or written.",
        hint="Give a project folder, a ProcessPower.dcf, sqlite:///FILE, mssql://..., mssql+pyodbc://... or mssql+pymssql://...",
        code="source_unknown_kind",
        details={"scheme": scheme},
    )


def _database_file(path: Path, deadline: float) -> Path:
    """The file itself, or the P&ID database in a project folder (its name in any case)."""
    try:
        return elsewhere(str(path), _found_in, path, seconds=min(deadline, LOOK_SECONDS), places=[path])
    except PermissionError as error:
        raise errors.unreadable(str(path), error.strerror or "no permission") from error


def _found_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    names = sorted(entry.name for entry in path.iterdir())
    for name in names:
        if name.lower() == DATABASE_FILE and (path / name).is_file():
            return path / name
    raise errors.no_database_in_folder(path, names)


def copy_kind(path: Path) -> str | None:
    """ "collaboration" or "vault" when the file looks like one user's working copy, else None.

    Collaboration projects keep their local cache in a folder named `CollaborationCache` under the user's
    profile. For Vault the sign is the `_V` folder that the Vault client keeps next to checked-out files
    (inferred; not seen with a Plant 3D project), or a `<name>.v` file in it.
    """
    parts = [part.lower() for part in path.absolute().parts[:-1]]
    if "collaborationcache" in parts:
        return "collaboration"
    if any((path.parent / name).is_dir() for name in ("_V", "_v")):
        return "vault"
    return None


class SqliteSource:
    """A `.dcf` file: opened read-only, copied in one go, and let alone again."""

    engine = "sqlite"

    def __init__(self, path: Path, *, deadline: float = DEFAULT_DEADLINE, allow_copy: bool = False) -> None:
        self._given = path
        self.name = str(path)
        self.deadline = deadline
        self.allow_copy = allow_copy

    @cached_property
    def path(self) -> Path:
        """The file itself. Looks into the folder if one was given. Raises ConfigError `source_not_found`."""
        found = _database_file(self._given, self.deadline)
        self.name = str(found)
        return found

    def signature(self) -> str | None:
        """Path, size, time, change counter and what lies next to the file. None when it cannot be read.

        A rollback journal or write-ahead log next to the file is part of the token: in WAL mode commits do
        not move the change counter.
        """
        return elsewhere(str(self.path), _signature_now, self.path, seconds=self.deadline, places=[self.path])

    def snapshot(self) -> Snapshot:
        """Copy one moment of the file and read from the copy only.

        Raises ConfigError: `source_not_found`, `source_empty`, `source_link_file`, `source_not_plant3d`,
        `source_unreadable`, `source_no_file`, `source_is_copy`; RetryLaterError: `source_damaged`, `source_locked`,
        `source_busy`, `source_hot_journal`, `source_io`, `no_space`.
        """
        copy = LocalCopy()
        done = False
        try:
            kind, header, signature, lock_ms, changed_at = elsewhere(
                str(self.path),
                _copied,
                self.path,
                copy.path,
                self.deadline,
                self.allow_copy,
                seconds=self.deadline,
                places=[self.path],
            )
            open_copy(copy, self.path)
            done = True
        finally:
            if not done:
                copy.close()
        return Snapshot.open(
            copy,
            name=self.name,
            lock_ms=lock_ms,
            engine=self.engine,
            change_counter=change_counter(header),
            signature=signature,
            copy_kind=kind,
            journal_mode="wal" if header[18] == 2 else "rollback",
            changed_at=changed_at,
        )


def _signature_now(path: Path) -> str | None:
    with file_guard(path):
        try:
            regular(path)
            with path.open("rb") as stream:
                header = stream.read(28)
            return _signature(path, change_counter(header))
        except OSError:
            return None


def _signature(path: Path, counter: int) -> str:
    state = path.stat()
    beside = "".join(f":{suffix}={_size_and_time(f'{path}{suffix}')}" for suffix in ("-journal", "-wal"))
    return f"{path}:{state.st_size}:{state.st_mtime_ns}:{counter}{beside}"


def _copied(
    path: Path, target: Path, deadline: float, allow_copy: bool
) -> tuple[str | None, bytes, str, float, float | None]:
    """Kind of working copy, header, token, the milliseconds the source was held while `target` was filled, and when the file
    had changed last.
    """
    kind = copy_kind(path)
    if kind is not None and not allow_copy:
        raise errors.is_copy(str(path), kind)
    with file_guard(path):
        # Counter and token are taken before the lock: a commit in between makes the next look say
        # "changed" once too often, never "unchanged" wrongly.
        header = read_header(path)
        signature = _signature(path, change_counter(header))
        before = path.stat()
        lock_ms = fill_copy(path, target, deadline=deadline)
        with target.open("rb") as stream:
            same = change_counter(stream.read(28)) == change_counter(header)
        changed_at = _changed_at(path, before) if same and header[18] != _WAL else None
    return kind, header, signature, lock_ms, changed_at


_WAL: Final = 2
"""Byte 18 of a SQLite file whose commits go into another file first."""


def _changed_at(path: Path, before: os.stat_result) -> float | None:
    """When a file that was just copied had changed last, where our own clock says so; None if it changed meanwhile.

    The time of the last change of the file's record, which no program can set; on Windows there is none.
    """
    if sys.platform == "win32" or mount_kind(path) != LOCAL:
        return None
    after = path.stat()
    moved = (before.st_ctime_ns, before.st_size, before.st_ino) != (
        after.st_ctime_ns,
        after.st_size,
        after.st_ino,
    )
    return None if moved else after.st_ctime


def _size_and_time(path: str) -> str:
    """Of a file next to the database; an empty or absent one counts as nothing."""
    try:
        state = os.stat(path)
    except OSError:
        return "0"
    return f"{state.st_size}.{state.st_mtime_ns}" if state.st_size else "0"
