"""Measures what a project on SQL Server costs beside the same project as a file.

    python3 bench/sqlserver.py [--items 20000] [--dirty 0.05] [--rounds 3] [--json FILE]

The server is the executing endpoint of the tests in a process of its own, not counted: real drivers, real protocol, the
same sample. Contenders, in turn within a round: the file, and each driver that works here. `plan` is the whole process of
one first plan against an empty SYNAPSE (`bench/sink.py`), user and system time; `snapshot` is CPU of the reading alone, in
a process that has done it once before
plan must say the same as the file's, or there is no result. Ratios to the file, within a round, then the median. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "src"), str(ROOT)]

from pull import WAITS, VoidError, clean_environment, measure, running_sink, sample_of, write_config  # noqa: E402

from tests.support.mssql import WHY_NO_ODBC, freetds_registered, has, url_for  # noqa: E402
from tests.support.tds_endpoint import TdsEndpoint  # noqa: E402

CHANGES_WAIT = 2
"""Exit code of a plan that has something to do."""

SERVE = """
import sys
from pathlib import Path
from tests.support.tsql_server import TsqlServer, as_a_server_holds_it
as_a_server_holds_it(Path(sys.argv[1]))
with TsqlServer(Path(sys.argv[1])).endpoint() as endpoint:
    print(endpoint.host, endpoint.port, flush=True)
    sys.stdin.read()
"""

SNAPSHOT = """
import sys, time
from plant3d_sync.connectors.plant3d import open_source
source = open_source(sys.argv[1], deadline=600)
spent = []
for _ in range(2):
    began = time.process_time()
    with source.snapshot():
        spent.append(time.process_time() - began)
print(spent[-1])
"""


@contextmanager
def server(database: Path) -> Iterator[TdsEndpoint]:
    """The executing endpoint with this database; only its address is used here."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(database)],
        env=clean_environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        host, port = process.stdout.readline().split()
        there = TdsEndpoint(lambda _sql, _parameters: None)
        there.host, there.port = host, int(port)
        yield there
    finally:
        process.terminate()
        process.wait(timeout=60)


def planned(folder: Path, source: str, url: str) -> tuple[float, Any]:
    """CPU of a plan of this source, and what it says."""
    folder.mkdir()
    config = write_config(folder, Path("unused"), url)
    document = json.loads(config.read_text(encoding="utf-8"))
    document["projects"]["bench"]["source"] = source
    config.write_text(json.dumps(document), encoding="utf-8")
    main = [sys.executable, "-m", "plant3d_sync", "--config", str(config)]
    measure([*main, "db", "upgrade"], clean_environment(), folder / "upgrade.log")
    log = folder / "plan.log"
    environment = clean_environment() | {"P3DSYNC_SOURCE_DEADLINE_SECONDS": "600"}
    cost = measure([*main, "--json", "plan", "bench"], environment, log, (0, CHANGES_WAIT, WAITS))
    said = log.read_text(encoding="utf-8")
    document = json.loads(said[said.index("{") : said.rindex("}") + 1])
    return cost.cpu, {name: document[name] for name in ("stats", "by_entity", "errors")}


def snapshot_cost(source: str) -> float:
    """CPU of one reading into the local copy."""
    answer = subprocess.run(
        [sys.executable, "-c", SNAPSHOT, source], env=clean_environment(), capture_output=True, text=True
    )
    if answer.returncode != 0:
        raise VoidError(f"The reading failed:\n{answer.stderr[-2000:]}")
    return float(answer.stdout)


def one_round(
    number: int, sources: dict[str, str], sink: str, into: dict[str, dict[str, list[float]]]
) -> None:
    """Each source once; who goes first alternates."""
    said: dict[str, Any] = {}
    for name in sources if number % 2 == 0 else reversed(sources):
        with tempfile.TemporaryDirectory(prefix="p3dbench-") as folder:
            cpu, said[name] = planned(Path(folder) / name, sources[name], sink)
        into["plan"].setdefault(name, []).append(cpu)
        into["snapshot"].setdefault(name, []).append(snapshot_cost(sources[name]))
        print(f"  {name:8} plan {cpu:6.2f} s  snapshot {into['snapshot'][name][-1]:6.2f} s", file=sys.stderr)
    if len({json.dumps(one, sort_keys=True) for one in said.values()}) > 1:
        raise VoidError(f"The plans do not say the same: {said}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dirty", type=float, default=0.0, help="share of bad items")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there")
    options = parser.parse_args(arguments)
    drivers = (
        ["pymssql"] * has("pymssql") + ["freetds"] * freetds_registered() + ["pyodbc"] * (not WHY_NO_ODBC)
    )
    found: dict[str, dict[str, list[float]]] = {"plan": {}, "snapshot": {}}
    with tempfile.TemporaryDirectory(prefix="p3dbench-") as name:
        database = Path(name) / "ProcessPower.dcf"
        database.write_bytes(sample_of(options.items, options.dirty).read_bytes())
        try:
            with server(database) as endpoint, running_sink(0) as sink:
                sources = {"file": str(database)} | {one: url_for(endpoint, one) for one in drivers}
                for number in range(options.rounds):
                    print(f"round {number + 1}; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
                    one_round(number, sources, sink.url, found)
        except VoidError as error:
            print(f"The benchmark was stopped, there is no result. {error}", file=sys.stderr)
            return 1
    print(
        f"{options.items} items, {options.dirty:.0%} bad; CPU, median of {options.rounds}; ratio to the file"
    )
    for what, by_name in found.items():
        for name, spent in by_name.items():
            ratios = [one / base for one, base in zip(spent, by_name["file"], strict=True)]
            print(
                f"{what:10}{name:9}{statistics.median(spent):7.2f} s{statistics.median(ratios):8.2f}"
                f"   ({min(ratios):.2f} to {max(ratios):.2f}; smallest by smallest {min(spent) / min(by_name['file']):.2f})"
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
