"""The button "Sync Now" of SYNAPSE's front end: asked here with the person's own login, passed on server to server.

PLANT3D_SYNC_URL and PLANT3D_SYNC_KEY name the service; without them every call is 404 `sync_not_configured`, and
the front end hides the button. A refusal of our own key is 502 here, never 401: SYNAPSE's client logs people out
on any 401.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import Response

from app.integration.callers import READ, SYNC
from app.integration.problems import Problem
from app.integration.routes import request_id_of, respond
from app.integration.server import Server, authorize, json_answer

WAIT_SECONDS = 20
"""SYNAPSE's front end gives a call 30 s."""

OVER = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Service:
    """The synchronisation service; `console` is where people decide conflicts (PLANT3D_SYNC_CONSOLE, else its address)."""

    url: str
    key: str
    console: str


def service() -> Service:
    url, key = os.environ.get("PLANT3D_SYNC_URL", "").rstrip("/"), os.environ.get("PLANT3D_SYNC_KEY", "")
    if not url or not key:
        raise Problem(404, "sync_not_configured", "PLANT3D_SYNC_URL and PLANT3D_SYNC_KEY are not set.")
    if not url.startswith(("http://", "https://")):
        raise Problem(502, "sync_misconfigured", "PLANT3D_SYNC_URL is no http address.")
    return Service(url=url, key=key, console=os.environ.get("PLANT3D_SYNC_CONSOLE", "").rstrip("/") or url)


def add_sync_routes(app: FastAPI, server: Server) -> None:
    """Two calls for the front end: start, and look."""

    @app.post("/sync/now", tags=["sync"])
    def sync_now(request: Request) -> Response:
        """Start a run of both directions and wait a little for its end. Needs a role that may write."""
        call = authorize(server, request.headers, request_id_of(request), SYNC)
        found = service()
        body = ask(found, "POST", f"/api/v1/sync/now?wait={WAIT_SECONDS}", {"project_id": call.project_id})
        return respond(json_answer({"run": run_of(body)}))

    @app.get("/sync/status", tags=["sync"])
    def sync_status(request: Request) -> Response:
        """What goes on, the last result, and whether a person has something to decide."""
        call = authorize(server, request.headers, request_id_of(request), READ)
        found = service()
        query = urllib.parse.urlencode({"project_id": call.project_id})
        status = ask(found, "GET", f"/api/v1/sync/status?{query}")
        history = ask(found, "GET", f"/api/v1/sync/history?{query}&limit=5")
        over = [run for run in history.get("items") or [] if run.get("status") in OVER and not run.get("dry_run")]
        job = status.get("current_job") or status.get("waiting_job")
        content = {
            "last_sync": status.get("last_sync"),
            "running": None if job is None else running_of(job),
            "last": run_of(over[0]) if over else None,
            "pending_conflicts": status.get("pending_conflicts") or 0,
            "health": status.get("health"),
            "console": found.console,
            "may_start": SYNC in call.caller.scopes,
        }
        return respond(json_answer(content))


def running_of(job: dict[str, Any]) -> dict[str, Any]:
    progress = job.get("progress") or {}
    return {
        "sync_id": job.get("sync_id"),
        "status": job.get("status"),
        "phase": progress.get("phase"),
        "done": progress.get("done"),
        "total": progress.get("total"),
    }


def run_of(run: dict[str, Any]) -> dict[str, Any]:
    """A run as the front end shows it."""
    kept = ("sync_id", "status", "outcome", "completed_at", "pull_stats", "push_stats", "stats")
    shown = {name: run.get(name) for name in kept if name in run}
    error = run.get("error")
    return {**shown, "error": None if error is None else error.get("message") or error.get("code")}


def ask(found: Service, method: str, path: str, body: object = None) -> dict[str, Any]:
    """One call of the service; whatever goes wrong there is told as a fault behind SYNAPSE, never as the person's."""
    headers = {"X-API-Key": found.key, "Accept": "application/json", "Content-Type": "application/json"}
    if method == "POST":
        headers["Idempotency-Key"] = uuid.uuid4().hex
    content = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(found.url + path, data=content, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS + 5) as answer:  # noqa: S310
            content = answer.read()
    except urllib.error.HTTPError as error:
        raise behind(error) from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Problem(503, "sync_offline", "The synchronisation service does not answer.") from error
    try:
        parsed = orjson.loads(content)
    except ValueError as error:
        raise Problem(502, "sync_unreadable", "The synchronisation service answered something unreadable.") from error
    if not isinstance(parsed, dict):
        raise Problem(502, "sync_unreadable", "The synchronisation service answered something unreadable.")
    return parsed


def behind(error: urllib.error.HTTPError) -> Problem:
    """What the front end hears of a refusal of the service."""
    if error.code in (401, 403):
        return Problem(502, "sync_key_refused", "The synchronisation service refused SYNAPSE's key (PLANT3D_SYNC_KEY).")
    if error.code == 404:
        return Problem(404, "sync_not_configured", "The synchronisation service does not know this project.")
    if error.code in (409, 429, 503):
        return Problem(503, "sync_busy", "The synchronisation service is busy.", headers={"Retry-After": "5"})
    return Problem(502, "sync_failed", f"The synchronisation service answered {error.code}.")
