"""The stage of a file of worlds, and one world on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worlds.play import Stage, stage
from tests.worlds.world import World


@pytest.fixture(scope="module")
def on() -> Iterator[Stage]:
    with stage() as made:
        yield made


@pytest.fixture
def world(on: Stage) -> Iterator[World]:
    made = on.begin()
    yield made
    made.close()
