"""The files that install this project agree with each other."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("runtime", "build", "dev")
PYTHONS = ("3.11.0", "3.11.7", "3.12.1", "3.13.0", "3.14.0")
SYSTEMS = (("linux", "posix", "Linux"), ("darwin", "posix", "Darwin"), ("win32", "nt", "Windows"))


def declared(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==([^\s;]+)", text, flags=re.MULTILINE))


def entries(name: str) -> list[Requirement]:
    """The lines of a lock as pip reads them, with extras and markers, without hashes."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z0-9][^\n\\]*?) *\\?$", text, flags=re.MULTILINE)
    return [Requirement(line) for line in lines]


def machines() -> Iterator[Environment]:
    """Every Python and system that this project promises to run on, as markers see them."""
    for python in PYTHONS:
        for system, os_name, platform in SYSTEMS:
            found = default_environment()
            found["python_version"] = python.rpartition(".")[0]
            found["python_full_version"] = found["implementation_version"] = python
            found["sys_platform"], found["os_name"], found["platform_system"] = system, os_name, platform
            yield found


def applies(requirement: Requirement, machine: Environment, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**machine, "extra": extra})


def needs(entry: Requirement) -> list[Requirement]:
    """What the package of a lock's line asks for, read from the package as it is installed here.

    A package that is not installed because its line is for other machines says nothing; any other absence, or
    another version than the locked one, means that this environment is not the lock's.
    """
    try:
        package = importlib.metadata.distribution(entry.name)
    except importlib.metadata.PackageNotFoundError:
        assert not applies(entry, default_environment()), f"{entry} is not installed: python3 dev.py setup"
        return []
    assert entry.specifier.contains(package.version), f"{entry}, not {package.version}: python3 dev.py setup"
    return [Requirement(text) for text in package.requires or []]


def missing(name: str) -> set[str]:
    """Every requirement that a lock leaves open on some supported machine."""
    lock = entries(name)
    asked = [(entry, need) for entry in lock for need in needs(entry)]
    found = set()
    for machine in machines():
        present = {canonicalize_name(entry.name): entry for entry in lock if applies(entry, machine)}
        for entry, need in asked:
            if present.get(canonicalize_name(entry.name)) is not entry:
                continue
            if not any(applies(need, machine, extra) for extra in ("", *entry.extras)):
                continue
            answer = present.get(canonicalize_name(need.name))
            version = str(answer.specifier).removeprefix("==") if answer else ""
            if answer and need.extras <= answer.extras and need.specifier.contains(version, prereleases=True):
                continue
            found.add(f"{entry.name} needs {need}; locked: {answer}")
    return found


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
def test_a_lock_is_complete_so_that_it_installs_without_resolving(name: str) -> None:
    """Else it rots: what it leaves open is filled with whatever is newest on the day of the installation."""
    assert sorted(missing(name)) == []


def test_the_build_back_end_of_the_package_is_locked_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert declared("build") == project["build-system"]["requires"]
    assert locked("build").items() <= locked("dev").items()


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(name)) > 0
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_no_requirements_file_names_a_package_index() -> None:
    found = [
        f"{path.name}: {line}"
        for path in sorted((ROOT / "requirements").iterdir())
        for line in path.read_text(encoding="utf-8").splitlines()
        if "://" in line or "index-url" in line or "find-links" in line
    ]
    assert found == []


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The package as the image installs it, built by the locked back end."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return zipfile.Path(built)


def names(wheel: zipfile.Path) -> set[str]:
    return set(wheel.root.namelist())


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.Path) -> None:
    """Migrations, the stock mapping, the pages' scripts, and the mark of a typed package: not code alone."""
    source = ROOT / "src"
    here = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in here} >= {".py", ".yml", ".js", ".css", ".mako"}
    assert sorted(here - names(wheel)) == []


def test_the_documentation_that_the_messages_name_is_in_the_wheel(wheel: zipfile.Path) -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 30
    assert sorted(name for name in pages if f"plant3d_sync/{name}" not in names(wheel)) == []


def test_the_wheel_holds_the_program_alone_and_asks_for_what_the_lock_has(wheel: zipfile.Path) -> None:
    foreign = {name for name in names(wheel) if not name.startswith(("plant3d_sync/", "plant3d_sync-"))}
    assert foreign == set()
    [about] = [name for name in names(wheel) if name.endswith(".dist-info/METADATA")]
    text = wheel.root.read(about).decode()
    asked = {package_name(need) for need in re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE)}
    assert asked <= set(locked("runtime"))
