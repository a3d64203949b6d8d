"""Containers, as far as they can be judged without an engine: parsed, linted, their steps executed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plant3d_sync import __version__
from plant3d_sync.settings import SECRET_NAMES, Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
OURS = ("plant3d-sync", "plant3d-sync-worker", "plant3d-sync-scheduler")
PLANT_SECRETS = (
    "PLANT3D_DB_HOST",
    "PLANT3D_DB_NAME",
    "PLANT3D_DB_USER",
    "PLANT3D_DB_PASSWORD",
    "PLANT3D_DB_URL",
)
STANDALONE = ("forge-redis", "plant3d-sync-db", "synapse-backend")


def compose(part: str = "") -> dict[str, Any]:
    """The main file, or that of the servers of our own."""
    file = ROOT / ("docker-compose" + (f".{part}" if part else "") + ".yml")
    document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined, comments left out."""
    lines = [
        line
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        found.append((word.upper(), re.sub(r"\s+", " ", rest).strip()))
    return found


def environment(service: str) -> dict[str, Any]:
    return dict(compose()["services"][service].get("environment", {}))


# ---------------------------------------------------------------- compose


def test_the_services_of_the_plan_have_their_names_and_the_shared_network() -> None:
    document = compose()
    assert set(document["services"]) == set(OURS)
    assert set(document["networks"]) == {"forge-network"}
    assert document["networks"]["forge-network"] == {"name": "${FORGE_NETWORK:-forge-network}"}
    for name in OURS:
        service = document["services"][name]
        assert "container_name" not in service, "a name of its own forbids --scale"
        assert service["networks"] == ["forge-network"]
        assert service["restart"] == "unless-stopped"
        assert "profiles" not in service
    assert document["services"]["plant3d-sync"]["ports"][0].endswith(":${SERVICE_PORT:-8002}")
    assert document["services"]["plant3d-sync-worker"]["command"] == ["python", "-m", "plant3d_sync.worker"]


def test_only_the_worker_gets_what_reaches_plant3d_and_synapse() -> None:
    assert set(PLANT_SECRETS) <= set(environment("plant3d-sync-worker"))
    for name in ("plant3d-sync", "plant3d-sync-scheduler"):
        assert not {*PLANT_SECRETS, "SYNAPSE_API_KEY"} & set(environment(name)), name
        assert "volumes" not in compose()["services"][name]


@pytest.mark.parametrize("name", [*OURS, "synapse-backend"])
def test_our_containers_may_do_as_little_as_possible(name: str) -> None:
    service = compose("standalone" if name in STANDALONE else "")["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["user"] == "10001:10001"
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    assert int(service["stop_grace_period"].removesuffix("s")) > 60
    assert "privileged" not in service
    assert "/var/run/docker.sock" not in str(service)


def test_servers_of_our_own_stand_in_a_file_of_their_own_and_keep_the_bell_from_dropping_rings() -> None:
    services = compose("standalone")["services"]
    assert set(services) - set(OURS) == set(STANDALONE)
    for name in STANDALONE:
        assert "profiles" not in services[name]
        assert "ports" not in services[name]
        assert "healthcheck" in services[name]
    command = services["forge-redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert services["plant3d-sync-db"]["image"].startswith("pgvector/pgvector:")


def test_no_secret_stands_in_the_files_and_a_missing_one_stops_compose() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "${STATE_DB_URL:?" in text
    assert "${SYNAPSE_API_KEY:?" not in text, "an account of SYNAPSE 0.2 is enough"
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for line in example.splitlines():
        name, _, value = line.partition("=")
        if re.search(r"KEY|PASSWORD|URL$", name) and not line.startswith("#"):
            assert "@" not in value, line
            assert not re.search(r"KEY|PASSWORD", name) or value == "", line


def test_every_variable_of_compose_is_a_setting_and_stands_in_the_example() -> None:
    known = {name.upper() for name in Settings.model_fields} | {f"{name}_FILE" for name in SECRET_NAMES}
    for name in OURS:
        assert set(environment(name)) <= known, name
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for part in ("", "standalone"):
        for name in set(re.findall(r"\$\{([A-Z0-9_]+)", str(compose(part)))):
            assert re.search(rf"^#? ?{name}=", example, re.MULTILINE), name


def test_every_setting_of_the_settings_page_reaches_a_container() -> None:
    """What an operator writes into .env and finds on the page has to do something."""
    page = (
        (ROOT / "docs/reference/settings.md")
        .read_text(encoding="utf-8")
        .partition("## Configuration file")[0]
    )
    names = set(re.findall(r"^\| `([A-Z0-9_]+)`", page, re.MULTILINE))
    assert len(names) > 20
    reached = {name: value for service in OURS for name, value in environment(service).items()}
    assert sorted(names - set(reached)) == []
    for name in sorted(names):
        assert f"${{{name}" in str(reached[name]), f"{name} is set to {reached[name]} whatever .env says"


def test_the_example_is_a_set_of_settings_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` goes to Compose, and people give the same file to `check-config`: no name of it is refused there."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("# ").partition("=") for line in lines if re.match(r"(# )?[A-Z0-9_]+=", line)]
    load_settings({name: value for name, _, value in pairs if value})


# ---------------------------------------------------------------- Dockerfile


def test_the_image_runs_as_a_fixed_user_with_a_health_check_and_our_signal() -> None:
    steps = instructions()
    last = {word: rest for word, rest in steps}
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "/livez" in last["HEALTHCHECK"]
    assert last["CMD"] == '["plant3d-sync", "serve"]'
    assert [word for word, _ in steps].count("FROM") == 2, "what builds is not what runs"
    assert "ADD" not in last


def test_what_is_installed_is_locked_with_hashes_and_needs_no_compiler() -> None:
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    assert "--require-hashes" in runs
    assert "--only-binary :all:" in runs
    assert not re.search(r"\b(gcc|build-essential|curl|wget|sudo)\b", runs)
    assert "rm -rf /var/lib/apt/lists/*" in runs


def test_the_image_is_built_from_locks_alone_and_needs_no_registry_for_its_syntax() -> None:
    """`# syntax=` makes BuildKit fetch a frontend; no step needs it."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "syntax=" not in text
    for step in re.findall(r"pip (?:--python \S+ )?(?:install|wheel) ([^&\n]*)", text):
        locked = "--require-hashes" in step and "-r requirements/" in step
        assert "--no-deps" in step and (locked or "--no-index" in step), step
        assert "wheel-dir" not in step or "--no-build-isolation" in step, step


def test_a_company_gives_its_index_and_certificates_as_build_arguments() -> None:
    build, _, run = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition(" AS run")
    for name in ("PIP_INDEX_URL", "PIP_CERT"):
        assert re.search(rf"^ARG {name}$", build, re.MULTILINE)
        assert name not in run, "an index may hold a password: it stays in the stage that is thrown away"
        for service in OURS:
            assert compose()["services"][service]["build"]["args"][name] == f"${{{name}:-}}"


def test_the_image_says_what_it_is_and_holds_no_installer() -> None:
    _, _, run = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition(" AS run")
    for label in ("title", "description", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{label}=" in run
    assert f"ARG VERSION={__version__}\n" in run
    for name in ("ensurepip", "pip", "setuptools"):
        assert re.search(rf"rm -rf [^&]*\b{name}\b", run)


def test_only_what_is_needed_goes_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    allowed = {line[1:].removesuffix("/**") for line in lines if line.startswith("!")}
    assert copied == allowed


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    if not linter.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_alert_rules_name_metrics_that_exist_and_pages_that_exist() -> None:
    document = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text(encoding="utf-8"))
    source = (ROOT / "src/plant3d_sync/web/metrics.py").read_text(encoding="utf-8")
    guide = (ROOT / "docs/howto/deploy.md").read_text(encoding="utf-8")
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        for metric in re.findall(r"plant3d_sync_(\w+)", rule["expr"]):
            assert f'"{metric}"' in source, metric
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/howto/deploy.md"
        assert f"### {anchor.replace('-', ' ').capitalize()}" in guide, anchor


@pytest.mark.long
def test_the_steps_of_the_image_work_in_a_clean_folder(tmp_path: Path) -> None:
    """The `pip` steps as they stand, in a copy that holds only what .dockerignore lets through."""
    build, target = tmp_path / "build", tmp_path / "opt"
    build.mkdir()
    for name in (
        "pyproject.toml",
        "README.md",
        "src",
        "docs",
        "requirements/build.lock",
        "requirements/runtime.lock",
    ):
        source, copy = ROOT / name, build / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    first_stage = instructions()[: [word for word, _ in instructions()].index("FROM", 2)]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    for word, rest in first_stage:
        if word != "RUN":
            continue
        rest = rest.replace("/opt/plant3d-sync", str(target)).replace("/opt/tools", str(tmp_path / "tools"))
        for command in rest.split("&&"):
            words = shlex.split(command)
            words[0] = sys.executable if words[0] == "python" else words[0]
            done = subprocess.run(words, cwd=build, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
    assert not list(target.glob("lib/python3*/site-packages/pip")), "what runs has no pip"
    for words in (["--version"], ["check-config", "--help"], ["serve", "--help"]):
        done = subprocess.run(
            [target / "bin" / "plant3d-sync", *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    done = subprocess.run(
        [target / "bin" / "python", "-m", "plant3d_sync.worker", "--help"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
