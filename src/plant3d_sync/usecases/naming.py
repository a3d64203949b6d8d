"""What a caller names must exist before anything is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from plant3d_sync.errors import NotFoundError
from plant3d_sync.state import State, links


def check_assets(state: State, project: str, asset_ids: Iterable[str]) -> None:
    """Raise NotFoundError `asset_unknown` unless every id is an asset we know in this project."""
    with state.read() as connection:
        unknown = links.unknown_assets(connection, project, asset_ids)
    if unknown:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise NotFoundError(
            f"{project} has no asset with the id {shown}. Nothing was done.",
            hint="Use the ids of SYNAPSE; a pull makes new assets known.",
            code="asset_unknown",
            details={"asset_ids": unknown[:100]},
        )
