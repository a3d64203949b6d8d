"""Commands of this group."""

from __future__ import annotations

import typer


def register(cli: typer.Typer) -> None:
    """Add the commands."""
