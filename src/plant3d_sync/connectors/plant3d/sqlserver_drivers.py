"""Which driver reaches SQL Server from this machine, and what exactly it is told.

Chosen by what is installed: Microsoft's ODBC driver through pyodbc first (it checks the certificate), then FreeTDS through
pyodbc (half the CPU of pymssql for the same rows, values apart from the statement, TLS that the system keeps up to date),
then pymssql; before FreeTDS where FREETDSCONF names a CA file, which FreeTDS' ODBC driver does not read.
A driver that the address names is never replaced by another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import msgspec

from plant3d_sync.connectors.plant3d.elsewhere import in_a_thread
from plant3d_sync.connectors.plant3d.sqlserver_address import (
    FREETDS_NAMES,
    MICROSOFT_NAMES,
    ServerAddress,
    connection_string,
)
from plant3d_sync.errors import ConfigError

APP_NAME: Final = "plant3d-sync"
Family = Literal["microsoft", "freetds"]

_OLDEST_MICROSOFT = 17
_PYMSSQL_OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "charset": str,
    "encryption": str,
    "tds_version": str,
    "appname": str,
    "read_only": lambda text: text.lower() in ("1", "true", "yes"),
}
"""Options of a pymssql URL that are passed on."""

_OURS: Final = frozenset({"autocommit", "ansi", "unicode_results", "timeout", "login_timeout"})
"""Options that SQLAlchemy or pyodbc would take; here the program decides them."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The driver for one address. `odbc`: name or file of the ODBC driver, None with pymssql or a data source."""

    module: Literal["pyodbc", "pymssql"]
    odbc: str | None = None
    family: Family = "freetds"

    def __str__(self) -> str:
        """For people."""
        return f"{self.module} with {self.odbc}" if self.odbc else self.module


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connection waits for anything. Every connection gets all three; there is no wait without an end.

    `login`, `statement`: seconds for the login and for one statement, silence of the server included. `lock_ms`:
    milliseconds a statement waits for somebody else's lock (then error 1222).
    """

    login: int = 15
    statement: int = 60
    lock_ms: int = 5000


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a connection is made: the driver and what it is told, password included."""

    chosen: Chosen
    name: str
    """The address, for people."""
    words: str = field(default="", repr=False)
    arguments: Mapping[str, object] = field(default_factory=dict, repr=False)

    def connect(self, limits: Limits) -> Any:
        """A connection of the driver itself in autocommit mode, with its limits and with messages in English.

        pymssql understands some errors by their English text only. Raises the driver's errors, and RetryLaterError
        `source_silent` where it came to no end.
        """
        module = _imported(self.chosen.module)
        if self.chosen.module == "pyodbc":
            connection = (
                in_a_thread(  # behind the login pyodbc asks for the sizes of types, and waits without end
                    self.name,
                    lambda: module.connect(self.words, timeout=limits.login, autocommit=True),
                    limits.login + limits.statement,
                )
            )
        else:
            connection = module.connect(
                **self.arguments, login_timeout=limits.login, timeout=limits.statement, autocommit=True
            )
        self.limit(connection, limits.statement)
        cursor = connection.cursor()
        cursor.execute(
            f"SET LANGUAGE us_english; SET LOCK_TIMEOUT {limits.lock_ms}; SET IMPLICIT_TRANSACTIONS OFF"
        )
        cursor.close()
        return connection

    def limit(self, connection: Any, seconds: int) -> None:
        """Give up statements of this connection after this many seconds.

        pymssql has one such limit for the whole process: there it is the longest silence, and the last one set counts.
        """
        if self.chosen.module == "pyodbc":
            connection.timeout = seconds
        else:
            connection._conn.query_timeout = seconds

    def pieces(self, connection: Any, cursor: Any, rows: int) -> Iterator[list[Sequence[Any]]]:
        """What the cursor's statement answers, so many rows at a time.

        pymssql's cursor spends as much on a row as on its cells; its lower half gives the same tuples without that.
        """
        if self.chosen.module == "pyodbc":
            while piece := cursor.fetchmany(rows):
                yield piece
            return
        found = connection._conn.get_iterator(import_module("pymssql._mssql").ROW_FORMAT_TUPLE)
        whole = True
        while whole and (piece := list(islice(found, rows))):
            whole = len(piece) == rows  # after the last row it would go on to another statement's
            yield piece

    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises."""
        module = _imported(self.chosen.module)
        return (module.Error, *untidy_errors(self.chosen.module))


IN_WORDS: Final = {
    "do_begin": "BEGIN TRANSACTION",
    "do_commit": "COMMIT TRANSACTION",
    "do_rollback": "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION",
}
"""SQLAlchemy's names for the steps of a transaction, and what is sent for each."""


def transactions_in_words(dialect: Any, *, autocommit: bool) -> None:
    """Begin and end transactions by statements of our own, on connections that the driver believes to be in autocommit mode.

    The drivers' own ways differ where it counts. A begin, commit or rollback of FreeTDS' ODBC driver waits without end. Where
    the server has rolled back by itself (a deadlock), a rollback there and with pymssql is an error after which no
    transaction is open, so each statement that follows would be written at once. A statement has its limit with each
    driver, and this rollback is one whatever was open. `autocommit`: neither begin nor end anything.
    """

    def run(words: str, connection: Any) -> None:
        if autocommit:
            return
        cursor = connection.cursor()
        try:
            cursor.execute(words)
        finally:
            cursor.close()

    for name, words in IN_WORDS.items():
        setattr(dialect, name, partial(run, words))


def untidy_errors(module: str) -> tuple[type[Exception], ...]:
    """pymssql lets errors of its lower half out that are no DB-API errors."""
    if module != "pymssql":
        return ()
    lower: type[Exception] = import_module("pymssql._mssql").MSSQLException
    return (lower,)


def recipe_for(address: ServerAddress) -> Recipe:
    """Prove that a connection to this address can be built here, without making one.

    The driver can be imported, the ODBC driver is registered, the options are ones it knows, and encryption is asked
    for in its own word. Raises ConfigError `driver_missing`, `source_url`.
    """
    chosen = choose_driver(address)
    if chosen.module == "pymssql":
        return Recipe(chosen=chosen, name=str(address), arguments=_pymssql_arguments(address))
    return Recipe(chosen=chosen, name=str(address), words=_odbc_words(address, chosen))


def choose_driver(address: ServerAddress) -> Chosen:
    """The driver this address names, else the best one installed. Raises ConfigError `driver_missing`."""
    if address.driver == "pymssql":
        _usable("pymssql")
        return Chosen(module="pymssql")
    if address.driver == "pyodbc":
        return _pyodbc(address)
    registered = _registered_quietly()
    unsaid = address.odbc_driver is None and address.dsn is None
    checked = unsaid and freetds_authorities() is not None and _why_not("pymssql") is None
    if any(_version(name) or (FREETDS_NAMES.fullmatch(name) and not checked) for name in registered):
        return _pyodbc(address)
    if _why_not("pymssql") is None:
        return Chosen(module="pymssql")
    raise _missing(
        "No SQL Server driver can be used here: "
        f"pymssql: {_why_not('pymssql')}; pyodbc: {_why_not('pyodbc') or _listed(registered)}"
    )


def _pyodbc(address: ServerAddress) -> Chosen:
    _usable("pyodbc")
    if address.dsn is not None:
        sources: dict[str, str] = _imported("pyodbc").dataSources()
        behind = next(
            (driver for name, driver in sources.items() if name.lower() == address.dsn.lower()), None
        )
        if behind is None:
            listed = ", ".join(sorted(sources)) or "none"
            raise _missing(f"The ODBC data source {address.dsn!r} is not known here (known: {listed})")
        return Chosen(module="pyodbc", odbc=None, family=_family(address.odbc_driver or behind, address))
    registered = _registered()
    if address.odbc_driver is not None:
        return _named_odbc(address.odbc_driver, registered, address)
    best = max(registered, key=_version, default="")
    if not _version(best):
        best = next((name for name in registered if FREETDS_NAMES.fullmatch(name)), "")
    if not best:
        raise _missing(
            f"The SQL Server driver pyodbc finds no ODBC driver for SQL Server ({_listed(registered)})"
        )
    return Chosen(module="pyodbc", odbc=best, family=_family(best, address))


def _named_odbc(name: str, registered: list[str], address: ServerAddress) -> Chosen:
    spelled = next((one for one in registered if one.lower() == name.lower()), None)
    if spelled is None and not Path(name).is_file():
        raise _missing(f"The ODBC driver {name!r} is not registered here ({_listed(registered)})")
    return Chosen(module="pyodbc", odbc=spelled or name, family=_family(spelled or name, address))


def _family(name: str, address: ServerAddress) -> Family:
    """Whose words the driver understands. Raises ConfigError for one of which nobody can tell if it encrypts."""
    if FREETDS_NAMES.fullmatch(name):
        return "freetds"
    if MICROSOFT_NAMES.fullmatch(name):
        return "microsoft"
    if address.option("Encryption") is not None:
        return "freetds"
    if address.option("Encrypt") is not None:
        return "microsoft"
    raise ConfigError(
        f"How the ODBC driver {name!r} is told to encrypt is not known. Nothing was read or written.",
        hint="Add its word to the URL: Encrypt=yes for drivers of Microsoft, Encryption=require for FreeTDS.",
        code="driver_missing",
        details={"driver": name},
    )


def _version(name: str) -> int:
    """The number in `ODBC Driver 18 for SQL Server`; 0 for every other driver and for those too old."""
    found = re.fullmatch(r"ODBC Driver (\d+) for SQL Server", name, re.IGNORECASE)
    version = int(found[1]) if found else 0
    return version if version >= _OLDEST_MICROSOFT else 0


def _registered() -> list[str]:
    drivers: list[str] = list(_imported("pyodbc").drivers())
    return drivers


def _registered_quietly() -> list[str]:
    return [] if _why_not("pyodbc") else _registered()


def _listed(registered: list[str]) -> str:
    return f"registered: {', '.join(sorted(registered))}" if registered else "none is registered"


def _imported(name: str) -> ModuleType:
    return import_module(name)


def _why_not(name: str) -> str | None:
    """Why a module cannot be imported (it, or a system library it needs, is missing), None when it can."""
    try:
        _imported(name)
    except ImportError as error:
        return str(error)
    return None


def _usable(name: str) -> None:
    why = _why_not(name)
    if why is not None:
        raise _missing(f"The SQL Server driver {name} cannot be used: {why}")


def _missing(what: str) -> ConfigError:
    return ConfigError(
        f"{what}. Nothing was read or written.",
        hint="Choose one that is installed with PLANT3D_DB_DRIVER (pymssql, pyodbc, or the name of an ODBC driver), or "
        "install one: Microsoft's package msodbcsql18, or pip install 'plant3d-sync[sqlserver]'.",
        code="driver_missing",
    )


# ---------------------------------------------------------------- what the driver is told


def _pymssql_arguments(address: ServerAddress) -> dict[str, object]:
    if address.server is None:
        raise ConfigError(
            "pymssql knows no ODBC data sources. Nothing was read or written.",
            hint="Name the server: mssql+pymssql://USER:PASSWORD@HOST/DATABASE.",
            code="source_url",
        )
    arguments: dict[str, object] = {
        "server": address.server.for_pymssql,
        "user": address.user,
        "password": address.password,
        "database": address.database,
        "appname": APP_NAME,
        "encryption": "require",
        "use_datetime2": True,
    }
    for key, value in address.options.items():
        if key.lower() in _OURS or key.lower() == "use_datetime2":
            continue
        if key.lower() not in _PYMSSQL_OPTIONS:
            known = ", ".join(_PYMSSQL_OPTIONS)
            raise ConfigError(
                f"pymssql has no option {key!r}. Nothing was read or written.",
                hint=f"Options of a pymssql URL: {known}. Encrypt and TrustServerCertificate belong to pyodbc.",
                code="source_url",
            )
        arguments[key.lower()] = _PYMSSQL_OPTIONS[key.lower()](value)
    return arguments


def _odbc_words(address: ServerAddress, chosen: Chosen) -> str:
    pairs: list[tuple[str, str]] = []
    if address.dsn is not None:
        pairs.append(("DSN", address.dsn))
    if address.server is not None:
        pairs.append(("Server", address.server.for_odbc))
    if address.database:
        pairs.append(("Database", address.database))
    if address.user is not None:
        pairs += [("UID", address.user), ("PWD", address.password or "")]
    given = {key.lower() for key in address.options}
    if address.user is None and address.dsn is None and not {"trusted_connection", "authentication"} & given:
        pairs.append(("Trusted_Connection", "Yes"))
    encryption = ("Encrypt", "yes") if chosen.family == "microsoft" else ("Encryption", "require")
    if encryption[0].lower() not in given:
        pairs.append(encryption)
    if "app" not in given:
        pairs.append(("APP", APP_NAME))
    pairs += [(key, value) for key, value in address.options.items() if key.lower() not in _OURS]
    driver = f"DRIVER={{{chosen.odbc.replace('}', '}}')}}};" if chosen.odbc else ""
    return driver + connection_string(pairs, freetds=chosen.family == "freetds")


# ---------------------------------------------------------------- encryption


class Encryption(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of the encryption of a connection before it is made.

    `level`: `verified` (encrypted, and the server proved who it is), `unverified` (encrypted, any certificate is
    accepted), `off` (not demanded).
    """

    level: Literal["verified", "unverified", "off"]
    message: str
    hint: str = ""


_OFF: Final = frozenset({"no", "false", "optional", "off", "0", "request", "default"})
_TRUE: Final = frozenset({"yes", "true", "1"})


def encryption_of(address: ServerAddress, chosen: Chosen) -> Encryption:
    """How far this connection is protected, in the words of the driver that makes it."""
    word = address.option("Encrypt" if chosen.family == "microsoft" else "Encryption")
    if word is not None and word.lower() in _OFF:
        return Encryption(
            level="off",
            message="switched off in the URL",
            hint="Remove that option from the URL; give the server a certificate this machine trusts.",
        )
    if chosen.family == "microsoft":
        if (address.option("TrustServerCertificate") or "").lower() in _TRUE:
            return Encryption(
                level="unverified",
                message="required, but any certificate is accepted",
                hint="Install the certificate of the company's CA here and remove TrustServerCertificate.",
            )
        return Encryption(level="verified", message="required, and the server's certificate is checked")
    if chosen.module == "pyodbc":  # told a server, FreeTDS' ODBC driver reads no freetds.conf
        return Encryption(
            level="unverified",
            message="required, but FreeTDS accepts any certificate",
            hint="Name the company's CA file in freetds.conf ([global], `ca file = …`) and that file in FREETDSCONF, "
            "and take pymssql (PLANT3D_DB_DRIVER): FreeTDS' ODBC driver does not read it.",
        )
    authorities = freetds_authorities()
    if authorities is None:
        return Encryption(
            level="unverified",
            message="required, but FreeTDS accepts any certificate",
            hint="Name the company's CA file in freetds.conf ([global], `ca file = …`) and that file in FREETDSCONF.",
        )
    return Encryption(
        level="verified", message=f"required, and the server's certificate is checked ({authorities})"
    )


def freetds_authorities(environ: Mapping[str, str] | None = None) -> str | None:
    """The `ca file` in the [global] section of the file FREETDSCONF names, None when there is none to be read."""
    name = (os.environ if environ is None else environ).get("FREETDSCONF")
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines() if name else []
    except (OSError, UnicodeDecodeError):
        return None
    section, found = "", None
    for line in (line.strip() for line in lines):
        if line.startswith("["):
            section = line.strip("[] ").lower()
        key, equals, value = line.partition("=")
        if equals and section == "global" and " ".join(key.lower().split()) == "ca file":
            found = value.strip() or None
    return found if found == "system" or (found and Path(found).is_file()) else None
