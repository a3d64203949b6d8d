"""One cause is reported once: what the reader met in a row and what was decided because of it become one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.reconcile.quarantine import IGNORED

_REGISTRY = frozenset({"registry_mismatch", "not_registered", "tag_from_registry"})
_CELL = frozenset(
    {"line_break", "nul_character", "outer_blanks", "mojibake", "invalid_utf8", "wrong_type", "too_long"}
)
_IDENTITY = frozenset({"duplicate_guid", "bad_guid"})
_LEFT_BEHIND = frozenset({"dangling_link", "dangling_relation", "registry_orphan"})
_EXPLAINS: Mapping[str, frozenset[str]] = {
    "invalid_tag": frozenset({"line_break", "nul_character", "outer_blanks", "mojibake"}) | _REGISTRY,
    "tag_too_long": frozenset({"too_long"}) | _REGISTRY,
    "tag_unknown": frozenset({"row_missing", "class_without_table"}) | _CELL | _REGISTRY,
    "tag_lost": frozenset({"row_missing"}) | _CELL | _REGISTRY,
    "untagged": frozenset({"outer_blanks", "registry_mismatch"}),
    "tag_from_registry": frozenset({"row_missing", "registry_mismatch"}) | _CELL,
    "missing": frozenset({"orphan_row", "foreign_row"}) | _LEFT_BEHIND,
    "orphan_row": frozenset({"orphan_row"}) | _LEFT_BEHIND,
    "foreign_row": frozenset({"foreign_row"}),
}
"""What an item is skipped (or kept) for -> codes about the same item that are the same cause seen elsewhere. Codes about a
cell count only where it is the cell of the tag."""


def told_once(found: Sequence[Finding], tag_columns: Callable[[str], frozenset[str]]) -> list[Finding]:
    """The findings without those that another one about the same item explains; it names their codes in `also`.

    `tag_columns`: class -> the columns of its tag, in lower case. A level that is missing is named by what explains it.
    """
    mains: dict[int, int] = {}
    for place, one in enumerate(found):
        if one.pnpid is not None and one.code in _EXPLAINS and _goes_before(found, mains.get(one.pnpid), one):
            mains[one.pnpid] = place
    folded: dict[int, list[Finding]] = {}
    dropped: set[int] = set()
    for place, one in enumerate(found):
        main = mains.get(one.pnpid) if one.pnpid is not None else None
        if main is None or main == place:
            continue
        same_code = one.code == found[main].code and one.column == found[main].column
        if same_code or _is_explained(one, found[main], tag_columns):
            dropped.add(place)
            folded.setdefault(main, []).append(one)
    return [_with(one, folded.get(place, ())) for place, one in enumerate(found) if place not in dropped]


def without_refused(
    found: Iterable[Finding], errors: Iterable[RowError], decided: Iterable[Finding]
) -> list[Finding]:
    """The reader's findings without those that the refused rows tell themselves: each names the others of its PnPGuid.

    `decided`: what was found out by deciding; a row that a person left alone is reported there.
    """
    told = {error.pnpid for error in errors if error.code in _IDENTITY}
    told |= {one.pnpid for one in decided if one.code == IGNORED and one.data.get("code") in _IDENTITY}
    return [one for one in found if one.code not in _IDENTITY or told.isdisjoint(_rows_of(one))]


def _rows_of(one: Finding) -> list[int]:
    shared = one.data.get("pnpids")
    return shared if isinstance(shared, list) else [] if one.pnpid is None else [one.pnpid]


def _goes_before(found: Sequence[Finding], other: int | None, one: Finding) -> bool:
    """What was decided explains what was read, also where both are causes."""
    return other is None or (found[other].code != one.code and found[other].code in _EXPLAINS[one.code])


def _is_explained(one: Finding, main: Finding, tag_columns: Callable[[str], frozenset[str]]) -> bool:
    if one.code not in _EXPLAINS[main.code]:
        return False
    if one.code in _CELL:
        return (one.column or "").lower() in tag_columns(one.class_name or "")
    return True


def _with(main: Finding, folded: Sequence[Finding]) -> Finding:
    if not folded:
        return main
    also = sorted({one.code for one in folded} - {main.code})
    data = dict(main.data)
    if also:
        data["also"] = also
    classes = [
        one.class_name for one in folded if one.code in ("orphan_row", "foreign_row") and one.class_name
    ]
    if classes:
        own = [main.class_name] if main.code != "missing" and main.class_name else []
        data["tables"] = sorted({*own, *classes})
    for one in folded:
        for name, value in one.data.items():
            data.setdefault(name, value)
    levels = data.get("levels")
    if main.code == "tag_unknown" and isinstance(levels, list) and levels:
        named = ", ".join(map(str, levels))
        return replace(
            main, message=f"The tag is unknown: this item has no row in {named}. Skipped.", data=data
        )
    return replace(main, data=data)


__all__ = ["told_once", "without_refused"]
