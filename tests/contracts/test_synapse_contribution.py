"""The contribution, mounted into a host application with the tables of SYNAPSE 0.2: conformance, and what is its own."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

pytest.register_assert_rewrite("tests.contracts.synapse_conformance")

from tests.contracts.synapse_conformance import (  # noqa: E402
    Project,
    Stalled,
    SynapseConformance,
    Target,
    assert_problem,
)
from tests.support.contribution import ADMIN_KEY, Host, encoded, installed, login, running  # noqa: E402
from tests.support.postgres import empty_database, server  # noqa: E402


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with server() as uri, empty_database(uri) as url:
        yield installed(tmp_path_factory.mktemp("contribution") / "backend", url)


@pytest.fixture(scope="module")
def synapse(host: Host) -> Iterator[Target]:
    @contextmanager
    def stalled() -> Iterator[Stalled]:
        with host.serving() as victim, psycopg.connect(host.url) as holder:
            # A batch takes the project's counter last of all: who holds it stalls the batch just before its commit.
            holder.execute("SELECT * FROM integration_projects FOR UPDATE")
            yield Stalled(url=victim.url, in_batch=lambda: wait_for_a_lock(host), kill=victim.kill)

    @contextmanager
    def restarted() -> Iterator[str]:
        with host.serving() as serving:
            yield serving.url

    with running(host) as target:
        yield Target(url=target.url, key=ADMIN_KEY, stalled=stalled, restarted=restarted)


def wait_for_a_lock(host: Host) -> None:
    until = time.monotonic() + 60
    while not host.sql(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'CONSTRAINTS'"
    ):
        assert time.monotonic() < until, "no batch came to its numbers"
        threading.Event().wait(0.05)


class TestContribution(SynapseConformance):
    """H.1 to H.15, on PostgreSQL, inside another application."""


# ---------------------------------------------------------------- writers that go around the API


@pytest.fixture
def project(synapse: Target) -> Project:
    return synapse.empty_project()


def insert(host: Host, project: Project, *tags: str, **columns: object) -> None:
    """Rows as SYNAPSE's own program writes them: it knows nothing of the contribution's columns."""
    names = ", ".join(columns)
    marks = ", %s" * len(columns)
    for tag in tags:
        host.sql(
            f"INSERT INTO assets (id, tag, type, project_id{', ' if names else ''}{names}) VALUES (%s, %s, 'VALVE', %s{marks})",
            str(uuid.uuid4()),
            tag,
            project.id,
            *columns.values(),
        )


def by_tag(project: Project) -> dict[str, dict[str, object]]:
    return {entry["asset"]["tag"]: entry["asset"] for entry in project.everything()}


def test_every_way_of_writing_moves_version_number_times_and_the_trio(host: Host, project: Project) -> None:
    insert(host, project, "A", description="as imported")
    first = by_tag(project)["A"]
    assert (first["version"], first["seq"], first["asset_type"]) == (1, 1, "VALVE")
    host.sql("UPDATE assets SET area = '100' WHERE project_id = %s", project.id)
    host.sql("UPDATE assets SET description = 'typed' WHERE project_id = %s", project.id)
    last = by_tag(project)["A"]
    assert (last["version"], last["seq"]) == (3, 3)
    info = last["field_info"]["description"]  # type: ignore[index]
    assert (info["version"], info["by"], info["updated_at"]) == (3, "synapse", last["updated_at"])
    assert str(last["updated_at"]) > str(first["updated_at"])
    assert last["created_at"] == first["created_at"]


def test_a_write_that_changes_nothing_moves_nothing(host: Host, project: Project) -> None:
    insert(host, project, "A", description="same", mechanical='{"weightKg": 3}')
    before = by_tag(project)["A"]
    host.sql("UPDATE assets SET description = 'same', tag = tag WHERE project_id = %s", project.id)
    host.sql("UPDATE assets SET mechanical = mechanical WHERE project_id = %s", project.id)
    assert by_tag(project)["A"] == before


def test_nobody_can_set_what_is_the_databases_own(host: Host, project: Project) -> None:
    insert(host, project, "A", version=40, seq=99, description_by="nobody")
    host.sql(
        "UPDATE assets SET version = 50, seq = 7, updated_at = '2001-01-01', description_by = 'x' WHERE project_id = %s",
        project.id,
    )
    found = by_tag(project)["A"]
    assert (found["version"], found["seq"]) == (1, 1)
    assert found["field_info"]["description"]["by"] == "synapse"  # type: ignore[index]


def test_json_that_only_a_json_column_can_hold_stops_no_write(host: Host, project: Project) -> None:
    insert(host, project, "A", mechanical='{"note": "nul \\u0000 inside"}')
    host.sql("UPDATE assets SET description = 'edited' WHERE project_id = %s", project.id)
    assert by_tag(project)["A"]["version"] == 2


def test_one_transaction_of_many_rows_takes_one_row_of_numbers_at_its_commit(
    host: Host, project: Project
) -> None:
    insert(host, project, *[f"T{number}" for number in range(20)])
    with psycopg.connect(host.url) as slow:
        slow.execute("UPDATE assets SET area = 'slow' WHERE project_id = %s AND tag < 'T5'", [project.id])
        insert(host, project, "QUICK")
        cursor = project.page()["next_cursor"]
        slow.commit()
    seen = project.everything(cursor)
    assert "QUICK" not in [entry["asset"]["tag"] for entry in seen]
    assert [entry["seq"] for entry in seen] == list(range(22, 37)), "numbered at commit, after QUICK's 21"


def test_tags_swap_in_one_statement_and_an_archived_row_gives_its_tag_up(
    host: Host, project: Project
) -> None:
    insert(host, project, "A", "B")
    host.sql(
        "UPDATE assets SET tag = CASE tag WHEN 'A' THEN 'B' ELSE 'A' END WHERE project_id = %s", project.id
    )
    host.sql("UPDATE assets SET deleted_at = now() WHERE project_id = %s AND tag = 'A'", project.id)
    insert(host, project, "A")
    with pytest.raises(psycopg.errors.UniqueViolation, match="uix_project_tag"):
        insert(host, project, "A")


def test_deleted_and_emptied_rows_make_old_cursors_a_410(
    host: Host, project: Project, synapse: Target
) -> None:
    insert(host, project, "A", "B")
    cursor = project.page()["next_cursor"]
    host.sql("DELETE FROM assets WHERE project_id = %s AND tag = 'A'", project.id)
    assert_problem(project.call("GET", f"/assets/changes?cursor={cursor}"), 410, "cursor_reset")
    other = synapse.empty_project()
    cursor = project.page()["next_cursor"]
    host.sql("UPDATE assets SET project_id = %s WHERE project_id = %s", other.id, project.id)
    assert_problem(project.call("GET", f"/assets/changes?cursor={cursor}"), 410, "cursor_reset")
    assert [entry["seq"] for entry in other.everything()] == [1]


def test_a_cursor_reader_beside_writers_that_know_nothing_of_it_misses_nothing(
    host: Host, project: Project
) -> None:
    """Single rows, rows in bulk, the API's batches and deletions, all at once; no deadlock, nothing unseen."""
    insert(host, project, *[f"T{number:03}" for number in range(60)])
    seen: dict[str, int] = {}
    done = threading.Event()

    def edits(number: int) -> int:
        dice = random.Random(number)
        with psycopg.connect(host.url) as connection:
            for round_ in range(40):
                tags = [f"T{dice.randrange(60):03}" for _ in range(1 if number % 2 else 5)]
                connection.execute(
                    "UPDATE assets SET description = %s FROM (SELECT id FROM assets WHERE project_id = %s"
                    " AND tag = ANY(%s) ORDER BY id FOR UPDATE) AS chosen WHERE assets.id = chosen.id",
                    [f"{number} {round_}", project.id, tags],
                )
                connection.commit()
        return number

    def batches() -> None:
        for round_ in range(10):
            names = [f"b{round_}-{number}" for number in range(20)]
            project.apply([project.upsert(name, tag=name, asset_type="Line") for name in names])

    def reads() -> None:
        reader = Project(url=project.url, key=project.key, id=project.id)
        cursor, last_round = None, False
        while not last_round:
            last_round = done.is_set()
            for page in reader.pages(cursor, limit=30):
                seen.update({entry["asset"]["id"]: entry["asset"]["version"] for entry in page["items"]})
                cursor = page["next_cursor"]

    with ThreadPoolExecutor(6) as pool:
        reader = pool.submit(reads)
        writers = [*[pool.submit(edits, number) for number in range(4)], pool.submit(batches)]
        for writer in writers:
            writer.result()
        done.set()
        reader.result()
    held = dict(host.sql("SELECT id, version FROM assets WHERE project_id = %s", project.id))
    assert len(held) == 260
    assert seen == held


# ---------------------------------------------------------------- who may come in


@pytest.fixture
def people(host: Host) -> dict[str, Mapping[str, str]]:
    """Headers of somebody of each role."""
    found = {}
    for role in ("ADMIN", "ENGINEER", "VIEWER", "CLIENT"):
        email = f"{role.lower()}-{uuid.uuid4().hex[:6]}@example.com"
        host.sql(
            "INSERT INTO users (id, email, hashed_password, role, is_active) VALUES (%s, %s, 'x', %s, true)",
            uuid.uuid4().hex,
            email,
            role,
        )
        found[role] = login(email)
    return found


def test_engineers_write_and_sign_with_their_login_and_viewers_only_read(
    project: Project, people: dict[str, Mapping[str, str]]
) -> None:
    (created,) = project.create("a")
    path = f"/assets/{created['id']}"
    for role, allowed in (("VIEWER", 403), ("CLIENT", 403), ("ENGINEER", 200)):
        mine = {"X_API_Key": "", "Authorization": people[role]["Authorization"]}
        assert project.call("GET", path, **mine).status_code == 200
        answer = project.call("PATCH", path, {"description": role}, If_Match='"1"', **mine)
        assert answer.status_code == allowed, role
    by = project.asset(created["id"])["field_info"]["description"]["by"]
    assert by.startswith("user:engineer-")


def test_a_login_that_is_not_ours_is_401_and_one_that_is_inactive_403(host: Host, project: Project) -> None:
    email = f"gone-{uuid.uuid4().hex[:6]}@example.com"
    host.sql(
        "INSERT INTO users (id, email, hashed_password, role, is_active) VALUES (%s, %s, 'x', 'ADMIN', false)",
        uuid.uuid4().hex,
        email,
    )
    head, body, signature = login(email)["Authorization"].removeprefix("Bearer ").split(".")
    unsigned = encoded(b'{"alg":"none"}')
    refused = [
        login("nobody@example.com"),
        login(email, secret="another"),
        login(email, expires=time.time() - 5),
        {"Authorization": f"Bearer {unsigned}.{body}."},
        {"Authorization": f"Bearer {head}.{body}"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic eDp5"},
    ]
    for headers in refused:
        answer = project.call("GET", "/assets/changes", X_API_Key="", **headers)
        assert_problem(answer, 401, "invalid_token")
    inactive = project.call("GET", "/assets/changes", X_API_Key="", **login(email))
    assert_problem(inactive, 403, "user_inactive")


def test_the_command_line_makes_lists_and_revokes_keys_and_stores_no_secret(
    host: Host, project: Project
) -> None:
    made = host.run(
        "-m", "app.integration.keys", "create", "narrow", "--scopes", "assets:read", "--project", project.id
    )
    key_id, key = (line.split(": ")[1].strip() for line in made.stdout.splitlines()[:2])
    mine = Project(url=project.url, key=key, id=project.id)
    assert mine.call("GET", "/assets/changes").status_code == 200
    assert mine.batch([mine.upsert("a", tag="A", asset_type="Line")]).status_code == 403
    more = (["list"], ["revoke", key_id], ["create", "x", "--project", str(uuid.uuid4())])
    said = host.run(
        "-c", f"from app.integration.keys import main\nfor words in {more!r}: main(words)", check=False
    )
    assert key_id in said.stdout and key not in said.stdout
    assert key not in str(host.sql("SELECT * FROM integration_keys"))
    assert mine.call("GET", "/assets/changes").status_code == 401
    assert said.returncode != 0 and "No key was made" in said.stderr


# ---------------------------------------------------------------- what it writes into SYNAPSE's table


def test_an_asset_of_the_sync_has_a_type_that_the_screens_can_save(host: Host, project: Project) -> None:
    kinds = {
        "Valve": ("Gate Valve", "VALVE"),
        "Instrument": ("PT", "INSTRUMENT"),
        "Equipment": ("Centrifugal Pump", "PUMP"),
        "Line": (None, "LINE"),
    }
    items = [
        project.upsert(kind, tag=kind, asset_type=kind, asset_subtype=subtype)
        for kind, (subtype, _) in kinds.items()
    ]
    project.apply(items)
    found = dict(host.sql("SELECT asset_type, type FROM assets WHERE project_id = %s", project.id))
    assert found == {kind: word for kind, (_, word) in kinds.items()}
    ((status,),) = host.sql("SELECT DISTINCT data_status::text FROM assets WHERE project_id = %s", project.id)
    assert status == "FRESH_IMPORT"
    host.sql(
        "UPDATE assets SET type = 'CONTROL_SYSTEM' WHERE project_id = %s AND asset_type = 'Valve'", project.id
    )
    project.apply([project.upsert("Valve", description="new")])
    ((kept,),) = host.sql(
        "SELECT type FROM assets WHERE project_id = %s AND asset_type = 'Valve'", project.id
    )
    assert kept == "CONTROL_SYSTEM", "the screens' own choice stays while the kind stays"


def test_a_number_that_the_database_writes_otherwise_is_no_change(project: Project) -> None:
    item = project.upsert("a", tag="A", asset_type="Line", attributes={"big": 1e17, "small": -0.0, "n": 12.0})
    project.apply([item])
    (again,) = project.apply([item])
    assert (again["status"], again["version"]) == ("unchanged", 1)


def test_an_asset_whose_id_is_no_uuid_can_be_read(host: Host, project: Project) -> None:
    name = f"pump {uuid.uuid4().hex[:6]}"
    host.sql("INSERT INTO assets (id, tag, type, project_id) VALUES (%s, 'A', 'PUMP', %s)", name, project.id)
    assert project.asset(name.replace(" ", "%20"))["tag"] == "A"
    assert_problem(project.call("GET", "/assets/%00"), 404, "asset_not_found")
