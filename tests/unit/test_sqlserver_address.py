"""SQL Server addresses: every spelling is understood once, and exactly that reaches the drivers."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import make_url

from plant3d_sync.cli.checking import Found, _connection
from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading.sqlserver import engine_for
from plant3d_sync.connectors.plant3d.sqlserver_address import (
    ServerAddress,
    from_variables,
    is_sqlserver,
    parse_address,
    parse_server,
    with_driver,
)
from plant3d_sync.connectors.plant3d.sqlserver_drivers import (
    choose_driver,
    encryption_of,
    freetds_authorities,
)
from plant3d_sync.errors import ConfigError
from tests.support.mssql import sqlserver_url

MICROSOFT = "ODBC Driver 18 for SQL Server"
OLDER = "ODBC Driver 17 for SQL Server"


class Stub(ModuleType):
    """A driver that only notes what it is told, and lets nobody in."""

    class Error(Exception):
        pass

    class Cursor:
        """SQLAlchemy looks at its names only."""

    paramstyle = "qmark"
    version = "5.5.0"
    __version__ = "2.4.6"

    def __init__(self, name: str, registered: list[str], sources: dict[str, str] | None = None) -> None:
        super().__init__(name)
        self.registered, self.sources = registered, sources or {}
        self.told: list[Any] = []

    def drivers(self) -> list[str]:
        return self.registered

    def dataSources(self) -> dict[str, str]:
        return self.sources

    def connect(self, *words: Any, **arguments: Any) -> Any:
        self.told.append(words[0] if words else arguments)
        raise Stub.Error("28000", "no")


class Machine:
    """What is installed: modules and registered ODBC drivers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def has(
        self, *, pyodbc: list[str] | None = None, pymssql: bool = False, sources: dict[str, str] | None = None
    ) -> None:
        stub = Stub("pyodbc", pyodbc or [], sources)
        self.pyodbc, self.pymssql = stub, Stub("pymssql", [])
        self.patch.setitem(sys.modules, "pyodbc", stub if pyodbc is not None else None)
        self.patch.setitem(sys.modules, "pymssql", self.pymssql if pymssql else None)

    def told(self, address: ServerAddress | str) -> Any:
        """What reached the driver."""
        engine = engine_for(address)
        with pytest.raises(Exception, match="no"):
            engine.connect()
        engine.dispose()
        return (self.pyodbc.told + self.pymssql.told)[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(monkeypatch)
    made.has(pyodbc=[OLDER, MICROSOFT, "FreeTDS"], pymssql=True)
    return made


@pytest.mark.parametrize(
    ("text", "host", "instance", "port"),
    [
        ("srv", "srv", None, None),
        ("srv.corp.example", "srv.corp.example", None, None),
        ("PC\\SQLEXPRESS", "PC", "SQLEXPRESS", None),
        ("PC\\\\SQLEXPRESS", "PC", "SQLEXPRESS", None),
        ("PC\\MSSQLSERVER", "PC", None, None),
        ("srv,1435", "srv", None, 1435),
        ("srv , 1435", "srv", None, 1435),
        ("srv:1435", "srv", None, 1435),
        ("PC\\X,1435", "PC", "X", 1435),
        ("tcp:srv", "srv", None, None),
        ("TCP:srv,1435", "srv", None, 1435),
        ("tcp:PC\\X", "PC", "X", None),
        ("(local)", "localhost", None, None),
        (".", "localhost", None, None),
        (".\\SQLEXPRESS", "localhost", "SQLEXPRESS", None),
        ("(LOCAL)\\SQLEXPRESS", "localhost", "SQLEXPRESS", None),
        ("10.0.0.5,1433", "10.0.0.5", None, 1433),
        ("[::1],1435", "::1", None, 1435),
        ("[::1]:1435", "::1", None, 1435),
        ("[fe80::1%eth0]\\X", "fe80::1%eth0", "X", None),
        ("tcp:[::1],1435", "::1", None, 1435),
        ("::1", "::1", None, None),
        ("::1,1435", "::1", None, 1435),
        ("'srv,1435'", "srv", None, 1435),
    ],
)
def test_a_server_is_named_as_its_own_tools_name_it(
    text: str, host: str, instance: str | None, port: int | None
) -> None:
    server = parse_server(text)
    assert (server.host, server.instance, server.port) == (host, instance, port)
    assert parse_server(str(server)).tcp_port == server.tcp_port


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("np:\\\\srv\\pipe\\sql\\query", "pipes"),
        ("\\\\srv\\pipe\\sql\\query", "pipe"),
        ("(localdb)\\MSSQLLocalDB", "LocalDB"),
        ("lpc:srv", "shared memory"),
        ("admin:srv", "administrator"),
        ("srv,abc", "port"),
        ("srv,0", "port"),
        ("srv,70000", "port"),
        ("a\\b\\c", "backslash"),
        ("srv\\", "instance"),
        ("\\X", "host"),
        ("", "host"),
        ("  ", "host"),
        ("srv/X", "character"),
        ("srv;Trusted_Connection=yes", "character"),
        ("my server", "character"),
        ("[srv],1433", "IPv6"),
        ("[::1", "IPv6"),
    ],
)
def test_what_cannot_be_reached_by_tcp_is_refused_with_the_reason(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        parse_server(text)
    assert caught.value.error_code == "source_url"
    assert "HOST\\INSTANCE" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "port", "for_odbc", "for_pymssql"),
    [
        ("srv", 1433, "srv,1433", "srv:1433"),
        ("srv", 1500, "srv,1500", "srv:1500"),
        ("srv,1500", 1433, "srv,1500", "srv:1500"),
        ("PC\\SQLEXPRESS", 1433, "PC\\SQLEXPRESS", "PC\\SQLEXPRESS"),
        ("PC\\SQLEXPRESS", 1500, "PC,1500", "PC:1500"),
        ("PC\\SQLEXPRESS,1500", 1433, "PC,1500", "PC:1500"),
        (".", 1433, "localhost,1433", "localhost:1433"),
        (".\\SQLEXPRESS", 1433, "localhost\\SQLEXPRESS", "localhost\\SQLEXPRESS"),
        ("[::1],1500", 1433, "::1,1500", "[::1]:1500"),
        ("tcp:srv,1500", 1433, "srv,1500", "srv:1500"),
    ],
)
def test_the_plans_variables_reach_both_drivers(
    machine: Machine, host: str, port: int, for_odbc: str, for_pymssql: str
) -> None:
    address = from_variables(host, port, "My Project_PnId", "DOM\\me", "p;}'@:/ %{")
    words = machine.told(parse_address(address.url))
    assert words == (
        f"DRIVER={{{MICROSOFT}}};Server={for_odbc};Database=My Project_PnId;UID=DOM\\me;"
        "PWD={p;}}'@:/ %{};Encrypt=yes;APP=plant3d-sync"
    )
    machine.has(pymssql=True)
    told = machine.told(parse_address(address.url))
    assert (told["server"], told["database"], told["user"], told["password"], told["encryption"]) == (
        for_pymssql,
        "My Project_PnId",
        "DOM\\me",
        "p;}'@:/ %{",
        "require",
    )
    assert "port" not in told


def test_two_ports_that_contradict_are_refused() -> None:
    with pytest.raises(ConfigError, match="1500.*1600"):
        from_variables("srv,1600", 1500, "db", "u", "p")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("mssql+pyodbc://me:pw@srv/db?driver=ODBC+Driver+17+for+SQL+Server", "srv,1433"),
        ("mssql+pyodbc://me:pw@srv:1500/db?driver=ODBC Driver 17 for SQL Server", "srv,1500"),
        ("mssql+pyodbc://me:pw@PC\\X/db?driver=ODBC+Driver+17+for+SQL+Server", "PC\\X"),
        ("mssql+pyodbc://me:pw@PC%5CX/db?DRIVER=ODBC+Driver+17+for+SQL+Server", "PC\\X"),
        ("mssql+pyodbc://me:pw@PC\\X:1500/db?driver=ODBC+Driver+17+for+SQL+Server", "PC,1500"),
        ("mssql+pyodbc://me:pw@tcp:srv,1500/db?driver=ODBC+Driver+17+for+SQL+Server", "srv,1500"),
        ("mssql+pyodbc://me:pw@[::1]:1500/db?driver=ODBC+Driver+17+for+SQL+Server", "::1,1500"),
        ("mssql+pyodbc://me:pw@srv/db?driver=ODBC+Driver+17+for+SQL+Server&port=1500", "srv,1500"),
        (
            "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC+Driver+17+for+SQL+Server%7D%3BSERVER%3Dsrv%2C1500%3B"
            "DATABASE%3Ddb%3BUID%3Dme%3BPWD%3Dpw",
            "srv,1500",
        ),
        (
            "mssql+pyodbc:///?odbc_connect=Driver={ODBC Driver 17 for SQL Server};Server=tcp:PC\\X;Database=db;"
            "Uid=me;Pwd={pw};",
            "PC\\X",
        ),
        ("Driver={ODBC Driver 17 for SQL Server};Server=.;Database=db;UID=me;PWD=pw", "localhost,1433"),
    ],
)
def test_sqlalchemys_spellings_reach_the_driver(machine: Machine, url: str, server: str) -> None:
    expected = f"DRIVER={{{OLDER}}};Server={server};Database=db;UID=me;PWD=pw;Encrypt=yes;APP=plant3d-sync"
    assert machine.told(url) == expected
    assert machine.told(parse_address(url).url) == expected, "the URL made from the address means the same"


@pytest.mark.parametrize(
    "word", ["pymssql", " PyMSSQL ", "mssql+pymssql", "mssql+pymssql://", "'pymssql'"], ids=str.strip
)
def test_the_variable_decides_for_a_url_too_unless_that_names_a_driver(machine: Machine, word: str) -> None:
    given = with_driver(parse_address("mssql://me:pw@srv/db"), word)
    assert (given.driver, parse_address(given.url).driver) == ("pymssql", "pymssql")
    named = parse_address("mssql+pyodbc://me:pw@srv/db")
    assert with_driver(named, word) == named
    assert with_driver(parse_address("mssql://me:pw@srv/db"), None).driver is None


def test_an_odbc_driver_may_be_named_in_braces(machine: Machine) -> None:
    address = from_variables("srv", 1433, "db", "me", "pw", f"{{{MICROSOFT}}}")
    assert (address.driver, address.odbc_driver) == ("pyodbc", MICROSOFT)


def test_a_connection_string_of_ado_net_is_understood_too(machine: Machine) -> None:
    text = "Data Source=PC\\X;Initial Catalog=db;User ID=me;Password=pw"
    assert is_sqlserver(text)
    machine.has(pymssql=True)
    told = machine.told(text)
    assert (told["server"], told["database"], told["user"], told["password"]) == ("PC\\X", "db", "me", "pw")


def test_the_password_of_odbc_connect_is_nowhere_to_be_read(machine: Machine) -> None:
    address = parse_address("mssql+pyodbc:///?odbc_connect=Server=srv;Database=db;Uid=me;Pwd={a;geheim}")
    engine = engine_for(address)
    texts = [str(address), repr(address), repr(engine), str(engine.url), open_source(address.url).name]
    assert not any("geheim" in text for text in texts)
    assert str(address) == "mssql+pyodbc://me:***@srv:1433/db"
    assert "a;geheim" in address.secrets()
    assert "a%3Bgeheim" in address.secrets()


@pytest.mark.parametrize(
    "url",
    [
        "mssql+pyodbc://me:geheim@srv",
        "mssql+pymssql://me:geheim@srv/",
        "mssql+pymssql://me:geheim@/db",
        "mssql+pymssql://me:geheim@srv:notaport/db",
        "mssql+pymssql://me:geheim@np:srv/db",
        "mssql+nothing://me:geheim@srv/db",
        "mssql+pymssql://me:geheim@srv/db?Encrypt=yes",
        "mssql+pyodbc://me:geheim@srv/db?driver=Nobody's+Driver",
        "mssql+pyodbc:///?odbc_connect=Server=srv;Database=db;geheim",
        "Server=srv;User Id=me;Password=geheim",
    ],
)
def test_check_config_refuses_what_cannot_connect_and_shows_no_password(machine: Machine, url: str) -> None:
    found = Found()
    _connection(url, "project p: ", found)
    assert len(found.problems) == 1
    assert "geheim" not in found.problems[0]


@pytest.mark.parametrize(
    ("pyodbc", "pymssql", "expected"),
    [
        ([OLDER, MICROSOFT, "FreeTDS"], True, f"pyodbc with {MICROSOFT}"),
        ([OLDER, "FreeTDS"], True, f"pyodbc with {OLDER}"),
        (["FreeTDS"], True, "pyodbc with FreeTDS"),
        ([], True, "pymssql"),
        (None, True, "pymssql"),
        (["FreeTDS"], False, "pyodbc with FreeTDS"),
        (["SQL Server", "PostgreSQL"], True, "pymssql"),
    ],
)
def test_the_driver_follows_what_is_installed(
    machine: Machine, pyodbc: list[str] | None, pymssql: bool, expected: str
) -> None:
    machine.has(pyodbc=pyodbc, pymssql=pymssql)
    address = from_variables("srv", 1433, "db", "me", "pw")
    assert str(choose_driver(address)) == expected


def test_the_plans_five_variables_connect_in_the_shipped_image(machine: Machine) -> None:
    """The image has pymssql, and pyodbc with FreeTDS' ODBC driver."""
    machine.has(pyodbc=["FreeTDS"], pymssql=True)
    found = Found()
    source = from_variables("srv", 1433, "db", "me", "pw").url
    _connection(source, "project default: ", found)
    assert found.problems == []
    assert machine.told(source).startswith("DRIVER={FreeTDS};Server=srv,1433;")


def test_what_freetds_words_cannot_say_is_refused_before_anything_is_sent(machine: Machine) -> None:
    """In its connection string a value in braces ends with `};`, and nothing stands for that in a value."""
    machine.has(pyodbc=["FreeTDS"], pymssql=True)
    told = machine.told(from_variables("srv", 1433, "a}b{c", "}", "{x} "))
    assert ";Database=a}b{c;UID=};PWD={{x} }" in told
    with pytest.raises(ConfigError, match="};") as caught:
        engine_for(from_variables("srv", 1433, "db", "me", "a};b"))
    assert "pymssql" in caught.value.hint and "a};b" not in str(caught.value.to_dict())
    assert machine.told(from_variables("srv", 1433, "db", "me", "a};b", "pymssql"))["password"] == "a};b"


def test_nothing_installed_is_told_before_anything_starts(machine: Machine) -> None:
    for pyodbc in (None, [], ["PostgreSQL"]):
        machine.has(pyodbc=pyodbc)
        found = Found()
        _connection(from_variables("srv", 1433, "db", "me", "pw").url, "project default: ", found)
        assert "No SQL Server driver can be used here" in found.problems[0]


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("pymssql", "pymssql"),
        ("PYODBC", f"pyodbc with {MICROSOFT}"),
        (OLDER.lower(), f"pyodbc with {OLDER}"),
        ("freetds", "pyodbc with FreeTDS"),
    ],
)
def test_a_driver_that_is_named_is_taken(machine: Machine, driver: str, expected: str) -> None:
    address = from_variables("srv", 1433, "db", "me", "pw", driver)
    assert str(choose_driver(parse_address(address.url))) == expected


@pytest.mark.parametrize("driver", ["odbc", "ODBC Driver 16 for SQL Server", "/nowhere/libmsodbcsql-18.so"])
def test_a_driver_that_is_named_and_not_there_is_refused(machine: Machine, driver: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_driver(from_variables("srv", 1433, "db", "me", "pw", driver))
    assert caught.value.error_code == "driver_missing"
    assert "pymssql" in caught.value.hint


def test_freetds_through_odbc_is_told_to_encrypt_in_its_own_word(machine: Machine) -> None:
    words = machine.told("mssql+pyodbc://me:pw@srv/db?driver=FreeTDS")
    assert "Encryption=require" in words
    assert "Encrypt=" not in words


def test_a_driver_nobody_knows_must_be_given_its_word(machine: Machine) -> None:
    machine.has(pyodbc=["Acme SQL"])
    with pytest.raises(ConfigError, match="told to encrypt"):
        engine_for("mssql+pyodbc://me:pw@srv/db?driver=Acme+SQL")
    assert "Encrypt=strict" in machine.told("mssql+pyodbc://me:pw@srv/db?driver=Acme+SQL&Encrypt=strict")


def test_a_data_source_keeps_its_server_and_gets_the_encryption_of_its_driver(machine: Machine) -> None:
    machine.has(pyodbc=[], sources={"plant": "FreeTDS", "ms": MICROSOFT})
    assert machine.told("mssql+pyodbc://me:pw@plant") == (
        "DSN=plant;UID=me;PWD=pw;Encryption=require;APP=plant3d-sync"
    )
    assert machine.told("mssql+pyodbc:///?odbc_connect=DSN=MS") == "DSN=MS;Encrypt=yes;APP=plant3d-sync"
    with pytest.raises(ConfigError, match="data source"):
        engine_for("mssql+pyodbc://me:pw@elsewhere")


def test_without_a_user_the_account_of_the_process_is_used(machine: Machine) -> None:
    assert "Trusted_Connection=Yes" in machine.told("mssql+pyodbc://srv/db")
    assert machine.told("mssql+pymssql://srv/db")["user"] is None


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("mssql+pyodbc://u:p@srv/db", "verified"),
        ("mssql+pyodbc://u:p@srv/db?Encrypt=strict", "verified"),
        ("mssql+pyodbc://u:p@srv/db?TrustServerCertificate=yes", "unverified"),
        ("mssql+pyodbc://u:p@srv/db?encrypt=No", "off"),
        ("mssql+pyodbc://u:p@srv/db?driver=FreeTDS", "unverified"),
        ("mssql+pyodbc://u:p@srv/db?driver=FreeTDS&Encryption=request", "off"),
        ("mssql+pymssql://u:p@srv/db", "unverified"),
        ("mssql+pymssql://u:p@srv/db?encryption=off", "off"),
    ],
)
def test_encryption_is_told_as_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, url: str, level: str
) -> None:
    monkeypatch.delenv("FREETDSCONF", raising=False)
    address = parse_address(url)
    assert encryption_of(address, choose_driver(address)).level == level


def test_freetds_checks_the_certificate_only_with_a_ca_file_that_is_there(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    conf, authorities = tmp_path / "freetds.conf", tmp_path / "ca.pem"
    monkeypatch.setenv("FREETDSCONF", str(conf))
    address = parse_address("mssql+pymssql://u:p@srv/db")
    for text in ("[global]\n", "[other]\nca file = {}\n", "[global]\n  ca file = /nowhere\n"):
        conf.write_text(text.format(authorities), encoding="utf-8")
        assert freetds_authorities() is None
    authorities.write_text("x", encoding="utf-8")
    conf.write_text(f"[global]\n\tCA file\t= {authorities}\n", encoding="utf-8")
    assert encryption_of(address, choose_driver(address)).level == "verified"


def test_freetds_odbc_driver_reads_no_ca_file_so_where_one_is_named_pymssql_is_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    machine.has(pyodbc=["FreeTDS"], pymssql=True, sources={"plant": "FreeTDS"})
    conf, authorities = tmp_path / "freetds.conf", tmp_path / "ca.pem"
    authorities.write_text("x", encoding="utf-8")
    conf.write_text(f"[global]\nca file = {authorities}\n", encoding="utf-8")
    unsaid = parse_address("mssql://u:p@srv/db")
    monkeypatch.delenv("FREETDSCONF", raising=False)
    assert str(choose_driver(unsaid)) == "pyodbc with FreeTDS"
    monkeypatch.setenv("FREETDSCONF", str(conf))
    assert encryption_of(unsaid, choose_driver(unsaid)).level == "verified"
    assert str(choose_driver(unsaid)) == "pymssql"
    for url in (
        "mssql+pyodbc://u:p@srv/db",
        "mssql://u:p@srv/db?driver=FreeTDS",
        "mssql+pyodbc://u:p@plant",
    ):
        named = parse_address(url)
        found = encryption_of(named, choose_driver(named))
        assert found.level == "unverified" and "pymssql" in found.hint


def test_a_url_object_and_its_text_mean_the_same() -> None:
    url = make_url(sqlserver_url("srv", 1500, "db", "dom\\me", "p@:/ %", "pymssql"))
    assert parse_address(url) == parse_address(url.render_as_string(hide_password=False))
    assert parse_address(url).password == "p@:/ %"


def test_a_file_is_no_address() -> None:
    for spec in ("/srv/a=b/ProcessPower.dcf", "sqlite:///x.dcf", r"C:\Server=1\x.dcf", "postgresql://h/db"):
        assert not is_sqlserver(spec)
