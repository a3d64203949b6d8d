"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from plant3d_sync.state.tables import metadata
from tests.support.jobs import Queueing, queueing
from tests.support.synapse_dev import new_database, postgresql


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a state database of that kind, made once."""
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def address(kind: str) -> str:
            if kind not in made and kind == "sqlite":
                made[kind] = f"sqlite:///{tmp_path_factory.mktemp('state') / 'state.db'}"
            elif kind not in made:
                made[kind] = new_database(stack.enter_context(postgresql()))
            return made[kind]

        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs(request: pytest.FixtureRequest, databases: Callable[[str], str]) -> Iterator[Queueing]:
    with queueing(databases(request.param)) as made:
        made.clock.now = 1_800_000_000.0  # a whole multiple of five minutes
        yield made
        with made.world.state.write() as connection:
            for table in reversed(metadata.sorted_tables):
                if not table.name.startswith("audit"):  # append-only, by triggers
                    connection.execute(sa.delete(table))
