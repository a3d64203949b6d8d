"""The commands of the service: up, keys, audit, check-config, settings; and what logs never show."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import structlog

from plant3d_sync import logs
from plant3d_sync.bootstrap import App
from plant3d_sync.cli import render
from plant3d_sync.cli.main import run
from plant3d_sync.cli.settings_page import settings_page
from plant3d_sync.errors import ConfigError
from plant3d_sync.state import State, audit
from plant3d_sync.state.retention import SYSTEM
from plant3d_sync.usecases import queue
from plant3d_sync.worker.main import prepare
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=40)


class Answer(dict[str, object]):
    """Exit code and document of a command."""

    code: int


@pytest.fixture
def cli(plant: Plant, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):  # type: ignore[no-untyped-def]
    for name, value in plant.environment().items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Answer:
        capfdbinary.readouterr()
        code = run(["--config", str(plant.config), "--json", *words])
        sys.stdout.flush()
        answer = Answer(json.loads(capfdbinary.readouterr().out or b"{}"))
        answer.code = code
        return answer

    return call


def test_a_key_is_printed_once_listed_without_its_secret_and_can_be_revoked(cli) -> None:  # type: ignore[no-untyped-def]
    made = cli(
        "keys", "create", "dashboard", "--scopes", "read,sync", "--project", "mine", "--expires-days", "30"
    )
    assert set(made) == {"id", "key"}
    listed = cli("keys", "list")
    assert made["key"].split("_", 2)[2] not in json.dumps(listed)  # a secret may hold the sign itself
    (item,) = listed["items"]
    assert (item["id"], item["scopes"], item["projects"]) == (made["id"], ["read", "sync"], ["mine"])
    assert cli("keys", "revoke", made["id"])["revoked_at"]
    unknown = cli("keys", "revoke", "nonsense")
    assert (unknown.code, unknown["error"]["code"]) == (2, "key_unknown")


def test_a_changed_audit_entry_is_found_and_named(cli, plant: Plant) -> None:  # type: ignore[no-untyped-def]
    cli("keys", "create", "one", "--scopes", "read")
    cli("keys", "create", "two", "--scopes", "read")
    whole = cli("audit", "verify")
    assert (whole.code, whole["broken"]) == (0, [])
    state = State(plant.state_url)
    with closing(state.engine.raw_connection()) as raw:
        for (name,) in (
            raw.cursor().execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        ):
            raw.cursor().execute(f"DROP TRIGGER {name}")
        raw.cursor().execute("UPDATE audit SET body = replace(body, 'one', 'won') WHERE seq = 1")
        raw.commit()
    state.close()
    broken = cli("audit", "verify")
    assert (broken.code, broken["error"]["code"]) == (78, "audit_broken")
    assert broken["error"]["details"]["broken"][0]["seq"] == 1
    with plant.app().state.read() as connection:
        checked = audit.last_check(connection)
    assert checked is not None, "the metrics show what this walk found"
    assert (checked.entries, checked.broken) == (4, {SYSTEM: "entry 1: the entry was changed"})


def test_an_export_holds_every_entry_with_what_verifies_it(cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for number in range(3):
        cli("keys", "create", f"k{number}", "--scopes", "read")
    assert cli("audit", "export", "--output", str(tmp_path / "audit.jsonl")).code == 0
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    chains = {name: [line for line in lines if line["project"] == name] for name in (SYSTEM, "rows:system")}
    assert [len(chain) for chain in chains.values()] == [3, 3] and len(lines) == 6
    for chain in chains.values():
        for before, after in zip(chain, chain[1:], strict=False):
            assert after["prev"] == before["hash"]
        assert chain[0]["prev"] == audit.GENESIS


def test_check_config_names_every_problem_at_once(cli, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    assert cli("check-config").code == 0
    monkeypatch.setenv("P3DSYNC_LEASE_SECOND", "3")
    monkeypatch.setenv("SYNC_BATCH_SIZE", "many")
    monkeypatch.setenv("SYNAPSE_API_KEY", "internal-service-key")
    monkeypatch.setenv("REDIS_URL", "http://redis")
    plant.options["mine"] = {"mapping": "nowhere.yml"}
    plant.write_config()
    answer = cli("check-config")
    text = "\n".join(answer["error"]["details"]["problems"])
    assert answer.code == 78
    for part in ("P3DSYNC_LEASE_SECONDS?", "SYNC_BATCH_SIZE", "SYNAPSE_API_KEY", "nowhere.yml: cannot read"):
        assert part in text, text
    assert "severity" not in text, "a problem is a sentence"


@pytest.mark.parametrize("name", [SYSTEM, "System"])
def test_no_project_may_share_the_services_own_audit_trail(cli, plant: Plant, name: str) -> None:  # type: ignore[no-untyped-def]
    plant.projects[name] = plant.projects["mine"]
    plant.write_config()
    answer = cli("pull", "mine")
    assert (answer.code, answer["error"]["code"]) == (78, "config_invalid")
    assert f"`{name}` is the name of the service's own audit trail" in answer["error"]["message"]


def test_a_run_that_another_one_continues_says_where_to_look(cli, plant: Plant, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    world = plant.app().world()
    first = enqueue(world, "mine", "pull", by="test")
    claimed = queue.claim(world, "{}", ["mine"])
    assert claimed is not None
    later = enqueue(world, "mine", "pull", by="test")
    queue.release(world, claimed)
    shown = cli("show", later.run_id)
    assert (shown["outcome"], shown["continued_by"]) == ("cancelled", first.run_id)
    render.run({**shown, "errors": []}, ())
    sys.stdout.flush()
    assert f"continued by run {first.run_id}" in capfdbinary.readouterr().out.decode()


def test_a_worker_refuses_to_start_with_the_secrets_of_the_examples(plant: Plant) -> None:
    plant.env["SYNAPSE_API_KEY"] = "internal-service-key"
    with pytest.raises(ConfigError) as refused:
        prepare(plant.app())
    assert refused.value.error_code == "weak_secrets"
    plant.env["DEBUG"] = "true"
    prepare(plant.app())


def test_settings_are_shown_with_their_origin_and_without_secrets(cli) -> None:  # type: ignore[no-untyped-def]
    shown = {item["name"]: item for item in cli("settings", "show")["settings"]}
    assert shown["SYNAPSE_API_KEY"]["value"] == "***"
    assert shown["SYNC_RETRY_ATTEMPTS"]["from"] == "environment"


def test_the_settings_page_is_what_the_program_says() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "run: plant3d-sync settings page > docs/reference/settings.md"


def test_the_module_starts_the_worker(plant: Plant) -> None:
    import subprocess

    from tests.support.jobs import SOURCE

    done = subprocess.run(
        [sys.executable, "-m", "plant3d_sync.worker", "--burst", "--config", str(plant.config)],
        env={**os.environ, "PYTHONPATH": SOURCE, **plant.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["worker.started", "worker.stopped"]


# ---------------------------------------------------------------- logs


def logged(form: str, **fields: object) -> str:
    stream = io.StringIO()
    logs.configure(form=form, secrets=["CANARY-value"], stream=stream)
    logs.get_logger().info("test.event", **fields)
    structlog.reset_defaults()
    return stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_reaches_a_log_whatever_carries_it(form: str) -> None:
    text = logged(
        form,
        api_key="CANARY-1",
        nested={"password": "CANARY-2", "deep": ["mssql://sa:CANARY-3@host/db", "CANARY-value"]},
        reason="cannot connect: DRIVER=x;PWD=CANARY-4;",
        header="p3s_abc123_CANARYabcdef",
    )
    assert "test.event" in text
    assert "CANARY" not in text


def test_a_line_is_one_json_object_with_its_ids_even_if_a_value_holds_line_breaks() -> None:
    logs.bind(run_id="r1", request_id="q1")
    text = logged("json", tag='P-1\n{"event": "forged"}')
    logs.unbind()
    (line,) = text.splitlines()
    found = json.loads(line)
    assert (found["run_id"], found["request_id"], found["level"], found["event"]) == (
        "r1",
        "q1",
        "info",
        "test.event",
    )


# ---------------------------------------------------------------- up


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/livez", timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def workers(pid: int) -> list[psutil.Process]:
    """Its living children that are workers."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if "worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:  # a zombie is one too
            continue
    return found


@POSIX
@pytest.mark.parametrize("how", ["graceful", pytest.param("killed", marks=pytest.mark.long)])
def test_up_runs_everything_and_leaves_nothing_behind(plant: Plant, how: str) -> None:
    plant.env["SYNC_INTERVAL_MINUTES"] = "0.05"
    app: App = plant.app()
    with plant.process("up", "--port", "0") as up:
        assert up.stdout is not None
        url = json.loads(up.stdout.readline())["url"]
        wait_until(lambda: answers(url), what="the web service answers")
        wait_until(lambda: len(plant.assets("mine")) == 40, what="the schedule pulls")
        children = psutil.Process(up.pid).children(recursive=True)
        assert len(children) == 3
        (victim,) = workers(up.pid)
        victim.kill()
        wait_until(lambda: set(workers(up.pid)) - {victim}, what="the worker is started again")
        children = psutil.Process(up.pid).children(recursive=True)
        if how == "graceful":
            up.send_signal(signal.SIGTERM)
            assert up.wait(timeout=60) == 0
        else:
            up.kill()
            up.wait(timeout=10)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
    world = app.world()
    queue.recover_stale(world)
    assert queue.running(world, "mine") is None
    app.state.close()
