"""What goes over the wire. Names and types of the user's plan, section 4; added fields stand behind them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NO_NUL = r"^[^\x00]*$"
"""Text that every database can hold."""

ProjectId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=NO_NUL,
        description="Name in the configuration, or the SYNAPSE project's UUID.",
        examples=["mine"],
    ),
]
EntityType = Literal["equipment", "instruments", "lines", "valves"]
ALL = "all"


def _without_all(wanted: list[str] | None) -> list[str] | None:
    """`all` among them means every entity type, as if none were named."""
    return None if wanted is None or ALL in wanted else wanted


EntityTypes = Annotated[
    list[Literal["equipment", "instruments", "lines", "valves", "all"]] | None,
    Field(max_length=20, description="Missing, empty or `all` means all four."),
    AfterValidator(_without_all),
]
RunStatus = Literal["queued", "running", "completed", "failed"]
Outcome = Literal["clean", "with_issues", "guarded", "failed", "cancelled"]
HealthWord = Literal["healthy", "degraded", "offline"]
OkError = Literal["ok", "error"]
Direction = Literal["pull", "push", "both"]
PlanStatus = Literal["draft", "guarded", "approved", "applying", "applied", "superseded", "expired"]


ManualValue = (
    bool
    | Annotated[int, Field(ge=-(2**53), le=2**53)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, Field(max_length=20_000, pattern=NO_NUL)]
    | None
)


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000)


# ---------------------------------------------------------------- requests


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


class UndoBody(In):
    """Make a plan that puts back what a run wrote."""

    change_id: int | None = Field(
        None, ge=1, le=2**53, description="One change of the run; missing means all."
    )


class ResolveBody(In):
    """Decide a conflict."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"resolution": "plant3d", "version": 1}]})

    resolution: Literal["plant3d", "synapse", "manual"]
    manual_value: ManualValue = Field(None, description="The value, if resolution is manual.")
    version: int | None = Field(
        None, ge=1, le=2**31, description="The version you looked at, if it is not sent in If-Match."
    )
    note: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] | None = None


class ConflictFilter(In):
    """Which pending conflicts. `asset_tag` may hold `*` and `?`."""

    field: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    kind: Annotated[str, Field(min_length=1, max_length=60, pattern=NO_NUL)] | None = None
    asset_tag: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    ids: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=60, pattern=NO_NUL)]], Field(max_length=1000)
        ]
        | None
    ) = None


class BulkResolveBody(In):
    """Decide many conflicts at once. Without `preview: false` it only shows which ones."""

    project_id: ProjectId
    filter: ConflictFilter = ConflictFilter()
    resolution: Literal["plant3d", "synapse", "suggested"]
    note: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] | None = None
    preview: bool = True
    seen: Annotated[str, Field(max_length=64, pattern=NO_NUL)] | None = Field(
        None, description="`seen` of the preview: nothing is decided if one of its conflicts moved since."
    )


class KeyBody(In):
    """Make an API key."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)]
    scopes: Annotated[
        list[Literal["read", "sync", "resolve", "write", "admin"]], Field(min_length=1, max_length=20)
    ]
    project_id: ProjectId | None = Field(None, description="Only this project; missing means all.")
    expires_days: float | None = Field(None, gt=0, le=36_500)


# ---------------------------------------------------------------- answers


class Stats(BaseModel):
    """Counts of a run. total = created + updated + unchanged + skipped + errors."""

    total: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    errors: int = 0
    unchanged: int = 0
    archived: int = 0
    conflicts: int = 0
    missing: int = 0
    findings: int = 0


class Progress(BaseModel):
    """How far a run is. `total` is null while it is not known."""

    phase: str | None = None
    done: int | None = None
    total: int | None = None


class ErrorInfo(BaseModel):
    """Why a run failed or waits."""

    code: str
    message: str = ""
    hint: str = ""


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


class Guard(BaseModel):
    """A guard that stopped a plan."""

    name: str
    limit: str
    actual: str
    message: str = ""


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


WaitingKind = Literal["conflict", "plan", "archive", "schema_step", "quarantine", "workbook", "work_item"]


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


class WaitingItem(BaseModel):
    """One thing that no run settles by itself. `id`: what the command or operation of its kind takes."""

    kind: WaitingKind
    id: str
    asset_tag: str | None = None
    pnpid: int | None = None
    class_name: str | None = None
    field: str | None = None
    drawing: str | None = None
    code: str | None = None
    message: str
    hint: str
    since: datetime | None = None


class Waiting(BaseModel):
    """What waits, by kind, the oldest of each first. `counts` are of everything, whatever is listed."""

    items: list[WaitingItem]
    total: int
    counts: WaitingCounts
    limit: int
    offset: int


class IgnoreBody(In):
    """Leave a refused row alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "agreed with the client"}]})

    reason: Annotated[str, Field(min_length=1, max_length=2000, pattern=NO_NUL)]


class IgnoredBy(BaseModel):
    """Who left a refused row alone, and why."""

    by: str
    at: datetime
    reason: str


class QuarantineRow(BaseModel):
    """A row that was refused. `into`: the side that was to be written; `next_try_at` is null while it is ignored."""

    id: int
    project_id: str
    asset_tag: str | None = None
    pnpid: int
    plant3d_id: str | None = None
    class_name: str | None = None
    entity: str | None = None
    drawing: str | None = None
    field: str | None = None
    into: Literal["synapse", "plant3d"]
    code: str
    message: str | None = None
    hint: str | None = None
    plant3d_value: Any = None
    synapse_value: Any = None
    attempts: int
    first_at: datetime
    last_at: datetime
    next_try_at: datetime | None
    ignored: IgnoredBy | None = None


class Quarantine(BaseModel):
    """Refused rows, oldest first."""

    items: list[QuarantineRow]
    total: int
    limit: int
    offset: int


class QuarantineTried(BaseModel):
    """A refused row that is tried again: by the run `sync_id`, or, if that is null, by the run after the one that waits."""

    row: QuarantineRow
    sync_id: str | None


class Conflict(BaseModel):
    """A field that both sides changed. `plant3d_updated_at` dates the row in Plant 3D, not the field."""

    id: str
    asset_tag: str | None
    field: str
    plant3d_value: Any
    synapse_value: Any
    plant3d_updated_at: datetime | None
    synapse_updated_at: datetime | None
    suggested_resolution: str
    project_id: str
    asset_id: str | None = None
    plant3d_id: str | None = None
    kind: str
    explanation: str = ""
    base_value: Any = None
    has_base: bool | None = None
    plant3d_seen: list[datetime | None] | None = None
    synapse_seen: list[datetime | None] | None = None
    plant3d_by: str | None = None
    synapse_by: str | None = None
    drawing: str | None = None
    suggested_reason: str | None = None
    suggested_explanation: str | None = None
    status: Literal["pending", "resolved"]
    detected_at: datetime | None = None
    resolution: str | None = None
    applied_value: Any = None
    note: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    carried_out: bool = True
    void_reason: str | None = Field(
        None, description="Why the decision was not carried out and never will be."
    )
    version: int


class Conflicts(BaseModel):
    """Conflicts, oldest first."""

    items: list[Conflict]
    total: int
    limit: int
    offset: int


class Resolved(BaseModel):
    """A decision. `applied_to`: applied, waiting (the next run does it), off (writing is not allowed) or void (a side
    moved elsewhere, and the question is asked again).
    """

    status: Literal["resolved"]
    applied_value: Any
    applied_to: dict[str, Literal["applied", "waiting", "off", "void"]]
    sync_id: str | None = Field(None, description="The run that carries it out.")


class BulkResolved(BaseModel):
    """What a bulk decision did, or would do."""

    preview: bool
    total: int = Field(description="How many conflicts match.")
    resolved: list[str] = Field(description="Ids that were (or would be) decided.")
    left_alone: list[dict[str, str]] = Field(description="Ids that were not, each with its reason.")
    items: list[Conflict] = Field([], description="In a preview: the first ones, as they are now.")
    sync_id: str | None = None
    seen: str = Field(description="The conflicts that match and their versions, as one word.")


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


class UndoPlan(BaseModel):
    """The plan that would undo a run. Nothing is written until it is applied."""

    plan_id: str
    project_id: str
    sync_id: str
    restores: int
    left_alone: list[dict[str, Any]]


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


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str
    where: str
    message: str
    code: str


class Problem(BaseModel):
    """RFC 9457: what happened, what did not, what to do."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    hint: str
    did_not_happen: str | None = None
    errors: list[FieldProblem] = []


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether this process can serve. `checks` only with `?verbose`."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str] | None = None
