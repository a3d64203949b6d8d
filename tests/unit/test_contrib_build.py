"""The contribution to SYNAPSE and the reference server are one implementation: shared modules cannot drift apart."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.contribution import REVISION_BEFORE, TWO_LINES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "contrib" / "build.py"


@pytest.fixture
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contrib_build", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shared_modules_of_the_contribution_are_those_of_the_reference_server() -> None:
    said = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, f"{said.stdout}\nRun: python3 dev.py contrib"


def test_a_change_of_a_shared_module_alone_is_noticed(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "TARGET", tmp_path)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.different() == list(build.SHARED)
    assert build.main([]) == 0
    assert build.different() == []
    (tmp_path / "tags.py").write_text("changed by hand", encoding="utf-8")
    assert build.different() == ["tags"]
    assert build.main(["--check"]) == 1


def test_the_contribution_names_nothing_of_ours(build: ModuleType) -> None:
    for path in build.TARGET.glob("*.py"):
        assert "plant3d_sync" not in path.read_text(encoding="utf-8"), path.name


TEXTS = ("README", "PULL_REQUEST", "DEPLOY")
FOLDER = ROOT / "contrib" / "synapse"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ending", [".md", ".fr.md"])
def test_the_texts_exist_in_both_languages_and_name_what_is_there(name: str, ending: str) -> None:
    text = (FOLDER / f"{name}{ending}").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (FOLDER / link).is_file(), link
    for path in re.findall(r"`((?:backend|frontend)/[\w./-]+)`", text):
        assert (FOLDER / path).exists(), path
    for path in re.findall(r"`((?:tests|docs)/[\w./-]+)`", text):
        assert (ROOT / path).is_file(), path


def test_both_readmes_show_the_two_lines_that_the_tests_insert() -> None:
    for ending in (".md", ".fr.md"):
        text = (FOLDER / f"README{ending}").read_text(encoding="utf-8")
        for line in TWO_LINES.splitlines():
            assert f"   {line}\n" in text
        assert REVISION_BEFORE in text
