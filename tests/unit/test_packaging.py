"""The files that install this project agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("runtime", "dev")


def declared(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, flags=re.MULTILINE))


def package_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found.group().lower()


def test_the_runtime_list_is_the_one_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = project["dependencies"] + project["optional-dependencies"]["sqlserver"]
    assert sorted(line.replace('"', "'") for line in declared("runtime")) == sorted(expected)


@pytest.mark.parametrize("name", LOCKS)
def test_everything_declared_is_locked(name: str) -> None:
    assert {package_name(line) for line in declared(name)} <= set(locked(name))


def test_the_dev_lock_contains_the_runtime_lock_version_for_version() -> None:
    assert locked("runtime").items() <= locked("dev").items()


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_no_requirements_file_names_a_package_index() -> None:
    found = [
        f"{path.name}: {line}"
        for path in sorted((ROOT / "requirements").iterdir())
        for line in path.read_text(encoding="utf-8").splitlines()
        if "://" in line or "index-url" in line or "find-links" in line
    ]
    assert found == []
