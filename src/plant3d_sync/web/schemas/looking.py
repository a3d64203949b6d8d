"""Projects, findings, items, mapping, schema, audit and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plant3d_sync.web.schemas.common import NO_NUL, Direction, HealthWord, In, ProjectId
from plant3d_sync.web.schemas.sync import ConnectionState, HealthReason, WaitingCounts


class AcceptSchemaBody(In):
    """Accept the change of a project's schema that waits."""

    step: Annotated[str, Field(min_length=1, max_length=40, pattern=NO_NUL)] | None = Field(
        None, description="The step that you looked at; another one is refused with 409."
    )


class SchemaChange(BaseModel):
    """One difference between the catalogue as it was accepted and as it is."""

    kind: Literal[
        "column_removed", "column_added", "column_changed", "class_added", "class_removed", "class_moved"
    ]
    message: str
    column: str | None
    classes: list[str]
    fields: list[str] = Field(
        description="Fields of which Plant 3D's value counts as unknown until it is accepted."
    )
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    items: int


class ScopeItem(BaseModel):
    """An item that enters or leaves what the mapping brings."""

    model_config = ConfigDict(populate_by_name=True)

    pnpid: int
    tag: str | None
    class_name: str = Field(alias="class")


class ScopeItems(BaseModel):
    """How many, and the first of them by name."""

    count: int
    items: list[ScopeItem]


class SchemaStep(BaseModel):
    """A change of the schema that waits for a person."""

    step: str
    since: datetime | None
    changes: list[SchemaChange]
    enter: ScopeItems
    leave: ScopeItems


class SchemaNow(BaseModel):
    """What waits, if anything does, and who accepted the schema last."""

    step: SchemaStep | None
    accepted_at: datetime | None
    accepted_by: str | None


class WorstLag(BaseModel):
    """How far behind the clock of a workstation was shown to be, at most, and by which row."""

    seconds: float
    seen_at: datetime | None
    run_id: str | None
    pnpid: int | None
    tag: str | None


class ClocksNow(BaseModel):
    """What is known of the clocks, as the last run left it."""

    project: str
    synapse_skew_seconds: float | None = Field(description="SYNAPSE's clock minus ours.")
    tolerance_seconds: float = Field(description="What the settings allow the clock of a workstation.")
    plant3d_tolerance_seconds: float = Field(
        description="What counts for edits in Plant 3D now: the larger one of tolerance and worst lag."
    )
    workstation_lag: WorstLag | None


class ForgetLagBody(In):
    """Forget the worst lag of a workstation, once its clock is right."""

    reason: Annotated[str, Field(min_length=1, max_length=2000, pattern=NO_NUL)] = Field(
        description="Why; whoever looks later reads it in the audit."
    )


class KeyBody(In):
    """Make an API key."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)]
    scopes: Annotated[
        list[Literal["read", "sync", "resolve", "write", "admin"]], Field(min_length=1, max_length=20)
    ]
    project_id: ProjectId | None = Field(None, description="Only this project; missing means all.")
    expires_days: float | None = Field(None, gt=0, le=36_500)


class ProjectInfo(BaseModel):
    """A configured project."""

    project_id: str
    synapse_project_id: str
    active: bool
    direction: Direction
    write: Literal["off", "workbook", "sql"]
    interval_minutes: float
    last_sync: datetime | None = None
    health: HealthWord
    pending_conflicts: int


class ProjectDetail(ProjectInfo):
    """A project with its counts."""

    next_scheduled: datetime | None = None
    reasons: list[HealthReason]
    connections: dict[str, ConnectionState]
    links: int
    links_by_entity: dict[str, int]
    findings_by_code: dict[str, int]
    work_items: int
    waiting: WaitingCounts | None = Field(None, description="How much waits for a person, by kind.")
    mapping: list[str]


class Projects(BaseModel):
    """Projects this key may see, by name."""

    items: list[ProjectInfo]
    total: int
    limit: int
    offset: int


class Acknowledged(BaseModel):
    """Who looked at a finding, and why it may stay."""

    by: str
    at: datetime
    reason: str
    until: datetime | None = None


class Finding(BaseModel):
    """Something people should know about the drawing data."""

    id: int
    code: str
    message: str | None = None
    hint: str | None = None
    asset_tag: str | None = None
    pnpid: int | None = None
    class_name: str | None = None
    column: str | None = None
    drawing: str | None = None
    first_seen: datetime
    acknowledged: Acknowledged | None = None
    data: dict[str, Any] = {}


class FindingGroup(BaseModel):
    """Findings with one cause (code and column) on one drawing and in one class, with one hint. `items`: the first few."""

    code: str
    column: str | None = None
    drawing: str | None = None
    class_name: str | None = None
    count: int
    items: list[str]
    message: str | None = Field(None, description="If it is the same for all of them.")
    example: str = Field(description="What is said of the first of them.")
    hint: str
    first_seen: datetime


class FindingGroups(BaseModel):
    """Groups, the largest first. `findings`: how many findings they hold."""

    items: list[FindingGroup]
    total: int
    findings: int
    limit: int
    offset: int


class FindingFilter(In):
    """Which findings. Texts but the code may hold `*` and `?`."""

    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**53)]], Field(max_length=1000)] | None = None
    code: Annotated[str, Field(min_length=1, max_length=60, pattern=NO_NUL)] | None = None
    asset_tag: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    class_name: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    drawing: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None


class AcknowledgeBody(In):
    """Say of findings that they were looked at, or take that back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project_id": "mine",
                    "filter": {"code": "untagged", "drawing": "PID-7*"},
                    "reason": "tagged in phase 2",
                    "until": "2026-12-31T00:00:00Z",
                }
            ]
        }
    )

    project_id: ProjectId
    filter: FindingFilter
    reason: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] = Field(
        "", description="Why; needed unless it is taken back."
    )
    until: datetime | None = Field(None, description="Open again from then on.")
    take_back: bool = Field(False, description="They are open again.")


class AcknowledgedFindings(BaseModel):
    """The findings that were acknowledged, or are open again; the first thousand of them."""

    items: list[Finding]
    total: int


class Findings(BaseModel):
    """Open findings by code, then age."""

    items: list[Finding]
    total: int
    limit: int
    offset: int


class Drift(BaseModel):
    """A field that was edited on the side that does not own it."""

    id: int
    asset_tag: str | None = None
    field: str | None = None
    plant3d_value: Any = None
    synapse_value: Any = None
    reason: str | None = None
    drawing: str | None = None
    pnpid: int | None = None
    class_name: str | None = None
    message: str | None = None
    hint: str | None = None
    first_seen: datetime


class Drifts(BaseModel):
    """Open drift."""

    items: list[Drift]
    total: int
    limit: int
    offset: int


class WorkItem(BaseModel):
    """Something a designer has to change in a drawing."""

    pnpid: int
    field: str
    first_seen: datetime
    data: dict[str, Any]


class WorkItems(BaseModel):
    """Open work items."""

    items: list[WorkItem]
    total: int
    limit: int
    offset: int


class Item(BaseModel):
    """A linked pair."""

    link_id: str
    project_id: str
    asset_tag: str
    entity: str
    class_name: str
    plant3d_id: str
    pnpid: int
    asset_id: str
    state: str
    drawing: str | None = None
    matched_old_tag: str | None = Field(
        None, description="The former tag that was searched for, if it was one."
    )


class Items(BaseModel):
    """Linked pairs by tag."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class ItemField(BaseModel):
    """One field: what both last agreed on, what each side holds, who owns it (null: the mapping does not say)."""

    field: str
    owner: Literal["plant3d", "synapse", "shared"] | None = None
    base_value: Any = None
    has_base: bool
    plant3d_value: Any = None
    synapse_value: Any = None
    waiting: str | None = Field(None, description="Why it is not settled.")


class ItemChange(BaseModel):
    """One write of ours, or a new tag. `fields`: name -> [old, new]; `why`: name, or `*` -> the rule that decided."""

    change_id: int | None = None
    at: datetime
    sync_id: str | None = None
    side: str
    op: str
    outcome: str
    fields: dict[str, Any]
    why: dict[str, str] = {}


class ItemDetail(Item):
    """A pair with its fields and what happened to it, newest first."""

    fields: list[ItemField]
    history: list[ItemChange]
    history_total: int


class MappingField(BaseModel):
    """How a field of a class is filled and who owns it."""

    field: str
    columns: list[str]
    owner: Literal["plant3d", "synapse", "shared"] | None = None
    convert: str | None = None
    push: bool | None = None
    drift: str | None = None
    conflict: str | None = None


class MappingClass(BaseModel):
    """What items of a Plant 3D class become. Classes below it inherit."""

    class_name: str
    entity: str | None = None
    fields: list[MappingField]


class MappingAnswer(BaseModel):
    """The mapping as written, all files merged. `digest`: the one the last complete run used."""

    project_id: str
    sources: list[str]
    placeholders: list[str]
    digest: str | None = None
    classes: list[MappingClass]


class AuditEntry(BaseModel):
    """Who did what. `hash` chains it to the entry before."""

    seq: int
    action: str
    actor: str
    at: datetime
    hash: str
    prev: str
    facts: dict[str, Any]


class Audit(BaseModel):
    """Audit entries, newest first."""

    items: list[AuditEntry]
    total: int
    limit: int
    offset: int


class KeyInfo(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    scopes: list[str]
    projects: list[str] | None
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class Keys(BaseModel):
    """Keys, oldest first."""

    items: list[KeyInfo]
    total: int
    limit: int
    offset: int


class NewKey(BaseModel):
    """A key that was just made. `key` is shown this once: a repetition of the request shows null."""

    id: str
    key: str | None
