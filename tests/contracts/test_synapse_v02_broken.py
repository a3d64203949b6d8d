"""The adapter for SYNAPSE 0.2 keeps its promises on the double, and an adapter broken in any known way is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plant3d_sync.connectors.synapse_v02 import read
from plant3d_sync.errors import SyncError
from tests.support.v02_promises import BREAKS, OUR_CALLS, SCENES, Break, Scene, put_in


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(read, "_WALKED", set())
    return Scene()


@pytest.mark.parametrize("promise", SCENES, ids=lambda one: one.__name__)
def test_the_promise_is_kept(promise: Callable[[Scene], None], scene: Scene) -> None:
    promise(scene)
    assert {call for call in scene.backend.calls if call[0] != "GET"} <= OUR_CALLS
    assert not scene.traps.harms, "a harm was not met"


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: f"{one.what}, at {one.noticed_by.__name__}")
def test_an_adapter_broken_so_is_noticed(one: Break, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(one, monkeypatch)
    with pytest.raises((AssertionError, SyncError)):
        one.noticed_by(scene)
