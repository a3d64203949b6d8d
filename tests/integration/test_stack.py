"""The image built and the stack started, wherever a Docker engine answers: what no reading of the files can show."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from plant3d_sync import __version__
from tests.support import company_index, engine
from tests.support.engine import OURS, ROOT, Stack

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
MAIN, STANDALONE = ROOT / "docker-compose.yml", ROOT / "docker-compose.standalone.yml"
BASE, VALKEY, POSTGRES = "python:3.11-slim-bookworm", "valkey/valkey:8-alpine", "pgvector/pgvector:pg17"
STARTED = {"plant3d-sync": "web", "plant3d-sync-worker": "worker", "plant3d-sync-scheduler": "scheduler"}
FIVE = {
    "PLANT3D_DB_HOST": "sql.example.com",
    "PLANT3D_DB_PORT": "1433",
    "PLANT3D_DB_NAME": "Mine_PnId",
    "PLANT3D_DB_USER": "reader",
    "PLANT3D_DB_PASSWORD": "a-password-of-ours",
    "SYNAPSE_API_URL": "http://synapse-backend:8000",
    "SYNAPSE_API_KEY": "key-of-the-stack-1234567890",
    "SYNAPSE_PROJECT_ID": PROJECT,
}

THEIRS = """
services:
  forge-redis:
    image: {valkey}
    command: ["valkey-server", "--save", ""]
    networks: [forge-network]
  synapse-backend:
    image: {ours}
    command: ["plant3d-sync", "synapse-dev", "--host", "0.0.0.0", "--port", "8000", "--project", "{project}"]
    environment: {{SYNAPSE_API_KEY: {key}}}
    healthcheck: {{disable: true}}
    networks: [forge-network]
  forge-postgres:
    image: {postgres}
    environment: {{POSTGRES_DB: plant3d_sync, POSTGRES_USER: plant3d_sync, POSTGRES_PASSWORD: pw-of-the-stack}}
    networks: [forge-network]
networks:
  forge-network:
    name: {network}
"""
"""A stand-in of a customer's project: the names of the plan, and a PostgreSQL of theirs."""

READ = """
import subprocess, sys
from pathlib import Path
from plant3d_sync.sample import write_sample
from tests.support.plant_server import PlantServer
from tests.support.tds_endpoint import TdsEndpoint
write_sample(Path("/tmp/mine.dcf"), items=50)
with TdsEndpoint(PlantServer(Path("/tmp/mine.dcf"))) as endpoint:
    url = sys.argv[1].replace("PORT", str(endpoint.port))
    for source in (url, "/tmp/mine.dcf"):
        print(subprocess.run(["plant3d-sync", "inspect", source, "--json"], stdout=subprocess.PIPE).stdout.hex())
"""
"""A server that speaks SQL Server's protocol and a reader, both in one container."""

PUSH = """
import json, os, re, subprocess, sys, threading
import httpx2
from pathlib import Path
from plant3d_sync.sample import edits, write_sample
from plant3d_sync.synapse_dev.main import listen
from tests.support.tsql_server import Rights, TsqlServer

url, project, designed, typed = json.loads(sys.argv[1])
dcf, config = Path("/tmp/mine.dcf"), Path("/tmp/plant3d-sync.yml")
write_sample(dcf, items=50)
one, other = [found for found in edits.find(dcf, "Equipment") if found.tag and "?" not in found.tag][:2]
edits.set_value(dcf, one.pnpid, "Description", designed)
key = os.environ["SYNAPSE_API_KEY"]
synapse = listen(api_key=key, project=project)
threading.Thread(target=synapse.serve, daemon=True).start()
server = TsqlServer(dcf)


def said(*words):
    done = subprocess.run(["plant3d-sync", "--config", str(config), "--json", *words], stdout=subprocess.PIPE)
    document = json.loads(done.stdout)
    assert done.returncode == 0, document
    return document


def asked(method, path, body=None):
    headers = {"X-API-Key": key, "X-Project-ID": project}
    with httpx2.Client(base_url=synapse.ready.url, headers=headers, verify=False) as client:
        answer = client.request(method, f"/dev/projects/{project}/assets{path}", json=body)
    answer.raise_for_status()
    return answer.json()


with server.endpoint() as endpoint:
    config.write_text(json.dumps({
        "state_db_url": "sqlite:////tmp/state.db",
        "synapse": {"url": synapse.ready.url},
        "projects": {"mine": {
            "synapse_project_id": project,
            "source": url.replace("PORT", str(endpoint.port)),
            "write": "sql",
            "drawings_unseen": "closed",
        }},
    }))
    granted = re.findall(
        r"GRANT UPDATE ON OBJECT::\\[dbo\\]\\.\\[(\\w+)\\] \\(([^)]+)\\)", said("grants", "mine", "--role", "writer")["script"]
    )
    server.rights.updates = {
        (table.lower(), column.lower())
        for table, columns in granted
        for column in re.findall(r"\\[([^\\]]+)\\]", columns)
    }
    said("pull", "mine")
    assets = {asset["tag"]: asset for asset in asked("GET", "")["items"]}
    asked("PATCH", "/" + assets[other.tag]["id"], {"description": typed})
    writes = said("push", "mine")["writes"]
    now = {found.pnpid: found.description for found in edits.find(dcf, "Equipment")}
    print(json.dumps({
        "writes": writes,
        "read": assets[one.tag]["description"],
        "written": now[other.pnpid],
        "designed": now[one.pnpid],
        "driver": [check["message"] for check in said("doctor", "mine")["checks"] if check["check"] == "driver"],
        "user": os.getuid(),
        "logins": sorted({(one.user, one.password, one.database) for one in endpoint.logins}),
        "unexpected": [str(one) for one in endpoint.unexpected[:3]],
    }))
"""
"""A SYNAPSE, a server that executes the statements, a pull and a push, all in one container."""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    engine.need()
    engine.need_image(BASE)
    with engine.built("--build-arg", "REVISION=of-a-test") as name:
        yield name


# ---------------------------------------------------------------- the image


def test_the_image_says_what_it_is_and_keeps_nothing_of_its_making(image: str) -> None:
    document = engine.inspected("image", image)
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in document["Config"]["Labels"].items()
    }
    assert labels["title"] == "plant3d-sync" and labels["description"]
    assert labels["version"] == __version__ == engine.run_in(image, "plant3d-sync", "--version").split()[-1]
    assert (labels["revision"], labels["base.name"]) == ("of-a-test", BASE)
    assert "PIP_" not in str(document["Config"]["Env"])


def test_the_image_runs_as_its_own_user_and_installs_nothing(image: str) -> None:
    who = "import os; print(os.getuid(), os.getgid())"
    assert engine.run_in(image, "python", "-c", who).split() == ["10001", "10001"]
    look = (
        "import importlib.util as u, os, shutil; "
        "print([n for n in ('pip', 'setuptools', 'ensurepip', 'pkg_resources') if u.find_spec(n)], "
        "[n for n in ('pip', 'pip3', 'gcc') if shutil.which(n)], "
        "[os.path.join(at, n) for top in ('/usr', '/opt') for at, names, _ in os.walk(top) for n in names "
        "if n in ('pip', 'setuptools') or n.startswith(('pip-', 'setuptools-'))])"
    )
    assert engine.run_in(image, "python", "-c", look).split("\n")[0] == "[] [] []"
    base = "import importlib.util as u, sys; print([n for n in ('pip', 'setuptools') if u.find_spec(n)])"
    other = engine.run_in(
        image,
        "sh",
        "-c",
        f'for p in /usr/bin/python3 /usr/local/bin/python3; do [ ! -e "$p" ] || "$p" -c "{base}"; done',
    )
    assert set(other.split("\n")) == {"[]", ""}


@pytest.mark.parametrize(
    ("driver", "taken"),
    [
        ("", "pyodbc with FreeTDS"),
        ("pymssql", "pymssql"),
        ("pyodbc", "pyodbc with FreeTDS"),
        ("FreeTDS", "pyodbc with FreeTDS"),
    ],
)
def test_the_five_variables_of_the_plan_are_usable_in_the_image(image: str, driver: str, taken: str) -> None:
    given = {**FIVE, **({"PLANT3D_DB_DRIVER": driver} if driver else {})}
    options = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
    said = json.loads(engine.run_in(image, "plant3d-sync", "check-config", "--json", options=options))
    assert (said["problems"], said["projects"]) == ([], ["default"])
    told = engine.run_in(image, "plant3d-sync", "doctor", "--json", options=options, check=False)
    checks = json.JSONDecoder().raw_decode(told)[0]["checks"]  # it fails: nobody is at these addresses
    assert [one["message"] for one in checks if one["check"] == "driver"] == [taken]


def test_a_driver_that_the_image_lacks_is_told_with_those_it_has(image: str) -> None:
    given = {**FIVE, "PLANT3D_DB_DRIVER": "ODBC Driver 18 for SQL Server"}
    options = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
    said = engine.run_in(image, "plant3d-sync", "check-config", options=options, check=False)
    assert "ODBC Driver 18 for SQL Server" in said and "registered: FreeTDS" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "url",
    [
        "mssql+pymssql://reader:pw@127.0.0.1:PORT/Mine_PnId?encryption=off",
        "mssql+pyodbc://reader:pw@127.0.0.1:PORT/Mine_PnId?driver=FreeTDS&Encryption=off",
    ],
)
def test_both_drivers_of_the_image_read_a_server(image: str, url: str) -> None:
    options = ["-v", f"{ROOT / 'tests'}:/checkout/tests:ro", "-e", "PYTHONPATH=/checkout"]
    said = engine.run_in(image, "python", "-c", READ, url, options=options)
    server, file = (json.loads(bytes.fromhex(line)) for line in said.split())
    counts = {one["class"]: one["count"] for one in server["classes"]}
    assert counts == {one["class"]: one["count"] for one in file["classes"]} and sum(counts.values()) > 50


@pytest.mark.parametrize("locale", [["-u", "LANG"], ["LC_ALL=C"]], ids=["no LANG", "LC_ALL=C"])
@pytest.mark.parametrize(
    ("driver", "clear", "taken"),
    [
        ("", "Encryption=off", "pyodbc with FreeTDS"),
        ("pymssql", "encryption=off", "pymssql"),
    ],
    ids=["as it comes", "pymssql"],
)
def test_both_drivers_of_the_image_carry_accents_and_emoji_there_and_back(
    image: str, locale: list[str], driver: str, clear: str, taken: str
) -> None:
    """Read by a pull, written by a push, and in the login, whatever the container is told of a locale."""
    login = ["lecteur-é", "mot d'été € 🙂", "Usine_Été_PnId"]
    user, password, database = map(quote, login)
    url = f"mssql://{user}:{password}@127.0.0.1:PORT/{database}?{clear}"
    designed, typed = "Pompe à l’été, n° 1 🙂", "Réfrigéré, 2 × 5 µm 🙂 長さ"
    given = {
        "PYTHONPATH": "/checkout",
        "SYNAPSE_API_KEY": FIVE["SYNAPSE_API_KEY"],
        "PLANT3D_DB_DRIVER": driver,
    }
    options = ["-v", f"{ROOT / 'tests'}:/checkout/tests:ro"]
    options += [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
    asked = json.dumps([url, PROJECT, designed, typed])
    said = json.loads(engine.run_in(image, "env", *locale, "python", "-c", PUSH, asked, options=options))
    assert said == {
        "user": 10001,
        "driver": [taken],
        "logins": [login],
        "writes": {"synapse": 0, "plant3d": 1},
        "read": designed,
        "designed": designed,
        "written": typed,
        "unexpected": [],
    }


def test_the_image_is_built_from_a_companys_index_that_its_own_certificate_proves(
    image: str, tmp_path: Path
) -> None:
    """By the build arguments alone. Every package is asked of that index, and nothing of it stays in the image."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: the build behind a company's index was not tried")
    locks = [ROOT / "requirements" / f"{name}.lock" for name in ("runtime", "build")]
    wheels, context = tmp_path / "wheels", tmp_path / "context"
    company_index.fetch(wheels, *locks)
    company_index.listed(wheels)
    copied = shutil.copytree(ROOT, context, ignore=lambda folder, names: beside(Path(folder), names))
    with company_index.serving(wheels) as index:
        shutil.copy(index.certificate, copied / "company-ca.pem")
        given = {"PIP_INDEX_URL": index.url, "PIP_CERT": "company-ca.pem"}
        arguments = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
        with engine.built("--network", "host", *arguments, context=copied) as made:
            assert len(company_index.always(*locks)) > 30
            assert company_index.always(*locks) <= index.asked
            kept = str(engine.inspected("image", made)) + engine.docker("history", "--no-trunc", made).stdout
            assert index.url not in kept and "company-ca" not in kept
            look = (
                "import os; print([os.path.join(at, n) for top in os.listdir('/') if top not in ('proc', 'sys', 'dev') "
                "for at, _, names in os.walk('/' + top) for n in names if n.startswith('company-ca')])"
            )
            assert engine.run_in(made, "python", "-c", look).strip() == "[]"


def beside(folder: Path, names: list[str]) -> list[str]:
    """What of the checkout the build does not need."""
    kept = {"pyproject.toml", "README.md", "requirements", "src", "docs", "Dockerfile", ".dockerignore"}
    return [name for name in names if (folder == ROOT and name not in kept) or name == "__pycache__"]


# ---------------------------------------------------------------- the stack


@dataclass(frozen=True)
class Started:
    """Our stack, and where its servers are. `servers`: of `around`, without Redis and the network's making."""

    ours: Stack
    around: Stack
    database: str


def stack(way: str, image: str, folder: Path) -> Started:
    """One of the three ways of `deploy.md`, under names that nothing else on this machine has."""
    name = f"p3dtest-{uuid.uuid4().hex[:8]}"
    database = "plant3d-sync-db" if way == "standalone" else "forge-postgres"
    values = {
        "PLANT3D_SYNC_VERSION": image.partition(":")[2],
        "SYNAPSE_API_KEY": FIVE["SYNAPSE_API_KEY"],
        "SYNAPSE_PROJECT_ID": PROJECT,
        "STATE_DB_URL": f"postgresql://plant3d_sync:pw-of-the-stack@{database}/plant3d_sync",
        "POSTGRES_PASSWORD": "pw-of-the-stack",
        "PLANT3D_DB_URL": "/var/lib/plant3d-sync/mine.dcf",
        "P3DSYNC_PUBLISH": "127.0.0.1:0",
        "FORGE_NETWORK": f"{name}-net",
    }
    file = folder / "theirs.yml"
    file.write_text(
        THEIRS.format(
            valkey=VALKEY,
            ours=image,
            postgres=POSTGRES,
            project=PROJECT,
            key=FIVE["SYNAPSE_API_KEY"],
            network=f"{name}-net",
        ),
        encoding="utf-8",
    )
    if way == "standalone":
        ours = Stack(name, folder, values, (MAIN, STANDALONE))
        return Started(ours, ours, database)
    if way == "merged":
        ours = Stack(name, folder, values, (MAIN, file))
        return Started(ours, ours, database)
    ours = Stack(name, folder, values)
    return Started(ours, replace(ours, name=f"{name}-theirs", files=(file,)), database)


@pytest.mark.parametrize("way", ["standalone", "merged", "beside"])
def test_the_stack_starts_from_nothing_waits_for_its_database_and_pulls(
    image: str, tmp_path: Path, way: str
) -> None:
    engine.need_image(VALKEY)
    engine.need_image(POSTGRES)
    made = stack(way, image, tmp_path)
    ours, around = made.ours, made.around
    with ExitStack() as cleaning:
        cleaning.enter_context(around.removed_at_the_end())
        around.compose("up", "-d", "--no-deps", "forge-redis", "synapse-backend")
        if ours is not around:
            cleaning.enter_context(ours.removed_at_the_end())
        theirs = {one: around.containers(one)[0] for one in ("forge-redis", "synapse-backend")}

        # a project file where the worker finds it
        file = "/var/lib/plant3d-sync/mine.dcf"
        ours.compose("run", "--rm", "--no-deps", "-T", "plant3d-sync-worker",
                     "plant3d-sync", "sample", file, "--items", "200")  # fmt: skip

        # everything but the database: our three wait, and say so
        ours.compose("up", "-d", "--no-deps", *OURS)
        for service in OURS:
            ours.until(f"{service} waits", lambda service=service: "state.waiting" in ours.logs(service))

        around.compose("up", "-d")
        for service, process in STARTED.items():
            event = f'"{process}.started"'
            ours.until(f"{service} started", lambda s=service, e=event: e in ours.logs(s))
        ours.until("ready", lambda: ours.call("GET", "/readyz")[0] == 200)
        assert ours.call("GET", "/livez") == (200, {"status": "ok"})

        # a pull by the API, done by the worker in the other container
        key = json.loads(
            ours.inside(
                "plant3d-sync", "plant3d-sync", "keys", "create", "stack", "--scopes", "read,sync", "--json"
            )
        )["key"]
        status, pulled = ours.call("POST", "/api/v1/sync/pull?wait=60", key, {"project_id": "default"})
        assert status == 200, pulled
        ours.until("pulled", lambda: created(ours, key) == 200)
        ours.until("healthy", lambda: ours.call("GET", "/health")[1]["status"] == "healthy")
        status, health = ours.call("GET", "/health")
        assert (status, health["redis_connection"], health["synapse_connection"]) == (200, "ok", "ok")

        # what an administrator does next
        ours.compose("up", "-d", "--no-deps", "--scale", "plant3d-sync-worker=2", *OURS)
        ours.until("two workers", lambda: len(ours.containers("plant3d-sync-worker")) == 2)
        ours.until(
            "the second started", lambda: ours.logs("plant3d-sync-worker").count('"worker.started"') >= 2
        )
        for service in OURS:
            for container in ours.containers(service):
                assert container["State"]["Running"] and container["RestartCount"] == 0, container["State"]
                assert (
                    container["HostConfig"]["ReadonlyRootfs"] and container["Config"]["User"] == "10001:10001"
                )
        ours.until(
            "the engine calls the web healthy",
            lambda: ours.containers("plant3d-sync")[0]["State"]["Health"]["Status"] == "healthy",
        )

        # stopping is asked for, and done in time
        ours.compose("stop", *OURS)
        ended = [one["State"]["ExitCode"] for name in OURS for one in ours.containers(name)]
        assert ended == [0, 0, 0, 0], ended

        # theirs was not touched
        if ours is not around:
            ours.compose("down", "--volumes")
        for service, before in theirs.items():
            [now] = around.containers(service)
            assert (now["Id"], now["RestartCount"]) == (before["Id"], 0), service
            assert now["State"]["Running"] and now["State"]["StartedAt"] == before["State"]["StartedAt"]


def created(ours: Stack, key: str) -> int:
    """Assets made by all pulls so far; the scheduler may have begun the first before we asked."""
    _, history = ours.call("GET", "/api/v1/sync/history?project_id=default", key)
    return sum(run["stats"]["created"] for run in history["items"] if run["status"] == "completed")
