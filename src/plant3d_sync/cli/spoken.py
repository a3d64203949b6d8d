"""What the parser of the command line says of itself, in the language of this call: help, and what it did not understand.

Typer has its words inside and no catalogue for them. They are put into our language where they are written: by the
formatter of its help, and where a mistake is shown. `docs/texts.py` lists them (`PARSER`), so that the catalogue has them.
Loaded only for another language than English.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import typer

from plant3d_sync.language import heading, tr

_FACTS = re.compile(r"^(.*?)(?:^|  )\[([^\[\]]+)\]$", re.DOTALL)
"""`What it is.  [default: 20; 1<=x<=1000]`: the help of a parameter, and what the parser adds to it."""
_KIND = re.compile(r"<[\w ]+>")
_EXAMPLE = "Example:"
_FIRST = re.compile(r"(?<=[.!?])\s")


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Writes headings, and the words that stand next to a parameter, in our language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """`Usage: …`"""
        super().write_usage(prog, args, f"{heading('Usage:')} " if prefix is None else prefix)

    def write_heading(self, name: str) -> None:
        """`Options:` and its like."""
        self.write(f"{'':>{self.current_indent}}{heading(f'{name}:')}\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Parameters or commands, each with its help."""
        spoken = [(_KIND.sub(lambda kind: heading(kind[0]), name), _beside(text)) for name, text in rows]
        super().write_dl(spoken, col_max, col_spacing)


def _beside(text: str) -> str:
    found = _FACTS.match(text)
    if found is None:
        return tr(text)
    facts = "; ".join(heading(one) if one.isalpha() else tr(one) for one in found[2].split("; "))
    return "  ".join(filter(None, (tr(found[1]), f"[{facts}]")))


def speak(command: Any) -> None:
    """Have a command and all below it tell their help in the language of this call."""
    command.context_class = type("Context", (command.context_class,), {"formatter_class": _Formatter})
    if command.help:
        parts = [" ".join(one.split()) for one in inspect.cleandoc(command.help).split("\n\n")]
        told = [
            heading(_EXAMPLE) + one.removeprefix(_EXAMPLE) if one.startswith(_EXAMPLE) else tr(one)
            for one in parts
        ]
        command.help = "\n\n".join(told)
        command.short_help = _FIRST.split(told[0], maxsplit=1)[
            0
        ]  # whole: what is cut at a length says nothing
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = tr(parameter.help)
    if hasattr(command, "subcommand_metavar"):
        command.subcommand_metavar = heading(command.subcommand_metavar)
    for one in getattr(command, "commands", {}).values():
        speak(one)


def mistake(problem: Any) -> str:
    """What the parser shows of a command line that it did not understand."""
    written = StringIO()
    problem.show(written)
    shown, error, what = written.getvalue().partition("\nError: ")
    lines = [tr(line) for line in shown.split("\n")]
    return "\n".join(lines) + ("\n" + tr(f"Error: {what.strip()}") + "\n" if error else "")
