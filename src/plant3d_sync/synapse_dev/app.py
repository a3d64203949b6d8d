"""The reference server as an ASGI app: the contract, health, and the helpers for tests."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from plant3d_sync.synapse_dev import dev
from plant3d_sync.synapse_dev.keys import DEV
from plant3d_sync.synapse_dev.ledger import WriteLedger
from plant3d_sync.synapse_dev.routes import body_of, respond
from plant3d_sync.synapse_dev.routes import create_app as integration_app
from plant3d_sync.synapse_dev.server import Server, identify, json_answer

PREFIX = "/api/v1/integration"
SYNAPSE_VERSION = "0.3.0-reference"


def create_app(server: Server, ledger: WriteLedger) -> ASGIApp:
    """The whole server, ready for an ASGI runner."""
    return integration_app(
        server,
        title="SYNAPSE integration API (reference server)",
        prefix=PREFIX,
        more=lambda app: add_dev_routes(app, server, ledger),
    )


def add_dev_routes(app: FastAPI, server: Server, ledger: WriteLedger) -> None:
    """Health, and the helpers for tests."""

    def admin(request: Request) -> bytes:
        """Only the key the server was started with may; gives the body."""
        identify(server, request.headers).need_scope(DEV)
        return body_of(request) or b""

    @app.get("/health", tags=["dev"])
    def health() -> Response:
        """The server answers and so does its database."""
        with server.store.reading() as connection:
            connection.execute(sa.select(1))
        return respond(json_answer({"status": "ok", "database": "ok"}))

    @app.post("/dev/projects", tags=["dev"])
    def add_project(request: Request) -> Response:
        """Create a project: {"id"?, "name"?}."""
        return respond(dev.add_project(server, admin(request)))

    @app.post("/dev/keys", tags=["dev"])
    def add_key(request: Request) -> Response:
        """Create a key: {"name", "scopes", "projects"?, "expires_at"?}."""
        return respond(dev.add_key(server, admin(request)))

    @app.get("/dev/projects/{project_id}/assets", tags=["dev"])
    def list_assets(request: Request, project_id: str) -> Response:
        """All assets, live and archived."""
        admin(request)
        return respond(dev.list_assets(server, project_id))

    @app.post("/dev/projects/{project_id}/assets", tags=["dev"])
    def add_asset(request: Request, project_id: str) -> Response:
        """Create an asset as a user."""
        return respond(dev.add_asset(server, project_id, admin(request)))

    @app.patch("/dev/projects/{project_id}/assets/{asset_id}", tags=["dev"])
    def edit_asset(request: Request, project_id: str, asset_id: str) -> Response:
        """Change any field as a user."""
        return respond(dev.edit_asset(server, project_id, asset_id, admin(request)))

    @app.delete("/dev/projects/{project_id}/assets/{asset_id}", tags=["dev"])
    def purge_asset(request: Request, project_id: str, asset_id: str) -> Response:
        """Remove an asset for good, without a new epoch."""
        admin(request)
        return respond(dev.purge_asset(server, project_id, asset_id))

    @app.post("/dev/projects/{project_id}/new-epoch", tags=["dev"])
    def new_epoch(request: Request, project_id: str) -> Response:
        """Make every cursor given out so far a 410."""
        admin(request)
        return respond(dev.new_epoch(server, project_id))

    @app.get("/dev/writes", tags=["dev"])
    def writes(request: Request) -> Response:
        """What was written through the integration API since the start."""
        admin(request)
        return respond(json_answer(ledger.report()))
