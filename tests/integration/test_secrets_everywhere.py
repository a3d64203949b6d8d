"""Six awkward passwords, in every setting that may hold one, and every place that text goes to."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
import yaml

from plant3d_sync import logs
from plant3d_sync.address import MASK, hide_in_tracebacks, secrets_in, shown
from plant3d_sync.bootstrap import make_app
from plant3d_sync.cli.main import run
from plant3d_sync.errors import ConfigError, SyncError
from plant3d_sync.usecases import queue
from plant3d_sync.worker.main import prepare
from plant3d_sync.worker.probe import probe
from tests.conftest import LONG
from tests.support.webapp import MINE, UUIDS, desk

PIECES = ("Qtail7", "Qmiddle7", "Qend7")
AWKWARD = [
    "Qtail7@Qmiddle7/Qend7",
    "Qtail7#Qmiddle7?Qend7",
    "Qtail7:Qmiddle7%Qend7",
    "Qtail7 Qmiddle7;Qend7",
    "Qtail7{Qmiddle7}Qend7",
    "Qtail7'Qmiddle7\"Qend7\\",
]
SETTINGS = {
    "STATE_DB_URL": "postgresql://someone:{}@127.0.0.1:9/state",
    "REDIS_URL": "redis://someone:{}@127.0.0.1:9/0",
    "PLANT3D_DB_URL": "mssql+pymssql://someone:{}@127.0.0.1:9/plant_PnId",
    "a connection string": "Driver=FreeTDS;Server=127.0.0.1,9;Database=plant_PnId;UID=someone;PWD={}",
    "a source of the file": "mssql+pymssql://someone:{}@127.0.0.1:9/plant_PnId",
    "a foreign source of the file": "postgresql://someone:{}@127.0.0.1:9/plant",
    "state_db_url of the file": "postgresql://someone:{}@127.0.0.1:9/state",
    "SYNAPSE_API_URL": "http://someone:{}@127.0.0.1:9",
    "PLANT3D_DB_HOST": "someone:{}@127.0.0.1",
    "P3DSYNC_CORS_ORIGINS": "https://someone:{}@host.example",
    "PLANT3D_DB_PASSWORD": "{}",
    "SYNAPSE_API_KEY": "{}",
    "SYNAPSE_PASSWORD": "{}",
}


def settings(folder: Path, place: str, value: str) -> dict[str, str]:
    """The environment, and the file, with this one setting awkward and everything else as it should be."""
    environ = {
        "STATE_DB_URL": f"sqlite:///{folder / 'state.db'}",
        "SYNAPSE_API_URL": "http://127.0.0.1:9",
        "SYNAPSE_API_KEY": "a-key-that-is-good",
        "SYNAPSE_USER": "someone@plant.example",
        "SYNC_RETRY_ATTEMPTS": "1",
        "SYNC_RETRY_DELAY_SECONDS": "0",
        "PLANT3D_DB_HOST": "127.0.0.1",
        "PLANT3D_DB_PORT": "9",
        "PLANT3D_DB_NAME": "plant_PnId",
        "PLANT3D_DB_USER": "someone",
        "PLANT3D_DB_DRIVER": "pymssql",
        "PLANT3D_DB_PASSWORD": "a password that is good",
    }
    project: dict[str, object] = {"synapse_project_id": UUIDS[MINE]}
    document: dict[str, object] = {"projects": {MINE: project}}
    if "source of the file" in place:
        project["source"] = value
    elif place == "state_db_url of the file":
        document["state_db_url"] = value
        del environ["STATE_DB_URL"]
    else:
        environ["PLANT3D_DB_URL" if place == "a connection string" else place] = value
    path = folder / "plant3d-sync.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return environ


def spellings(place: str, password: str) -> list[str]:
    """As a person would write it first, and as it should be written."""
    pattern = SETTINGS[place]
    if "://" not in pattern:
        return [pattern.format(password)]
    return [pattern.format(password), pattern.format(quote(password, safe=""))]


def leaked(text: str) -> list[str]:
    return [piece for piece in PIECES if piece in text]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    handlers = logging.getLogger().handlers
    yield
    logging.getLogger().handlers = handlers
    structlog.reset_defaults()
    MASK.forget()


USED = ("STATE_DB_URL", "a foreign source of the file", "PLANT3D_DB_HOST", "SYNAPSE_API_URL")
LOOKING = [["settings", "show"], ["--json", "settings", "show"], ["--json", "check-config"]]
WORKING = [
    ["check-config"],
    ["--json", "doctor", MINE],
    ["--json", "pull", MINE],
    ["keys", "list"],
    ["worker", "--burst"],
]


@pytest.mark.parametrize("place", SETTINGS)
def test_no_piece_of_a_password_is_printed_by_what_shows_settings(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for password in AWKWARD if LONG else AWKWARD[:2]:
        for value in spellings(place, password):
            no_piece_is_printed(tmp_path, place, value, LOOKING, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("place", "password"),
    [
        pytest.param(place, password, marks=() if number == 0 and place in USED else pytest.mark.long)
        for place in SETTINGS
        for number, password in enumerate(AWKWARD)
    ],
)
def test_no_piece_of_a_password_is_printed_by_what_uses_it(
    place: str,
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for value in spellings(place, password):
        no_piece_is_printed(tmp_path, place, value, WORKING, monkeypatch, capfd)


def no_piece_is_printed(
    folder: Path,
    place: str,
    value: str,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        for name, text in settings(folder, place, value).items():
            patch.setenv(name, text)
        for command in commands:
            code = run(["--config", str(folder / "plant3d-sync.yml"), *command])
            told = "".join(capfd.readouterr())
            assert told or code == 0
            assert not leaked(told), (value, command, told)
            assert "Traceback" not in told


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("password", AWKWARD)
def test_no_piece_of_a_password_gets_into_a_log_or_a_traceback_in_it(
    form: str, password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in SETTINGS:
        for value in spellings(place, password):
            environ = settings(tmp_path, place, value) | {"LOG_FORMAT": form}
            stream = io.StringIO()
            monkeypatch.setattr(sys, "stderr", stream)
            try:
                prepare(make_app(tmp_path / "plant3d-sync.yml", environ))
            except SyncError:
                logs.configure(form=form, stream=stream)
            for text in (password, value, repr(value), json.dumps(value)):
                try:
                    raise RuntimeError(f"the driver says: could not use {text}")
                except RuntimeError:
                    logs.get_logger().exception(
                        "test.failed", reason=text, url=value, facts={"inner": [value]}
                    )
                    logging.getLogger("somebody").exception("cannot use %s", text)
            assert "the driver says" in stream.getvalue()
            assert not leaked(stream.getvalue()), (value, stream.getvalue())


@pytest.mark.parametrize("password", AWKWARD)
def test_an_exception_that_ends_a_process_or_a_thread_passes_the_same_mask(
    password: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_app(tmp_path / "plant3d-sync.yml", settings(tmp_path, "PLANT3D_DB_PASSWORD", password))
    before = sys.excepthook, threading.excepthook
    hide_in_tracebacks()
    try:
        try:
            raise RuntimeError(f"could not use {password} and {quote(password)}")
        except RuntimeError as error:
            sys.excepthook(RuntimeError, error, error.__traceback__)
            thrown = error

        def fail() -> None:
            raise thrown

        thread = threading.Thread(target=fail, name="failing")
        thread.start()
        thread.join()
    finally:
        sys.excepthook, threading.excepthook = before
    told = capfd.readouterr().err
    assert told.count("Traceback") == 2 and "thread failing" in told
    assert not leaked(told)


def test_a_program_that_ends_by_a_fault_hides_them_too(tmp_path: Path) -> None:
    program = (
        "import os, sys; from plant3d_sync.cli import main as m; from plant3d_sync.bootstrap import make_app;"
        "m.run = lambda: (make_app(), 1 / 0 if os.environ['STATE_DB_URL'] else 0)[1];"
        "import plant3d_sync.cli.main as cli\n"
        "def fail():\n    make_app()\n    raise ValueError(os.environ['STATE_DB_URL'])\n"
        "cli.run = fail\ncli.main()\n"
    )
    environ = settings(tmp_path, "STATE_DB_URL", SETTINGS["STATE_DB_URL"].format(AWKWARD[0]))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "ValueError" in done.stderr
    assert not leaked(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "password", [AWKWARD[0], *(pytest.param(one, marks=pytest.mark.long) for one in AWKWARD[1:])]
)
def test_no_answer_of_the_service_holds_a_piece_of_a_password(password: str, tmp_path: Path) -> None:
    environ = {
        "SYNC_RETRY_ATTEMPTS": "1",
        "SYNC_RETRY_DELAY_SECONDS": "0",
        "REDIS_URL": SETTINGS["REDIS_URL"].format(quote(password, safe="")),
        "PLANT3D_DB_PASSWORD": password,
        "SYNAPSE_PASSWORD": password,
    }
    with desk(tmp_path, **environ) as service:
        service.well()
        entry = service.app.config.projects[MINE]
        asked = service.post("/api/v1/sync/pull", {"project_id": MINE})
        run_id = asked.json()["sync_id"]
        waiting = queue.claim(service.world, "holder", service.app.project_names())
        assert waiting is not None
        queue.fail(
            service.world,
            waiting,
            ConfigError(
                f"no login with {password} or mssql://someone:{password}@host",
                hint=password,
                details={"why": [password]},
            ),
        )
        for source in (SETTINGS["PLANT3D_DB_URL"], SETTINGS["a foreign source of the file"]):
            for value in (source.format(password), source.format(quote(password, safe=""))):
                object.__setattr__(entry, "source", value)
                probe(service.app, service.world, MINE)
        told = ""
        for path in (
            "/health",
            "/metrics",
            f"/api/v1/projects/{MINE}",
            f"/api/v1/sync/{run_id}",
            f"/api/v1/sync/{run_id}/events",
            f"/api/v1/sync/status?project_id={MINE}",
            f"/api/v1/sync/history?project_id={MINE}",
            f"/api/v1/audit?project_id={MINE}",
            "/readyz?verbose=1",
        ):
            answer = service.client.get(path, headers=service.headers())
            assert answer.status_code == 200, (path, answer.text)
            told += answer.text
        assert "no login with ***" in told
        assert not leaked(told), told
        assert not leaked(json.dumps(service.audited(), default=str))


@pytest.mark.parametrize("password", AWKWARD)
@pytest.mark.parametrize("place", [name for name, text in SETTINGS.items() if "://" in text])
def test_what_is_shown_of_an_address_is_never_a_piece_of_its_password(place: str, password: str) -> None:
    for value in spellings(place, password):
        assert not leaked(shown(value)), value
        assert shown(value).startswith(value.partition("://")[0])
        MASK.know(*secrets_in(value))
        assert not leaked(MASK.text(f"trouble with {value!r} and {value}."))
