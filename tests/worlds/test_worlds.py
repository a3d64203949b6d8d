"""Whole worlds, played to their rest: every short order of moves, and stories that ever failed.

The ordinary suite plays for half a minute; the rest runs with `dev.py test --long`. Worlds at random are in
`test_random_worlds.py`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from fastapi.routing import APIRoute

from docs import generate
from plant3d_sync.failpoints import ALL_POINTS
from plant3d_sync.web import routes
from tests.worlds import moves
from tests.worlds.amounts import CORE_LENGTH, LONG_CORE_LENGTH, SMALL_LENGTH
from tests.worlds.early import EARLY
from tests.worlds.oracle import Broken
from tests.worlds.play import Failure, Stage, Story, act, every_order, every_order_of, stage
from tests.worlds.regressions import REGRESSIONS, STILL_BROKEN
from tests.worlds.themes import THEMES
from tests.worlds.world import Points


@pytest.fixture(scope="module")
def small() -> Iterator[Stage]:
    """One item with a shared and an owned field."""
    with stage("P-1") as made:
        yield made


def plays_well(on: Stage, story: Story) -> None:
    failure = on.play(story)
    assert failure is None, f"\n{on.shortened(failure)}"


@pytest.mark.parametrize("story", REGRESSIONS, ids=lambda story: "; ".join(name for name, _tag in story))
def test_a_story_that_ever_failed_holds(on: Stage, story: Story) -> None:
    plays_well(on, story)


@pytest.mark.parametrize("number", EARLY)
def test_a_story_that_broke_an_early_version_holds(on: Stage, number: int) -> None:
    plays_well(on, EARLY[number])


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(story, marks=pytest.mark.xfail(strict=True, raises=Broken, reason=why))
        for why, story in STILL_BROKEN.items()
    ],
    ids=lambda story: "; ".join(name for name, _tag in story),
)
def test_a_story_that_still_fails(on: Stage, story: Story) -> None:
    failure = on.play(story)
    if failure is not None:
        raise Broken(failure.broken)


def test_every_order_of_the_core_moves_holds(small: Stage) -> None:
    *failures, played = every_order(small, CORE_LENGTH, moves.CORE)
    assert failures == [] and isinstance(played, int) and played > 15


@pytest.mark.long
@pytest.mark.timeout(36000)
def test_every_longer_order_of_the_core_moves_holds(small: Stage) -> None:
    failures = [
        told for told in every_order(small, LONG_CORE_LENGTH, moves.CORE) if isinstance(told, Failure)
    ]
    assert failures == []


@pytest.mark.long
@pytest.mark.timeout(36000)
def test_every_order_of_the_small_moves_holds(small: Stage) -> None:
    failures = [
        told for told in every_order(small, SMALL_LENGTH, tuple(moves.SMALL)) if isinstance(told, Failure)
    ]
    assert failures == []


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", THEMES)
def test_every_order_of_a_theme_holds(on: Stage, name: str) -> None:
    failures = [told for told in every_order_of(on, THEMES[name]) if isinstance(told, Failure)]
    assert failures == []


# ---------------------------------------------------------------- is anything left out?


def test_every_move_of_a_theme_is_a_move() -> None:
    assert {name for theme in THEMES.values() for name in (*theme.before, *theme.moves)} <= moves.EVERY.keys()


def test_every_command_has_a_move_or_a_reason_why_not() -> None:
    known = {entry.words for entry in generate.commands()}
    assert known == {*moves.PLAYED, *moves.NOT_PLAYED}
    assert set(moves.PLAYED.values()) - {""} <= moves.EVERY.keys()
    assert not moves.PLAYED.keys() & moves.NOT_PLAYED.keys()


def test_every_verb_of_the_api_that_changes_something_has_a_move_or_a_reason_why_not() -> None:
    modules = [
        import_module(f"{routes.__name__}.{one.name}") for one in pkgutil.iter_modules(routes.__path__)
    ]
    every = [route for module in modules if hasattr(module, "router") for route in module.router.routes]
    changing = {
        route.operation_id for route in every if isinstance(route, APIRoute) and "GET" not in route.methods
    }
    assert changing == moves.VERBS.keys()
    assert {
        played + moves.OVER_HTTP for played in moves.VERBS.values() if not played.startswith("no move")
    } <= moves.SAID.keys()


def test_every_point_where_a_move_acts_is_passed_by_a_run(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a point that no run passes any more nobody would act, and nobody would notice."""
    named = {point for name in moves.EVERY for point in ALL_POINTS if f"at {point}" in name}
    passed, get = set(), Points.get

    def notes(points: Points, name: str, otherwise: object) -> object:
        passed.add(name)
        return get(points, name, otherwise)

    monkeypatch.setattr(Points, "get", notes)
    for story in (
        ("the designer types a model", "now"),
        ("the user types", "now"),
        ("the designer types", "now, killed at pull.reply_received", "the designer types", "now"),
        (
            "the designer deletes the item",
            "now, killed at pull.reply_received",
            "the user restores the asset",
            "now",
        ),
    ):
        world = small.begin()
        for name in story:
            act(world, name, "P-1")
        world.close()
    assert named and named - passed == set()


# ---------------------------------------------------------------- does the oracle bite?


def test_words_that_do_not_arrive_are_seen(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = moves.EVERY["the designer types"]

    def types_and_loses(world: object, tag: str) -> bool:
        done = real(world, tag)  # type: ignore[arg-type]
        world.saves(tag, "Description", "something else")  # type: ignore[attr-defined]
        return done

    monkeypatch.setitem(moves.EVERY, "the designer types", types_and_loses)
    failure = on.play((("the designer types", "P-1"), ("now", "P-1")))
    assert failure is not None and "'designer 1'" in failure.broken
