"""`doctor`: look at everything a run needs, write nothing, and print the fix next to each failure.

Outside in: this machine, our state, then per project the Plant 3D side, the mapping, writing back, SYNAPSE.
A check that cannot be made because an earlier one failed is `skipped`, never silently left out.
"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from plant3d_sync import __version__
from plant3d_sync.address import MASK
from plant3d_sync.bootstrap import App
from plant3d_sync.cli.doctor_lines import CLOCK_WARNING, Line, failed, from_error, ok, skipped, warning
from plant3d_sync.cli.doctor_source import check_source
from plant3d_sync.cli.output import heads, plain, put, say
from plant3d_sync.connectors.base import SynapsePort
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse.probe import NAMES, Check, probe, reach
from plant3d_sync.connectors.synapse_v02.auto import AutoSynapse
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.connectors.synapse_v02.probe import probe as probe_v02
from plant3d_sync.errors import SyncError
from plant3d_sync.jobqueue import RedisBell
from plant3d_sync.language import heading, tr
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.settings import shared_projects, unset_names, weak_points
from plant3d_sync.sqlitefile import sqlite_uri
from plant3d_sync.state import State
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.address import state_url
from plant3d_sync.state.store import SCHEMA

OLDEST: Final = (3, 11)
LITTLE_SPACE: Final = 500 * 1024 * 1024
"""Bytes below which a disk is worth a warning: a copy of a large project and its backups need that much."""

NO_SPACE: Final = 50 * 1024 * 1024
YEAR_OF_RELEASE: Final = 2026
_SOMEBODY: Final = frozenset(
    {
        "synapse_unauthorized",
        "synapse_forbidden",
        "synapse_key_invalid",
        "synapse_key_missing",
        "synapse_login_missing",
        "synapse_login_refused",
        "synapse_user_inactive",
        "synapse_project_unknown",
        "synapse_no_contract",
        "synapse_contract",
        "synapse_redirect",
        "synapse_not_json",
        "synapse_refused",
        "synapse_tls",
        "synapse_encryption",
        "synapse_url",
    }
)
"""Codes that waiting does not cure."""


WORDS: Final = heads(
    "ok", "warning", "failed", "skipped", "python", "clock", "schema", "redis", "settings", "drawings", "mapping", "coverage", "write", "mount", "rights",
    "identity", "backups", "driver", "source", "encryption", "snapshot", "connection", "name", "address", "contract",
    "key", "project", "requests", "types", "unreadable", "server", "synapse key", "synapse name", "synapse project",
    "synapse clock", "synapse contract", "synapse connection", "synapse encryption", "synapse requests", "synapse types",
    "synapse unreadable", "synapse address",
)  # fmt: skip
"""How a check stands, and names of checks of one word; the others are messages."""


def run_doctor(app: App, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every check of the machine, of our state, and of these projects, in order. Writes nothing anywhere.

    Each entry: check, project (None for the machine), result (ok, warning, failed, skipped), message, hint, code,
    exit_code (what a run would end with because of it; 0 unless failed).
    """
    lines = [*_machine(app), *_settings(app, names)]
    state_lines, state = _state(app)
    lines += [*state_lines, _redis(app)]
    try:
        for name in names:
            lines += _project(app, name, state)
    finally:
        if state is not None:
            state.close()
    return [MASK.value(line.to_dict()) for line in lines]


def show_doctor(checks: Sequence[Mapping[str, Any]]) -> None:
    """The checks for people: one line each, the cure under whatever is not well, a verdict at the end."""
    width = max((len(_name(check)) for check in checks), default=0)
    shown: str | None = None
    for check in checks:
        if check["project"] != shown:
            shown = check["project"]
            say(f"\nProject {plain(shown)}")
        name = _name(check)
        put(f"  {heading(check['result']):10} {name:{width}}  {_sentence(tr(check['message']))}")
        if check["hint"] and check["result"] in ("warning", "failed"):
            code = f"   [{check['code']}]" if check["code"] else ""
            put(f"  {'':10} {'':{width}}  -> {tr(plain(check['hint']))}{code}")
    bad = sum(check["result"] == "failed" for check in checks)
    soft = sum(check["result"] == "warning" for check in checks)
    say(f"\nChecks: {len(checks)}; failed: {bad}; warnings: {soft}. Nothing was written.")


def _name(check: Mapping[str, Any]) -> str:
    name = str(check["check"])
    return heading(name) if name in WORDS else tr(name)


def _sentence(message: str) -> str:
    return "; ".join(plain(part) for part in message.splitlines())


# ---------------------------------------------------------------- this machine


def _machine(app: App) -> list[Line]:
    lines = [_python(), _clock()]
    folders = {"disk space (temporary)": Path(tempfile.gettempdir())}
    database = _sqlite_file(app.state_url)
    if database:
        folders["disk space (state)"] = _existing(Path(database).parent)
    return lines + [_space(check, folder) for check, folder in folders.items()]


def _python() -> Line:
    found = platform.python_version()
    what = f"plant3d-sync {__version__}, Python {found}, SQLite {sqlite3.sqlite_version}, {platform.system()}"
    if sys.version_info < OLDEST:
        return failed("python", f"{what}: too old", "Install Python 3.11 or newer.", "python_too_old", 78)
    return ok("python", what)


def _clock() -> Line:
    now = datetime.now(UTC)
    if now.year < YEAR_OF_RELEASE:
        return failed(
            "clock", f"this machine thinks it is {now:%Y-%m-%d}", "Set the clock by NTP.", "clock_wrong", 78
        )
    return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    for candidate in (folder, *folder.parents):
        if candidate.is_dir():
            return candidate
    return Path.cwd()


def _space(check: str, folder: Path) -> Line:
    free = shutil.disk_usage(folder).free
    what = f"{free / 1024**3:.1f} GiB free in {folder}"
    if free < NO_SPACE:
        hint = "Free space on that disk; for the temporary folder, TMPDIR may name a bigger one."
        return failed(check, what, hint, "no_space", 75)
    if free < LITTLE_SPACE:
        return warning(
            check, what, "Free some space: every read copies the Plant 3D database once.", "little_space"
        )
    return ok(check, what)


# ---------------------------------------------------------------- settings, state, Redis


def _settings(app: App, names: Sequence[str]) -> list[Line]:
    weak = weak_points(app.settings, app.config, app.environ)
    lines = [ok("settings", "environment and configuration file are readable")]
    if weak and not app.settings.debug:
        hint = "Use values of your own. DEBUG=true allows them on a test machine."
        lines = [warning("settings", "; ".join(weak), hint, "weak_secret")]
    if not names:
        unset = ", ".join(unset_names(app.settings, app.config, app.environ))
        hint = f"Add one under `projects:` in plant3d-sync.yml, or set {unset or 'SYNAPSE_PROJECT_ID'}."
        lines.append(warning("projects", "no project is configured", hint, "no_project"))
    if shared := shared_projects(app.config):
        hint = "Give each its own synapse_project_id, or set `active: false` in all but one of them."
        lines.append(warning("projects", "; ".join(shared), hint, "project_shared"))
    return lines


def _state(app: App) -> tuple[list[Line], State | None]:
    """The state database's lines, and the database itself if it is there and of this version."""
    try:
        missing = _state_missing(app.state_url)
        if missing is not None:
            return [missing, skipped("schema", "it is set up by the first command that needs it")], None
        state = State(app.state_url)
        version = _version(state)
        if state.dialect != "sqlite":
            state.look()
    except SyncError as error:
        return [from_error("state database", error), skipped("schema")], None
    except sqlite3.Error as error:
        hint = "STATE_DB_URL must name our own SQLite file or PostgreSQL database, not another one."
        message = f"the state database cannot be read: {error}"
        return [failed("state database", message, hint, "state_unavailable", 78), skipped("schema")], None
    reachable = ok("state database", state.shown)
    if version != SCHEMA:
        hint = "Back the state database up, then run: plant3d-sync db upgrade"
        message = f"schema {version or 'none'}, this program needs {SCHEMA}"
        state.close()
        return [reachable, failed("schema", message, hint, "schema_version", 78)], None
    return [reachable, ok("schema", version), *_state_clock(state)], state


def _sqlite_file(url: str) -> str | None:
    """The state's file; None for a server's, and for an address that the state's own check refuses."""
    try:
        found = state_url(url)
    except SyncError:
        return None
    return found.database if found.get_backend_name() == "sqlite" else None


def _state_missing(url: str) -> Line | None:
    """A line if the SQLite file is not there yet (opening it would make it)."""
    made = state_url(url)
    if made.get_backend_name() != "sqlite" or not made.database or Path(made.database).is_file():
        return None
    where = made.render_as_string(hide_password=True)
    return ok("state database", f"{where} does not exist yet; the first run makes it")


def _version(state: State) -> str | None:
    """The schema's version. A SQLite file is asked read-only, so that a wrong file is not touched."""
    database = state.url.database
    if state.dialect != "sqlite" or not database:
        return state.schema_version()
    with closing(sqlite3.connect(sqlite_uri(Path(database)), uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if found else None
        return str(row[0]) if row else None


def _state_clock(state: State) -> list[Line]:
    """Leases count on the state database's clock, times in lists on ours: they should agree."""
    if state.dialect == "sqlite":
        return []
    apart = state.clock() - time.time()
    what = f"the state database's clock differs by {apart:+.1f} s"
    if abs(apart) > CLOCK_WARNING:
        return [warning("state clock", what, "Set both clocks by NTP.", "state_clock_skew")]
    return [ok("state clock", what)]


def _redis(app: App) -> Line:
    if app.settings.redis_url is None:
        return skipped("redis", "REDIS_URL is not set: workers look into the run table once a second")
    url = app.settings.redis_url.get_secret_value()
    hint = "Start Redis or correct REDIS_URL. Nothing is lost without it: workers poll the run table."
    try:
        with closing(RedisBell(url, log=False)) as bell:
            if not bell.alive():
                return warning("redis", f"no answer: {bell.trouble}", hint, "redis_away")
            policy = bell.policy()
    except SyncError as error:
        return from_error("redis", error)
    if policy not in (None, "noeviction"):
        cure = "Set `maxmemory-policy noeviction`. Nothing is lost: workers also look into the run table."
        return warning(
            "redis", f"answers, but may drop a ring (maxmemory-policy {policy})", cure, "redis_policy"
        )
    return ok("redis", "answers")


# ---------------------------------------------------------------- one project


def _project(app: App, name: str, state: State | None) -> list[Line]:
    lines: list[Line] = []
    try:
        config = app.project_config(name)
    except SyncError as error:
        lines.append(from_error("source", error))
    else:
        lines += check_source(app, config, _remembered(state, name))
    lines += _synapse(app, name)
    return [line.of(name) for line in lines]


def _remembered(state: State | None, name: str) -> SourceIdentity | None:
    if state is None:
        return None
    with state.read() as connection:
        known = project_state.get(connection, name)
    return known.identity if known else None


def _synapse(app: App, name: str) -> list[Line]:
    """SYNAPSE from the outside in. The source may be misconfigured; SYNAPSE is asked all the same."""
    try:
        client = app.synapse(name)
    except SyncError as error:
        rest = [skipped(f"synapse {check}") for check in NAMES[1:]]
        return [from_error("synapse address", error), *rest]
    try:
        checks = _probed(client)
    finally:
        client.close()
    return [
        Line(
            check=f"synapse {check.name}",
            result=check.status,
            message=check.message,
            hint=check.hint,
            code=check.code,
            exit_code=_exit_code(check.code) if check.status == "failed" else 0,
        )
        for check in checks
    ]


def _probed(client: SynapsePort) -> list[Check]:
    """The lines of whichever SYNAPSE answers."""
    if isinstance(client, AutoSynapse):
        checks = reach(client.url)
        if checks[-1].status != "failed":
            try:
                return _probed(client.chosen())
            except SyncError as error:
                name = "key" if error.error_code in _KEY_CODES else "contract"
                checks.append(
                    Check(
                        name=name,
                        status="failed",
                        message=error.message,
                        hint=error.hint,
                        code=error.error_code,
                    )
                )
        done = {check.name for check in checks}
        rest = [name for name in NAMES if name not in done]
        return checks + [
            Check(name=name, status="skipped", message="not checked: see above") for name in rest
        ]
    if isinstance(client, SynapseV02):
        return probe_v02(client)
    assert isinstance(client, SynapseClient)
    return probe(client)


_KEY_CODES: Final = frozenset(
    {"synapse_unauthorized", "synapse_key_missing", "synapse_login_missing", "synapse_login_refused"}
)


def _exit_code(code: str) -> int:
    """What a run would end with: 78 where somebody has to act, 75 where SYNAPSE is away and may come back."""
    return 78 if code in _SOMEBODY else 75
