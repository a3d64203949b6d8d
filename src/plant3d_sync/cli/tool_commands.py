"""inspect, mapping check, doctor, db upgrade, sample, synapse-dev, failpoints, demo."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plant3d_sync.cli.common import JsonOption, ProjectArgument, app, wants_json
from plant3d_sync.cli.output import heads, labelled, plain, print_json, put, say
from plant3d_sync.cli.step_lines import some, step_lines
from plant3d_sync.errors import ConfigError, NotFoundError
from plant3d_sync.failpoints import ALL_POINTS, PULL_POINTS
from plant3d_sync.language import heading, tr
from plant3d_sync.model.coverage import Coverage
from plant3d_sync.words import counted

if TYPE_CHECKING:
    from plant3d_sync.mapping import MappingFile
    from plant3d_sync.model.catalog import Catalog
    from plant3d_sync.model.schema import StepDocument
    from plant3d_sync.settings import Settings

mapping_app = typer.Typer(help="Check the mapping, and see what it changes.", no_args_is_help=True)
db_app = typer.Typer(help="Our state database.", no_args_is_help=True)

EMPTY, NONE = heads("empty", "none")


@contextmanager
def _paths_of_the_command_line(file: Path | None = None) -> Iterator[None]:
    """A path that somebody typed and that is not there is a wrong argument (2), not a wrong setting (78).

    `file`: the mapping file, if one is read. Raises NotFoundError with the code the error had.
    """
    try:
        yield
    except ConfigError as error:
        message, hint, details, code = error.message, error.hint, error.details, error.error_code
        if code == "source_not_found" and _absent(Path(str(details["path"]))):
            raise NotFoundError(message, hint=hint, details=details, code="source_not_found") from error
        if code == "mapping_invalid" and file is not None and _absent(file):
            raise NotFoundError(message, hint=hint, details=details, code="mapping_invalid") from error
        if code == "target_exists":
            raise NotFoundError(message, hint=hint, details=details, code="target_exists") from error
        if code == "target_folder_missing":
            raise NotFoundError(message, hint=hint, details=details, code="target_folder_missing") from error
        raise


def _absent(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # there, but not for this account
        return False
    return False


def inspect(
    source: Annotated[str, typer.Argument(help="Project folder, .dcf file or SQLAlchemy URL.")],
    allow_copy: Annotated[
        bool, typer.Option("--allow-copy", help="Also collaboration and Vault copies.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """What a Plant 3D database holds: classes, columns, tags, relations, and what is odd in it.

    Example: plant3d-sync inspect "P:/Mine/ProcessPower.dcf"
    """
    from plant3d_sync.cli.inspect_lines import show_inspection
    from plant3d_sync.connectors.plant3d.reading.inspect import inspect_source
    from plant3d_sync.connectors.plant3d.reading.open import open_source
    from plant3d_sync.settings import load_settings

    as_json = wants_json(json)
    settings = load_settings()
    deadline = settings.p3dsync_source_deadline_seconds
    with _paths_of_the_command_line():
        named = _with_driver(source, settings)
        document = inspect_source(open_source(named, deadline=deadline, allow_copy=allow_copy))
    if as_json:
        print_json(document)
    else:
        show_inspection(document)


@mapping_app.command("check")
def mapping_check(
    file: Annotated[Path, typer.Argument(help="Mapping file.")],
    source: Annotated[
        str | None, typer.Option("--source", help="Plant 3D database to check against.")
    ] = None,
    project: Annotated[
        str | None,
        typer.Option("--project", help="Project whose database to check against, and whose accepted schema."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read a mapping and say what is wrong, missing in the project, or worth adding.

    Ends with 78 for an error, and for a class or column of this file that the project lacks: misspelt, most likely. A run
    only reports the latter, since one mapping may serve several projects.

    Example: plant3d-sync mapping check mine.yml --source P:/Mine
    """
    from plant3d_sync.mapping import check_mapping, load_mapping
    from plant3d_sync.mapping.file import STOCK, Problem, Severity
    from plant3d_sync.usecases.schema import look_now

    as_json = wants_json(json)
    with _paths_of_the_command_line(file):
        mapping = load_mapping([file.name], base_dir=Path(os.path.realpath(file)).parent)
    catalog = None
    step: StepDocument | None = None
    rows: dict[str, int] = {}
    if project is not None:
        with app() as made:
            entry = made.project(project)
            source = source or entry.config.source
            look = look_now(made.kept_state, entry, made.clock())
        step = look.document
    if source:
        catalog, rows = _catalog_of(source)
    problems = check_mapping(mapping, catalog)
    problems += [
        Problem(
            severity=Severity.WARNING,
            code="schema_step",
            message=f"{line} Until somebody accepts it (`schema accept {project}`), the fields and items that it concerns wait",
            file=file.name,
        )
        for line in step_lines(step)
    ]
    bad = [problem for problem in problems if problem.severity is Severity.ERROR]
    unknown = [one for one in problems if one.severity is Severity.WARNING and one.file != STOCK]
    unknown = [one for one in unknown if one.code in ("class_missing", "column_missing")]
    classes = _classes(mapping, catalog, rows) if catalog is not None and not bad else []
    if as_json:
        print_json(
            {
                "ok": not (bad or unknown),
                "problems": [problem.to_dict() for problem in problems],
                "classes": classes,
                "schema_step": step or None,
            }
        )
    else:
        for problem in problems:
            put(labelled(heading(problem.severity.value), f"{problem.place}: {tr(plain(problem.told))}"))
        _say_classes(classes)
        _say_verdict(len(bad), len(unknown))
    raise typer.Exit(78 if bad or unknown else 0)


def _with_driver(source: str, settings: Settings) -> str:
    """A source of the command line; a database on SQL Server is reached as `PLANT3D_DB_DRIVER` says."""
    from plant3d_sync.connectors.plant3d.sqlserver_address import is_sqlserver, parse_address, with_driver

    if not is_sqlserver(source):
        return source
    return with_driver(parse_address(source), settings.plant3d_db_driver).url


def _catalog_of(source: str) -> tuple[Catalog, dict[str, int]]:
    """The catalogue of a database that the command line names, and how many rows each class has."""
    from plant3d_sync.connectors.plant3d.reading.open import open_source
    from plant3d_sync.settings import load_settings

    with _paths_of_the_command_line():
        settings = load_settings()
        deadline = settings.p3dsync_source_deadline_seconds
        snapshot = open_source(_with_driver(source, settings), deadline=deadline).snapshot()
    try:
        return snapshot.catalog, dict(snapshot.counts(sorted(snapshot.catalog.classes)))
    finally:
        snapshot.close()


def _say_verdict(bad: int, unknown: int) -> None:
    """Whether the mapping can be used. `unknown`: names that the project lacks."""
    if bad:
        say(f"Errors: {bad}. No run uses this mapping.")
    elif unknown:
        say(f"Names that this project does not know: {unknown}. What is said about them has no effect.")
    else:
        say("The mapping is usable.")


def _classes(mapping: MappingFile, catalog: Catalog, rows: Mapping[str, int]) -> list[dict[str, object]]:
    """The classes that become assets, those with most rows first."""
    from plant3d_sync.mapping import compile_rules

    rules = compile_rules(mapping, catalog)
    found = sorted(rules.classes.items(), key=lambda one: (one[1].entity, -rows.get(one[0], 0), one[0]))
    return [{"class": name, "entity": rule.entity.value, "rows": rows.get(name, 0)} for name, rule in found]


def _say_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    for entity in dict.fromkeys(one["entity"] for one in classes):
        mine = [one for one in classes if one["entity"] == entity]
        total = sum(one["rows"] for one in mine)
        filled = ", ".join(f"{plain(one['class'])} {one['rows']}" for one in mine if one["rows"])
        empty = sum(not one["rows"] for one in mine)
        listed = f"{total} ({filled})" if filled else f"{total}"
        say(f"Rows that become {entity}: {listed}. Classes without a row: {empty}.")


@mapping_app.command("diff")
def mapping_diff(
    project: ProjectArgument,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--mapping", help="Try this mapping instead of the configured one; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """What the mapping would change in SYNAPSE, before a run does it. Writes nothing, stores nothing.

    Example: plant3d-sync mapping diff mine --mapping stock --mapping mine.yml
    """
    from plant3d_sync.usecases.mapping_diff import mapping_diff as what_changes

    as_json = wants_json(json)
    files = [one if one == "stock" else os.path.abspath(one) for one in mapping or ()]
    with app() as made:
        found = what_changes(made.looking(), made.project(project, mapping_files=files))
    if as_json:
        print_json(found)
        return
    for name, one in found["fields"].items():
        count = one["changes"]
        say(counted(count, f"{name}: {count} value changes", f"{name}: {count} values change"))
        for example in one["examples"][:3]:
            say(f"  {plain(example['tag'])}: {plain(example['was'])} -> {plain(example['now'])}")
    enter, leave = (some(found[name]) for name in ("enter", "leave"))
    say(f"Items that enter what the mapping brings: {enter}.")
    _becoming(found["enter"])
    say(f"Items that leave what the mapping brings (their assets stay): {leave}.")
    if found["set_aside"]["count"]:
        aside = some(found["set_aside"])
        say(f"Linked items that are not compared any more (their assets stay): {aside}.")
        _becoming(found["set_aside"])
    covered = Coverage.from_dict(found["coverage"]).said()
    say(f"Would hand over: {covered}.")
    say(f"Questions for a person: {found['questions']}. Archived: {found['archived']}.")


def _becoming(items: Mapping[str, Any]) -> None:
    """How many become what."""
    if items["count"]:
        say("  " + ", ".join(f"{code} {count}" for code, count in items["becomes"].items()))


@mapping_app.command("versions")
def mapping_versions(project: ProjectArgument, json: JsonOption = False) -> None:
    """Every mapping that a complete run of the project used, the newest first.

    Example: plant3d-sync mapping versions mine --json
    """
    from plant3d_sync.run.project import iso
    from plant3d_sync.state import mappings

    as_json = wants_json(json)
    with app() as made:
        name = made.project_name(project)
        with made.kept_state.read() as connection:
            items = [one | {"first_used": iso(one["first_used"])} for one in mappings.kept(connection, name)]
    if as_json:
        print_json({"items": items, "total": len(items)})
        return
    for item in items:
        say(f"{item['first_used']}  {item['digest']}  {', '.join(map(plain, item['mapping']['files']))}")


def doctor(
    project: Annotated[str | None, typer.Argument(help="Project; without it all of them.")] = None,
    json: JsonOption = False,
) -> None:
    """Check everything without writing: settings, state, both sides, mapping, locks; with the fix next to each failure.

    Example: plant3d-sync doctor mine
    """
    from plant3d_sync.cli.doctor import run_doctor, show_doctor

    as_json = wants_json(json)
    with app() as made:
        checks = run_doctor(made, [made.project_name(project)] if project else made.project_names())
    failed = [check for check in checks if check["result"] == "failed"]
    if as_json:
        print_json({"ok": not failed, "checks": checks})
    else:
        show_doctor(checks)
    raise typer.Exit(max((int(check["exit_code"]) for check in failed), default=0))


@db_app.command("upgrade")
def db_upgrade(json: JsonOption = False) -> None:
    """Bring our state database to this version's schema.

    Example: plant3d-sync db upgrade
    """
    from plant3d_sync.bootstrap import make_app
    from plant3d_sync.cli.common import CHOICES, speaks
    from plant3d_sync.state import State

    as_json = wants_json(json)
    made = make_app(CHOICES.config)
    speaks(made)
    state = State(made.state_url)
    before, after = state.upgrade()
    state.close()
    if as_json:
        print_json({"before": before, "after": after, "state_db": state.shown})
    else:
        put(labelled(state.shown, f"{before or heading(EMPTY)} -> {after}"))


def sample(
    out: Annotated[Path, typer.Argument(help="New .dcf file; an existing one is refused.")],
    items: Annotated[int, typer.Option("--items", min=1, help="Items that become assets.")] = 2000,
    dirty: Annotated[float, typer.Option("--dirty", min=0.0, max=1.0, help="Share hit by hazards.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    json: JsonOption = False,
) -> None:
    """Write a synthetic P&ID database of a gold mine, with the structure of a real one.

    Example: plant3d-sync sample mine.dcf --items 5000 --dirty 0.05
    """
    from plant3d_sync.sample import write_sample

    as_json = wants_json(json)
    with _paths_of_the_command_line():
        report = write_sample(out, items=items, dirty=dirty, seed=seed)
    document = {
        "path": str(report.path),
        "items": report.items,
        "by_entity": report.by_entity,
        "drawings": report.drawings,
        "hazards": report.hazards,
        "hazard_ids": {name: list(ids) for name, ids in report.hazard_ids.items()},
    }
    if as_json:
        print_json(document)
    else:
        hazards = ", ".join(f"{name} {count}" for name, count in report.hazards.items())
        say(
            f"{report.path}; items: {report.items}, drawings: {report.drawings}, hazards: {hazards or heading(NONE)}"
        )


class SynapseKind(StrEnum):
    """Which SYNAPSE `synapse-dev` is."""

    CONTRACT = "contract"
    V02 = "0.2"


def synapse_dev(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    db: Annotated[str | None, typer.Option("--db", help="File or URL; in memory without it.")] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="Else SYNAPSE_API_KEY, else generated.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="UUID of the project to have.")] = None,
    which: Annotated[
        SynapseKind, typer.Option("--as", help="The integration API, or SYNAPSE 0.2 without it.")
    ] = SynapseKind.CONTRACT,
) -> None:
    """The reference SYNAPSE server (target contract), or a stand-in for SYNAPSE 0.2, for trying and testing.

    Example: plant3d-sync synapse-dev --port 0
    """
    if which is SynapseKind.V02:
        from plant3d_sync.synapse_dev.v02 import main as v02

        if db is not None or api_key is not None:
            raise typer.BadParameter("--as 0.2 keeps everything in memory and knows users, not keys.")
        v02.run(host=host, port=port, project=project)
        return
    from plant3d_sync.synapse_dev.main import run

    run(host=host, port=port, db=db, api_key=api_key, project=project)


def failpoints(json: JsonOption = False) -> None:
    """Names of the places where a test can end, freeze or fail the process.

    Example: plant3d-sync failpoints
    """
    if wants_json(json):
        print_json({"failpoints": list(ALL_POINTS), "pull": list(PULL_POINTS)})
        return
    for name in ALL_POINTS:
        say(name)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder, to go on by hand.")] = False,
    items: Annotated[int, typer.Option("--items", min=100, max=100_000, help="Size of the sample.")] = 2000,
) -> None:
    """Show the whole loop on a sample database and the reference SYNAPSE.

    Example: plant3d-sync demo --keep
    """
    from plant3d_sync.cli.demo import run_demo

    raise typer.Exit(run_demo(keep=keep, items=items))


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command()(inspect)
    cli.add_typer(mapping_app, name="mapping")
    cli.command()(doctor)
    cli.add_typer(db_app, name="db")
    cli.command()(sample)
    cli.command("synapse-dev")(synapse_dev)
    cli.command()(failpoints)
    cli.command()(demo)
