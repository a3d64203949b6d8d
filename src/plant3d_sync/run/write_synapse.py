"""Carry out a plan: intent, write, read back, and only then remember. No decisions are left here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import assert_never

import msgspec
from msgspec import UNSET

from plant3d_sync.connectors.base import AssetWrite, Batch, Creation, Echo, WriteResult
from plant3d_sync.errors import ConfigError, LeaseLost, SkipRecordError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.link import Link
from plant3d_sync.model.plan import Op, RowError
from plant3d_sync.model.record import Asset, Finding, Value
from plant3d_sync.model.refused import offer_of
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.step import (
    Absent,
    Adopt,
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
from plant3d_sync.model.tally import End, StepCounts
from plant3d_sync.reconcile import advance
from plant3d_sync.run.bookkeeping import Call, change_row
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recount import recount
from plant3d_sync.state import Connection, audit, intents, links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.intents import ChangeRow
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.words import said

MAX_STRETCH = 1000
"""A chain of renames is never cut below this many items (SYNAPSE judges tags on the state after a batch)."""

QUIET_AT_ONCE = 1000
"""Steps that are only remembered, in one transaction."""

Chunk = Callable[[], Sequence[Step]]
"""Gives the steps of one chunk of a plan."""


class Outcome(msgspec.Struct):
    """What became of the steps, by entity, and every row that failed."""

    counts: StepCounts = msgspec.field(default_factory=StepCounts)
    errors: list[RowError] = msgspec.field(default_factory=list)
    findings: list[Finding] = msgspec.field(default_factory=list)
    written: int = 0
    cells_written: int = 0
    push: dict[str, int] = msgspec.field(default_factory=dict)
    waiting: int = 0
    remembered: int = 0
    """Steps without a write that are done."""
    echoes: int = 0
    """Writes that changed nothing: SYNAPSE held the values already."""
    misses: int = 0
    """Writes to SYNAPSE whose condition did not hold any more."""
    refused: list[ToSynapse] = msgspec.field(default_factory=list)
    """The steps of those; their links show what SYNAPSE holds now, so they can be decided again."""

    @property
    def progress(self) -> int:
        """Steps that need not be done again."""
        return self.written + self.cells_written + self.remembered


class Execution(msgspec.Struct, kw_only=True):
    """Everything one application of a plan needs."""

    world: World
    project: Project
    known: ProjectState
    lease: Lease
    run_id: str
    plan_id: str
    rules: RuleSet
    actor: str
    outcome: Outcome = msgspec.field(default_factory=Outcome)
    approved: bool = False
    """Whether a person applies the plan: steps that need a person are carried out."""
    stop: Callable[[], None] = lambda: None
    """Called between batches; raises when the run must end (cancel, deadline, lease lost)."""
    next_link: int = 1
    stored_steps: bool = False
    """Whether the chunks are those of the stored plan, so that an intent can point at its steps."""
    just_read: Container[str] = frozenset()
    """Identities whose assets SYNAPSE showed in this run before it was decided; the others' are what we remember."""

    def same(self, name: str, one: Value, other: Value) -> bool:
        """Whether two values of a field are one value, perhaps in two spellings."""
        same = self.rules.same.get(name)
        return one == other or (same is not None and same(one, other))

    def check(self) -> None:
        """End here if the run must end."""
        if self.lease.lost.is_set():
            raise LeaseLost(
                f"Another run of {self.project.name} took over. This one stopped and wrote nothing more.",
                hint="Look at the newer run; nothing has to be repaired.",
            )
        self.stop()


class Writes(msgspec.Struct, frozen=True):
    """The steps of one call to SYNAPSE. `refs`: where in the plan they stand, as runs [chunk, first, behind the last]."""

    steps: Sequence[ToSynapse]
    refs: Sequence[Sequence[int]]

    @classmethod
    def of(cls, placed: Sequence[tuple[int, int, ToSynapse]]) -> Writes:
        """These steps, each behind its chunk and its place in it."""
        refs: list[list[int]] = []
        for chunk, index, _step in placed:
            if refs and refs[-1][0] == chunk and refs[-1][2] == index:
                refs[-1][2] = index + 1
            else:
                refs.append([chunk, index, index + 1])
        return cls([step for _chunk, _index, step in placed], refs)


class Memories(msgspec.Struct, frozen=True):
    """Steps that are remembered together and written nowhere."""

    steps: Sequence[Quiet]


class Pushes(msgspec.Struct, frozen=True):
    """The steps into Plant 3D, which come after all others."""

    steps: Sequence[Push]


def apply_steps(execution: Execution, chunks: Sequence[Chunk], total: int) -> Sequence[Push]:
    """Write all steps, chunk by chunk. Returns the steps into Plant 3D, which are left to `push`."""
    size = min(execution.project.batch_size, execution.project.synapse.capabilities().max_batch_items)
    pushed: Sequence[Push] = ()
    done = 0
    for portion in portions(chunks, size, approved=execution.approved):
        match portion:
            case Writes():
                _write(execution, portion)
                execution.world.progress("write", done + len(portion.steps), total)
            case Memories():
                _remember_quiet(execution, portion.steps)
            case Pushes():
                pushed = portion.steps
            case _:
                assert_never(portion)
        done += len(portion.steps)
    execution.world.progress("write", total, total)
    return pushed


def portions(chunks: Sequence[Chunk], size: int, *, approved: bool) -> Iterator[Writes | Memories | Pushes]:
    """The steps of a plan in the portions in which they are done: `size` for a call to SYNAPSE, unless a chain of renames
    would be cut. `approved`: steps that need a person are carried out. Creations with something open go together, by
    themselves: each would take the short way from all others of its batch.
    """
    writes: list[tuple[int, int, ToSynapse]] = []
    apart: list[tuple[int, int, ToSynapse]] = []
    quiet: list[Quiet] = []
    pushed: list[Push] = []
    for number, chunk in enumerate(chunks):
        for index, step in enumerate(chunk()):
            match step:
                case Push():
                    pushed.append(step)
                    continue
                case Archive() if step.needs is not None and not approved:
                    quiet.append(step)
                case Adopt() if not step.set:
                    quiet.append(step)
                case Settle() | Touch() | Absent():
                    quiet.append(step)
                case Create() if not step.is_usual:
                    apart.append((number, index, step))
                    if len(apart) >= size:
                        yield Writes.of(apart)
                        apart = []
                case Create() | Update() | Restore() | Archive() | Adopt():
                    if len(writes) >= size and not _belongs_with(writes[-1][2], step, len(writes)):
                        yield Writes.of(writes)
                        writes = []
                    writes.append((number, index, step))
                case _:
                    assert_never(step)
            if len(quiet) >= QUIET_AT_ONCE:
                yield Memories(quiet)
                quiet = []
    for left in (writes, apart):
        if left:
            yield Writes.of(left)
    if quiet:
        yield Memories(quiet)
    if pushed:
        yield Pushes(pushed)


def _write(execution: Execution, writes: Writes) -> None:
    """One call to SYNAPSE, the short way if it is nothing but usual creations of the stored plan."""
    steps = writes.steps
    refs = writes.refs if execution.stored_steps else None
    creations = [step for step in steps if isinstance(step, Create) and step.is_usual]
    if refs is not None and len(creations) == len(steps):
        _create_batch(execution, creations, refs)
    else:
        _write_batch(execution, steps, refs)


def _belongs_with(last: ToSynapse, step: ToSynapse, length: int) -> bool:
    """Whether two renames must travel in one batch: one takes the tag the other gives away."""
    if length >= MAX_STRETCH or not isinstance(step, Update | Adopt) or not isinstance(last, Update | Adopt):
        return False
    if step.old_tag is None or last.old_tag is None:
        return False
    return last.old_tag == step.set["tag"] or step.old_tag == last.set["tag"]


# ---------------------------------------------------------------- towards SYNAPSE


def asset_write(step: ToSynapse) -> AssetWrite:
    """What SYNAPSE is asked to do for this step, and under which conditions."""
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
                if_version=step.asset_version,
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
        batch = synapse.encode([asset_write(step) for step in steps])
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
    key, intent_id = _record_intent(execution, batch.body, steps, refs)
    answers = _send(execution, batch, key)
    failpoint("pull.reply_received")
    results = in_full(steps, answers)
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
        batch = synapse.encode(writes)
    except (SkipRecordError, ConfigError):  # which item, and what is to be done, is found out there
        _write_batch(execution, creations, refs)
        return
    execution.check()
    key, intent_id = _record_intent(execution, batch.body, [], refs)
    answers = _send(execution, batch, key)
    failpoint("pull.reply_received")
    echoes = [answer for answer in answers if type(answer) is Echo]
    try:
        if len(echoes) == len(creations):
            _store_as_sent(execution, intent_id, creations, echoes)
        else:
            store_results(execution, intent_id, creations, in_full(creations, answers))
    except LeaseLost:
        _note_late_batch(execution, intent_id, key, creations, in_full(creations, answers))
        raise
    failpoint("pull.receipts_stored")


def _record_intent(
    execution: Execution, body: bytes, steps: Sequence[ToSynapse], refs: Sequence[Sequence[int]] | None
) -> tuple[str, int]:
    """Commit what is about to be sent; its idempotency key and the number of the intent."""
    world = execution.world
    key = idempotency_key(execution, execution.run_id, body)
    failpoint("pull.before_intent")
    with world.state.write() as connection:
        while intents.is_used_up(connection, execution.project.name, key):
            key = next_key(key)
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


def idempotency_key(execution: Execution, run_id: str, body: bytes) -> str:
    """The key of a batch: it holds which project and run sent it, and every byte of it."""
    project = execution.project.config.synapse_project_id
    return hashlib.sha256(b"|".join((project.encode(), run_id.encode(), body))).hexdigest()


def next_key(key: str) -> str:
    """The key of the same batch where this one is used up."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_reused_key(error: ConfigError) -> bool:
    """Whether SYNAPSE refused a batch because its key came with another body before."""
    return error.details.get("type") == "idempotency_key_reused"


def _send(execution: Execution, batch: Batch, key: str) -> Sequence[WriteResult | Echo]:
    """One call to SYNAPSE. Raises LeaseLost if another run has meanwhile asked whether this batch ever came."""
    try:
        return execution.project.synapse.send(batch, key=key)
    except ConfigError as error:
        if is_reused_key(error):
            with execution.world.state.write() as connection:
                execution.lease.fence.check(connection)
        raise


def in_full(steps: Sequence[ToSynapse], answers: Sequence[WriteResult | Echo]) -> list[WriteResult]:
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
    echoes: Sequence[Echo],
) -> None:
    """As `store_results` for the usual batch of a first pull: the base is what was sent, so nothing is compared."""
    world, number, run = execution.world, execution.known.number, execution.run_id
    now = world.clock()
    first = project_state.link_id(number, execution.next_link)
    execution.next_link += len(steps)
    rows = links.created_rows(steps, echoes, first=first, number=number, run_id=run)
    with world.state.write() as connection:
        execution.lease.fence.check(connection)
        links.insert_created(connection, rows)
        if links.any_unlinked(connection, number):
            links.drop_unlinked(connection, number, [echo.asset_id for echo in echoes])
        digest = intents.put_created(connection, execution.project.name, rows, intent_id=intent_id, at=now)
        _audit_batch(execution, connection, run, now, len(rows), digest, found_after_crash=False)
        intents.close(connection, intent_id, status="done", at=now)
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.written += len(steps)
    for entity, made in Counter([step.entity for step in steps]).items():
        execution.outcome.counts.add(entity, Op.CREATE, End.DONE, made)


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
        call = Call(execution.known.number, execution.run_id, intent_id, now)
        changes = [
            change_row(
                call,
                step,
                intents.LATE if result.status == "updated" else result.status,
                link_id=link_id,
                asset=result.asset,
            )
            for step, result in zip(steps, results, strict=True)
            if (link_id := _link_id(step)) and result.status in ("updated", "archived")
        ]
        created = [result.plant3d_id for result in results if result.status == "created"]
        if not changes and not created:
            return
        digest = intents.put_changes(connection, execution.project.name, changes)
        items = len(changes) + len(created)
        _audit_batch(
            execution, connection, execution.run_id, now, items, digest, created=created, after_takeover=True
        )
        recount(connection, execution.run_id)


def _leave_out(execution: Execution, steps: Sequence[ToSynapse], error: SkipRecordError) -> None:
    """One item cannot be said in JSON (a lone surrogate, say): it is reported, the others go on."""
    culprit = error.details.get("plant3d_id")
    bad = [step for step in steps if step.plant3d_id == culprit]
    if not bad:
        raise error
    for step in bad:
        execution.outcome.waiting += 1
        execution.outcome.counts.add(step.entity, step.op, End.FAILED)
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
    since: Mapping[str, Asset | None] | None = None,
) -> None:
    """Turn SYNAPSE's answers into links, bases, changes and one audit entry: one transaction.

    Items without an answer stay open as an intent of their own: unknown is not failed.
    `found`: the results were seen in SYNAPSE after a crash, not answered to us. `since`: they are answers that SYNAPSE
    kept of such a call; identity -> what it holds now, None if the asset is gone.
    """
    world, known = execution.world, execution.known
    run, now = run_id or execution.run_id, world.clock()
    with world.state.write() as connection:
        receipts = _Receipts(
            execution=execution,
            intent_id=intent_id,
            run_id=run,
            at=now,
            found=found,
            kept=since is not None,
            old=_links_of(connection, steps),
        )
        for step, result in zip(steps, results, strict=True):
            receipts.settle(step, result)
        if since is not None:
            receipts.see(since)
        execution.lease.fence.check(connection)  # what was sent counts, whoever may store it
        links.add(connection, receipts.made, number=known.number, run_id=run)
        links.save(connection, receipts.moved)
        if receipts.made and links.any_unlinked(connection, known.number):
            links.drop_unlinked(connection, known.number, [link.asset_id for link in receipts.made])
        _store_history(connection, receipts)
        intents.close(connection, intent_id, status="done", at=now)
        if receipts.unknown:
            intents.record(
                connection,
                execution.lease.fence,
                run_id=run,
                plan_id=execution.plan_id,
                side="synapse",
                key=f"unknown-{intent_id}",
                body=b"",
                steps=receipts.unknown,
                at=now,
            )
        _ask_again(connection, execution, [*receipts.made, *receipts.moved])
        project_state.update(connection, execution.project.name, next_link=execution.next_link)


def _store_history(connection: Connection, receipts: _Receipts) -> None:
    """The changes, the tags that moved and the audit entry; a run that is over counts anew what was found of it."""
    execution, run, now = receipts.execution, receipts.run_id, receipts.at
    digest = intents.put_changes(connection, execution.project.name, receipts.changes)
    for link_id, before, after in receipts.tags:
        links.remember_tag(connection, execution.known.number, link_id, before, after, now, run)
    if receipts.changes:
        after_crash = receipts.found or receipts.kept
        _audit_batch(
            execution, connection, run, now, len(receipts.changes), digest, found_after_crash=after_crash
        )
        if after_crash:
            recount(connection, run)


class _Receipts(msgspec.Struct, kw_only=True):
    """What the answers to one call add up to: links made and moved, changes, tags that moved, items without an answer."""

    execution: Execution
    intent_id: int
    run_id: str
    at: float
    found: bool
    kept: bool
    old: Mapping[int, Link]
    made: list[Link] = msgspec.field(default_factory=list)
    moved: list[Link] = msgspec.field(default_factory=list)
    changes: list[ChangeRow] = msgspec.field(default_factory=list)
    tags: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    unknown: list[ToSynapse] = msgspec.field(default_factory=list)

    def settle(self, step: ToSynapse, result: WriteResult) -> None:
        """What one answer means."""
        link, asset = self.old.get(_link_id(step) or 0), result.asset
        if result.status == "unknown":
            self._unknown(step)
        elif result.status in ("conflict", "error") or asset is None:
            self._refused(step, link, result)
        else:
            self._done(step, link, asset, result)

    def see(self, since: Mapping[str, Asset | None]) -> None:
        """What SYNAPSE holds now of these identities, after what it answered once."""
        self.made = [self._now(link, since) for link in self.made]
        self.moved = [self._now(link, since) for link in self.moved]

    def _now(self, link: Link, since: Mapping[str, Asset | None]) -> Link:
        asset = since.get(link.plant3d_id)
        if asset is None:
            return advance.lost(link) if link.plant3d_id in since else link
        if asset.version == link.asset_version:
            return link
        return advance.seen(link, asset, at=self.at, last_read=self.execution.known.feed_read_at)

    def _done(self, step: ToSynapse, link: Link | None, asset: Asset, result: WriteResult) -> None:
        outcome, status = self.execution.outcome, result.status
        link_id = _link_id(step)
        if isinstance(step, Archive):
            if link is not None:
                self.moved.append(advance.archived(link, step, asset))
        elif link is not None:
            self.moved.append(advance.written(link, step, asset))
            if isinstance(step, Update | Adopt) and step.old_tag and asset.tag != step.old_tag:
                self.tags.append((link.link_id, step.old_tag, asset.tag))
        else:
            link_id = _new_id(self.execution)
            by_person = isinstance(step, Adopt) and step.accepted
            if by_person:
                made = advance.accepted(step, asset, link_id=link_id)
            elif self.found and isinstance(step, Create):
                made = advance.found(step, asset, link_id=link_id, same=self.execution.same)
            else:
                made = advance.created(step, asset, link_id=link_id)
            self.made.append(made)
        _altered(self.execution, step, asset)
        found = self.found or (self.kept and result.replayed and status != "unchanged")
        self._note(step, link_id, asset, "found_applied" if found else status)
        outcome.written += status != "unchanged"
        outcome.echoes += status == "unchanged"
        outcome.counts.add(step.entity, step.op, End.DONE)

    def _note(self, step: ToSynapse, link_id: int | None, asset: Asset, outcome: str) -> None:
        """The change entry; a new pair's is its base."""
        call = Call(self.execution.known.number, self.run_id, self.intent_id, self.at)
        entry = change_row(call, step, outcome, link_id=link_id, asset=asset)
        if isinstance(step, Create) and self.made and self.made[-1].link_id == link_id:
            entry["fields"] = dump(self.made[-1].base) or "{}"
        self.changes.append(entry)

    def _unknown(self, step: ToSynapse) -> None:
        self.unknown.append(step)
        outcome = self.execution.outcome
        outcome.waiting += 1
        outcome.counts.add(step.entity, step.op, End.FAILED)
        outcome.errors.append(
            _error(
                step,
                "unknown_outcome",
                "SYNAPSE's answer did not say what became of this item.",
                "Nothing to do: the next run looks at the asset and continues.",
            )
        )

    def _refused(self, step: ToSynapse, link: Link | None, result: WriteResult) -> None:
        """SYNAPSE did not take this item: a condition failed, or the values were refused."""
        outcome, asset, code = self.execution.outcome, result.asset, result.code or "refused"
        outcome.waiting += 1
        outcome.counts.add(step.entity, step.op, End.FAILED)
        outcome.misses += result.status == "conflict"
        if result.status == "conflict" and asset is not None:
            outcome.refused.append(step)
        if result.status == "conflict" and asset is not None:
            if link is not None:
                last_read = self.execution.known.feed_read_at
                self.moved.append(advance.refused(link, asset, at=self.at, last_read=last_read))
            elif code == "exists" and not isinstance(step, Archive):
                self.made.append(advance.accepted(step, asset, link_id=_new_id(self.execution)))
        if code == "not_found" and link is not None:
            self.moved.append(advance.lost(link))
        message = (
            _REFUSALS.get(code)
            or f"SYNAPSE refused the item: {result.message or code}. Nothing was written for it."
        )
        hint = _AGAIN if code in _REFUSALS or code == "not_found" else _WAITS
        outcome.errors.append(_error(step, code, message, hint, field_name=result.field))


_AGAIN = "The next run compares again and decides anew."
_WAITS = (
    "Correct the value in Plant 3D or in SYNAPSE: it is tried at once when it moves, else at growing distances. "
    "`plant3d-sync quarantine list` shows it; `quarantine retry` tries it now, `quarantine ignore` leaves it alone."
)

_REFUSALS = {
    "field_version_mismatch": "Somebody edited the description in SYNAPSE since the plan was made. Not overwritten.",
    "version_mismatch": "The asset changed in SYNAPSE since the plan was made. Nothing was written for it.",
    "archived": "The asset was archived in SYNAPSE. Nothing was written for it.",
    "exists": "SYNAPSE already holds an asset with this identity. It was linked instead of created again.",
}


def _link_id(step: Step) -> int | None:
    """The link of the pair; an `Adopt` makes one."""
    return None if isinstance(step, Adopt) else step.link_id


def _links_of(connection: Connection, steps: Sequence[Step]) -> dict[int, Link]:
    """The links as they are in this transaction."""
    ids = [link_id for step in steps if (link_id := _link_id(step))]
    return links.by_ids(connection, ids) if ids else {}


def _new_id(execution: Execution) -> int:
    number = project_state.link_id(execution.known.number, execution.next_link)
    execution.next_link += 1
    return number


def _error(step: Step, code: str, message: str, hint: str, *, field_name: str | None = None) -> RowError:
    said = {} if isinstance(step, Archive | Push | Settle | Touch | Absent) else step.set
    was = step.was if isinstance(step, Update | Adopt | Restore) else {}
    return RowError(
        code=code,
        message=message,
        hint=hint,
        plant3d_id=step.plant3d_id,
        pnpid=step.pnpid,
        class_name=step.class_name,
        tag=step.tag,
        field=field_name or None,
        plant3d=said.get(field_name or "", UNSET),
        synapse=was.get(field_name or "", UNSET),
        offer=offer_of(step),
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
                drawing=None if isinstance(step, Archive) else step.drawing,
            )
        )


# ---------------------------------------------------------------- steps without a write


def _remember_quiet(execution: Execution, steps: Sequence[Quiet]) -> None:
    """Settle, touch, missing, and each `Adopt` that needs no write: only our own memory changes."""
    execution.check()
    failpoint("pull.before_bookkeeping")
    number = execution.known.number
    assets = _to_adopt(execution, [step for step in steps if isinstance(step, Adopt)])
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        old = _links_of(connection, steps)
        moved: list[Link] = []
        made: list[Link] = []
        for step in steps:
            link, asset = old.get(_link_id(step) or 0), assets.get(step.plant3d_id)
            match step:
                case Adopt():
                    if asset is not None:
                        made.append(advance.created(step, asset, link_id=_new_id(execution)))
                case Absent() | Archive():
                    if link is not None:
                        moved.append(advance.gone(link, step))
                case Settle() | Touch():
                    if link is not None:
                        moved.append(advance.remembered(link, step))
                case _:
                    assert_never(step)
        links.add(connection, made, number=number, run_id=execution.run_id)
        links.drop_unlinked(connection, number, [link.asset_id for link in made])
        links.save(connection, moved)
        _ask_again(connection, execution, [*made, *moved])
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.remembered += len(steps)
    failpoint("pull.bookkeeping_stored")


def _ask_again(connection: Connection, execution: Execution, stored: Sequence[Link]) -> None:
    """Somebody typed in SYNAPSE while the run worked, and the feed does not show it as news any more: compare again."""
    if any(link.synapse_delta.keys() - link.pending.keys() for link in stored):
        project_state.update(connection, execution.project.name, force_compare=True)


def _to_adopt(execution: Execution, steps: Sequence[Adopt]) -> dict[str, Asset]:
    """The assets to link as the feed showed them, else as SYNAPSE holds them now; what changes in SYNAPSE after that
    is in the next feed.
    """
    if not steps:
        return {}
    with execution.world.state.read() as connection:
        ids = [step.plant3d_id for step in steps]
        found = links.unlinked_by_plant3d_id(connection, execution.known.number, ids)
    for step in steps:
        if step.plant3d_id not in found:
            asset = execution.project.synapse.get(step.asset_id or "")
            if asset is not None:
                found[step.plant3d_id] = asset
    return found


__all__ = [
    "Execution",
    "Outcome",
    "apply_steps",
    "asset_write",
    "idempotency_key",
    "is_reused_key",
    "next_key",
    "store_results",
]
