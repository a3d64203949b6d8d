"""Carry out a plan: intent, write, read back, and only then remember. No decisions are left here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from sqlalchemy.engine import Connection

from plant3d_sync.connectors.base import AssetWrite, Creation, Echo, WriteResult
from plant3d_sync.errors import ConfigError, LeaseLost, SkipRecordError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.link import Link
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Asset, Finding, Value
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    AfterCreation,
    Archive,
    Create,
    Push,
    Quiet,
    Restore,
    Settle,
    Step,
    ToSynapse,
    Touch,
    Update,
)
from plant3d_sync.state import audit, intents, links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.usecases.bookkeeping import (
    change_row,
    created_link,
    created_rows,
    gone_columns,
    moved_base,
    new_link,
)
from plant3d_sync.usecases.feed import observed_with_synapse
from plant3d_sync.usecases.project import Project, World
from plant3d_sync.words import said

MAX_STRETCH = 1000
"""A chain of renames is never cut below this many items (SYNAPSE judges tags on the state after a batch)."""

Chunk = Callable[[], Sequence[Step]]
"""Gives the steps of one chunk of a plan."""


@dataclass(slots=True)
class Outcome:
    """What became of the steps, by entity, and every row that failed."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[RowError] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    written: int = 0
    cells_written: int = 0
    push: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    remembered: int = 0
    """Steps without a write that are done."""
    echoes: int = 0
    """Writes that changed nothing: SYNAPSE held the values already."""
    misses: int = 0
    """Writes to SYNAPSE whose condition did not hold any more."""

    @property
    def progress(self) -> int:
        """Steps that need not be done again."""
        return self.written + self.cells_written + self.remembered

    def add(self, entity: str, name: str, number: int = 1) -> None:
        """Count one step."""
        per = self.counts.setdefault(entity, {})
        per[name] = per.get(name, 0) + number


@dataclass(slots=True, kw_only=True)
class Execution:
    """Everything one application of a plan needs."""

    world: World
    project: Project
    known: ProjectState
    lease: Lease
    run_id: str
    plan_id: str
    rules: RuleSet
    actor: str
    outcome: Outcome = field(default_factory=Outcome)
    approved: bool = False
    """Whether a person applies the plan: steps that need a person are carried out."""
    stop: Callable[[], None] = lambda: None
    """Called between batches; raises when the run must end (cancel, deadline, lease lost)."""
    next_link: int = 1
    stored_steps: bool = False
    """Whether the chunks are those of the stored plan, so that an intent can point at its steps."""

    def check(self) -> None:
        """End here if the run must end."""
        if self.lease.lost.is_set():
            raise LeaseLost(
                f"Another run of {self.project.name} took over. This one stopped and wrote nothing more.",
                hint="Look at the newer run; nothing has to be repaired.",
            )
        self.stop()


def apply_steps(execution: Execution, chunks: Sequence[Chunk], total: int) -> list[Push]:
    """Write all steps, chunk by chunk. Returns the steps into Plant 3D, which are left to `push`."""
    pushed: list[Push] = []
    quiet: list[Quiet] = []
    size = min(execution.project.batch_size, execution.project.synapse.capabilities().max_batch_items)
    batch = _Batch(execution, size, total)
    for number, chunk in enumerate(chunks):
        for index, step in enumerate(chunk()):
            match step:
                case Create() | Update() | Restore():
                    batch.add(step, number, index)
                case Push():
                    pushed.append(step)
                    continue
                case Archive():
                    if step.needs is None or execution.approved:
                        batch.add(step, number, index)
                    else:
                        quiet.append(step)
                case Adopt():
                    if step.set:
                        batch.add(step, number, index)
                    else:
                        quiet.append(step)
                case Settle() | Touch() | Absent():
                    quiet.append(step)
                case _:
                    assert_never(step)
            if len(quiet) >= 1000:
                _remember_quiet(execution, quiet)
                batch.done += len(quiet)
                quiet = []
    batch.send()
    if quiet:
        _remember_quiet(execution, quiet)
    execution.world.progress("write", total, total)
    return pushed


class _Batch:
    """Steps that wait until there are enough of them for one call to SYNAPSE."""

    def __init__(self, execution: Execution, size: int, total: int) -> None:
        self.done = 0
        self._execution, self._size, self._total = execution, size, total
        self._steps: list[ToSynapse] = []
        self._refs: list[list[int]] = []

    def add(self, step: ToSynapse, chunk: int, index: int) -> None:
        """One more step, the `index`th of its chunk; what waited is sent first if it is enough."""
        steps, refs = self._steps, self._refs
        if len(steps) >= self._size and not _belongs_with(steps[-1], step, len(steps)):
            self.send()
            steps, refs = self._steps, self._refs
        steps.append(step)
        if refs and refs[-1][0] == chunk and refs[-1][2] == index:
            refs[-1][2] = index + 1
        else:
            refs.append([chunk, index, index + 1])

    def send(self) -> None:
        """Send what waits."""
        if not self._steps:
            return
        execution, steps = self._execution, self._steps
        refs = self._refs if execution.stored_steps else None
        creations = [step for step in steps if isinstance(step, Create) and step.is_usual]
        if refs is not None and len(creations) == len(steps):
            _create_batch(execution, creations, refs)
        else:
            _write_batch(execution, steps, refs)
        self.done += len(steps)
        execution.world.progress("write", self.done, self._total)
        self._steps, self._refs = [], []


def _belongs_with(last: ToSynapse, step: ToSynapse, length: int) -> bool:
    """Whether two renames must travel in one batch: one takes the tag the other gives away."""
    if length >= MAX_STRETCH or not isinstance(step, Update | Adopt) or not isinstance(last, Update | Adopt):
        return False
    if step.old_tag is None or last.old_tag is None:
        return False
    return last.old_tag == step.set["tag"] or step.old_tag == last.set["tag"]


# ---------------------------------------------------------------- towards SYNAPSE


def _asset_write(step: ToSynapse) -> AssetWrite:
    match step:
        case Archive():
            return AssetWrite(op="archive", plant3d_id=step.plant3d_id, if_version=step.asset_version)
        case Create():
            return AssetWrite(op="upsert", plant3d_id=step.plant3d_id, set=step.set, if_version=0)
        case Adopt() | Update() | Restore():
            return AssetWrite(
                op="upsert",
                plant3d_id=step.plant3d_id,
                set=step.set,
                if_description_version=step.description_version if "description" in step.set else None,
                restore=isinstance(step, Restore),
            )
        case _:
            assert_never(step)


def _write_batch(
    execution: Execution, steps: Sequence[ToSynapse], refs: Sequence[Sequence[int]] | None = None
) -> None:
    """One call to SYNAPSE: intent committed first, receipts and base in one transaction after it.

    `refs`: where in the stored plan the steps stand; without them the intent holds the steps themselves.
    """
    execution.check()
    synapse = execution.project.synapse
    try:
        body = synapse.encode([_asset_write(step) for step in steps])
    except SkipRecordError as error:
        _leave_out(execution, steps, error)
        return
    except ConfigError as error:
        if error.error_code != "batch_too_large" or len(steps) == 1:
            raise
        half = len(steps) // 2
        _write_batch(execution, steps[:half])
        _write_batch(execution, steps[half:])
        return
    key, intent_id = _record_intent(execution, body, steps, refs)
    answers = synapse.send_briefly(body, key=key)
    failpoint("pull.reply_received")
    results = _in_full(steps, answers)
    try:
        store_results(execution, intent_id, steps, results)
    except LeaseLost:
        _note_late_batch(execution, intent_id, key, steps, results)
        raise
    failpoint("pull.receipts_stored")


def _create_batch(execution: Execution, creations: Sequence[Create], refs: Sequence[Sequence[int]]) -> None:
    """As `_write_batch` for a batch of the usual creations, as a first pull has them: values that are only passed on
    are never parsed. As soon as anything is unusual, the steps go the way of all others.
    """
    synapse = execution.project.synapse
    writes = [Creation(step.plant3d_id, bytes(step.text)) for step in creations]
    try:
        body = synapse.encode(writes)
    except (SkipRecordError, ConfigError):  # which item, and what is to be done, is found out there
        _write_batch(execution, creations, refs)
        return
    execution.check()
    key, intent_id = _record_intent(execution, body, [], refs)
    answers = synapse.send_briefly(body, key=key)
    failpoint("pull.reply_received")
    echoes = [answer for answer in answers if type(answer) is Echo]
    try:
        if len(echoes) == len(creations):
            _store_as_sent(execution, intent_id, creations, writes, echoes)
        else:
            store_results(execution, intent_id, creations, _in_full(creations, answers))
    except LeaseLost:
        _note_late_batch(execution, intent_id, key, creations, _in_full(creations, answers))
        raise
    failpoint("pull.receipts_stored")


def _record_intent(
    execution: Execution, body: bytes, steps: Sequence[ToSynapse], refs: Sequence[Sequence[int]] | None
) -> tuple[str, int]:
    """Commit what is about to be sent; its idempotency key and the number of the intent."""
    world = execution.world
    key = hashlib.sha256(
        b"|".join((execution.project.config.synapse_project_id.encode(), execution.run_id.encode(), body))
    ).hexdigest()
    failpoint("pull.before_intent")
    with world.state.write() as connection:
        intent_id = intents.record(
            connection,
            execution.lease.fence,
            run_id=execution.run_id,
            plan_id=execution.plan_id,
            side="synapse",
            key=key,
            body=b"",
            steps=steps,
            at=world.clock(),
            refs=refs,
        )
    failpoint("pull.intent_stored")
    return key, intent_id


def _in_full(steps: Sequence[ToSynapse], answers: Sequence[WriteResult | Echo]) -> list[WriteResult]:
    """Every answer with its asset: an echo says that it is what the step sent, and nothing else."""
    return [
        _result_of_echo(step, answer) if isinstance(answer, Echo) else answer
        for step, answer in zip(steps, answers, strict=True)
    ]


def _result_of_echo(step: ToSynapse, echo: Echo) -> WriteResult:
    asset = Asset(
        asset_id=echo.asset_id,
        plant3d_id=echo.plant3d_id,
        version=echo.version,
        seq=echo.seq,
        archived=False,
        fields={"asset_subtype": None, "description": None, **_sent(step)},
        field_info={"description": echo.description},
    )
    return WriteResult(
        plant3d_id=echo.plant3d_id,
        status="created",
        asset=asset,
        asset_id=asset.asset_id,
        version=asset.version,
    )


def _sent(step: ToSynapse) -> Mapping[str, Value]:
    """What the step writes."""
    return {} if isinstance(step, Archive) else step.set


def _store_as_sent(
    execution: Execution,
    intent_id: int,
    steps: Sequence[Create],
    writes: Sequence[Creation],
    echoes: Sequence[Echo],
) -> None:
    """As `store_results` for the usual batch of a first pull: the base is what was sent, so nothing is compared."""
    world, number, run = execution.world, execution.known.number, execution.run_id
    now = world.clock()
    first = project_state.link_id(number, execution.next_link)
    execution.next_link += len(steps)
    rows = created_rows(steps, writes, echoes, first=first, number=number, run_id=run)
    with world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_created(connection, rows)
        if links.any_unlinked(connection, number):
            links.drop_unlinked(connection, number, [echo.asset_id for echo in echoes])
        digest = intents.put_created(connection, rows, intent_id=intent_id, at=now)
        _audit_batch(execution, connection, run, now, len(rows), digest, found_after_crash=False)
        intents.close(connection, intent_id, status="done", at=now)
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.written += len(steps)
    for entity, made in Counter([step.entity for step in steps]).items():
        execution.outcome.add(entity, "done_create", made)


def _audit_batch(
    execution: Execution,
    connection: Connection,
    run: str,
    at: float,
    items: int,
    digest: str,
    **facts: object,
) -> None:
    """The audit entry of one call to SYNAPSE: how many items it changed, and the digest of their change entries."""
    audit.append(
        connection,
        execution.project.name,
        action="synapse.batch",
        actor=execution.actor,
        at=at,
        run=run,
        plan=execution.plan_id,
        items=items,
        changes=digest,
        **facts,
    )


def _note_late_batch(
    execution: Execution, intent_id: int, key: str, steps: Sequence[ToSynapse], results: Sequence[WriteResult]
) -> None:
    """Another run took over while we called SYNAPSE. What the call changed stays in history and audit under our run;
    links and base belong to the other run, which reads SYNAPSE's changes again.
    """
    now = execution.world.clock()
    with execution.world.state.write() as connection:
        if intents.settled_elsewhere(connection, execution.project.name, intent_id, key):
            return  # SYNAPSE knew the request and only repeated its answer, or the other run found it done
        changes = [
            change_row(
                number=execution.known.number,
                run_id=execution.run_id,
                intent_id=intent_id,
                link_id=link_id,
                step=step,
                outcome=result.status,
                asset=result.asset,
                at=now,
            )
            for step, result in zip(steps, results, strict=True)
            if (link_id := _link_id(step)) and result.status in ("updated", "archived")
        ]
        created = [result.plant3d_id for result in results if result.status == "created"]
        if not changes and not created:
            return
        intents.put_changes(connection, changes)
        items, digest = len(changes) + len(created), audit.digest_of(changes)
        _audit_batch(
            execution, connection, execution.run_id, now, items, digest, created=created, after_takeover=True
        )


def _leave_out(execution: Execution, steps: Sequence[ToSynapse], error: SkipRecordError) -> None:
    """One item cannot be said in JSON (a lone surrogate, say): it is reported, the others go on."""
    culprit = error.details.get("plant3d_id")
    bad = [step for step in steps if step.plant3d_id == culprit]
    if not bad:
        raise error
    for step in bad:
        execution.outcome.waiting += 1
        execution.outcome.add(step.entity, "failed_" + step.op)
        execution.outcome.errors.append(_error(step, error.error_code, error.message, error.hint))
    rest = [step for step in steps if step.plant3d_id != culprit]
    if rest:
        _write_batch(execution, rest)


def store_results(
    execution: Execution,
    intent_id: int,
    steps: Sequence[ToSynapse],
    results: Sequence[WriteResult],
    *,
    run_id: str | None = None,
    found: bool = False,
) -> None:
    """Turn SYNAPSE's answers into links, bases, changes and one audit entry: one transaction.

    Items without an answer stay open as an intent of their own: unknown is not failed.
    `found`: the results were seen in SYNAPSE after a crash, not answered to us.
    """
    world, known = execution.world, execution.known
    run = run_id or execution.run_id
    now = world.clock()
    old = _links_of(execution, steps)
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    tags: list[tuple[int, str, str]] = []
    adopted: list[str] = []
    unknown: list[ToSynapse] = []
    created_count: dict[str, int] = {}
    for step, result in zip(steps, results, strict=True):
        link = old.get(_link_id(step) or 0)
        asset = result.asset
        if result.status == "unknown":
            unknown.append(step)
            _unknown(execution, step)
            continue
        if result.status in ("conflict", "error") or asset is None:
            _refused(execution, step, link, result, updates, inserts)
            continue
        outcome = "found_applied" if found else result.status
        if isinstance(step, Archive):
            updates.append({"link_id": step.link_id, **_archived_columns(step, asset)})
            link_id = step.link_id
        elif link is None and isinstance(step, Create) and step.after.digest is not None:
            link_id = _new_id(execution)
            row, text = created_link(step, asset, link_id=link_id, number=known.number, run_id=run)
            inserts.append(row)
            adopted.append(asset.asset_id)
            if "base_plant" in row:
                _altered(execution, step, asset)
            changes.append(
                {
                    "project": known.number,
                    "run_id": run,
                    "intent_id": intent_id,
                    "link_id": link_id,
                    "pnpid": step.pnpid,
                    "tag": asset.tag,
                    "side": "synapse",
                    "op": "create",
                    "outcome": outcome,
                    "fields": text,
                    "at": now,
                }
            )
            execution.outcome.written += 1
            created_count[step.entity] = created_count.get(step.entity, 0) + 1
            continue
        elif link is None:
            link_id = _new_id(execution)
            row = new_link(
                step,
                asset,
                link_id=link_id,
                number=known.number,
                run_id=run,
                fields=_new_fields(step),
            )
            _open_parts(row, step, asset)
            if (
                isinstance(step, Adopt) and step.accepted
            ):  # a link a person accepted: the next comparison merges its fields
                row |= {
                    "base": None,
                    "base_plant": None,
                    "synapse_delta": dump(dict(asset.fields)),
                    "digest": None,
                }
            inserts.append(row)
            adopted.append(asset.asset_id)
        else:
            link_id = link.link_id
            updates.append({"link_id": link_id, **moved_base(link, step, asset, step.set)})
            if isinstance(step, Update | Adopt) and step.old_tag and asset.tag != step.old_tag:
                tags.append((link_id, step.old_tag, asset.tag))
        _altered(execution, step, asset)
        changes.append(
            change_row(
                number=known.number,
                run_id=run,
                intent_id=intent_id,
                link_id=link_id,
                step=step,
                outcome=outcome,
                asset=asset,
                at=now,
            )
        )
        execution.outcome.written += 0 if result.status == "unchanged" else 1
        execution.outcome.echoes += result.status == "unchanged"
        execution.outcome.add(step.entity, "done_" + step.op)
    for entity, number in created_count.items():
        execution.outcome.add(entity, "done_create", number)
    with world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_many(connection, inserts)
        _update_links(connection, updates)
        if adopted and links.any_unlinked(connection, known.number):
            links.drop_unlinked(connection, known.number, adopted)
        intents.put_changes(connection, changes)
        for link_id, before, after in tags:
            links.remember_tag(connection, known.number, link_id, before, after, now, run)
        if changes:
            digest = audit.digest_of(changes)
            _audit_batch(execution, connection, run, now, len(changes), digest, found_after_crash=found)
        intents.close(connection, intent_id, status="done", at=now)
        if unknown:
            intents.record(
                connection,
                execution.lease.fence,
                run_id=run,
                plan_id=execution.plan_id,
                side="synapse",
                key=f"unknown-{intent_id}",
                body=b"",
                steps=unknown,
                at=now,
            )
        project_state.update(connection, execution.project.name, next_link=execution.next_link)


def _link_id(step: Step) -> int | None:
    """The link of the pair; an adoption makes one."""
    return None if isinstance(step, Adopt) else step.link_id


def _links_of(execution: Execution, steps: Sequence[Step]) -> dict[int, Link]:
    ids = [link_id for step in steps if (link_id := _link_id(step))]
    if not ids:
        return {}
    with execution.world.state.read() as connection:
        return links.by_ids(connection, ids)


def _new_id(execution: Execution) -> int:
    number = project_state.link_id(execution.known.number, execution.next_link)
    execution.next_link += 1
    return number


def _new_fields(step: Create | Adopt | Update | Restore) -> dict[str, Value]:
    """Plant 3D's values of every field that both sides now agree on."""
    after = step.after
    spelled = {} if isinstance(after, AfterCreation) else after.plant_set
    return {**after.base_set, **spelled, **step.set}


def _open_parts(row: dict[str, Any], step: Create | Adopt | Update | Restore, asset: Asset) -> None:
    """An adopted pair may have open fields (conflicts of the first sync)."""
    after = step.after
    row["pending"] = dump(after.pending)
    row["observed"] = None if isinstance(after, AfterCreation) else dump(after.observed)
    row["synapse_delta"] = dump({name: asset.fields.get(name) for name in after.pending})


def _archived_columns(step: Archive, asset: Asset) -> dict[str, Any]:
    """What is left of a link. How its item was missed is kept: if the item comes back, so does its asset."""
    return {
        "state": "archived",
        "asset_version": asset.version,
        "gone_in_synapse": 1,
        "missing": dump(step.after.missing),
        "pending": None,
        "digest": None,
        "holds": dump(step.after.holds),
    }


def _update_links(connection: Any, updates: list[dict[str, Any]]) -> None:
    """Rows with the same columns go in one statement."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in updates:
        groups.setdefault(tuple(sorted(row)), []).append(row)
    for rows in groups.values():
        links.update_many(connection, rows)


def _unknown(execution: Execution, step: ToSynapse) -> None:
    execution.outcome.waiting += 1
    execution.outcome.add(step.entity, "failed_" + step.op)
    execution.outcome.errors.append(
        _error(
            step,
            "unknown_outcome",
            "SYNAPSE's answer did not say what became of this item.",
            "Nothing to do: the next run looks at the asset and continues.",
        )
    )


def _refused(
    execution: Execution,
    step: ToSynapse,
    link: Link | None,
    result: WriteResult,
    updates: list[dict[str, Any]],
    inserts: list[dict[str, Any]],
) -> None:
    """SYNAPSE did not take this item: a condition failed, or the values were refused."""
    execution.outcome.waiting += 1
    execution.outcome.add(step.entity, "failed_" + step.op)
    execution.outcome.misses += result.status == "conflict"
    asset = result.asset
    if result.status == "conflict" and asset is not None and link is not None:
        info = asset.field_info.get("description")
        delta = links.delta(link.base, asset.fields, link.pending)
        updates.append(
            {
                "link_id": link.link_id,
                "asset_version": asset.version,
                "description_version": info.version if info else None,
                "description_at": info.updated_at if info else None,
                "description_by": info.by if info else None,
                "synapse_delta": dump(delta),
                "observed": dump(
                    observed_with_synapse(
                        link.observed, delta, execution.known.feed_read_at, execution.world.clock()
                    )
                ),
                "gone_in_synapse": int(asset.archived),
                "digest": None,
            }
        )
    elif (
        result.status == "conflict"
        and result.code == "exists"
        and asset is not None
        and not isinstance(step, Archive)
    ):
        row = new_link(
            step,
            asset,
            link_id=_new_id(execution),
            number=execution.known.number,
            run_id=execution.run_id,
            fields={},
        )

        row |= {"base": None, "synapse_delta": dump(dict(asset.fields)), "digest": None}
        inserts.append(row)
    messages = {
        "field_version_mismatch": "Somebody edited the description in SYNAPSE since the plan was made. Not overwritten.",
        "version_mismatch": "The asset changed in SYNAPSE since the plan was made. Nothing was written for it.",
        "archived": "The asset was archived in SYNAPSE. Nothing was written for it.",
        "exists": "SYNAPSE already holds an asset with this identity. It was linked instead of created again.",
    }
    code = result.code or "refused"
    message = (
        messages.get(code)
        or f"SYNAPSE refused the item: {result.message or code}. Nothing was written for it."
    )
    execution.outcome.errors.append(
        _error(step, code, message, "The next run compares again and decides anew.", field_name=result.field)
    )


def _error(step: Step, code: str, message: str, hint: str, *, field_name: str | None = None) -> RowError:
    return RowError(
        code=code,
        message=message,
        hint=hint,
        plant3d_id=step.plant3d_id,
        pnpid=step.pnpid,
        class_name=step.class_name,
        tag=step.tag,
        field=field_name or None,
    )


def _altered(execution: Execution, step: ToSynapse, asset: Asset) -> None:
    """SYNAPSE stored something else than it was given (trim, truncation): said once, then agreed on."""
    held = asset.fields
    for name, value in _sent(step).items():
        stored = held.get(name)
        if stored == value:
            continue
        same = execution.rules.same.get(name)
        if same is not None and same(stored, value):
            continue
        execution.outcome.findings.append(
            Finding(
                code="altered_by_synapse",
                message=f"SYNAPSE stored {said(stored)} for {said(value)}.",
                hint="Shorten or correct the value if it matters.",
                pnpid=step.pnpid,
                class_name=step.class_name,
                column=name,
                tag=step.tag,
            )
        )


# ---------------------------------------------------------------- steps without a write


def _remember_quiet(execution: Execution, steps: Sequence[Quiet]) -> None:
    """Settle, touch, missing, and adoptions that need no write: only our own memory changes."""
    execution.check()
    failpoint("pull.before_bookkeeping")
    old = _links_of(execution, steps)
    seen = _seen_in_feed(execution, steps)
    updates: list[dict[str, Any]] = []
    inserts: list[dict[str, Any]] = []
    for step in steps:
        match step:
            case Absent() | Archive():
                updates.append({"link_id": step.link_id, **gone_columns(step)})
            case Adopt():
                row, asset_known = _adopted_quietly(execution, step, seen.get(step.plant3d_id))
                if asset_known:
                    inserts.append(row)
            case Settle() | Touch():
                link = old.get(step.link_id or 0)
                if link is not None:
                    updates.append({"link_id": link.link_id, **moved_base(link, step, None, {})})
            case _:
                assert_never(step)
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_many(connection, inserts)
        links.drop_unlinked(connection, execution.known.number, [row["asset_id"] for row in inserts])
        _update_links(connection, updates)
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.remembered += len(steps)
    failpoint("pull.bookkeeping_stored")


def _seen_in_feed(execution: Execution, steps: Sequence[Quiet]) -> dict[str, Asset]:
    """The assets to adopt as the feed showed them; what changes in SYNAPSE after that is in the next feed."""
    ids = [step.plant3d_id for step in steps if isinstance(step, Adopt)]
    if not ids:
        return {}
    with execution.world.state.read() as connection:
        return links.unlinked_by_plant3d_id(connection, execution.known.number, ids)


def _adopted_quietly(execution: Execution, step: Adopt, seen: Asset | None) -> tuple[dict[str, Any], bool]:
    """Link an asset that already equals the item."""
    asset = seen if seen is not None else execution.project.synapse.get(step.asset_id or "")
    if asset is None:
        return {}, False
    row = new_link(
        step,
        asset,
        link_id=_new_id(execution),
        number=execution.known.number,
        run_id=execution.run_id,
        fields=_new_fields(step),
    )
    _open_parts(row, step, asset)
    return row, True


__all__ = ["Execution", "Outcome", "apply_steps", "store_results"]
