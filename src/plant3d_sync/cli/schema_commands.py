"""schema show, schema accept."""

from __future__ import annotations

from typing import Annotated

import typer

from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, wants_json
from plant3d_sync.cli.output import plain, print_json, say
from plant3d_sync.cli.step_lines import step_lines
from plant3d_sync.run.schema import remember
from plant3d_sync.state import projects
from plant3d_sync.usecases import schema as schema_use

schema_app = typer.Typer(help="Changes of the Plant 3D schema that wait for a person.", no_args_is_help=True)


@schema_app.command("show")
def schema_show(project: ProjectArgument, json: JsonOption = False) -> None:
    """Compare the classes and columns that the mapping uses with those that were accepted. Writes nothing.

    Example: plant3d-sync schema show mine
    """
    as_json = wants_json(json)
    with app() as made:
        found = made.project(project)
        look = schema_use.look_now(made.kept_state, found, made.clock())
    step = look.document
    if as_json:
        print_json({"project": found.name, "step": step, "known": look.kept is not None})
        return
    if look.kept is None:
        say("Nothing is remembered yet: the first complete run accepts the schema as it is.")
    elif step is None:
        say("The schema is the one that was accepted.")
    else:
        for line in step_lines(step):
            say(f"- {line}")
        say(f"Step {step['step']}: `plant3d-sync schema accept {found.name}` accepts it.")


@schema_app.command("accept")
def schema_accept(
    project: ProjectArgument,
    step: Annotated[
        str | None, typer.Option("--step", help="Only this step, as `schema show` names it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Accept the change of the schema: from the next run on, the fields concerned are compared again.

    Example: plant3d-sync schema accept mine
    """
    as_json = wants_json(json)
    with app() as made:
        found, world = made.project(project), made.world()
        look = schema_use.look_now(world.state, found, world.clock())
        with world.state.write() as connection:
            number = projects.ensure(connection, found.name).number
            remember(connection, number, look, at=world.clock(), by="cli")
        done = schema_use.accept(world.state, found.name, step=step, by="cli", at=world.clock())
    if as_json:
        print_json(done)
        return
    for change in done["changes"]:
        say(f"- {plain(change['message'])}")
    say("Accepted. The next run compares the fields concerned.")


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(schema_app, name="schema")
