"""Play stories, and moves in every order up to a length; a failing story is shortened and told.

python -m tests.worlds --seeds 5000 --first 0 --workers 2    random worlds
python -m tests.worlds --length 3 --workers 2                every order of the small moves
python -m tests.worlds --story "now; the designer types; …"
"""

from __future__ import annotations

import copy
import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plant3d_sync.model.fields import flat
from tests.worlds import moves, oracle
from tests.worlds.themes import Theme
from tests.worlds.world import BETWEEN_MOVES, CLOCK, Row, World, beginning, ports, somewhere

OFTEN = ("description", "model", "manufacturer")
"""Fields that every item has."""
Story = tuple[tuple[str, str], ...]
"""Moves in their order: what, and on which item."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A story that breaks a promise."""

    story: Story
    broken: str

    def __str__(self) -> str:
        lines = [f"{number}. {name} ({tag})" for number, (name, tag) in enumerate(self.story, 1)]
        return "\n".join([*lines, f"then: {self.broken}"])


class Stage:
    """Where stories are played: each begins with a copy of the same settled world."""

    def __init__(self, folder: Path, tags: tuple[str, ...]) -> None:
        self._folder, self._count = folder, 0
        self.tags = tags
        self.first = beginning(folder / "first", tags=tags)
        self._now = CLOCK.now

    def begin(self) -> World:
        CLOCK.now = self._now
        return self.copy(self.first)

    def copy(self, world: World) -> World:
        self._count += 1
        return world.copy(self._folder / str(self._count))

    def aside(self, number: int) -> Stage:
        """The same stage for another process: its copies have names of their own."""
        twin = copy.copy(self)
        twin._folder = self._folder / f"aside-{number}-{self._count}"
        return twin

    def play(self, story: Story) -> Failure | None:
        """Play it to its rest. None if every promise holds."""
        world = self.begin()
        try:
            for name, tag in story:
                act(world, name, tag)
            oracle.judge(world)
        except oracle.Broken as broken:
            return Failure(story, str(broken))
        except Exception as error:  # noqa: BLE001 - the program fell over: that is a finding
            return Failure(story, f"{type(error).__name__}: {error}")
        finally:
            world.close()
        return None

    def shortened(self, failure: Failure) -> Failure:
        """The same failure with as few moves as possible."""
        shorter = True
        while shorter:
            shorter = False
            for place in reversed(range(len(failure.story))):
                found = self.play(failure.story[:place] + failure.story[place + 1 :])
                if found is not None:
                    failure, shorter = found, True
                    break
        return failure


def act(world: World, name: str, tag: str) -> bool:
    """One move, some time after the one before. What cannot be done now is nothing: nobody did anything."""
    told, before = world.told, CLOCK.now
    meant = set(told.left_alone), set(told.decided), dict(told.undone)
    CLOCK.now += BETWEEN_MOVES
    move, name = moves.EVERY[name], name.removesuffix(moves.OVER_HTTP)
    told.moves.append(name)
    if name not in moves.CARRIES_OUT:
        told.left_alone.clear()
    if name in moves.ELSEWHERE:
        told.decided -= {(of, field) for of, field in told.decided if field == "*"}
    elif name not in moves.CARRIES_OUT:
        told.decided.clear()
    if name not in moves.CARRIES_OUT and not name.startswith("undo"):
        told.undone.clear()
    if tag in world.items and move(world, tag):
        return True
    CLOCK.now = before
    told.moves.pop()
    told.left_alone, told.decided, told.undone = meant
    return False


def happens(world: World, *names: str, tag: str = "P-1") -> None:
    """These moves, each of which can be done."""
    for name in names:
        assert act(world, name, tag), name


@contextmanager
def stage(*tags: str) -> Iterator[Stage]:
    """A stage with these items (all of them unless told)."""
    with somewhere() as folder, ports():
        yield Stage(folder, tags or ("P-1", "P-2", "HV-1"))


# ---------------------------------------------------------------- in every order


def leads_to(theme: Theme) -> Story:
    """The moves that come before a theme."""
    return tuple((name, "P-1" if "draws" in name else theme.item) for name in theme.before)


@dataclass(slots=True)
class Reached:
    """A world that was met first by this story, and the moment it stands at."""

    story: Story
    world: World
    at: float
    situation: str


Level = list[Reached]


def every_order_of(on: Stage, theme: Theme, length: int = 0, workers: int = 1) -> Iterator[Failure | int]:
    """Every story of a theme, up to its own length unless told."""
    return every_order(
        on, length or theme.length, theme.moves, workers, before=leads_to(theme), tag=theme.item
    )


def every_order(
    on: Stage, length: int, names: Sequence[str], workers: int = 1, *, before: Story = (), tag: str = ""
) -> Iterator[Failure | int]:
    """Every story of these moves up to a length; equal situations are met once. Yields failures, at last the number."""
    met: set[str] = set()
    begins = on.begin()
    for name, of in before:
        act(begins, name, of)
    tag = tag or on.tags[0]
    level: Level = [Reached(before, begins, CLOCK.now, "")]
    for depth in range(1, length + 1):
        parts = [level[number::workers] for number in range(workers)]
        if workers > 1 and len(level) > workers:
            found = _beside(on, parts, names, met, tag, deeper=depth < length)
        else:
            found = list(_longer(on, level, names, met, tag, deeper=depth < length))
        level = []
        for one in found:
            if isinstance(one, Failure):
                yield one
            elif one.situation not in met:
                met.add(one.situation)
                level.append(one)
            else:
                one.world.close()
    yield len(met)


def _longer(
    on: Stage, level: Level, names: Sequence[str], met: set[str], tag: str, *, deeper: bool
) -> Iterator[Failure | Reached]:
    """Each of these stories with each move behind it, as far as that leads to a situation not met yet."""
    mine = set(met)
    for reached in level:
        for name in names:
            CLOCK.now = reached.at
            twin = on.copy(reached.world)
            longer = (*reached.story, (name, tag))
            try:
                if act(twin, name, tag) and (found := situation(twin)) not in mine:
                    mine.add(found)
                    then = CLOCK.now
                    yield Reached(longer, on.copy(twin) if deeper else twin, then, found)
                    oracle.judge(twin)
            except oracle.Broken as broken:
                yield Failure(longer, str(broken))
            except Exception as error:  # noqa: BLE001 - the program fell over: that is a finding
                yield Failure(longer, f"{type(error).__name__}: {error}")
            finally:
                twin.close()
        reached.world.close()


def _beside(
    on: Stage, parts: list[Level], names: Sequence[str], met: set[str], tag: str, *, deeper: bool
) -> list[Failure | Reached]:
    """The same by a process for each part."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def work(number: int) -> None:
        there = on.aside(number)
        for one in _longer(there, parts[number], names, met, tag, deeper=deeper):
            answers.put(one)
        answers.put(None)

    children = [context.Process(target=work, args=(number,)) for number in range(len(parts))]
    for child in children:
        child.start()
    found, going = [], len(children)
    while going:
        one = answers.get()
        going -= one is None
        found += [] if one is None else [one]
    for child in children:
        child.join()
    return found


def situation(world: World) -> str:
    """Both sides, what we remember, and what people typed, without ids and times."""
    with world.looking():
        return _situation(world)


def _situation(world: World) -> str:
    known = world.rows if world.state.exists() else _nothing
    link = "SELECT pnpid, base, base_plant, synapse_delta, holds, flips, state, gone_in_synapse, pending FROM link ORDER BY pnpid"
    sides = {
        tag: [number, world.is_drawn(tag), world.tag_of(tag), *(world.cell(tag, name) for name in OFTEN)]
        for tag, (number, _guid) in world.items.items()
    }
    held = [
        [row["description"], row["attributes"], row["deleted_at"] is None, row["plant3d_id"]]
        for row in world.memory.rows()
    ]
    parts = [
        sides,
        held,
        [row | {"base": flat(json.loads(row["base"] or "{}"))} for row in known(link)],
        known("SELECT field, kind, status, chosen, carried_out FROM conflict ORDER BY seq"),
        known("SELECT side, status FROM intent WHERE status = 'open'"),
        known("SELECT old_value, new_value, status FROM plant_write ORDER BY id"),
        known("SELECT pnpid, field, code, digest FROM quarantine ORDER BY id"),
        known("SELECT kind, digest FROM acknowledgement WHERE ended_at IS NULL ORDER BY id"),
        sorted(world.told.left_alone),
        [world.plan is None, [[*key, one.text, one.counts] for key, one in sorted(world.told.words.items())]],
        world.told.moves[-1:] if world.told.moves and "plan" in world.told.moves[-1] else [],
        [world.options, world.workbook, world.kept_synapse is None, (world.folder / "kept.dcf").exists()],
        [
            sorted(map(str, world.told.undone.items())),
            sorted(world.told.decided),
            sorted(world.told.unclear),
            sorted(map(str, world.told.agreed.items())),
        ],
        [
            world.told.wrong,
            sorted(world.told.relinked),
            [bool(world.done.get(run)) for run in world.ran[-2:]],
        ],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _nothing(_statement: str) -> list[Row]:
    """The state is lost."""
    return []


def timed(count: int, began: float) -> str:
    took = time.monotonic() - began
    return f"{count} worlds in {took:.0f} s, {count / max(took, 0.001):.1f} a second"
