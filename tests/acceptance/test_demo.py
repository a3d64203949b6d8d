"""The demo is the first thing a stranger runs: it must work, say what it does, and notice when it does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import plant3d_sync
from plant3d_sync.cli import demo

SOURCE = Path(plant3d_sync.__file__).parents[1]


def play(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The demo as a process of its own, with `folder` for temporary files."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(folder), "TEMP": str(folder), **env}
    return subprocess.run(
        [sys.executable, "-m", "plant3d_sync", "demo", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def test_every_step_does_what_it_says_and_nothing_is_left(tmp_path: Path) -> None:
    # Somebody's real settings must not lead the demo to real systems.
    done = play(
        tmp_path,
        "--items",
        "300",
        SYNAPSE_API_URL="http://127.0.0.1:9",
        STATE_DB_URL=f"sqlite:///{tmp_path / 'real-state.db'}",
        PLANT3D_DB_URL="/nowhere",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Wrote: 300 in SYNAPSE, 0 in Plant 3D." in done.stdout
    assert "Would write: 3 in SYNAPSE, 0 in Plant 3D." in done.stdout
    assert "Wrote: 3 in SYNAPSE, 0 in Plant 3D." in done.stdout
    assert done.stdout.count("Wrote: 0 in SYNAPSE, 0 in Plant 3D.") == 2
    assert "every step did what it said" in done.stdout
    assert re.search(r"^create +900-PU-999", done.stdout, re.MULTILINE)
    assert re.search(r"^missing ", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_step_that_does_something_else_ends_the_demo_with_1_and_keeps_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # A rename that is lost between the designer's screen and the file: two updates are expected, one comes.
    monkeypatch.setattr(demo.edits, "rename_tag", lambda path, pnpid, tag: None)
    assert demo.run_demo(items=300) == 1
    said = capsys.readouterr().out
    assert "The demo stopped: This step should have ended with" in said
    (kept,) = tmp_path.iterdir()
    assert str(kept) in said
    assert (kept / "ProcessPower.dcf").is_file()


@pytest.mark.long
def test_a_kept_demo_can_be_gone_on_with_by_the_commands_it_prints(tmp_path: Path) -> None:
    done = play(tmp_path, "--items", "300", "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = tmp_path.iterdir()
    printed = done.stdout.partition("What to try next")[2]
    setting = re.search(r"SYNAPSE_API_KEY ?= ?\"?([\w-]+)", printed)
    server = re.search(r"plant3d-sync (synapse-dev .*)", printed)
    assert setting and server
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "SYNAPSE_API_KEY": setting[1]}
    command = [sys.executable, "-m", "plant3d_sync"]
    process = subprocess.Popen(
        [*command, *server[1].split()], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline()
        for words in re.findall(r"^    plant3d-sync ((?:doctor|pull|runs) .*)$", printed, re.MULTILINE):
            answer = subprocess.run(
                [*command, *words.split()],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert answer.returncode == 0, f"{words}: {answer.stdout}{answer.stderr}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()
