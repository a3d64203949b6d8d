"""JSON in and out of text columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Table
from sqlalchemy.engine import Connection


def dump(value: object) -> str | None:
    """JSON text; None and empty containers become NULL, so that "nothing" costs nothing."""
    if value is None or value == {} or value == [] or value == ():
        return None
    return orjson.dumps(value).decode()


def load(text: str | None) -> Any:
    """The value, None for NULL."""
    return orjson.loads(text) if text else None


def load_map(text: str | None) -> dict[str, Any]:
    """A mapping, empty for NULL."""
    return orjson.loads(text) if text else {}


def canonical(value: Mapping[str, object]) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8. Integers, texts, true/false, null only below."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def bulk_insert(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Many rows as plain tuples in one driver call: a third of the cost of the usual way."""
    if not rows:
        return
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(connection.dialect.identifier_preparer.quote(table.c[name].name) for name in columns)
    marks = ", ".join([mark] * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) VALUES ({marks})",  # noqa: S608 - names of our own tables
        [tuple(row) for row in rows],
    )
