"""Runs: asking for them, watching them, how a project is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plant3d_sync.web.schemas.common import (
    NO_NUL,
    Direction,
    EntityTypes,
    ErrorInfo,
    Guard,
    HealthWord,
    In,
    OkError,
    Outcome,
    Progress,
    ProjectId,
    RunStatus,
    Stats,
)


class PullBody(In):
    """Pull Plant 3D into SYNAPSE."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"project_id": "mine", "entity_types": ["equipment"], "full_sync": False}]
        }
    )

    project_id: ProjectId
    entity_types: EntityTypes = None
    full_sync: bool = Field(
        False, description="true = compare everything; false = changes since the last sync."
    )


class PushBody(In):
    """Push SYNAPSE's edits of shared fields to Plant 3D."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project_id": "mine", "asset_ids": []}]})

    project_id: ProjectId
    asset_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]], Field(max_length=10_000)
    ] = Field(default_factory=list, description="These assets only; empty means all modified ones.")


class NowBody(In):
    """Synchronise both directions now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project_id": "mine"}]})

    project_id: ProjectId


class UndoBody(In):
    """Make a plan that puts back what a run wrote."""

    change_id: int | None = Field(
        None, ge=1, le=2**53, description="One change of the run; missing means all."
    )


class SyncJob(BaseModel):
    """A run that was asked for."""

    sync_id: str
    status: RunStatus
    stats: Stats
    project_id: str
    direction: Direction
    outcome: Outcome | None = None
    dry_run: bool = False
    plan_id: str | None = None
    created_at: datetime
    request_id: str | None = None


class SyncNow(BaseModel):
    """Both statistics of an immediate sync; zero, or the figures so far, while it is not done."""

    sync_id: str
    pull_stats: Stats
    push_stats: Stats
    status: RunStatus
    outcome: Outcome | None = None
    project_id: str
    follow_up: str | None = Field(
        None, description="The run that waits behind the one that was already going."
    )
    progress: Progress | None = None
    error: ErrorInfo | None = None


class SyncLog(BaseModel):
    """One run of the history."""

    sync_id: str
    project_id: str
    direction: Direction
    trigger: str
    status: RunStatus
    outcome: Outcome | None = None
    dry_run: bool = False
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    stats: Stats
    errors_total: int = 0
    plan_id: str | None = None
    requested_by: str | None = None
    error: ErrorInfo | None = None


class SyncError(BaseModel):
    """One row that could not be handled; the others went on."""

    plant3d_id: str | None = None
    asset_tag: str | None = None
    field: str | None = None
    code: str
    message: str
    hint: str = ""
    pnpid: int | None = None
    class_name: str | None = None


class SyncDetail(SyncLog):
    """A run with its row errors (paged by `errors_limit`, `errors_offset`) and everything known of it."""

    errors: list[SyncError]
    request_id: str | None = None
    progress: Progress | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    cancel_requested: bool = False
    pull_stats: Stats | None = None
    push_stats: Stats | None = None
    by_entity: dict[str, Stats] = {}
    writes: dict[str, int] = {}
    guards: list[Guard] = []
    lock_ms: float | None = None
    continued_by: str | None = Field(None, description="The run that does this one's work in its place.")
    found_applied: dict[str, int] = Field(
        {}, description="Writes of an interrupted run that this one found done, per side."
    )
    written_before: int = Field(0, description="Steps of the plan that an interrupted run had written.")


class History(BaseModel):
    """Runs, newest first."""

    items: list[SyncLog]
    total: int
    limit: int
    offset: int


class CurrentJob(BaseModel):
    """The run that is going, or the one that waits."""

    sync_id: str
    direction: Direction
    status: RunStatus
    started_at: datetime | None = None
    progress: Progress


class HealthReason(BaseModel):
    """Why a project is not healthy."""

    code: str
    level: HealthWord
    message: str
    hint: str = ""
    since: datetime | None = None


class ConnectionState(BaseModel):
    """A connection as the worker last found it; older than three intervals counts as an error."""

    status: OkError
    checked_at: datetime | None = None
    age_seconds: float | None = None
    code: str | None = None
    message: str | None = None


class CoverageNow(BaseModel):
    """How much of what the mapping asks for arrives: whole = handed_over + the sum of `reasons` (code -> items)."""

    whole: int
    handed_over: int
    share: float | None
    reasons: dict[str, int]


class SynapseLimit(BaseModel):
    """Something that the project's SYNAPSE cannot do, and what removes the limit."""

    code: str
    message: str
    hint: str


class WaitingCounts(BaseModel):
    """How much waits for a person, by kind."""

    conflict: int
    plan: int
    archive: int
    schema_step: int
    quarantine: int
    workbook: int
    work_item: int
    total: int


class SyncStatus(BaseModel):
    """A project now. `next_scheduled` is null when nothing would start it."""

    last_sync: datetime | None
    next_scheduled: datetime | None
    current_job: CurrentJob | None
    health: HealthWord
    reasons: list[HealthReason]
    project_id: str
    waiting_job: CurrentJob | None = None
    connections: dict[str, ConnectionState]
    pending_conflicts: int
    waiting: WaitingCounts | None = Field(None, description="How much waits for a person, by kind.")
    coverage: CoverageNow | None = None
    synapse_limits: list[SynapseLimit] = Field(
        default=[],
        description="What this SYNAPSE cannot do, as the last run found it; empty with the integration API.",
    )
    clock_skew_seconds: float | None = None
    worker_seen_at: datetime | None = None
    scheduler_seen_at: datetime | None = None
    queue: Literal["embedded", "redis"]


class UndoPlan(BaseModel):
    """The plan that would undo a run. Nothing is written until it is applied."""

    plan_id: str
    project_id: str
    sync_id: str
    restores: int
    left_alone: list[dict[str, Any]]
