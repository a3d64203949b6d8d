"""waiting, quarantine list, quarantine retry, quarantine ignore."""

from __future__ import annotations

from typing import Annotated

import typer

from plant3d_sync.bootstrap import App
from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, wants_json
from plant3d_sync.cli.output import ProgressLine, labelled, plain, print_json, put, say, table
from plant3d_sync.errors import NotFoundError, RetryLaterError
from plant3d_sync.language import tr
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.state.waiting import KINDS, counts, waits
from plant3d_sync.usecases import quarantine as use
from plant3d_sync.usecases.waiting import document
from plant3d_sync.words import counted, said

quarantine_app = typer.Typer(help="Rows that SYNAPSE, Plant 3D or we refused.", no_args_is_help=True)

RowIds = Annotated[list[int], typer.Argument(help="Ids of rows, as `quarantine list` shows them.")]


def waiting(
    project: ProjectArgument,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only things of this kind, such as quarantine or plan.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Everything that waits for a person: questions, plans, refused rows, values for a workbook, work for designers.

    Example: plant3d-sync waiting mine --kind quarantine
    """
    as_json = wants_json(json)
    if kind is not None and kind not in KINDS:
        raise NotFoundError(
            f"{said(kind)} is not a kind of thing that waits.", hint=", ".join(KINDS), code="kind_unknown"
        )
    with app() as made:
        name = made.project_name(project)
        with made.kept_state.read() as connection:
            found = [one for one in waits(connection, name) if kind in (None, one.kind)]
            amounts = counts(connection, name)
    items = [document(one, name) for one in found[offset : offset + limit]]
    if as_json:
        print_json({"items": items, "total": len(found), "counts": amounts})
        return
    for item in items:
        about = "  ".join(
            plain(item[word]) for word in ("kind", "id", "tag", "drawing") if item[word] is not None
        )
        put(labelled(f"{about}  {tr('since')} {plain(item['since'])}", tr(plain(item["message"]))))
        say(f"  what to do: {plain(item['hint'])}")
    if len(found) > len(items):
        say(f"… and {len(found) - len(items)} more (--limit {len(found)})")
    listed = ", ".join(f"{one} {amounts[one]}" for one in KINDS if amounts[one])
    say(f"Waiting for a person: {amounts['total']}" + (f" ({listed})." if listed else "."))


@quarantine_app.command("list")
def quarantine_list(
    project: ProjectArgument,
    status: Annotated[str, typer.Option("--status", help="waiting, ignored or all.")] = "waiting",
    code: Annotated[str | None, typer.Option("--code", help="Only these, such as too_long.")] = None,
    field: Annotated[str | None, typer.Option("--field")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="May hold * and ?.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Refused rows, oldest first: both values, how often they were tried, when they are tried again.

    Example: plant3d-sync quarantine list mine --status all
    """
    as_json = wants_json(json)
    if status not in use.STATUSES:
        raise NotFoundError(
            f"{said(status)} is not a status.", hint="waiting, ignored or all.", code="status_unknown"
        )
    with app() as made:
        name = made.project_name(project)
        with made.kept_state.read() as connection:
            items, total = use.list_quarantine(
                connection,
                name,
                use.Wanted(status=status, code=code, field=field, tag=tag),
                limit=limit,
                offset=offset,
            )
    if as_json:
        print_json({"items": items, "total": total})
        return
    table(
        ["id", "tag", "field", "Plant 3D", "SYNAPSE", "code", "tried", "next try", "ignored because"],
        [
            [
                item["id"],
                item["tag"] or item["pnpid"],
                item["field"],
                _short(item["plant3d_value"]),
                _short(item["synapse_value"]),
                item["code"],
                item["attempts"],
                item["next_try_at"],
                item["ignored"]["reason"] if item["ignored"] else None,
            ]
            for item in items
        ],
    )
    for item in items:
        put(labelled(str(item["id"]), tr(plain(item["message"]))))
    say(f"Refused rows: {total}.")


def _short(value: object) -> object:
    """A value that does not make a table unreadable."""
    return f"{value[:39]}…" if isinstance(value, str) and len(value) > 40 else value


@quarantine_app.command("retry")
def quarantine_retry(
    project: ProjectArgument,
    ids: Annotated[
        list[int] | None, typer.Argument(help="Ids of rows, as `quarantine list` shows them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every row that nobody ignores.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Leave it to the next run.")] = False,
    json: JsonOption = False,
) -> None:
    """Try refused rows again now; a row that was ignored is not any more.

    Example: plant3d-sync quarantine retry mine 12 14
    """
    as_json = wants_json(json)
    if bool(ids) == all_:
        raise NotFoundError(
            "Give ids of rows, or --all. Nothing was done.",
            hint="`plant3d-sync quarantine list PROJECT` shows the ids.",
        )
    with app() as made:
        name = made.project_name(project)
        world = made.world(ProgressLine())
        rows = use.retry(made.kept_state, name, ids or None, by="cli", at=world.clock())
        if rows and not no_run:
            _carry_out(made, name)
        tried = {row["id"] for row in rows}
        with made.kept_state.read() as connection:
            left, _total = use.list_quarantine(connection, name, use.Wanted(status="all"), limit=1_000_000)
    left = [row for row in left if row["id"] in tried]
    if as_json:
        print_json({"tried": rows, "left": left})
        return
    if no_run:
        count = len(rows)
        say(counted(count, f"The next run tries {count} row.", f"The next run tries {count} rows."))
        return
    for row in left:
        say(f"  ! {plain(row['tag'])} [{row['code']}] {tr(plain(row['message']))}")
    say(f"Tried: {len(rows)}. Still refused: {len(left)}.")


def _carry_out(made: App, project: str) -> None:
    """Try them now; when the project is busy the next run does it."""
    direction = Direction.BOTH if made.project_config(project).write.value != "off" else Direction.PULL
    try:
        Engine(made.world(ProgressLine()), made.project(project)).run(
            Request(asked=Asked(direction=direction), trigger="retry")
        )
    except RetryLaterError as error:
        ProgressLine()("waiting: " + error.message, 0, None)


@quarantine_app.command("ignore")
def quarantine_ignore(
    project: ProjectArgument,
    ids: RowIds,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever looks later reads it.")],
    json: JsonOption = False,
) -> None:
    """Leave refused rows alone until their value moves: they are no errors of a run any more.

    Example: plant3d-sync quarantine ignore mine 12 --reason "agreed with the client, stays as it is"
    """
    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        rows = use.ignore(made.kept_state, name, ids, reason=reason, by="cli", at=made.clock())
    if as_json:
        print_json({"items": rows, "total": len(rows)})
        return
    for row in rows:
        say(f"{row['id']}: {plain(row['tag'])} is left alone until its value moves.")


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command()(waiting)
    cli.add_typer(quarantine_app, name="quarantine")
