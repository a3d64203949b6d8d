"""`write_project`: a project folder around a sample database, with placeholder drawings.

The drawings hold nothing but a file head: they are there for what looks at files next to them, such
as AutoCAD's lock files (`*.dwl`, `*.dwl2`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

from plant3d_sync.errors import ConfigError
from plant3d_sync.sample.generate import SampleReport, write_sample
from plant3d_sync.sample.plantdata import PROJECT_DESCRIPTION, PROJECT_NAME
from plant3d_sync.sample.schema import Style

DATABASE_NAME = "ProcessPower.dcf"
DRAWING_FOLDER = "PID DWG"
_DWG_HEAD = b"AC1032" + bytes(122)  # the release mark of AutoCAD 2018 to 2026, then nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectReport:
    """A written project folder: its database report (with the final path) and its drawing files."""

    folder: Path
    database: Path
    drawings: tuple[Path, ...]
    sample: SampleReport


def write_project(
    folder: Path, *, items: int = 2000, dirty: float = 0.0, seed: int = 0, style: Style = "2025"
) -> ProjectReport:
    """Write a new project folder: `Project.xml`, `ProcessPower.dcf` and `PID DWG`.

    Raises what `write_sample` raises; an existing folder is `target_exists`. It appears complete or
    not at all.
    """
    folder = Path(folder)
    if os.path.lexists(folder):
        raise ConfigError(
            f"{folder} exists already. It was not touched and no project was written.",
            code="target_exists",
            hint="Choose another folder.",
        )
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        (temporary / DRAWING_FOLDER).mkdir(parents=True)
        sample = write_sample(temporary / DATABASE_NAME, items=items, dirty=dirty, seed=seed, style=style)
        names = _drawing_names(temporary / DATABASE_NAME)
        for name in names:
            (temporary / DRAWING_FOLDER / name).write_bytes(_DWG_HEAD)
        (temporary / "Project.xml").write_text(_project_xml(style), encoding="utf-8")
        temporary.rename(folder)
    except OSError as error:
        raise ConfigError(
            f"The project could not be written to {folder}: {error}. Nothing was left behind.",
            code="target_not_written",
            hint="Check the free space and your rights in that folder, or choose another one.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ProjectReport(
        folder=folder,
        database=folder / DATABASE_NAME,
        drawings=tuple(folder / DRAWING_FOLDER / name for name in names),
        sample=replace(sample, path=folder / DATABASE_NAME),
    )


def _drawing_names(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT [Dwg Name] FROM PnPDrawings ORDER BY PnPID").fetchall()
    finally:
        connection.close()
    return [str(name) for (name,) in rows if str(name).endswith(".dwg")]


def _project_xml(style: Style) -> str:
    major = "92" if style == "2025" else "9"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<Project Name={quoteattr(PROJECT_NAME)} Description={quoteattr(PROJECT_DESCRIPTION)} "
        f'VersionMajor="{major}" VersionMinor="1">\n'
        '  <ProjectParts>\n    <ProjectPart Name="PnId" FileName="PnIdPart.xml" '
        'RelativeFileName="PnIdPart.xml" />\n  </ProjectParts>\n</Project>\n'
    )
