"""How much is played, and when. The page on promises shows it beside the figures of `figures.toml`."""

from __future__ import annotations

SEEDS, LONG_SEEDS = 2_000, 20_000
"""Random worlds of the ordinary suite, and of all with `--long`."""
CORE_LENGTH, LONG_CORE_LENGTH = 2, 4
"""How many of the core moves are played in every order, and with `--long`."""
SMALL_LENGTH = 3
"""How many of all small moves are played in every order, with `--long` only."""
