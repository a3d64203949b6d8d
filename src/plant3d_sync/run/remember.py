"""The end of a run: everything it remembers, in the one transaction that also says that it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import Direction, Entity
from plant3d_sync.reconcile.definitions import UNKNOWN
from plant3d_sync.reconcile.draft import Draft
from plant3d_sync.reconcile.guard import AMOUNTS
from plant3d_sync.reconcile.quarantine import IGNORED
from plant3d_sync.run import plans, schema, telling
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.recount import recount
from plant3d_sync.run.recover import Recovered
from plant3d_sync.run.report import Report
from plant3d_sync.run.request import Request
from plant3d_sync.run.standing import (
    Inputs,
    Standing,
    due_at,
    lasts,
    told_of,
)
from plant3d_sync.run.write_synapse import Execution, Outcome
from plant3d_sync.state import Connection, audit, lines, links, mappings, quarantine, runs
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.quarantine import LOOK_AGAIN_SECONDS
from plant3d_sync.state.runs import Run, StoredPlan

OPERATIONS = ("created", "updated", "unchanged", "skipped", "errors", "archived")
"""What may become of a record, by the names of the statistics."""


class Memory:
    """Stores what a run of one project came to. `copied_after`: when its copy of Plant 3D began (POSIX seconds): what the
    copy does not show yet happened after that.
    """

    def __init__(self, world: World, project: Project, *, copied_after: float) -> None:
        self._world = world
        self._project = project
        self._copied_after = copied_after

    def end_guarded(
        self, run: Run, planned: Planned, report: Report, lease: Lease, request: Request, inputs: Inputs
    ) -> Report:
        """A guard stopped the run before its first write; the next run stops here again, whatever did not change."""
        report.outcome = "guarded"
        report.completed_at = self._world.clock()
        complete = request.asked.entities == frozenset(Entity)
        with self._world.state.write() as connection:
            if complete and all(hit.name in AMOUNTS for hit in report.guards):
                # what the read found helps whoever decides; but a wrong or older database says nothing of ours
                lease.fence.check(connection)
                number = self._known_number(connection)
                finding_state.replace_findings(connection, number, planned.draft.findings, planned.read_at)
            runs.end(connection, run.run_id, telling.ending(report))
            telling.tell_what_was_done(report, recount(connection, run.run_id))
            if (
                complete
                and request.asked.only_assets is None
                and all(h.name in AMOUNTS for h in report.guards)
            ):
                _close_plans(self._project, connection, planned, report, request, guarded=True)
            # the next run must stop here again, whatever did not change: a guard is not forgotten
            _remember_decision(
                self._project,
                connection,
                planned,
                report,
                request,
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
                run=run.run_id,
                plan=report.plan_id,
                guards=[hit.to_dict() for hit in report.guards],
            )
            for hit in report.guards:
                self._project.counts.add("guard_stops", hit.name)
            self._project.counts.store(connection, self._project.name, self._world.clock())
        return report

    def finish(
        self,
        run: Run,
        planned: Planned,
        report: Report,
        execution: Execution,
        feed: Feed,
        request: Request,
        inputs: Inputs,
    ) -> Report:
        """The run did what its plan said."""
        world, draft, project = self._world, planned.draft, self._project
        telling.settle_counts(report, execution.outcome)
        report.extra["findings_by_code"] = telling.by_code([*draft.findings, *execution.outcome.findings])
        telling.cover(self._project, report, planned)
        report.completed_at = world.clock()
        complete = request.asked.entities == frozenset(Entity)
        found = [*draft.findings, *execution.outcome.findings]
        waiting = draft.waiting + execution.outcome.waiting
        failpoint("run.before_finish")
        with world.state.write() as connection:
            execution.lease.fence.check(connection)
            report.outcome = telling.outcome_of(report)
            if complete:
                finding_state.replace_findings(connection, execution.known.number, found, planned.read_at)
                finding_state.replace_work_items(
                    connection, execution.known.number, draft.work_items, planned.read_at
                )
            finding_state.sync_conflicts(
                connection,
                project.name,
                _with_link_ids(connection, draft, execution.known),
                new_id=world.new_id,
                run_id=run.run_id,
                at=planned.read_at,
                examined=lambda row: (row["plant3d_id"], row["field"]) in draft.examined,
                fates=draft.fates,
                planned_choices=planned.choices,
            )
            if complete and _reads_all_of_plant3d(request):
                lines.remember(
                    connection, project.name, execution.known.number, planned.lines, at=planned.read_at
                )
                if planned.schema is not None:
                    schema.remember(
                        connection, execution.known.number, planned.schema, at=planned.read_at, by="sync"
                    )
                failed = {error.plant3d_id for error in execution.outcome.errors if error.plant3d_id}
                _remember_compared(
                    self._project, connection, planned, execution.known, draft.uncompared | failed
                )
            self._keep_refused(connection, planned, report, request, complete)
            runs.end(connection, run.run_id, telling.ending(report))
            runs.set_plan(connection, str(report.plan_id), status="applied")
            if complete and request.asked.only_assets is None:
                _close_plans(self._project, connection, planned, report, request, guarded=False)
            if complete and planned.newly_gone:
                links.gone_is_known(connection, execution.known.number)
            self._remember_project(connection, planned, report, feed, request, complete, waiting)
            _remember_decision(
                self._project,
                connection,
                planned,
                report,
                request,
                inputs,
                waiting=waiting,
                due_at=due_at(
                    connection,
                    execution.known.number,
                    project.config,
                    waiting=waiting,
                    read_at=planned.read_at,
                    now=report.completed_at,
                    retries=quarantine.next_tries(connection, execution.known.number, project.name),
                    errors=execution.outcome.errors,
                    misses=execution.outcome.misses,
                    told_once=bool(report.stats["archived"]) or any(map(_is_put_right, found)),
                ),
            )
            count_records(self._project, report)
            _count_writes(self._project, execution.outcome)
            self._project.counts.store(connection, self._project.name, self._world.clock())
        failpoint("run.finished")
        return report

    def finish_stored(
        self,
        stored: StoredPlan,
        run: Run,
        execution: Execution,
        snapshot: PlantSnapshot,
        feed: Feed,
        request: Request,
        found: Recovered,
        extra: dict[str, Any],
    ) -> Report:
        """The run did what a stored plan said, as a person asked."""
        world = self._world
        report = telling.of_stored(stored)
        report.run_id, report.started_at, report.completed_at = run.run_id, run.started_at, world.clock()
        report.lock_ms = snapshot.lock_ms
        report.extra |= extra
        found.tell(report)
        execution.outcome.findings.extend(found.findings)
        telling.settle_counts(report, execution.outcome, approved=True)
        report.outcome = telling.outcome_of(report)
        direction = Direction(stored.direction)
        failpoint("run.before_finish")
        with world.state.write() as connection:
            execution.lease.fence.check(connection)
            runs.end(connection, run.run_id, telling.ending(report))
            runs.set_plan(connection, stored.plan_id, status="applied", applied_by=request.by)
            links.gone_is_known(connection, execution.known.number)
            refused = [error for error in execution.outcome.errors if lasts(error)]
            quarantine.keep(
                connection,
                execution.known.number,
                self._project.name,
                refused,
                at=report.completed_at or 0.0,
                entity_of=_entities(execution.rules, refused),
                drawing_of=snapshot.drawings_of({error.pnpid for error in refused if error.pnpid}),
                settled=(),
            )
            audit.append(
                connection,
                self._project.name,
                action="plan.applied",
                actor=request.by,
                at=report.completed_at or 0.0,
                run=run.run_id,
                plan=stored.plan_id,
                fingerprint=stored.fingerprint,
            )
            project_state.update(
                connection,
                self._project.name,
                force_compare=True,
                identity=snapshot.identity,
                feed_read_at=feed.started_at,
                # what an undo puts back brings neither side up to date
                **({} if stored.undo_of else project_state.succeeded(direction, report.completed_at)),
            )
            count_records(self._project, report)
            _count_writes(self._project, execution.outcome)
            self._project.counts.store(connection, self._project.name, self._world.clock())
        failpoint("run.finished")
        return report

    def _keep_refused(
        self, connection: Connection, planned: Planned, report: Report, request: Request, complete: bool
    ) -> None:
        """What was refused and lasts goes into the quarantine; what is refused no more leaves it."""
        number, name = self._known_number(connection), self._project.name
        errors = [error for error in report.errors if lasts(error)]
        pnpids = {error.pnpid for error in errors if error.pnpid is not None}
        whole = complete and request.asked.only_assets is None
        pulls = request.asked.direction is not Direction.PUSH
        pushes = request.asked.direction is not Direction.PULL
        at = report.completed_at or 0.0
        quarantine.keep(
            connection,
            number,
            name,
            errors,
            at=at,
            entity_of=_entities(planned.rules, errors),
            drawing_of=planned.snapshot.drawings_of(pnpids),
            settled=[side for side, asked in (("synapse", pulls), ("plant3d", pushes)) if asked and whole],
            aside=planned.draft.uncompared,
            run_id=report.run_id,
            left_alone={
                int(str(one.data["quarantine"])) for one in planned.draft.findings if one.code == IGNORED
            },
        )
        if whole and not pushes:
            quarantine.forget_pushes(connection, number, name, at=at)
        quarantine.end_moved(connection, number, name, at=at)

    def _known_number(self, connection: Connection) -> int:
        return project_state.ensure(connection, self._project.name).number

    def _remember_project(
        self,
        connection: Connection,
        planned: Planned,
        report: Report,
        feed: Feed,
        request: Request,
        complete: bool,
        waiting: int,
    ) -> None:
        values: dict[str, Any] = {
            "identity": planned.snapshot.identity,
            "skew": self._project.synapse.capabilities().skew_seconds,
            "synapse_project_id": self._project.config.synapse_project_id,
            "feed_read_at": feed.started_at,
        }
        values |= project_state.succeeded(request.asked.direction, report.completed_at)
        probe = project_state.ensure(connection, self._project.name).probe
        limits = [limit.to_dict() for limit in self._project.synapse.limits()]
        if probe.get("limits", []) != limits:
            values["probe"] = {**probe, "limits": limits}
        if planned.draft.lag > (project_state.ensure(connection, self._project.name).plant_lag or 0.0):
            values["plant_lag"] = planned.draft.lag
        if complete and _reads_all_of_plant3d(request):
            values |= {
                "signature": planned.signature if not report.writes["plant3d"] else None,
                "mapping_digest": planned.mapping_digest,
                "plant_read_at": self._copied_after,
                "waiting": waiting,
                "force_compare": False,
                "last_counts": {
                    name: {
                        "total": stats["total"],
                        "unchanged": stats["total"] - stats["skipped"] - stats["errors"],
                        "skipped": stats["skipped"],
                        "errors": stats["errors"],
                        "findings": stats["findings"],
                        **(
                            {"coverage": covered["by_entity"][name]}
                            if (covered := report.extra.get("coverage"))
                            else {}
                        ),
                    }
                    for name, stats in report.by_entity.items()
                },
            }
        project_state.update(connection, self._project.name, **values)


def _close_plans(
    project: Project,
    connection: Connection,
    planned: Planned,
    report: Report,
    request: Request,
    *,
    guarded: bool,
) -> None:
    plans.close_after(
        connection,
        project.name,
        plan_id=str(report.plan_id),
        run_id=str(report.run_id),
        direction=request.asked.direction,
        mapping_digest=planned.mapping_digest,
        dbid=planned.snapshot.identity.dbid,
        before=planned.read_at,
        guarded=guarded,
    )


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
        version = mappings.add(connection, number, planned.rules.definitions())
        project_state.update(connection, project.name, mapping_version=version)
        mappings.keep(
            connection,
            project.name,
            planned.mapping_digest.partition(":")[0],
            planned.rules.source,
            at=planned.read_at,
        )
    mappings.forget(connection, number, version)


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


def _with_link_ids(connection: Connection, draft: Draft, known: ProjectState) -> list[dict[str, Any]]:
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


def _remember_decision(
    project: Project,
    connection: Connection,
    planned: Planned,
    report: Report,
    request: Request,
    inputs: Inputs,
    *,
    waiting: int,
    due_at: float | None,
) -> None:
    """Keep what was decided with what it rests on. A decision about a part makes the next run compare."""
    asked = request.asked
    if asked.entities != frozenset(Entity) or asked.only_assets is not None:
        project_state.update(connection, project.name, force_compare=True)
        return
    signature = None if report.writes["plant3d"] else planned.signature
    decided = Standing(
        run_id=str(report.run_id),
        plan_id=report.plan_id,
        at=report.completed_at or 0.0,
        signature=signature or "",
        settings=inputs.settings,
        doors=inputs.doors if waiting else None,
        stirs=planned.stirs,
        direction=asked.direction.value,
        waiting=waiting,
        due_at=due_at,
        told=told_of(report),
    )
    project_state.update(connection, project.name, standing=decided.to_dict() if signature else None)


def _reads_all_of_plant3d(request: Request) -> bool:
    """Whether a run of all entities compares every item: its read dates what the next one finds moved."""
    return request.asked.only_assets is None and request.asked.direction is not Direction.PUSH


def _is_put_right(finding: Finding) -> bool:
    """Whether the finding tells of something that the run which made it ended: the owner's value was put back."""
    return finding.code == "drift" and finding.data.get("reason") == "drift_restored"


def _entities(rules: RuleSet, errors: Sequence[RowError]) -> dict[int, str]:
    """What the items of these errors become, where the mapping says so."""
    found: dict[int, str] = {}
    for error in errors:
        rule = rules.classes.get(error.class_name or "")
        if error.pnpid is not None and rule is not None:
            found[error.pnpid] = str(rule.entity)
    return found
