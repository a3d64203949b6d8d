"""One SYNAPSE, one freezer and one drawn plant a test process; a world of its own for each story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.freezer import Freezer, freezer
from tests.support.story import Restorable, Story, Tell, new_story, plant
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

TellRestorable = Callable[..., Restorable]


@pytest.fixture(scope="session")
def story_synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="stories") as running:
        yield running


@pytest.fixture(scope="session")
def story_freezer() -> Iterator[Freezer]:
    with freezer() as made:
        yield made


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "plant.dcf"
    plant(path)
    return path


@pytest.fixture(scope="session")
def drawn_without_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project has no column ModelNumber yet."""
    path = tmp_path_factory.mktemp("drawn") / "plant.dcf"
    plant(path, model=False)
    return path


@pytest.fixture(scope="session")
def drawn_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than three hundred items."""
    path = tmp_path_factory.mktemp("drawn") / "plant.dcf"
    plant(path, more_pumps=302)
    return path


@pytest.fixture
def restorable(tmp_path: Path, drawn: Path, story_freezer: Freezer) -> Iterator[TellRestorable]:
    """`restorable(**project settings)`: a story whose SYNAPSE can be put back to an earlier day."""
    database = tmp_path / "synapse.db"
    with synapse_in_thread(str(database), api_key="stories") as running:

        def tell(**options: Any) -> Restorable:
            story = new_story(tmp_path / "story", running, drawn, story_freezer, **options)
            return Restorable(story=story, database=database)

        yield tell


@pytest.fixture
def unpulled(tmp_path: Path, story_synapse: RunningSynapse, drawn: Path, story_freezer: Freezer) -> Tell:
    """`unpulled(**project settings)`: a story before its first run."""

    def tell(*, name: str = "story", dcf: Path = drawn, **options: Any) -> Story:
        return new_story(tmp_path / name, story_synapse, dcf, story_freezer, **options)

    return tell


@pytest.fixture
def tell(unpulled: Tell) -> Tell:
    """`tell(share_model=True, **project settings)`: a story whose sides agree."""

    def pulled(*, share_model: bool = False, **options: Any) -> Story:
        story = unpulled(**options)
        if share_model:
            story.shares_model()
        assert story.run.now().code == 0, story.world.heard[-1]
        return story

    return pulled
