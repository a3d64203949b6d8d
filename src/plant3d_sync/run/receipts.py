"""What SYNAPSE answered becomes links, bases, changes and an audit entry, in one transaction: steps 4 and 5 meet here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from plant3d_sync.connectors.base import Echo, WriteResult
from plant3d_sync.model.link import Link
from plant3d_sync.model.plan import Op, RowError
from plant3d_sync.model.record import Asset, Finding, Value
from plant3d_sync.model.refused import offer_of
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    ToSynapse,
    Touch,
    Update,
)
from plant3d_sync.model.tally import End
from plant3d_sync.model.version import is_counted
from plant3d_sync.reconcile import advance
from plant3d_sync.run.bookkeeping import Call, change_row
from plant3d_sync.run.execution import Execution, Refused
from plant3d_sync.run.recount import recount
from plant3d_sync.state import Connection, audit, intents, links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.intents import ChangeRow
from plant3d_sync.words import said


class HeardLater(msgspec.Struct, frozen=True, kw_only=True):
    """How a run heard of a call that another run sent, `run_id`.

    `since`: identity -> what SYNAPSE holds now, None if the asset is gone. `found`: the results were seen in SYNAPSE, which
    kept no answer. `doubts`: identity -> fields that may never have been written.
    """

    run_id: str
    since: Mapping[str, Asset | None]
    found: bool = False
    doubts: Mapping[str, Collection[str]] = msgspec.field(default_factory=dict)


def store_results(
    execution: Execution,
    intent_id: int,
    steps: Sequence[ToSynapse],
    results: Sequence[WriteResult],
    later: HeardLater | None = None,
) -> None:
    """Turn SYNAPSE's answers into links, bases, changes and one audit entry: one transaction.

    Items without an answer stay open as an intent of their own: unknown is not failed. `later`: None if this run sent the
    call and was answered.
    """
    world, known = execution.world, execution.known
    run, now = execution.run_id if later is None else later.run_id, world.clock()
    with world.state.write() as connection:
        receipts = _Receipts(
            execution=execution,
            intent_id=intent_id,
            run_id=run,
            at=now,
            found=later is not None and later.found,
            kept=later is not None,
            old=links_of(connection, steps),
        )
        for step, result in zip(steps, results, strict=True):
            receipts.settle(step, result)
        if later is not None:
            receipts.see(later.since, later.doubts)
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
                intents.Meant(
                    run_id=run,
                    plan_id=execution.plan_id,
                    side="synapse",
                    key=f"unknown-{intent_id}",
                    steps=receipts.unknown,
                    at=now,
                ),
            )
        ask_again(connection, execution, [*receipts.made, *receipts.moved])
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
        if any(not is_counted(link.asset_version) for link in (*receipts.made, *receipts.moved)):
            _distrust_position(connection, execution)


def _distrust_position(connection: Connection, execution: Execution) -> None:
    """Where SYNAPSE counts no versions, its position is what it held when it was read, before this write: a person who puts
    just that back has edited, and would look like nobody.
    """
    stored = project_state.get(connection, execution.project.name)
    if stored is not None and stored.feed_cursor and not stored.feed_cursor.endswith(_WRITTEN_SINCE):
        moved = stored.feed_cursor + _WRITTEN_SINCE
        project_state.update(connection, execution.project.name, feed_cursor=moved)


_WRITTEN_SINCE: Final = "+"
"""Behind the position of a SYNAPSE without versions: we wrote there since, so it equals no position that is read."""


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
        link, asset = self.old.get(link_of(step) or 0), result.asset
        if result.status == "unknown":
            self._unknown(step)
        elif result.status in ("conflict", "error") or asset is None:
            self._refused(step, link, result)
        else:
            self._done(step, link, asset, result)

    def see(self, since: Mapping[str, Asset | None], doubts: Mapping[str, Collection[str]]) -> None:
        """What SYNAPSE holds now of these identities, after what it answered once, or may have."""
        self.made = [self._now(link, since) for link in self.made]
        now = [self._now(link, since) for link in self.moved]
        self.moved = [advance.doubted(link, doubts.get(link.plant3d_id, ())) for link in now]

    def _now(self, link: Link, since: Mapping[str, Asset | None]) -> Link:
        asset = since.get(link.plant3d_id)
        if asset is None:
            return advance.lost(link) if link.plant3d_id in since else link
        if asset.version == link.asset_version:
            return link
        return advance.seen(link, asset, at=self.at, last_read=self.execution.known.feed_read_at)

    def _done(self, step: ToSynapse, link: Link | None, asset: Asset, result: WriteResult) -> None:
        outcome, status = self.execution.outcome, result.status
        link_id = link_of(step)
        if isinstance(step, Archive):
            if link is not None:
                self.moved.append(advance.archived(link, step, asset))
        elif link is not None:
            self.moved.append(advance.written(link, step, asset))
            if isinstance(step, Update | Adopt) and step.old_tag and asset.tag != step.old_tag:
                self.tags.append((link.link_id, step.old_tag, asset.tag))
        else:
            link_id = self.execution.new_link_id()
            by_person = isinstance(step, Adopt) and step.accepted
            if by_person:
                made = advance.accepted(step, asset, link_id=link_id)
            elif self.found and isinstance(step, Create):
                made = advance.found(step, asset, link_id=link_id, same=self.execution.rules.is_same)
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
        error = row_error(
            step,
            "unknown_outcome",
            "SYNAPSE's answer did not say what became of this item.",
            "Nothing to do: the next run looks at the asset and continues.",
        )
        self.execution.outcome.fail(step, error)

    def _refused(self, step: ToSynapse, link: Link | None, result: WriteResult) -> None:
        """SYNAPSE did not take this item: a condition failed, or the values were refused."""
        outcome, asset, code = self.execution.outcome, result.asset, result.code or "refused"
        message = (
            _REFUSALS.get(code)
            or f"SYNAPSE refused the item: {result.message or code}. Nothing was written for it."
        )
        hint = _AGAIN if code in _REFUSALS or code == "not_found" else _WAITS
        error = row_error(step, code, message, hint, field_name=result.field)
        outcome.misses += result.status == "conflict"
        if result.status != "conflict" or asset is None:
            outcome.fail(step, error)
        else:
            outcome.refused.append(Refused(step, error))
            if link is not None:
                last_read = self.execution.known.feed_read_at
                self.moved.append(advance.refused(link, asset, at=self.at, last_read=last_read))
            elif code == "exists" and not isinstance(step, Archive):
                self.made.append(advance.accepted(step, asset, link_id=self.execution.new_link_id()))
        if code == "not_found" and link is not None:
            self.moved.append(advance.lost(link))


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


def link_of(step: Step) -> int | None:
    """The link of the pair; an `Adopt` makes one."""
    return None if isinstance(step, Adopt) else step.link_id


def links_of(connection: Connection, steps: Sequence[Step]) -> dict[int, Link]:
    """The links as they are in this transaction."""
    ids = [link_id for step in steps if (link_id := link_of(step))]
    return links.by_ids(connection, ids) if ids else {}


def row_error(step: Step, code: str, message: str, hint: str, *, field_name: str | None = None) -> RowError:
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
    for name, value in sent_by(step).items():
        stored = held.get(name)
        if execution.rules.is_same(name, stored, value):
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


def ask_again(connection: Connection, execution: Execution, stored: Sequence[Link]) -> None:
    """Somebody typed in SYNAPSE while the run worked, and the feed does not show it as news any more: compare again."""
    if any(link.synapse_delta.keys() - link.pending.keys() for link in stored):
        project_state.update(connection, execution.project.name, force_compare=True)


def store_as_sent(
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


def note_late_batch(
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
            if (link_id := link_of(step)) and result.status in ("updated", "archived")
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


def sent_by(step: ToSynapse) -> Mapping[str, Value]:
    """What the step writes."""
    return {} if isinstance(step, Archive) else step.set
