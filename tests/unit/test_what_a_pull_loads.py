"""A scheduled pull starts every few minutes: it imports what a pull needs, and nothing for other commands."""

from __future__ import annotations

import subprocess
import sys

NOT_FOR_A_PULL = (
    "alembic",
    "fastapi",
    "openpyxl",
    "psycopg",
    "redis",
    "rq",
    "structlog",
    "sqlalchemy.dialects.postgresql",
    "plant3d_sync.cli.way_back_commands",
    "plant3d_sync.connectors.plant3d.writing.writer",
    "plant3d_sync.connectors.synapse_v02",
    "plant3d_sync.sample",
    "plant3d_sync.synapse_dev",
    "plant3d_sync.usecases.findings",
    "plant3d_sync.usecases.findings_export",
    "plant3d_sync.usecases.linking",
    "plant3d_sync.usecases.naming",
    "plant3d_sync.web",
    "plant3d_sync.worker",
)


def test_a_pull_loads_nothing_that_only_other_commands_need() -> None:
    code = (
        "import sys; from plant3d_sync.cli.main import run; "
        "assert run(['pull', '--help']) == 0; "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "plant3d_sync.run.engine" in loaded  # what a pull is made of is there, help or not
    assert sorted(loaded.intersection(NOT_FOR_A_PULL)) == []
