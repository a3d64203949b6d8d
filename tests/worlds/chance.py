"""Worlds at random. Some share a beginning, which is played once; from there each goes its own way to its rest.

A seed tells the same story each time. A move that cannot be made now (an undo where nothing ran) is drawn again: what
is told are the moves that did something.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.worlds import moves, oracle
from tests.worlds.play import Failure, Stage, Story, act, leads_to, situation
from tests.worlds.themes import THEMES, Theme
from tests.worlds.world import CLOCK, World

FAMILY = 8
"""So many worlds share a beginning."""
TAIL = 1, 2
"""A world goes on alone for so many moves, from and to."""
RARE = 3
"""So many rare moves are made often in a family."""
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
            of_its_own = chance.random() < 0.75
            pool: Sequence[str] = self.theme.moves if of_its_own else sorted(chance.choice(self.pools))
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
        elders = range(number * FAMILY, min((number + 1) * FAMILY, seeds.stop))
        yield from (told for told in _family(on, number, elders, over_http) if told[0] in seeds)


def _rare_moves(number: int) -> list[str]:
    """The rare moves that this family makes often: each of them has its turn, in changing company."""
    names = sorted(moves.RARE)
    turns = -(-len(names) // RARE)
    cycle, turn = divmod(number, turns)
    random.Random(f"turns {cycle}").shuffle(names)
    return names[turn * RARE : (turn + 1) * RARE]


def _family(
    on: Stage, number: int, seeds: range, over_http: bool
) -> Iterator[tuple[int, Story, Failure | None]]:
    chance = random.Random(f"family {number}")
    theme = THEMES[chance.choice(sorted(THEMES))] if chance.random() < 0.5 else None
    featured = {name: moves.RARE[name] for name in _rare_moves(number)}
    cast = Cast(
        theme=theme,
        own=chance.choice(on.tags),
        pools=[
            *[moves.PEOPLE] * 3,
            *[moves.COMMANDS] * 3,
            *[moves.MIDDLE] * 2,
            moves.DEATHS,
            moves.RARE,
            *[featured] * 4,
        ],
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
        more = chance.randint(0, 3) if theme else chance.randint(2, 5)
        if failure := _goes_on(begins, story, chance, cast, more):
            yield from ((seed, tuple(story), failure) for seed in seeds[-1:])
            return
        stands, met = CLOCK.now, set[str]()
        for seed in seeds:
            CLOCK.now = stands
            yield seed, *_own_way(on.copy(begins), [*story], random.Random(seed), cast, met)
    finally:
        begins.close()


def _own_way(
    world: World, story: Told, chance: random.Random, cast: Cast, met: set[str]
) -> tuple[Story, Failure | None]:
    """Some moves more, until it stands where none of its elders stood, and the rest."""
    try:
        failure = _goes_on(world, story, chance, cast, chance.randint(*TAIL))
        for _ in range(TAIL[1]):
            if failure is None and situation(world) in met:
                failure = _goes_on(world, story, chance, cast, 1)
        if failure is None:
            met.add(situation(world))
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
