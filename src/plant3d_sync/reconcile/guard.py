"""Refuse plans that look like an accident, before the first write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plant3d_sync.model.link import Open
from plant3d_sync.model.plan import GuardHit, Limit, Limits, Tally
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.side import WriteMode
from plant3d_sync.model.step import Cell

AMOUNTS = frozenset({"create", "update", "blank", "archive", "push_update", "push_blank"})
"""Guards by amount; the others doubt that the database or SYNAPSE is the one we know."""

WAITS_IN_WORKBOOK = "push_" + WriteMode.WORKBOOK.value
"""Why a field stays open whose cell is for a designer to import."""


def check_amounts(tally: Tally, limits: Limits, *, first_sync: bool) -> list[GuardHit]:
    """Guards by amount, both ways: creations, updates, blanked records, records gone; items changed and blanked in
    Plant 3D. Share and count must both be exceeded, of all or of one kind of asset.

    With no links yet there is nothing to compare with, so the create guard is off.
    """
    checks: list[tuple[str, Mapping[str, int], Limit, str, str]] = [
        ("update", tally.updates, limits.update, "assets", "would be changed"),
        ("blank", tally.blanks, limits.blank, "assets", "would lose a filled value"),
        ("archive", tally.gone, limits.archive, "linked items", "are gone from Plant 3D"),
        ("push_update", tally.push_updates, limits.update, "items", "would be changed in Plant 3D"),
        ("push_blank", tally.push_blanks, limits.blank, "items", "would lose a filled value in Plant 3D"),
    ]
    if not first_sync:
        checks.insert(0, ("create", tally.creates, limits.create, "assets", "would be created"))
    return [hit for check in checks for hit in _check(tally, *check)]


def newly_pushed(cells: Sequence[Cell], pending: Mapping[str, Open], mode: WriteMode) -> list[Cell]:
    """The cells of an item that guards count: those that would be written, or are not in a workbook's queue yet."""
    match mode:
        case WriteMode.OFF:
            return []
        case WriteMode.SQL:
            return list(cells)
        case WriteMode.WORKBOOK:
            return [cell for cell in cells if not _waits_in_workbook(pending.get(cell.field), cell)]


def _waits_in_workbook(known: Open | None, cell: Cell) -> bool:
    return known is not None and known.why == WAITS_IN_WORKBOOK and known.synapse == cell.synapse


def _check(
    tally: Tally, name: str, amounts: Mapping[str, int], limit: Limit, who: str, what: str
) -> list[GuardHit]:
    """The limit for all kinds of asset together, else for each by itself: a plant of ten thousand instruments must not
    hide that every line of it is gone.
    """
    total = sum(amounts.values())
    if limit.exceeded(total, tally.links):
        return [_amount(name, limit, total, tally.links, f"{who} {what}")]
    return [
        _amount(name, limit, actual, tally.links_of[kind], f"{who} of the kind {kind} {what}")
        for kind, actual in sorted(amounts.items())
        if limit.exceeded(actual, tally.links_of.get(kind, 0))
    ]


def _amount(name: str, limit: Limit, n: int, of: int, what: str) -> GuardHit:
    return GuardHit(
        name=name,
        limit=f"{limit.share:.0%} and {limit.count}",
        actual=f"{n} of {of} ({n / of:.0%})",
        message=f"{n} of {of} {what}. Nothing was written.",
    )


OLDER = Limit(share=0.02, count=10)
"""More links than this that went back at once are not a mishap of a row: somebody put a copy back."""


def check_older(tally: Tally) -> list[GuardHit]:
    """Many rows, or many assets, are of an earlier day than they were seen: a copy, or a backup, was put back.

    Only fields that differ count, each link once: what was approved and is asked about does not stop the next run.
    """
    checks = [
        (
            "older_copy",
            tally.older_rows,
            "rows of Plant 3D went back to an earlier day and hold other values: an older copy was put back.",
        ),
        (
            "older_synapse",
            tally.older_assets,
            "assets of SYNAPSE went back to an earlier version and hold other values: a backup was restored there.",
        ),
    ]
    return [
        GuardHit(
            name=name,
            limit=f"{OLDER.share:.0%} and {OLDER.count}",
            actual=f"{n} of {tally.links} ({n / tally.links:.0%})",
            message=f"{n} {what} Nothing was written.",
        )
        for name, n, what in checks
        if OLDER.exceeded(n, tally.links)
    ]


def check_identity(known: SourceIdentity | None, seen: SourceIdentity) -> list[GuardHit]:
    """Is this the database we know, and is it not older than we know it?

    `DBID` names a lineage (copies keep it). `PnPSys_PnPBase_PnPID` and the change counter of a SQLite
    file only grow; a smaller one means an older copy was put back.
    """
    if known is None:
        return []
    hits: list[GuardHit] = []
    if known.dbid != seen.dbid:
        hits.append(
            GuardHit(
                name="database_id",
                limit=known.dbid,
                actual=seen.dbid,
                message="This is another Plant 3D database (another DBID). Nothing was written.",
            )
        )
        return hits
    if seen.pnpid_counter < known.pnpid_counter:
        hits.append(
            GuardHit(
                name="pnpid_counter",
                limit=f">= {known.pnpid_counter}",
                actual=str(seen.pnpid_counter),
                message="The id counter went back: an older copy of the database was put back. Nothing was written.",
            )
        )
    if (
        known.change_counter is not None
        and seen.change_counter is not None
        and known.engine == seen.engine
        and seen.change_counter < known.change_counter
    ):
        hits.append(
            GuardHit(
                name="change_counter",
                limit=f">= {known.change_counter}",
                actual=str(seen.change_counter),
                message="The file's change counter went back: an older copy was put back. Nothing was written.",
            )
        )
    return hits


def check_synapse(*, links: int, missing_assets: int, limits: Limits) -> list[GuardHit]:
    """SYNAPSE lost or archived a large part of the linked assets (a clear-data, a wrong project)."""
    if not limits.archive.exceeded(missing_assets, links):
        return []
    return [
        GuardHit(
            name="synapse_lost",
            limit=f"{limits.archive.share:.0%} and {limits.archive.count}",
            actual=f"{missing_assets} of {links} ({missing_assets / links:.0%})",
            message=f"{missing_assets} of {links} linked assets were archived or removed in SYNAPSE. Nothing was written.",
        )
    ]
