"""Stories that once broke a promise, shortened: they are played in every run of the suite.

Worlds found them by themselves. The stories that broke an early version are in `early.py`.
"""

from __future__ import annotations

from tests.worlds.play import Story


def told(*moves: str) -> Story:
    return tuple((move, "P-1") for move in moves)


REGRESSIONS: list[Story] = [
    # 21 of the early stories, where designers typed meanwhile: the session's copy is neither what we wrote nor what we replaced
    told("the designer types", "the user types", "now", "the old session saves", "now"),
    told(
        "the designer types",
        "now",
        "the designer types",
        "pull",
        "the user types",
        "push",
        "the old session saves",
    ),
    # a run dies under another mapping, and the mapping comes back: only `pull --full` brought the sides together
    told("now", "another mapping", "now, killed at pull.before_bookkeeping!", "another mapping"),
    told("now", "another mapping", "now, killed at pull.reply_received", "another mapping"),
    # a run dies before it sends an archive, and a person archives the asset meanwhile
    told("the designer deletes the item", "now, killed at pull.intent_stored", "the user archives the asset"),
    # a run archives and dies before it hears so, and a person takes that back: only SYNAPSE's kept answer tells
    told(
        "the designer deletes the item", "now, killed at pull.reply_received", "the user restores the asset"
    ),
    told(
        "the designer deletes the item",
        "now, killed at pull.reply_received",
        "the user restores the asset",
        "now",
        "the designer brings the item back",
    ),
    told(
        "the designer deletes the item",
        "now, killed at pull.intent_stored",
        "the user archives the asset",
        "now",
        "the designer brings the item back",
    ),
    told("the designer deletes the item", "now, killed at pull.reply_received", "SYNAPSE loses the asset"),
    # the same of an update that somebody overwrote, of one whose asset was archived, and of one that was never sent
    told("the designer types a maker", "now, killed at pull.reply_received", "the user types a maker"),
    told("the designer types", "now, killed at pull.reply_received", "the user types and archives"),
    told("the designer types a maker", "now, killed at pull.intent_stored", "the user types a maker"),
    # of a restore
    told(
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "now, killed at pull.reply_received",
        "the user types a maker",
    ),
    told(
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "now, killed at pull.intent_stored",
        "the user restores the asset",
        "now",
        "undo of the last run",
    ),
    # of an undo
    told(
        "the designer types a maker",
        "now",
        "undo of the last run, killed at pull.reply_received",
        "the user types a maker",
    ),
    # the answer is kept no more: what may have been taken back is asked about, or stays
    told(
        "the designer types", "now, killed at pull.reply_received", "the user takes it back", "a day passes"
    ),
    told(
        "the designer types",
        "now, killed at pull.intent_stored",
        "the user types",
        "the user takes it back",
        "a day passes",
    ),
    told(
        "the designer deletes the item",
        "now, killed at pull.reply_received",
        "the user restores the asset",
        "a day passes",
    ),
    told(
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "now, killed at pull.reply_received",
        "the user archives the asset",
        "a day passes",
    ),
    # a choice is void because the user took his words back: asked again, not decided by who kept still
    told(
        "the user types",
        "the designer empties the description",
        "now",
        "the user takes it back",
        "choose SYNAPSE",
    ),
    # of a swap of tags, whose batch is asked about as a whole; of an adoption; of what a person chose
    (
        ("the designer swaps tags", "P-1"),
        ("now, killed at pull.reply_received", "P-1"),
        ("the user types a maker", "P-1"),
        ("now, killed at recover.answer_read", "P-1"),
        ("the designer swaps tags", "P-1"),
    ),
    (
        ("the user adds P-9", "P-1"),
        ("the designer draws P-9", "P-1"),
        ("now", "P-1"),
        ("links accept", "P-9"),
        ("now, killed at pull.reply_received", "P-1"),
        ("the user types a maker", "P-9"),
    ),
    told(
        "missing items are asked about",
        "the designer deletes the item",
        "now",
        "choose Plant 3D",
        "plan",
        "now, killed at pull.reply_received",
        "the user restores the asset",
        "apply",
    ),
    # SYNAPSE is restored from a backup that knows neither the batch nor its key
    told(
        "yesterday's SYNAPSE",
        "the designer deletes the item",
        "now, killed at pull.reply_received",
        "yesterday's SYNAPSE",
        "the user types",
    ),
    # the run that asks dies as well
    *(
        told(
            "the designer types a maker",
            f"now, killed at pull.{first}",
            "the user types a maker",
            f"now, killed at recover.{second}",
            "the user types a maker",
        )
        for first, second in (
            ("intent_stored", "question_stored"),
            ("intent_stored", "question_answered"),
            ("reply_received", "question_answered"),
            ("reply_received", "answer_read"),
        )
    ),
    # an undo of an undo; of one beside which a designer types; of one that a designer's later words make stale: by then
    # SYNAPSE had held the user's words for long, though they had not waited since a run carried them
    told("the designer types", "now", "undo of the last run", "undo of the last run"),
    told("the user types", "now", "undo of the last run", "undo of the last run"),
    told("the user types", "now", "undo of the last run", "undo of the last run", "undo of the last run"),
    told("the designer types", "now", "the designer types", "undo of the last run", "undo of the last run"),
    told("the user types", "now", "undo of the last run", "the designer types", "undo of the last run"),
    told(
        "the user types a model",
        "now",
        "undo of the last run",
        "the designer types a model",
        "undo of the last run",
    ),
    told("the user types", "now", "undo of the last run", "the designer types", "pull of valves"),
    told("the user types", "now", "plan", "undo of the last run", "the designer types", "apply"),
    # the same verbs over the API, where a worker carries them out
    told("the user types", "push, over the API", "undo of the last run, over the API"),
    told(
        "conflicts are asked about",
        "the designer types",
        "the user types",
        "now, over the API",
        "choose SYNAPSE, over the API",
        "a run is asked for and cancelled, over the API",
    ),
    told(
        "the designer types an awkward tag",
        "plan, over the API",
        "apply, over the API",
        "quarantine ignore, over the API",
    ),
    # a text with two lines, which a cell does not take: refused, left alone, typed again
    told("the user types two lines", "now", "quarantine retry", "now", "the user types"),
    told("the user types two lines", "now", "quarantine ignore", "push", "the designer types"),
    told("the user types two lines", "now", "quarantine ignore, over the API", "the user types two lines"),
    # a cell that was refused stayed in the list of what waits though its item was deleted, or its asset archived
    told("the user types two lines", "now", "the designer deletes the item"),
    told("the user types two lines", "now, and before it writes the designer deletes the item"),
    told("the user types two lines", "now", "the user archives the asset"),
    told("the user types two lines", "now", "another mapping without pumps", "now"),
    # the same seen by a pull, which writes no cell: nothing was left to do, so no later run looked at it again
    told("the user types two lines", "now", "the user archives the asset", "pull"),
    told(
        "the user types two lines",
        "now",
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
    ),
    told("the user types two lines", "now", "quarantine ignore", "now, killed at push.intent_stored"),
    told("the user types two lines", "now", "the user types two lines", "quarantine ignore"),
    # a refused row that got another number: it stayed refused under the old one, too
    told("the designer copies the row", "now", "the designer copies the row"),
    told("another mapping without pumps", "the designer copies the row", "links accept"),
    told(
        "the designer copies the row",
        "now, and before it writes the designer deletes the item",
        "the user types a maker",
    ),
    # what was asked for waits until a run has settled what one that died left open
    told("the user types", "now, killed at push.committed", "undo of the last run, over the API"),
    # an older copy in which the item was saved again is told as long as it has fewer saves than the one we know
    told("yesterday's file", "the designer types", "now", "yesterday's file", "the designer types a maker"),
    told(
        "yesterday's file",
        "the designer types a maker",
        "the designer types",
        "now",
        "yesterday's file",
        "the designer types a maker",
    ),
    # words that a user takes back: both sides had agreed on them last, as the item was deleted that held them
    told(
        "now, and before it writes the designer types",
        "pull",
        "the old session saves",
        "now, and before it writes the designer deletes the item",
        "now, at source.copy_closed the user types",
        "the user takes it back",
    ),
    # without a state nobody can tell an emptied field from one that never held anything
    told("the user empties the description", "the state is lost"),
    told("the state is lost", "the designer empties the description"),
    told("the state is lost", "the user empties the description"),
    # an item that got another number and was deleted before a run saw that: it is missing under the number we know
    told("the designer copies the row", "missing items are asked about", "the designer deletes the item"),
    # back and gone again between two runs: one absence, as far as a run can see
    told(
        "missing items are archived late",
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "the designer deletes the item",
        "three saves within seconds",
    ),
    # the same once the item was seen in another row: it was archived within seconds
    told(
        "missing items are archived late",
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "the designer copies the row",
        "now",
        "the designer deletes the item",
        "three saves within seconds",
    ),
    # and once a person accepted that it stands in another row
    told(
        "missing items are archived late",
        "the designer deletes the item",
        "now",
        "the designer brings the item back",
        "the designer copies the row",
        "links accept",
        "the designer deletes the item",
        "three saves within seconds",
    ),
    # a plan that archives what is missing, applied once the item is back in another row
    told(
        "missing items are asked about",
        "the designer deletes the item",
        "now",
        "now",
        "now",
        "plan",
        "the designer brings the item back",
        "the designer copies the row",
        "apply",
    ),
    # a pair that just met has no base either
    (
        ("the user adds P-9", "P-1"),
        ("the designer draws P-9", "P-1"),
        ("links accept", "P-1"),
        ("the user empties the description", "P-9"),
    ),
    # what is not drawn was not accepted
    told(
        "the designer copies the row",
        "the designer deletes the item",
        "links accept",
        "the designer brings the item back",
    ),
    # who draws an item types its description where the mapping of the day has it
    told("another mapping", "the designer draws P-9"),
    told("another first column", "the designer draws P-9"),
    # a project without a state is what it is pointed at
    told("the designer draws P-9 without words", "the state is lost", "another SYNAPSE project"),
    # no number is given twice
    (
        ("the designer deletes the item", "HV-1"),
        ("the designer copies the row", "P-2"),
        ("the designer brings the item back", "HV-1"),
    ),
    # a creation, archived or purged before the run that made it heard of it
    (
        ("the designer draws P-9", "P-1"),
        ("now, killed at pull.reply_received", "P-1"),
        ("the user archives the asset", "P-9"),
    ),
    (
        ("the designer draws P-9", "P-1"),
        ("now, killed at pull.reply_received", "P-1"),
        ("the user types and archives", "P-9"),
        ("now", "P-1"),
        ("the user restores the asset", "P-9"),
    ),
    (
        ("the designer draws P-9", "P-1"),
        ("now, killed at pull.reply_received", "P-1"),
        ("SYNAPSE loses the asset", "P-9"),
    ),
]

STILL_BROKEN: dict[str, Story] = {}
"""Why a promise is still broken -> the story. A seed that comes to the same end is in `SAME_END`."""

SAME_END: frozenset[int] = frozenset()
