"""pull, push, now, plan, apply, links, runs, show, findings."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from plant3d_sync.cli import render
from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, entities, wants_json
from plant3d_sync.cli.output import ProgressLine, print_error, print_json, say
from plant3d_sync.errors import GuardStop, Interrupted, NotFoundError, RetryLaterError, SyncError
from plant3d_sync.language import tr
from plant3d_sync.model.side import Direction
from plant3d_sync.regularfile import may_replace
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.run.project import iso
from plant3d_sync.run.report import Report
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import intents
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import runs as run_state
from plant3d_sync.usecases.show import (
    missing_items,
    plan_brief,
    plan_document,
    plan_sentences,
    plan_steps,
    run_document,
    waiting_briefs,
)
from plant3d_sync.words import said

if TYPE_CHECKING:
    from plant3d_sync.state.findings import Wanted
    from plant3d_sync.usecases.findings_export import Format

CHANGES_SHOWN = 10_000
"""How many changes of a run are shown; their number is always given."""

links_app = typer.Typer(help="Link existing SYNAPSE assets to Plant 3D items.", no_args_is_help=True)

EntityOption = Annotated[
    str | None, typer.Option("--entity-types", help="Only these: equipment,instruments,lines,valves.")
]
FullOption = Annotated[bool, typer.Option("--full", help="Compare everything, whatever did not change.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Store a plan and print its id; write nothing.")]


def _run(project: str, request: Request, json: bool) -> None:
    progress = ProgressLine()
    with app() as made, _failures_as_documents(project, request, json) as begun:
        made.heard = progress.heard
        entry = made.project(project)  # known before anything is made for it
        engine = begun.engine = Engine(made.world(progress), entry)
        if request.asked.only_assets:
            from plant3d_sync.usecases.naming import check_assets

            made.state.ready()
            check_assets(made.state, project, request.asked.only_assets)
        report = engine.run(request)
    progress.close()
    _show(report, json)


class _Begun(msgspec.Struct):
    """The engine at work, once there is one."""

    engine: Engine | None = None


@contextmanager
def _failures_as_documents(
    project: str, request: Request, json: bool, *, plan_id: str | None = None
) -> Iterator[_Begun]:
    """A run that ended early says what it had come to; with --json as the document of any run, with the error in it.

    Ctrl-C and SIGTERM end it alike.
    """
    begun = _Begun()
    try:
        with _sigterm_as_ctrl_c():
            yield begun
    except (SyncError, KeyboardInterrupt) as problem:
        error = problem if isinstance(problem, SyncError) else _interrupted()
        ended = begun.engine.ended_early if begun.engine is not None else None
        print_error(error, as_json=False)
        if ended is not None and ended.run_id:
            told = (
                f"Run id: {ended.run_id}. Written before it ended: {ended.writes['synapse']} in SYNAPSE, "
                f"{ended.writes['plant3d']} in Plant 3D. The next run looks at what was under way."
            )
            sys.stderr.write(f"{tr(told)}\n")
        if json:
            document = ended or Report(
                project=project,
                direction=request.asked.direction.value,
                plan_id=plan_id,
                status="failed",
                outcome=_OUTCOMES.get(type(error), "failed"),
                dry_run=request.dry_run,
            )
            print_json({**document.to_dict(), "error": error.to_dict()})
        raise typer.Exit(error.exit_code) from problem


_OUTCOMES: dict[type[SyncError], str] = {GuardStop: "guarded", Interrupted: "cancelled"}


def _interrupted() -> Interrupted:
    return Interrupted("Interrupted. What was written is recorded.", hint="The next run continues.")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Whoever ends the process politely gets the same end as with Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(report: Report, json: bool) -> None:
    if json:
        print_json(report.to_dict())
    else:
        render.report(report)
    raise typer.Exit(report.exit_code)


def pull(
    project: ProjectArgument,
    entity_types: EntityOption = None,
    full: FullOption = False,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Read Plant 3D, write what changed into SYNAPSE. Run it again and it writes nothing.

    Example: plant3d-sync pull mine --json
    """
    asked = Asked(direction=Direction.PULL, entities=entities(entity_types), full=full)
    _run(project, Request(asked=asked, dry_run=dry_run), wants_json(json))


def push(
    project: ProjectArgument,
    asset_ids: Annotated[str | None, typer.Option("--asset-ids", help="Only these SYNAPSE ids.")] = None,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Bring SYNAPSE's edits of shared fields into Plant 3D, the way the project allows (`write:`).

    Example: plant3d-sync push mine --dry-run
    """
    only = frozenset(part.strip() for part in asset_ids.split(",") if part.strip()) if asset_ids else None
    asked = Asked(direction=Direction.PUSH, only_assets=only)
    _run(project, Request(asked=asked, dry_run=dry_run), wants_json(json))


def now(project: ProjectArgument, json: JsonOption = False) -> None:
    """Pull and push in one run.

    Example: plant3d-sync now mine
    """
    _run(project, Request(asked=Asked(direction=Direction.BOTH)), wants_json(json))


def plan(
    project: ProjectArgument,
    direction: Annotated[Direction, typer.Option("--direction", help="pull, push or both.")] = Direction.BOTH,
    full: FullOption = False,
    json: JsonOption = False,
) -> None:
    """Decide, store the plan, write nothing else anywhere. `apply` then does exactly it.

    Example: plant3d-sync plan mine
    """
    _run(project, Request(asked=Asked(direction=direction, full=full), dry_run=True), wants_json(json))


def apply(
    plan_id: Annotated[str, typer.Argument(help="Id that `plan` or `pull` printed.")],
    approve_guards: Annotated[
        bool, typer.Option("--approve-guards", help="Carry the plan out although a guard stopped it.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Carry out exactly a stored plan; steps whose values moved since are refused as stale.

    Example: plant3d-sync apply 7f3a9c… --approve-guards
    """
    as_json = wants_json(json)
    progress = ProgressLine()
    with app() as made:
        with made.kept_state.read() as connection:
            stored = run_state.get_plan(connection, plan_id)
        if stored is None:
            raise NotFoundError(
                f"There is no plan {plan_id}. Nothing was done.",
                hint="`plant3d-sync runs PROJECT` lists plan ids.",
            )
        request = Request(asked=Asked(direction=Direction(stored.direction)), trigger="apply")
        with _failures_as_documents(stored.project, request, as_json, plan_id=plan_id) as begun:
            made.heard = progress.heard
            engine = begun.engine = Engine(made.world(progress), made.project(stored.project))
            report = engine.apply(plan_id, approve_guards=approve_guards, request=request)
    progress.close()
    _show(report, as_json)


def discard(
    plan_id: Annotated[str, typer.Argument(help="Id of a plan that waits.")], json: JsonOption = False
) -> None:
    """Close a stored plan that nobody wants. Nothing of it is written; the next run decides anew.

    Example: plant3d-sync discard 7f3a9c…
    """
    from plant3d_sync.usecases.discard import discard as discard_plan

    as_json = wants_json(json)
    with app() as made:
        done = discard_plan(made.kept_state, plan_id, by="cli", at=made.clock())
    if as_json:
        print_json(plan_brief(done))
    else:
        say(f"Plan {plan_id} is closed. Nothing of it was written.")


def runs(
    project: ProjectArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Runs of a project, newest first, and the stored plans that wait for a person.

    Example: plant3d-sync runs mine
    """
    from plant3d_sync.state.waiting import counts as waiting_counts

    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        with made.kept_state.read() as connection:
            items = run_state.history(connection, name, limit=limit, offset=offset)
            total = run_state.count(connection, name)
            documents = [run_document(item) for item in items]
            plans, plans_total = waiting_briefs(connection, name, limit=limit)
            waits = waiting_counts(connection, name)
    if as_json:
        found = {"items": documents, "total": total, "plans": plans, "plans_total": plans_total}
        print_json({**found, "waiting": waits})
    else:
        render.runs(documents, total, plans, plans_total)
        render.waiting(waits, name)


def show(
    run_id: Annotated[str, typer.Argument(help="Id of a run or a plan.")],
    changes: Annotated[
        bool, typer.Option("--changes", help="Also what the run wrote, and the rule that decided each field.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """One run with its row errors and, if asked, its changes, or one plan with its steps.

    Example: plant3d-sync show 7f3a9c… --changes
    """
    as_json = wants_json(json)
    with app() as made, made.kept_state.read() as connection:
        item = run_state.get(connection, run_id)
        stored = run_state.get_plan(connection, run_id) if item is None else None
        if item is not None:
            document = run_document(item)
            document["errors"] = run_state.errors(connection, run_id, limit=100_000)
            missing = missing_items(connection, item)
            document["missing_items"] = [one.to_dict() for one in missing]
            told = [sentence for one in missing for sentence in one.sentences()]
            if changes:
                document["changes"] = [
                    _change(row) for row in intents.changes_of_run(connection, run_id, limit=CHANGES_SHOWN)
                ]
                document["changes_total"] = intents.count_changes(connection, run_id)
        elif stored is not None:
            steps = plan_steps(connection, stored)
            document = plan_document(connection, stored, steps)
            told = [] if as_json else plan_sentences(stored, steps)
        else:
            raise NotFoundError(f"There is no run or plan {run_id}.", hint="`plant3d-sync runs PROJECT`")
    if as_json:
        print_json(document)
    elif item is not None:
        render.run(document, told)
    else:
        render.plan(document, told)


def _change(row: dict[str, Any]) -> dict[str, Any]:
    names = ("tag", "pnpid", "side", "op", "outcome", "fields", "why")
    return {"change_id": row["id"], **{name: row[name] for name in names}, "at": iso(row["at"])}


def findings(
    project: ProjectArgument,
    code: Annotated[str | None, typer.Option("--code", help="Only these, such as untagged.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="May hold * and ?.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="May hold * and ?.")] = None,
    drawing: Annotated[str | None, typer.Option("--drawing", help="May hold * and ?.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="First seen on this day (2026-11-30) or later.")
    ] = None,
    status: Annotated[str, typer.Option("--status", help="open, acknowledged or all.")] = "open",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Show at most this many.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0)] = 0,
    each: Annotated[bool, typer.Option("--each", help="One by one, however many there are.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write them to this file: .xlsx or .csv.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """What the last complete run found odd and left as it is, skipped items above all, and what to do about it.

    Many are shown by cause, drawing and class, the largest group first.

    Example: plant3d-sync findings mine --code untagged
    """
    from plant3d_sync.state.findings import Wanted
    from plant3d_sync.usecases.findings import every_finding, list_findings

    as_json = wants_json(json)
    wanted = wanted_findings(code, tag, class_name, drawing, since, status)
    form = export_format(export) if export is not None else None
    with app() as made:
        name = made.project_name(project)
        now = made.clock()
        with made.kept_state.read() as connection:
            document = list_findings(connection, name, wanted, now=now, limit=limit, offset=offset)
            found = every_finding(connection, name, wanted, now=now) if form is not None else []
            known = project_state.get(connection, name)
            by_code = finding_state.counts_by_code(connection, known.number if known else 0)
    if export is not None and form is not None:
        from plant3d_sync.usecases.findings_export import export as export_findings

        write_export(export, export_findings(found, document["groups"], form))
        shown: dict[str, Any] = {**document, "path": str(export)}
    else:
        shown = {**document}
    if as_json:
        print_json(shown)
    else:
        narrow = code if wanted == Wanted(code=code) else None
        render.findings(shown, by_code, project=name, code=narrow, each=each or wanted.is_narrow)


def wanted_findings(
    code: str | None,
    tag: str | None,
    class_name: str | None,
    drawing: str | None,
    since: str | None,
    status: str,
    ids: Sequence[int] | None = None,
) -> Wanted:
    """The filters of a command. Raises NotFoundError `status_unknown`, `date_invalid`."""
    from plant3d_sync.state.findings import Wanted
    from plant3d_sync.usecases.findings import posix_day

    if status not in finding_state.STATUSES:
        raise NotFoundError(
            f"{said(status)} is not a status.", hint="open, acknowledged or all.", code="status_unknown"
        )
    return Wanted(
        code=code,
        tag=tag,
        class_name=class_name,
        drawing=drawing,
        since=None if since is None else posix_day(since),
        status=status,
        ids=frozenset(ids) if ids else None,
    )


def export_format(path: Path) -> Format:
    """By the name of the file. Raises NotFoundError `format_unknown`."""
    forms: dict[str, Format] = {".xlsx": "xlsx", ".csv": "csv"}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise NotFoundError(
            f"{said(path.name)} is neither a workbook nor CSV. Nothing was written.",
            hint="Let the name end with .xlsx or .csv.",
            code="format_unknown",
        )
    return form


def write_export(path: Path, content: bytes) -> None:
    """The whole file or none. Raises RetryLaterError `export_not_written`."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        may_replace(path)
        with temporary.open("xb") as file:  # never through a link that somebody put there
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RetryLaterError(
            f"The file {path} could not be written: {error.strerror or error}. What was there before is untouched.",
            hint="Close it in Excel, and check the folder and the free space.",
            code="export_not_written",
        ) from error


def acknowledge(
    project: ProjectArgument,
    ids: Annotated[
        list[int] | None, typer.Argument(help="Ids of findings, as `findings --json` shows them.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever looks later reads it.")] = "",
    until: Annotated[
        str | None, typer.Option("--until", help="Open again from this day on (2026-11-30).")
    ] = None,
    code: Annotated[str | None, typer.Option("--code", help="Every finding of this code.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="May hold * and ?.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="May hold * and ?.")] = None,
    drawing: Annotated[str | None, typer.Option("--drawing", help="May hold * and ?.")] = None,
    take_back_: Annotated[bool, typer.Option("--take-back", help="They are open again.")] = False,
    json: JsonOption = False,
) -> None:
    """Say of findings that they were looked at: they are not listed as open until they move, or until that day.

    Example: plant3d-sync acknowledge mine --code untagged --drawing "PID-7*" --reason "tagged in phase 2"
    """
    from plant3d_sync.usecases.findings import acknowledge as acknowledge_findings
    from plant3d_sync.usecases.findings import posix_day, take_back

    as_json = wants_json(json)
    status = "acknowledged" if take_back_ else "all"
    wanted = wanted_findings(code, tag, class_name, drawing, None, status, ids)
    if not wanted.is_narrow:
        raise NotFoundError(
            "Give ids of findings, or say which ones. Nothing was done.",
            hint="--code, --tag, --class, --drawing; `plant3d-sync findings PROJECT` lists them.",
        )
    day = None if until is None else posix_day(until)
    with app() as made:
        name = made.project_name(project)
        now = made.clock()
        if take_back_:
            done = take_back(made.kept_state, name, wanted, by="cli", at=now)
        else:
            done = acknowledge_findings(
                made.kept_state, name, wanted, reason=reason, until=day, by="cli", at=now
            )
    if as_json:
        print_json({"findings": done, "total": len(done)})
    elif take_back_:
        say(f"Findings that are open again: {len(done)}.")
    else:
        say(f"Findings acknowledged: {len(done)}.")


@links_app.command("propose")
def links_propose(project: ProjectArgument, json: JsonOption = False) -> None:
    """Pairs of items and unlinked assets, with the reason, and every pair of tags that look alike. Writes nothing.

    Two items, or two assets, whose tags look alike are settled in Plant 3D, or in SYNAPSE; there is nothing to accept.

    Example: plant3d-sync links propose mine
    """
    from plant3d_sync.usecases.linking import propose_links

    as_json = wants_json(json)
    progress = ProgressLine()
    with app() as made:
        made.heard = progress.heard
        entry = made.project(project)
        proposal = propose_links(made.looking(progress), entry)
    if as_json:
        print_json(proposal)
    else:
        render.proposal(proposal)


@links_app.command("accept")
def links_accept(
    project: ProjectArgument,
    only: Annotated[
        str | None, typer.Option("--only", help="Only these tags, comma separated; look-alike pairs too.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Link every unambiguous pair that `links propose` lists; creates and changes nothing else.

    A pair of an item and an asset whose tags only look alike is linked when `--only` names the tag of the item. Of every tag
    that `--only` names and that was not linked the answer says why.

    Example: plant3d-sync links accept mine
    """
    from plant3d_sync.usecases.linking import accept_links

    as_json = wants_json(json)
    tags = frozenset(tag.strip() for tag in only.split(",") if tag.strip()) if only else None
    progress = ProgressLine()
    with app() as made:
        made.heard = progress.heard
        entry = made.project(project)
        answer = accept_links(made.world(progress), entry, only=tags)
    if as_json:
        print_json(answer)
    else:
        render.accepted(answer)
    raise typer.Exit(3 if answer["errors"] else 0)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (pull, push, now, plan, apply, discard, runs, show, findings, acknowledge):
        cli.command()(command)
    cli.add_typer(links_app, name="links")
