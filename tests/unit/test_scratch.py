"""What a killed process leaves of the customer's data is removed by the next one, and nothing else is."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plant3d_sync import scratch
from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading.copy import LocalCopy, fill_copy
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.sample.generate import write_sample
from plant3d_sync.scratch import OWNER, Scratch, sweep

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no locks that end with the process")
SOURCE = str(Path(__file__).parents[2] / "src")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def in_another_process(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": SOURCE, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


HOLDS_A_COPY = """
from plant3d_sync.connectors.plant3d.reading.copy import LocalCopy
copy = LocalCopy()
copy.path.write_bytes(b"customer data")
print(copy.path, flush=True)
input()
"""


def test_the_copy_of_a_killed_process_is_removed_and_the_one_of_a_living_process_is_not(
    own_folder: Path,
) -> None:
    killed, living = (in_another_process(HOLDS_A_COPY, own_folder) for _ in range(2))
    left, used = (Path(one.stdout.readline().strip()) for one in (killed, living) if one.stdout)
    try:
        assert sweep() == []
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.read_bytes() == b"customer data"
        assert sweep() == [left.parent]
        assert not left.exists() and used.exists()
    finally:
        living.communicate("\n")
    assert list(own_folder.iterdir()) == []


def test_whoever_makes_the_first_copy_removes_what_was_left(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = in_another_process(HOLDS_A_COPY, own_folder)
    assert killed.stdout is not None
    left = Path(killed.stdout.readline().strip())
    killed.kill()
    killed.wait()
    monkeypatch.setattr(scratch, "_swept", type(scratch._swept)())
    LocalCopy().close()
    assert not left.exists()


def test_what_is_not_provably_ours_and_orphaned_stays(own_folder: Path, tmp_path: Path) -> None:
    without_a_mark = own_folder / "p3dsync-somebody"
    without_a_mark.mkdir(mode=0o700)
    another_mark = own_folder / "p3dsync-another"
    another_mark.mkdir(mode=0o700)
    (another_mark / OWNER).write_bytes(b"somebody else's")
    open_to_others = own_folder / "p3dsync-open"
    open_to_others.mkdir(mode=0o755)
    (open_to_others / OWNER).write_bytes(scratch._MARK)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / OWNER).write_bytes(scratch._MARK)
    (own_folder / "p3dsync-link").symlink_to(elsewhere)
    a_pipe = own_folder / "p3dsync-pipe"
    a_pipe.mkdir(mode=0o700)
    os.mkfifo(a_pipe / OWNER)
    a_linked_mark = own_folder / "p3dsync-linked"
    a_linked_mark.mkdir(mode=0o700)
    (a_linked_mark / OWNER).symlink_to(elsewhere / OWNER)
    (own_folder / "p3dsync-file").write_bytes(b"")
    before = set(own_folder.iterdir())
    mine = Scratch()  # the first of a process removes what was left
    assert sweep() == []
    assert set(own_folder.iterdir()) == {*before, mine.path} and (elsewhere / OWNER).exists()
    mine.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_copy_is_readable_for_nobody_else(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    source = tmp_path / "ProcessPower.dcf"
    write_sample(source, items=20)
    if mode == "wal":
        import sqlite3

        connection = sqlite3.connect(source)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    seen: dict[str, int] = {}

    old = os.umask(0)
    try:
        copy = LocalCopy()
        fill_copy(source, copy.path, deadline=30.0)
        for path in (copy.path.parent, *copy.path.parent.iterdir()):
            seen[path.name] = stat.S_IMODE(path.stat().st_mode)
    finally:
        os.umask(old)
    folder = copy.path.parent.name
    assert seen.pop(folder) == 0o700
    assert seen and set(seen.values()) == {0o600}, seen
    copy.close()
    assert list(own_folder.iterdir()) == []


def test_no_room_for_a_copy_is_told_as_such_and_leaves_nothing(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = tmp_path / "ProcessPower.dcf"
    write_sample(source, items=20)
    monkeypatch.setattr(scratch.os, "write", full)
    with pytest.raises(RetryLaterError) as caught:
        open_source(source).snapshot()
    assert caught.value.error_code == "no_space"
    assert list(own_folder.iterdir()) == []
