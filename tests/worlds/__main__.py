"""`python -m tests.worlds`: see `tests/worlds/play.py`."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tests.worlds import earlier

if "--tree" in sys.argv:
    earlier.use(Path(sys.argv[sys.argv.index("--tree") + 1]))

from tests.worlds import moves
from tests.worlds.chance import families
from tests.worlds.early import EARLY
from tests.worlds.play import Failure, every_order, every_order_of, stage, timed
from tests.worlds.themes import THEMES
from tests.worlds.world import World

AT_ONCE = 40
"""Seeds that a process plays on one stage."""


def played(first: int, last: int, raw: bool, over_http: bool) -> list[tuple[int, Failure]]:
    """The seeds of this range that fail."""
    found = []
    with stage() as on:
        for seed, _story, failure in families(on, range(first, last), over_http=over_http):
            if failure is not None:
                found.append((seed, failure if raw else on.shortened(failure)))
    return found


def seeds(
    first: int, count: int, workers: int, raw: bool, over_http: bool
) -> Iterator[list[tuple[int, Failure]]]:
    """The failures among so many seeds, a part at a time."""
    starts = range(first, first + count, AT_ONCE)
    ends = [min(start + AT_ONCE, first + count) for start in starts]
    if workers == 1:
        yield from map(played, starts, ends, repeat(raw), repeat(over_http))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(played, starts, ends, repeat(raw), repeat(over_http))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.worlds")
    parser.add_argument("--seeds", type=int, default=0, help="so many random worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--length", type=int, default=0, help="every order of the small moves up to this length"
    )
    parser.add_argument("--core", action="store_true", help="of the core moves only")
    parser.add_argument("--story", default="", help="moves, separated by `;`")
    parser.add_argument("--raw", action="store_true", help="do not shorten failing stories")
    parser.add_argument("--most", type=int, default=20, help="tell so many failures of the orders")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--tree", help="a checkout of an earlier version to play against")
    parser.add_argument("--theme", action="append", help="every order of a theme (`all`: of every theme)")
    parser.add_argument("--early", action="store_true", help="the stories that broke an early version")
    options = parser.parse_args()
    if options.tree:
        earlier.forgiving(World)
    began, count, failures = time.monotonic(), 0, 0
    if options.early:
        with stage() as on:
            for number, story in EARLY.items():
                found = on.play(story)
                print(f"{number:2} {'holds' if found is None else found.broken[:300]}", flush=True)
                failures += found is not None
        count += len(EARLY)
    if options.story:
        with stage() as on:
            given = tuple((name.strip(), "P-1") for name in options.story.split(";"))
            if found := on.play(given):
                print(f"{found}\n")
                failures += 1
            count += 1
    for name in THEMES if options.theme == ["all"] else options.theme or ():
        with stage() as on:
            *found, played_here = every_order_of(on, THEMES[name], options.length, options.workers)
            print(f"{name}: {played_here} situations, {len(found)} failures", flush=True)
            kinds = {re.sub(r"\d+", "#", one.broken)[:70]: one for one in reversed(found)}
            for one in list(kinds.values())[: options.most]:
                print(f"{one if options.raw else on.shortened(one)}\n", flush=True)
        count += int(str(played_here))
        failures += len(found)
    if options.seeds:
        for part in seeds(options.first, options.seeds, options.workers, options.raw, not options.tree):
            for seed, failure in part:
                print(f"seed {seed}\n{failure}\n", flush=True)
            failures += len(part)
        count += options.seeds
    if options.length and not options.theme:
        with stage("P-1") as on:
            names = moves.CORE if options.core else tuple(moves.SMALL)
            for told in every_order(on, options.length, names, options.workers):
                if isinstance(told, int):
                    count += told
                    continue
                failures += 1
                if failures <= options.most:
                    print(f"{told if options.raw else on.shortened(told)}\n", flush=True)
    print(timed(count, began), f"{failures} failures", sep="; ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
