"""`python -m tests.worlds`: see `tests/worlds/play.py`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.worlds import moves
from tests.worlds.play import Failure, drawn, every_order, stage, timed

AT_ONCE = 50
"""Seeds that a process plays on one stage."""


def played(first: int, last: int, raw: bool) -> list[tuple[int, Failure]]:
    """The seeds of this range that fail."""
    found = []
    with stage() as on:
        for seed in range(first, last):
            if failure := on.play(drawn(seed, on.tags)):
                found.append((seed, failure if raw else on.shortened(failure)))
    return found


def seeds(first: int, count: int, workers: int, raw: bool) -> Iterator[list[tuple[int, Failure]]]:
    """The failures among so many seeds, a part at a time."""
    starts = range(first, first + count, AT_ONCE)
    ends = [min(start + AT_ONCE, first + count) for start in starts]
    if workers == 1:
        yield from map(played, starts, ends, repeat(raw))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(played, starts, ends, repeat(raw))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.worlds")
    parser.add_argument("--seeds", type=int, default=0, help="so many random worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--length", type=int, default=0, help="every order of the small moves up to this length"
    )
    parser.add_argument("--story", default="", help="moves, separated by `;`")
    parser.add_argument("--raw", action="store_true", help="do not shorten failing stories")
    parser.add_argument("--most", type=int, default=20, help="tell so many failures of the orders")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    began, count, failures = time.monotonic(), 0, 0
    if options.story:
        with stage() as on:
            given = tuple((name.strip(), "P-1") for name in options.story.split(";"))
            if found := on.play(given):
                print(f"{found}\n")
                failures += 1
            count += 1
    if options.seeds:
        for part in seeds(options.first, options.seeds, options.workers, options.raw):
            for seed, failure in part:
                print(f"seed {seed}\n{failure}\n", flush=True)
            failures += len(part)
        count += options.seeds
    if options.length:
        with stage("P-1") as on:
            for told in every_order(on, options.length, tuple(moves.SMALL), options.workers):
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
