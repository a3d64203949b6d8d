"""The service itself."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from plant3d_sync.web.schemas.common import HealthWord, OkError
from plant3d_sync.web.schemas.sync import ConnectionState, HealthReason


class HealthAnswer(BaseModel):
    """The plan's health check."""

    status: HealthWord
    plant3d_connection: OkError
    synapse_connection: OkError
    redis_connection: OkError = Field(
        description="The bell that wakes workers. Without REDIS_URL (`queue` is `embedded`) there is no Redis to reach: "
        "`ok` means that the run table, which workers look into, answers."
    )
    version: str
    queue: Literal["embedded", "redis"] = Field(description="How workers hear of a run.")


class HealthProject(BaseModel):
    """One project's part of the health, for holders of a key that may see it."""

    project_id: str
    health: HealthWord
    last_sync: datetime | None
    reasons: list[HealthReason]
    connections: dict[str, ConnectionState]


class HealthDetail(HealthAnswer):
    """The health check for holders of a key."""

    worker_seen_at: datetime | None = None
    scheduler_seen_at: datetime | None = None
    reasons: list[HealthReason]
    projects: list[HealthProject]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether this process can serve. `checks` only with `?verbose`."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str] | None = None
