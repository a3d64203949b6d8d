# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Errors as the contract wants them: JSON with `type`, `detail`, `request_id`, never database text."""

from __future__ import annotations

from collections.abc import Mapping

from app.integration.jsons import Json


class Problem(Exception):
    """A refusal. Raising it inside a transaction rolls back: a 4xx or 5xx means nothing was applied.

    `kind` is the stable machine word sent as `type`; `extra` holds `current`, `other` or `errors`.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        extra: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.extra: dict[str, Json] = dict(extra or {})
        self.headers: dict[str, str] = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Json]:
        """The answer's JSON object."""
        return {"type": self.kind, "detail": self.detail, "request_id": request_id, **self.extra}


def unreadable(loc: list[Json], message: str) -> Problem:
    """422 for a body whose envelope cannot be understood."""
    errors: list[Json] = [{"loc": ["body", *loc], "msg": message}]
    where = ".".join(str(part) for part in loc) or "body"
    return Problem(422, "validation_error", f"{where}: {message}", extra={"errors": errors})
