"""Values as the drivers give them, and as the local SQLite copy keeps them. By kind of column, not cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from plant3d_sync.connectors.plant3d.guid import guid_bytes
from plant3d_sync.connectors.plant3d.names import quoted

Row = Sequence[Any]
Converter = Callable[[list[Row]], list[Row]]

WIDE_KINDS: Final = frozenset({"nvarchar", "nchar"})
"""Text that the server keeps as UTF-16, well-formed or not."""
TEXT_KINDS: Final = WIDE_KINDS | {"varchar", "char"}

_AS_THEY_ARE: Final = TEXT_KINDS | {"bigint", "int", "smallint", "tinyint", "bit", "float", "real"}
"""Kinds whose values both drivers give as SQLite takes them (a truth value is stored as 0 or 1)."""
_AFFINITY: Final = {
    **dict.fromkeys(TEXT_KINDS, "TEXT"),
    **dict.fromkeys(("bigint", "int", "smallint", "tinyint", "bit"), "INTEGER"),
    **dict.fromkeys(("float", "real"), "REAL"),
}


def declaration(column: str, kind: str) -> str:
    """The column in the local copy, for its SQL Server type."""
    if column.lower() == "pnpid":
        return f"{quoted(column)} INTEGER PRIMARY KEY"
    collation = " COLLATE NOCASE" if kind in ("nvarchar", "varchar") else ""
    return f"{quoted(column)} {_AFFINITY.get(kind, 'BLOB')}{collation}"


def converter_for(columns: Sequence[tuple[str, str]], *, as_bytes: bool = False) -> Converter:
    """What turns rows of these columns into rows for SQLite; most tables need nothing at all.

    `as_bytes`: wide text comes as the bytes of UTF-16 and becomes UTF-8, half a surrogate pair as the three bytes
    that are no valid UTF-8, which is what a file holds in its place.
    """
    convert = {
        index: _conversion(kind, as_bytes)
        for index, (_, kind) in enumerate(columns)
        if kind not in _AS_THEY_ARE or (as_bytes and kind in TEXT_KINDS)
    }
    if not convert:
        return lambda rows: rows
    places = tuple(convert.items())

    def rows_converted(rows: list[Row]) -> list[Row]:
        found: list[Row] = []
        for row in rows:
            values = list(row)
            for index, one in places:
                if values[index] is not None:
                    values[index] = one(values[index])
            found.append(values)
        return found

    return rows_converted


def _conversion(kind: str, as_bytes: bool) -> Callable[[Any], object]:
    if kind == "uniqueidentifier":
        return _guid
    if as_bytes and kind in WIDE_KINDS:
        return _utf8_of_utf16
    if as_bytes and kind in TEXT_KINDS:
        return lambda text: text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _other


def _guid(value: Any) -> bytes | None:
    """16 bytes in .NET order; one driver gives text, the other an object."""
    if isinstance(value, str) and len(value) == 36:
        v = value
        return bytes.fromhex(
            f"{v[6:8]}{v[4:6]}{v[2:4]}{v[0:2]}{v[11:13]}{v[9:11]}{v[16:18]}{v[14:16]}{v[19:23]}{v[24:]}"
        )
    return guid_bytes(value)


def _utf8_of_utf16(value: Any) -> object:
    if not isinstance(value, bytes):
        return value
    return value.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def _other(value: Any) -> object:
    return value if isinstance(value, (int, float, str, bytes)) else str(value)


def text_lost(texts: Sequence[Any], stored: int) -> bool:
    """Whether these texts of one row may not be what is stored (`stored`: bytes of them all in UTF-16).

    FreeTDS puts `?` for a character it cannot convert and drops half a surrogate pair at the end, without a word.
    """
    present = [text for text in texts if text]
    if any("?" in text and text != "?" for text in present):
        return True
    units = sum(map(len, present))
    if units * 2 == stored:
        return False
    return sum(len(text.encode("utf-16-le", "surrogatepass")) for text in present) != stored
