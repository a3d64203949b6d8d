"""conflicts, conflict, resolve, undo, workbook, backups, restore, grants."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from plant3d_sync.bootstrap import App, drawings_folder, pushable_columns
from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, wants_json
from plant3d_sync.cli.output import ProgressLine, heads, labelled, plain, print_json, put, say, table
from plant3d_sync.errors import ConfigError, NeedsPersonError, NotFoundError, RetryLaterError
from plant3d_sync.language import TOLD, heading, tr
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.usecases.conflicts import (
    CHOICES,
    Choice,
    ConflictDocument,
    Resolved,
    Wanted,
    applied_to,
    get_conflict,
    list_conflicts,
    resolve_conflict,
)
from plant3d_sync.usecases.undo import undo_plan
from plant3d_sync.words import counted, said

OF_A_CONFLICT = heads(
    "id", "project_id", "asset_id", "plant3d_id", "asset_tag", "field", "kind", "explanation", "base_value", "has_base",
    "plant3d_value", "synapse_value", "plant3d_updated_at", "synapse_updated_at", "plant3d_seen", "synapse_seen",
    "plant3d_by", "synapse_by", "drawing", "suggested_resolution", "suggested_reason", "suggested_explanation", "status",
    "detected_at", "resolution", "applied_value", "note", "resolved_by", "resolved_at", "carried_out", "void_reason", "version",
)  # fmt: skip
LIST_SECONDS = 30.0
"""How long the folder of backups may take to be listed."""


def conflicts(
    project: ProjectArgument,
    status: Annotated[str, typer.Option("--status", help="pending, resolved or all.")] = "pending",
    field: Annotated[str | None, typer.Option("--field")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="May hold * and ?.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Conflicts of a project, oldest first: base, both values, a suggestion.

    Example: plant3d-sync conflicts mine --status all
    """
    as_json = wants_json(json)
    if status not in ("pending", "resolved", "all"):
        raise NotFoundError(
            f"{said(status)} is not a status.", hint="pending, resolved or all.", code="status_unknown"
        )
    with app() as made:
        name = made.project_name(project)  # known before a state database is made for it
        items, total = list_conflicts(
            made.kept_state,
            name,
            Wanted(status=status, field=field, tag=tag),
            limit=limit,
            offset=offset,
        )
    if as_json:
        print_json({"items": items, "total": total})
        return
    _conflict_table(items)
    say(f"Conflicts: {total}.")


def _conflict_table(items: list[ConflictDocument]) -> None:
    table(
        ["id", "tag", "field", "base", "Plant 3D", "SYNAPSE", "suggested", "because", "status"],
        [
            [
                item["id"],
                item["asset_tag"],
                item["field"],
                item["base_value"],
                item["plant3d_value"],
                item["synapse_value"],
                item["suggested_resolution"],
                item["suggested_reason"],
                "void" if item["void_reason"] else item["status"],
            ]
            for item in items
        ],
    )


def conflict(
    conflict_id: Annotated[str, typer.Argument(help="Id of the conflict.")], json: JsonOption = False
) -> None:
    """One conflict with everything known about it.

    Example: plant3d-sync conflict 7f3a9c…
    """
    as_json = wants_json(json)
    with app() as made:
        document = get_conflict(made.kept_state, conflict_id)
    if as_json:
        print_json(document)
        return
    values: Mapping[str, object] = {**document}
    for name in OF_A_CONFLICT:
        value = values[name]
        put(labelled(heading(name), tr(plain(value)) if name in TOLD else plain(value)))


def resolve(
    words: Annotated[
        list[str], typer.Argument(help="ID plant3d|synapse|manual, or with --all only the choice.")
    ],
    value: Annotated[str | None, typer.Option("--value", help="The value, with manual.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="Why.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every pending conflict that the filters match.")
    ] = False,
    project: Annotated[str | None, typer.Option("--project", help="With --all.")] = None,
    field: Annotated[str | None, typer.Option("--field", help="With --all.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="With --all; may hold * and ?.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="With --all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: decide; without it a preview.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Only store the choice.")] = False,
    json: JsonOption = False,
) -> None:
    """Choose the value of a conflict; it is written to both sides as far as the project allows.

    Example: plant3d-sync resolve 7f3a9c… synapse --note "checked on site"
    """
    as_json = wants_json(json)
    with app() as made:
        if all_:
            answer = _resolve_all(made, words, project, field, tag, kind, value, note, yes, no_run)
        else:
            answer = {**_resolve_one(made, words, value, note, no_run)}
    if as_json:
        print_json(answer)
    elif all_:
        _conflict_table(answer["items"])
        say(
            f"Resolved: {answer['resolved']} of {answer['total']}."
            + ("" if yes else " Preview; add --yes to decide.")
        )
        for item in answer.get("left") or []:
            say(f"  left alone: {item['id']}: {plain(item['message'])}")
    else:
        done = ", ".join(f"{side} {what}" for side, what in answer["applied_to"].items())
        say(f"resolved: {plain(answer['applied_value'])}; {done}")


def _choice(word: str, value: str | None) -> str:
    if word not in CHOICES:
        raise NotFoundError(
            f"{said(word)} is not a choice. Nothing was decided.",
            hint="plant3d, synapse or manual.",
            code="resolution_unknown",
        )
    if word == "manual" and value is None:
        raise NotFoundError("manual needs --value. Nothing was decided.", code="value_missing")
    return word


def _resolve_one(made: App, words: list[str], value: str | None, note: str | None, no_run: bool) -> Resolved:
    if len(words) != 2:
        raise NotFoundError(
            "Give a conflict id and a choice. Nothing was decided.", hint="resolve ID plant3d|synapse|manual"
        )
    conflict_id, choice = words[0], _choice(words[1], value)
    before = get_conflict(made.kept_state, conflict_id)
    config = made.project_config(before["project_id"])
    world = made.world(ProgressLine())
    answer = resolve_conflict(
        world,
        conflict_id,
        Choice(resolution=choice, manual_value=value, note=note),
        write_mode=config.write.value,
    )
    if not no_run:
        _carry_out(made, before["project_id"])
        answer["applied_to"] = applied_to(made.state, conflict_id, config.write.value)
    return answer


def _carry_out(made: App, project: str) -> None:
    """Write the choice now; when the project is busy the next run does it."""
    try:
        Engine(made.world(ProgressLine()), made.project(project)).run(
            Request(asked=Asked(direction=Direction.BOTH), trigger="resolve")
        )
    except RetryLaterError as error:
        ProgressLine()("waiting: " + error.message, 0, None)


def _resolve_all(
    made: App,
    words: list[str],
    project: str | None,
    field: str | None,
    tag: str | None,
    kind: str | None,
    value: str | None,
    note: str | None,
    yes: bool,
    no_run: bool,
) -> dict[str, Any]:
    if len(words) != 1:
        raise NotFoundError(
            "With --all give only the choice. Nothing was decided.",
            hint="resolve --all plant3d --field description",
        )
    choice = _choice(words[0], value)
    name = made.project_name(project) if project else None
    items, total = list_conflicts(
        made.kept_state, name, Wanted(field=field, tag=tag, kind=kind), limit=1_000_000
    )
    if choice == "manual" or not yes:
        shown = [{**item, "would_be": item.get(f"{choice}_value", value)} for item in items]
    else:
        shown = [{**item} for item in items]
    if not yes:
        return {"items": shown, "total": total, "resolved": 0, "preview": True}
    world = made.world()
    done, left = [], []
    for item in items:
        try:
            resolve_conflict(
                world,
                item["id"],
                Choice(resolution=choice, manual_value=value, note=note),
                version=item["version"],
                write_mode=_write_mode(made, item),
            )
        except (NeedsPersonError, NotFoundError) as error:  # the others are decided all the same
            left.append({"id": item["id"], "code": error.error_code, "message": str(error)})
        else:
            done.append(item)
    for project_name in () if no_run else sorted({item["project_id"] for item in done}):
        _carry_out(made, project_name)
    decided = [
        {
            **get_conflict(made.kept_state, item["id"]),
            "applied_to": applied_to(made.state, item["id"], _write_mode(made, item)),
        }
        for item in done
    ]
    return {"items": decided, "total": total, "resolved": len(done), "left": left, "preview": False}


def _write_mode(made: App, item: ConflictDocument) -> str:
    """Of the project that the conflict belongs to."""
    return made.project_config(item["project_id"]).write.value


def undo(
    run_id: Annotated[str, typer.Argument(help="Run whose writes are put back.")],
    change: Annotated[int | None, typer.Option("--change", help="Only this change of the run.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a plan that puts back what a run wrote, except what was edited since. Writes nothing until `apply`.

    Example: plant3d-sync undo 7f3a9c…
    """
    from plant3d_sync.state import runs as run_state

    as_json = wants_json(json)
    with app() as made:
        with made.kept_state.read() as connection:
            run = run_state.get(connection, run_id)
        if run is None:
            raise NotFoundError(
                f"There is no run {run_id}. Nothing was planned.", hint="`plant3d-sync runs PROJECT`"
            )
        mode = made.project_config(run.project).write.value if run.project in made.config.projects else "off"
        answer = undo_plan(made.world(), run.project, run_id, change_id=change, write_mode=mode)
    if as_json:
        print_json(answer)
        return
    count, plan_id = answer["restores"], answer["plan_id"]
    say(
        counted(
            count,
            f"{count} value would go back. Apply with: plant3d-sync apply {plan_id}",
            f"{count} values would go back. Apply with: plant3d-sync apply {plan_id}",
        )
    )
    for item in answer["left_alone"]:
        say(
            f"  left alone: {plain(item['tag'])} {item['field']} = {plain(item['value_now'])} ({item['reason']})"
        )


def workbook(
    project: ProjectArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Workbook to write.")],
    export: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A fresh Data Manager export to fill in (keeps its sheets and language)."
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language", help="Of the first sheet, and of the headers without an export: en or fr."
        ),
    ] = None,
    approve_guards: Annotated[
        bool,
        typer.Option("--approve-guards", help="Make it although it would change or empty very many items."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """SYNAPSE's edits as a workbook that a designer imports in Plant 3D's Data Manager and accepts cell by cell.

    Example: plant3d-sync workbook mine --from export.xlsx -o to-import.xlsx
    """
    from plant3d_sync.cli.workbooks import make_workbook

    as_json = wants_json(json)
    with app() as made:
        answer = make_workbook(
            made,
            made.project_name(project),
            export=export,
            out=out,
            language=language,
            approved=approve_guards,
        )
    if as_json:
        print_json(answer)
    else:
        refused = [*answer["refused"], *answer["errors"]]
        if answer["path"] is None:
            say("No value waits for Plant 3D, so there is no workbook.")
        elif not answer["written"]:
            say(f"{answer['path']}: no value could go into a cell; its first sheet says why.")
        else:
            say(
                f"{answer['path']}; cells: {answer['written']}, sheets: {len(answer['sheets'])}, refused: {len(refused)}."
            )
        for item in refused:
            put(f"  ! {plain(item['tag'])} [{item['code']}] {tr(plain(item['message']))}")
    raise typer.Exit(3 if answer["refused"] or answer["errors"] else 0)


def backups(project: ProjectArgument, json: JsonOption = False) -> None:
    """Backups of a project's Plant 3D database, newest first.

    Example: plant3d-sync backups mine
    """
    from plant3d_sync.connectors.plant3d.elsewhere import elsewhere
    from plant3d_sync.connectors.plant3d.writing.backup import list_backups

    as_json = wants_json(json)
    with app() as made:
        config = made.project_config(made.project_name(project))
        folder = made.backup_folder(config)
        found = elsewhere(
            str(folder), list_backups, folder, config.name, seconds=LIST_SECONDS, places=[folder]
        )
    items = [
        {
            "path": str(item.path),
            "bytes": item.bytes,
            "sha256": item.sha256,
            "created_at": item.created.isoformat(),
        }
        for item in found
    ]
    if as_json:
        print_json({"items": items, "total": len(items)})
    else:
        table(
            ["backup", "bytes", "created"],
            [[item["path"], item["bytes"], item["created_at"]] for item in items],
        )


def restore(
    project: ProjectArgument,
    backup: Annotated[Path, typer.Argument(help="Backup file (see `backups`).")],
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Only prove that it can be put back.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Put it back; without it only the proof is made.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Put a backup back into the Plant 3D database, after a safety copy. Without --yes it only proves that it could.

    Example: plant3d-sync restore mine backups/mine-20260115T140322Z-1.dcf --yes
    """
    from plant3d_sync.connectors.plant3d.elsewhere import written_elsewhere
    from plant3d_sync.connectors.plant3d.writing.backup import LONGEST, restore_backup
    from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
    from plant3d_sync.state import audit

    as_json = wants_json(json)
    with app() as made:
        config = made.project_config(made.project_name(project))
        proof = check_only or not yes
        folder, drawings = made.backup_folder(config), drawings_folder(config)
        report = written_elsewhere(
            config.source,
            partial(
                restore_backup,
                config.source,
                backup.absolute(),
                project=config.name,
                folder=folder,
                drawings=DrawingLocks(drawings, unseen_counts_as_open=config.drawings_unseen_are_open),
                check_only=proof,
                synced=config.allow_synced_folder,
            ),
            seconds=LONGEST,
            places=[config.source, backup, folder, *([drawings] if drawings else [])],
        )
        if report.restored:
            world = made.world()
            with made.state.write() as connection:
                audit.append(
                    connection,
                    config.name,
                    action="backup.restored",
                    actor="cli",
                    at=world.clock(),
                    backup=str(backup),
                    safety=str(report.safety.path) if report.safety else None,
                )
    answer = {
        "restored": report.restored,
        "proved": True,
        "tables": report.tables,
        "rows": report.rows,
        "changed_tables": list(report.changed_tables),
        "safety_backup": str(report.safety.path) if report.safety else None,
    }
    if as_json:
        print_json(answer)
    elif report.restored:
        say(f"Restored; the file before is kept as {answer['safety_backup']}.")
    else:
        say(f"The backup can be put back (tables: {report.tables}, rows: {report.rows}). Add --yes to do it.")


class Role(StrEnum):
    """The two sets of rights."""

    READER = "reader"
    WRITER = "writer"


def grants(
    project: ProjectArgument,
    role: Annotated[Role | None, typer.Option("--role", help="Only this role; both without it.")] = None,
    json: JsonOption = False,
) -> None:
    """Print the script of least rights on SQL Server, for the tables and columns of this project.

    An administrator runs it in the P&ID database. The reader's part needs no connection; the writer's names the tables
    that are there now, so run it again when objects of a new class appear.

    Example: plant3d-sync grants mine --role writer
    """
    from plant3d_sync.connectors.plant3d.sqlserver_address import is_sqlserver
    from plant3d_sync.connectors.plant3d.writing.grants import grant_script

    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        config = made.project_config(name)
        if not is_sqlserver(config.source):
            raise ConfigError(
                f"Project {name} is a file: it has no logins to grant rights to. Nothing was done.",
                hint="Rights on a file are those of its folder; `doctor` checks them.",
                code="not_sqlserver",
            )
        if role is Role.READER:
            script = grant_script(Catalog(classes={}, columns={}), (), role="reader")
        else:
            snapshot = made.source(name).snapshot()
            try:
                allowed = pushable_columns(snapshot.catalog, made.project(name).rules(snapshot.catalog))
                script = grant_script(snapshot.catalog, allowed, role="writer" if role else None)
            finally:
                snapshot.close()
    if as_json:
        print_json({"project": name, "role": role.value if role else None, "script": script})
    else:
        say(script.rstrip("\n"))


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (conflicts, conflict, resolve, undo, workbook, backups, restore, grants):
        cli.command()(command)
