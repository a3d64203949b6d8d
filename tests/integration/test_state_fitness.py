"""The state database is looked at before it is used: real PostgreSQL, wrong in every usual way, and SQLite files."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from plant3d_sync.cli.main import run as cli
from plant3d_sync.errors import RetryLaterError, StateRefused
from plant3d_sync.run.project import World
from plant3d_sync.state import State, store, trouble
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.tables import component
from plant3d_sync.worker import process
from tests.support import postgres
from tests.support.jobs import wait_until
from tests.support.webapp import MINE, desk

PASSWORD = "correct@horse/battery#staple?100%"
ROLE = "p3dtest_guest"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as uri:
        yield uri


@pytest.fixture(scope="module")
def guest(server: str) -> Iterator[str]:
    """A login without rights, that must give its password; the URI as its owner knows it."""
    with psycopg.connect(server, autocommit=True) as admin:
        hba = Path(str(admin.execute("SHOW hba_file").fetchone()[0]))  # type: ignore[index]
        if not os.access(hba, os.W_OK):
            pytest.skip("pg_hba.conf of this server cannot be written: passwords were NOT tried")
        before = hba.read_text(encoding="utf-8")
        hba.write_text(
            f"local all {ROLE} scram-sha-256\nhost all {ROLE} all scram-sha-256\n{before}", "utf-8"
        )
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]
        yield server
        hba.write_text(before, encoding="utf-8")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(f"DROP OWNED BY {ROLE}")  # type: ignore[call-overload]
        admin.execute(f"DROP ROLE {ROLE}")  # type: ignore[call-overload]


@contextmanager
def database(server: str, made_like: str = "") -> Iterator[str]:
    """An empty database made like this; our URL of it."""
    name = f"p3dtest_fit_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 {made_like}')  # type: ignore[call-overload]
        try:
            yield make_url(server).set(drivername="postgresql", database=name).render_as_string(False)
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]


def as_guest(url: str, password: str = PASSWORD) -> str:
    return make_url(url).set(username=ROLE, password=password).render_as_string(False)


def refused(url: str, code: str, *told: str) -> StateRefused:
    """Opening it ends with this code, exit 78, and a way out; no password in it."""
    state = State(url)
    try:
        with pytest.raises(StateRefused) as caught:
            state.ready()
        with pytest.raises(StateRefused):
            state.look()
    finally:
        state.close()
    error = caught.value
    said = f"{error.message} {error.hint}"
    assert (error.error_code, error.exit_code, error.http_status) == (code, 78, 503), said
    assert all(word in said for word in told), said
    assert not [part for part in ("horse", "battery", "staple", "100%") if part in said], said
    return error


def tables(server: str, url: str) -> int:
    with psycopg.connect(
        make_url(server).set(database=make_url(url).database).render_as_string(False)
    ) as admin:
        row = admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return int(row[0]) if row else -1


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_than_utf8_is_refused_with_how_to_make_one(server: str, encoding: str) -> None:
    with database(server, f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        refused(url, "state_encoding", encoding, "CREATE DATABASE", "ENCODING 'UTF8'", "TEMPLATE template0")
        assert tables(server, url) == 0


def test_a_utf8_database_is_taken(server: str) -> None:
    with database(server, "ENCODING 'UTF8'") as url:
        state = State(url)
        state.ready()
        state.look()
        state.close()


def test_a_login_that_may_not_create_is_told_before_anything_is_made(guest: str) -> None:
    with database(guest, "ENCODING 'UTF8'") as url:
        refused(as_guest(url), "state_rights", "may not create tables", "public", "GRANT")
        assert tables(guest, url) == 0
        with psycopg.connect(guest, autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{make_url(url).database}" OWNER TO {ROLE}')  # type: ignore[call-overload]
        state = State(as_guest(url))
        state.ready()
        state.close()


def test_a_login_that_may_not_write_our_tables_is_told_which(guest: str) -> None:
    with database(guest, "ENCODING 'UTF8'") as url:
        State(url).ready()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}")  # type: ignore[call-overload]
            admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")  # type: ignore[call-overload]
            admin.execute(f"REVOKE UPDATE ON run FROM {ROLE}")  # type: ignore[call-overload]
        refused(as_guest(url), "state_rights", "may not read and write run")


def test_a_right_that_is_taken_away_later_is_our_error_and_not_a_traceback(guest: str) -> None:
    with database(guest, "ENCODING 'UTF8'") as url:
        State(url).ready()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")  # type: ignore[call-overload]
            state = State(as_guest(url))
            state.ready()
            admin.execute(f"REVOKE ALL ON project FROM {ROLE}")  # type: ignore[call-overload]
        with pytest.raises(StateRefused) as caught, state.write() as connection:
            project_state.ensure(connection, "p")
        state.close()
    assert caught.value.error_code == "state_rights"


@pytest.mark.parametrize("language", ["C", "fr_FR.UTF-8"])
def test_a_wrong_password_a_wrong_user_and_a_missing_database_are_told_as_such(
    guest: str, language: str
) -> None:
    with psycopg.connect(guest, autocommit=True) as admin:
        try:
            admin.execute(f"ALTER SYSTEM SET lc_messages = '{language}'")  # type: ignore[call-overload]
        except psycopg.Error as error:
            pytest.skip(f"this server does not speak {language}: {error}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            told_as_such(guest)
        finally:
            admin.execute("ALTER SYSTEM RESET lc_messages")
            admin.execute("SELECT pg_reload_conf()")


def told_as_such(guest: str) -> None:
    with database(guest, "ENCODING 'UTF8'") as url:
        refused(as_guest(url, "battery"), "state_password", "password", "STATE_DB_URL")
        refused(as_guest(url, ""), "state_password", "STATE_DB_URL")
        nobody = make_url(url).set(username="p3dtest_nobody").render_as_string(False)
        refused(nobody, "state_login", "p3dtest_nobody")
        nowhere = make_url(url).set(database="p3dtest_nowhere").render_as_string(False)
        refused(nowhere, "state_missing", "CREATE DATABASE", "p3dtest_nowhere")


def test_the_command_ends_with_78_and_not_with_try_later(
    guest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "plant3d-sync.yml"
    config.write_text("projects: {}\n", encoding="utf-8")
    with database(guest, "ENCODING 'UTF8'") as url:
        monkeypatch.setenv("STATE_DB_URL", as_guest(url, "battery"))
        for words in (["db", "upgrade"], ["keys", "list"]):
            assert cli(["--config", str(config), *words]) == 78
            said = "".join(capsys.readouterr())
            assert "state_password" in said and "Traceback" not in said and "battery" not in said


def test_a_standby_and_a_read_only_database_are_told(server: str) -> None:
    with database(server, "ENCODING 'UTF8'") as url:
        state = State(url)
        state.ready()
        with psycopg.connect(url, autocommit=True) as admin:
            name = make_url(url).database
            admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # type: ignore[call-overload]
        refused(url, "state_read_only", "primary")
        state.engine.dispose()
        with pytest.raises(StateRefused) as caught, state.write() as connection:
            project_state.ensure(connection, "p")
        state.close()
    assert caught.value.error_code == "state_read_only"


# ---------------------------------------------------------------- SQLite, and what the service answers


def test_a_file_that_cannot_be_written_is_503_with_its_reason_and_not_500(tmp_path: Path) -> None:
    with desk(tmp_path) as service:
        headers = service.headers("sync")

        @sa.event.listens_for(service.state.engine, "connect")
        def refuse(raw: sqlite3.Connection, _record: object) -> None:
            raw.execute("PRAGMA query_only = 1")

        service.state.engine.dispose()
        answer = service.client.post("/api/v1/sync/pull", json={"project_id": MINE}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "state_read_only"), answer.text
        assert answer.headers["Retry-After"]


def test_a_damaged_file_is_told_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = State(f"sqlite:///{path}")
    state.ready()
    state.close()
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(StateRefused) as caught:
        State(f"sqlite:///{path}")
    assert (caught.value.error_code, caught.value.exit_code) == ("state_damaged", 78)


def test_a_file_that_breaks_while_it_is_open_is_told_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = State(f"sqlite:///{path}")
    state.ready()
    state.engine.dispose()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 100_000)
    with pytest.raises(StateRefused) as caught, state.write() as connection:
        project_state.ensure(connection, "p")
    state.close()
    assert caught.value.error_code == "state_damaged"


def test_a_process_whose_connections_are_all_in_use_says_busy(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "POOL_SECONDS", 0.05)
    with database(server, "ENCODING 'UTF8'") as url:
        state = State(url)
        with state.engine.connect() as first:
            held = [state.engine.connect() for _ in range(14)]
            with pytest.raises(RetryLaterError) as caught, state.read():
                pass
            for connection in [*held, first]:
                connection.close()
        state.close()
    assert caught.value.error_code == "state_busy"


# ---------------------------------------------------------------- a server that is there and says nothing


@contextmanager
def frozen(server: str, url: str) -> Iterator[None]:
    """Every process of the server that we talk to stands still; its lines stay up."""
    with psycopg.connect(server, autocommit=True) as admin:
        folder = admin.execute("SHOW data_directory").fetchone()[0]  # type: ignore[index]
        mine = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s", (make_url(url).database,)
        ).fetchall()
    pids = [int((Path(str(folder)) / "postmaster.pid").read_text().split()[0]), *(pid for (pid,) in mine)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.skipif(bool(os.environ.get("P3DSYNC_TEST_PG_URL")), reason="not our server to freeze")
def test_a_frozen_postgresql_is_503_in_time_and_all_is_well_when_it_goes_on(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store.CONNECT, "connect_timeout", 2)  # the least that the driver knows
    with database(server, "ENCODING 'UTF8'") as url:
        state = State(url)
        state.ready()
        with desk(tmp_path, state=state) as service:
            service.state.answer_within(0.5)
            headers = service.headers("sync", "read")
            assert service.client.get("/api/v1/projects", headers=headers).status_code == 200
            with frozen(server, url):
                for method, path in (("GET", "/api/v1/projects"), ("POST", "/api/v1/sync/pull")):
                    answer = service.client.request(
                        method, path, headers=headers, json={"project_id": MINE} if method == "POST" else None
                    )
                    assert (answer.status_code, answer.json()["code"]) == (503, "state_unavailable"), (
                        answer.text
                    )
                    assert answer.headers["Retry-After"]
                assert service.client.get("/livez").status_code == 200
                with pytest.raises(RetryLaterError), state.write() as connection:
                    project_state.ensure(connection, "p")
            asked = service.client.post("/api/v1/sync/pull", json={"project_id": MINE}, headers=headers)
            assert asked.status_code == 202
        state.close()


def test_a_table_that_somebody_removed_is_503_with_what_to_do_and_not_500(
    server: str, tmp_path: Path
) -> None:
    with database(server, "ENCODING 'UTF8'") as url:
        state = State(url)
        state.ready()
        with desk(tmp_path, state=state) as service:
            headers = service.headers()
            with state.engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE run RENAME TO elsewhere")
            answer = service.client.post("/api/v1/sync/pull", json={"project_id": MINE}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "state_altered"), answer.text
        state.close()


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("08006", "state_unavailable"),
        ("25P03", "state_unavailable"),
        ("25006", "state_read_only"),
        ("40001", "state_unavailable"),
        ("42501", "state_rights"),
        ("42P01", "state_altered"),
        ("53100", "state_full"),
        ("53300", "state_unavailable"),
        ("55P03", "state_unavailable"),
        ("57014", "state_unavailable"),
        ("57P01", "state_unavailable"),
        ("58030", "state_unavailable"),
        ("XX001", "state_damaged"),
    ],
)
def test_whatever_the_server_says_of_itself_is_our_error(sqlstate: str, code: str) -> None:
    raised = psycopg.errors.lookup(sqlstate)("as the server says it")
    kind = next(
        name
        for name in ("OperationalError", "ProgrammingError", "InternalError", "DatabaseError")
        if isinstance(raised, getattr(psycopg, name))
    )
    wrapped = getattr(sa.exc, kind)("SELECT 1", {}, raised)
    ours = trouble.translated(wrapped, "the address", str)
    assert ours is not None and (ours.error_code, ours.http_status) == (code, 503)


def test_a_worker_whose_first_sign_of_life_fails_waits_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    state.ready()
    world = World(state=state)
    monkeypatch.setattr(process, "SIGNS_OF_LIFE", 0.02)
    with state.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE component RENAME TO away")
        connection.commit()
    with process.Presence(world, "worker", dict) as presence:
        with state.engine.connect() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO component")
            connection.commit()

        def is_shown() -> bool:
            with state.read() as connection:
                return presence.name in connection.execute(sa.select(component.c.name)).scalars().all()

        wait_until(is_shown, what="a sign of life")
    state.close()
