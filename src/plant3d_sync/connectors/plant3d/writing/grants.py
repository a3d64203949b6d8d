"""The least rights on SQL Server, as a script to run, and the proof that a login has no more than that.

Two roles: one reads, one may update the few columns the mapping lets be written, and the stamp and revision of
`PnPBase`. Tables of classes appear the first time an object of the class is made, so reading is granted on the
schema. Nothing relies on DENY: a column GRANT may survive a table DENY.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from plant3d_sync.connectors.plant3d.names import bracketed
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.cells import allowed_column
from plant3d_sync.words import counted

READER_ROLE: Final = "p3dsync_reader"
WRITER_ROLE: Final = "p3dsync_writer"

SERVER_ROLES: Final = (
    "sysadmin",
    "securityadmin",
    "serveradmin",
    "setupadmin",
    "dbcreator",
    "diskadmin",
    "bulkadmin",
)
DATABASE_ROLES: Final = (
    "db_owner",
    "db_securityadmin",
    "db_accessadmin",
    "db_ddladmin",
    "db_datawriter",
    "db_backupoperator",
)
SCHEMA_RIGHTS: Final = ("INSERT", "DELETE", "UPDATE", "ALTER", "EXECUTE", "CONTROL", "TAKE OWNERSHIP")
DATABASE_RIGHTS: Final = ("ALTER", "CONTROL", "CREATE TABLE", "ALTER ANY USER", "ALTER ANY ROLE")
_BASE_COLUMNS: Final = ("PnPTimestamp", "PnPRevision")

SERVER_ROLE_QUERY: Final = "SELECT IS_SRVROLEMEMBER(:name)"
DATABASE_ROLE_QUERY: Final = "SELECT IS_ROLEMEMBER(:name)"
SCHEMA_QUERY: Final = "SELECT HAS_PERMS_BY_NAME('dbo', 'SCHEMA', :name)"
DATABASE_QUERY: Final = "SELECT HAS_PERMS_BY_NAME(NULL, 'DATABASE', :name)"
UPDATABLE_QUERY: Final = (
    "SELECT o.[name], c.[name] FROM sys.columns AS c JOIN sys.objects AS o ON o.[object_id] = c.[object_id] "
    "WHERE o.[type] = 'U' AND SCHEMA_NAME(o.[schema_id]) = 'dbo' AND HAS_PERMS_BY_NAME("
    "QUOTENAME('dbo') + '.' + QUOTENAME(o.[name]), 'OBJECT', 'UPDATE', c.[name], 'COLUMN') = 1 "
    "ORDER BY o.[name], c.[name]"
)
FIXED_QUERY: Final = (
    "SELECT o.[name], c.[name], CASE WHEN o.[type] = 'V' THEN 'view' WHEN c.[is_computed] = 1 THEN 'computed' "
    "WHEN c.[is_identity] = 1 THEN 'identity' ELSE 'rowversion' END AS [why] FROM sys.columns AS c "
    "JOIN sys.objects AS o ON o.[object_id] = c.[object_id] WHERE SCHEMA_NAME(o.[schema_id]) = 'dbo' AND ("
    "(o.[type] = 'V' AND o.[name] NOT LIKE '%!_PNP' ESCAPE '!') OR (o.[type] = 'U' AND (c.[is_computed] = 1 "
    "OR c.[is_identity] = 1 OR TYPE_NAME(c.[system_type_id]) = 'timestamp')))"
)
"""Columns that no UPDATE can, or that ours shall not, change, and why; Plant 3D's own views end in `_PNP`."""
READABLE_QUERY: Final = (
    "SELECT o.[name], HAS_PERMS_BY_NAME(QUOTENAME('dbo') + '.' + QUOTENAME(o.[name]), 'OBJECT', 'SELECT') "
    "FROM sys.objects AS o WHERE o.[type] = 'U' AND SCHEMA_NAME(o.[schema_id]) = 'dbo' ORDER BY o.[name]"
)
READ_ONLY_QUERY: Final = "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128))"
"""A value of type sql_variant without the CAST, which not every driver takes."""
LOGIN_QUERY: Final = "SELECT SUSER_SNAME()"


class RightFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about the login. `red`: writing is refused; `amber`: worth knowing; `green`: as it should be."""

    level: Literal["red", "amber", "green"]
    code: str
    message: str
    hint: str = ""
    login: str = ""


TOO_STRONG: Final = frozenset({"login_too_strong", "column_right_too_much"})
"""Findings with which nothing is written."""


FIXED: Final = {
    "view": "its table is a view here",
    "computed": "the server computes it",
    "identity": "the server numbers it",
    "rowversion": "the server stamps it",
    "placeholder": "pymssql takes its name for a place of a value",
}
"""Why a column is not written, for people."""
PLACEHOLDER: Final = re.compile(r"%\(\w*\)[sd]")
"""What pymssql puts a value in for, wherever it stands: in a name too."""


def fixed_columns(connection: Connection) -> dict[tuple[str, str], str]:
    """(Table, column), lower-cased, that are never written, with a word of `FIXED`."""
    rows = connection.execute(text(FIXED_QUERY)).fetchall()
    return {(str(table).lower(), str(name).lower()): str(why).strip() for table, name, why in rows}


def writable_columns(catalog: Catalog, allowed: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Physical table -> columns, for the allowed (class, column) pairs that may really be written. Sorted."""
    found: dict[str, set[str]] = {}
    for class_name, name in allowed:
        column, _why = allowed_column(catalog, class_name, name)
        table = catalog.find(column.table_class) if column is not None else None
        if column is not None and table is not None:
            found.setdefault(table.physical, set()).add(column.name)
    return {table: tuple(sorted(found[table])) for table in sorted(found)}


def grant_script(
    catalog: Catalog,
    allowed: Iterable[tuple[str, str]],
    *,
    reader: str | None = None,
    writer: str | None = None,
    role: Literal["reader", "writer"] | None = None,
) -> str:
    """The script for one P&ID database (`<prefix>_PnId`), to be run there by an administrator.

    `reader`, `writer`: database users to put into the roles, if they exist already. A column whose table does not
    exist yet is left out with a comment, because SQL Server cannot grant on it. `role`: only one of the two.
    """
    head = [
        "-- plant3d-sync: least rights on one Plant 3D P&ID database. Run it in that database.",
        "-- Give the two roles to two different logins; neither may be db_owner, db_datawriter, db_ddladmin or sa.",
        "",
    ]
    reading = [
        *_role(READER_ROLE),
        f"GRANT SELECT ON SCHEMA::[dbo] TO {bracketed(READER_ROLE)};",
        f"GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO {bracketed(READER_ROLE)};",
    ]
    lines = [
        "-- Only where writing by SQL is wanted:",
        *_role(WRITER_ROLE),
        f"GRANT SELECT ON SCHEMA::[dbo] TO {bracketed(WRITER_ROLE)};",
        f"GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO {bracketed(WRITER_ROLE)};",
    ]
    existing = {one.physical for one in catalog.classes.values() if one.has_table}
    for table, columns in writable_columns(catalog, allowed).items():
        if table in existing:
            lines.append(_grant(table, columns))
        else:
            lines.append(
                f"-- {table} does not exist yet: run this script again once the project has such objects."
            )
    lines.append(_grant("PnPBase", _BASE_COLUMNS))
    if role is not None:
        lines = [*head, *(reading if role == "reader" else lines)]
    else:
        lines = [*head, *reading, "", *lines]
    for user, role_name in ((reader, READER_ROLE), (writer, WRITER_ROLE)):
        if user and role in (None, "reader" if role_name == READER_ROLE else "writer"):
            lines.append(f"ALTER ROLE {bracketed(role_name)} ADD MEMBER {bracketed(user)};")
    return "\n".join(lines) + "\n"


def _role(name: str) -> list[str]:
    return [f"IF DATABASE_PRINCIPAL_ID(N'{name}') IS NULL CREATE ROLE {bracketed(name)};"]


def _grant(table: str, columns: Iterable[str]) -> str:
    listed = ", ".join(bracketed(column) for column in columns)
    return f"GRANT UPDATE ON OBJECT::[dbo].{bracketed(table)} ({listed}) TO {bracketed(WRITER_ROLE)};"


def refuse_strong_login(
    engine: Engine, *, catalog: Catalog, allowed: Iterable[tuple[str, str]], tolerated: str | None
) -> None:
    """Do not write as a login that can do more than it needs, unless the project names it (`tolerated`).

    Raises ConfigError `source_read_only`, `login_too_strong`, `column_right_too_much`; RetryLaterError `source_away`.
    """
    found = check_rights(engine, catalog=catalog, allowed=allowed, writer=True)
    for one in found:
        if one.code == "source_read_only":
            raise ConfigError(f"{one.message} Nothing was written.", hint=one.hint, code=one.code)
    strong = [one for one in found if one.code in TOO_STRONG]
    if not strong or (tolerated is not None and strong[0].login.lower() == tolerated.lower()):
        return
    raise ConfigError(
        f"{strong[0].message} Nothing was written.",
        hint=f"{strong[0].hint} To write with this login all the same, set allow_strong_login: {strong[0].login} for the "
        "project.",
        code=strong[0].code,
        details={"login": strong[0].login, "powers": [one.message for one in strong]},
    )


def check_rights(
    engine: Engine, *, catalog: Catalog, allowed: Iterable[tuple[str, str]] = (), writer: bool = False
) -> list[RightFinding]:
    """Ask the server what this login may do; one `green` finding when it is exactly enough.

    `writer`: this login is meant to write the `allowed` columns; otherwise it should write nothing at all.
    Raises RetryLaterError `source_away` when the server cannot be asked.
    """
    wanted = _wanted(catalog, allowed) if writer else frozenset()
    try:
        with engine.connect() as connection:
            fixed = fixed_columns(connection)
            found = [
                *(_not_written(connection, wanted, fixed) if writer else ()),
                *_too_much(connection),
                *_columns(connection, wanted, fixed),
                *_too_little(connection),
            ]
    except SQLAlchemyError as error:
        raise RetryLaterError(
            f"The server could not be asked for the rights of this login ({type(error).__name__}). Nothing was written.",
            hint="Check that the server is up and the login valid.",
            code="source_away",
        ) from error
    if any(one.level == "red" for one in found):
        return found
    meant = "writing the allowed columns" if writer else "reading"
    return [
        *found,
        RightFinding(level="green", code="rights_fit", message=f"The login fits {meant} and no more."),
    ]


def _wanted(catalog: Catalog, allowed: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    pairs = {(table, name) for table, names in writable_columns(catalog, allowed).items() for name in names}
    return frozenset(pairs) | {("PnPBase", name) for name in _BASE_COLUMNS}


def _yes(connection: Connection, query: str, **values: str) -> bool:
    return connection.execute(text(query), values).scalar() == 1


def _too_much(connection: Connection) -> list[RightFinding]:
    login = str(connection.execute(text(LOGIN_QUERY)).scalar())
    powers = [
        f"server role {role}" for role in SERVER_ROLES if _yes(connection, SERVER_ROLE_QUERY, name=role)
    ]
    powers += [f"role {role}" for role in DATABASE_ROLES if _yes(connection, DATABASE_ROLE_QUERY, name=role)]
    powers += [
        f"{right} on the schema" for right in SCHEMA_RIGHTS if _yes(connection, SCHEMA_QUERY, name=right)
    ]
    powers += [
        f"{right} on the database"
        for right in DATABASE_RIGHTS
        if _yes(connection, DATABASE_QUERY, name=right)
    ]
    powers += ["the login sa itself"] if login.lower() == "sa" else []
    return [
        RightFinding(
            level="red",
            code="login_too_strong",
            message=f"The login {login} can do more than it needs: {power}. Writing is refused.",
            hint="Use a login of its own with only the role of the grant script.",
            login=login,
        )
        for power in powers
    ]


def _not_written(
    connection: Connection, wanted: frozenset[tuple[str, str]], fixed: Mapping[tuple[str, str], str]
) -> list[RightFinding]:
    """What no right can help: a database that is read-only, columns that only the server writes."""
    found = []
    if connection.execute(text(READ_ONLY_QUERY)).scalar() == "READ_ONLY":
        found.append(
            RightFinding(
                level="red",
                code="source_read_only",
                message="The database is read-only (SQL Server says Updateability READ_ONLY).",
                hint="Name the primary server if this is a copy of it, or ask whoever runs the server to set the database "
                "READ_WRITE. What waits to be written goes on waiting; reading is not touched.",
            )
        )
    for table, name in sorted(wanted):
        why = fixed.get((table.lower(), name.lower()))
        if why is not None:
            found.append(
                RightFinding(
                    level="amber",
                    code="column_fixed",
                    message=f"The mapping lets {table}.{name} be written, but {FIXED.get(why, why)}: it is never written.",
                    hint="Take `push` from that field of the mapping.",
                )
            )
    return found


def _columns(
    connection: Connection, wanted: frozenset[tuple[str, str]], fixed: Mapping[tuple[str, str], str]
) -> list[RightFinding]:
    rows: list[Any] = list(connection.execute(text(UPDATABLE_QUERY)).fetchall())
    present = {(str(table).lower(), str(name).lower()) for table, name in rows} - fixed.keys()
    needed = {(table.lower(), name.lower()): (table, name) for table, name in wanted}
    needed = {one: names for one, names in needed.items() if one not in fixed}
    extra = sorted(present - needed.keys())
    missing = sorted(needed[one] for one in needed.keys() - present)
    found = []
    if extra:
        shown = ", ".join(f"{table}.{name}" for table, name in extra[:5])
        found.append(
            RightFinding(
                level="red",
                code="column_right_too_much",
                message=counted(
                    len(extra),
                    f"The login may update {len(extra)} column it does not need: {shown}. Writing is refused.",
                    f"The login may update {len(extra)} columns it does not need: {shown}. Writing is refused.",
                ),
                hint="Revoke these rights, or run the grant script for a new login.",
                login=str(connection.execute(text(LOGIN_QUERY)).scalar()),
            )
        )
    if missing:
        shown = ", ".join(f"{table}.{name}" for table, name in missing[:5])
        found.append(
            RightFinding(
                level="red",
                code="column_right_missing",
                message=counted(
                    len(missing),
                    f"The login may not update {len(missing)} column it needs: {shown}. Nothing can be written.",
                    f"The login may not update {len(missing)} columns it needs: {shown}. Nothing can be written.",
                ),
                hint=f"Missing: {' '.join(_grants_of(missing)[:3])} The whole script: plant3d-sync grants PROJECT.",
            )
        )
    return found


def _grants_of(missing: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of the grant script for these (table, column) pairs."""
    tables: dict[str, list[str]] = {}
    for name, cell in missing:
        tables.setdefault(name, []).append(cell)
    return [_grant(name, cells) for name, cells in sorted(tables.items())]


def _not_by_schema(connection: Connection) -> RightFinding:
    """Without the right on the schema a login may still read every table there is, each by a grant of its own."""
    tables = {str(name): may for name, may in connection.execute(text(READABLE_QUERY)).fetchall()}
    unread = [name for name, may in tables.items() if may != 1]
    missing = (
        f"Missing: GRANT SELECT ON SCHEMA::[dbo] TO {bracketed(READER_ROLE)}; and the login in that role."
    )
    if tables and not unread:
        return RightFinding(
            level="amber",
            code="reads_by_table",
            message="The login may read each table that it sees, but not the schema dbo: a table that Plant 3D makes "
            "later stops the reading until it is granted too.",
            hint=missing,
        )
    shown = f": {', '.join(unread[:5])}" if unread else ""
    return RightFinding(
        level="red",
        code="cannot_read",
        message=f"The login may not read the schema dbo{shown}.",
        hint=missing,
    )


def _too_little(connection: Connection) -> list[RightFinding]:
    found = []
    if not _yes(connection, SCHEMA_QUERY, name="SELECT"):
        found.append(_not_by_schema(connection))
    if not _yes(connection, SCHEMA_QUERY, name="VIEW DEFINITION"):
        found.append(
            RightFinding(
                level="amber",
                code="cannot_see_triggers",
                message="The login may not see definitions, so triggers on the tables would stay unnoticed.",
                hint="GRANT VIEW DEFINITION ON SCHEMA::[dbo], as in the grant script.",
            )
        )
    return found
