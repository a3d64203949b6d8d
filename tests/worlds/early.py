"""The 29 stories that broke the promises of an early version, told in moves; why an oracle is needed for each.

Numbers are those of `tests/stories/test_stories.py`. The world's oracle has to see each of them on that version
(`python -m tests.worlds --early --tree CHECKOUT`), and none of them today.
"""

from __future__ import annotations

from tests.worlds.play import Story


def of(tag: str, *moves: str) -> Story:
    """On this item, which the first move may draw."""
    return tuple((move, "P-1" if "draws" in move else tag) for move in moves)


def told(*moves: str) -> Story:
    return of("P-1", *moves)


P9 = "P-9"

EARLY: dict[int, Story] = {
    1: told("the designer types a model", "now, and before it writes the user types a model"),
    2: told(
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "now, and before it writes the user restores and types",
    ),
    3: told(
        "the designer deletes the item",
        "now",
        "the user restores the asset",
        "the user types",
        "now",
        "the designer brings the item back",
        "now",
    ),
    4: of(
        P9,
        "the designer draws P-9",
        "now",
        "undo of the last run",
        "plan",
        "the user restores the asset",
        "apply",
        "now",
        "the designer types",
    ),
    5: told("the designer fills a new column", "now"),
    6: told(
        "the designer types an awkward tag",
        "the designer types",
        "now",
        "the user types",
        "now",
        "the designer types an awkward tag",
    ),
    7: told(
        "the designer types",
        "conflicts are asked about",
        "the user types",
        "the designer types an awkward tag",
        "now",
        "choose SYNAPSE",
        "now",
        "the designer types an awkward tag",
        "now",
    ),
    8: told("the user types", "the designer deletes the item", "now", "choose Plant 3D", "push", "now"),
    9: told(
        "the user types", "the designer deletes the item", "now", "choose Plant 3D", "the user types", "pull"
    ),
    10: told(
        "yesterday's file", "the designer types", "now", "plan", "yesterday's file", "now", "apply", "now"
    ),
    11: (
        ("yesterday's file", "P-1"),
        ("the designer types", "P-1"),
        ("now", "P-1"),
        ("yesterday's file", "P-1"),
        ("others are saved", "P-1"),
        ("now", "P-1"),
    ),
    12: told("yesterday's SYNAPSE", "the designer types", "now", "yesterday's SYNAPSE", "now"),
    13: told(
        "another mapping without pumps",
        "now",
        "the designer deletes the item",
        "another mapping without pumps",
    ),
    14: told(
        "missing items are archived late",
        "the designer deletes the item",
        "now",
        "three saves within seconds",
    ),
    15: told("a copy of the file"),
    16: of(P9, "the designer draws P-9 without words", "another SYNAPSE project", "now"),
    17: told("the user types", "pull", "another first column", "now"),
    18: of(
        P9,
        "the designer draws P-9 without words",
        "now, killed at pull.reply_received",
        "the user types",
        "now",
    ),
    19: told(
        "the state is lost", "the designer types a maker", "now, and before it writes the user types", "now"
    ),
    20: told("the designer copies the row", "now", "links accept", "the designer types", "now"),
    21: told("the user types", "now", "the user types", "now", "the old session saves"),
    22: told(
        "another way of writing",
        "another way of writing",
        "the user types",
        "now",
        "a workbook",
        "the user types",
        "now",
        "now",
        "a workbook",
        "now",
    ),
    23: told("the user types", "now, frozen at push.before_begin, the user takes it back and another run"),
    24: told(
        "the user types",
        "push",
        "the user types",
        "now, while Plant 3D is busy",
        "undo of the last run",
        "now",
    ),
    25: told(
        "the designer types", "now", "the designer types a maker", "now", "undo of the last two runs", "now"
    ),
    26: told(
        "conflicts are asked about",
        "the designer types",
        "the user types",
        "now",
        "the designer types a maker",
        "now, and before it writes a person chooses SYNAPSE",
        "now",
    ),
    27: told("guards are strict", "the user empties all descriptions", "now"),
    28: told("another first column", "now", "the user empties the description", "now"),
    29: told("the user types", "push", "another way of writing", "undo of the last run"),
}
