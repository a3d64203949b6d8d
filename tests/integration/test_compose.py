"""What Compose makes of our files: alone, with the plan's, with a customer's, in both orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import compose

MAIN = compose.ROOT / "docker-compose.yml"
STANDALONE = compose.ROOT / "docker-compose.standalone.yml"
OURS = {"plant3d-sync", "plant3d-sync-worker", "plant3d-sync-scheduler"}
THEIRS = {"forge-redis", "synapse-backend", "forge-postgres"}
IMAGE = "plant3d-sync:local"
THEIR_IMAGES = {
    "forge-redis": "redis:7-alpine",
    "synapse-backend": "synapse/backend:0.2",
    "forge-postgres": "postgres:17",
}


def images(document: dict[str, Any]) -> dict[str, str]:
    return {name: service["image"] for name, service in document["services"].items()}


def network(document: dict[str, Any]) -> dict[str, Any]:
    assert set(document["networks"]) == {"forge-network"}
    return {name: value for name, value in document["networks"]["forge-network"].items() if value != {}}


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_alone_there_are_our_three_services_in_the_network_that_exists(tmp_path: Path) -> None:
    document = compose.understood(tmp_path)
    assert images(document) == dict.fromkeys(OURS, IMAGE)
    assert network(document) == {"name": "forge-network", "external": True}
    assert set(document["volumes"]) == {"plant3d-sync-work"}
    asked = {name: set(service.get("depends_on", {})) for name, service in document["services"].items()}
    assert asked == {
        "plant3d-sync": set(),
        "plant3d-sync-worker": {"plant3d-sync"},
        "plant3d-sync-scheduler": {"plant3d-sync"},
    }
    document = compose.understood(tmp_path, FORGE_NETWORK="theirs_forge-network")
    assert network(document) == {"name": "theirs_forge-network", "external": True}


def test_the_dependencies_are_the_plans(tmp_path: Path) -> None:
    services = compose.understood(tmp_path, MAIN, written(tmp_path, "theirs.yml", compose.THEIRS))["services"]
    assert set(services["plant3d-sync"]["depends_on"]) == {"forge-redis", "synapse-backend"}
    for name in ("plant3d-sync-worker", "plant3d-sync-scheduler"):
        assert set(services[name]["depends_on"]) == {"plant3d-sync", "forge-redis"}


@pytest.mark.parametrize("ours_first", [True, False])
def test_with_the_plans_file_everything_of_the_plan_is_there(tmp_path: Path, ours_first: bool) -> None:
    plan, theirs = (
        written(tmp_path, "plan.yml", compose.PLAN),
        written(tmp_path, "theirs.yml", compose.THEIRS),
    )
    files = [MAIN, theirs, plan] if ours_first else [theirs, plan, MAIN]
    document = compose.understood(tmp_path, *files, PLANT3D_DB_HOST="sql", PLANT3D_DB_PORT="1433")
    assert images(document) == {**dict.fromkeys(OURS, IMAGE), **THEIR_IMAGES}
    assert network(document) == {"name": "forge-network", "driver": "bridge"}
    assert document["services"]["plant3d-sync"]["environment"]["PLANT3D_DB_HOST"] == "sql"
    assert set(document["services"]["plant3d-sync"]["depends_on"]) == {"forge-redis", "synapse-backend"}


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("    name: forge-network\n    driver: bridge\n", {"name": "forge-network", "driver": "bridge"}),
        ("    driver: bridge\n", {"name": "forge-network", "driver": "bridge"}),
        ("    external: true\n", {"name": "forge-network", "external": True}),
        ("    internal: true\n    attachable: true\n",
         {"name": "forge-network", "internal": True, "attachable": True}),
    ],
)  # fmt: skip
def test_beside_theirs_all_their_services_stay_and_the_network_is_theirs(
    tmp_path: Path, theirs: str, expected: dict[str, Any], ours_first: bool
) -> None:
    text = compose.THEIRS.replace("    name: forge-network\n    driver: bridge\n", theirs)
    other = written(tmp_path, "theirs.yml", text)
    document = compose.understood(tmp_path, *([MAIN, other] if ours_first else [other, MAIN]))
    assert images(document) == {**dict.fromkeys(OURS, IMAGE), **THEIR_IMAGES}
    assert network(document) == expected
    for name in THEIRS:
        assert "profiles" not in document["services"][name]


def test_a_network_that_they_call_otherwise_keeps_its_name(tmp_path: Path) -> None:
    other = written(tmp_path, "theirs.yml", compose.THEIRS.replace("name: forge-network", "name: backbone"))
    assert network(compose.understood(tmp_path, MAIN, other))["name"] == "backbone"
    document = compose.understood(tmp_path, other, MAIN, FORGE_NETWORK="backbone")
    assert network(document)["name"] == "backbone"


def test_our_folder_is_named_where_their_file_comes_first(tmp_path: Path) -> None:
    """Compose reads every path from the folder of the first file."""
    other = written(tmp_path, "theirs.yml", compose.THEIRS)
    document = compose.understood(tmp_path, other, MAIN, PLANT3D_SYNC_CONTEXT="./apps/plant3d-sync")
    built = document["services"]["plant3d-sync"]["build"]["context"]
    assert Path(built) == (tmp_path / "apps" / "plant3d-sync").resolve()


def test_standalone_brings_servers_of_its_own_in_a_network_of_its_own(tmp_path: Path) -> None:
    document = compose.understood(tmp_path, MAIN, STANDALONE)
    assert images(document) == {
        **dict.fromkeys([*OURS, "synapse-backend"], IMAGE),
        "forge-redis": "valkey/valkey:8-alpine",
        "plant3d-sync-db": "pgvector/pgvector:pg17",
    }
    assert network(document) == {"name": "plant3d-sync-standalone"}, "a second forge-redis beside theirs"
    waits = document["services"]["plant3d-sync"]["depends_on"]["plant3d-sync-db"]
    assert waits["condition"] == "service_healthy"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = compose.config(tmp_path, STATE_DB_URL="")
    assert done.returncode != 0
    assert "required variable STATE_DB_URL is missing a value" in done.stderr


@pytest.mark.parametrize(
    "login",
    [
        {"SYNAPSE_API_KEY": "k-1"},
        {"SYNAPSE_API_KEY_FILE": "/run/secrets/key"},
        {"SYNAPSE_USER": "sync@example.com", "SYNAPSE_PASSWORD": "p-1"},
        {"SYNAPSE_USER": "sync@example.com", "SYNAPSE_PASSWORD_FILE": "/run/secrets/word"},
        {"SYNAPSE_USER_FILE": "/run/secrets/name", "SYNAPSE_PASSWORD_FILE": "/run/secrets/word"},
    ],
)
def test_a_key_or_an_account_of_synapse_is_enough_and_reaches_the_worker_only(
    tmp_path: Path, login: dict[str, str]
) -> None:
    services = compose.understood(tmp_path, **{"SYNAPSE_API_KEY": "", **login})["services"]
    worker = services["plant3d-sync-worker"]["environment"]
    names = ("SYNAPSE_API_KEY", "SYNAPSE_USER", "SYNAPSE_PASSWORD")
    every = [name + end for name in names for end in ("", "_FILE")]
    assert {name: worker[name] for name in every if worker[name]} == login
    for other in ("plant3d-sync", "plant3d-sync-scheduler"):
        assert not set(every) & set(services[other]["environment"])


def test_what_the_environment_says_reaches_the_containers(tmp_path: Path) -> None:
    given = {"SERVICE_PORT": "9002", "P3DSYNC_RETENTION_DAYS": "30", "LOG_FORMAT": "console", "DEBUG": "true"}
    services = compose.understood(tmp_path, **given)["services"]
    web, worker = services["plant3d-sync"], services["plant3d-sync-worker"]
    assert given.items() <= web["environment"].items()
    assert worker["environment"]["P3DSYNC_RETENTION_DAYS"] == "30"
    assert [(port["target"], port["published"]) for port in web["ports"]] == [(9002, "8002")]


def test_every_service_of_ours_can_be_scaled(tmp_path: Path) -> None:
    services = compose.understood(tmp_path, P3DSYNC_PUBLISH="127.0.0.1:8002-8004")["services"]
    assert not [name for name in OURS if "container_name" in services[name]]
    assert services["plant3d-sync"]["ports"][0]["published"] == "8002-8004"
