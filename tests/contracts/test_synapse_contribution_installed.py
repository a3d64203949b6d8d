"""The contribution around its API: the migration both ways, a backend that is not as expected, the button's calls, and
the acceptance journey on the mounted contribution."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from plant3d_sync.sample import edits
from plant3d_sync.synapse_dev.v02.app import Backend
from tests.support.contribution import ADMIN_KEY, Host, assembled, installed, login, running
from tests.support.faulty_http import Answer, ScriptedServer, Seen
from tests.support.journey import KILLED_AT, SETTINGS, ContractSide, Journey
from tests.support.postgres import empty_database, server
from tests.support.synapse_dev import RunningSynapse
from tests.support.synapse_v02 import synapse_v02
from tests.support.webapp import UUIDS, desk
from tests.support.world import NAME, World, new_world, template


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as uri:
        yield uri


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Host]:
    with empty_database(postgres) as url:
        yield installed(tmp_path_factory.mktemp("contribution") / "backend", url)


@pytest.fixture(scope="module")
def synapse(host: Host) -> Iterator[RunningSynapse]:
    with running(host) as target:
        yield target


@pytest.fixture
def bare(tmp_path: Path, postgres: str) -> Iterator[Host]:
    """The host with the contribution copied in, and nothing migrated."""
    with empty_database(postgres) as url:
        yield assembled(tmp_path / "backend", url)


# ---------------------------------------------------------------- the journey


def walk(folder: Path, synapse: RunningSynapse, *, items: int, killed_at: tuple[str, ...]) -> None:
    world = new_world(folder / "world", synapse, template(folder, items=items), **SETTINGS)
    Journey(world=world, side=ContractSide(world=world), killed_at=killed_at).whole()


@pytest.mark.long
def test_the_journey_on_the_mounted_contribution(tmp_path: Path, synapse: RunningSynapse) -> None:
    walk(tmp_path, synapse, items=200, killed_at=KILLED_AT[1:2])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_journey_of_five_thousand_on_the_mounted_contribution(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    walk(tmp_path, synapse, items=5000, killed_at=KILLED_AT)


# ---------------------------------------------------------------- a project that knew SYNAPSE 0.2


def moved_over(backend: Backend, project: str, host: Host) -> None:
    """The table of a SYNAPSE 0.2 as it stands, before anybody heard of the integration API."""
    host.sql("INSERT INTO projects (id, name) VALUES (%s, 'moved')", project)
    for row in backend.heap.of(project):
        host.sql(
            "INSERT INTO assets (id, project_id, tag, type, description, mechanical, deleted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)",
            *(row["id"], project, row["tag"], row["type"], row["description"]),
            json.dumps(row["mechanical"]),
            row["deleted"],
        )


def linked_assets(world: World) -> dict[str, str]:
    """Identity -> asset id, as our state knows the pairs."""
    with closing(sqlite3.connect(world.state)) as connection:
        return dict(connection.execute("SELECT plant3d_id, asset_id FROM link"))


def test_a_project_of_synapse_0_2_goes_on_when_the_integration_api_is_installed(
    bare: Host, tmp_path: Path
) -> None:
    with synapse_v02() as old:
        target = RunningSynapse(url=old.url, api_key="", project=old.project)
        folder = tmp_path / "world"
        folder.mkdir()
        world = World(folder=folder, synapse=target, uuid=old.project, url=old.url)
        shutil.copyfile(template(tmp_path, items=60), world.dcf)
        world.env = {"SYNAPSE_USER": old.user, "SYNAPSE_PASSWORD": old.password}
        world.top = {"synapse": {"url": old.url, "requests_per_second": 0}}
        world.configure(**SETTINGS)
        valves = edits.find(world.dcf, "HandValves")
        assert world.cli("now", NAME, env={"SYNAPSE_API_KEY": ""}).code == 0
        edits.delete_item(world.dcf, valves[0].pnpid)
        assert world.cli("now", NAME).code == 0
        backend = old.backend
        before = {row["id"]: row for row in backend.assets(old.project)}
        copied = next(row for row in before.values() if row["tag"] == valves[1].tag)
        backend.create(old.project, "A COPY", id=str(uuid.UUID(int=1)), mechanical=copied["mechanical"])
        backend.create(old.project, "NUL", mechanical={"text": "\x00", "plant3d_sync": "\x00"})
        backend.hide(backend.create(old.project, "HIDDEN"))
        moved_over(backend, old.project, bare)
    links = linked_assets(world)
    bare.alembic("stamp e6461479a363", "upgrade head")
    bare.add_key(key=ADMIN_KEY)
    with bare.serving() as serving:
        world.synapse = RunningSynapse(url=serving.url, api_key=ADMIN_KEY, project=world.uuid)
        world.url, world.top = serving.url, {}
        world.configure()
        first = world.cli("now", NAME)
        assert (first.code, first.json["writes"]) == (0, {"plant3d": 0, "synapse": 0}), first.out
        side = ContractSide(world=world)
        journey = Journey(world=world, side=side)
        journey.at_rest()
        assert linked_assets(world) == links, "every pair goes on"
        assert {asset["id"] for asset in world.assets() if asset["plant3d_id"]} == set(before)
        assert valves[0].tag not in side.live(), "archived then, archived now"
        side.describes(str(valves[2].tag), "Dit dans SYNAPSE")
        journey.redescribes(valves[3].pnpid, "Dit dans Plant 3D")
        fresh = edits.add_item(
            world.dcf, valves[0].class_name, {"Tag": valves[0].tag, "Description": "Neuve"}
        )
        assert world.cli("now", NAME).code == 0
        journey.both_hold(valves[2].pnpid, "Dit dans SYNAPSE")
        journey.both_hold(valves[3].pnpid, "Dit dans Plant 3D")
        journey.both_hold(fresh, "Neuve")
        journey.at_rest()


# ---------------------------------------------------------------- migration


def shape(host: Host) -> list[tuple[Any, ...]]:
    """Columns, constraints, indexes, triggers and functions."""
    return [
        *host.sql(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2"
        ),
        *host.sql("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2"),
        *host.sql("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
        *host.sql("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"),
        *host.sql("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"),
    ]


def test_the_migration_goes_up_and_down_and_up_again_with_data_in_place(bare: Host) -> None:
    project = str(uuid.uuid4())
    bare.sql("INSERT INTO projects (id, name) VALUES (%s, 'old')", project)
    for tag in "ABC":
        bare.sql(
            "INSERT INTO assets (id, tag, type, project_id) VALUES (%s, %s, 'PUMP', %s)",
            str(uuid.uuid4()),
            tag,
            project,
        )
    before = [entry for entry in shape(bare) if entry[0] != "alembic_version_pkc"]
    rows = bare.sql("SELECT * FROM assets ORDER BY tag")
    bare.alembic("stamp e6461479a363", "upgrade head")
    assert bare.sql("SELECT seq FROM integration_projects") == [(3,)]
    assert sorted(bare.sql("SELECT seq, version FROM assets")) == [(1, 1), (2, 1), (3, 1)]
    bare.sql("UPDATE assets SET deleted_at = now() WHERE tag = 'A'")
    bare.sql("INSERT INTO assets (id, tag, type, project_id) VALUES ('new', 'A', 'PUMP', %s)", project)
    bare.alembic("downgrade -1")
    after = [entry for entry in shape(bare) if entry[0] != "alembic_version_pkc"]
    assert [e for e in after if "alembic_version" not in str(e)] == [
        e for e in before if "alembic_version" not in str(e)
    ]
    tags = [tag for (tag,) in bare.sql("SELECT tag FROM assets WHERE deleted_at IS NOT NULL")]
    assert tags == [f"A (archived {rows[0][0][:8]})"], "0.2 allows a tag once, archived rows included"
    bare.alembic("upgrade head")


def test_a_table_that_does_not_fit_is_refused_in_a_sentence_and_nothing_is_changed(bare: Host) -> None:
    bare.sql("ALTER TABLE assets ADD COLUMN notes text")
    bare.alembic("stamp e6461479a363")
    before = shape(bare)
    said = bare.alembic("upgrade head", check=False)
    assert said.returncode != 0
    assert "columns of these names already: notes. Nothing was changed" in said.stderr
    assert shape(bare) == before


# ---------------------------------------------------------------- a backend that is not as expected


MOVED = (
    ("app/core/database.py", "other = 1\n", "app.core.database has no SQLAlchemy engine"),
    (
        "app/core/database.py",
        "import sqlalchemy\nengine = sqlalchemy.create_engine('sqlite://')\n",
        "speaks to sqlite; PostgreSQL is needed",
    ),
    ("app/core/security.py", "", "has SECRET_KEY or JWT_SECRET_KEY"),
    ("app/core/security.py", "SECRET_KEY = 'x'\nALGORITHM = 'RS256'\n", "signs tokens with RS256"),
)


START = """
import importlib, json, pathlib, sys
import fastapi, orjson, sqlalchemy

def forget():
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
        del sys.modules[name]

sys.dont_write_bytecode = True
for path, text, code in json.loads(sys.argv[1]):
    file = pathlib.Path(path)
    before = file.read_text(encoding="utf-8") if file.exists() else None
    file.write_text(text, encoding="utf-8")
    forget()
    try:
        exec(code)
    except Exception as error:
        print(type(error).__name__, error)
    if before is not None and code == "import app.integration":
        file.write_text(before, encoding="utf-8")
"""
"""Puts a text into a file of the backend and runs a line of Python with the package imported anew, for each of several."""


def started(host: Host, *moved: tuple[str, str, str]) -> list[str]:
    """What each line of Python says with this file of the backend changed."""
    return host.run("-c", START, json.dumps(moved)).stdout.splitlines()


def test_a_backend_that_has_moved_something_does_not_start_and_says_what(bare: Host) -> None:
    said = started(bare, *((path, text, "import app.integration") for path, text, _ in MOVED))
    assert len(said) == len(MOVED), said
    for line, (_, _, sentence) in zip(said, MOVED, strict=True):
        assert line.startswith("NotAsExpected The integration API cannot start")
        assert sentence in line and "theirs.py" in line
    path, text, sentence = MOVED[0]
    (bare.folder / path).write_text(text, encoding="utf-8")
    whole = bare.run("-c", "import app.integration", check=False)
    assert whole.returncode != 0 and sentence in whole.stderr.strip().splitlines()[-1]


def test_settings_may_hold_the_secret_as_well(bare: Host) -> None:
    config = "app/core/config.py"
    said = started(
        bare,
        ("app/core/security.py", "", ""),
        (
            config,
            "class Settings:\n    SECRET_KEY = 'from-the-settings'\nsettings = Settings()\n",
            "from app.integration import theirs; print(theirs.find_secret())",
        ),
        (
            config,
            "class Settings:\n    SECRET_KEY = 'asked-for'\ndef get_settings():\n    return Settings()\n",
            "from app.integration import theirs; print(theirs.find_secret())",
        ),
    )
    assert said == ["from-the-settings", "asked-for"]


def test_before_the_migration_the_application_lives_and_the_api_says_what_to_do(bare: Host) -> None:
    with bare.serving() as serving:
        assert httpx2.get(f"{serving.url}/health").status_code == 200
        answer = httpx2.get(f"{serving.url}/api/v1/integration/capabilities", headers={"X-API-Key": "x"})
    assert (answer.status_code, answer.json()["type"]) == (503, "not_installed")
    assert "alembic upgrade head" in answer.json()["detail"]


# ---------------------------------------------------------------- the button's calls


@pytest.fixture
def engineer(host: Host) -> Mapping[str, str]:
    return person(host, "ENGINEER")


def person(host: Host, role: str) -> Mapping[str, str]:
    email = f"{role.lower()}-{uuid.uuid4().hex[:6]}@example.com"
    host.sql(
        "INSERT INTO users (id, email, hashed_password, role, is_active) VALUES (%s, %s, 'x', %s, true)",
        uuid.uuid4().hex,
        email,
        role,
    )
    return {**login(email), "X-Project-ID": UUIDS["mine"]}


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedServer]:
    """Stands where plant3d-sync is expected; each test says what it answers."""
    with ScriptedServer() as made:
        yield made


@pytest.fixture(scope="module")
def button(host: Host, service: ScriptedServer) -> Iterator[str]:
    """Where the button of their front end calls."""
    with serving_button(host, service, "key") as serving:
        yield f"{serving.url}/api/v1/integration/sync"


def serving_button(host: Host, service: ScriptedServer, key: str) -> Any:
    host.sql("INSERT INTO projects (id, name) VALUES (%s, 'mine') ON CONFLICT DO NOTHING", UUIDS["mine"])
    host.env = {"PLANT3D_SYNC_URL": service.url, "PLANT3D_SYNC_KEY": key}
    return host.serving()


def test_the_button_starts_a_run_of_the_real_service_and_sees_it(
    host: Host, engineer: Mapping[str, str], tmp_path: Path, service: ScriptedServer, button: str
) -> None:
    with desk(tmp_path) as office:
        key = office.key("read", "sync")

        def passed_on(seen: Seen) -> Answer:
            """To the service in this process, with a key that it knows; nobody works there, so nothing is waited for."""
            target = seen.target.replace("wait=20", "wait=0")
            headers = {
                name: text for name, text in seen.headers.items() if name not in ("host", "content-length")
            }
            assert headers["x-api-key"] == "key"
            headers["x-api-key"] = key
            reply = office.client.request(seen.method, target, content=seen.body, headers=headers)
            return Answer(status=reply.status_code, body=reply.content, headers={})

        service.app = passed_on
        quiet = httpx2.get(f"{button}/status", headers=engineer).json()
        assert (quiet["running"], quiet["last"], quiet["may_start"]) == (None, None, True)
        pressed = httpx2.post(f"{button}/now", headers=engineer)
        assert (pressed.status_code, pressed.json()["run"]["status"]) == (200, "queued")
        going = httpx2.get(f"{button}/status", headers=engineer).json()["running"]
        assert going["sync_id"] == pressed.json()["run"]["sync_id"]
        office.end(going["sync_id"], status="completed")
        seen = httpx2.get(f"{button}/status", headers=engineer).json()
        assert (seen["running"], seen["last"]["sync_id"]) == (None, going["sync_id"])
        viewer = person(host, "VIEWER")
        assert httpx2.post(f"{button}/now", headers=viewer).status_code == 403
        assert httpx2.get(f"{button}/status", headers=viewer).json()["may_start"] is False
        assert key not in quiet.__repr__()


def test_a_refusal_of_the_service_never_looks_like_one_of_the_person(
    engineer: Mapping[str, str], service: ScriptedServer, button: str
) -> None:
    becomes = {
        401: (502, "sync_key_refused"),
        403: (502, "sync_key_refused"),
        404: (404, "sync_not_configured"),
        429: (503, "sync_busy"),
        500: (502, "sync_failed"),
        200: (502, "sync_unreadable"),
    }
    answers = iter(becomes)
    found = {}
    service.app = lambda _seen: Answer(status=next(answers), body=b"<html>", headers={})
    for status in becomes:
        answer = httpx2.post(f"{button}/now", headers=engineer)
        found[status] = (answer.status_code, answer.json()["type"])
    assert found == becomes


def test_a_service_that_is_away_is_503(host: Host, engineer: Mapping[str, str]) -> None:
    with ScriptedServer() as service:
        pass
    with serving_button(host, service, "key") as serving:
        away = httpx2.get(f"{serving.url}/api/v1/integration/sync/status", headers=engineer)
    assert (away.status_code, away.json()["type"]) == (503, "sync_offline")


def test_a_service_that_nobody_named_is_404_and_where_accounts_are_kept_otherwise_keys_go_on(
    host: Host, engineer: Mapping[str, str]
) -> None:
    host.env = {}
    with host.serving() as serving:
        api = f"{serving.url}/api/v1/integration"
        unnamed = httpx2.get(f"{api}/sync/status", headers=engineer)
        host.sql("ALTER TABLE users RENAME COLUMN is_active TO enabled")
        keys = httpx2.get(f"{api}/capabilities", headers={"X-API-Key": host.add_key()})
        people = httpx2.get(f"{api}/capabilities", headers=login("somebody@example.com"))
        host.sql("ALTER TABLE users RENAME COLUMN enabled TO is_active")
    assert (unnamed.status_code, unnamed.json()["type"]) == (404, "sync_not_configured")
    assert keys.status_code == 200
    assert (people.status_code, people.json()["type"]) == (503, "not_installed")
    assert "is_active" in people.json()["detail"]
