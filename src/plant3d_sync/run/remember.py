"""The end of a run: everything it remembers, in the one transaction that also says that it has ended."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.document import Document
from plant3d_sync.model.outcome import LAG_SEEN
from plant3d_sync.model.record import Finding
from plant3d_sync.model.side import Direction
from plant3d_sync.reconcile import advance
from plant3d_sync.reconcile.definitions import COMPARATORS, UNKNOWN
from plant3d_sync.reconcile.draft import Draft
from plant3d_sync.reconcile.guard import AMOUNTS
from plant3d_sync.run import leftovers, plans, refused, schema, telling
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.execution import Execution, Outcome
from plant3d_sync.run.life import Underway
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.recount import recount
from plant3d_sync.run.recover import Recovered
from plant3d_sync.run.report import Report
from plant3d_sync.run.standing import Inputs, LeftToDo, Standing, due_at, repeat, told_of
from plant3d_sync.state import Connection, audit, lines, links, mappings, quarantine, runs
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.quarantine import LOOK_AGAIN_SECONDS
from plant3d_sync.state.runs import StoredPlan

OPERATIONS = ("created", "updated", "unchanged", "skipped", "errors", "archived")
"""What may become of a record, by the names of the statistics."""


class Memory:
    """Stores what one run of a project came to. Each end is one transaction."""

    def __init__(self, world: World, project: Project, underway: Underway) -> None:
        self._world = world
        self._project = project
        self._run = underway.run
        self._lease = underway.lease
        self._asked = underway.request.asked
        self._by = underway.request.by
        self._known = underway.known

    def end_unchanged(self, decided: Standing, feed: Feed, looked_at: float) -> Report:
        """What was decided stands, because none of its inputs moved. `looked_at`: when that was seen (POSIX seconds)."""
        report = Report(
            project=self._project.name,
            direction=self._asked.direction.value,
            run_id=self._run.run_id,
            started_at=self._run.started_at,
            completed_at=self._world.clock(),
            unchanged_source=True,
            decided_by=decided.run_id,
        )
        with self._world.state.write() as connection:
            count = decided.told.errors
            errors = runs.errors(connection, decided.run_id, limit=count) if count else []
            repeat(decided, self._asked, report, list(map(runs.row_error, errors)))
            open_findings = finding_state.counts_by_code(connection, self._known.number)
            report.stats["findings"] = sum(open_findings.values())
            report.findings_by_code = open_findings
            runs.end(
                connection,
                self._run.run_id,
                replace(telling.ending(report), errors=None, errors_total=len(report.errors)),
            )
            if report.outcome != "guarded":
                project_state.update(
                    connection,
                    self._project.name,
                    plant_read_at=looked_at,
                    skew=self._known.skew,
                    **_both_looked_at(feed, report, self._asked.direction),
                )
                count_records(self._project, report)
            self._store_counts(connection)
        return report

    def end_guarded(self, planned: Planned, report: Report, inputs: Inputs) -> Report:
        """A guard stopped the run before its first write; the next run stops here again, whatever did not change."""
        report.outcome = "guarded"
        report.completed_at = self._world.clock()
        of_amounts = all(hit.name in AMOUNTS for hit in report.guards)
        with self._world.state.write() as connection:
            if self._asked.all_kinds and of_amounts:
                # what the read found helps whoever decides; but a wrong or older database says nothing of ours
                self._lease.fence.check(connection)
                number = project_state.ensure(connection, self._project.name).number
                finding_state.replace_findings(connection, number, planned.draft.findings, planned.read_at)
                _end_absences(connection, planned.draft, number)
            runs.end(connection, self._run.run_id, telling.ending(report))
            telling.tell_what_was_done(report, recount(connection, self._run.run_id))
            if self._asked.whole and of_amounts:
                plans.close_after(connection, self._asked, planned, report, guarded=True)
            # the next run must stop here again, whatever did not change: a guard is not forgotten
            self._remember_decision(
                connection,
                planned,
                report,
                inputs,
                waiting=max(1, planned.draft.waiting),
                due_at=report.completed_at + LOOK_AGAIN_SECONDS,
            )
            audit.append(
                connection,
                self._project.name,
                action="guard.stopped",
                actor="sync",
                at=report.completed_at,
                run=self._run.run_id,
                plan=report.plan_id,
                guards=[hit.to_dict() for hit in report.guards],
            )
            for hit in report.guards:
                self._project.counts.add("guard_stops", hit.name)
            self._store_counts(connection)
        return report

    def finish(self, planned: Planned, report: Report, execution: Execution, inputs: Inputs) -> Report:
        """The run did what its plan said."""
        outcome = execution.outcome
        found = [*planned.draft.findings, *outcome.findings]
        waiting = planned.draft.waiting + outcome.waiting
        telling.settle_counts(report, outcome)
        report.findings_by_code = telling.by_code(found)
        telling.cover(self._project, report, planned)
        report.completed_at = self._world.clock()
        failpoint("run.before_finish")
        with self._world.state.write() as connection:
            execution.lease.fence.check(connection)
            report.outcome = telling.outcome_of(report)
            self._remember_questions(connection, planned, execution, found)
            if self._asked.all_kinds and self._asked.compares_all:
                self._remember_read(connection, planned, execution)
            _end_absences(connection, planned.draft, execution.known.number)
            refused.keep(connection, self._project, self._asked, planned, report)
            runs.end(connection, self._run.run_id, telling.ending(report))
            runs.set_plan(connection, str(report.plan_id), status="applied")
            if self._asked.whole:
                plans.close_after(connection, self._asked, planned, report, guarded=False)
            if self._asked.all_kinds and planned.newly_gone:
                links.gone_is_known(connection, execution.known.number)
            self._remember_project(connection, planned, report, waiting)
            due = self._due_at(connection, planned, report, execution, found, waiting)
            self._remember_decision(connection, planned, report, inputs, waiting=waiting, due_at=due)
            self._count(report, outcome)
            self._store_counts(connection)
        failpoint("run.finished")
        return report

    def finish_stored(
        self,
        stored: StoredPlan,
        sides: Sides,
        execution: Execution,
        found: Recovered,
        *,
        written_before: int,
    ) -> Report:
        """The run did what a stored plan said, as a person asked. `written_before`: steps that an earlier run wrote."""
        report = telling.of_stored(stored)
        report.run_id, report.started_at = self._run.run_id, self._run.started_at
        report.completed_at = self._world.clock()
        report.lock_ms = sides.snapshot.lock_ms
        report.written_before = written_before
        found.tell(report)
        execution.outcome.findings.extend(found.findings)
        telling.settle_counts(report, execution.outcome, approved=True)
        report.outcome = telling.outcome_of(report)
        failpoint("run.before_finish")
        with self._world.state.write() as connection:
            execution.lease.fence.check(connection)
            runs.end(connection, self._run.run_id, telling.ending(report))
            runs.set_plan(connection, stored.plan_id, status="applied", applied_by=self._by)
            failed = {error.plant3d_id for error in execution.outcome.errors if error.plant3d_id}
            leftovers.end_choices(connection, stored, failed=failed, at=report.completed_at)
            links.gone_is_known(connection, execution.known.number)
            refused.keep_of_stored(connection, sides, report, execution)
            audit.append(
                connection,
                self._project.name,
                action="plan.applied",
                actor=self._by,
                at=report.completed_at,
                run=self._run.run_id,
                plan=stored.plan_id,
                fingerprint=stored.fingerprint,
            )
            # what an undo puts back brings neither side up to date
            direction = None if stored.undo_of else Direction(stored.direction)
            project_state.update(
                connection,
                self._project.name,
                force_compare=True,
                identity=sides.snapshot.identity,
                **_both_looked_at(sides.feed, report, direction),
            )
            self._count(report, execution.outcome)
            self._store_counts(connection)
        failpoint("run.finished")
        return report

    # ------------------------------------------------------------------ what every end writes

    def _count(self, report: Report, outcome: Outcome) -> None:
        """For the metrics, what a run did that came to its end."""
        count_records(self._project, report)
        _count_writes(self._project, outcome)

    def _store_counts(self, connection: Connection) -> None:
        """What was counted goes with what it tells of; the last statement of each end."""
        self._project.counts.store(connection, self._project.name, self._world.clock())

    # ------------------------------------------------------------------ what a finished run remembers

    def _remember_questions(
        self, connection: Connection, planned: Planned, execution: Execution, found: list[Finding]
    ) -> None:
        """What people are told and asked: findings, work items, conflicts."""
        draft, number = planned.draft, execution.known.number
        if self._asked.all_kinds:
            finding_state.replace_findings(connection, number, found, planned.read_at)
            finding_state.replace_work_items(connection, number, draft.work_items, planned.read_at)
        conflict_state.sync_conflicts(
            connection,
            self._project.name,
            conflict_state.Comparison(
                run_id=self._run.run_id,
                at=planned.read_at,
                drafts=_with_link_ids(connection, draft, execution.known),
                examined=lambda row: (row["plant3d_id"], row["field"]) in draft.examined,
                fates=draft.fates,
                planned_choices=planned.choices,
            ),
            new_id=self._world.new_id,
        )

    def _remember_read(self, connection: Connection, planned: Planned, execution: Execution) -> None:
        """What a complete read of Plant 3D showed: its lines, its schema, and which pairs were compared."""
        number = execution.known.number
        lines.remember(connection, self._project.name, number, planned.lines, at=planned.read_at)
        if planned.schema is not None:
            schema.remember(connection, number, planned.schema, at=planned.read_at, by="sync")
        failed = {error.plant3d_id for error in execution.outcome.errors if error.plant3d_id}
        _remember_compared(
            self._project, connection, planned, execution.known, planned.draft.uncompared | failed
        )

    def _due_at(
        self,
        connection: Connection,
        planned: Planned,
        report: Report,
        execution: Execution,
        found: Sequence[Finding],
        waiting: int,
    ) -> float | None:
        number, now = execution.known.number, report.completed_at or 0.0
        left = LeftToDo(
            waiting=waiting,
            errors=execution.outcome.errors,
            misses=execution.outcome.misses,
            retries=quarantine.next_tries(connection, number, self._project.name),
            told_once=bool(report.stats["archived"]) or any(map(_is_put_right, found)),
        )
        return due_at(connection, number, self._project.config, left, read_at=planned.read_at, now=now)

    def _remember_project(
        self, connection: Connection, planned: Planned, report: Report, waiting: int
    ) -> None:
        sides = planned.sides
        values: Document = {
            "identity": sides.snapshot.identity,
            "skew": self._project.synapse.capabilities().skew_seconds,
            "synapse_project_id": self._project.config.synapse_project_id,
            **_both_looked_at(sides.feed, report, self._asked.direction),
        }
        stored = project_state.ensure(connection, self._project.name)
        limits = [limit.to_dict() for limit in self._project.synapse.limits()]
        if stored.probe.get("limits", []) != limits:
            values["probe"] = {**stored.probe, "limits": limits}
        if planned.draft.lag > (stored.plant_lag or 0.0):
            values["plant_lag"] = planned.draft.lag
            _note_lag(connection, self._project.name, planned.draft, report)
        if self._asked.all_kinds and self._asked.compares_all:
            values |= _of_complete_read(planned, report, waiting)
        project_state.update(connection, self._project.name, **values)

    def _remember_decision(
        self,
        connection: Connection,
        planned: Planned,
        report: Report,
        inputs: Inputs,
        *,
        waiting: int,
        due_at: float | None,
    ) -> None:
        """Keep what was decided with what it rests on. A decision about a part makes the next run compare."""
        if not self._asked.whole:
            project_state.update(connection, self._project.name, force_compare=True)
            return
        signature = None if report.writes["plant3d"] else planned.sides.signature
        decided = Standing(
            run_id=str(report.run_id),
            plan_id=report.plan_id,
            at=report.completed_at or 0.0,
            signature=signature or "",
            settings=inputs.settings,
            doors=inputs.doors if waiting else None,
            stirs=planned.stirs,
            direction=self._asked.direction.value,
            waiting=waiting,
            due_at=due_at,
            told=told_of(report),
        )
        project_state.update(connection, self._project.name, standing=decided if signature else None)


def _both_looked_at(feed: Feed, report: Report, direction: Direction | None) -> Document:
    """When SYNAPSE was read, and when a direction (if any) last succeeded: columns of the project."""
    done = {} if direction is None else project_state.succeeded(direction, report.completed_at)
    return {"feed_read_at": feed.started_at, **done}


def _note_lag(connection: Connection, project: str, draft: Draft, report: Report) -> None:
    """Who reads that the intervals are wider now finds here which row showed it."""
    pnpid, tag = draft.lag_shown_by or (None, None)
    audit.append(
        connection,
        project,
        action=LAG_SEEN,
        actor="sync",
        at=report.completed_at or 0.0,
        run=report.run_id,
        seconds=round(draft.lag, 1),
        pnpid=pnpid,
        tag=tag,
    )


def _of_complete_read(planned: Planned, report: Report, waiting: int) -> Document:
    """What a complete read says of the project as a whole: columns of the project."""
    return {
        "signature": planned.sides.signature if not report.writes["plant3d"] else None,
        "mapping_digest": planned.mapping_digest,
        "plant_read_at": planned.sides.copied_after,
        "waiting": waiting,
        "force_compare": False,
        "last_counts": _last_counts(report),
    }


def _last_counts(report: Report) -> dict[str, Document]:
    """What the project shows of each kind until the next complete run."""
    covered = report.coverage
    return {
        name: {
            "total": stats["total"],
            "unchanged": stats["total"] - stats["skipped"] - stats["errors"],
            "skipped": stats["skipped"],
            "errors": stats["errors"],
            "findings": stats["findings"],
            **({"coverage": covered.by_entity[name].to_dict()} if covered is not None else {}),
        }
        for name, stats in report.by_entity.items()
    }


def _remember_compared(
    project: Project,
    connection: Connection,
    planned: Planned,
    known: ProjectState,
    uncompared: frozenset[str],
) -> None:
    """What this read compared stands for every link, but for those that it set aside: they keep theirs."""
    number, at, version = known.number, known.plant_read_at, known.mapping_version
    if version is not None and known.mapping_digest == planned.mapping_digest:
        links.not_compared(connection, number, uncompared, at)
    else:
        links.not_compared(connection, number, uncompared, at, version or UNKNOWN)
        rules = planned.sides.rules
        version = mappings.add(connection, number, {**rules.definitions(), COMPARATORS: rules.comparators()})
        project_state.update(connection, project.name, mapping_version=version)
        mappings.keep(
            connection,
            project.name,
            planned.mapping_digest.partition(":")[0],
            planned.sides.rules.source,
            at=planned.read_at,
        )
    mappings.forget(connection, number, version)


def _end_absences(connection: Connection, draft: Draft, number: int) -> None:
    """What is there is not missed, also where no step of the run says so."""
    found = links.by_items(connection, number, sorted(draft.there), [])
    links.save(connection, [advance.there(link) for link in found if link.state in advance.MISSED])


def count_records(project: Project, report: Report) -> None:
    """What became of the records of a run that came to its end."""
    counts = project.counts
    parts = {Direction.PUSH.value: report.push_stats}
    if report.direction != Direction.PUSH.value:
        parts[Direction.PULL.value] = report.stats
    for direction, stats in parts.items():
        for operation in OPERATIONS:
            counts.add("records", direction, operation, by=(stats or {}).get(operation, 0))


def _count_writes(project: Project, outcome: Outcome) -> None:
    counts = project.counts
    counts.add("echo_writes", by=outcome.echoes)
    counts.add("compare_and_set_misses", by=outcome.misses + outcome.push.get("stale", 0))


def _with_link_ids(connection: Connection, draft: Draft, known: ProjectState) -> list[Document]:
    """Conflicts of pairs that were linked in this very run get their link."""
    drafts = [conflict.to_dict() for conflict in draft.conflicts]
    missing = [str(item["plant3d_id"]) for item in drafts if not item.get("link_id")]
    if missing:
        ids = {
            link.plant3d_id: link.link_id for link in links.by_items(connection, known.number, missing, [])
        }
        for item in drafts:
            item["link_id"] = item.get("link_id") or ids.get(str(item["plant3d_id"]))
    return drafts


def _is_put_right(finding: Finding) -> bool:
    """Whether the finding tells of something that the run which made it ended: the owner's value was put back, what an undo
    kept apart is equal.
    """
    return finding.code == "undo_lost" or (
        finding.code == "drift" and finding.data.get("reason") == "drift_restored"
    )
