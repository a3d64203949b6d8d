"""Copies of an earlier day: a row of Plant 3D or an asset of SYNAPSE that went back is evidence, not an edit.

A counter of the whole file, or the epoch of a feed, tells only at the moment when a copy is put back; a later save hides
it. What each link has seen does not: a row's revision only grows, and so does the version of an asset.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from plant3d_sync.model.link import Link, Open
from plant3d_sync.model.record import Asset, PlantItem, Value
from plant3d_sync.model.version import is_counted
from plant3d_sync.reconcile.definitions import MAPPING_CHANGED

OLDER_COPY: Final = "older_copy"
"""The question about a field whose row went back in Plant 3D."""
OLDER_SYNAPSE: Final = "older_synapse"
"""The question about a field whose asset went back in SYNAPSE."""
ANSWER_LOST: Final = "answer_lost"
"""The question about a field that was sent to SYNAPSE without an answer, and holds its old value again."""
OTHER_ROW: Final = "other_row"
"""Why a field of a line goes into the row that stands for the line now: nobody edited what that row holds."""
_NOTHING: Final = Open(why="")


class Moved(NamedTuple):
    """A side's value away from the base, and whether its row or asset went back."""

    value: Value
    went_back: bool


def row_went_back(link: Link, item: PlantItem) -> bool:
    """Whether the item's row is of an earlier day than the one that was compared last.

    A clock that is behind does not make a row older: Plant 3D raises the revision of a row in every later session. A
    link that knows no revision (a state of an earlier version) has no evidence.
    """
    if link.revision is None or link.ticks is None or link.pnpid != item.pnpid:
        return False
    if item.revision != link.revision:
        return item.revision < link.revision
    return item.timestamp < link.ticks


def asset_went_back(link: Link, asset: Asset) -> bool:
    """Whether SYNAPSE shows an earlier version of the very same asset than the link has seen.

    Where SYNAPSE counts no versions there is no evidence.
    """
    if not (is_counted(asset.version) and is_counted(link.asset_version)):
        return False
    return asset.asset_id == link.asset_id and asset.version < link.asset_version


def question(
    entry: Open | None,
    *,
    plant3d: Moved | None,
    synapse: Moved | None,
    redefined: bool = False,
    other_row: bool = False,
) -> str:
    """Which side's move of a field is no edit, and why (mostly the kind of its question); "" if both are edits.

    `entry`: what is open on the field. A side that did not move is None. Once asked, it stays the question as long as
    that side keeps the value, whatever happens to the rest of the row or the asset. `redefined`: Plant 3D's value comes
    from elsewhere since the link was compared. `other_row`: it comes from a row that did not stand for the item then, and
    that nobody saved since.
    """
    asked = entry if entry is not None and entry.no_edit else _NOTHING
    stays = plant3d is not None and asked.plant3d == plant3d.value
    if plant3d is not None and (plant3d.went_back or (stays and asked.no_edit == OLDER_COPY)):
        return OLDER_COPY
    if plant3d is not None and (other_row or (stays and asked.no_edit == OTHER_ROW)):
        return OTHER_ROW
    if plant3d is not None and (redefined or (stays and asked.no_edit == MAPPING_CHANGED)):
        return MAPPING_CHANGED
    if synapse is not None and asked.no_edit == ANSWER_LOST and asked.synapse == synapse.value:
        return ANSWER_LOST
    if synapse is not None and (
        synapse.went_back or (asked.no_edit == OLDER_SYNAPSE and asked.synapse == synapse.value)
    ):
        return OLDER_SYNAPSE
    return ""
