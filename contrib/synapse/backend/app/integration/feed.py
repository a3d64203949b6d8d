# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Operation 3: the current state ordered by `seq`, from the beginning or since a cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from app.integration import queries
from app.integration.assets import Asset, Wire
from app.integration.jsons import canonical, parse
from app.integration.problems import Problem
from app.integration.queries import ProjectRow, Totals
from app.integration.server import Answer, Call, Server, json_answer, project_not_found

MAX_PAGE = 1000
DEFAULT_PAGE = 500
MAX_CURSOR = 512
PARAMETERS = frozenset({"cursor", "limit", "include"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRequest:
    """`cursor` None: from the beginning."""

    cursor: str | None
    limit: int
    with_totals: bool


def read_request(parameters: Sequence[tuple[str, str]]) -> FeedRequest:
    """Check the query. Unknown or repeated parameters are refused: a mistyped `cursor` would read all."""
    values = dict(parameters)
    if len(values) != len(parameters) or not PARAMETERS.issuperset(values):
        raise Problem(400, "invalid_parameter", "Known parameters, once each: cursor, limit, include.")
    if values.get("include", "totals") != "totals":
        raise Problem(400, "invalid_parameter", "include: only totals is known.")
    return FeedRequest(
        cursor=values.get("cursor"), limit=read_limit(values.get("limit")), with_totals="include" in values
    )


def read_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MAX_PAGE:
        raise Problem(400, "invalid_parameter", f"limit: 1 to {MAX_PAGE} expected.")
    return limit


def changes(server: Server, call: Call, request: FeedRequest) -> Answer:
    """One page; items, `max_seq` and totals come from one snapshot of the database."""
    with server.store.reading() as connection:
        project = queries.project_row(connection, call.project_id)
        if project is None:
            raise project_not_found()
        after = 0 if request.cursor is None else read_cursor(request.cursor, project)
        found = queries.assets_after(connection, project.id, after, request.limit + 1)
        counted = queries.totals(connection, project.id) if request.with_totals else None
    return json_answer(page(project, found, after, request.limit, counted))


def page(project: ProjectRow, found: Sequence[Asset], after: int, limit: int, counted: Totals | None) -> Wire:
    items = found[:limit]
    content: Wire = {
        "items": [
            {"seq": asset.seq, "change": "archive" if asset.deleted_at else "upsert", "asset": asset.wire()}
            for asset in items
        ],
        "next_cursor": make_cursor(project, items[-1].seq if items else after),
        "has_more": len(found) > limit,
        "max_seq": project.seq,
    }
    if counted is not None:
        content["totals"] = {"live": counted.live, "archived": counted.archived, "linked": counted.linked}
    return content


def make_cursor(project: ProjectRow, seq: int) -> str:
    """Opaque to the client: project, epoch and the last number read."""
    text = canonical({"p": project.id, "e": project.epoch, "s": seq})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, project: ProjectRow) -> int:
    """The number to go on from.

    400 for a cursor that is malformed or of another project. 410 when the project's history was broken since:
    another epoch, or a number this project has not given yet (a restored backup nobody announced).
    """
    project_id, epoch, seq = decode_cursor(cursor)
    if project_id != project.id:
        raise invalid_cursor()
    if epoch != project.epoch or seq > project.seq:
        raise Problem(410, "cursor_reset", "The project was restored; read again from the beginning.")
    return seq


def decode_cursor(cursor: str) -> tuple[str, str, int]:
    if len(cursor) > MAX_CURSOR or not cursor.isascii():
        raise invalid_cursor()
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content = parse(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise invalid_cursor() from error
    if not isinstance(content, dict) or set(content) != {"p", "e", "s"}:
        raise invalid_cursor()
    project_id, epoch, seq = content["p"], content["e"], content["s"]
    if not isinstance(project_id, str) or not isinstance(epoch, str):
        raise invalid_cursor()
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise invalid_cursor()
    return project_id, epoch, seq


def invalid_cursor() -> Problem:
    return Problem(400, "invalid_cursor", "This cursor was not given out for this project.")
