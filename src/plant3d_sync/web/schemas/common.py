"""What bodies and answers share: names, counts, problems."""

from __future__ import annotations

from typing import Annotated, Literal

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


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000)


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


class Guard(BaseModel):
    """A guard that stopped a plan."""

    name: str
    limit: str
    actual: str
    message: str = ""


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
