"""What every command shares: where the configuration is, and how errors become exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.errors import Interrupted, NotFoundError
from plant3d_sync.language import choose
from plant3d_sync.model.side import Entity
from plant3d_sync.words import said


class Choices(msgspec.Struct):
    """Options that stand before the command."""

    config: str | None = None
    json: bool = False
    language: str | None = None


CHOICES = Choices()

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, progress on stderr.")]
ProjectArgument = Annotated[str, typer.Argument(help="Project name as configured, or its SYNAPSE UUID.")]


def wants_json(flag: bool) -> bool:
    """Remember the choice, so that an error is printed as JSON too."""
    CHOICES.json = CHOICES.json or flag
    return CHOICES.json


def speaks(made: App) -> None:
    """The language of its settings, unless somebody asked for another."""
    if CHOICES.language is None:
        choose(made.language)


@contextmanager
def app() -> Iterator[App]:
    """Settings, configuration, state; closed at the end. Raises Interrupted (Ctrl-C)."""
    made = make_app(CHOICES.config)
    speaks(made)
    try:
        yield made
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted. What was written is recorded.", hint="The next run continues."
        ) from None
    finally:
        if "state" in made.__dict__:
            made.state.close()


def entities(text: str | None) -> frozenset[Entity]:
    """`equipment,valves` as entities; nothing means all."""
    if not text:
        return frozenset(Entity)
    words = [name.strip().lower() for name in text.split(",")]
    known = ", ".join((*Entity, "all"))
    for word in words:
        if word != "all" and word not in set(Entity):
            raise NotFoundError(
                f"{said(word)} is not an entity type. Nothing was done.",
                hint=f"Entity types: {known}.",
                code="entity_type_unknown",
            )
    return frozenset(Entity if "all" in words else map(Entity, words))
