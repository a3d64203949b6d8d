"""What several unit tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.state import State
from plant3d_sync.state import projects as project_state
from tests.support.state import empty_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state that knows the project `mine` and nothing of it; a file of tests may have its own."""
    (tmp_path / "state.db").write_bytes(empty_state())
    made = State(f"sqlite:///{tmp_path / 'state.db'}")
    with made.write() as connection:
        project_state.ensure(connection, "mine")
    yield made
    made.close()
