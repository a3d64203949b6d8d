"""The contribution to SYNAPSE and the reference server are one implementation: shared modules cannot drift apart."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
