"""Measures how long a push of 500 cells keeps others from saving, beside a patient and an impatient writer.

    python3 bench/push.py [--cells 500] [--json FILE]

The two writers are processes of their own that save into the same `.dcf` over and over, as Plant 3D and another tool
would: one waits up to 10 s for the file, the other 100 ms and then gives up. Told are the time from the moment the
write lock is ours to the end of COMMIT (median, 99th percentile, longest), and how often each of the two saved, failed, and
waited at most. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from plant3d_sync.connectors.plant3d.writing.write_sqlite import SqliteCells  # noqa: E402
from tests.support.plant_writing import make_project  # noqa: E402

LIMIT_MS = 50.0
ALONE_SECONDS = 10.0
"""How long the two writers save without us, for comparison: they get in each other's way too."""
PATIENCE = {"patient": 5.0, "impatient": 0.1}

WRITER = """
import json, sqlite3, sys, time, threading
path, patience = sys.argv[1], float(sys.argv[2])
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
saved = failed = 0
longest = 0.0
print("ready", flush=True)
while not stop.wait(0.02):
    began = time.monotonic()
    db = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE PnPBase SET PnPRevision = PnPRevision WHERE PnPID = (SELECT max(PnPID) FROM PnPBase)")
        db.execute("COMMIT")
        saved += 1
    except sqlite3.OperationalError:
        failed += 1
    db.close()
    longest = max(longest, time.monotonic() - began)
print(json.dumps({"saved": saved, "failed": failed, "longest_ms": round(longest * 1000, 1)}), flush=True)
"""


def main() -> int:
    """Measure once; 1 if the 99th percentile is over the limit, or the impatient writer failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder) / "project", chosen.cells)
    text = json.dumps(found, indent=2)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return int(found["held_p99_ms"] > LIMIT_MS or found["impatient"]["failed"] > 0)


def measured(folder: Path, cells: int) -> dict[str, Any]:
    """One push in front of both writers."""
    project = make_project(folder, items=cells + 200)
    held = watch_the_lock()
    others = {name: started(project.database, seconds) for name, seconds in PATIENCE.items()}
    time.sleep(ALONE_SECONDS)
    alone = {name: ended(process) for name, process in others.items()}
    others = {name: started(project.database, seconds) for name, seconds in PATIENCE.items()}
    wanted = project.items(cells)
    began = time.monotonic()
    with project.writer() as writer:
        receipts = [receipt for cell in wanted for receipt in writer.write([cell])]
    seconds = time.monotonic() - began
    found: dict[str, Any] = {
        "cells": cells,
        "applied": sum(receipt.status == "applied" for receipt in receipts),
        "seconds": round(seconds, 2),
        "held_median_ms": round(statistics.median(held), 1),
        "held_p99_ms": round(statistics.quantiles(held, n=100)[98], 1),
        "held_longest_ms": round(max(held), 1),
    }
    found |= {name: ended(process) for name, process in others.items()}
    return found | {f"{name}_alone": told for name, told in alone.items()}


def ended(process: subprocess.Popen[str]) -> dict[str, float]:
    """What a writer tells at its end."""
    told, _ = process.communicate("\n", timeout=60)
    result: dict[str, float] = json.loads(told.splitlines()[-1])
    return result


def watch_the_lock() -> list[float]:
    """Milliseconds from BEGIN IMMEDIATE to the end of COMMIT or ROLLBACK, of every write from now on."""
    held: list[float] = []
    since: list[float] = []
    begin, commit, rollback = SqliteCells.begin, SqliteCells.commit, SqliteCells.rollback

    def began(store: SqliteCells) -> None:
        begin(store)
        since.append(time.monotonic())

    def over(store: SqliteCells, end: Any) -> None:
        end(store)
        if since:
            held.append((time.monotonic() - since.pop()) * 1000)

    SqliteCells.begin = began  # type: ignore[method-assign]
    SqliteCells.commit = lambda store: over(store, commit)  # type: ignore[method-assign]
    SqliteCells.rollback = lambda store: over(store, rollback)  # type: ignore[method-assign]
    return held


def started(database: Path, patience: float) -> subprocess.Popen[str]:
    """A writer that is at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database), str(patience)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


if __name__ == "__main__":
    sys.exit(main())
