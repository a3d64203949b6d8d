"""Where promises were broken before: a situation, a few moves that matter in it, and how many of them in every order.

Nearly all stories that ever broke a promise have few moves with one item, but their moves are rare among all that
somebody may do. A theme keeps them together: every order of them up to a length is played from its situation, and half of
the random worlds play one theme.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """`before` leads into the situation; `moves` are played in every order up to `length`, on `item`."""

    before: tuple[str, ...] = ()
    moves: tuple[str, ...]
    length: int
    item: str = "P-1"


THEMES: dict[str, Theme] = {
    "an old session": Theme(
        moves=("the designer types", "the user types", "the old session saves", "now"), length=5
    ),
    "attributes": Theme(
        moves=(
            "the designer types a model",
            "the user types a model",
            "now",
            "now, and before it writes the user types a model",
        ),
        length=3,
    ),
    "an archived asset": Theme(
        before=("the designer deletes the item", "now"),
        moves=(
            "the user restores the asset",
            "the user types",
            "the designer brings the item back",
            "now",
            "now, and before it writes the user restores and types",
        ),
        length=4,
    ),
    "an item that is gone": Theme(
        before=("the user types", "the designer deletes the item", "now"),
        moves=("choose Plant 3D", "choose SYNAPSE", "push", "pull", "the user types", "now"),
        length=3,
    ),
    "a question": Theme(
        before=("conflicts are asked about", "the designer types", "the user types", "now"),
        moves=(
            "choose SYNAPSE",
            "the designer types an awkward tag",
            "the designer types a maker",
            "now, and before it writes a person chooses SYNAPSE",
            "now",
        ),
        length=4,
    ),
    "a row error": Theme(
        before=("the designer types an awkward tag",),
        moves=(
            "the designer types",
            "the user types",
            "the designer types an awkward tag",
            "quarantine retry",
            "now",
        ),
        length=5,
    ),
    "a refused text": Theme(
        before=("the user types two lines", "now"),
        moves=(
            "the user types two lines",
            "the user types",
            "the designer types",
            "quarantine retry",
            "quarantine ignore",
            "now",
        ),
        length=3,
    ),
    "a plan that waits": Theme(
        before=("the designer types", "plan"),
        moves=("discard", "apply", "plan", "the user types", "the user takes it back", "now"),
        length=3,
    ),
    "an undo": Theme(
        before=("the user types", "push"),
        moves=(
            "the user types",
            "now, while Plant 3D is busy",
            "undo of the last run",
            "another way of writing",
            "now",
        ),
        length=3,
    ),
    "two undos": Theme(
        moves=(
            "the designer types",
            "the designer types a maker",
            "now",
            "undo of the last run",
            "undo of the last two runs",
        ),
        length=5,
    ),
    "a creation undone": Theme(
        before=("the designer draws P-9", "now", "undo of the last run"),
        moves=("plan", "the user restores the asset", "apply", "the designer types", "now"),
        length=5,
        item="P-9",
    ),
    "another column": Theme(
        moves=("another first column", "the user types", "the user empties the description", "pull", "now"),
        length=4,
    ),
    "a class left out": Theme(
        moves=(
            "another mapping without pumps",
            "the designer deletes the item",
            "the designer brings the item back",
            "now",
        ),
        length=4,
    ),
    "an older copy": Theme(
        before=("yesterday's file", "the designer types", "now"),
        moves=("yesterday's file", "others are saved", "plan", "apply", "now"),
        length=4,
    ),
    "an older SYNAPSE": Theme(
        before=("yesterday's SYNAPSE", "the designer types", "now"),
        moves=("yesterday's SYNAPSE", "the user types", "the designer types", "now"),
        length=3,
    ),
    "missing for a moment": Theme(
        before=("missing items are archived late",),
        moves=(
            "the designer deletes the item",
            "the designer brings the item back",
            "three saves within seconds",
            "now",
        ),
        length=3,
    ),
    "nothing is remembered": Theme(
        moves=(
            "the state is lost",
            "a copy of the file",
            "the designer types a maker",
            "now, and before it writes the user types",
        ),
        length=3,
    ),
    "a new item": Theme(
        before=("the designer draws P-9 without words",),
        moves=("another SYNAPSE project", "now, killed at pull.reply_received", "the user types", "now"),
        length=3,
        item="P-9",
    ),
    "another number": Theme(
        moves=("the designer copies the row", "links accept", "the designer types", "now"), length=4
    ),
    "two workers": Theme(
        moves=(
            "the user types",
            "the designer types",
            "now, frozen at push.before_begin, the user takes it back and another run",
            "now, frozen at push.before_begin, the user types and another run",
            "now",
        ),
        length=3,
    ),
    "workbooks": Theme(
        before=("another way of writing", "another way of writing"),
        moves=("the user types", "the designer types", "a workbook", "now"),
        length=6,
    ),
    "many at once": Theme(
        before=("guards are strict",),
        moves=(
            "the user empties all descriptions",
            "the designer empties all descriptions",
            "the user types everywhere",
            "the designer types everywhere",
            "apply, approving guards",
            "now",
        ),
        length=3,
    ),
    "a project that grows": Theme(
        moves=("the designer fills a new column", "the designer types a maker", "pull", "now"), length=3
    ),
}
