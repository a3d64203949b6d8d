"""What can be wrong with a Plant 3D database as a whole, each with a stable code and a way out.

`ConfigError`: somebody points us at another file or changes rights. `RetryLaterError`: waiting helps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from plant3d_sync import patience
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from plant3d_sync.words import counted

_SQLITE_PERM = 3
_SQLITE_BUSY = 5
_SQLITE_LOCKED = 6
_SQLITE_READONLY = 8
_SQLITE_IOERR = 10
_SQLITE_CORRUPT = 11
_SQLITE_FULL = 13
_SQLITE_CANTOPEN = 14
_SQLITE_NOTADB = 26
_LISTED_NAMES = 20


def not_found(path: Path) -> ConfigError:
    """No such file or folder."""
    return ConfigError(
        f"There is no Plant 3D project at {path}. Nothing was read or written.",
        hint="Check the path, and that this account sees the network share.",
        code="source_not_found",
        details={"path": str(path)},
    )


def no_database_in_folder(folder: Path, names: Sequence[str]) -> ConfigError:
    """A folder without ProcessPower.dcf; says what is there instead."""
    shown = ", ".join(names[:_LISTED_NAMES]) or "nothing"
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return ConfigError(
        f"The folder {folder} holds no ProcessPower.dcf. It holds: {shown}{more}. Nothing was read or written.",
        hint="Give the project folder (the one with Project.xml) or the ProcessPower.dcf itself.",
        code="source_not_found",
        details={"path": str(folder), "names": list(names[:_LISTED_NAMES])},
    )


def empty_file(path: Path) -> ConfigError:
    """Zero bytes."""
    return ConfigError(
        f"{path} is empty (0 bytes). Nothing was read or written.",
        hint="Plant 3D never leaves an empty database: restore the file from a backup.",
        code="source_empty",
        details={"path": str(path)},
    )


def link_file(path: Path) -> ConfigError:
    """Not SQLite at all. The .dcf of a SQL Server project is a small link file (its format is not public)."""
    return ConfigError(
        f"{path} is not a SQLite database. Nothing was read or written.",
        hint="If this project keeps its data on SQL Server, its .dcf is only a link: give PLANT3D_DB_HOST, "
        "PLANT3D_DB_NAME, PLANT3D_DB_USER and PLANT3D_DB_PASSWORD, or an mssql+pyodbc:// URL.",
        code="source_link_file",
        details={"path": str(path)},
    )


def not_plant3d(name: str, missing: Sequence[str]) -> ConfigError:
    """A database without the tables every P&ID project has."""
    return ConfigError(
        f"{name} is not a Plant 3D P&ID database: it has no table {' and no table '.join(missing)}. "
        "Nothing was read or written.",
        hint="The P&ID database is ProcessPower.dcf; Misc.dcf and other files of the project hold other data.",
        code="source_not_plant3d",
        details={"missing": list(missing)},
    )


class SourceDamaged(RetryLaterError):
    """A worker waits for a whole file; a command says, as for any wrong file, that somebody must act."""

    exit_code = 78


def corrupt(name: str, why: str) -> RetryLaterError:
    """Unreadable as SQLite: the project waits until somebody has put a whole file there."""
    return SourceDamaged(
        f"{name} is damaged: {why}. Nothing was written; the project waits.",
        hint="Open the project in Plant 3D and run its audit, or restore the file from a backup.",
        code="source_damaged",
        details={"reason": why},
    )


def no_file(name: str, why: str) -> ConfigError:
    """A pipe, a device, a folder, a link that leads to itself: opening it may never end."""
    return ConfigError(
        f"{name} is no database file: {why}. It was not opened; nothing was read or written.",
        hint="Give the project folder or its ProcessPower.dcf.",
        code="source_no_file",
        details={"reason": why},
    )


def unreadable_now(name: str, why: str) -> RetryLaterError:
    """The disk or the share refused a read."""
    return RetryLaterError(
        f"{name} cannot be read: {why}. Nothing was written.",
        hint="Check the network share or the disk; the next run tries again.",
        code="source_io",
    )


def silent(name: str, seconds: float) -> RetryLaterError:
    """The share hangs. The call is left behind; until it comes back nobody asks again."""
    waited = f"within {seconds:.0f} s" if seconds else "since an earlier call"
    return RetryLaterError(
        f"Where {name} lies nothing answers: a call did not come back {waited}. It was left; nothing was written.",
        hint="Check the network share or the server. The next run tries again by itself.",
        code="source_silent",
    )


def helper_ended(name: str, why: str) -> RetryLaterError:
    """The process that read there is gone, and not because of us."""
    return RetryLaterError(
        f"The process that read {name} was ended from outside ({why}). Nothing was written.",
        hint="Often the system ends a process for want of memory. The next run tries again.",
        code="source_helper",
    )


def write_silent(name: str, seconds: float) -> RetryLaterError:
    """As `silent`, for whoever writes there: how far it came only a look tells."""
    return RetryLaterError(
        f"Where {name} lies nothing answers: a write did not come back within {seconds:.0f} s. The process that wrote was "
        "ended and writes nothing more; what was begun is looked at before anything is written again.",
        hint="Check the network share. The next run looks what became of it and tries again by itself.",
        code="source_silent",
    )


def write_cut_off(name: str, why: str) -> RetryLaterError:
    """The process that wrote there is gone, and not because of us."""
    return RetryLaterError(
        f"The process that wrote to {name} was ended from outside ({why}). What was begun is looked at before anything is "
        "written again.",
        hint="Often the system ends a process for want of memory. The next run looks what became of it.",
        code="source_helper",
    )


def unreadable(name: str, why: str) -> ConfigError:
    """Rights, or a folder where SQLite cannot put what it needs."""
    return ConfigError(
        f"{name} cannot be opened for reading: {why}. Nothing was read or written.",
        hint="Give this account read rights on the file and its folder (a WAL database also needs write "
        "rights on the folder).",
        code="source_unreadable",
        details={"reason": why},
    )


def locked(name: str, seconds: float) -> RetryLaterError:
    """Another program holds the file; a normal moment while Plant 3D saves."""
    return RetryLaterError(
        f"{name} stayed locked by another program for {seconds:.1f} s. Nothing was read or written.",
        hint="Plant 3D is probably saving. The next run tries again; if it lasts, close the project in Plant 3D.",
        code="source_locked",
        details={"waited_seconds": round(seconds, 1)},
    )


def busy(name: str, seconds: float) -> RetryLaterError:
    """The copy took longer than its deadline; it was given up so that Plant 3D is not kept waiting."""
    return RetryLaterError(
        f"{name} could not be copied within {seconds:.1f} s, so the copy was given up. Nothing was written.",
        hint="Run this service near the file (same machine or fast network), or raise the deadline.",
        code="source_busy",
        details={"deadline_seconds": seconds},
    )


def reshaped(name: str, number: int) -> RetryLaterError:
    """A table or a column went while the database was read."""
    return RetryLaterError(
        f"A table or column of {name} was dropped or renamed while it was read (error {number}). Nothing was written.",
        hint="The next run reads the tables as they are then. If it lasts, a view may name a column that is gone.",
        code="source_busy",
        details={"number": number, "source": name},
    )


def server_slow(name: str, seconds: float) -> RetryLaterError:
    """Rows came slower than a thousand a second beyond the deadline."""
    return RetryLaterError(
        f"{name} could not be read within {seconds:.0f} s and one millisecond a row, so the reading was given up. "
        "Nothing was written.",
        hint="Run this service near the server, or raise P3DSYNC_SOURCE_DEADLINE_SECONDS.",
        code="source_busy",
        details={"deadline_seconds": seconds},
    )


def hidden_tables(name: str, tables: Sequence[str]) -> ConfigError:
    """Tables that hold rows and that the login does not see."""
    shown = ", ".join(tables[:5]) + (f" and {len(tables) - 5} more" if len(tables) > 5 else "")
    return ConfigError(
        counted(
            len(tables),
            f"The login does not see {len(tables)} table of {name} that holds rows: {shown}. An unseen table would look "
            "like an empty one. Nothing was read or written.",
            f"The login does not see {len(tables)} tables of {name} that hold rows: {shown}. An unseen table would look "
            "like an empty one. Nothing was read or written.",
        ),
        hint="Give the login the reader's rights: plant3d-sync grants PROJECT --role reader prints the script.",
        code="source_unreadable",
        details={"tables": list(tables[:20])},
    )


def hot_journal(name: str) -> RetryLaterError:
    """A crashed writer left a journal; only a writer may roll it back, and that should be Plant 3D."""
    return RetryLaterError(
        f"{name} was left in the middle of a save and needs recovery by Plant 3D. "
        "It was not read and not touched.",
        hint="Open the project once in Plant 3D: it recovers the file by itself. Do not delete the journal.",
        code="source_hot_journal",
    )


def is_copy(name: str, kind: str) -> ConfigError:
    """A local working copy of a collaboration or Vault project."""
    where = "collaboration (cloud) project" if kind == "collaboration" else "Vault project"
    return ConfigError(
        f"{name} looks like one user's local copy of a {where}: it is not what the others see. "
        "Nothing was read or written.",
        hint="Point at the master project. To read this copy anyway, set allow_copy for the project.",
        code="source_is_copy",
        details={"kind": kind},
    )


def no_space(why: str) -> RetryLaterError:
    """The disk for the local copy is full."""
    return RetryLaterError(
        f"The local copy of the Plant 3D database could not be written: {why}. Nothing was synchronised.",
        hint="Free space in the temporary folder, or set TMPDIR to a bigger disk.",
        code="no_space",
    )


UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What reading a database may raise that is damaged: SQLite's own, and texts or numbers that are none."""


def undecoded(error: sqlite3.Error) -> bool:
    """Whether a text that was read is not UTF-8: Python's module says so itself, so that there is no number of SQLite."""
    return getattr(error, "sqlite_errorcode", None) is None


def from_sqlite(error: Exception, name: str, waited: float) -> SyncError:
    """The error of ours that says what an error of SQLite means for this source.

    `waited`: seconds spent so far, for the text of "locked".
    """
    patience.look()  # a statement that was interrupted because the run is to end
    extended: int = getattr(error, "sqlite_errorcode", 0) or 0
    primary = extended & 0xFF
    if primary in (_SQLITE_BUSY, _SQLITE_LOCKED):
        return locked(name, waited)
    if primary == _SQLITE_READONLY:
        return hot_journal(name)
    if primary == _SQLITE_FULL:
        return no_space(str(error))
    if primary in (_SQLITE_CANTOPEN, _SQLITE_PERM):
        return unreadable(name, str(error))
    if primary == _SQLITE_IOERR:
        return unreadable_now(name, str(error))
    if primary not in (_SQLITE_CORRUPT, _SQLITE_NOTADB):
        return corrupt(name, f"SQLite says: {error}")
    return corrupt(name, str(error))
