"""The integration API for SYNAPSE. In app/main.py, two lines:

    from app.integration import integration_app
    app.mount("/api/v1/integration", integration_app)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from app.integration import theirs
from app.integration.routes import create_app
from app.integration.server import Server
from app.integration.store import Store
from app.integration.sync_now import add_sync_routes

log = logging.getLogger("app.integration")


class Logged:
    """Tells the log of every write."""

    def wrote(self, *, project_id: str, request_id: str, key: str | None, counts: Mapping[str, int]) -> None:
        kept = " ".join(f"{status}={count}" for status, count in counts.items() if count)
        log.info("integration write project=%s request=%s %s", project_id, request_id, kept)

    def replayed(self) -> None:
        log.info("integration write repeated, answered as before")


_theirs = theirs.find()
server = Server(store=Store(_theirs.engine), ledger=Logged(), version=theirs.VERSION)
if fault := server.store.look():
    log.error("%s", fault)
integration_app = create_app(
    server, title="SYNAPSE integration API", more=lambda app: add_sync_routes(app, server)
)
