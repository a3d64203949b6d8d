"""What routes share: parameters, documented refusals."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from plant3d_sync.web.schemas import NO_NUL

ProjectQuery = Annotated[
    str,
    Query(
        min_length=1,
        max_length=200,
        pattern=NO_NUL,
        description="Name in the configuration, or the SYNAPSE project's UUID.",
        examples=["mine"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in the answer.")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Items to leave out.")]
Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of the run.")]
IdPath = Annotated[str, Path(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]
Text = Annotated[str | None, Query(min_length=1, max_length=200, pattern=NO_NUL)]

_TEXT = {
    400: "The request cannot be read.",
    401: "No valid key.",
    403: "The key lacks the scope.",
    404: "No such project or object, or not for this key.",
    409: "It cannot be done in this state, or a request with this Idempotency-Key is going on.",
    412: "It moved since you looked; `current` is the new state.",
    413: "The body is too large.",
    422: "A field is wrong; `errors` names it.",
    428: "The version that you looked at is missing; `current` is the state now.",
    429: "Too many requests; see Retry-After.",
    500: "A fault of the service.",
    503: "The state database cannot be used now; see Retry-After.",
}


def accepted_or(done: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers of an operation that starts a run: `done` when it is over already, or a refusal."""
    return {200: done, **refusals(*statuses)}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of an operation: what every one of them may give, and these."""
    wanted = sorted({401, 403, 404, 422, 429, 500, 503, *statuses})
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _TEXT[status],
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in wanted
    }
