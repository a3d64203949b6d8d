"""Can Plant 3D and SYNAPSE be reached? The worker asks and stores the answer; the web only shows it, with its age.

Only the worker has the credentials and sees the share, so only it can know.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from plant3d_sync.address import MASK
from plant3d_sync.bootstrap import App
from plant3d_sync.connectors.plant3d.reading.sqlserver import SqlServerSource
from plant3d_sync.errors import SyncError
from plant3d_sync.logs import get_logger
from plant3d_sync.run.project import World
from plant3d_sync.state import projects as project_state

LONGEST = 60.0
"""Seconds between two checks of a project, at most; never more than its interval."""

SIDE_SECONDS = 10.0
"""How long one side may take to answer a check."""


def probing_app(app: App) -> App:
    """The same configuration, impatient: a check fails fast and is not retried."""
    settings = app.settings.model_copy(
        update={
            "sync_retry_attempts": 1,
            "sync_retry_delay_seconds": 0.0,
            "p3dsync_http_timeout_seconds": min(SIDE_SECONDS, app.settings.p3dsync_http_timeout_seconds),
            "p3dsync_source_deadline_seconds": min(
                SIDE_SECONDS, app.settings.p3dsync_source_deadline_seconds
            ),
        }
    )
    return replace(app, settings=settings)


def probe_plant3d(app: App, name: str) -> None:
    """Touch the Plant 3D database of a project. Raises SyncError saying why it cannot be read.

    A file answers with its cheap token. SQL Server has none: there a login and one look at the list of tables is enough.
    """
    source = app.source(name)
    if isinstance(source, SqlServerSource):
        source.probe()
    elif source.signature() is None:
        source.snapshot().close()


def probe_synapse(app: App, name: str) -> float | None:
    """Ask SYNAPSE what it can do. Returns its clock's lead in seconds. Raises SyncError."""
    return app.synapse(name).capabilities().skew_seconds


def probe(app: App, world: World, name: str) -> dict[str, Any]:
    """Check both sides of a project and store what was found."""
    found: dict[str, Any] = {}
    try:
        probe_plant3d(app, name)
        found["plant3d"] = _answer(world, None)
    except SyncError as error:
        found["plant3d"] = _answer(world, error)
    try:
        found["skew"] = probe_synapse(app, name)
        found["synapse"] = _answer(world, None)
    except SyncError as error:
        found["synapse"] = _answer(world, error)
    store(world, name, found)
    return found


def note_success(world: World, name: str) -> None:
    """A run that was done has reached both sides: that is a check too."""
    store(world, name, {"plant3d": _answer(world, None), "synapse": _answer(world, None)})


def store(world: World, name: str, found: dict[str, Any]) -> None:
    """Keep it with the project."""
    with world.state.write() as connection:
        known = project_state.ensure(connection, name)
        values: dict[str, object] = {"probe": {**known.probe, **found}}
        if found.get("skew") is not None:
            values["skew"] = found["skew"]
        project_state.update(connection, name, **values)


def _answer(world: World, error: SyncError | None) -> dict[str, Any]:
    return {
        "ok": error is None,
        "checked_at": world.clock(),
        "code": error.error_code if error else None,
        "message": MASK.text(error.message) if error else None,
    }


class Prober:
    """Checks every active project in a thread of its own, so that a side that hangs holds up no run."""

    def __init__(self, app: App, world: World) -> None:
        self._app = probing_app(app)
        self._world = world
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._urgent: set[str] = set()
        self._thread = threading.Thread(target=self._loop, name="prober", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a check that hangs is left to die with the process."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=1.0)

    def soon(self, name: str) -> None:
        """Check this project now: a run of it has just failed."""
        self._urgent.add(name)
        self._wake.set()

    def check_due(self) -> int:
        """Check what is due. Returns how many projects were checked."""
        urgent, self._urgent = self._urgent, set()
        count = 0
        for name in self._app.project_names(active_only=True):
            if self._stop.is_set():
                break
            if name in urgent or self._is_due(name):
                found = probe(self._app, self._world, name)
                count += 1
                for side in ("plant3d", "synapse"):
                    if not found[side]["ok"]:
                        get_logger().warning(
                            "probe.failed",
                            project=name,
                            side=side,
                            code=found[side]["code"],
                            reason=found[side]["message"],
                        )
        return count

    def _is_due(self, name: str) -> bool:
        with self._world.state.read() as connection:
            known = project_state.get(connection, name)
        stored = known.probe.get("plant3d") if known is not None else None
        at = stored.get("checked_at") if isinstance(stored, dict) else None
        minutes = self._app.config.projects[name].interval_minutes or self._app.settings.sync_interval_minutes
        return at is None or self._world.clock() - float(at) >= min(LONGEST, minutes * 60)

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.check_due()
            except SyncError as error:
                get_logger().warning("probe.postponed", code=error.error_code, reason=error.message)
            self._wake.wait(2.0)
            self._wake.clear()
