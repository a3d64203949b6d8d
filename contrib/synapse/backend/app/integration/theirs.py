"""Everything that this package expects of SYNAPSE's backend. The only file to change if the backend changes.

It takes two things: the database engine, and what a login token is signed with. Both are looked up when the
package is imported, so that a backend that has moved them does not start, and says which name was looked for.
The tables that the package reads and writes are checked by `schema_fault`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType

import sqlalchemy as sa

ENGINE = ("app.core.database", ("engine",))
SECURITY = ("app.core.security", "app.core.config", "app.core.settings")
SECRETS = ("SECRET_KEY", "JWT_SECRET_KEY", "JWT_SECRET")
ALGORITHM_NAMES = ("ALGORITHM", "JWT_ALGORITHM")

VERSION = "0.2.2"
"""What the capabilities say; raise it with the backend's own version."""

ROLES_THAT_WRITE = frozenset({"ADMIN", "ENGINEER"})
"""Roles of people who may change assets through this API and start a synchronisation. All others may look."""

ON_CREATE = {"data_status": "FRESH_IMPORT"}
"""Columns of `assets` that the backend fills when it creates an asset, and that have no default in the database."""


class NotAsExpected(RuntimeError):
    """The backend is not as this package expects it; the message says what was looked for, and where."""


@dataclass(frozen=True)
class Theirs:
    """The engine, and the key that login tokens are signed with (HS256)."""

    engine: sa.Engine
    secret: str


def find() -> Theirs:
    """Look everything up. Raises `NotAsExpected`; then nothing of this package may run."""
    return Theirs(engine=find_engine(), secret=find_secret())


def find_engine() -> sa.Engine:
    name, members = ENGINE
    module = imported(name)
    for member in members:
        found = getattr(module, member, None)
        if isinstance(found, sa.Engine):
            if found.dialect.name != "postgresql":
                raise not_as_expected(f"{name}.{member} speaks to {found.dialect.name}; PostgreSQL is needed")
            return found
    raise not_as_expected(f"{name} has no SQLAlchemy engine (not asyncio) named {' or '.join(members)}")


def find_secret() -> str:
    """SECRET_KEY of the security module or of its settings, else of the environment."""
    for name in SECURITY:
        module = imported(name, needed=False)
        for place in (module, getattr(module, "settings", None), settings_of(module)):
            algorithm = first(place, ALGORITHM_NAMES)
            secret = first(place, SECRETS)
            if secret is not None:
                if algorithm not in (None, "HS256"):
                    raise not_as_expected(f"{name} signs tokens with {algorithm}; HS256 is known here")
                return secret
    for variable in SECRETS:
        if os.environ.get(variable):
            return os.environ[variable]
    wanted = " or ".join(SECRETS)
    raise not_as_expected(f"neither {', '.join(SECURITY)} nor the environment has {wanted}")


def settings_of(module: ModuleType | None) -> object:
    """What `get_settings()` of the module gives, if it has such a function."""
    function = getattr(module, "get_settings", None)
    return function() if callable(function) else None


def first(place: object, names: tuple[str, ...]) -> str | None:
    """The first of these attributes that holds a text, or a secret that gives one."""
    for name in names:
        value = getattr(place, name, None)
        value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        if isinstance(value, str) and value:
            return value
    return None


def imported(name: str, *, needed: bool = True) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not needed:
            return None
        raise not_as_expected(f"there is no module {name}") from error


def not_as_expected(what: str) -> NotAsExpected:
    return NotAsExpected(
        f"The integration API cannot start: {what}. Nothing was served. "
        "app/integration/theirs.py says what it expects of the backend; change it there."
    )


@dataclass(frozen=True)
class Person:
    """Somebody with a login; `role` in capitals."""

    role: str
    active: bool


def person_of(connection: sa.Connection, email: str) -> Person | None:
    """The account with this e-mail, the subject of a login token."""
    statement = sa.text("SELECT CAST(role AS text), is_active FROM users WHERE email = :email")
    row = connection.execute(statement, {"email": email}).one_or_none()
    return None if row is None else Person(role=str(row[0]).rpartition(".")[2].upper(), active=bool(row[1]))


COLUMNS = {
    "projects": ("id",),
    "assets": ("id", "project_id", "tag", "type", "description", "deleted_at", "version", "seq", "live_tag"),
    "integration_projects": ("project_id", "seq", "epoch"),
    "integration_keys": ("key_hash", "scopes"),
    "integration_answers": ("key", "answer"),
}
FILLED = frozenset({"id", "project_id", "plant3d_id", "tag", "type", "asset_type", "asset_subtype", "description",
                    "attributes", *ON_CREATE})  # fmt: skip


def schema_fault(connection: sa.Connection) -> str | None:
    """What is missing in the database, in one sentence, or None."""
    rows = connection.execute(
        sa.text(
            "SELECT table_name, column_name, is_nullable = 'NO' AND column_default IS NULL"
            " AND is_generated = 'NEVER' AND is_identity = 'NO' AS must"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
        )
    ).all()
    known = {(table, column) for table, column, _ in rows}
    for table, columns in COLUMNS.items():
        for column in columns:
            if (table, column) not in known:
                return f"the database has no column {table}.{column}: run `alembic upgrade head`"
    must = sorted(column for table, column, must in rows if table == "assets" and must and column not in FILLED)
    if must:
        return (
            f"assets.{must[0]} must have a value and has no default: "
            "name one in ON_CREATE of app/integration/theirs.py"
        )
    return None


def on_create(connection: sa.Connection) -> dict[str, str]:
    """Those of `ON_CREATE` that this database can hold: a text column, or an enum with that word."""
    rows = connection.execute(
        sa.text(
            "SELECT c.column_name, c.udt_name, array_to_string(array_agg(e.enumlabel::text), ',')"
            " FROM information_schema.columns c LEFT JOIN pg_type t ON t.typname = c.udt_name"
            " LEFT JOIN pg_enum e ON e.enumtypid = t.oid"
            " WHERE c.table_schema = current_schema() AND c.table_name = 'assets' GROUP BY 1, 2"
        )
    ).all()
    fits = {}
    for column, kind, words in rows:
        word = ON_CREATE.get(column)
        if word is not None and (kind in ("text", "varchar") or word in (words or "").split(",")):
            fits[column] = word
    return fits
