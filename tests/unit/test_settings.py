"""What the settings and the configuration file refuse, and what a wrong path on the command line ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from plant3d_sync import failpoints
from plant3d_sync.cli.main import run
from plant3d_sync.errors import ConfigError
from plant3d_sync.settings import Settings, load_config, load_settings

ONE = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
TWO = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c12"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no variable of the machine that runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("STATE_DB_URL", f"sqlite:///{tmp_path.as_posix()}/state.db")


def write(**projects: dict[str, object]) -> Path:
    path = Path("plant3d-sync.yml")
    synapse = {"url": "http://127.0.0.1:1"}
    path.write_text(yaml.safe_dump({"synapse": synapse, "projects": projects}), encoding="utf-8")
    return path


def command(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> tuple[int, dict[str, object], str]:
    """Exit code, the document, stderr."""
    code = run(["--json", *words])
    out, err = capfdbinary.readouterr()
    return code, json.loads(out) if out else {}, err.decode()


# ---------------------------------------------------------------- the configuration file


@pytest.mark.parametrize(
    "limit",
    [
        [30, 200],
        [-0.1, 200],
        [float("nan"), 200],
        ["30%", 200],
        [True, 200],
        [0.3, -1],
        [0.3, 2.5],
        [0.3],
        0.3,
    ],
)
def test_a_guard_limit_that_would_never_stop_a_run_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(mine={"synapse_project_id": ONE, "guards": {"update": limit}}), load_settings({}))
    assert caught.value.error_code == "config_invalid"
    (problem,) = caught.value.details["problems"]  # type: ignore[misc]
    assert str(problem).startswith("projects.mine.guards.update: ")
    assert "such as [0.3, 200]: 0.3 means 30 %" in problem


@pytest.mark.parametrize("limit", [[0, 0], [1, 500], [0.3, 200], [0.5, 200.0]])
def test_the_ends_of_a_guard_limit_are_allowed(limit: list[float]) -> None:
    path = write(mine={"synapse_project_id": ONE, "guards": {"create": limit}})
    config, _ = load_config(path, load_settings({}))
    assert list(config.projects["mine"].guards.create) == limit


def test_a_project_id_that_is_no_uuid_is_refused_in_the_file_and_in_the_environment() -> None:
    with pytest.raises(ConfigError) as in_file:
        load_config(write(mine={"synapse_project_id": "mine"}), load_settings({}))
    assert in_file.value.details["problems"] == [
        "projects.mine.synapse_project_id: 'mine' is not a UUID; copy the UUID of the project from SYNAPSE"
    ]
    Path("plant3d-sync.yml").unlink()
    with pytest.raises(ConfigError) as in_environment:
        load_config(None, load_settings({"SYNAPSE_PROJECT_ID": "mine"}))
    assert in_environment.value.details["problems"] == ["SYNAPSE_PROJECT_ID: 'mine' is not a UUID"]


def test_two_active_projects_with_one_synapse_project_are_a_problem(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNAPSE_API_KEY", "a-key-of-our-own")
    first: dict[str, object] = {"synapse_project_id": ONE, "source": "a.dcf"}
    write(first=first, second=first | {"synapse_project_id": ONE.upper()}, third={"synapse_project_id": TWO})
    code, said, _ = command(capfdbinary, "check-config")
    told = [text for text in said["error"]["details"]["problems"] if "first, second" in text]  # type: ignore[index]
    assert code == 78 and len(told) == 1
    assert "a tag that one of them brought is refused to the others" in told[0]
    _, said, _ = command(capfdbinary, "doctor", "first")
    lines = {check["check"]: check for check in said["checks"]}  # type: ignore[attr-defined]
    assert (lines["projects"]["result"], lines["projects"]["code"]) == ("warning", "project_shared")

    write(first=first, second=first | {"active": False})
    code, said, _ = command(capfdbinary, "check-config")
    assert code == 0 and any("first, second" in text for text in said["warnings"])  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the environment


def test_without_any_project_the_variables_that_are_not_set_are_named(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT3D_DB_URL", "mine.dcf")
    monkeypatch.setenv("SYNAPSE_API_URL", "http://127.0.0.1:1")
    code, said, _ = command(capfdbinary, "pull", "default")
    error = said["error"]
    assert (code, error["code"]) == (2, "project_unknown")  # type: ignore[index]
    assert "Not set: SYNAPSE_PROJECT_ID, SYNAPSE_API_KEY. Nothing" in error["message"]  # type: ignore[index]

    monkeypatch.delenv("PLANT3D_DB_URL")
    monkeypatch.setenv("PLANT3D_DB_HOST", "server")
    code, said, _ = command(capfdbinary, "doctor")
    line = next(check for check in said["checks"] if check["check"] == "projects")  # type: ignore[attr-defined]
    assert code == 0 and "set SYNAPSE_PROJECT_ID, SYNAPSE_API_KEY, PLANT3D_DB_NAME." in line["hint"]


def test_an_unknown_name_suggests_only_settings_that_are_documented() -> None:
    wrong = ["P3DSYNC_FOO", "P3DSYNC_LNG", "P3DSYNC_FAILPOINT", "P3DSYNC_REST", "P3DSYNC_HOSTS"]
    with pytest.raises(ConfigError) as caught:
        load_settings(dict.fromkeys(wrong, "1"))
    assert caught.value.details["problems"] == [
        "P3DSYNC_FAILPOINT is not a setting",
        "P3DSYNC_FOO is not a setting",
        "P3DSYNC_HOSTS is not a setting; did you mean P3DSYNC_HOST?",
        "P3DSYNC_LNG is not a setting",
        "P3DSYNC_REST is not a setting",
    ]


def test_failpoints_that_have_no_effect_are_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_armed", None)
    monkeypatch.setenv("P3DSYNC_FAILPOINTS", "guards.passed:1")
    for _ in range(2):
        failpoints.failpoint("guards.passed")
    assert capsys.readouterr().err == "warning: P3DSYNC_FAILPOINTS has no effect without P3DSYNC_TEST=1\n"


# ---------------------------------------------------------------- paths on the command line


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("sample", "here.dcf"), 2, "target_exists"),
        (("sample", "nowhere/new.dcf"), 2, "target_folder_missing"),
        (("inspect", "nowhere.dcf"), 2, "source_not_found"),
        (("inspect", "sqlite:///nowhere.dcf"), 2, "source_not_found"),
        (("inspect", "."), 78, "source_not_found"),
        (("inspect", "here.dcf"), 78, "source_empty"),
        (("mapping", "check", "nowhere.yml"), 2, "mapping_invalid"),
        (("mapping", "check", "mine.yml", "--source", "nowhere.dcf"), 2, "source_not_found"),
        (("mapping", "check", "mine.yml", "--source", "here.dcf"), 78, "source_empty"),
        (("mapping", "check", "loop.yml"), 78, "mapping_invalid"),
        (("mapping", "check", "orphan.yml"), 78, "mapping_invalid"),
    ],
)
def test_a_path_that_is_not_there_is_a_wrong_argument_and_what_is_there_but_wrong_is_78(
    capfdbinary: pytest.CaptureFixture[bytes], words: tuple[str, ...], code: int, error: str
) -> None:
    Path("here.dcf").touch()
    Path("mine.yml").write_text("version: 1\nextends: stock\n", encoding="utf-8")
    Path("loop.yml").write_text("version: 1\nextends: loop.yml\n", encoding="utf-8")
    Path("orphan.yml").write_text("version: 1\nextends: nowhere.yml\n", encoding="utf-8")
    ended, said, _ = command(capfdbinary, *words)
    assert (ended, said["error"]["code"]) == (code, error)  # type: ignore[index]
