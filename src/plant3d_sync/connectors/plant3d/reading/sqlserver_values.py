"""Values as the drivers give them, and as the local SQLite copy keeps them. By kind of column, not cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from plant3d_sync.connectors.plant3d.names import quoted

Row = Sequence[Any]
Converter = Callable[[list[Row]], list[Row]]

WIDE_KINDS: Final = frozenset({"nvarchar", "nchar"})
"""Text that the server keeps as UTF-16, well-formed or not."""
TEXT_KINDS: Final = WIDE_KINDS | {"varchar", "char"}

DATE_KINDS: Final = frozenset({"date", "time", "datetime", "datetime2", "smalldatetime", "datetimeoffset"})
"""Asked for as text: the drivers give different objects for them, or, for some, refuse the whole answer."""
TAKEN_KINDS: Final = TEXT_KINDS | {
    *("bigint", "int", "smallint", "tinyint", "bit", "float", "real"),
    *("decimal", "numeric", "money", "smallmoney"),
    *("binary", "varbinary", "image", "timestamp", "rowversion", "text", "ntext", "xml"),
}
"""Kinds that every driver can fetch. Whatever else there is (`geometry`, a type of somebody's own) is asked for as text."""

_AS_THEY_ARE: Final = TEXT_KINDS | {
    "uniqueidentifier",
    "bigint",
    "int",
    "smallint",
    "tinyint",
    "bit",
    "float",
    "real",
}
"""Kinds whose values come as SQLite takes them: a truth value is stored as 0 or 1, a GUID is asked for as 16 bytes."""
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
    if as_bytes and kind in WIDE_KINDS:
        return _utf8_of_utf16
    if as_bytes and kind in TEXT_KINDS:
        return lambda text: text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _other


def _utf8_of_utf16(value: Any) -> object:
    """UTF-8 of the bytes, or of the text where the server's bytes are no UTF-16."""
    if not isinstance(value, bytes):
        return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return value.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def _other(value: Any) -> object:
    return value if isinstance(value, (int, float, str, bytes)) else str(value)


def rows_with_lost_text(rows: Sequence[Row], wide: Sequence[int]) -> list[Row]:
    """Rows whose texts may not be what is stored. `wide`: places of the texts; the last cell: bytes of them all in UTF-16.

    FreeTDS puts `?` for a character it cannot convert and drops half a surrogate pair at the end, without a word. It
    never makes a text longer, so rows whose lengths agree in sum agree one by one.
    """
    together: list[str] = []
    suspicious = False
    for place in wide:
        texts = [row[place] for row in rows]
        joined = "".join(filter(None, texts))
        suspicious = suspicious or ("?" in joined and joined.count("?") != texts.count("?"))
        together.append(joined)
    if not suspicious and _as_long_as("".join(together), sum(row[-1] for row in rows)):
        return []
    return [row for row in rows if _text_lost([row[place] for place in wide], row[-1])]


def _text_lost(texts: Sequence[Any], stored: int) -> bool:
    if any(text is not None and "?" in text and text != "?" for text in texts):
        return True
    return not _as_long_as("".join(filter(None, texts)), stored)


def _as_long_as(text: str, stored: int) -> bool:
    return len(text) * 2 == stored or len(text.encode("utf-16-le", "surrogatepass")) == stored
