"""`python -m tests.worlds`: see `tests/worlds/play.py`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.worlds import moves
from tests.worlds.play import Failure, drawn, every_order, stage, timed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.worlds")
    parser.add_argument("--seeds", type=int, default=0, help="so many random worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--length", type=int, default=0, help="every order of the small moves up to this length"
    )
    parser.add_argument("--story", default="", help="moves, separated by `;`")
    parser.add_argument("--raw", action="store_true", help="do not shorten failing stories")
    parser.add_argument("--most", type=int, default=20, help="end after so many failures")
    options = parser.parse_args()
    failures: list[Failure] = []

    def tell(found: Failure) -> None:
        failures.append(found)
        print(f"{found}\n", flush=True)

    began, count = time.monotonic(), 0
    if options.story:
        with stage() as on:
            given = tuple((name.strip(), "P-1") for name in options.story.split(";"))
            if found := on.play(given):
                tell(found)
            count += 1
    if options.seeds:
        with stage() as on:
            for seed in range(options.first, options.first + options.seeds):
                found = on.play(drawn(seed, on.tags))
                count += 1
                if found is not None:
                    print(f"seed {seed}", flush=True)
                    tell(found if options.raw else on.shortened(found))
                if len(failures) >= options.most:
                    break
    if options.length:
        with stage("P-1") as on:
            for told in every_order(on, options.length, tuple(moves.SMALL)):
                if isinstance(told, int):
                    count += told
                elif len(failures) < options.most:
                    tell(told if options.raw else on.shortened(told))
    print(timed(count, began), f"{len(failures)} failures", sep="; ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
