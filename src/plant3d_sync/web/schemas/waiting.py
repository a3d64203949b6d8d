"""What waits for a person, and refused rows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plant3d_sync.web.schemas.common import NO_NUL, In
from plant3d_sync.web.schemas.sync import WaitingCounts

WaitingKind = Literal["conflict", "plan", "archive", "schema_step", "quarantine", "workbook", "work_item"]


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
