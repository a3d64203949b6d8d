"""Compose files as `docker compose` itself understands them. Needs the client, no engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "SYNAPSE_API_KEY": "k-1",
    "SYNAPSE_PROJECT_ID": "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11",
    "STATE_DB_URL": "postgresql://plant3d_sync:pw@plant3d-sync-db/plant3d_sync",
    "POSTGRES_PASSWORD": "pw",
}
"""What has to be set; nothing else of this machine's environment reaches Compose."""

PLAN = """
services:
  plant3d-sync:
    build:
      context: ./apps/plant3d-sync
      dockerfile: Dockerfile
    container_name: plant3d-sync
    ports:
      - "8002:8002"
    environment:
      - PLANT3D_DB_HOST=${PLANT3D_DB_HOST}
      - PLANT3D_DB_PORT=${PLANT3D_DB_PORT}
      - PLANT3D_DB_NAME=${PLANT3D_DB_NAME}
      - PLANT3D_DB_USER=${PLANT3D_DB_USER}
      - PLANT3D_DB_PASSWORD=${PLANT3D_DB_PASSWORD}
      - SYNAPSE_API_URL=http://synapse-backend:8000
      - REDIS_URL=redis://forge-redis:6379/1
    depends_on:
      - forge-redis
      - synapse-backend
    networks:
      - forge-network
    restart: unless-stopped

  plant3d-sync-worker:
    build:
      context: ./apps/plant3d-sync
      dockerfile: Dockerfile
    container_name: plant3d-sync-worker
    command: python -m app.workers.sync_worker
    environment:
      - REDIS_URL=redis://forge-redis:6379/1
      - SYNAPSE_API_URL=http://synapse-backend:8000
    depends_on:
      - plant3d-sync
      - forge-redis
    networks:
      - forge-network
    restart: unless-stopped
"""
"""The addition of the plan's 8.2, to the letter."""

THEIRS = """
services:
  forge-redis:
    image: redis:7-alpine
    container_name: forge-redis
    networks: [forge-network]
  synapse-backend:
    image: synapse/backend:0.2
    container_name: synapse-backend
    depends_on: [forge-redis, forge-postgres]
    networks: [forge-network]
  forge-postgres:
    image: postgres:17
    networks: [forge-network]
networks:
  forge-network:
    name: forge-network
    driver: bridge
"""
"""A stand-in of a customer's own project: what the plan names, and one more service."""


def client() -> str:
    """The Docker client with Compose, or the test is skipped and says so."""
    found = shutil.which("docker")
    if found is None:
        pytest.skip("no docker client: the compose files were not checked")
    asked = subprocess.run([found, "compose", "version"], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("the docker client has no compose plugin: the compose files were not checked")
    return found


def understood(folder: Path, *files: Path, profiles: Sequence[str] = (), **more: str) -> dict[str, Any]:
    """What Compose makes of these files together, in this order; empty: a plain `docker compose` in our folder."""
    done = config(folder, *files, profiles=profiles, **more)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def config(
    folder: Path, *files: Path, profiles: Sequence[str] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    """`docker compose config` with only these variables; one that is empty is not set."""
    values = {name: value for name, value in {**ENVIRONMENT, **more}.items() if value}
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "DOCKER_CONFIG", "SYSTEMROOT")
        if name in os.environ
    }
    nothing = folder / "empty.env"  # a developer's own .env does not count
    nothing.write_text("", encoding="utf-8")
    chosen = [word for file in files for word in ("-f", str(file))] or ["--project-directory", str(ROOT)]
    chosen += [word for name in profiles for word in ("--profile", name)]
    return subprocess.run(
        [client(), "compose", "--env-file", str(nothing), *chosen, "config", "--format", "json"],
        cwd=ROOT,
        env={**kept, **values},
        capture_output=True,
        text=True,
        check=False,
    )
