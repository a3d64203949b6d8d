"""`plant3d-sync`: the entry point. Errors become exit codes here and nowhere else."""

from __future__ import annotations

import gc

gc.disable()  # nothing that is imported is garbage; collecting it over and over costs 30 ms a start
import copy
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from plant3d_sync import __version__, language
from plant3d_sync.address import hide_in_tracebacks
from plant3d_sync.cli.common import CHOICES
from plant3d_sync.cli.output import print_error, print_json
from plant3d_sync.errors import Interrupted, NotFoundError, SyncError
from plant3d_sync.texts import check_words

gc.freeze()  # else the first collection looks through everything that was imported, another 50 ms
gc.enable()

UsageProblem: type[typer.BadParameter] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""Base of every usage error of the parser that typer carries inside (it does not export the name)."""

cli = typer.Typer(
    help="Keep an AutoCAD Plant 3D P&ID project and SYNAPSE in step.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@cli.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", help="Configuration file (P3DSYNC_CONFIG).", envvar="P3DSYNC_CONFIG"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    lang: Annotated[
        str | None,
        typer.Option("--lang", help="Language of what is said: en or fr (LC_ALL; else the settings)."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Options that stand before the command."""
    CHOICES.config = config
    CHOICES.json = CHOICES.json or json
    if lang is not None and language.known(lang) is None:
        raise typer.BadParameter(f"{lang} is not one of {', '.join(language.LANGUAGES)}", param_hint="--lang")
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


GROUPS = (
    "sync_commands",
    "tool_commands",
    "write_back_commands",
    "waiting_commands",
    "schema_commands",
    "clock_commands",
    "service_commands",
)
"""Modules with commands, in the order of the help."""

DAILY = frozenset(
    {"pull", "push", "now", "plan", "apply", "discard", "runs", "show", "links", "findings", "acknowledge"}
)
"""Commands of the first group: a scheduled pull should not wait for the imports of the web and the worker."""

SERVICES = frozenset({"serve", "worker", "scheduler", "up"})
"""Commands that run until they are told to end; what they write is collected, not read."""

LASTING = SERVICES - {"worker"}
"""Those that answer and wait: their garbage has cycles, and is collected as Python usually does. The worker does it in its pauses."""

_registered: list[str] = []


def _register(arguments: Sequence[str]) -> None:
    """Import what this command line needs: the first group for a daily command, else every group."""
    daily = _registered in ([], list(GROUPS[:1])) and _command(arguments) in DAILY
    for name in GROUPS[:1] if daily else GROUPS:
        if name not in _registered:
            import_module(f"plant3d_sync.cli.{name}").register(cli)
            _registered.append(name)


_made: dict[tuple[str | None, int, str], Any] = {}
"""Command that is parsed alone, groups imported, language -> what parses them."""


def command_line(words: Sequence[str]) -> Any:
    """What parses this command line: of the daily commands just the one that is called, else all.

    Typer looks at every parameter of every command it is asked for, which costs more than a run that finds nothing to do;
    so what it made is kept.
    """
    name = _command(words)
    alone = name if name in DAILY else None
    key = (alone, len(_registered), language.current())
    if key not in _made:
        _made[key] = typer.main.get_command(cli if alone is None else _with_only(alone))
        if language.current() != language.DEFAULT:
            from plant3d_sync.cli.spoken import speak

            speak(_made[key])
    return _made[key]


def _with_only(name: str) -> typer.Typer:
    lean = copy.copy(cli)
    lean.registered_commands = [
        one
        for one in cli.registered_commands
        if (one.name or (one.callback.__name__ if one.callback else None)) == name
    ]
    lean.registered_groups = [one for one in cli.registered_groups if one.name == name]
    return lean


def _command(arguments: Sequence[str]) -> str | None:
    """The command's name on a command line, None if there is none or an option we do not know stands before it."""
    rest = iter(arguments)
    for word in rest:
        if word in ("--config", "--lang"):
            next(rest, None)
        elif word != "--json" and not word.startswith(("--config=", "--lang=")):
            return word
    return None


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    # looked up by hand: a command line that cannot be parsed is answered as JSON too
    CHOICES.config, CHOICES.json = None, "--json" in words
    CHOICES.language = language.known(_language(words)) or language.of_environment()
    of_settings = language.known(os.environ.get("P3DSYNC_LANGUAGE"))  # said before they are read, too
    with language.speaking(CHOICES.language or of_settings or language.DEFAULT):
        return _run(words, arguments)


def _language(words: Sequence[str]) -> str | None:
    """What stands behind `--lang`, looked up by hand: what cannot be parsed is reported in that language too."""
    for place, word in enumerate(words):
        if word.startswith("--lang="):
            return word.partition("=")[2]
        if word == "--lang":
            return words[place + 1] if place + 1 < len(words) else None
    return None


def _run(words: list[str], arguments: list[str] | None) -> int:
    _register(words)
    command = command_line(words)
    try:
        checked = check_words(words)
        result = command.main(
            args=arguments if checked == words else checked, prog_name="plant3d-sync", standalone_mode=False
        )
    except SyncError as error:
        if not _as_log_line(words, error) or CHOICES.json:  # who asks for the document gets it as well
            print_error(error, as_json=CHOICES.json)
        return error.exit_code
    except typer.Abort:
        if CHOICES.json:
            print_json({"error": Interrupted("Interrupted before the command began its work.").to_dict()})
        return 130
    except typer.Exit as error:
        return error.exit_code
    except UsageProblem as error:
        _in_our_words(error)
        if not _as_log_line(words, _usage(error)):
            _show(error)
        if CHOICES.json:
            print_json({"error": _usage(error).to_dict()})
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            language.tr("Interrupted. What was written is recorded; the next run continues.") + "\n"
        )
        return 130
    except BrokenPipeError:
        return 0
    except Exception:
        if not _as_log_line(words):
            raise
        return 1
    return result if isinstance(result, int) else 0


def _as_log_line(words: Sequence[str], error: SyncError | None = None) -> bool:
    """Whether the error (None: the exception that is being handled) was reported as a line of a service's log."""
    command = _command(words)
    if command not in SERVICES:
        return False
    from plant3d_sync.worker.refusal import tell

    return tell(error)


def _in_our_words(problem: typer.BadParameter) -> None:
    """What is wrong with a value is said as everywhere else; the checker that the parser uses names Python's types."""
    cause = problem.__cause__
    if isinstance(cause, ValueError) and hasattr(cause, "errors"):
        from plant3d_sync.words import complaint

        problem.message = "; ".join(dict.fromkeys(complaint(one) for one in cause.errors()))


def _show(problem: typer.BadParameter) -> None:
    """A command line that was not understood, to the person who typed it."""
    if language.current() == language.DEFAULT:
        problem.show()
    else:
        from plant3d_sync.cli.spoken import mistake

        sys.stderr.write(mistake(problem))


def _usage(problem: typer.BadParameter) -> SyncError:
    """What the parser did not understand, as every other error is reported."""
    path = problem.ctx.command_path if problem.ctx is not None else "plant3d-sync"
    asked_nothing = type(problem).__name__ == "NoArgsIsHelpError"  # it holds the whole help
    what = "Missing command." if asked_nothing else problem.format_message().strip()
    what += "" if what.endswith((".", "?")) else "."
    return NotFoundError(
        " ".join((what, "Nothing was done.")),
        hint=f"`{path} --help` lists arguments and options.",
        code="usage",
    )


def main() -> None:
    """Console script."""
    hide_in_tracebacks()
    gc.freeze()
    if _command(sys.argv[1:]) not in LASTING:
        gc.set_threshold(50_000, 20, 50)  # a run makes many small objects and no cycles
    sys.exit(run())
