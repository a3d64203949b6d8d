"""Addresses with awkward passwords: understood, or refused with the way to write them, and never shown in part."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from plant3d_sync.address import parse, without
from plant3d_sync.errors import ConfigError
from plant3d_sync.jobqueue import RedisBell, make_bell
from plant3d_sync.state import State
from plant3d_sync.state.address import state_url

AWKWARD = [
    "tail@secret",
    "tail/secret",
    "1234/tail-secret",
    "tail#secret",
    "tail?secret",
    "tail:secret",
    "tail%secret",
    "tail%41secret",
]
MADE = "postgresql://someone:{}@db.example:5432/state"
REDIS = "redis://someone:{}@redis.example:6379/3"


@pytest.mark.parametrize("password", AWKWARD)
def test_an_escaped_password_is_taken_as_it_is_and_never_shown(password: str) -> None:
    state = State(MADE.format(quote(password, safe="")))
    assert (state.url.password, state.url.username, state.url.host) == (password, "someone", "db.example")
    assert (state.url.port, state.url.database) == (5432, "state")
    assert state.shown == "postgresql+psycopg://someone:***@db.example:5432/state"
    assert "tail" not in state.hidden(f"could not use {password} or {quote(password, safe='')}")
    bell = RedisBell(REDIS.format(quote(password, safe="")))
    used = bell._redis.connection_pool.connection_kwargs
    assert (used["password"], used["host"], used["db"]) == (password, "redis.example", 3)


@pytest.mark.parametrize("address", [MADE, REDIS])
@pytest.mark.parametrize("password", AWKWARD)
def test_an_unescaped_password_is_understood_or_refused_and_no_part_of_it_is_shown(
    address: str, password: str
) -> None:
    make = make_bell if address is REDIS else State
    try:
        make(address.format(password))
    except ConfigError as error:
        assert any(mark in password for mark in "/#?"), password
        said = f"{error.message} {error.hint} {error.details} {error.__context__!r} {error.__cause__!r}"
        assert "tail" not in said and "secret" not in said
        assert "%40" in error.hint and error.exit_code == 78
    else:
        assert not any(mark in password for mark in "/#?"), password


@pytest.mark.parametrize("spelling", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_usual_spelling_of_postgresql_means_our_driver(spelling: str) -> None:
    url = state_url(f"{spelling}://u@h/d?sslmode=require&application_name=p3d")
    assert url.drivername == "postgresql+psycopg"
    assert url.query == {"sslmode": "require", "application_name": "p3d"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:tail@h/d", "postgresql://"),
        ("mssql+pyodbc://u:tail@h/d", "postgresql://"),
        ("postgresql+asyncpg://u:tail@h/d", "postgresql://"),
        ("postgresql+pg8000://u:tail@h/d", "postgresql://"),
        ("sqlite+aiosqlite:////tmp/tail", "sqlite://"),
        ("sqlite://tail/state.db", "sqlite:////"),
        ("postgresql://u:tail@h", "/name"),
        ("postgresql://u:tail@h:54x2/d", "host:5432"),
        ("postgresql://u:tail@h:99999/d", "host:5432"),
        ("u:tail@h/d", "postgresql://"),
        ("", "postgresql://"),
    ],
)
def test_another_database_or_driver_is_refused_with_the_right_spelling(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        state_url(url)
    error = caught.value
    assert (error.error_code, error.exit_code) == ("state_url", 78)
    assert told in error.hint
    assert "tail" not in f"{error.message} {error.hint}".replace("sqlite://tail", "")


@pytest.mark.parametrize(
    "url", ["http://u:tail@h/0", "redis://u:tail@h/zero", "rediss://h:port/0", "just a name"]
)
def test_an_address_that_is_none_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_bell(url)
    assert (caught.value.error_code, caught.value.exit_code) == ("redis_url", 78)
    assert "tail" not in f"{caught.value.message} {caught.value.hint}"


def test_an_ipv6_host_and_a_socket_are_hosts() -> None:
    assert state_url("postgresql://u@[::1]:5433/d").host == "::1"
    assert (
        state_url("postgresql:///d?host=/var/run/postgresql&user=me").query["host"] == "/var/run/postgresql"
    )
    found = parse("unix:///var/run/redis.sock?db=2", name="REDIS_URL", code="redis_url", example="x")
    assert (found.host, found.path, found.query["db"]) == (None, "var/run/redis.sock", ["2"])


def test_a_parameter_that_is_a_password_is_hidden_too() -> None:
    state = State("postgresql://h/d?password=tail&user=me")
    assert "tail" not in state.shown and "tail" not in state.hidden("it said tail")
    assert without("abc%2Fd and abc/d", "abc/d", None, "") == "*** and ***"
