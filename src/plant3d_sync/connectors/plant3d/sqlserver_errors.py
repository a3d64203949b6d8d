"""What the errors of SQL Server and of its drivers mean, by number: their classes differ from driver to driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import DBAPIError

from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError

LOGIN_FAILED = frozenset({18456, 18450, 18452, 18470, 18486, 18487, 18488})
_LOGIN = 18456
_NO_WINDOWS_LOGIN = 18452
_KERBEROS: Final = range(1 << 16, 1 << 21, 1 << 16)
"""What the security library (GSSAPI) answers where Microsoft's driver asks it for a ticket: its codes, not the server's."""
_DATABASE_UNKNOWN = frozenset({4060, 911})
_NO_SUCH = frozenset({207, 208, 4413})
"""No such column, no such table, a view over one of them."""
_RIGHTS_MISSING = frozenset({229, 230, 916})
_MOMENTS: Final[Mapping[int, str]] = {
    **dict.fromkeys((9002, 1101, 1105, 40544), "its log or its files are full"),
    **dict.fromkeys((701, 802, 1204, 8628, 8645, 8651), "the server is short of memory or locks"),
    **dict.fromkeys(
        (954, 955, 956, 976, 978, 979, 981, 982, 983),
        "it is a secondary replica, or its availability group is failing over",
    ),
    **dict.fromkeys(
        (911, 922, 924, 927, 942, 945, 952, 4060, 9001),
        "it is offline, being restored, or open to one user only",
    ),
    **dict.fromkeys(
        (3951, 3952, 3956, 3957, 3958, 3961, 3966, 3967),
        "its isolation was just switched, or tempdb has no room for versions of rows",
    ),
    **dict.fromkeys(
        (596, 6005, 10928, 10929, 17142, 18401, 18451, 18461, 40197, 40501, 40613, 49918, 49919, 49920),
        "the server ended the session, or is shutting down, starting or too busy",
    ),
}
"""What the server could not do now, whatever was asked: no fault of the statement, nor of the row. 4060 and 911 only where
the same database was open before.
"""
_SQLSTATE_NUMBERS = {"40001": 1205, "28000": 18456}
_ODBC_NUMBER = re.compile(r"\((\d+)\) \(SQL\w+\)")
_NUMBER_AT_COMMIT = re.compile(r"Cannot \w+(?: back)? transaction: \((\d+),")
"""pymssql puts the server's error into a sentence of its own there."""
_LOOK_AT_THE_SERVERS_MESSAGE = 20018
_NOT_CONNECTED = 20002
"""Said of every login that came to nothing, behind the reason."""
_REACHED_AND_ENDED = "08001"
"""SQLSTATE of FreeTDS' ODBC driver for that, without a number; a server that nobody reaches is 08S01 there."""
_OF_A_REFUSED_LOGIN = "20018, severity 14"
_SEVERER: Final = frozenset(
    {911, 952, 9001, 701, 802, 1204, 8645, 596, 10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920}
)
"""Reasons why nobody was let in that are worse than a refused login: pymssql goes on naming the worst so far."""
_DBLIB_NUMBER = re.compile(r"DB-Lib error message (\d+)")
_OBJECT = re.compile(r"on the object '([^']+)'|permission denied for (?:table|view) (\w+?)(?:DB-Lib|\W|$)")
_NO_NUMBER_OF_ITS_OWN = 33557097
"""What Babelfish sends for each error of PostgreSQL that it has no number for; then the words tell."""
_POSTGRES_WORDS: Final = (
    ("permission denied", 229),
    ("due to lock timeout", 1222),
    ("could not obtain lock", 1222),
    ("could not serialize access", 3960),
    ("deadlock detected", 1205),
    ("read-only transaction", 3906),
    ("terminating connection", 596),
    ("database system is", 6005),
)
_POSTGRES_MISSING = re.compile(r"\b(relation|column) .+? does not exist")
_NO_SERVER_STATES = ("08", "HYT", "IM")
"""SQLSTATE classes of the ODBC driver itself: connection, timeout, driver manager. Their number is not the server's."""
_ENCRYPTION_WORDS = ("certificate", "ssl provider", "encryption not supported", "tls")


def sql_error_number(error: BaseException) -> int | None:
    """SQL Server's error number of a driver's exception, or None.

    The drivers disagree on classes (a deadlock is an OperationalError here, a plain Error there), so callers
    decide by number. pymssql: first argument. pyodbc: `(1205) (SQLExecDirectW)` in the text, else the SQLSTATE.
    """
    original = _original(error)
    number = _number_told(original)
    if number in _KERBEROS:
        return _NO_WINDOWS_LOGIN
    return _number_by_words(str(original)) if number == _NO_NUMBER_OF_ITS_OWN else number


def _number_by_words(words: str) -> int:
    """SQL Server's number for what PostgreSQL says in English, else the one that says nothing."""
    missing = _POSTGRES_MISSING.search(words)
    if missing:
        return 208 if missing[1] == "relation" else 207
    return next((number for said, number in _POSTGRES_WORDS if said in words), _NO_NUMBER_OF_ITS_OWN)


def _number_told(original: BaseException) -> int | None:
    arguments = original.args
    first = arguments[0] if arguments else None
    if isinstance(first, tuple) and first:
        return _dblib_number(first)
    if isinstance(first, int):
        return _dblib_number(arguments)
    words = str(original)
    at_commit = _NUMBER_AT_COMMIT.match(words)
    if at_commit:
        return int(at_commit[1])
    found = [int(number) for number in _ODBC_NUMBER.findall(words)]
    if isinstance(first, str) and first.startswith(_NO_SERVER_STATES) and "[SQL Server]" not in words:
        return None
    if 4060 in found or ("[SQL Server]Cannot open database" in words and 18456 in found):
        return 4060  # the login is refused as well then; this is the reason
    if found and found[-1] != 0:
        return found[-1]
    if first == _REACHED_AND_ENDED and "[FreeTDS]" in words:
        return _NOT_CONNECTED
    return _SQLSTATE_NUMBERS.get(first) if isinstance(first, str) else None


def moment_of(number: int | None) -> str | None:
    """Why the server could not do it now, where it was its moment and not what was asked."""
    return None if number is None else _MOMENTS.get(number)


def _dblib_number(arguments: tuple[object, ...]) -> int | None:
    """The number of a pymssql error.

    When no connection could be made, pymssql may report the number of an *earlier* failure in the same process;
    then the text holds only words of its own library, whose number is the true one, unless they say that the server
    itself has answered; of that answer they tell how severe it was. In front of them stands what nobody asked about: that another connection was found dead.
    """
    number = arguments[0]
    words = arguments[1] if len(arguments) > 1 else ""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    if _DBLIB_NUMBER.match(text):
        own = [int(found) for found in _DBLIB_NUMBER.findall(text)]
        if _LOOK_AT_THE_SERVERS_MESSAGE not in own:
            return next((one for one in reversed(own) if one != _NOT_CONNECTED), _NOT_CONNECTED)
        if number in _SEVERER and _OF_A_REFUSED_LOGIN in text:
            return _LOGIN
    return number if isinstance(number, int) else None


def _original(error: BaseException) -> BaseException:
    """The driver's own exception, where SQLAlchemy wrapped it."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlstate(error: BaseException) -> str:
    original = _original(error)
    first = original.args[0] if original.args else ""
    return first if isinstance(first, str) and len(first) == 5 else ""


def error_for(error: BaseException, address: ServerAddress) -> SyncError:
    """What an error of the server or of the connection means for this source. The address is shown without password."""
    number, name, words = sql_error_number(error), str(address), str(_original(error))
    details: dict[str, object] = {"number": number, "source": name}
    if _number_told(_original(error)) in _KERBEROS:
        return ConfigError(
            f"No Windows login by Kerberos to {name} could be made: {_last_sentence(error)}. Nothing was read or written.",
            hint="Without PLANT3D_DB_USER the login is the one of this account's Kerberos ticket: see `klist`, set "
            "KRB5_CLIENT_KTNAME or run kinit, and use the server's full name. Else set PLANT3D_DB_USER.",
            code="source_login_failed",
            details=details,
        )
    if number in LOGIN_FAILED:
        return ConfigError(
            f"SQL Server refused the login {address.user!r} for {name}. Nothing was read or written.",
            hint="Check PLANT3D_DB_USER and PLANT3D_DB_PASSWORD; the login needs db_datareader on the database.",
            code="source_login_failed",
            details=details,
        )
    if number in _DATABASE_UNKNOWN:
        return database_unknown(address, number=number)
    if number in _RIGHTS_MISSING:
        denied = _OBJECT.search(words)
        return ConfigError(
            f"The login {address.user!r} may not read {denied[1] or denied[2]} of {name}. Nothing was written."
            if denied
            else f"The login {address.user!r} may not read a table of {name}. Nothing was written.",
            hint="Run the script that `plant3d-sync grants PROJECT --role reader` prints; a DENY wins over every GRANT.",
            code="source_unreadable",
            details=details,
        )
    if _sqlstate(error) == "IM002" or "Can't open lib" in words:
        return ConfigError(
            "The ODBC driver could not be loaded. Nothing was read or written.",
            hint="Install it again, or choose another driver with PLANT3D_DB_DRIVER.",
            code="driver_missing",
            details=details,
        )
    if number is None and _sqlstate(error).startswith("08") and _speaks_of_encryption(words):
        return ConfigError(
            f"No encrypted connection to {name} could be made: {_last_sentence(error)}. Nothing was read or written.",
            hint="Let the server offer TLS with a certificate this machine trusts (SSL_CERT_FILE names a CA file).",
            code="source_encryption",
            details=details,
        )
    if number in _NO_SUCH:  # only what the server itself has listed is asked for
        return errors.reshaped(name, number)
    moment = moment_of(number)
    if moment is not None:
        return RetryLaterError(
            f"{name} cannot be read now: {moment} (error {number}). Nothing was written.",
            hint="The next run tries again. If it lasts, ask whoever runs the server.",
            code="source_away",
            details=details,
        )
    if number == _NOT_CONNECTED:
        return RetryLaterError(
            f"{name} was reached, and the connection ended before the login (error {number}). Nothing was written.",
            hint="The server may have no TLS, or a certificate that the CA file of FREETDSCONF does not know; without "
            "PLANT3D_DB_USER this account may have no Kerberos ticket (`klist`). The next run tries again.",
            code="source_away",
            details=details,
        )
    why = f"error {number}" if number else "connection lost or not possible"
    return RetryLaterError(
        f"Reading {name} failed ({why}). Nothing was written.",
        hint="The next run tries again. If it lasts, `doctor` checks host, port, encryption and login.",
        code="source_busy" if number in (1205, 1222) else "source_away",
        details=details,
    )


def database_unknown(address: ServerAddress, *, number: int | None) -> ConfigError:
    """The login is good, the database's name is not."""
    return ConfigError(
        f"SQL Server has no database {address.database!r} that this login may open ({address}). "
        "Nothing was read or written.",
        hint="The P&ID database is usually named PREFIX_PnId. `doctor` lists the databases this login sees.",
        code="source_database_unknown",
        details={"number": number, "source": str(address)},
    )


def database_closed(
    address: ServerAddress, state: str, access: str, *, number: int | None
) -> RetryLaterError:
    """The database is there and open to nobody now. `state`, `access`: as `sys.databases` calls them."""
    what = state if state != "ONLINE" else access
    return RetryLaterError(
        f"The database {address.database!r} lets nobody in now: SQL Server calls it {what} ({address}). "
        "Nothing was read or written.",
        hint="The next run tries again. If it lasts, ask whoever runs the server (restore, maintenance, single user).",
        code="source_away",
        details={"number": number, "source": str(address), "state": what},
    )


def _speaks_of_encryption(words: str) -> bool:
    return any(word in words.lower() for word in _ENCRYPTION_WORDS)


def _last_sentence(error: BaseException) -> str:
    """The driver's own words, without its brackets and numbers. Never contains the connection string."""
    original = _original(error)
    words = str(original.args[-1] if original.args else original)
    return _ODBC_NUMBER.sub("", words.rpartition("]")[2]).strip(" .;")
