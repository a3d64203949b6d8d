"""Starts the double of SYNAPSE 0.2 in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from plant3d_sync.synapse_dev.v02.main import Running, listen
from plant3d_sync.synapse_dev.v02.traps import Traps

PASSWORD = "open sesame"


@contextmanager
def synapse_v02(traps: Traps | None = None, *, project: str | None = None) -> Iterator[Running]:
    """A 0.2 that answers; its people act through `running.backend`."""
    running = listen(project=project, password=PASSWORD, traps=traps)
    thread = threading.Thread(target=running.serve, name="synapse-0.2")
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(timeout=30)


def logged_in(running: Running, project: str | None = None) -> httpx2.Client:
    """A client that does no more than 0.2 asks for."""
    with httpx2.Client(base_url=running.url, trust_env=False) as client:
        form = {"username": running.user, "password": running.password}
        token = client.post("/api/v1/auth/login", data=form).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "X-Project-ID": project or running.project}
    return httpx2.Client(base_url=running.url + "/api/v1", headers=headers, trust_env=False, timeout=30)


def poison(running: Running, asset_id: str) -> None:
    """As a CSV import does that brings a voltage the API's own rules refuse."""
    running.backend.heap.rows[asset_id]["electrical"] = {"voltage": "690V"}


def repair(running: Running, asset_id: str) -> None:
    """A person puts a poisoned row right."""
    running.backend.heap.rows[asset_id]["electrical"] = {}
