"""A person asks through the API in place of the command line: the same words, and what they answer.

The web service is asked in this process and only queues; a worker carries out what is due before the answer is looked at.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.state import keys
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.web import create_app
from plant3d_sync.web.counts import RunCounts
from plant3d_sync.worker.main import Worker

Row = dict[str, Any]
ENDS = {"clean": 0, "with_issues": 0, "planned": 0, "with_errors": 3, "guarded": 5, "cancelled": 130}
"""Outcome of a run -> how the command would have ended."""


class Caller:
    """Somebody with a key for all projects of one world, who looks at what he decides about."""

    def __init__(self, folder: Path) -> None:
        self._app = make_app(str(folder / "plant3d-sync.yml"), {**os.environ, "DEBUG": "true"})
        self._client = TestClient(_web_for(self._app), base_url="http://plant3d-sync")
        with self._app.state.write() as connection:
            _id, self._key = keys.create(
                connection,
                f"marie {uuid.uuid4().hex}",
                keys.SCOPES,
                projects=None,
                expires_days=None,
                now=self._app.world().clock(),
                by="worlds",
            )

    def work(self) -> None:
        """A worker carries out what is due."""
        worker = Worker(self._app)
        while run := queue.claim(worker.world, holder_name("worker"), self._app.project_names()):
            worker.carry_out(run)

    def asks(self, *words: str) -> tuple[int, Row]:
        """Exit code and answer as the command with these words would have them, as far as anybody looks at them."""
        match words:
            case ("now", project):
                return self._run("/sync/now?wait=0", project_id=project)
            case ("pull" | "push", project, "--dry-run"):
                return self._run("/plans", project_id=project, direction=words[0])
            case ("pull" | "push", project, *more):
                return self._run(f"/sync/{words[0]}", project_id=project, **_narrowed(more))
            case ("plan", project, *more):
                return self._run("/plans", project_id=project, direction=more[1] if more else "both")
            case ("apply", plan, *more):
                return self._run(f"/plans/{plan}/apply", approve_guards=bool(more))
            case ("undo", run):
                return self._call("POST", f"/sync/{run}/undo")
            case ("discard", plan):
                return self._call("POST", f"/plans/{plan}/discard")
            case ("conflicts", project):
                return self._call("GET", f"/conflicts?project_id={project}")
            case ("resolve", conflict, choice, *_):
                _code, seen = self._call("GET", f"/conflicts/{conflict}")
                decided = {"resolution": choice, "version": seen.get("version", 0)}
                return self._then_run("POST", f"/conflicts/{conflict}/resolve", decided)
            case ("quarantine", "list", project):
                return self._call("GET", f"/quarantine?project_id={project}")
            case ("quarantine", "retry", _, row):
                return self._then_run("POST", f"/quarantine/{row}/retry")
            case ("quarantine", "ignore", _, row, _, reason):
                return self._call("POST", f"/quarantine/{row}/ignore", {"reason": reason})
            case ("schema", "accept", project):
                return self._call("POST", f"/projects/{project}/schema/accept", {})
            case ("cancelled", project):
                _code, asked = self._call("POST", "/sync/pull", {"project_id": project})
                return self._call("POST", f"/sync/{asked['sync_id']}/cancel")
        raise AssertionError(f"nobody knows how to say {words} to the API")

    def _call(self, method: str, path: str, body: Row | None = None) -> tuple[int, Row]:
        answer = self._client.request(method, f"/api/v1{path}", json=body, headers={"X-API-Key": self._key})
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        said: Row = answer.json()
        return (0 if answer.is_success else 3), {"run_id": said.get("sync_id"), **said}

    def _run(self, path: str, **body: Any) -> tuple[int, Row]:
        code, asked = self._then_run("POST", path, body)
        return code, {**asked, "run_id": asked.get("ran")}

    def _then_run(self, method: str, path: str, body: Row | None = None) -> tuple[int, Row]:
        """A call that queues a run; the worker does it. `ran`: that run, as it ended."""
        code, said = self._call(method, path, body)
        if code or not said.get("sync_id"):
            return code, said
        self.work()
        _code, run = self._call("GET", f"/sync/{said['sync_id']}")
        return ENDS.get(run["outcome"], 75), {**said, **run, "ran": run["sync_id"]}


def _narrowed(more: list[str]) -> Row:
    match more:
        case ["--full"]:
            return {"full_sync": True}
        case ["--entity-types", kinds]:
            return {"entity_types": kinds.split(",")}
        case ["--asset-ids", assets]:
            return {"asset_ids": assets.split(",")}
    assert not more, more
    return {}


_web: list[FastAPI] = []


def _web_for(app: App) -> FastAPI:
    """One service for all worlds, which is told whose it is: making it costs as much as a run."""
    if not _web:
        _web.append(create_app(app, poll=0.01))
    context = _web[0].state.context
    context.app, context.world, context.counts = app, app.world(), RunCounts()
    return _web[0]
