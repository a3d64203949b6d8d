"""Stored plans and their steps."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from plant3d_sync.web.schemas.common import NO_NUL, Direction, EntityTypes, Guard, In, ProjectId, Stats


class PlanBody(In):
    """Ask for a plan: what a run would do, without doing it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project_id": "mine", "direction": "both"}]})

    project_id: ProjectId
    direction: Direction = "both"
    entity_types: EntityTypes = None
    full_sync: bool = False
    asset_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]], Field(max_length=10_000)
    ] = Field(default_factory=list)


class ApplyBody(In):
    """Apply exactly a stored plan."""

    approve_guards: bool = Field(False, description="Go past the guards that stopped the plan.")


class LeftLine(BaseModel):
    """A step that was not written."""

    op: str
    tag: str
    pnpid: int


class Settled(BaseModel):
    """What became of a plan that ended without being applied whole.

    `why`: `decided_anew`, `guarded_anew` (by the run `run_id`), `rules_changed`, `other_database`, `discarded`, `in_workbook`; missing:
    its application was interrupted, and the run `run_id` found what was written and what was not.
    """

    why: str | None = None
    run_id: str | None
    written: int
    left: int
    left_lines: list[LeftLine]


class PlanInfo(BaseModel):
    """A stored plan. `status`: draft, guarded, approved, applying, applied, superseded or expired.

    Superseded: a later run decided it anew, it was discarded, or its application was interrupted. Expired: its mapping, its
    schema or its database are others now. `settled` says which, and what was written.
    """

    plan_id: str
    project_id: str
    direction: Direction
    status: str
    created_at: datetime
    created_by: str | None = None
    sync_id: str | None = None
    fingerprint: str
    lines_total: int
    remembered: int | None = Field(
        None,
        description="Steps among them that only update what is remembered. Null in a list if an earlier version "
        "stored the plan without it: ask for the plan.",
    )
    stats: Stats
    push_stats: Stats
    guards: list[Guard]
    errors_total: int = 0
    writes: Any = None
    applied_at: datetime | None = None
    applied_by: str | None = None
    undo_of: str | None = None
    settled: Settled | None = None
    version: int


class Plans(BaseModel):
    """Plans, newest first."""

    items: list[PlanInfo]
    total: int
    limit: int
    offset: int


class PlanLine(BaseModel):
    """One step of a plan. `set`/`was`: SYNAPSE field -> new and expected value; `cells`: Plant 3D cells; `why`: reasons."""

    n: int
    op: str
    entity: str
    plant3d_id: str
    pnpid: int
    class_name: str
    asset_tag: str
    asset_id: str | None = None
    old_tag: str | None = None
    set: dict[str, Any] = {}
    was: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    why: dict[str, Any] = {}
    needs: str | None = None
    drawing: str | None = None
    sentences: list[str] = Field(default=[], description="What the step says to people, in their language.")


class PlanDetail(PlanInfo):
    """A plan with its steps (`lines`), paged."""

    lines: list[PlanLine]
    limit: int
    offset: int
    by_entity: dict[str, Stats] = {}
    left_alone: list[dict[str, Any]] = []
    note: str | None = Field(None, description="What to know of a plan whose application was interrupted.")
