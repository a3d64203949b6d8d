"""Runs and plans: what was asked, decided and done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from msgspec.structs import asdict
from sqlalchemy.engine import Connection, Row

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.model.plan import GuardHit, RowError
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.run import OVER, Ending, RunOutcome, RunStatus
from plant3d_sync.model.step import Step, Touch, from_text
from plant3d_sync.model.tally import Counts
from plant3d_sync.state import seals
from plant3d_sync.state.codec import dump, load, load_map, set_columns
from plant3d_sync.state.seals.altered import CHANGED, Altered
from plant3d_sync.state.tables import plan, plan_chunk, run, run_error, run_event

CHUNK_LINES = 500


class Run(msgspec.Struct, kw_only=True):
    """One execution. `status` has the plan's four words, `outcome` the finer result."""

    run_id: str
    project: str
    direction: str
    trigger: str = "cli"
    status: str = "queued"
    outcome: str | None = None
    dry_run: bool = False
    requested_by: str | None = None
    request_id: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    created_at: float = 0.0
    started_at: float | None = None
    completed_at: float | None = None
    heartbeat_at: float | None = None
    fence: int | None = None
    attempts: int = 0
    next_try_at: float | None = None
    plan_id: str | None = None
    phase: str | None = None
    phase_done: int | None = None
    phase_total: int | None = None
    cancel_requested: bool = False
    stats: dict[str, Any] = msgspec.field(default_factory=dict)
    result: dict[str, Any] = msgspec.field(default_factory=dict)
    error: dict[str, Any] | None = None
    errors_total: int = 0
    seq: int | None = None


def _not_before(end: float | None, start: float | None) -> float | None:
    """An end that is never before its start, whatever the clock did in between."""
    return end if end is None or start is None else max(end, start)


def _options(text: str | None) -> dict[str, Any]:
    """What was asked; nothing where somebody put what is no JSON: the request's seal tells (`seals.check_request`)."""
    try:
        return load_map(text)
    except NeedsPersonError:
        return {}


def _run(row: Row[Any]) -> Run:
    return Run(
        run_id=row.id,
        project=row.project,
        direction=row.direction,
        trigger=row.trigger,
        status=row.status,
        outcome=row.outcome,
        dry_run=bool(row.dry_run),
        requested_by=row.requested_by,
        request_id=row.request_id,
        options=_options(row.options),
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=_not_before(row.completed_at, row.started_at),
        heartbeat_at=row.heartbeat_at,
        fence=row.fence,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        plan_id=row.plan_id,
        phase=row.phase,
        phase_done=row.phase_done,
        phase_total=row.phase_total,
        cancel_requested=bool(row.cancel_requested),
        stats=load_map(row.stats),
        result=load_map(row.result),
        error=load(row.error),
        errors_total=row.errors_total,
        seq=row.seq,
    )


_INSERT = sa.insert(run)
_INSERT_CHUNK = sa.insert(plan_chunk)
_CANCEL = sa.select(run.c.cancel_requested).where(run.c.id == sa.bindparam("wanted"))
_LINES = sa.select(plan_chunk.c.lines).where(
    plan_chunk.c.plan_id == sa.bindparam("whose"), plan_chunk.c.n == sa.bindparam("number")
)
_ABANDONED = sa.select(run.c.id, run.c.options).where(
    run.c.project == sa.bindparam("whose"),
    run.c.status == "running",
    run.c.id != sa.bindparam("not_this"),
    sa.or_(
        run.c.fence < sa.bindparam("number"),
        sa.and_(run.c.fence.is_(None), run.c.heartbeat_at < sa.bindparam("silent_since")),
    ),
)


def cancel_requested(connection: Connection, run_id: str) -> bool:
    """Whether somebody asked this run to end."""
    return bool(connection.execute(_CANCEL, {"wanted": run_id}).scalar())


def insert(connection: Connection, item: Run) -> None:
    """Store a new run."""
    connection.execute(
        _INSERT,
        {
            "id": item.run_id,
            "project": item.project,
            "direction": item.direction,
            "trigger": item.trigger,
            "requested_by": item.requested_by,
            "request_id": item.request_id,
            "status": item.status,
            "dry_run": int(item.dry_run),
            "options": dump(item.options),
            "created_at": item.created_at,
            "started_at": item.started_at,
            "heartbeat_at": item.heartbeat_at,
        },
    )


def update(connection: Connection, run_id: str, **values: Any) -> int:
    """Set columns of a run; JSON columns are given as objects. Returns rows changed."""
    return set_columns(connection, run, "id", run_id, as_columns(values))


def as_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """These values as the run's row holds them."""
    return {
        name: dump(value) if name in ("stats", "result", "error", "options") else value
        for name, value in values.items()
    }


def update_claimed(connection: Connection, claimed: Run, **values: Any) -> bool:
    """Set columns of a run as its claimer; JSON columns are given as objects. False if it is not its own any more."""
    changed = connection.execute(
        sa.update(run)
        .where(
            run.c.id == claimed.run_id,
            run.c.status == RunStatus.RUNNING.value,
            run.c.attempts == claimed.attempts,
        )
        .values(**as_columns(values))
    )
    return changed.rowcount == 1


def end(connection: Connection, run_id: str, ending: Ending, *, claimed: Run | None = None) -> bool:
    """The one way a run ends, with its row errors.

    `claimed`: the run as its claimer knows it; False, and nothing is done, if somebody else has it by now.
    """
    said = {"plan_id": ending.plan_id, "stats": ending.stats, "result": ending.result}
    values = {name: value for name, value in said.items() if value is not None} | {
        "status": ending.status.value,
        "outcome": ending.outcome.value,
        "completed_at": ending.at,
        "error": ending.error,
        "phase": None,
        "next_try_at": None,
    }
    if ending.errors is not None or ending.errors_total is not None:
        values["errors_total"] = (
            len(ending.errors or ()) if ending.errors_total is None else ending.errors_total
        )
    if claimed is None:
        update(connection, run_id, **values)
    elif not update_claimed(connection, claimed, **values):
        return False
    put_errors(connection, run_id, ending.errors or ())
    return True


def get(connection: Connection, run_id: str) -> Run | None:
    """One run."""
    row = connection.execute(sa.select(run).where(run.c.id == run_id)).first()
    return _run(row) if row else None


def end_abandoned(
    connection: Connection, current: Run, *, fence: int, now: float, silent_since: float
) -> list[str]:
    """End runs by hand whose process died: they stand as running, and `current` has the lease now. Returns their ids.

    One that never got the lease counts only after a heartbeat older than `silent_since`. Queued work is the queue's.
    """
    rows = connection.execute(
        _ABANDONED,
        {
            "whose": current.project,
            "not_this": current.run_id,
            "number": fence,
            "silent_since": silent_since,
        },
    )
    ended = [row.id for row in rows.fetchall() if not load_map(row.options).get("queued")]
    for run_id in ended:
        error = {
            "code": "abandoned",
            "message": "The process of this run ended before the run did. What it had written is recorded.",
            "hint": f"Nothing has to be done: run {current.run_id} continued its work.",
            "details": {},
        }
        ending = Ending(at=now, status=RunStatus.FAILED, outcome=RunOutcome.FAILED, error=error)
        end(connection, run_id, ending)
    return ended


def history(
    connection: Connection,
    project: str | None,
    *,
    limit: int = 50,
    offset: int = 0,
    statuses: Sequence[str] = (),
    outcome: str | None = None,
    direction: str | None = None,
) -> list[Run]:
    """Runs, newest first. `statuses`, `outcome`, `direction`: only these; none means all."""
    statement = sa.select(run).order_by(run.c.seq.desc()).limit(limit).offset(offset)
    return [
        _run(row)
        for row in connection.execute(statement.where(*_which(project, statuses, outcome, direction)))
    ]


def _which(
    project: str | None, statuses: Sequence[str], outcome: str | None, direction: str | None
) -> list[sa.ColumnElement[bool]]:
    given = {run.c.project: project, run.c.outcome: outcome, run.c.direction: direction}
    where = [column == value for column, value in given.items() if value is not None]
    return [*where, run.c.status.in_(list(statuses))] if statuses else where


def count(
    connection: Connection,
    project: str | None,
    *,
    statuses: Sequence[str] = (),
    outcome: str | None = None,
    direction: str | None = None,
) -> int:
    """Number of runs, of these only as in `history`."""
    statement = sa.select(sa.func.count()).select_from(run)
    where = _which(project, statuses, outcome, direction)
    return int(connection.execute(statement.where(*where)).scalar() or 0)


def first_and_last(connection: Connection, project: str) -> tuple[int, int] | None:
    """The numbers of a project's oldest and newest run, None if it has none."""
    numbers = sa.select(run.c.seq).where(run.c.project == project).limit(1)
    first = connection.execute(numbers.order_by(run.c.seq.asc())).scalar()
    if first is None:
        return None
    return int(first), int(connection.execute(numbers.order_by(run.c.seq.desc())).scalar() or first)


def count_after(connection: Connection, project: str, number: int) -> int:
    """How many runs a project has with a greater number than this."""
    statement = sa.select(sa.func.count()).select_from(run)
    return int(
        connection.execute(statement.where(run.c.project == project, run.c.seq > number)).scalar() or 0
    )


def last_ended(connection: Connection, project: str) -> Run | None:
    """The newest run whose end says something: no preview, not cancelled or covered by another run."""
    row = connection.execute(
        sa.select(run)
        .where(
            run.c.project == project,
            run.c.status.in_(OVER),
            run.c.dry_run == 0,
            run.c.trigger != "links",  # linking by hand looks at no guard and reads no values
            # a cancelled or covered run says nothing: what the one before it said still holds
            sa.or_(run.c.outcome.is_(None), run.c.outcome != RunOutcome.CANCELLED.value),
        )
        .order_by(run.c.seq.desc())
        .limit(1)
    ).first()
    return _run(row) if row else None


def counts_of(result: Mapping[str, Any]) -> Counts:
    """What the stored result of a run (or the header of a plan) counts."""
    return msgspec.convert({name: value for name, value in result.items() if value is not None}, Counts)


def put_errors(connection: Connection, run_id: str, errors: Sequence[Mapping[str, object]]) -> None:
    """Keep every row error of a run."""
    if not errors:
        return
    start = (
        connection.execute(sa.select(sa.func.max(run_error.c.n)).where(run_error.c.run_id == run_id)).scalar()
        or 0
    )
    connection.execute(
        sa.insert(run_error),
        [
            {"run_id": run_id, "n": start + n, "data": orjson.dumps(error).decode()}
            for n, error in enumerate(errors, 1)
        ],
    )


def errors(
    connection: Connection, run_id: str, *, limit: int = 1000, offset: int = 0
) -> list[dict[str, Any]]:
    """Row errors of a run in order. A run in which nothing moved repeats those of the run whose decision stands."""
    result = load_map(connection.execute(sa.select(run.c.result).where(run.c.id == run_id)).scalar())
    rows = connection.execute(
        sa.select(run_error.c.data)
        .where(run_error.c.run_id == (result.get("decided_by") or run_id))
        .order_by(run_error.c.n)
        .limit(limit)
        .offset(offset)
    )
    return [orjson.loads(row.data) for row in rows]


def row_error(data: Mapping[str, Any]) -> RowError:
    """A row error as it was stored."""
    return RowError(
        code=str(data["code"]),
        message=str(data["message"]),
        hint=str(data.get("hint") or ""),
        plant3d_id=data.get("plant3d_id"),
        pnpid=data.get("pnpid"),
        class_name=data.get("class"),
        tag=data.get("tag"),
        field=data.get("field"),
    )


def event(connection: Connection, run_id: str, name: str, at: float, **data: object) -> None:
    """One event of a run's story."""
    connection.execute(sa.insert(run_event).values(run_id=run_id, at=at, event=name, data=dump(data)))


def events(connection: Connection, run_id: str, *, after: int = 0, limit: int = 500) -> list[dict[str, Any]]:
    """Events after a number, in order."""
    rows = connection.execute(
        sa.select(run_event)
        .where(run_event.c.run_id == run_id, run_event.c.id > after)
        .order_by(run_event.c.id)
        .limit(limit)
    )
    return [{"id": row.id, "at": row.at, "event": row.event, **load_map(row.data)} for row in rows]


# ---------------------------------------------------------------- plans


class StoredPlan(msgspec.Struct, kw_only=True):
    """A plan as stored. `header` holds stats, guards, errors, conflicts, work items and options."""

    plan_id: str
    project: str
    direction: str
    status: str
    created_at: float
    created_by: str | None
    run_id: str | None
    fingerprint: str
    mapping_digest: str
    identity: SourceIdentity | None
    signature: str | None
    header: dict[str, Any]
    lines: int
    chunks: int
    applied_at: float | None = None
    applied_by: str | None = None
    undo_of: str | None = None
    version: int = 1

    @property
    def counts(self) -> Counts:
        """What it would do, counted."""
        return counts_of(self.header)

    @property
    def writes(self) -> dict[str, int] | None:
        """Side -> how much it would write there; None in a plan that does not say."""
        return self.header.get("writes")

    @property
    def remembered(self) -> int | None:
        """How many of its steps only update what is remembered; None in a plan that does not say."""
        count = self.header.get("remembered")
        return None if count is None else int(count)

    @property
    def guards(self) -> list[GuardHit]:
        """The guards that stopped it."""
        return [GuardHit(**hit) for hit in self.header.get("guards") or []]

    @property
    def errors(self) -> list[RowError]:
        """Its row errors, as many as it carries."""
        return [row_error(one) for one in self.header.get("errors") or []]

    @property
    def waiting_for_person(self) -> dict[str, int]:
        """Operation -> steps that only a person carries out, by applying it."""
        return dict(self.header.get("waiting_for_person") or {})


_INSERT_PLAN = sa.insert(plan)


def put_plan(connection: Connection, item: StoredPlan, lines: Iterable[bytes]) -> list[str]:
    """Store a plan with its steps, in chunks. Returns the digest of each chunk, for `steps_of`."""
    connection.execute(
        _INSERT_PLAN,
        {
            "id": item.plan_id,
            "project": item.project,
            "direction": item.direction,
            "status": item.status,
            "created_at": item.created_at,
            "created_by": item.created_by,
            "run_id": item.run_id,
            "fingerprint": item.fingerprint,
            "mapping_digest": item.mapping_digest,
            "identity": dump(asdict(item.identity)) if item.identity else None,
            "signature": item.signature,
            "header": dump(item.header) or "{}",
            "lines": item.lines,
            "chunks": item.chunks,
            "undo_of": item.undo_of,
        },
    )
    rest, digests = iter(lines), list[str]()
    while piece := list(islice(rest, CHUNK_LINES)):
        text = b"[" + b",".join(piece) + b"]"
        connection.execute(_INSERT_CHUNK, {"plan_id": item.plan_id, "n": len(digests), "lines": text})
        digests.append(seals.digest_of_piece(text))
    if digests or item.lines or item.chunks:  # what holds no step leads to no write
        seals.seal_plan(connection, item.project, item.plan_id, digests, at=item.created_at)
    return digests


def get_plan(connection: Connection, plan_id: str) -> StoredPlan | None:
    """One plan without its steps."""
    row = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).first()
    return _plan(row) if row else None


def plans(
    connection: Connection,
    project: str,
    *,
    limit: int = 50,
    offset: int = 0,
    statuses: Sequence[str] = (),
    direction: str | None = None,
) -> list[StoredPlan]:
    """Plans, newest first. `statuses`, `direction`: only these; none means all."""
    statement = sa.select(plan).where(plan.c.project == project)
    if statuses:
        statement = statement.where(plan.c.status.in_(list(statuses)))
    if direction is not None:
        statement = statement.where(plan.c.direction == direction)
    rows = connection.execute(
        statement.order_by(plan.c.created_at.desc(), plan.c.id).limit(limit).offset(offset)
    )
    return [_plan(row) for row in rows]


def _plan(row: Row[Any]) -> StoredPlan:
    identity = load(row.identity)
    return StoredPlan(
        plan_id=row.id,
        project=row.project,
        direction=row.direction,
        status=row.status,
        created_at=row.created_at,
        created_by=row.created_by,
        run_id=row.run_id,
        fingerprint=row.fingerprint,
        mapping_digest=row.mapping_digest,
        identity=SourceIdentity(**identity) if identity else None,
        signature=row.signature,
        header=load_map(row.header),
        lines=row.lines,
        chunks=row.chunks,
        applied_at=row.applied_at,
        applied_by=row.applied_by,
        undo_of=row.undo_of,
        version=row.version,
    )


def steps_of(connection: Connection, plan_id: str, number: int, *, digest: str | None = None) -> list[Step]:
    """The steps of one chunk. `digest`: what `put_plan` returned for it; NeedsPersonError `row_altered` if it is not so."""
    text = connection.execute(_LINES, {"whose": plan_id, "number": number}).scalar()
    if digest is not None and not seals.is_piece(text or b"", digest):
        raise seals.refusal(
            [Altered("", "plan_chunk", f"{plan_id}/{number}", CHANGED).in_its_project()],
            "Nothing of it was written; the run stopped there.",
        )
    return from_text(text) if text else []


def all_steps(connection: Connection, item: StoredPlan) -> Iterator[Step]:
    """Every step in order."""
    for number in range(item.chunks):
        yield from steps_of(connection, item.plan_id, number)


def remembered(connection: Connection, item: StoredPlan) -> int:
    """How many of its steps only update what is remembered; the steps of a plan that does not say are read."""
    if item.remembered is not None:
        return item.remembered
    return sum(isinstance(step, Touch) for step in all_steps(connection, item))


_DATED = sa.select(plan.c.lines, plan.c.created_at, plan.c.applied_at).where(
    plan.c.id == sa.bindparam("wanted")
)


@lru_cache(maxsize=64)
def _set_plan(columns: tuple[str, ...], *, expects: bool) -> sa.Update:
    """The statement that sets these columns of a plan; built once, used often."""
    to = {name: sa.bindparam("to_" + name, type_=plan.c[name].type) for name in columns}
    statement = sa.update(plan).where(plan.c.id == sa.bindparam("wanted"))
    if expects:
        statement = statement.where(plan.c.status.in_(sa.bindparam("expected", expanding=True)))
    return statement.values(version=plan.c.version + 1, **to)


def set_plan(connection: Connection, plan_id: str, *, expect: Sequence[str] = (), **values: Any) -> bool:
    """Change a plan's columns, only while its status is one of `expect` (if given)."""
    if "header" in values:
        values["header"] = dump(values["header"])
    given = {"wanted": plan_id, **{"to_" + name: value for name, value in values.items()}}
    if expect:
        given["expected"] = list(expect)
    statement = _set_plan(tuple(values), expects=bool(expect))
    if connection.execute(statement, given).rowcount != 1:
        return False
    row = connection.execute(_DATED, {"wanted": plan_id}).one()
    if row.lines:
        seals.seal(connection, "plan", [plan_id], at=row.applied_at or row.created_at)
    return True
