"""The button for SYNAPSE's front end: its own tests, its types, and a build by Vite in a minimal React host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FRONTEND = Path(__file__).resolve().parents[2] / "contrib" / "synapse" / "frontend"


def npm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("npm")
    assert program is not None
    return subprocess.run(
        [program, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy with the locked packages."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine: the button is not tested")
    folder = tmp_path_factory.mktemp("button") / "frontend"
    shutil.copytree(FRONTEND, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    if npm(folder, "ping").returncode != 0:
        pytest.skip("npm's registry does not answer: the button is not tested")
    done = npm(folder, "ci", "--ignore-scripts")
    assert done.returncode == 0, done.stderr
    yield folder


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_button_passes_its_tests_has_types_and_is_built(installed: Path) -> None:
    for words in (("test",), ("exec", "--", "tsc", "-p", "."), ("run", "build")):
        done = npm(installed, *words)
        assert done.returncode == 0, f"npm {' '.join(words)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    page = (installed / "dist" / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r'src="\./(assets/[^"]+\.js)"', page)
    assert "Sync Now" in (installed / "dist" / script).read_text(encoding="utf-8")


def test_the_lock_holds_digests_and_names_no_registry() -> None:
    lock = json.loads((FRONTEND / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 100
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []


def test_the_browser_holds_no_key_and_calls_nobody_but_its_own_backend() -> None:
    sources = [path for path in (FRONTEND / "src").rglob("*") if path.suffix in (".ts", ".tsx")]
    assert len(sources) == 3
    for path in sources:
        text = path.read_text(encoding="utf-8").lower()
        assert not re.search(r"api[-_]?key|https?://|fetch\(", text), path.name
