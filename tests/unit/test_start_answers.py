"""What is said at the start is true: settings in force, every problem once, errors in the form of the log."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from plant3d_sync.cli.main import run
from plant3d_sync.cli.settings_page import MEANINGS, settings_page
from plant3d_sync.errors import ConfigError
from plant3d_sync.language import speaking
from plant3d_sync.settings import Settings, load_settings
from plant3d_sync.words import bare, said

ONE = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no variable of the machine that runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SYNAPSE_API_KEY", "a-key-of-its-own")


def write(**more: object) -> Path:
    document = {
        "synapse": {"url": "http://127.0.0.1:9"},
        "projects": {"mine": {"synapse_project_id": ONE, "source": "mine.dcf"}},
        **more,
    }
    Path("plant3d-sync.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return Path("plant3d-sync.yml")


def command(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> tuple[int, dict[str, object], str]:
    """Exit code, the document, stderr."""
    code = run(["--json", *words])
    out, err = capfdbinary.readouterr()
    return code, json.loads(out) if out else {}, err.decode()


# ---------------------------------------------------------------- settings show


def test_the_settings_shown_are_those_in_force(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state_db_url="postgresql://me:hush@db.example/state")
    monkeypatch.setenv("SYNAPSE_API_URL", "http://not-this-one")
    _, document, _ = command(capfdbinary, "settings", "show")
    shown = {one["name"]: (one["value"], one["from"]) for one in document["settings"]}  # type: ignore[attr-defined]
    assert shown["SYNAPSE_API_URL"] == ("http://127.0.0.1:9", "file plant3d-sync.yml")
    assert shown["STATE_DB_URL"] == ("postgresql://me:***@db.example/state", "file plant3d-sync.yml")
    assert shown["P3DSYNC_CONFIG"] == ("plant3d-sync.yml", "current folder")
    assert shown["projects.mine.source"] == ("mine.dcf", "file plant3d-sync.yml")
    assert shown["SYNAPSE_API_KEY"] == ("***", "environment")
    assert shown["DEBUG"] == ("false", "default")
    assert "hush" not in json.dumps(document)


def test_the_default_state_database_is_shown_with_its_place(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    _, document, _ = command(capfdbinary, "settings", "show")
    shown = {one["name"]: (one["value"], one["from"]) for one in document["settings"]}  # type: ignore[attr-defined]
    value, origin = shown["STATE_DB_URL"]
    assert value.startswith("sqlite:///") and origin == "default"


def test_the_page_of_settings_is_the_one_the_program_makes() -> None:
    written = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "run: plant3d-sync settings page > docs/reference/settings.md"


def test_the_page_of_settings_says_the_same_of_the_same_names_in_french() -> None:
    english = settings_page()
    with speaking("fr"):
        french = settings_page()
    names = [re.findall(r"^\| `(\w+)`", page, re.MULTILINE) for page in (english, french)]
    assert names[0] == names[1]
    said_of = [*MEANINGS.values(), *(info.description or "" for info in Settings.model_fields.values())]
    assert [text for text in said_of if text in french] == []
    same = {line for line in english.splitlines() if len(line.split()) > 1} & set(french.splitlines())
    assert same == {"### `synapse:`"}, "no other line is left in English"


# ---------------------------------------------------------------- check-config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "NOTSET"),
        ("LOG_FORMAT", "xml"),
        ("DEBUG", "perhaps"),
        ("SYNC_BATCH_SIZE", "many"),
        ("SYNC_INTERVAL_MINUTES", "inf"),
        ("SYNC_RETRY_DELAY_SECONDS", "nan"),
        ("P3DSYNC_LEASE_SECONDS", "inf"),
        ("PLANT3D_DB_PORT", "0"),
        ("SERVICE_PORT", "99999"),
        ("P3DSYNC_RATE_LIMIT", "fast"),
        ("P3DSYNC_CORS_ORIGINS", "*"),
        ("P3DSYNC_CORS_ORIGINS", "synapse.example.com"),
        ("P3DSYNC_CORS_ORIGINS", "https://synapse.example.com/"),
        ("P3DSYNC_ALLOWED_HOSTS", "http://host"),
        ("REDIS_URL", "http://redis"),
    ],
)
def test_a_wrong_variable_is_one_problem_and_the_only_one(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SYNAPSE_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNAPSE_PROJECT_ID", ONE)
    monkeypatch.setenv("PLANT3D_DB_URL", "mine.dcf")
    monkeypatch.setenv(name, value)
    code, document, _ = command(capfdbinary, "check-config")
    problems = document["error"]["details"]["problems"]  # type: ignore[index]
    assert code == 78 and len(problems) == 1 and name in problems[0], problems
    for python in ("Input should", "Value error", "valid boolean", "None"):
        assert python not in problems[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://someone:tail@middle/end@127.0.0.1/0"),
        ("STATE_DB_URL", "postgresql://someone:tail#middle@127.0.0.1/state"),
        ("PLANT3D_DB_URL", "mssql+pymssql://someone:tail?middle@127.0.0.1/plant_PnId"),
    ],
)
def test_an_address_whose_password_cannot_be_told_is_refused_with_the_way_to_write_it(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SYNAPSE_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNAPSE_PROJECT_ID", ONE)
    monkeypatch.setenv("PLANT3D_DB_URL", "mine.dcf")
    monkeypatch.setenv(name, value)
    code, document, _ = command(capfdbinary, "check-config")
    assert code == 78 and "/ %2F" in document["error"]["hint"]  # type: ignore[index]
    assert "middle" not in str(document)


@pytest.mark.parametrize(("given", "meant"), [("info", "INFO"), (" Warning ", "WARNING"), ("ERROR", "ERROR")])
def test_the_level_may_be_written_in_any_case(given: str, meant: str) -> None:
    assert load_settings({"LOG_LEVEL": given, "LOG_FORMAT": "JSON"}).log_level == meant


def test_every_variable_with_a_closed_set_of_values_refuses_others() -> None:
    for name, info in Settings.model_fields.items():
        if "Literal" in str(info.annotation) or info.annotation in (bool, int, float):
            with pytest.raises(ConfigError) as caught:
                load_settings({name.upper(): "nonsense"})
            assert name.upper() in caught.value.message


# ---------------------------------------------------------------- nothing is made for what is not known


@pytest.mark.parametrize(
    "words",
    [
        ("pull", "typo"),
        ("push", "typo"),
        ("push", "typo", "--asset", "a"),
        ("now", "typo"),
        ("plan", "typo"),
        ("runs", "typo"),
        ("findings", "typo"),
        ("conflicts", "typo"),
        ("links", "propose", "typo"),
        ("links", "accept", "typo", "--all"),
        ("workbook", "typo"),
        ("backups", "typo"),
        ("doctor", "typo"),
        ("keys", "create", "k", "--scopes", "read", "--project", "typo"),
    ],
)
def test_a_mistyped_project_makes_no_state_database(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, words: tuple[str, ...]
) -> None:
    write(state_db_url="sqlite:///sub/state.db")
    code, document, _ = command(capfdbinary, *words)
    assert code == 2, document
    assert [path.name for path in tmp_path.rglob("*")] == ["plant3d-sync.yml"]


def test_a_state_database_of_the_file_lies_beside_it_wherever_the_command_runs(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):  # two try-outs of one user
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        path = write(state_db_url="sqlite:///state.db").absolute()
        monkeypatch.chdir(tmp_path)
        assert run(["--config", str(path), "db", "upgrade"]) == 0
        assert (folder / "state.db").is_file() and not (tmp_path / "state.db").exists()
    capfdbinary.readouterr()


def test_a_state_database_that_was_made_in_the_current_folder_stays_in_use(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "configuration"
    elsewhere.mkdir()
    write(state_db_url="sqlite:///state.db").rename(elsewhere / "plant3d-sync.yml")
    (tmp_path / "state.db").touch()
    assert run(["--config", str(elsewhere / "plant3d-sync.yml"), "db", "upgrade"]) == 0
    assert (tmp_path / "state.db").stat().st_size > 0 and not (elsewhere / "state.db").exists()
    capfdbinary.readouterr()


def test_the_smallest_file_of_the_readme_says_where_its_state_lies() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "projects:" in block]
    assert yaml.safe_load(example)["state_db_url"].startswith("sqlite:///")


# ---------------------------------------------------------------- errors of a service


@pytest.mark.parametrize("service", ["serve", "worker", "scheduler", "up"])
@pytest.mark.parametrize("wrong", ["setting", "file", "secret", "option"])
def test_a_service_that_does_not_start_says_so_in_its_log(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, service: str, wrong: str
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("STATE_DB_URL", "sqlite:///state.db")
    write()
    words = [service]
    if wrong == "setting":
        monkeypatch.setenv("SYNC_BATCH_SIZE", "many")
    elif wrong == "file":
        monkeypatch.setenv("P3DSYNC_CONFIG", "absent.yml")
    elif wrong == "secret":
        monkeypatch.setenv("SYNAPSE_API_KEY", "changeme")
    else:
        words.append("--nonsense")
    code = run(words)
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.decode().splitlines()]
    assert code in (2, 78) and len(lines) == 1
    assert (lines[0]["event"], lines[0]["level"], lines[0]["exit_code"]) == ("process.failed", "error", code)
    assert lines[0]["message"] and lines[0]["code"]


def test_on_a_console_a_service_says_it_in_text(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "console")
    monkeypatch.setenv("SYNC_BATCH_SIZE", "many")
    assert run(["serve"]) == 78
    assert capfdbinary.readouterr().err.decode().startswith("error[settings_invalid]: ")


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "sentence", "alone"),
    [
        (None, "nothing", ""),
        ("", "''", ""),
        ("P:\\mine", "'P:\\mine'", "P:\\mine"),
        ("l'été", "'l'été'", "l'été"),
        ("a\nb", "'a\\nb'", "a\nb"),
        (True, "true", "true"),
        (1.5, "1.5", "1.5"),
        ([None, "a"], '[null, "a"]', '[null, "a"]'),
    ],
)
def test_a_value_is_told_without_words_of_python(value: object, sentence: str, alone: str) -> None:
    assert (said(value), bare(value)) == (sentence, alone)
