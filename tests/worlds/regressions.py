"""Stories that once broke a promise, shortened: they are played in every run of the suite.

Numbers are those of the stories in `tests/stories/` that tell the same; worlds found them by themselves, or were given
them to see that the oracle bites.
"""

from __future__ import annotations

from tests.worlds.play import Story


def told(*moves: str) -> Story:
    return tuple((move, "P-1") for move in moves)


REGRESSIONS: list[Story] = [
    # 3
    told(
        "the designer deletes the item",
        "now",
        "the user restores the asset",
        "the user types",
        "now",
        "the designer brings the item back",
        "now",
    ),
    # 8
    told("the user types", "the designer deletes the item", "now", "choose Plant 3D", "push", "now"),
    # 9
    told(
        "the user types",
        "the designer deletes the item",
        "now",
        "choose Plant 3D",
        "the user types",
        "pull",
    ),
    # 10
    told("yesterday's file", "the designer types", "now", "plan", "yesterday's file", "now", "apply", "now"),
    # 21
    told("the user types", "now", "the user types", "now", "the old session saves"),
    # a run dies under another mapping, and the mapping comes back: only `pull --full` brought the sides together
    told("another mapping", "now, killed at pull.before_bookkeeping!"),
    told("another mapping", "now, killed at pull.reply_received"),
    # a run dies before it sends an archive, and a person archives the asset meanwhile
    told("the designer deletes the item", "now, killed at pull.intent_stored", "the user archives the asset"),
]


STILL_BROKEN: dict[str, Story] = {
    "A run archives an asset and dies before it hears so; a person takes that back. The next run finds the asset alive, "
    "so it takes its archive for never sent: it archives again over the person's wish, and the history knows one of two. "
    "Only SYNAPSE's kept answer to the same request could tell": told(
        "the designer deletes the item", "now, killed at pull.reply_received", "the user restores the asset"
    ),
    "The same of an update: somebody overwrote what a run that died had written, so the history does not know that the run "
    "wrote at all": told(
        "the designer types a maker", "now, killed at pull.reply_received", "the user types a maker"
    ),
}
"""Why a promise is still broken -> the story. A seed that comes to the same end is in `SAME_END`."""

SAME_END = frozenset({26, 1388, 1431, 1436})
