"""clocks show, clocks forget."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec.structs import asdict

from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, wants_json
from plant3d_sync.cli.output import plain, print_json, say
from plant3d_sync.usecases import clocks as use

clocks_app = typer.Typer(
    help="What is known of the clocks, which decide who edited last.", no_args_is_help=True
)


@clocks_app.command("show")
def clocks_show(project: ProjectArgument, json: JsonOption = False) -> None:
    """How far SYNAPSE's clock is from ours, and how far behind a workstation was ever shown to be. Writes nothing.

    Example: plant3d-sync clocks show mine
    """
    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        tolerance = made.config.projects[name].conflict.tolerance_seconds
        with made.kept_state.read() as connection:
            found = use.clocks_now(connection, name, tolerance)
    if as_json:
        print_json(found.to_dict())
        return
    skew, lag = found.synapse_skew_seconds, found.workstation_lag
    if skew is None:
        say("SYNAPSE's clock was not compared with ours yet.")
    else:
        say(f"SYNAPSE's clock minus ours: {skew:.1f} s.")
    if lag is None:
        say("No workstation was ever shown to be behind, or that is forgotten.")
    else:
        say(f"A workstation was behind by {lag.seconds:.0f} s at most.")
        if lag.pnpid is not None:
            say(f"It saved {plain(lag.tag)} (PnPID {lag.pnpid}), as run {lag.run_id} found on {lag.seen_at}.")
        say(f"Once its clock is right: plant3d-sync clocks forget {name} --reason TEXT")
    say(f"Edits in Plant 3D are dated with a tolerance of {found.plant3d_tolerance_seconds:.0f} s.")


@clocks_app.command("forget")
def clocks_forget(
    project: ProjectArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever looks later reads it.")],
    json: JsonOption = False,
) -> None:
    """Forget the worst lag of a workstation, once its clock is right: edits are dated by the tolerance alone again.

    Questions that were asked while it was known stay. A stamp that shows a lag again is remembered again.

    Example: plant3d-sync clocks forget mine --reason "the clock of PC-12 follows NTP now"
    """
    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        done = use.forget_lag(made.kept_state, name, reason=reason, by="cli", at=made.clock())
    if as_json:
        print_json({"project": name, "forgotten": asdict(done)})
        return
    say(f"Forgotten: a workstation that was behind by {done.seconds:.0f} s.")


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(clocks_app, name="clocks")
