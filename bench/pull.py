"""Measures a pull beside the hand-tuned floor, on the same files, in the same rounds.

    python3 dev.py bench [--sizes 5000,50000] [--rounds 3] [--cost-ms 0] [--json FILE]

Each contender is a whole process, taken in turn within a round, with a fresh copy of the sample, a fresh
state and a fresh sink (`bench/sink.py`, its own process, not counted). What is measured per process and its
children: CPU (user + system), wall time, peak memory of the largest process. Ratios are taken within a
round and then the median: on a shared machine the CPU ratios are the figures to trust.

Scenarios, in this order within a round:
  first      first pull of everything
  unchanged  the same again, nothing changed, a whole process
  1 %        1 % of the items got a new description (raw SQL, with revision and timestamp, as Plant 3D does)
  poll       nothing changed, inside one running process as the worker runs it, per call (ours only)
  compare    such a call made to compare all, on a sample of which 2 % is bad: what a poll costs that is none
  poll 2 %   nothing changed in that sample either; something always waits in it (hazards of real databases)

Contenders: `ours`; `floor`, which sends the same documents with nothing around it; `bare`, the floor without a mapping
(every filled column as it is). Ratios are to `floor`.

A round in which the sink did not receive exactly the expected items, or in which ours and the floor did not send the
same documents, stops the benchmark: a fast run that does less is no result. POSIX only (wait4).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
SEED = 11
SECOND = 10_000_000  # .NET ticks
POLLS = 20
COMPARES = 5
DIRT = 0.02
WAITS = 3
"""Exit code of a run with row errors, which the rest of it goes past."""
ENTITY_ROOTS = ("Equipment", "Instrumentation", "HandValves")
CONTENDERS = ("floor", "bare", "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process cost. Seconds and MiB; `items` and `requests` as the sink counted them."""

    cpu: float
    wall: float
    peak_mib: float
    items: int = 0
    requests: int = 0


class VoidError(Exception):
    """The measurement means nothing; the message says why."""


# --- the sink ------------------------------------------------------------------------------------


class Sink:
    """The sink process, seen from here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = url.removeprefix("http://")

    def call(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request(method, path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def counts(self) -> dict[str, int]:
        return self.call("GET", "/bench/counts")

    def documents(self) -> str:
        """A digest of everything that was written into the assets."""
        return str(self.call("GET", "/bench/documents")["digest"])

    def reset(self) -> None:
        self.call("POST", "/bench/reset")


@contextlib.contextmanager
def running_sink(cost_ms: float) -> Iterator[Sink]:
    command = [sys.executable, str(HERE / "sink.py"), "--cost-ms", str(cost_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise VoidError("The sink did not start; its own message is above.")
        try:
            yield Sink(json.loads(line)["url"])
        finally:
            process.terminate()


# --- samples and edits -----------------------------------------------------------------------------


def sample_of(items: int, dirty: float = 0.0) -> Path:
    """A sample with that many items, clean or with this share of hazards; written once per version of the generator,
    then copied.

    In a process of its own: Linux counts a parent's peak memory as its children's, so this one stays small.
    """
    folder = Path(tempfile.gettempdir()) / "plant3d-sync-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"sample-{items}-{dirty}-{SEED}-{generator_age()}.dcf"
    if not path.exists():
        print(f"Writing a sample of {items} items, {dirty:.0%} of them bad.", file=sys.stderr)
        code = (
            "import sys; from pathlib import Path; from plant3d_sync.sample import write_sample; "
            "write_sample(Path(sys.argv[1]), items=int(sys.argv[2]), seed=int(sys.argv[3]), dirty=float(sys.argv[4]))"
        )
        command = [sys.executable, "-c", code, str(path), str(items), str(SEED), str(dirty)]
        if subprocess.run(command, env=clean_environment()).returncode != 0:
            raise VoidError("The sample could not be written; the message is above.")
    return path


def generator_age() -> int:
    """Changes whenever a file of the generator does."""
    return int(max(path.stat().st_mtime for path in (ROOT / "src/plant3d_sync/sample").glob("*.py")))


def edit_one_percent(path: Path, items: int, round_number: int) -> int:
    """New descriptions for 1 % of the items, with newer timestamps than any row has; how many."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        chosen = tagged_items(database)[: max(1, items // 100)]
        newest = database.execute('select max("PnPTimestamp") from "PnPBase"').fetchone()[0]
        database.executemany(
            'update "EngineeringItems" set "Description" = ? where "PnPID" = ?',
            [(f"Edited in round {round_number}, item {pnpid}", pnpid) for pnpid in chosen],
        )
        database.executemany(
            'update "PnPBase" set "PnPTimestamp" = ?, "PnPRevision" = "PnPRevision" + 1 where "PnPID" = ?',
            [(newest + SECOND, pnpid) for pnpid in chosen],
        )
    return len(chosen)


def tagged_items(database: sqlite3.Connection) -> list[int]:
    """Ids of equipment, instruments and valves with a complete tag, spread over the three."""
    found: list[list[int]] = []
    for table in ENTITY_ROOTS:
        query = f"""select t."PnPID" from "{table}" t join "EngineeringItems" e on e."PnPID" = t."PnPID"
                    where t."Tag" <> '' and t."Tag" not like '%?%' order by t."PnPID" """
        found.append([pnpid for (pnpid,) in database.execute(query)])
    return [pnpid for group in zip(*found, strict=False) for pnpid in group]


# --- processes -------------------------------------------------------------------------------------


def measure(
    command: Sequence[str], environment: dict[str, str], log: Path, codes: Sequence[int] = (0,)
) -> Cost:
    """Run one process to its end. A failure voids the benchmark."""
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise VoidError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Cost(cpu=usage.ru_utime + usage.ru_stime, wall=wall, peak_mib=usage.ru_maxrss / unit)


class Contender:
    """One way to pull, with its own copy of the source and its own state."""

    def __init__(self, name: str, folder: Path, sample: Path, sink: Sink) -> None:
        self.name, self.folder, self.sink = name, folder, sink
        folder.mkdir()
        self.source = folder / "ProcessPower.dcf"
        shutil.copyfile(sample, self.source)
        self.environment = clean_environment()
        if name != "ours":
            arguments = [str(self.source), sink.url, PROJECT, str(folder / "watermark")]
            arguments += ["--bare"] if name == "bare" else []
            self.command = [sys.executable, str(HERE / "floor.py"), *arguments]
        else:
            config = write_config(folder, self.source, sink.url)
            main = [sys.executable, "-m", "plant3d_sync", "--config", str(config)]
            self.config = config
            self.command = [*main, "pull", "bench", "--json"]
            measure([*main, "db", "upgrade"], self.environment, folder / "upgrade.log")

    def pull(self, expected_items: int | None) -> Cost:
        before = self.sink.counts()
        codes = (0, WAITS) if expected_items is None else (0,)
        cost = measure(self.command, self.environment, self.folder / "pull.log", codes)
        after = self.sink.counts()
        items = after["items"] - before["items"]
        if expected_items is not None and items != expected_items:
            raise VoidError(f"{self.name} sent {items} items where {expected_items} were expected.")
        parts = asdict(cost) | {"items": items, "requests": after["requests"] - before["requests"]}
        return Cost(**parts)


def clean_environment() -> dict[str, str]:
    ours = ("P3DSYNC_", "PLANT3D_", "SYNAPSE_", "STATE_DB_", "SYNC_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "SYNAPSE_API_KEY": "bench"}


def write_config(folder: Path, source: Path, url: str) -> Path:
    """JSON is YAML too, and needs no library here."""
    project = {"synapse_project_id": PROJECT, "source": str(source), "mapping": ["stock"], "active": True}
    config = {
        "state_db_url": f"sqlite:///{folder / 'state.db'}",
        "synapse": {"url": url, "api_key_env": "SYNAPSE_API_KEY", "api": "auto"},
        "projects": {"bench": project | {"write": "off"}},
    }
    path = folder / "plant3d-sync.yml"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return path


# --- inside a running process ----------------------------------------------------------------------


def poll_in_child(contender: Contender, *options: str) -> Cost:
    """The cost of one pull of an unchanged source inside a process that already runs; the median call."""
    command = [sys.executable, str(HERE / "pull.py"), "--poll-child", str(contender.config), *options]
    answer = subprocess.run(command, env=contender.environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise VoidError(f"The polling process ended with {answer.returncode}:\n{answer.stderr[-2000:]}")
    parts: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return Cost(cpu=parts["cpu"], wall=parts["wall"], peak_mib=parts["peak_mib"])


def poll_child(config: str, *, compare: bool = False) -> int:
    """Call the pull `POLLS` times in this process and print the median cost of a call as JSON."""
    pull = in_process_pull(config, compare=compare)
    for _ in range(2):
        pull()  # imports, connection pools, statement caches: what a running service has behind it
    calls: list[tuple[float, float]] = []
    for _ in range(COMPARES if compare else POLLS):
        cpu, wall = time.process_time(), time.perf_counter()
        pull()
        calls.append((time.process_time() - cpu, time.perf_counter() - wall))
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    cpus, walls = zip(*calls, strict=True)
    print(json.dumps({"cpu": statistics.median(cpus), "wall": statistics.median(walls), "peak_mib": peak}))
    return 0


def in_process_pull(config: str, *, compare: bool) -> Callable[[], None]:
    """One pull per call as the worker does it: settings, mapping and connections are kept, every run is a run.

    A call takes the lease, asks SYNAPSE's feed, looks at the file and stores a completed run.
    """
    from plant3d_sync.bootstrap import make_app
    from plant3d_sync.run.engine import Engine, Request
    from plant3d_sync.state import projects

    app = make_app(config)
    engine = Engine(app.world(), app.project("bench"))

    def pull() -> None:
        if compare:
            with app.state.write() as connection:
                projects.update(connection, "bench", force_compare=True)
        report = engine.run(Request(trigger="schedule", by="bench"))
        if report.exit_code not in (0, WAITS) or compare is report.unchanged_source:
            raise VoidError(f"A poll was no poll: {report.to_dict()}")

    return pull


# --- rounds and the table --------------------------------------------------------------------------

Results = dict[str, dict[str, list[Cost]]]  # scenario -> contender -> one cost per round


def one_round(sample: Path, items: int, number: int, names: Sequence[str], sink: Sink, into: Results) -> None:
    """Every contender through every scenario; who goes first alternates."""
    order = names if number % 2 == 0 else tuple(reversed(names))
    documents: dict[str, set[str]] = {}
    for name in order:
        sink.reset()
        with tempfile.TemporaryDirectory(prefix="p3dbench-") as folder:
            contender = Contender(name, Path(folder) / name, sample, sink)
            note(into, "first", name, contender.pull(items))
            if name != "bare":
                documents.setdefault("first", set()).add(sink.documents())
            note(into, "unchanged", name, contender.pull(0))
            changed = edit_one_percent(contender.source, items, number)
            note(into, "1 %", name, contender.pull(changed))
            if name != "bare":
                documents.setdefault("1 %", set()).add(sink.documents())
            if name == "ours":
                note(into, "poll", name, poll_in_child(contender))
    if "ours" in names:
        sink.reset()
        with tempfile.TemporaryDirectory(prefix="p3dbench-") as folder:
            contender = Contender("ours", Path(folder) / "ours", sample_of(items, DIRT), sink)
            note(into, "first 2 %", "ours", contender.pull(None))
            note(into, "compare 2 %", "ours", poll_in_child(contender, "--compare"))
            note(into, "poll 2 %", "ours", poll_in_child(contender))
    for scenario, digests in documents.items():
        if len(digests) > 1:
            raise VoidError(f"After '{scenario}' ours and the floor had not sent the same documents.")


def note(results: Results, scenario: str, name: str, cost: Cost) -> None:
    results.setdefault(scenario, {}).setdefault(name, []).append(cost)
    print(f"  {scenario:9} {name:5} cpu {cost.cpu:8.3f} s  wall {cost.wall:8.3f} s", file=sys.stderr)


def middle(costs: Sequence[Cost], field: str) -> float:
    return float(statistics.median(getattr(cost, field) for cost in costs))


def ratio(costs: Sequence[Cost], floor: Sequence[Cost], field: str) -> str:
    if not floor:
        return "-"
    pairs = zip(costs, floor, strict=True)
    return f"{statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs):.1f}"


def table(items: int, results: Results) -> str:
    lines = [
        f"\n{items:,} items".replace(",", " "),
        f"{'scenario':12}{'who':7}{'CPU s':>9}{'wall s':>9}{'MiB':>7}{'items':>8}{'req.':>6}"
        f"{'CPU/floor':>11}{'wall/floor':>12}{'MiB/floor':>11}",
    ]
    for scenario, by_name in results.items():
        for name, costs in by_name.items():
            floor = by_name.get("floor", [])
            cells = [f"{middle(costs, 'cpu'):9.3f}", f"{middle(costs, 'wall'):9.3f}"]
            cells += [f"{middle(costs, 'peak_mib'):7.0f}", f"{middle(costs, 'items'):8.0f}"]
            cells += [f"{middle(costs, 'requests'):6.0f}", f"{ratio(costs, floor, 'cpu'):>11}"]
            cells += [f"{ratio(costs, floor, 'wall'):>12}", f"{ratio(costs, floor, 'peak_mib'):>11}"]
            lines.append(f"{scenario:12}{name:7}{''.join(cells)}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="5000,50000", help="items, comma separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cost-ms", type=float, default=0.0, help="stated cost of a request at the sink")
    parser.add_argument("--only", choices=CONTENDERS, help="one contender, without ratios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there")
    parser.add_argument("--poll-child", metavar="CONFIG", help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.poll_child:
        return poll_child(options.poll_child, compare=options.compare)
    names = (options.only,) if options.only else CONTENDERS
    everything: dict[int, Results] = {}
    try:
        with running_sink(options.cost_ms) as sink:
            for items in map(int, options.sizes.split(",")):
                sample = sample_of(items)
                results = everything.setdefault(items, {})
                for number in range(options.rounds):
                    print(
                        f"{items} items, round {number + 1}; load {os.getloadavg()[0]:.1f}", file=sys.stderr
                    )
                    one_round(sample, items, number, names, sink, results)
    except VoidError as error:
        print(f"The benchmark was stopped, there is no result. {error}", file=sys.stderr)
        return 1
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores; a request costs {options.cost_ms} ms at the"
    )
    print(f"sink; median of {options.rounds}; ratios within a round, then the median.")
    for items, results in everything.items():
        print(table(items, results))
    if options.json:
        options.json.write_text(as_json(everything), encoding="utf-8")
    return 0


def as_json(everything: dict[int, Results]) -> str:
    plain = {
        str(items): {
            scenario: {name: [asdict(cost) for cost in costs] for name, costs in by_name.items()}
            for scenario, by_name in results.items()
        }
        for items, results in everything.items()
    }
    return json.dumps(plain, indent=1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
