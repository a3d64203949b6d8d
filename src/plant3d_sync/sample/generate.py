"""`write_sample`: a synthetic P&ID project database with the real structure.

Everything is derived from the arguments: the same arguments give the same logical content. The file
is written under another name next to the target and renamed when it is complete.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from plant3d_sync.errors import ConfigError
from plant3d_sync.sample.hazards import Hazards, plant_hazards
from plant3d_sync.sample.plant import Plant
from plant3d_sync.sample.schema import ENTITY_ROOTS, ClassDef, Style, descendants
from plant3d_sync.sample.writer import Writer

EPOCH = datetime(2025, 1, 6, 13, 0, tzinfo=UTC)
"""When the first row of a sample was written, unless asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReport:
    """What was written. `by_entity` counts the `PnPBase` rows whose class makes them an asset.

    `hazards` counts each planted hazard exactly; `hazard_ids` names the `PnPID`s it touches (both
    partners of a duplicate tag, the drawing of an empty drawing number).
    """

    path: Path
    items: int
    by_entity: dict[str, int]
    drawings: int
    hazards: dict[str, int]
    hazard_ids: dict[str, tuple[int, ...]]
    pnpbase_rows: int


def write_sample(
    path: Path,
    *,
    items: int = 2000,
    dirty: float = 0.0,
    seed: int = 0,
    style: Style = "2025",
    epoch: datetime = EPOCH,
) -> SampleReport:
    """Write a new sample database with exactly `items` assets; `dirty` of them meet a hazard.

    Raises ConfigError `target_exists`, `target_folder_missing`, `sample_arguments` or
    `target_not_written`; in each case nothing is left behind.
    """
    path = Path(path)
    _check_arguments(path, items, dirty, epoch)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        report = _write(temporary, path, items=items, dirty=dirty, seed=seed, style=style, epoch=epoch)
        temporary.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"The sample database could not be written to {path}: {error}. Nothing was left behind.",
            code="target_not_written",
            hint="Check the free space and your rights in that folder, or choose another path.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return report


def _check_arguments(path: Path, items: int, dirty: float, epoch: datetime) -> None:
    if items < 1 or not 0.0 <= dirty <= 1.0 or epoch.tzinfo is None:
        raise ConfigError(
            f"A sample of {items} items with a dirty share of {dirty} from {epoch} cannot be written; "
            "nothing was written.",
            code="sample_arguments",
            hint="Ask for at least 1 item, a dirty share between 0 and 1, and a time with a time zone.",
        )
    if os.path.lexists(path):
        raise ConfigError(
            f"{path} exists already. It was not touched and no sample was written.",
            code="target_exists",
            hint="Choose another path, or delete the file yourself if you do not need it.",
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"The folder {path.parent} does not exist; no sample was written.",
            code="target_folder_missing",
            hint="Create the folder first, or choose another path.",
        )


def _write(
    temporary: Path, path: Path, *, items: int, dirty: float, seed: int, style: Style, epoch: datetime
) -> SampleReport:
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {4096 if style == '2025' else 1024}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        writer = Writer(connection, Random(seed), style=style, epoch=epoch)
        plant = Plant(writer, items)
        plant.build()
        hazards = plant_hazards(writer, plant, hits=round(dirty * items))
        writer.finish()
        connection.execute("COMMIT")
        return _report(connection, path, items, len(plant.drawings), hazards, writer.classes)
    finally:
        connection.close()


def _report(
    connection: sqlite3.Connection,
    path: Path,
    items: int,
    drawings: int,
    hazards: Hazards,
    classes: Mapping[str, ClassDef],
) -> SampleReport:
    counted: Counter[str] = Counter()
    total = 0
    members = {e: descendants(classes, root) for e, root in ENTITY_ROOTS.items()}
    for name, count in connection.execute("SELECT PnPClassName, count(*) FROM PnPBase GROUP BY 1"):
        total += count
        for entity, names in members.items():
            if name in names:
                counted[entity] += count
    return SampleReport(
        path=path,
        items=items,
        by_entity={entity: counted[entity] for entity in ENTITY_ROOTS},
        drawings=drawings,
        hazards={name: count for name, count in hazards.counts.items() if count},
        hazard_ids={name: tuple(ids) for name, ids in hazards.ids.items() if ids},
        pnpbase_rows=total,
    )
