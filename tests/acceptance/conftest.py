"""Worlds for acceptance tests: one reference SYNAPSE a test process, one project and one database copy a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.world import MakeWorld, World, new_world, template

CANARY = "canary-7Qf3-key-that-must-never-be-seen"


@pytest.fixture(scope="session")
def reference_synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key=CANARY) as running:
        yield running


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture
def make_world(tmp_path: Path, reference_synapse: RunningSynapse, samples: Path) -> MakeWorld:
    """`make_world(items=200, dirty=0.1, **project settings)`."""

    def make(
        *, items: int = 80, dirty: float = 0.0, seed: int = 0, name: str = "world", **options: Any
    ) -> World:
        dcf = template(samples, items=items, dirty=dirty, seed=seed)
        return new_world(tmp_path / name, reference_synapse, dcf, **options)

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Eighty items, nothing pulled yet."""
    return make_world()


@pytest.fixture
def settled(world: World) -> World:
    """Eighty items, pulled once."""
    world.pulled()
    return world
