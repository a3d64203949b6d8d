"""Whether an item can be told from every other one: decided once, before anything is planned for it.

An item whose identity cannot be used is set aside with an error of its row; all others go on. What the reader
found out in its one pass over the database (no GUID, several rows with one GUID) is acted on here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import PlantItem

LIVE = (LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING)
"""States of a link whose item is expected in Plant 3D."""

_SHOWN = 5
"""PnPIDs named in a sentence; the rest is counted."""

_REDRAW = (
    "Delete the copy in Plant 3D and draw it anew, which gives it a PnPGuid of its own; "
    "the next run goes on by itself."
)


def unlinked_problem(item: PlantItem) -> RowError | None:
    """Why an item that has no link cannot get one; None if its identity is its own."""
    if not item.guid:
        return _error(
            item,
            "bad_guid",
            "The item has no usable PnPGuid, so it has no identity. Nothing was written for it.",
            "Delete the item in Plant 3D and draw it anew, which gives it a PnPGuid; "
            "the next run takes it along.",
        )
    if item.sharing:
        return _error(
            item,
            "duplicate_guid",
            f"PnPGuid {item.guid} is also on {_others(item)}. Nothing was written for any of them.",
            _REDRAW,
        )
    return None


def problem_of(item: PlantItem, link: Link | None, other: Link | None, entity: str) -> RowError | None:
    """Why nothing may be planned for this item now; None if it is what its link says, or new.

    `link`: the link with the item's PnPGuid. `other`: a link that holds its PnPID under another PnPGuid.
    `entity`: the kind of asset the item is now. Of several rows with one PnPGuid, the one that is linked goes on.
    """
    if link is None:
        return unlinked_problem(item) or _row_of_another(item, other)
    if link.pnpid != item.pnpid and item.follows == link.pnpid:
        return None  # a line goes on with another of its members
    if link.pnpid != item.pnpid and link.pnpid in item.sharing:
        return _error(
            item,
            "duplicate_guid",
            f"PnPGuid {item.guid} is also on {_others(item)}. PnPID {link.pnpid} is linked and goes on; "
            "nothing was written for this item.",
            _REDRAW,
        )
    if item.sharing and (link.pnpid != item.pnpid or item.sharing.count(item.pnpid) > 1):
        return unlinked_problem(item)
    if link.pnpid != item.pnpid:
        return _error(
            item,
            "identity_mismatch",
            f"PnPGuid {item.guid} belonged to PnPID {link.pnpid} and now to {item.pnpid}. "
            "Nothing was written for it.",
            "Check that the project file was not replaced by a copy. If this is the same object, "
            "`links propose` shows it and `links accept` makes its link follow to the new PnPID.",
        )
    if link.entity != entity:
        return _error(
            item,
            "kind_changed",
            f"The item was {link.entity} and is now {entity} ({item.class_name}). Nothing was written for it.",
            "Check the mapping of the two classes.",
        )
    return None


def _row_of_another(item: PlantItem, other: Link | None) -> RowError | None:
    if other is None or other.state not in LIVE:
        return None
    return _error(
        item,
        "identity_mismatch",
        f"PnPID {item.pnpid} is linked with PnPGuid {other.plant3d_id} but now has {item.guid}. "
        "Nothing was written for it.",
        "Check that the project file was not replaced by another database. If only this item is affected, "
        "delete it in Plant 3D and draw it anew: it arrives as a new asset, the old one counts as missing.",
    )


def _error(item: PlantItem, code: str, message: str, hint: str) -> RowError:
    return RowError(
        code=code,
        message=message,
        hint=hint,
        plant3d_id=item.guid or None,
        pnpid=item.pnpid,
        class_name=item.class_name,
        tag=next(
            (str(value) for name, value in item.values.items() if name.lower() == "tag" and value), None
        ),
    )


def _others(item: PlantItem) -> str:
    others = list(item.sharing)
    others.remove(item.pnpid)
    return pnpids(others)


def pnpids(rows: Sequence[int]) -> str:
    """Row ids for a sentence: the first few, and how many more there are."""
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return "PnPID " + ", ".join(map(str, rows[:_SHOWN])) + more
