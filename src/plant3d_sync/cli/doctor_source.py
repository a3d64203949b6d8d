"""The Plant 3D side of `doctor`: the database, what we remember of it, the mapping, and writing back."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from plant3d_sync.bootstrap import App, drawings_folder, pushable_columns
from plant3d_sync.cli.doctor_lines import CLOCK_WARNING, Line, failed, from_error, ok, skipped, warning
from plant3d_sync.cli.step_lines import step_lines
from plant3d_sync.connectors.memory import MemorySynapse
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.elsewhere import elsewhere
from plant3d_sync.connectors.plant3d.mounts import SAFE_KINDS, mount_kind
from plant3d_sync.connectors.plant3d.reading.copy import file_guard, read_header, seconds_of_a_read
from plant3d_sync.connectors.plant3d.reading.open import (
    DEFAULT_DEADLINE,
    SqliteSource,
    copy_kind,
    open_source,
)
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.reading.sqlserver import SqlServerSource, engine_for, list_databases
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, ServerName
from plant3d_sync.connectors.plant3d.sqlserver_browser import instance_port
from plant3d_sync.connectors.plant3d.sqlserver_clock import clock_of
from plant3d_sync.connectors.plant3d.sqlserver_drivers import Chosen, encryption_of, recipe_for
from plant3d_sync.connectors.plant3d.writing.drawings import DRAWING_UNSEEN, DrawingLocks
from plant3d_sync.connectors.plant3d.writing.grants import RightFinding, check_rights
from plant3d_sync.connectors.plant3d.writing.syncfolders import sync_signs, unallowed
from plant3d_sync.errors import GuardStop, RetryLaterError, SyncError
from plant3d_sync.mapping import STOCK, Problem, Severity, check_mapping, compile_rules, load_mapping
from plant3d_sync.model.moment import EPOCH_TICKS, TICKS
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import WriteMode
from plant3d_sync.reconcile.guard import check_identity
from plant3d_sync.run.project import ProjectConfig, World
from plant3d_sync.run.schema import Look
from plant3d_sync.usecases.coverage import Expected, expected_coverage
from plant3d_sync.words import counted

LOCK_BUDGET_MS: Final = 1000.0
"""While we hold the read lock Plant 3D cannot save: well under a second is the promise."""

CONNECT_SECONDS: Final = 10.0
SHOWN: Final = 3
"""Problems told in one line; `mapping check` tells all."""

BROWSER_SECONDS: Final = 3.0
"""How long the SQL Server Browser may take to say where an instance listens."""


def check_source(app: App, config: ProjectConfig, known: SourceIdentity | None) -> list[Line]:
    """From the name of the source to the rights for writing. `known`: the database as the last run saw it."""
    try:
        source = open_source(
            config.source,
            deadline=app.settings.p3dsync_source_deadline_seconds,
            allow_copy=config.allow_copy,
        )
    except SyncError as error:
        return [from_error("source", error), *_skipped("snapshot", "mapping")]
    lines = _asked_file(source, config) if isinstance(source, SqliteSource) else _server(source)
    if any(line.result == "failed" and line.check != "mount" for line in lines):
        return [*lines, *_skipped("snapshot", "identity", "mapping")]
    try:
        snapshot = source.snapshot()
    except SyncError as error:
        return [*lines, _unread(source, error), *_skipped("identity", "mapping")]
    assert isinstance(snapshot, Snapshot)
    try:
        lines += [*_read(source, snapshot), _identity(known, snapshot.identity)]
        mapping_lines, rules = _mapping(app, config, snapshot)
        lines += mapping_lines
        if rules is not None:
            lines += _expected(app, config, snapshot, rules)
        return lines + _write_back(app, config, source, snapshot, rules)
    finally:
        snapshot.close()


def _skipped(*checks: str) -> list[Line]:
    return [skipped(check) for check in checks]


# ---------------------------------------------------------------- a file


def _asked_file(source: SqliteSource, config: ProjectConfig) -> list[Line]:
    try:
        path = source.path
        return elsewhere(str(path), _file, path, config, seconds=source.deadline, places=[path])
    except SyncError as error:
        return [from_error("source", error)]


def _file(path: Path, config: ProjectConfig) -> list[Line]:
    """What can be said of the file before it is locked."""
    try:
        with file_guard(path):
            if not path.exists():
                raise errors.not_found(path)
            header = read_header(path)
    except SyncError as error:
        return [from_error("source", error)]
    size = path.stat().st_size
    wal = header[18] == 2
    return [
        ok("source", f"{path} ({size / 1024**2:.1f} MiB)"),
        ok("file kind", "SQLite database"),
        _copy(path, allowed=config.allow_copy),
        _journal(path, wal=wal),
        _mount(path, writing=config.write is WriteMode.SQL),
        _synced(path, config),
        _room(size),
        _read_time(path),
    ]


def _copy(path: Path, *, allowed: bool) -> Line:
    kind = copy_kind(path)
    if kind is None:
        return ok("working copy", "no sign of a collaboration or Vault copy")
    if not allowed:
        return from_error("working copy", errors.is_copy(str(path), kind))
    hint = "Point at the master project, unless this is meant for trying."
    return warning("working copy", f"one user's {kind} copy, allowed by allow_copy", hint, "source_is_copy")


def _journal(path: Path, *, wal: bool) -> Line:
    if not wal:
        return ok("journal mode", "rollback journal")
    hint = "This account also needs write rights on the folder; WAL does not work over a network share."
    return warning("journal mode", "write-ahead log, unusual for Plant 3D", hint, "journal_wal")


def _mount(path: Path, *, writing: bool) -> Line:
    """Only a writer depends on locks that reach the others; a reader may at worst copy a file during a save."""
    kind = mount_kind(path)
    if kind in SAFE_KINDS:
        return ok("mount", f"{kind}: file locks reach the other programs")
    what = f"{kind}: file locks on this mount may not reach Plant 3D"
    hint = "Mount the share without nobrl, nolock or local_lock (SMB 3 or NFS 4), or run next to the file."
    if writing:
        return failed("mount", what, hint, "unsafe_mount", 78)
    return warning("mount", what, hint, "unsafe_mount")


def _synced(path: Path, config: ProjectConfig) -> Line:
    """Who keeps the file in step with other machines: a warning for whoever reads, a stop for whoever writes."""
    signs = sync_signs(path)
    if not signs:
        return ok(
            "synchronised folder", "no sign of a program that keeps the file in step with other machines"
        )
    seen = "; ".join(f"{sign.label}: {sign.why}" for sign in signs)
    left = unallowed(signs, config.allow_synced_folder)
    if left and config.write is WriteMode.SQL:
        names = ", ".join(sign.name for sign in left)
        hint = (
            "Let the project lie on a file server, or use `write: workbook`; to write all the same: "
            f"`allow_synced_folder: [{names}]`. Compare and remove conflicted copies."
        )
        return failed("synchronised folder", seen, hint, "source_synced", 78)
    hint = (
        "What is read here may be older than what the others see. Compare and remove conflicted copies; `write: sql` "
        "needs `allow_synced_folder`."
    )
    return warning("synchronised folder", seen, hint, "source_synced")


def _room(size: int) -> Line:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    what = f"a read copies {size / 1024**2:.1f} MiB, {free / 1024**2:.0f} MiB are free"
    if free < size * 2:
        return failed("room for the copy", what, errors.no_space(what).hint, "no_space", 75)
    return ok("room for the copy", what)


def _read_time(path: Path) -> Line:
    """How long a run will keep Plant 3D from saving, told before anything is locked."""
    try:
        with file_guard(path):
            ms = seconds_of_a_read(path) * 1000
    except SyncError as error:
        return from_error("read time", error)
    if ms > LOCK_BUDGET_MS:
        what = f"reading the file takes about {ms:.0f} ms, and Plant 3D cannot save as long (promised: {LOCK_BUDGET_MS:.0f})"
        hint = "Run this service near the file (same machine, fast network), or at hours when nobody draws."
        return warning("read time", what, hint, "lock_long")
    return ok("read time", f"the file can be read in about {ms:.0f} ms; Plant 3D cannot save as long")


# ---------------------------------------------------------------- SQL Server


def _server(source: object) -> list[Line]:
    """Name, driver, connection, encryption of a SQL Server source; login and database show when it is read."""
    assert isinstance(source, SqlServerSource)
    address = source.address
    try:
        chosen = recipe_for(address).chosen
    except SyncError as error:
        return [ok("source", source.name), from_error("driver", error)]
    lines = [ok("source", source.name), ok("driver", str(chosen))]
    encryption = _encryption(address, chosen)
    if address.server is None:
        return [*lines, skipped("server connection", f"{address.where} says where the server is"), encryption]
    reached = _reach(address.server)
    lines += reached
    return lines if any(line.result == "failed" for line in reached) else [*lines, encryption]


def _reach(server: ServerName) -> list[Line]:
    """Whether the host has an address, the instance a port, and the port an answer."""
    try:
        found = socket.getaddrinfo(server.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        hint = "Correct PLANT3D_DB_HOST, or the name server."
        what = f"{server.host} has no address ({error.strerror})"
        return [failed("server name", what, hint, "source_name", 75)]
    lines = [ok("server name", f"{server.host}: {found[0][4][0]}")]
    port = server.tcp_port
    if port is None:
        try:
            port = instance_port(server.host, server.instance or "", timeout=BROWSER_SECONDS)
        except OSError:
            port = None
        if port is None:
            hint = (
                "Start the service SQL Server Browser there and open UDP port 1434, switch TCP/IP on for the instance, "
                "or give its port: HOST,PORT."
            )
            what = f"nobody says on which port {server} listens"
            return [*lines, failed("server instance", what, hint, "source_away", 75)]
        lines.append(ok("server instance", f"{server} listens on port {port}"))
    try:
        with socket.create_connection((server.host, port), timeout=CONNECT_SECONDS):
            return [*lines, ok("server connection", f"port {port} answers")]
    except OSError as error:
        hint = (
            "Is SQL Server running, is TCP/IP switched on for it, is the port right and open in the firewall?"
        )
        what = f"no connection to {server.host}, port {port} ({error.strerror or 'no answer in time'})"
        return [*lines, failed("server connection", what, hint, "source_away", 75)]


def _encryption(address: ServerAddress, chosen: Chosen) -> Line:
    found = encryption_of(address, chosen)
    if found.level == "verified":
        return ok("encryption", found.message)
    code = "source_unencrypted" if found.level == "off" else "source_unverified"
    return warning("encryption", found.message, found.hint, code)


def _unread(source: object, error: SyncError) -> Line:
    """Why the database could not be read; for a wrong database name also which names this login sees."""
    line = from_error("snapshot", error)
    if error.error_code != "source_database_unknown" or not isinstance(source, SqlServerSource):
        return line
    try:
        names = list_databases(source.address)
    except SyncError:  # the first error is the news; the list is a courtesy
        return line
    likely = [name for name in names if name.lower().endswith("_pnid")]
    shown = ", ".join(likely or names) or "none"
    hint = f"Databases this login may open: {shown}. Set PLANT3D_DB_NAME (or the URL) to the right one."
    return failed("snapshot", error.message, hint, error.error_code, error.exit_code)


# ---------------------------------------------------------------- what was read


def _read(source: object, snapshot: Snapshot) -> list[Line]:
    ms = snapshot.lock_ms
    items = sum(snapshot.counts(sorted(snapshot.catalog.classes)).values())
    read = ok(
        "snapshot", f"a Plant 3D P&ID database; classes: {len(snapshot.catalog.classes)}, rows: {items}"
    )
    if isinstance(source, SqlServerSource):
        return [read, ok("read time", f"{ms:.0f} ms for one pass, without locks that others wait for")]
    if ms > LOCK_BUDGET_MS:
        hint = "Run this service near the file (same machine, fast network): Plant 3D cannot save meanwhile."
        return [read, warning("lock time", f"the file was held for {ms:.0f} ms", hint, "lock_long")]
    return [read, ok("lock time", f"the file was held for {ms:.0f} ms")]


def _identity(known: SourceIdentity | None, seen: SourceIdentity) -> Line:
    if known is None:
        return ok("identity", f"DBID {seen.dbid}; never read before")
    hits = check_identity(known, seen)
    if hits:
        hint = (
            "If an older copy was put back, or the project moved to another database, on purpose: "
            "pull --dry-run, look at the plan, then apply it with --approve-guards. Else correct `source`."
        )
        message = " ".join(hit.message for hit in hits)
        return failed("identity", message, hint, f"guard_{hits[0].name}", GuardStop.exit_code)
    return ok("identity", f"DBID {seen.dbid}, the one of the last run; its counters did not go back")


def _mapping(app: App, config: ProjectConfig, snapshot: Snapshot) -> tuple[list[Line], RuleSet | None]:
    """The mapping by itself, then against the classes and columns of this project."""
    try:
        mapping = load_mapping(list(config.mapping), base_dir=app.base_dir)
        problems = check_mapping(mapping, snapshot.catalog)
        errors_found = [problem for problem in problems if problem.severity is Severity.ERROR]
        if not errors_found:
            line = _mapping_line(config, problems)
            return [line], compile_rules(mapping, snapshot.catalog)
    except SyncError as error:
        return [from_error("mapping", error)], None
    hint = "Correct the lines named here, then run: plant3d-sync mapping check FILE --source SOURCE"
    return [failed("mapping", _some(errors_found), hint, "mapping_invalid", 78)], None


def _expected(app: App, config: ProjectConfig, snapshot: Snapshot, rules: RuleSet) -> list[Line]:
    """The schema next to the accepted one, and what a pull would hand over now: the plan that a run would make."""
    known = True
    try:
        state = app.kept_state
    except SyncError:  # it has a line of its own
        state, known = app.no_state, False
    try:
        world = World(state=state, clock=app.clock)
        project = app.project(config.name, synapse=MemorySynapse())  # nobody is asked
        found = expected_coverage(world, project, snapshot, rules)
    except SyncError as error:
        return [*_skipped("project schema"), from_error("coverage", error)]
    return [_schema(config, found.look if known else None), _coverage(config, found)]


def _coverage(config: ProjectConfig, found: Expected) -> Line:
    """How much of what the mapping asks for arrives, as the runs, the status and the metrics count it, and why not the rest."""
    message = f"this mapping brings {found.coverage.said()}"
    if found.left_alone:
        message = f"{message}; assets of classes that it does not bring, left alone: {found.left_alone}"
    if found.coverage.is_below(config.coverage_warn):
        hint = "After a run `plant3d-sync findings` names the items; `coverage: {warn: …}` sets the floor."
        return warning("coverage", message, hint, "coverage_low")
    return ok("coverage", message)


def _schema(config: ProjectConfig, look: Look | None) -> Line:
    """Whether the classes and columns that the mapping uses are those that were accepted."""
    if look is None:
        return skipped("project schema", "not checked: see above")
    if look.kept is None:
        return ok("project schema", "nothing was accepted yet; the first complete run accepts it as it is")
    if look.step is None:
        return ok("project schema", "the one that was accepted")
    message = " ".join(step_lines(look.document))
    hint = f"plant3d-sync schema show {config.name}; `schema accept` accepts it. Until then the fields and items that it concerns wait."
    return warning("project schema", message, hint, "schema_step")


def _mapping_line(config: ProjectConfig, problems: Iterable[Problem]) -> Line:
    names = " + ".join(config.mapping)
    # What the built-in mapping names and this project lacks is no news: projects of other years have other columns.
    warnings = [one for one in problems if one.severity is Severity.WARNING and one.file != STOCK]
    if warnings:
        hint = "plant3d-sync mapping check FILE --source SOURCE tells all of them."
        return warning("mapping", f"{names} fits, with warnings: {_some(warnings)}", hint, "mapping_warnings")
    summary = [problem.message for problem in problems if problem.code == "summary"]
    return ok("mapping", f"{names} fits this project: {'; '.join(summary)}")


def _some(problems: list[Problem]) -> str:
    more = len(problems) - SHOWN
    return "; ".join(map(str, problems[:SHOWN])) + (f"; and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- writing back


def _write_back(
    app: App, config: ProjectConfig, source: object, snapshot: Snapshot, rules: RuleSet | None
) -> list[Line]:
    """What `write: sql` needs: rights, a place for backups, and a view of the drawings' lock files."""
    if config.write is not WriteMode.SQL:
        off = skipped("write", f"write: {config.write.value}: nothing is written into Plant 3D's database")
        return [
            off,
            *(
                _rights(source, snapshot, rules, writer=False, allowed_login=config.allow_strong_login)
                if isinstance(source, SqlServerSource)
                else []
            ),
        ]
    lines = [_asked_drawings(config, snapshot)]
    if isinstance(source, SqlServerSource):
        return lines + _rights(source, snapshot, rules, writer=True, allowed_login=config.allow_strong_login)
    assert isinstance(source, SqliteSource)
    path, folder = source.path, _backup_folder(app, config)
    try:
        return [
            *lines,
            elsewhere(str(path), _file_rights, path, seconds=source.deadline, places=[path]),
            elsewhere(str(folder), _backups, folder, path, seconds=source.deadline, places=[folder, path]),
        ]
    except SyncError as error:
        return [*lines, from_error("backups", error)]


def _asked_drawings(config: ProjectConfig, snapshot: Snapshot) -> Line:
    names = snapshot.drawing_files()
    try:
        folder = drawings_folder(config)
        places = [folder] if folder else []
        what = f"the drawings of {config.name}"
        return elsewhere(what, _drawings, config, folder, names, seconds=DEFAULT_DEADLINE, places=places)
    except SyncError as error:
        return from_error("drawings", error)


def _drawings(config: ProjectConfig, folder: Path | None, names: Sequence[str]) -> Line:
    if folder is None or not folder.is_dir():
        where = f"{folder} is not there" if folder else "no folder is configured"
        hint = "Set `drawings:` to the project's folder of P&ID drawings, as seen from the worker's machine."
        if config.drawings_unseen_are_open:
            return failed(
                "drawings", f"{where}: every drawing counts as open", hint, "drawing_folder_unseen", 78
            )
        return warning("drawings", f"{where}: drawings count as closed", hint, "drawing_folder_unseen")
    locks = DrawingLocks(folder, unseen_counts_as_open=config.drawings_unseen_are_open)
    sign = locks.project_sign()
    if sign is not None:
        hint = "Writing waits until the project settings are closed in Plant 3D."
        return warning("drawings", f"project settings are open ({sign.name})", hint, "project_settings_open")
    return _held(locks, config, names) or ok("drawings", f"{folder}, {len(locks.open_drawings())} open now")


def _held(locks: DrawingLocks, config: ProjectConfig, names: Sequence[str]) -> Line | None:
    """A line if drawings of the database cannot be seen in the folder: a push to their items would be held.

    The question is the one that a push asks for each item, by the same name.
    """
    unseen = [name for name in names if locks.is_open(name)[1] == DRAWING_UNSEEN]
    if not unseen:
        return None
    where = counted(
        len(unseen),
        f"{len(unseen)} of {len(names)} drawings is not in {locks.folder}: {unseen[0]}",
        f"{len(unseen)} of {len(names)} drawings are not in {locks.folder}, among them {unseen[0]}",
    )
    message = f"{where}: they count as open, and every push to their items is held"
    hint = "Set `drawings:` to the folder in which these drawings lie, as seen from the worker's machine."
    if len(unseen) == len(names):
        return failed("drawings", message, hint, DRAWING_UNSEEN, 78)
    return warning("drawings", message, hint, DRAWING_UNSEEN)


def _file_rights(path: Path) -> Line:
    missing = [str(place) for place in (path, path.parent) if not os.access(place, os.W_OK)]
    if missing:
        hint = "Give this account write rights on the file and on its folder (SQLite puts its journal there)."
        return failed("rights", f"no right to write: {', '.join(missing)}", hint, "source_read_only", 78)
    return ok("rights", "the file and its folder can be written")


def _backups(folder: Path, path: Path) -> Line:
    place = next((one for one in (folder, *folder.parents) if one.is_dir()), Path.cwd())
    if not os.access(place, os.W_OK):
        hint = "Set `backups:` to a folder this account may write to: without a backup nothing is written."
        return failed("backups", f"no right to write in {place}", hint, "backup_folder", 78)
    free, size = shutil.disk_usage(place).free, path.stat().st_size
    what = f"{folder}: {free / 1024**2:.0f} MiB free, one backup takes {size / 1024**2:.1f} MiB"
    if free < size * 2:
        return failed("backups", what, "Free space there, or set `backups:` elsewhere.", "no_space", 75)
    return ok("backups", what)


def _backup_folder(app: App, config: ProjectConfig) -> Path:
    """Where backups would go, found without opening (and so making) the state database."""
    if config.backups or "state" in app.__dict__:
        return app.backup_folder(config)
    kind, _, database = app.state_url.partition(":///")
    beside = Path(database).parent if kind.startswith("sqlite") and database else app.base_dir
    return beside / "plant3d-backups" / config.name


def _rights(
    source: SqlServerSource,
    snapshot: Snapshot,
    rules: RuleSet | None,
    *,
    writer: bool,
    allowed_login: str | None,
) -> list[Line]:
    """Too little stops the run, too much stops the writer: both are reported here first."""
    if rules is None:
        return _skipped("rights")
    engine = engine_for(source.address)
    try:
        allowed = pushable_columns(snapshot.catalog, rules)
        found = check_rights(engine, catalog=snapshot.catalog, allowed=allowed, writer=writer)
        clock = _server_clock(clock_of(engine))
    except RetryLaterError as error:
        return [from_error("rights", error)]
    finally:
        engine.dispose()
    return [*clock, *(_right(one, writer=writer, allowed=allowed_login) for one in found)]


def _server_clock(told: int | None) -> list[Line]:
    """A write carries the earlier of the two times, and who edited last is told by clocks."""
    if told is None:
        return []
    apart = (told - EPOCH_TICKS) / TICKS - time.time()
    what = f"SQL Server's clock differs by {apart:+.1f} s"
    if abs(apart) > CLOCK_WARNING:
        return [warning("server clock", what, "Set both clocks by NTP.", "source_clock_skew")]
    return [ok("server clock", what)]


def _right(finding: RightFinding, *, writer: bool, allowed: str | None) -> Line:
    """A red finding stops a writer; a login that only reads, or that the project allows by name, is a warning."""
    if finding.level == "green":
        return ok("rights", finding.message)
    tolerated = bool(allowed and finding.login and finding.login.lower() == allowed.lower())
    if finding.level == "red" and writer and not tolerated:
        return failed("rights", finding.message, finding.hint, finding.code, 78)
    return warning("rights", finding.message, finding.hint, finding.code)
