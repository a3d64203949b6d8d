"""What an item shows besides its own fields: of its tag, of older copies, of a workstation's clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from plant3d_sync.model.record import Finding
from plant3d_sync.reconcile import older
from plant3d_sync.reconcile.case import Case
from plant3d_sync.reconcile.context import Context
from plant3d_sync.reconcile.decide import remarks
from plant3d_sync.reconcile.fields import lag_shown
from plant3d_sync.reconcile.tags import Claim


class Sight(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One look at an item. `claim`: as what it carries its tag; None if it carries none, or is not drawn any more.

    `registered`: only Plant 3D's registry knows the tag. `went_back`: the row is of an earlier day. `lag`: how far behind
    the workstation is that saved it last, as far as it shows (seconds).
    """

    remarks: Sequence[Finding] = ()
    claim: Claim | None = None
    registered: bool = False
    went_back: bool = False
    lag: float = 0.0


def sight_of(case: Case, on: Context) -> Sight:
    """What is seen of an item, whatever is decided about it."""
    item, link = case.item, case.link
    claims = case.tag is not None and not on.rules.reading.is_undrawn(item)
    return Sight(
        remarks=remarks(case) if link is not None or case.translated.problems else (),
        claim=Claim(item.class_name, item.guid, case.entity) if claims else None,
        registered=claims and on.tag_from_registry(case.translated),
        went_back=link is not None and older.row_went_back(link, item),
        lag=lag_shown(case, link, on) if link is not None else 0.0,
    )
