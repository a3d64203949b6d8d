"""The acceptance journey with the reference SYNAPSE; the same journey runs on every other SYNAPSE we speak to."""

from __future__ import annotations

import pytest

from tests.support.journey import KILLED_AT, SETTINGS, ContractSide, Journey
from tests.support.world import MakeWorld


@pytest.mark.long
def test_the_journey_on_the_reference_server(make_world: MakeWorld) -> None:
    world = make_world(items=200, **SETTINGS)
    Journey(world=world, side=ContractSide(world=world), killed_at=KILLED_AT[:1]).whole()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_journey_of_five_thousand_on_the_reference_server(make_world: MakeWorld) -> None:
    world = make_world(items=5000, **SETTINGS)
    Journey(world=world, side=ContractSide(world=world)).whole()
