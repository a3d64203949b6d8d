"""Backups of a Plant 3D database: made before the first write of a run, proved, kept for a while, put back.

A backup counts only when it was read again: whole (`PRAGMA integrity_check`), the same database (`DBID`), the same
number of items. It appears under its name complete or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.copy import file_guard, hold, read_header
from plant3d_sync.connectors.plant3d.reading.open import SqliteSource, open_source
from plant3d_sync.connectors.plant3d.sqlserver_drivers import untidy_errors
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.write_sqlite import refuse_unsafe_places
from plant3d_sync.errors import ConfigError, NeedsPersonError, NotFoundError, RetryLaterError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.scratch import Scratch
from plant3d_sync.sqlitefile import sqlite_uri
from plant3d_sync.words import counted

DEFAULT_DEADLINE: Final = 60.0
"""Seconds for one backup, the wait for the lock included; Plant 3D cannot save while it is read."""

LONGEST: Final = 300.0
"""Seconds for everything about one backup on a share, its proof included; a run that must end does not wait so long."""

SAFETY_COPIES: Final = 10
"""How many copies made before a restore are kept."""

_PAGES_PER_STEP: Final = 4096
_BLOCK: Final = 1024 * 1024
_BUSY_CODES: Final = frozenset({5, 6})
_LEFTOVER_SECONDS: Final = 3600
_STAMP: Final = "%Y%m%dT%H%M%SZ"


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One backup. `sha256` is "" when its checksum file is missing. `bytes` is its size, `created` is UTC."""

    path: Path
    bytes: int
    sha256: str
    created: datetime


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did, or (`restored` False) what the proof showed.

    `safety`: the backup of the file as it was before. `changed_tables`: tables of the present file that differ from
    the backup, hence what a restore takes back.
    """

    source: Path
    backup: Path
    restored: bool
    tables: int
    rows: int
    changed_tables: tuple[str, ...]
    safety: BackupInfo | None = None


class _Identity(msgspec.Struct, frozen=True, kw_only=True):
    dbid: str
    rows: int


# -- making -------------------------------------------------------------------------------------------------------


def make_backup(
    source: str | Path,
    folder: Path,
    *,
    project: str,
    keep: int | None = 10,
    deadline: float = DEFAULT_DEADLINE,
) -> BackupInfo:
    """Copy one moment of the `.dcf` to `<project>-<UTC time>-<n>.dcf` in `folder`, prove it, drop all but `keep`.

    `keep` None drops none: for one who prunes once something was written.

    Raises RetryLaterError `backup_failed` (disk full, folder away, copy not sound), `source_locked`,
    `source_hot_journal`, `source_busy`; ConfigError for a source that is no Plant 3D file. No push may follow then.
    """
    path = _file(source)
    created = datetime.now(UTC).replace(microsecond=0)
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, project)
        handle, name = tempfile.mkstemp(prefix=f".{_safe(project)}-", suffix=".part", dir=folder)
        os.close(handle)
        temporary = Path(name)
        failpoint("push.backup_begun")
        with file_guard(path):
            read_header(path)
            identity = _copy_out(path, temporary, deadline)
        _prove(temporary, identity)
        info = _publish(temporary, folder, project, created)
    except (OSError, sqlite3.Error) as error:
        raise _failed(path, folder, str(error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    failpoint("push.backup_verified")
    if keep is not None:
        prune_backups(folder, project, keep, spare=info.path)
    return info


def list_backups(folder: Path, project: str) -> list[BackupInfo]:
    """The backups of one project, newest first. A missing folder holds none."""
    pattern = re.compile(re.escape(_safe(project)) + r"-(\d{8}T\d{6}Z)-(\d+)\.dcf")
    found: list[tuple[str, int, Path]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match and path.is_file():
            found.append((match.group(1), int(match.group(2)), path))
    return [
        BackupInfo(
            path=path,
            bytes=path.stat().st_size,
            sha256=_noted_hash(path),
            created=datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC),
        )
        for stamp, _, path in sorted(found, reverse=True)
    ]


def _copy_out(path: Path, target: Path, deadline: float) -> _Identity:
    until = time.monotonic() + deadline

    def progress(status: int, remaining: int, _total: int) -> None:
        patience.look()
        if (remaining or status in _BUSY_CODES) and time.monotonic() > until:
            raise errors.busy(str(path), deadline)

    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        with hold(path, deadline) as held:
            identity = _identity(held.connection, path)
            try:
                held.connection.backup(connection, pages=_PAGES_PER_STEP, progress=progress, sleep=0.05)
            except sqlite3.Error as error:
                if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _BUSY_CODES:
                    raise errors.busy(str(path), deadline) from error
                raise _failed(path, target.parent, str(error)) from error
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute(
            "PRAGMA journal_mode = DELETE"
        ).fetchall()  # a WAL database would want files next to it
    _sync(target)
    return identity


def _prove(copy: Path, expected: _Identity) -> None:
    """Raise RetryLaterError `backup_failed` unless the copy is whole and of the same database."""
    with closing(sqlite3.connect(sqlite_uri(copy), uri=True)) as connection:
        connection.set_progress_handler(_must_end, _LOOK_AFTER)
        try:
            found = _sound(connection, copy)
        except sqlite3.Error:
            patience.look()  # it was interrupted because the run is to end
            raise
    if found != expected:
        raise _failed(
            copy, copy.parent, f"the copy holds {found.rows} items of {found.dbid}, not {expected.rows}"
        )


_LOOK_AFTER: Final = 100_000
"""Steps of SQLite's machine, some milliseconds of them, between two looks at the clock of the run."""


def _must_end() -> bool:
    try:
        patience.look()
    except Exception:  # noqa: BLE001  (SQLite only takes a yes; whoever asked it looks again)
        return True
    return False


def _sound(connection: sqlite3.Connection, path: Path) -> _Identity:
    result = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    if result != ["ok"]:
        raise _failed(path, path.parent, f"integrity check: {'; '.join(result)}")
    return _identity(connection, path)


def _identity(connection: sqlite3.Connection, path: Path) -> _Identity:
    names = {
        row[0].lower() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if "pnpbase" not in names:
        raise errors.not_plant3d(str(path), ["PnPBase"])
    row = (
        connection.execute("SELECT [DBID] FROM [PnPDatabase]").fetchone() if "pnpdatabase" in names else None
    )
    [count] = connection.execute("SELECT count(*) FROM [PnPBase]").fetchone()
    return _Identity(dbid=guid_text(row[0]) if row else "", rows=count)


def _publish(temporary: Path, folder: Path, project: str, created: datetime) -> BackupInfo:
    """Give the proved copy its name. Its checksum file is made first and claims the name: none is overwritten."""
    digest = _hash(temporary)
    stem = f"{_safe(project)}-{created.strftime(_STAMP)}"
    first = max(
        (_number(one.path) for one in list_backups(folder, project) if one.created == created), default=0
    )
    for number in range(first + 1, first + 10_000):
        final = folder / f"{stem}-{number}.dcf"
        note = _note(final)
        try:
            with note.open("x", encoding="ascii") as stream:  # claims the name
                stream.write(f"{digest}  {final.name}\n")
                stream.flush()
                os.fsync(stream.fileno())
        except FileExistsError:
            continue
        temporary.replace(final)
        _sync(folder)
        return BackupInfo(path=final, bytes=final.stat().st_size, sha256=digest, created=created)
    raise _failed(temporary, folder, "10,000 backups within one second")


def _sweep(folder: Path, project: str) -> None:
    """Remove what killed processes left an hour ago or earlier: unfinished copies, checksums without a backup."""
    safe = _safe(project)
    left = [*folder.glob(f".{safe}-*.part")]
    left += [note for note in folder.glob(f"{safe}-*.dcf.sha256") if not note.with_suffix("").exists()]
    for path in left:
        if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
            path.unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def prune_backups(
    folder: Path, project: str, keep: int, *, spare: Path, empty: frozenset[Path] = frozenset()
) -> list[Path]:
    """Remove backups until `keep` are left: those in `empty` (no write followed them) first, then the oldest.

    Never `spare`, the one just made (the clock may have been set back). Returns what was removed; one that cannot be
    removed stays for the next time.
    """
    found = list_backups(folder, project)
    others = [one.path for one in reversed(found) if one.path != spare]
    others.sort(key=lambda path: path not in empty)  # stable: oldest first within each kind
    return [path for path in others[: max(len(found) - max(keep, 1), 0)] if remove_backup(path)]


def remove_backup(path: Path) -> bool:
    """Remove one backup and its checksum. False when another program has it open (Windows)."""
    try:
        path.unlink(missing_ok=True)
        _note(path).unlink(missing_ok=True)
    except PermissionError:
        return False
    return True


# -- putting back -------------------------------------------------------------------------------------------------


def restore_backup(
    source: str | Path,
    backup: Path | BackupInfo,
    *,
    project: str = "restore",
    folder: Path | None = None,
    drawings: DrawingLocks | None = None,
    sha256: str = "",
    check_only: bool = False,
    deadline: float = DEFAULT_DEADLINE,
    synced: frozenset[str] = frozenset(),
) -> RestoreReport:
    """Put a backup back into the `.dcf`, in one transaction: a reader sees the old state or the new one, never half.

    Before that: no drawing and no settings may be open, the backup must be whole, of this database, and (`sha256`
    given or noted next to it) unaltered; the present state is backed up into `folder` (default: next to the backup).
    `check_only` proves all of this on a temporary file and changes nothing. `synced`: synchronisers the project allows.
    Raises what `refuse_unsafe_places` does; NotFoundError `backup_not_found`; NeedsPersonError `backup_damaged`, `backup_other_database`,
    `source_damaged`, `drawing_open`, `project_settings_open`; RetryLaterError `source_locked`, `backup_failed`.
    """
    path = _file(source)
    file = backup.path if isinstance(backup, BackupInfo) else backup
    expected = sha256 or (backup.sha256 if isinstance(backup, BackupInfo) else "") or _noted_hash(file)
    wanted = _verified(file, expected)
    if not check_only:
        _refuse_sessions(path, drawings)
    with file_guard(path):
        refuse_unsafe_places(path, synced=synced)
        present = _present_state(path, deadline)
        if present.identity.dbid != wanted.identity.dbid:
            raise NeedsPersonError(
                f"{file} is a backup of another database ({wanted.identity.dbid}, here: {present.identity.dbid}). "
                "Nothing was changed.",
                hint="Choose a backup of this project: plant3d-sync backups PROJECT.",
                code="backup_other_database",
            )
        safety = None
        if check_only:
            _prove_restorable(file, wanted, deadline)
        else:
            place, name = folder or file.parent, f"{project}-before-restore"
            safety = make_backup(path, place, project=name, keep=None, deadline=deadline)
            try:
                _put_back(file, path, deadline)
            except RetryLaterError:  # the database is as it was: a copy of it would push older ones out
                remove_backup(safety.path)
                raise
            prune_backups(place, name, SAFETY_COPIES, spare=safety.path)
            _compare(path, wanted)
    differing = present.tables.keys() ^ wanted.tables.keys()
    differing |= {name for name, state in wanted.tables.items() if present.tables.get(name, state) != state}
    return RestoreReport(
        source=path,
        backup=file,
        restored=not check_only,
        tables=len(wanted.tables),
        rows=sum(rows for rows, _ in wanted.tables.values()),
        changed_tables=tuple(sorted(differing)),
        safety=safety,
    )


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """Identity and logical content: table -> (rows, digest of all rows)."""

    identity: _Identity
    tables: dict[str, tuple[int, str]]


def logical_digest(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """Per table the number of rows and a digest of all of them, independent of where they lie in the file."""
    connection.text_factory = bytes
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    found: dict[str, tuple[int, str]] = {}
    for raw_name, sql in rows:
        name = raw_name.decode("utf-8", "replace")
        if name.startswith("sqlite_"):
            continue
        digest, count = hashlib.sha256(sql), 0
        total = 0
        for row in connection.execute(f"SELECT * FROM {quoted(name)}"):
            one = hashlib.blake2b(repr(row).encode(), digest_size=16).digest()
            total = (total + int.from_bytes(one, "big")) % (1 << 128)  # a sum: rows may come in any order
            count += 1
        digest.update(total.to_bytes(16, "big"))
        found[name] = (count, digest.hexdigest())
    return found


def _state(connection: sqlite3.Connection, path: Path) -> _State:
    return _State(identity=_sound(connection, path), tables=logical_digest(connection))


def _verified(file: Path, expected: str) -> _State:
    """The content of a backup that is whole and unaltered. Raises NotFoundError or NeedsPersonError."""
    if not file.is_file():
        raise NotFoundError(
            f"There is no backup {file}. Nothing was changed.",
            hint="List them: plant3d-sync backups PROJECT.",
            code="backup_not_found",
        )
    try:
        if expected and _hash(file) != expected:
            raise _damaged(file, "its checksum is not the one noted when it was made")
        with closing(sqlite3.connect(sqlite_uri(file), uri=True)) as connection:
            return _state(connection, file)
    except (sqlite3.Error, OSError, RetryLaterError, ConfigError) as error:
        raise _damaged(file, str(error)) from error


def _present_state(path: Path, deadline: float) -> _State:
    try:
        read_header(path)
        with hold(path, deadline) as held:
            return _state(held.connection, path)
    except ConfigError as error:
        raise _source_damaged(path, error.message) from error
    except RetryLaterError as error:
        if error.error_code == "backup_failed":
            raise _source_damaged(path, error.message) from error
        raise


def _refuse_sessions(path: Path, drawings: DrawingLocks | None) -> None:
    locks = drawings or DrawingLocks(path.parent)
    sign = locks.project_sign(path.parent)
    if sign is not None:
        raise NeedsPersonError(
            f"The project settings are open in Plant 3D ({sign.name}). Nothing was changed.",
            hint="Close Plant 3D everywhere; if nobody has it open, delete that lock file. Then restore again.",
            code="project_settings_open",
        )
    opened = locks.open_drawings()
    if opened:
        raise NeedsPersonError(
            counted(
                len(opened),
                f"{len(opened)} drawing is open: {opened[0]}. Nothing was changed.",
                f"{len(opened)} drawings are open, among them {opened[0]}. Nothing was changed.",
            ),
            hint="Close every drawing; if nobody has one open, delete its .dwl files. Then restore again.",
            code="drawing_open",
            details={"drawings": opened[:20]},
        )


def _put_back(file: Path, path: Path, deadline: float) -> None:
    """Copy the backup over the database through SQLite's own journal: all or nothing, also after a power cut."""
    until = time.monotonic() + deadline
    with (
        closing(sqlite3.connect(sqlite_uri(file), uri=True)) as backup,
        closing(sqlite3.connect(path, timeout=min(deadline, 5.0), isolation_level=None)) as target,
    ):
        _transfer(backup, target, until, _locked(path))


def _transfer(
    backup: sqlite3.Connection,
    target: sqlite3.Connection,
    until: float,
    refused: Callable[[], RetryLaterError],
) -> None:
    def progress(status: int, remaining: int, _total: int) -> None:
        if (remaining or status in _BUSY_CODES) and time.monotonic() > until:
            raise refused()

    try:
        backup.backup(target, pages=_PAGES_PER_STEP, progress=progress, sleep=0.05)
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _BUSY_CODES:
            raise refused() from error
        raise RetryLaterError(
            f"The backup could not be put back: {error}. The database is as it was.",
            hint="Check free space and rights on the project folder.",
            code="restore_failed",
        ) from error


def _locked(path: Path) -> Callable[[], RetryLaterError]:
    return lambda: RetryLaterError(
        f"{path} is in use by another program, so the backup was not put back. The database is as it was.",
        hint="Close Plant 3D and every other program that uses the project, then restore again.",
        code="source_locked",
    )


def _compare(path: Path, wanted: _State) -> None:
    with closing(sqlite3.connect(sqlite_uri(path), uri=True)) as connection:
        found = _state(connection, path)
    if found != wanted:
        raise NeedsPersonError(
            f"After the restore {path} does not equal the backup.",
            hint="Another program may have written since. The safety backup next to the backup holds the state before.",
            code="restore_differs",
        )


def _prove_restorable(file: Path, wanted: _State, deadline: float) -> None:
    with _scratch() as copy:
        with (
            closing(sqlite3.connect(sqlite_uri(file), uri=True)) as backup,
            closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            _transfer(backup, target, time.monotonic() + deadline, _locked(copy))
        _compare(copy, wanted)


@contextmanager
def _scratch() -> Iterator[Path]:
    scratch = Scratch()
    try:
        yield scratch.file("proof.db")
    finally:
        scratch.close()


# -- SQL Server ---------------------------------------------------------------------------------------------------


class ServerBackup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup the server was asked for. `done` False: `reason` says why, and only before-images protect the rows."""

    statement: str
    done: bool
    reason: str = ""


def backup_statement(database: str, file: str) -> str:
    """`BACKUP DATABASE` that leaves the site's own chain of backups alone (COPY_ONLY). `file`: a path on the server."""
    name = database.replace("]", "]]")
    target = file.replace("'", "''")
    return f"BACKUP DATABASE [{name}] TO DISK = N'{target}' WITH COPY_ONLY, INIT, CHECKSUM"


def backup_on_server(engine: Engine, *, database: str, file: str) -> ServerBackup:
    """Ask SQL Server for a COPY_ONLY backup, if this login may. Never raises for a missing right or a refused backup.

    `engine`: in autocommit mode, because SQL Server makes no backup inside a transaction.
    """
    statement = backup_statement(database, file)
    driver: Any = engine.dialect.loaded_dbapi
    failures: tuple[type[Exception], ...] = (
        SQLAlchemyError,
        driver.Error,
        *untidy_errors(engine.dialect.driver),
    )
    try:
        with engine.connect() as connection:
            allowed = connection.execute(
                text("SELECT HAS_PERMS_BY_NAME(NULL, 'DATABASE', 'BACKUP DATABASE')")
            ).scalar()
            if allowed != 1:
                return ServerBackup(
                    statement=statement,
                    done=False,
                    reason="This login has no right to back up the database; only the before-images of the changed "
                    "rows are kept. Grant BACKUP DATABASE to it, or rely on the site's own backups.",
                )
            _to_its_end(connection, statement)
    except failures as error:
        return ServerBackup(
            statement=statement,
            done=False,
            reason=f"SQL Server did not make the backup ({type(error).__name__}: {str(error).splitlines()[0]}).",
        )
    return ServerBackup(statement=statement, done=True)


def _to_its_end(connection: Connection, statement: str) -> None:
    """A statement whose answer is messages, heard to the last one: pyodbc returns with the first, and closing the cursor then
    stops a backup that is still going on. Raises the driver's errors.
    """
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        while cursor.nextset():
            pass
    finally:
        with suppress(Exception):  # a cursor of a lost connection says so again; the first error counts
            cursor.close()


# -- small things -------------------------------------------------------------------------------------------------


def _file(source: str | Path) -> Path:
    opened = open_source(source)
    if not isinstance(opened, SqliteSource):
        raise ConfigError(
            "Only a .dcf file can be backed up and restored as a file. Nothing was done.",
            hint="SQL Server projects: use the server's own backups; every change also keeps its before-image.",
            code="backup_not_a_file",
        )
    return opened.path


def _safe(project: str) -> str:
    """The project's name as part of a file name; two names that differ stay different."""
    safe = re.sub(r"[^\w.+-]", "_", project).strip(". ")
    return safe if safe == project else f"{safe}-{hashlib.sha256(project.encode()).hexdigest()[:8]}"


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _noted_hash(path: Path) -> str:
    try:
        noted = _note(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return ""
    return noted[0] if noted and re.fullmatch(r"[0-9a-f]{64}", noted[0]) else ""


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            patience.look()
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Make sure a file or (not on Windows) the names in a folder are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(path: Path, folder: Path, why: str) -> RetryLaterError:
    return RetryLaterError(
        f"No verified backup of {path} could be made in {folder}: {why}. There is no push without one; nothing was "
        "written.",
        hint="Check free space and rights of the backup folder, then run again.",
        code="backup_failed",
        details={"reason": why},
    )


def _damaged(file: Path, why: str) -> NeedsPersonError:
    return NeedsPersonError(
        f"The backup {file} cannot be used: {why}. Nothing was changed.",
        hint="Choose an older backup: plant3d-sync backups PROJECT.",
        code="backup_damaged",
        details={"reason": why},
    )


def _source_damaged(path: Path, why: str) -> NeedsPersonError:
    return NeedsPersonError(
        f"The present database {path} cannot be read ({why}), so no safety copy of it could be made. Nothing was "
        "changed.",
        hint="With Plant 3D closed everywhere, move the damaged file aside and copy the backup to its place by hand.",
        code="source_damaged",
    )
