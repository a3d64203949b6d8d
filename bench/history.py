"""Do status and history stay cheap when the state database has seen everything?

    python3 dev.py bench-history   (or: python bench/history.py [--runs 1000000] [--changes 10000000] [--calls 100])

Two state databases, one with just as many runs as the pages asked for show (6,000) and one filled with runs and
change entries, each asked through the web application in this process while another process pulls a sample of 5,000 items into a local sink, again and
again. Printed: median wall time of one call on each and the ratio. The goal is a ratio of at most 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "src"))

PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["SYNAPSE_API_KEY"] = "bench-key"
    os.environ["P3DSYNC_RATE_LIMIT"] = "1000000/minute"
    with tempfile.TemporaryDirectory(prefix="plant3d-bench-") as folder:
        results = {}
        for name, runs, changes in (("small", 6_000, 1_000), ("full", options.runs, options.changes)):
            results[name] = measure(Path(folder) / name, runs, changes, options.calls)
    print(f"\n{options.runs:,} runs, {options.changes:,} change entries; median of {options.calls} calls, ms")
    print(f"{'call':28} {'small':>9} {'full':>9} {'ratio':>7}")
    for call in results["small"]:
        small, full = results["small"][call], results["full"][call]
        print(f"{call:28} {small:9.2f} {full:9.2f} {full / small:7.2f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def measure(folder: Path, runs: int, changes: int, calls: int) -> dict[str, float]:
    from plant3d_sync.sample import write_sample

    folder.mkdir()
    write_sample(folder / "s.dcf", items=5000)
    sink = subprocess.Popen(  # noqa: S603 - our own sink
        [sys.executable, str(HERE / "sink.py")], stdout=subprocess.PIPE, text=True
    )
    if sink.stdout is None:
        raise RuntimeError("the sink has no output")
    url = json.loads(sink.stdout.readline())["url"]
    config = folder / "c.yml"
    config.write_text(
        f"state_db_url: sqlite:///{(folder / 'state.db').as_posix()}\n"
        f"synapse: {{url: {url}}}\n"
        f"projects: {{mine: {{synapse_project_id: {PROJECT}, source: s.dcf}}}}\n",
        encoding="utf-8",
    )
    pull = [sys.executable, "-m", "plant3d_sync", "--config", str(config), "pull", "mine", "--full", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(pull, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    fill(folder / "state.db", runs, changes)
    busy = subprocess.Popen(  # noqa: S603 - our own command, in a loop
        [
            sys.executable,
            "-c",
            "import subprocess,sys\nwhile True: subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)",
            *pull,
        ],
        env=env,
    )
    try:
        return ask(config, calls)
    finally:
        for process in (busy, sink):
            process.kill()
            process.wait()


def fill(database: Path, runs: int, changes: int) -> None:
    """Old runs and change entries, spread over the project's links, by plain SQL."""
    if not runs:
        return
    started = time.monotonic()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous=OFF")
    links = connection.execute("SELECT count(*), min(id) FROM link").fetchone()
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO run (id, project, direction, trigger, status, outcome, dry_run, created_at, started_at, "
            "completed_at, attempts, cancel_requested, stats, result, errors_total) "
            "SELECT printf('old%012d', i), 'mine', 'pull', 'schedule', 'completed', 'clean', 0, i, i, i + 1, 1, 0, "
            "'{\"total\":5000,\"unchanged\":5000}', '{}', 0 FROM n",
            (runs,),
        )
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO change (project, run_id, intent_id, link_id, pnpid, tag, side, op, outcome, fields, at) "
            "SELECT 1, printf('old%012d', i % ? + 1), 0, ? + i % ?, i % 5000, 'P-' || (i % 5000), 'synapse', 'update', "
            '\'updated\', \'{"description":["a","b"]}\', i FROM n',
            (changes, runs, links[1], links[0]),
        )
    connection.close()
    print(f"filled in {time.monotonic() - started:.0f} s, {database.stat().st_size / 1e9:.1f} GB", flush=True)


def ask(config: Path, calls: int) -> dict[str, float]:
    from starlette.testclient import TestClient

    from plant3d_sync.bootstrap import make_app
    from plant3d_sync.state import keys
    from plant3d_sync.web.app import create_app

    app = make_app(config)
    with app.state.write() as connection:
        _key_id, secret = keys.create(connection, "bench", ["read"], now=time.time())
    with TestClient(create_app(app), headers={"X-API-Key": secret}) as client:
        run_id = client.get("/api/v1/sync/history", params={"project_id": "mine", "limit": 1}).json()[
            "items"
        ][0]["sync_id"]
        paths = {
            "status": "/api/v1/sync/status?project_id=mine",
            "history, first page": "/api/v1/sync/history?project_id=mine",
            "history, page 100": "/api/v1/sync/history?project_id=mine&limit=50&offset=5000",
            "one run": f"/api/v1/sync/{run_id}",
            "conflicts": "/api/v1/conflicts?project_id=mine",
        }
        return {name: median(lambda path=path: client.get(path), calls) for name, path in paths.items()}


def median(call: Callable[[], object], calls: int) -> float:
    """Median wall time of one call in ms; the answer must be a good one."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        answer = call()
        times.append((time.perf_counter() - started) * 1000)
        status = getattr(answer, "status_code", 0)
        if status != 200:
            raise RuntimeError(f"answered {status}: {getattr(answer, 'text', '')[:300]}")
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
