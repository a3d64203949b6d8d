"""Conflicts and decisions about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plant3d_sync.web.schemas.common import NO_NUL, In, ProjectId

ManualValue = (
    bool
    | Annotated[int, Field(ge=-(2**53), le=2**53)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, Field(max_length=20_000, pattern=NO_NUL)]
    | None
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
    carried_out: bool = False
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
