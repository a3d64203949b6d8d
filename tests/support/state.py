"""State databases that many tests begin with."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from plant3d_sync.state.store import State


@functools.cache
def empty_state() -> bytes:
    """A state database with its schema and nothing in it, made once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        state = State(f"sqlite:///{path}")
        state.ready()
        with state.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        state.close()
        return path.read_bytes()
