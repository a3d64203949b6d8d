"""Where a SQL Server database is: every spelling people have for it, understood once.

`ServerAddress` is made from the plan's variables, from a SQLAlchemy URL, or from a connection string as SQL Server's
own tools write it. Checking, connecting, `doctor`, messages and the hiding of secrets all use this one object.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec
from sqlalchemy import URL

from plant3d_sync.address import split
from plant3d_sync.errors import ConfigError

DEFAULT_PORT: Final = 1433
"""Where the default instance listens."""

DRIVERS: Final = ("pyodbc", "pymssql")
"""Python modules that can reach SQL Server, the preferred one first."""

MICROSOFT_NAMES: Final = re.compile(
    r"ODBC Driver \d+ for SQL Server|SQL Server(?: Native Client.*)?|.*msodbcsql.*", re.IGNORECASE
)
"""Names and files of Microsoft's ODBC drivers."""

FREETDS_NAMES: Final = re.compile(r".*(?:freetds|tdsodbc).*", re.IGNORECASE)
"""Names and files of FreeTDS' ODBC driver."""

_DEFAULT_INSTANCE = "mssqlserver"
_LOCAL_NAMES = frozenset({".", "(local)", "localhost"})
_HIGHEST_PORT = 65535
_HOW = "Write HOST, HOST\\INSTANCE or HOST,PORT (SQL Server listens on TCP/IP)."

_SCHEME = re.compile(r"mssql(?:\+\w+)?", re.IGNORECASE)
_EXAMPLE = "mssql://USER:PASSWORD@HOST:1433/DATABASE"
_CONNECTION_STRING = re.compile(
    r"(?:^|;)\s*(?:driver|server|data source|addr|address|dsn)\s*=", re.IGNORECASE
)
_PAIR = re.compile(r"\s*(?P<name>[^=;{}]+?)\s*=\s*(?P<value>\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)")
_TRANSPORT = re.compile(r"(?P<transport>tcp|np|lpc|admin):(?!\d+$)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_FORBIDDEN_IN_NAMES = re.compile(r"[\x00-\x20;={}\"'/@?#]")

_KEYWORDS: Final = {
    "server": ("server", "data source", "address", "addr", "network address"),
    "database": ("database", "initial catalog"),
    "user": ("uid", "user id", "user"),
    "password": ("pwd", "password"),
}
"""What the keywords of a connection string mean here, ODBC's and ADO.NET's."""


class ServerName(msgspec.Struct, frozen=True, kw_only=True):
    """A server as SQL Server's tools name it.

    `instance`: None for the default one. `port`: None where the instance's port has to be asked for; a port that is
    given wins over the instance, as in those tools.
    """

    host: str
    instance: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """`HOST`, `HOST\\INSTANCE`, `HOST,PORT` or both; the default port is left out."""
        instance = f"\\{self.instance}" if self.instance else ""
        port = (
            f",{self.port}" if self.port is not None and (self.instance or self.port != DEFAULT_PORT) else ""
        )
        return f"{self._bracketed}{instance}{port}"

    @property
    def tcp_port(self) -> int | None:
        """The port to connect to, None while only the SQL Server Browser knows it."""
        return self.port if self.port is not None or self.instance else DEFAULT_PORT

    @property
    def in_url(self) -> str:
        """The host part of a URL: `HOST:PORT`, `HOST\\INSTANCE`, `[ADDRESS]:PORT`."""
        instance = f"\\{self.instance}" if self.instance else ""
        port = f":{self.tcp_port}" if self.tcp_port is not None else ""
        return f"{self._bracketed}{instance}{port}"

    @property
    def for_odbc(self) -> str:
        """The value of `Server=`. A port is always named unless an instance is."""
        if self.tcp_port is None:
            return f"{self.host}\\{self.instance}"
        return f"{self.host},{self.tcp_port}"

    @property
    def for_pymssql(self) -> str:
        """The server as FreeTDS wants it, port included."""
        if self.tcp_port is None:
            return f"{self.host}\\{self.instance}"
        return f"{self._bracketed}:{self.tcp_port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_server(text: str) -> ServerName:
    """Understand one server name. Raises ConfigError `source_url` for what cannot be reached over TCP/IP.

    `HOST`, `HOST\\INSTANCE`, `HOST,PORT`, `HOST:PORT`, `HOST\\INSTANCE,PORT`, each also after `tcp:`; for the host
    `.`, `(local)`, a name, an IPv4 address, an IPv6 address with or without brackets.
    """
    name = text.strip().strip("\"'")
    transport = _TRANSPORT.fullmatch(name)
    if transport is not None:
        kind = transport["transport"].lower()
        if kind != "tcp":
            raise _refused(text, _TRANSPORTS[kind])
        name = transport["rest"].strip()
    if name.startswith("\\\\"):
        raise _refused(text, "that names a pipe or a share, and a pipe only works between Windows machines")
    if name.lower().startswith("(localdb)"):
        raise _refused(text, "LocalDB has no network address and serves one Windows user only")
    rest, port = _cut_port(name, text)
    host, instance = _cut_instance(rest, text)
    if host.lower() in _LOCAL_NAMES:
        host = "localhost"
    if not host:
        raise _refused(text, "the host is missing")
    if _FORBIDDEN_IN_NAMES.search(host + (instance or "")):
        raise _refused(text, "it holds a character that no server name has")
    if instance is not None and instance.lower() == _DEFAULT_INSTANCE:
        instance = None
    return ServerName(host=host, instance=instance, port=port)


_TRANSPORTS: Final = {
    "np": "named pipes (np:) only work between Windows machines",
    "lpc": "shared memory (lpc:) only works on the server itself",
    "admin": "the administrator's connection (admin:) is not for programs",
}


def _cut_port(name: str, given: str) -> tuple[str, int | None]:
    """The name without its port; commas and colons both count, brackets keep an IPv6 address together."""
    if name.startswith("["):
        inner, closed, rest = name[1:].partition("]")
        if not closed or not _is_ipv6(inner):
            raise _refused(given, "the address in brackets is no IPv6 address")
        tail = re.fullmatch(r"(?P<instance>\\+[^,:\\]+)?(?:\s*[,:]\s*(?P<port>[^,:]*))?", rest)
        if tail is None:
            raise _refused(given, "something unknown follows the address in brackets")
        port = None if tail["port"] is None else _port(tail["port"], given)
        return f"{inner}{tail['instance'] or ''}", port
    before, comma, after = name.rpartition(",")
    if comma:
        return before.strip(), _port(after, given)
    if _is_ipv6(name.partition("\\")[0]):
        return name, None
    before, colon, after = name.rpartition(":")
    return (before.strip(), _port(after, given)) if colon else (name, None)


def _cut_instance(name: str, given: str) -> tuple[str, str | None]:
    parts = re.split(r"\\+", name)
    if len(parts) > 2 or (len(parts) == 2 and not parts[1].strip()):
        raise _refused(given, "it holds more than one backslash, or no instance after it")
    host = parts[0].strip().removeprefix("[").removesuffix("]")
    return host, parts[1].strip() if len(parts) == 2 else None


def _port(text: str, given: str) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= _HIGHEST_PORT:
        raise _refused(given, "its port is not a number from 1 to 65535")
    return int(digits)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).version == 6
    except ValueError:
        return False


def _refused(given: str, why: str) -> ConfigError:
    told = (
        f"***@{given.rpartition('@')[2]!r}" if "@" in given else repr(given)
    )  # a login that stands in the wrong place
    return ConfigError(
        f"The server {told} cannot be used: {why}. Nothing was read or written.",
        hint=_HOW,
        code="source_url",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """One database on one SQL Server, with the login and the driver's options.

    `server`: None when an ODBC data source (`dsn`) says where it is. `driver`: `pyodbc`, `pymssql`, or None for
    whichever is installed. `odbc_driver`: name or file of the ODBC driver, None for the best one registered.
    `options`: what the URL gives the driver besides that, keys as given. Its `repr` holds no password.
    """

    server: ServerName | None
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    driver: str | None = None
    odbc_driver: str | None = None
    dsn: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """For people: no password, no options."""
        return self._url(hide=True)

    @property
    def where(self) -> str:
        """The server, for people."""
        return str(self.server) if self.server is not None else f"the ODBC data source {self.dsn}"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL, password included: hand it on, never print it."""
        return self._url(hide=False)

    def option(self, name: str) -> str | None:
        """An option of the URL, whatever its case; None when it is not given."""
        return next((value for key, value in self.options.items() if key.lower() == name.lower()), None)

    def in_database(self, name: str) -> ServerAddress:
        """Another database of the same server."""
        return replace(self, database=name)

    def secrets(self) -> tuple[str, ...]:
        """Every spelling of the password that could turn up in a text."""
        if not self.password:
            return ()
        spellings = (self.password, quote(self.password, safe=""), _braced(self.password))
        return tuple(dict.fromkeys(spellings))

    def _url(self, *, hide: bool) -> str:
        login = ""
        if self.user is not None:
            secret = "***" if hide else quote(self.password or "", safe="")
            login = quote(self.user, safe="") + (f":{secret}" if self.password is not None else "") + "@"
        named = {"driver": self.odbc_driver, "dsn": self.dsn}
        query = {key: value for key, value in named.items() if value is not None} | dict(self.options)
        return (
            f"mssql{'+' + self.driver if self.driver else ''}://{login}"
            f"{self.server.in_url if self.server is not None else ''}/{quote(self.database, safe=' ')}"
            f"{'?' + urlencode(query) if query and not hide else ''}"
        )


def is_sqlserver(spec: str) -> bool:
    """Whether a source is on SQL Server: an `mssql` URL or a connection string, not a file."""
    return spec.strip().lower().startswith("mssql") and "://" in spec or _is_connection_string(spec)


def _is_connection_string(spec: str) -> bool:
    return "=" in spec and "://" not in spec.partition("=")[0] and _CONNECTION_STRING.search(spec) is not None


def from_variables(
    host: str,
    port: int | None,
    name: str,
    user: str | None,
    password: str | None,
    driver: str | None = None,
) -> ServerAddress:
    """The address of `PLANT3D_DB_HOST`, `_PORT`, `_NAME`, `_USER`, `_PASSWORD` and `_DRIVER`.

    `host` may be any server name. 1433 next to an instance, or next to a port in `host`, is the plan's example value
    and says nothing. `driver`: `pyodbc`, `pymssql`, or the name of an ODBC driver.
    Raises ConfigError `source_url`.
    """
    server = parse_server(host)
    explicit = port if port != DEFAULT_PORT or (server.instance is None and server.port is None) else None
    if explicit is not None and server.port not in (None, explicit):
        raise _refused(host, f"PLANT3D_DB_PORT says {explicit}, PLANT3D_DB_HOST says {server.port}")
    if explicit is not None:
        server = msgspec.structs.replace(server, port=explicit)
    module, odbc = _driver_words(driver)
    return ServerAddress(
        server=server,
        database=_named_database(name),
        user=user or None,
        password=password if user else None,
        driver=module,
        odbc_driver=odbc,
    )


def with_driver(address: ServerAddress, driver: str | None) -> ServerAddress:
    """The address with the driver of `PLANT3D_DB_DRIVER`, where it names none itself. Raises ConfigError `driver_missing`."""
    if address.driver or address.odbc_driver or address.dsn:
        return address
    module, odbc = _driver_words(driver)
    return replace(address, driver=module, odbc_driver=odbc)


def _driver_words(driver: str | None) -> tuple[str | None, str | None]:
    """Module and ODBC driver of one word: either a module's name or the name of an ODBC driver.

    Also as it stands in a URL (`mssql+pymssql`) or in a connection string (in braces).
    """
    word = (driver or "").strip().strip("\"'").removeprefix("{").removesuffix("}").strip()
    if not word:
        return None, None
    if _SCHEME.fullmatch(word.removesuffix("://")):
        word = word.removesuffix("://").partition("+")[2]
    if word.lower() in DRIVERS:
        return word.lower(), None
    if not (MICROSOFT_NAMES.fullmatch(word) or FREETDS_NAMES.fullmatch(word)):
        raise ConfigError(
            f"There is no SQL Server driver {word!r}. Nothing was read or written.",
            hint="Use pymssql, pyodbc, or the name of an ODBC driver, such as ODBC Driver 18 for SQL Server or FreeTDS.",
            code="driver_missing",
            details={"driver": word},
        )
    return "pyodbc", word


def parse_address(spec: str | URL) -> ServerAddress:
    """Understand a SQLAlchemy URL (`mssql://`, `mssql+pyodbc://`, `mssql+pymssql://`) or a connection string.

    Raises ConfigError `source_url`, `driver_missing` (a driver that is not supported). No message holds a password.
    """
    text = (spec.render_as_string(hide_password=False) if isinstance(spec, URL) else spec).strip()
    if _is_connection_string(text):
        return _from_connection_string(text, None)
    scheme, colon, rest = text.partition("://")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise _not_understood("it is no mssql:// URL and no connection string")
    driver = _module(scheme)
    found = split(rest, name="The address of the SQL Server database", code="source_url", example=_EXAMPLE)
    path, _, query = found.tail.partition("?")
    options = _options(query)
    words = _taken(options, "odbc_connect")
    if words is not None:
        inner = _from_connection_string(words, driver or "pyodbc")
        return replace(inner, options={**inner.options, **options})
    server = _server_of_url(found.host, _taken(options, "port"))
    dsn, odbc = _taken(options, "dsn"), _taken(options, "driver")
    user = found.user or None
    database = unquote(path.removeprefix("/"))
    if server is not None and not database and driver == "pyodbc" and odbc is None:
        server, dsn = None, dsn or unquote(found.host)  # SQLAlchemy's spelling of a data source
    if server is None and dsn is None:
        raise _not_understood("it names no server")
    return ServerAddress(
        server=server,
        database=database if dsn else _named_database(database),
        user=user,
        password=found.password if user else None,
        driver=driver,
        odbc_driver=odbc,
        dsn=dsn,
        options=options,
    )


def _module(scheme: str) -> str | None:
    driver = scheme.lower().partition("+")[2]
    if driver and driver not in DRIVERS:
        raise ConfigError(
            f"The SQL Server driver {driver} cannot be used: it is not supported. Nothing was read or written.",
            hint="Use mssql+pyodbc:// or mssql+pymssql://, or mssql:// for whichever is installed.",
            code="driver_missing",
            details={"driver": driver},
        )
    return driver or None


def _server_of_url(text: str, port: str | None) -> ServerName | None:
    server = parse_server(unquote(text)) if text.strip() else None
    if server is not None and port is not None and server.port is None:
        return msgspec.structs.replace(server, port=_port(port, text))
    return server


def _options(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _taken(options: dict[str, str], *names: str) -> str | None:
    """The first option of one of these names, in any case, removed; a later spelling of the same is dropped too."""
    found = None
    for key in [key for key in options if key.lower() in names]:
        value = options.pop(key)
        found = value if found is None else found
    return found or None


def _from_connection_string(text: str, driver: str | None) -> ServerAddress:
    pairs = _pairs(text)
    taken = {meaning: _taken(pairs, *names) for meaning, names in _KEYWORDS.items()}
    odbc, dsn, port = _taken(pairs, "driver"), _taken(pairs, "dsn"), _taken(pairs, "port")
    server = parse_server(taken["server"]) if taken["server"] else None
    if server is not None and port is not None and server.port is None:
        server = msgspec.structs.replace(server, port=_port(port, str(taken["server"])))
    if server is None and dsn is None:
        raise _not_understood("it names no server")
    return ServerAddress(
        server=server,
        database=(taken["database"] or "") if dsn else _named_database(taken["database"] or ""),
        user=taken["user"],
        password=taken["password"] if taken["user"] else None,
        driver=driver or ("pyodbc" if odbc or dsn else None),
        odbc_driver=odbc,
        dsn=dsn,
        options=pairs,
    )


def _pairs(text: str) -> dict[str, str]:
    """`KEY=VALUE;…` with braces around values that hold `;`. The first of two equal keys counts, as in ODBC."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip("; \t\r\n")):
        found = _PAIR.match(text, position)
        if found is None:
            raise _not_understood("the connection string holds something that is no KEY=VALUE")
        value = found["value"]
        if value.startswith("{") and value.endswith("}"):
            value = value[1:-1].replace("}}", "}")
        known = {key.lower() for key in pairs}
        if found["name"].lower() not in known:
            pairs[found["name"]] = value.strip()
        position = found.end()
    return pairs


def _named_database(name: str) -> str:
    if not name.strip():
        raise _not_understood("it names no database")
    if "\x00" in name:
        raise _not_understood("the database's name holds a character that no name has")
    return name


def _not_understood(why: str) -> ConfigError:
    return ConfigError(
        f"The address of the SQL Server database cannot be understood: {why}. Nothing was read or written.",
        hint="Write mssql://USER:PASSWORD@HOST:1433/DATABASE (special characters of the password percent-encoded), "
        "or set PLANT3D_DB_HOST, _NAME, _USER and _PASSWORD.",
        code="source_url",
    )


def connection_string(pairs: Iterable[tuple[str, str]], *, freetds: bool = False) -> str:
    """`KEY=VALUE;…` for ODBC; values that could end early are put in braces.

    FreeTDS takes a brace within braces as it is, where others take two for one; there a value ends with `};` only.
    Raises ConfigError `source_url` for a value that holds this.
    """
    return ";".join(
        f"{name}={_freetds_quoted(value) if freetds else _quoted(value)}" for name, value in pairs
    )


def _freetds_quoted(value: str) -> str:
    if "};" in value:
        raise ConfigError(
            "FreeTDS' ODBC driver takes no user, password or database that holds `};`. Nothing was read or written.",
            hint="Set PLANT3D_DB_DRIVER to pymssql, or change that name or password.",
            code="source_url",
        )
    return "{" + value + "}" if ";" in value or value[:1] == "{" or value != value.strip() else value


def _quoted(value: str) -> str:
    return _braced(value) if set(";{}=") & set(value) or value != value.strip() else value


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"
