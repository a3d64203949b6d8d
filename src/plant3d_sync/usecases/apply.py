"""Carry out a plan: intent, write, read back, and only then remember. No decisions are left here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from plant3d_sync.connectors.base import AssetWrite, Creation, Echo, WriteResult
from plant3d_sync.errors import ConfigError, LeaseLost, SkipRecordError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.creation import CreationLine, in_full
from plant3d_sync.model.link import Link
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Asset, Finding, Value
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.state import audit, findings, intents, links
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

WRITES = frozenset({"create", "update", "adopt", "archive", "restore"})
MAX_STRETCH = 1000
"""A chain of renames is never cut below this many items (SYNAPSE judges tags on the state after a batch)."""

JsonLine = dict[str, Any]
Chunk = Callable[[], Sequence[CreationLine | JsonLine]]
"""Gives the lines of one chunk of a plan."""


@dataclass(slots=True)
class Outcome:
    """What became of the lines, by entity, and every row that failed."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[RowError] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    written: int = 0
    cells_written: int = 0
    push: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    remembered: int = 0
    """Lines without a write that are done."""
    echoes: int = 0
    """Writes that changed nothing: SYNAPSE held the values already."""
    misses: int = 0
    """Writes to SYNAPSE whose condition did not hold any more."""

    @property
    def progress(self) -> int:
        """Lines that need not be done again."""
        return self.written + self.cells_written + self.remembered

    def add(self, entity: str, name: str, number: int = 1) -> None:
        """Count one line."""
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
    """Whether a person applies the plan: lines that need a person are carried out."""
    stop: Callable[[], None] = lambda: None
    """Called between batches; raises when the run must end (cancel, deadline, lease lost)."""
    next_link: int = 1
    stored_lines: bool = False
    """Whether the chunks are those of the stored plan, so that an intent can point at its lines."""

    def check(self) -> None:
        """End here if the run must end."""
        if self.lease.lost.is_set():
            raise LeaseLost(
                f"Another run of {self.project.name} took over. This one stopped and wrote nothing more.",
                hint="Look at the newer run; nothing has to be repaired.",
            )
        self.stop()


def apply_lines(execution: Execution, chunks: Sequence[Chunk], total: int) -> list[JsonLine]:
    """Write all lines, chunk by chunk. Returns the lines that go to Plant 3D, which are left to `push`."""
    pushed: list[JsonLine] = []
    quiet: list[JsonLine] = []
    size = min(execution.project.batch_size, execution.project.synapse.capabilities().max_batch_items)
    batch = _Batch(execution, size, total)
    for number, chunk in enumerate(chunks):
        for index, line in enumerate(chunk()):
            if isinstance(line, CreationLine):
                batch.add(line, number, index)
            elif line["op"] == "push":
                pushed.append(line)
                continue
            elif not _may_run(execution, line):
                quiet.append(line)
            elif line["op"] in ("create", "update", "restore", "archive") or (
                line["op"] == "adopt" and line.get("set")
            ):
                batch.add(line, number, index)
            else:
                quiet.append(line)
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
    """Lines that wait until there are enough of them for one call to SYNAPSE."""

    def __init__(self, execution: Execution, size: int, total: int) -> None:
        self.done = 0
        self._execution, self._size, self._total = execution, size, total
        self._lines: list[CreationLine | JsonLine] = []
        self._refs: list[list[int]] = []

    def add(self, line: CreationLine | JsonLine, chunk: int, index: int) -> None:
        """One more line, the `index`th of its chunk; what waited is sent first if it is enough."""
        lines, refs = self._lines, self._refs
        if len(lines) >= self._size and not _belongs_with(lines[-1], line, len(lines)):
            self.send()
            lines, refs = self._lines, self._refs
        lines.append(line)
        if refs and refs[-1][0] == chunk and refs[-1][2] == index:
            refs[-1][2] = index + 1
        else:
            refs.append([chunk, index, index + 1])

    def send(self) -> None:
        """Send what waits."""
        if not self._lines:
            return
        execution, lines = self._execution, self._lines
        refs = self._refs if execution.stored_lines else None
        creations = [line for line in lines if isinstance(line, CreationLine)]
        if refs is not None and len(creations) == len(lines):
            _create_batch(execution, creations, refs)
        else:
            _write_batch(execution, [_line_in_full(line) for line in lines], refs)
        self.done += len(lines)
        execution.world.progress("write", self.done, self._total)
        self._lines, self._refs = [], []


def _line_in_full(line: CreationLine | JsonLine) -> JsonLine:
    return in_full(line) if isinstance(line, CreationLine) else line


def _may_run(execution: Execution, line: JsonLine) -> bool:
    return line.get("needs") is None or execution.approved


def _belongs_with(last: CreationLine | JsonLine, line: CreationLine | JsonLine, length: int) -> bool:
    """Whether two renames must travel in one batch: one takes the tag the other gives away."""
    if isinstance(line, CreationLine) or isinstance(last, CreationLine):
        return False
    if length >= MAX_STRETCH or "old_tag" not in line or "old_tag" not in last:
        return False
    return bool(last["old_tag"] == line["set"]["tag"] or line["old_tag"] == last["set"]["tag"])


# ---------------------------------------------------------------- towards SYNAPSE


def _asset_write(line: JsonLine) -> AssetWrite:
    if line["op"] == "archive":
        return AssetWrite(op="archive", plant3d_id=line["id"], if_version=line.get("asset_version"))
    fields: dict[str, Value] = line.get("set") or {}
    if line["op"] == "create":
        return AssetWrite(op="upsert", plant3d_id=line["id"], set=fields, if_version=0)
    return AssetWrite(
        op="upsert",
        plant3d_id=line["id"],
        set=fields,
        if_description_version=line.get("description_version") if "description" in fields else None,
        restore=line["op"] == "restore",
    )


def _write_batch(
    execution: Execution, lines: list[JsonLine], refs: Sequence[Sequence[int]] | None = None
) -> None:
    """One call to SYNAPSE: intent committed first, receipts and base in one transaction after it.

    `refs`: where in the stored plan the lines stand; without them the intent holds the lines themselves.
    """
    execution.check()
    synapse = execution.project.synapse
    try:
        body = synapse.encode([_asset_write(line) for line in lines])
    except SkipRecordError as error:
        _leave_out(execution, lines, error)
        return
    except ConfigError as error:
        if error.error_code != "batch_too_large" or len(lines) == 1:
            raise
        half = len(lines) // 2
        _write_batch(execution, lines[:half])
        _write_batch(execution, lines[half:])
        return
    key, intent_id = _record_intent(execution, body, lines, refs)
    answers = synapse.send_briefly(body, key=key)
    failpoint("pull.reply_received")
    results = _in_full(lines, answers)
    try:
        store_results(execution, intent_id, lines, results)
    except LeaseLost:
        _note_late_batch(execution, intent_id, key, lines, results)
        raise
    failpoint("pull.receipts_stored")


def _create_batch(
    execution: Execution, creations: Sequence[CreationLine], refs: Sequence[Sequence[int]]
) -> None:
    """As `_write_batch` for a batch of the usual creations, as a first pull has them: nothing is taken apart that is
    only passed on. As soon as anything is unusual, the lines go the way of all others.
    """
    synapse = execution.project.synapse
    writes = [Creation(line.plant3d_id, bytes(line.fields)) for line in creations]
    try:
        body = synapse.encode(writes)
    except (SkipRecordError, ConfigError):  # which item, and what is to be done, is found out there
        _write_batch(execution, list(map(in_full, creations)), refs)
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
            lines = list(map(in_full, creations))
            store_results(execution, intent_id, lines, _in_full(lines, answers))
    except LeaseLost:
        lines = list(map(in_full, creations))
        _note_late_batch(execution, intent_id, key, lines, _in_full(lines, answers))
        raise
    failpoint("pull.receipts_stored")


def _record_intent(
    execution: Execution, body: bytes, lines: Sequence[JsonLine], refs: Sequence[Sequence[int]] | None
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
            lines=lines,
            at=world.clock(),
            refs=refs,
        )
    failpoint("pull.intent_stored")
    return key, intent_id


def _in_full(lines: Sequence[JsonLine], answers: Sequence[WriteResult | Echo]) -> list[WriteResult]:
    """Every answer with its asset: an echo says that it is what the line sent, and nothing else."""
    return [
        _result_of_echo(line, answer) if isinstance(answer, Echo) else answer
        for line, answer in zip(lines, answers, strict=True)
    ]


def _result_of_echo(line: JsonLine, echo: Echo) -> WriteResult:
    asset = Asset(
        asset_id=echo.asset_id,
        plant3d_id=echo.plant3d_id,
        version=echo.version,
        seq=echo.seq,
        archived=False,
        fields={"asset_subtype": None, "description": None, **line["set"]},
        field_info={"description": echo.description},
    )
    return WriteResult(
        plant3d_id=echo.plant3d_id,
        status="created",
        asset=asset,
        asset_id=asset.asset_id,
        version=asset.version,
    )


def _store_as_sent(
    execution: Execution,
    intent_id: int,
    lines: Sequence[CreationLine],
    writes: Sequence[Creation],
    echoes: Sequence[Echo],
) -> None:
    """As `store_results` for the usual batch of a first pull: the base is what was sent, so nothing is compared."""
    world, number, run = execution.world, execution.known.number, execution.run_id
    now = world.clock()
    first = project_state.link_id(number, execution.next_link)
    execution.next_link += len(lines)
    rows = created_rows(lines, writes, echoes, first=first, number=number, run_id=run)
    with world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_created(connection, rows)
        if links.any_unlinked(connection, number):
            links.drop_unlinked(connection, number, [echo.asset_id for echo in echoes])
        digest = intents.put_created(connection, rows, intent_id=intent_id, at=now)
        _audit_batch(execution, connection, run, now, len(rows), digest, found_after_crash=False)
        intents.close(connection, intent_id, status="done", at=now)
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.written += len(lines)
    for entity, made in Counter([line.entity for line in lines]).items():
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
    execution: Execution, intent_id: int, key: str, lines: list[JsonLine], results: Sequence[WriteResult]
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
                link_id=line["link_id"],
                line=line,
                outcome=result.status,
                asset=result.asset,
                at=now,
            )
            for line, result in zip(lines, results, strict=True)
            if line.get("link_id") and result.status in ("updated", "archived")
        ]
        created = [result.plant3d_id for result in results if result.status == "created"]
        if not changes and not created:
            return
        intents.put_changes(connection, changes)
        items, digest = len(changes) + len(created), audit.digest_of(changes)
        _audit_batch(
            execution, connection, execution.run_id, now, items, digest, created=created, after_takeover=True
        )


def _leave_out(execution: Execution, lines: list[JsonLine], error: SkipRecordError) -> None:
    """One item cannot be said in JSON (a lone surrogate, say): it is reported, the others go on."""
    culprit = error.details.get("plant3d_id")
    bad = [line for line in lines if line["id"] == culprit]
    if not bad:
        raise error
    for line in bad:
        execution.outcome.waiting += 1
        execution.outcome.add(line["entity"], "failed_" + line["op"])
        execution.outcome.errors.append(_error(line, error.error_code, error.message, error.hint))
    rest = [line for line in lines if line["id"] != culprit]
    if rest:
        _write_batch(execution, rest)


def store_results(
    execution: Execution,
    intent_id: int,
    lines: list[JsonLine],
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
    old = _links_of(execution, lines)
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    tags: list[tuple[int, str, str]] = []
    adopted: list[str] = []
    unknown: list[JsonLine] = []
    created_count: dict[str, int] = {}
    for line, result in zip(lines, results, strict=True):
        link = old.get(line.get("link_id") or 0)
        asset = result.asset
        if result.status == "unknown":
            unknown.append(line)
            _unknown(execution, line)
            continue
        if result.status in ("conflict", "error") or asset is None:
            _refused(execution, line, link, result, updates, inserts)
            continue
        outcome = "found_applied" if found else result.status
        if line["op"] == "archive":
            updates.append({"link_id": line["link_id"], **_archived_columns(line, asset)})
            link_id: int | None = line["link_id"]
        elif link is None and line["op"] == "create" and "digest" in (line.get("after") or {}):
            link_id = _new_id(execution)
            row, text = created_link(line, asset, link_id=link_id, number=known.number, run_id=run)
            inserts.append(row)
            adopted.append(asset.asset_id)
            if "base_plant" in row:
                _altered(execution, line, asset)
            changes.append(
                {
                    "project": known.number,
                    "run_id": run,
                    "intent_id": intent_id,
                    "link_id": link_id,
                    "pnpid": line["pnpid"],
                    "tag": asset.tag,
                    "side": "synapse",
                    "op": "create",
                    "outcome": outcome,
                    "fields": text,
                    "at": now,
                }
            )
            execution.outcome.written += 1
            created_count[line["entity"]] = created_count.get(line["entity"], 0) + 1
            continue
        elif link is None:
            link_id = _new_id(execution)
            row = new_link(
                line,
                asset,
                link_id=link_id,
                number=known.number,
                run_id=run,
                fields=_new_fields(line, asset),
            )
            _open_parts(row, line, asset)
            if line.get("accepted"):  # a link a person accepted: the next comparison merges its fields
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
            updates.append({"link_id": link_id, **moved_base(link, line, asset, line.get("set") or {})})
            if line.get("old_tag") and asset.tag != line["old_tag"]:
                tags.append((link_id, line["old_tag"], asset.tag))
        _altered(execution, line, asset)
        changes.append(
            change_row(
                number=known.number,
                run_id=run,
                intent_id=intent_id,
                link_id=link_id,
                line=line,
                outcome=outcome,
                asset=asset,
                at=now,
            )
        )
        execution.outcome.written += 0 if result.status == "unchanged" else 1
        execution.outcome.echoes += result.status == "unchanged"
        _count(execution, line, "done_" + line["op"])
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
                lines=unknown,
                at=now,
            )
        project_state.update(connection, execution.project.name, next_link=execution.next_link)


def _links_of(execution: Execution, lines: Sequence[JsonLine]) -> dict[int, Link]:
    ids = [line["link_id"] for line in lines if line.get("link_id")]
    if not ids:
        return {}
    with execution.world.state.read() as connection:
        return links.by_ids(connection, ids)


def _new_id(execution: Execution) -> int:
    number = project_state.link_id(execution.known.number, execution.next_link)
    execution.next_link += 1
    return number


def _new_fields(line: JsonLine, asset: Asset) -> dict[str, Value]:
    """Plant 3D's values of every field that both sides now agree on."""
    after = line.get("after") or {}
    fields: dict[str, Value] = {name: value for name, value in (after.get("base_set") or {}).items()}
    fields |= after.get("plant_set") or {}
    fields |= line.get("set") or {}
    return fields


def _open_parts(row: dict[str, Any], line: JsonLine, asset: Asset) -> None:
    """An adopted pair may have open fields (conflicts of the first sync)."""
    after = line.get("after") or {}
    pending = after.get("pending") or {}
    row["pending"] = dump(pending)
    row["observed"] = dump(after.get("observed"))
    row["synapse_delta"] = dump({name: asset.fields.get(name) for name in pending})


def _archived_columns(line: JsonLine, asset: Asset) -> dict[str, Any]:
    """What is left of a link. How its item was missed is kept: if the item comes back, so does its asset."""
    return {
        "state": "archived",
        "asset_version": asset.version,
        "gone_in_synapse": 1,
        "missing": dump((line.get("after") or {}).get("missing")),
        "pending": None,
        "digest": None,
        "holds": dump((line.get("after") or {}).get("holds")),
    }


def _update_links(connection: Any, updates: list[dict[str, Any]]) -> None:
    """Rows with the same columns go in one statement."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in updates:
        groups.setdefault(tuple(sorted(row)), []).append(row)
    for rows in groups.values():
        links.update_many(connection, rows)


def _count(execution: Execution, line: JsonLine, name: str) -> None:
    execution.outcome.add(line["entity"], name)


def _unknown(execution: Execution, line: JsonLine) -> None:
    execution.outcome.waiting += 1
    execution.outcome.add(line["entity"], "failed_" + line["op"])
    execution.outcome.errors.append(
        _error(
            line,
            "unknown_outcome",
            "SYNAPSE's answer did not say what became of this item.",
            "Nothing to do: the next run looks at the asset and continues.",
        )
    )


def _refused(
    execution: Execution,
    line: JsonLine,
    link: Link | None,
    result: WriteResult,
    updates: list[dict[str, Any]],
    inserts: list[dict[str, Any]],
) -> None:
    """SYNAPSE did not take this item: a condition failed, or the values were refused."""
    execution.outcome.waiting += 1
    execution.outcome.add(line["entity"], "failed_" + line["op"])
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
    elif result.status == "conflict" and result.code == "exists" and asset is not None:
        row = new_link(
            line,
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
        "exists": "SYNAPSE already holds an asset with this identity. It was tied, not created again.",
    }
    code = result.code or "refused"
    message = (
        messages.get(code)
        or f"SYNAPSE refused the item: {result.message or code}. Nothing was written for it."
    )
    execution.outcome.errors.append(
        _error(line, code, message, "The next run compares again and decides anew.", field_name=result.field)
    )


def _error(line: JsonLine, code: str, message: str, hint: str, *, field_name: str | None = None) -> RowError:
    return RowError(
        code=code,
        message=message,
        hint=hint,
        plant3d_id=line["id"],
        pnpid=line["pnpid"],
        class_name=line["class"],
        tag=line["tag"],
        field=field_name or None,
    )


def _altered(execution: Execution, line: JsonLine, asset: Asset) -> None:
    """SYNAPSE stored something else than it was given (trim, truncation): said once, then agreed on."""
    held = asset.fields
    for name, value in (line.get("set") or {}).items():
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
                pnpid=line["pnpid"],
                class_name=line["class"],
                column=name,
                tag=line["tag"],
            )
        )


# ---------------------------------------------------------------- lines without a write


def _remember_quiet(execution: Execution, lines: list[JsonLine]) -> None:
    """Settle, touch, missing, and adoptions that need no write: only our own memory changes."""
    execution.check()
    failpoint("pull.before_bookkeeping")
    old = _links_of(execution, lines)
    seen = _seen_in_feed(execution, lines)
    updates: list[dict[str, Any]] = []
    inserts: list[dict[str, Any]] = []
    for line in lines:
        link = old.get(line.get("link_id") or 0)
        if line["op"] in ("missing", "archive"):
            updates.append({"link_id": line["link_id"], **gone_columns(line)})
        elif line["op"] == "adopt" and link is None:
            row, asset_known = _adopted_quietly(execution, line, seen.get(line["id"]))
            if asset_known:
                inserts.append(row)
        elif link is not None:
            updates.append({"link_id": link.link_id, **moved_base(link, line, None, {})})
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_many(connection, inserts)
        links.drop_unlinked(connection, execution.known.number, [row["asset_id"] for row in inserts])
        _update_links(connection, updates)
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.remembered += len(lines)
    failpoint("pull.bookkeeping_stored")


def _seen_in_feed(execution: Execution, lines: Sequence[JsonLine]) -> dict[str, Asset]:
    """The assets to adopt as the feed showed them; what changes in SYNAPSE after that is in the next feed."""
    ids = [line["id"] for line in lines if line["op"] == "adopt"]
    if not ids:
        return {}
    with execution.world.state.read() as connection:
        return links.unlinked_by_plant3d_id(connection, execution.known.number, ids)


def _adopted_quietly(execution: Execution, line: JsonLine, seen: Asset | None) -> tuple[dict[str, Any], bool]:
    """Tie an asset that already equals the item."""
    asset = seen if seen is not None else execution.project.synapse.get(line["asset_id"])
    if asset is None:
        return {}, False
    row = new_link(
        line,
        asset,
        link_id=_new_id(execution),
        number=execution.known.number,
        run_id=execution.run_id,
        fields=_new_fields(line, asset),
    )
    _open_parts(row, line, asset)
    return row, True


def describe(line: Mapping[str, Any]) -> str:
    """One line of a plan in words."""
    fields = ", ".join(
        f"{name}: from {said((line.get('was') or {}).get(name))} to {said(value)}"
        for name, value in (line.get("set") or {}).items()
    )
    return f"{line['op']} {line['tag']} {fields}".strip()


__all__ = ["Execution", "Outcome", "apply_lines", "describe", "findings", "store_results"]
