"""Worlds at random. Some share a beginning, which is played once; from there each goes its own way to its rest.

A seed tells the same story each time. A move that cannot be made now (an undo where nothing ran) is drawn again: what
is told are the moves that did something.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.worlds import moves, oracle
from tests.worlds.play import Failure, Stage, Story, act, leads_to
from tests.worlds.themes import THEMES, Theme
from tests.worlds.world import CLOCK, World

FAMILY = 5
"""So many worlds share a beginning."""
TAIL = 1, 3
"""A world goes on alone for so many moves, from and to."""
TRIES = 6
"""So often a move is drawn again, for each that is wanted."""

Told = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What the worlds of a family are about."""

    theme: Theme | None
    own: str
    """The item that most moves are about."""
    pools: Sequence[Mapping[str, moves.Move]]
    over_http: bool

    def draws(self, world: World, chance: random.Random) -> tuple[str, str]:
        """A move and its item; one in ten of those that may be said to the API is."""
        if self.theme is not None:
            pool: Sequence[str] = self.theme.moves if chance.random() < 0.85 else sorted(moves.SMALL)
            tag = self.theme.item
        else:
            pool = sorted(chance.choice(self.pools))
            own = "P-9" if "P-9" in world.items else self.own
            tag = own if chance.random() < 0.8 else chance.choice(sorted(world.items))
        name = chance.choice(pool)
        if "draws P-9" in name:
            tag = min(world.items)
        if chance.random() < 0.1 and self.over_http and name + moves.OVER_HTTP in moves.SAID:
            name += moves.OVER_HTTP
        return name, tag


def families(
    on: Stage, seeds: range, *, over_http: bool = True
) -> Iterator[tuple[int, Story, Failure | None]]:
    """What happens in the worlds of these seeds, and which promise breaks there."""
    for number in range(seeds.start // FAMILY, (seeds.stop - 1) // FAMILY + 1):
        mine = [seed for seed in range(number * FAMILY, (number + 1) * FAMILY) if seed in seeds]
        yield from _family(on, number, mine, over_http)


def _family(
    on: Stage, number: int, seeds: list[int], over_http: bool
) -> Iterator[tuple[int, Story, Failure | None]]:
    chance = random.Random(f"family {number}")
    theme = THEMES[chance.choice(sorted(THEMES))] if chance.random() < 0.5 else None
    rare = chance.random() < 0.6
    pools = [moves.PEOPLE] * 4 + [moves.COMMANDS] * 3 + [moves.MIDDLE] * 2 + [moves.DEATHS]
    cast = Cast(
        theme=theme,
        own=chance.choice(on.tags),
        pools=pools + [moves.RARE] * 2 if rare else pools,
        over_http=over_http,
    )
    begins = on.begin()
    try:
        first: Told = (
            [("now", on.tags[0])] if chance.random() < 0.3 else []
        )  # a decision stands in this very file
        story: Told = []
        for name, tag in [*first, *(leads_to(theme) if theme else ())]:
            act(begins, name, tag)
            story.append((name, tag))
        more = chance.randint(0, 2) if theme else chance.randint(1, 4)
        if failure := _goes_on(begins, story, chance, cast, more):
            yield seeds[0], tuple(story), failure
            return
        stands = CLOCK.now
        for seed in seeds:
            CLOCK.now = stands
            yield seed, *_own_way(on.copy(begins), [*story], random.Random(seed), cast)
    finally:
        begins.close()


def _own_way(world: World, story: Told, chance: random.Random, cast: Cast) -> tuple[Story, Failure | None]:
    """Some moves more, and the rest."""
    try:
        failure = _goes_on(world, story, chance, cast, chance.randint(*TAIL))
        if failure is None:
            oracle.judge(world)
    except oracle.Broken as broken:
        failure = Failure(tuple(story), str(broken))
    except Exception as error:  # noqa: BLE001 - the program fell over: that is a finding
        failure = Failure(tuple(story), f"{type(error).__name__}: {error}")
    finally:
        world.close()
    return tuple(story), failure


def _goes_on(world: World, story: Told, chance: random.Random, cast: Cast, count: int) -> Failure | None:
    """So many moves that do something."""
    for _ in range(TRIES * count):
        if not count:
            break
        story.append(cast.draws(world, chance))
        try:
            did = act(world, *story[-1])
        except Exception as error:  # noqa: BLE001 - the program fell over: that is a finding
            return Failure(tuple(story), f"{type(error).__name__}: {error}")
        if did:
            count -= 1
        else:
            story.pop()
    return None
