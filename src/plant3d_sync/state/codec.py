"""JSON in and out of text columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import orjson
from sqlalchemy import Table, Update, bindparam, update
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.words import said

T = TypeVar("T")


def dump(value: object) -> str | None:
    """JSON text, structs included; None and empty containers become NULL, so that "nothing" costs nothing."""
    if value is None or value == {} or value == [] or value == ():
        return None
    return orjson.dumps(value, default=msgspec.to_builtins).decode()


def load(text: str | None) -> Any:
    """The value, None for NULL. Raises NeedsPersonError `row_altered` for what is no JSON: we never stored it."""
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError as error:
        raise _no_json(text) from error


def load_map(text: str | None) -> dict[str, Any]:
    """A mapping, empty for NULL. Raises NeedsPersonError `row_altered` as `load` does."""
    found = load(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _no_json(text)
    return found


def _no_json(text: object) -> NeedsPersonError:
    return NeedsPersonError(
        f"The state database holds {said(text)[:80]} where plant3d-sync stores JSON of its own: it was altered from "
        "outside. Nothing was done with it.",
        hint="`plant3d-sync audit verify` names the row. Restore the state database from a backup.",
        code="row_altered",
    )


def canonical(value: Mapping[str, object]) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8. Integers, texts, true/false, null only below."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=256)
def update_of(table: Table, key: str, columns: tuple[str, ...]) -> Update:
    """The statement that sets these columns of the row whose `key` is given as `the_key`; built once, used often."""
    return (
        update(table)
        .where(table.c[key] == bindparam("the_key"))
        .values({name: bindparam("to_" + name, type_=table.c[name].type) for name in columns})
    )


def set_columns(
    connection: Connection, table: Table, key: str, row: object, values: Mapping[str, object]
) -> int:
    """Set plain values in the row whose `key` is `row`. Returns rows changed."""
    given: dict[str, object] = {"to_" + name: value for name, value in values.items()}
    given["the_key"] = row
    return connection.execute(update_of(table, key, tuple(values)), given).rowcount


def plainly(connection: Connection, query: str, given: Sequence[object]) -> CursorResult[Any]:
    """A plain statement with a `?` for each value, where it is one of very many: a third of the cost of the usual way."""
    text = query if connection.dialect.paramstyle == "qmark" else query.replace("?", "%s")
    return connection.exec_driver_sql(text, tuple(given))


def insert_if_new(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Add a row unless one with its key, or another value that must be unique, is there, also when another process does the same now. Whether it was added."""
    statement = _insert_of(connection.dialect.name)(table).values(**values)
    added = statement.on_conflict_do_nothing().returning(*table.primary_key.columns)
    return connection.execute(added).first() is not None


def _insert_of(dialect: str) -> Callable[[Table], Any]:
    """The dialect's own INSERT. Imported late: the other dialect would cost every start 30 ms."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert


def bare_rows(
    connection: Connection, query: str, given: Sequence[object], kind: Callable[[tuple[Any, ...]], T]
) -> Iterator[T]:
    """Rows of a plain query as the driver gives them, for many rows: half the cost of the usual way.

    `query` has one `?` for each value. `kind` makes something of each row.
    """
    cursor = connection.connection.cursor()
    try:
        text = query if connection.dialect.paramstyle == "qmark" else query.replace("?", "%s")
        cursor.execute(text, tuple(given))
        while rows := cursor.fetchmany(1000):
            yield from map(kind, rows)
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(query, None, error, connection.dialect.loaded_dbapi.Error) from error
    finally:
        cursor.close()


def let_go_of_pages(connection: Connection) -> None:
    """Give back what SQLite keeps of the pages that were read: up to 4 MB that are not asked for again soon."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA shrink_memory")


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
        [row if type(row) is tuple else tuple(row) for row in rows],
    )
