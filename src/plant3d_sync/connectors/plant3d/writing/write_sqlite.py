"""Careful writing into a SQLite `.dcf` that Plant 3D uses at the same time."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final

from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.drawing_names import (
    ANNOTATIONS,
    GROUPS,
    drawing_columns,
    drawing_names,
)
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.mounts import SAFE_KINDS, mount_kind
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.copy import file_guard, read_header
from plant3d_sync.connectors.plant3d.reading.open import SqliteSource, copy_kind, open_source
from plant3d_sync.connectors.plant3d.writing.cells import BaseRow, Outcome
from plant3d_sync.connectors.plant3d.writing.syncfolders import sync_signs, unallowed
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.sqlitefile import sqlite_uri

_READONLY: Final = 8
_IN_DOUBT: Final = frozenset({5, 6, 10, 13})
"""SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL: waiting may help."""


class SqliteReads:
    """Reads of single rows on one connection. Text that is not UTF-8 comes back as bytes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.text_factory = _text_or_bytes

    def base(self, pnpid: int) -> BaseRow | None:
        """See `CellReads`."""
        row = self.connection.execute(
            "SELECT [PnPClassName], [PnPGuid], [PnPTimestamp], [PnPRevision] FROM [PnPBase] WHERE [PnPID] = ?",
            (pnpid,),
        ).fetchone()
        if row is None:
            return None
        return BaseRow(class_name=str(row[0]), guid=guid_text(row[1]), timestamp=row[2], revision=row[3])

    def cell(self, table: str, column: str, pnpid: int) -> Sequence[object]:
        """See `CellReads`."""
        found = self.connection.execute(
            f"SELECT {quoted(column)} FROM {quoted(table)} WHERE [PnPID] = ?", (pnpid,)
        )
        return [row[0] for row in found]


class SqliteCells(SqliteReads):
    """A `.dcf` open for writing single cells. Transactions are begun and ended by hand."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path, deadline_ms: int) -> None:
        super().__init__(_writable(path, deadline_ms))
        self.path = path
        self.name = str(path)
        self._deadline_ms = deadline_ms
        self._inode = _inode(path)

    @classmethod
    def open(
        cls,
        spec: str | Path,
        *,
        deadline_ms: int,
        mounts: Callable[[Path], str],
        synced: frozenset[str] = frozenset(),
    ) -> SqliteCells:
        """Check the file as a whole and open it. Raises what `PlantWriter` lists; nothing was written then."""
        source = open_source(spec)
        assert isinstance(source, SqliteSource)
        path = source.path
        with file_guard(path):
            read_header(path)
            refuse_unsafe_places(path, mounts=mounts, synced=synced)
            _refuse_hot_journal(path, deadline_ms)
            store = cls(path, deadline_ms)
            try:
                store._refuse_foreign_schema()
            except sqlite3.Error as error:
                store.connection.close()
                raise errors.from_sqlite(error, store.name, deadline_ms / 1000) from error
            except ConfigError:
                store.connection.close()
                raise
        return store

    def close(self) -> None:
        """See `CellStore`."""
        with file_guard(self.path):
            self.connection.close()

    def guard(self) -> AbstractContextManager[None]:
        """See `CellStore`: closing any other handle of the file would drop our locks on it (POSIX)."""
        return file_guard(self.path)

    def ready(self) -> None:
        """See `CellStore`."""
        if _inode(self.path) != self._inode:
            raise Outcome(
                "waiting",
                "source_replaced",
                f"{self.name} was replaced or removed while the push ran. Nothing more was written; plan again.",
            )
        try:
            _refuse_hot_journal(self.path, self._deadline_ms)
        except RetryLaterError as error:
            raise Outcome("waiting", error.error_code, error.message) from error
        except ConfigError as error:
            raise Outcome("refused", error.error_code, error.message) from error

    def now(self) -> int | None:
        """See `CellStore`: a file has no clock."""
        return None

    def fixed(self, table: str, column: str) -> str | None:
        """See `CellStore`: a project file has columns of plain values only."""
        return None

    def drawings(self, pnpid: int) -> Sequence[str]:
        """See `CellStore`. Groups are on the drawings of their segments; annotations of an item count as well."""
        names = {
            row[0].lower()
            for row in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        ids = {pnpid}
        for relation, group, member in GROUPS:
            ids |= self._related(names, relation, group, member, {pnpid})
        ids |= self._related(names, *ANNOTATIONS, ids)
        if not {"pnpdatalinks", "pnpdrawings"} <= names:
            return []
        present = {
            row[0].lower()
            for row in self.connection.execute("SELECT name FROM pragma_table_info('PnPDrawings')")
        }
        columns = ", ".join(f"d.{quoted(name)}" for name in drawing_columns(present))
        query = (
            f"SELECT {columns} FROM [PnPDataLinks] AS l "
            "LEFT JOIN [PnPDrawings] AS d ON d.[PnPID] = l.[DwgId] WHERE l.[RowId] = ?"
        )
        rows = (
            dict(zip(drawing_columns(present), row, strict=True))
            for one in sorted(ids)
            for row in self.connection.execute(query, (one,))
        )
        return drawing_names(rows)

    def _related(self, names: set[str], relation: str, one: str, other: str, ids: set[int]) -> set[int]:
        if relation.lower() not in names:
            return set()
        query = f"SELECT {quoted(other)} FROM {quoted(relation)} WHERE {quoted(one)} = ?"
        rows = (row for pnpid in ids for row in self.connection.execute(query, (pnpid,)))
        return {row[0] for row in rows if isinstance(row[0], int)}

    def begin(self) -> None:
        """See `CellStore`."""
        self.connection.execute("BEGIN IMMEDIATE")

    def prefetch(self, pnpid: int, places: Sequence[tuple[str, str]]) -> None:
        """See `CellStore`: reading a file cell by cell costs nothing."""

    def set_cell(self, table: str, column: str, pnpid: int, old: object, new: str | None) -> int:
        """See `CellStore`. `IS` compares NULL too; the cast keeps a column without case from matching other case."""
        cell = quoted(column)
        return self.connection.execute(
            f"UPDATE {quoted(table)} SET {cell} = ? WHERE [PnPID] = ? AND {cell} IS ? COLLATE BINARY",
            (new, pnpid, old),
        ).rowcount

    def set_base(self, pnpid: int, old_stamp: object, stamp: int, revision: int) -> int:
        """See `CellStore`."""
        return self.connection.execute(
            "UPDATE [PnPBase] SET [PnPTimestamp] = ?, [PnPRevision] = ? WHERE [PnPID] = ? AND [PnPTimestamp] IS ?",
            (stamp, revision, pnpid, old_stamp),
        ).rowcount

    def commit(self) -> None:
        """See `CellStore`. Waits for readers as long as for a lock, then gives up."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """See `CellStore`."""
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error:
                if self.connection.in_transaction:
                    # Nothing is committed; closing lets go of the lock and of every change.
                    self.connection.close()
                    self.connection = _writable(self.path, self._deadline_ms)
                    self.connection.text_factory = _text_or_bytes

    @contextmanager
    def fresh(self) -> Iterator[SqliteReads]:
        """See `CellStore`: a second connection that shares no page with the first."""
        connection = sqlite3.connect(
            sqlite_uri(self.path), uri=True, timeout=max(self._deadline_ms / 1000, 1.0), isolation_level=None
        )
        with closing(connection):
            yield SqliteReads(connection)

    def judge(self, error: Exception) -> Outcome:
        """See `CellStore`."""
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        if code in (5, 6):
            return Outcome(
                "waiting",
                "source_locked",
                f"{self.name} is locked by another program (waited {self._deadline_ms} ms). Nothing was written; "
                "it is tried again at the next run.",
            )
        if code == 13:
            return Outcome("waiting", "no_space", f"The disk of {self.name} is full. Nothing was written.")
        if code in _IN_DOUBT:
            return Outcome("waiting", "source_io", f"Writing to {self.name} failed: {error}.")
        if code == _READONLY:
            return Outcome(
                "refused", "source_read_only", f"{self.name} may not be written to. Nothing was written."
            )
        if code == 1:
            return Outcome(
                "refused",
                "column_missing",
                f"The database lacks a table or column of the plan ({error}). Nothing was written; plan again.",
            )
        return Outcome(
            "refused", "source_damaged", f"SQLite refused the write: {error}. Nothing was written."
        )

    def _refuse_foreign_schema(self) -> None:
        rows = self.connection.execute("SELECT type, lower(name), tbl_name FROM sqlite_master").fetchall()
        if not any(kind == "table" and name == "pnpbase" for kind, name, _ in rows):
            raise errors.not_plant3d(self.name, ["PnPBase"])
        triggers = [name for kind, name, _ in rows if kind == "trigger"]
        if triggers:
            raise ConfigError(
                f"{self.name} has triggers ({', '.join(triggers[:5])}), so an update could change more than its cell. "
                "Nothing was written.",
                hint="Plant 3D makes no triggers: find out who added them, and remove them or write by workbook.",
                code="source_has_triggers",
            )


def _writable(path: Path, deadline_ms: int) -> sqlite3.Connection:
    """A connection that never creates a file."""
    return sqlite3.connect(
        sqlite_uri(path).removesuffix("?mode=ro") + "?mode=rw",
        uri=True,
        timeout=deadline_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _inode(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return (-1, -1)
    return state.st_dev, state.st_ino


def refuse_unsafe_places(
    path: Path, *, mounts: Callable[[Path], str] = mount_kind, synced: frozenset[str] = frozenset()
) -> None:
    """Whatever writes into the file, a cell or a whole backup, asks this first.

    Raises ConfigError `source_is_copy`, `unsafe_mount`, `source_synced`, `source_read_only`. `mounts`, `synced`: as
    `PlantWriter` has them.
    """
    _refuse_copies(path)
    _refuse_unsafe_mounts(path, mounts)
    _refuse_synced(path, synced)
    _refuse_read_only(path)


def _refuse_copies(path: Path) -> None:
    kind = copy_kind(path)
    if kind is not None:
        raise ConfigError(
            f"{path} is one user's working copy of a {kind} project. Nothing was written.",
            hint="Changes made in such a copy outside Plant 3D do not reach the others and can damage the project. "
            "Use `write: workbook` and let a designer import it.",
            code="source_is_copy",
            details={"kind": kind},
        )


def _refuse_unsafe_mounts(path: Path, mounts: Callable[[Path], str]) -> None:
    kind = mounts(path)
    if kind not in SAFE_KINDS:
        raise ConfigError(
            f"{path} lies on a mount whose file locks cannot be trusted ({kind}). Nothing was written.",
            hint="Two writers could damage the file without noticing. Mount the share so that locks reach the server "
            "(SMB without nobrl, NFS without nolock), run the worker on the file server, or use `write: workbook`.",
            code="unsafe_mount",
            details={"mount": kind},
        )


def _refuse_synced(path: Path, allowed: frozenset[str]) -> None:
    signs = unallowed(sync_signs(path), allowed)
    if signs:
        names = ", ".join(sign.name for sign in signs)
        raise ConfigError(
            f"{path} is kept in step with other machines by {signs[0].label} ({'; '.join(s.why for s in signs)}). "
            "Nothing was written.",
            hint="Such a program ignores file locks and may put an older copy in the file's place. Let the project lie on "
            "a file server, or use `write: workbook`. To write all the same, name what you accept: "
            f"`allow_synced_folder: [{names}]`; remove conflicted copies after comparing them.",
            code="source_synced",
            details={"signs": {sign.name: sign.why for sign in signs}},
        )


def _refuse_read_only(path: Path) -> None:
    writable = bool(path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    if not (writable and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise ConfigError(
            f"{path} or its folder is read-only for this account. Nothing was written.",
            hint="Writing needs rights on the file and on its folder (for the rollback journal). Without them use "
            "`write: workbook`.",
            code="source_read_only",
        )


def _refuse_hot_journal(path: Path, deadline_ms: int) -> None:
    """Raise `source_hot_journal` when a crashed writer left a journal: only Plant 3D should roll that back.

    A journal also lies there while somebody writes; a read-only look tells the two apart without touching anything.
    """
    journal = path.with_name(path.name + "-journal")
    try:
        if journal.stat().st_size == 0:
            return
    except OSError:
        return
    started = time.monotonic()
    try:
        with closing(sqlite3.connect(sqlite_uri(path), uri=True, timeout=deadline_ms / 1000)) as probe:
            probe.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise errors.from_sqlite(error, str(path), time.monotonic() - started) from error
