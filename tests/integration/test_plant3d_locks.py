"""A second process has the file: what we read then, how long we wait, and that we never touch a byte."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading import copy as copying
from plant3d_sync.errors import RetryLaterError
from tests.support.dcf import Dcf

OTHER_PROGRAM = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2].split(";"):
    db.execute(statement)
print("ready", flush=True)
sys.stdin.readline()
"""
SPILL = (
    "PRAGMA cache_size = 10; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; "
    "UPDATE EngineeringItems SET Description = hex(zeroblob(400)); "
    "UPDATE Equipment SET Tag = hex(zeroblob(400))"
)


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    project = tmp_path / "project"
    project.mkdir()
    built = Dcf(project / "ProcessPower.dcf")
    for number in range(40):
        built.add("CentrifugalPump", Tag=f"P-{number}", Description="x" * 200)
    return built


@pytest.fixture(autouse=True)
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def other_program(path: Path, statements: str) -> Iterator[subprocess.Popen[str]]:
    """A process that does this to the file and then waits, its transaction open."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROGRAM, str(path), statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def error_of(path: Path, deadline: float) -> RetryLaterError:
    with pytest.raises(RetryLaterError) as caught:
        open_source(path, deadline=deadline).snapshot()
    return caught.value


def test_a_locked_file_is_retried_and_then_reported(dcf: Dcf, private_temp: Path) -> None:
    before = dcf.path.read_bytes()
    with other_program(dcf.path, "BEGIN EXCLUSIVE"):
        error = error_of(dcf.path, 0.3)
    assert error.error_code == "source_locked"
    assert dcf.path.read_bytes() == before
    assert list(private_temp.iterdir()) == []


def test_a_file_that_is_let_go_in_time_is_read(dcf: Dcf) -> None:
    with other_program(dcf.path, "BEGIN EXCLUSIVE") as process:
        assert process.stdin is not None
        threading.Timer(0.3, process.stdin.write, ["go\n"]).start()
        threading.Timer(0.35, process.stdin.flush).start()
        snapshot = open_source(dcf.path, deadline=30).snapshot()
    assert snapshot.counts(["CentrifugalPump"]) == {"CentrifugalPump": 40}
    snapshot.close()


def test_a_writer_that_has_not_committed_yet_does_not_stop_us_and_is_not_seen(dcf: Dcf) -> None:
    with other_program(dcf.path, "BEGIN IMMEDIATE;DELETE FROM PnPBase"):
        snapshot = open_source(dcf.path, deadline=60).snapshot()
    assert snapshot.counts(["CentrifugalPump"]) == {"CentrifugalPump": 40}
    snapshot.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a process that can be killed outright")
def test_a_file_left_in_the_middle_of_a_save_is_neither_read_nor_touched(
    dcf: Dcf, private_temp: Path
) -> None:
    with other_program(dcf.path, SPILL) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        journal = Path(f"{dcf.path}-journal")
        before = (dcf.path.read_bytes(), journal.read_bytes())
        assert before[1], "the test needs a hot journal"
        error = error_of(dcf.path, 2)
    assert error.error_code == "source_hot_journal"
    assert (dcf.path.read_bytes(), journal.read_bytes()) == before
    assert list(private_temp.iterdir()) == []


def test_after_recovery_by_its_own_program_the_file_is_read_as_before(dcf: Dcf) -> None:
    with other_program(dcf.path, SPILL) as process:
        process.kill()
        process.wait()
    dcf.sql("SELECT count(*) FROM PnPBase")
    snapshot = open_source(dcf.path).snapshot()
    tags = {i.values["Tag"] for b in snapshot.scan(["CentrifugalPump"], {}) for i in b.changed}
    assert tags == {f"P-{number}" for number in range(40)}
    snapshot.close()


def test_a_copy_that_takes_too_long_is_given_up(
    dcf: Dcf, private_temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_BLOCK", 4096)
    source = open_source(dcf.path, deadline=0.0)
    with pytest.raises(RetryLaterError) as caught:
        source.snapshot()
    assert caught.value.error_code == "source_busy"
    assert list(private_temp.iterdir()) == []
    dcf.sql("DELETE FROM PnPBase")  # our lock is gone


def test_the_source_is_free_again_as_soon_as_the_copy_is_made(dcf: Dcf) -> None:
    snapshot = open_source(dcf.path).snapshot()
    dcf.sql("DELETE FROM PnPBase")
    assert snapshot.counts(["CentrifugalPump"]) == {"CentrifugalPump": 40}
    snapshot.close()


def test_looking_at_the_signature_does_not_end_the_lock_of_a_running_copy(dcf: Dcf) -> None:
    """Closing any handle of a file drops all POSIX locks of the process on it: the guard must keep threads apart."""
    source = open_source(dcf.path)
    looked = threading.Event()

    def look() -> None:
        source.signature()
        looked.set()

    def while_held() -> None:
        threading.Thread(target=look, daemon=True).start()
        assert not looked.wait(0.2)
        with closing(sqlite3.connect(dcf.path, timeout=0)) as writer, pytest.raises(sqlite3.OperationalError):
            writer.execute("DELETE FROM PnPBase")
            writer.commit()

    with copying.file_guard(dcf.path):
        copy = copying.LocalCopy()
        copying.fill_copy(dcf.path, copy.path, deadline=60, while_held=while_held)
    copy.close()
    assert looked.wait(60)


WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("ready", flush=True)
n = 0
while True:
    n += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE Equipment SET Area = ?", (str(n),))
    db.execute("UPDATE Pumps SET Power = ?", (str(n),))
    db.execute("COMMIT")
    time.sleep(0.03)  # the pace of a busy office, not a synchronisation
"""


def test_a_snapshot_is_one_moment_while_somebody_commits_all_the_time(
    dcf: Dcf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_BLOCK", 4096 * 3)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(dcf.path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    seen = set()
    try:
        assert writer.stdout.readline() == "ready\n"
        for _ in range(15):
            snapshot = open_source(dcf.path).snapshot()
            items = [i for b in snapshot.scan(["CentrifugalPump"], {}) for i in b.changed]
            moments = {i.values["Area"] for i in items} | {i.values["Power"] for i in items}
            assert len(items) == 40
            assert len(moments) == 1, f"rows of several moments: {moments}"
            seen |= moments
            snapshot.close()
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    assert len(seen) > 1, "the writer never got a turn"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom rights can stop")
def test_a_file_we_may_not_read_says_so(dcf: Dcf) -> None:
    dcf.path.chmod(0)
    try:
        with pytest.raises(Exception) as caught:
            open_source(dcf.path).snapshot()
        assert getattr(caught.value, "error_code", None) == "source_unreadable"
    finally:
        dcf.path.chmod(0o600)
