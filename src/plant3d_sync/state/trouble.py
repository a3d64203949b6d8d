"""What a driver says about the state database, as our own errors.

Away or busy, or without room: RetryLaterError. There, but not as it must be (password, name, rights, encoding, a file
that is damaged or cannot be written): StateRefused, since waiting does not help.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from plant3d_sync.address import ESCAPES
from plant3d_sync.errors import ConfigError, RetryLaterError, StateRefused, SyncError

Hide = Callable[[str], str]

_PASSWORD = re.compile(
    r"password authentication failed|no password supplied|mot de passe échouée|aucun mot de passe",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"role .+ does not exist|is not permitted to log in|rôle .+ n'existe pas|n'est pas autorisé à se connecter",
    re.IGNORECASE,
)
_DATABASE = re.compile(r"database .+ does not exist|base de données .+ n'existe pas", re.IGNORECASE)
_ACCESS = re.compile(
    r"no pg_hba\.conf entry|pg_hba\.conf rejects|dans pg_hba\.conf|pg_hba\.conf rejette"
    r"|permission denied for database|droit refusé pour la base de données",
    re.IGNORECASE,
)
_NOT_AS_MADE = frozenset({"42P01", "42703", "3F000", "42704"})
"""PostgreSQL: a table, a column, a schema or a type that is not there."""

_PASSING = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""PostgreSQL: connection, transaction ended, conflict, no resources, not now, an operator stepped in, the system."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def translated(error: DBAPIError, shown: str, hide: Hide) -> SyncError | None:
    """Our error for a driver's, None if it is a fault of ours. `shown`: the address without its password."""
    state = getattr(error.orig, "sqlstate", None)
    number = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
    text = hide(str(error.orig)).strip()
    if state == "53100" or number == sqlite3.SQLITE_FULL:
        return RetryLaterError(
            f"The state database is full ({shown}). Nothing more was written anywhere.",
            hint="Free space, then run again; the next run continues by itself.",
            code="state_full",
        )
    if state == "25006" or number == sqlite3.SQLITE_READONLY:
        return read_only(shown)
    if state == "42501":
        return no_rights(shown, text)
    if state in _NOT_AS_MADE:
        return not_as_made(shown, text)
    if state in ("XX001", "XX002") or number in _DAMAGED:
        return damaged(shown, text)
    if isinstance(error, IntegrityError | DataError):
        return ConfigError(
            f"The state database ({shown}) refused what was to be remembered: {text}. "
            "This step was taken back in it.",
            hint="No data should be able to cause this: please report it with this message. "
            "What was sent to SYNAPSE before is on record; the next run looks for it there.",
            code="state_refused",
        )
    passing = isinstance(error, OperationalError) or str(state)[:2] in _PASSING
    if not passing and not error.connection_invalidated and not isinstance(error, InterfaceError):
        return None
    return _refused_login(shown, text) or RetryLaterError(
        f"The state database cannot be used now ({shown}): {text}",
        hint="Check that it is running and reachable; the next run continues by itself.",
        code="state_unavailable",
    )


def _refused_login(shown: str, text: str) -> StateRefused | None:
    """The server answered and let us not in. It gives no code for that, only its words, English or French."""
    if _PASSWORD.search(text):
        return StateRefused(
            f"The state database does not accept the password ({shown}). Nothing was done. The server says: {text}",
            hint=f"Correct the password in STATE_DB_URL. In a password {ESCAPES}.",
            code="state_password",
        )
    if _LOGIN.search(text):
        return StateRefused(
            f"The state database does not know this user ({shown}). Nothing was done. The server says: {text}",
            hint="Correct the user in STATE_DB_URL, or make it: CREATE ROLE user LOGIN PASSWORD '…';",
            code="state_login",
        )
    if _ACCESS.search(text):
        return StateRefused(
            f"The state database lets this user not in ({shown}). Nothing was done. The server says: {text}",
            hint="Let it in: a line in pg_hba.conf for this machine, and GRANT CONNECT ON DATABASE name TO user;",
            code="state_access",
        )
    if _DATABASE.search(text):
        return StateRefused(
            f"The state database does not exist ({shown}). Nothing was done. The server says: {text}",
            hint="Make it: CREATE DATABASE name OWNER user ENCODING 'UTF8' TEMPLATE template0; or correct STATE_DB_URL.",
            code="state_missing",
        )
    return None


def damaged(shown: str, what: str) -> StateRefused:
    """SQLite cannot make sense of its file any more."""
    return StateRefused(
        f"The state database is damaged ({shown}): {what}. Nothing more was written anywhere.",
        hint="Put the last backup of it back. Without one move it away: the next pull is a reviewed new beginning.",
        code="state_damaged",
    )


def not_as_made(shown: str, what: str) -> StateRefused:
    """Something that we made is not there any more."""
    return StateRefused(
        f"The state database is not as plant3d-sync made it ({shown}): {what}. Nothing was done.",
        hint="Somebody removed or renamed it: put the last backup back. If search_path was changed, set it back.",
        code="state_altered",
    )


def read_only(shown: str) -> StateRefused:
    """It can be read and not be written."""
    return StateRefused(
        f"The state database cannot be written, only read ({shown}). Nothing more was written anywhere.",
        hint="SQLite: give this user the right to write the file and its folder. PostgreSQL: name the primary server, "
        "not a standby; default_transaction_read_only must be off.",
        code="state_read_only",
    )


def no_rights(shown: str, what: str) -> StateRefused:
    """The login may not do what we need."""
    return StateRefused(
        f"The login of the state database may not do what is needed ({shown}): {what}. Nothing was done.",
        hint="Make it the owner (ALTER DATABASE name OWNER TO user; ALTER SCHEMA public OWNER TO user;), "
        "or GRANT USAGE, CREATE ON SCHEMA public and all rights on our tables.",
        code="state_rights",
    )


def wrong_encoding(shown: str, encoding: str) -> StateRefused:
    """PostgreSQL keeps the encoding of a database for good."""
    return StateRefused(
        f"The state database has the encoding {encoding}, and names of plants need UTF8 ({shown}). Nothing was done.",
        hint="Make another one: CREATE DATABASE name OWNER user ENCODING 'UTF8' TEMPLATE template0; and name it in "
        "STATE_DB_URL. An encoding cannot be changed afterwards.",
        code="state_encoding",
    )


def too_busy(shown: str) -> RetryLaterError:
    """Every connection of this process is in use."""
    return RetryLaterError(
        f"Every connection to the state database is in use ({shown}). Nothing was done.",
        hint="Try again in a moment.",
        code="state_busy",
    )


def unknown_name(shown: str, why: str) -> RetryLaterError:
    """The server's name has no address now."""
    return RetryLaterError(
        f"The server of the state database cannot be found ({shown}): {why}. Nothing was done.",
        hint="Check the name in STATE_DB_URL and the name server of this machine.",
        code="state_unavailable",
    )
