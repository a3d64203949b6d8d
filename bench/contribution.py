"""Measures the contribution to SYNAPSE in the host application of the tests, on a real PostgreSQL: CPU seconds of the
server's process and of PostgreSQL's together.

    python bench/contribution.py [ASSETS]        default 20,000
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import orjson
import psutil
import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.support.contribution import ADMIN_KEY, assembled, installed  # noqa: E402
from tests.support.postgres import empty_database, server  # noqa: E402

BATCH = 500
API = "/api/v1/integration"


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


class Meter:
    """CPU seconds of the server and of PostgreSQL, ended backends included."""

    def __init__(self, server_pid: int, postmaster: int) -> None:
        self.roots = [psutil.Process(server_pid), psutil.Process(postmaster)]

    def read(self) -> float:
        total = 0.0
        for root in self.roots:
            times = root.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
            for child in root.children(recursive=True):
                spent = child.cpu_times()
                total += spent.user + spent.system
        return total

    @contextmanager
    def measured(self, what: str, count: int) -> Iterator[None]:
        before, started = self.read(), time.perf_counter()
        yield
        cpu, wall = self.read() - before, time.perf_counter() - started
        each = f"{count / cpu:10,.0f} a CPU second" if cpu else ""
        print(
            f"{what:34} {count:7,}  {cpu:7.2f} CPU s {wall:7.2f} s {each} {cpu / count * 1000:8.3f} ms each",
            flush=True,
        )


def postmaster_of(url: str) -> int:
    """PostgreSQL's first process: the parent of any backend."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        parent = psutil.Process(row[0]).parent()
        assert parent is not None
        return parent.pid


def main(assets: int) -> None:
    with server() as uri, tempfile.TemporaryDirectory() as folder:
        with empty_database(uri) as url:
            api(Path(folder), url, assets)
        own_writes(uri, Path(folder), 2000)


def api(folder: Path, url: str, assets: int) -> None:
    host = installed(folder / "installed", url)
    project = str(uuid.uuid4())
    host.sql("INSERT INTO projects (id, name) VALUES (%s, 'bench')", project)
    with host.serving() as serving:
        meter = Meter(serving.process.pid, postmaster_of(host.url))
        headers = {"X-API-Key": ADMIN_KEY, "X-Project-ID": project, "Content-Type": "application/json"}
        client = httpx2.Client(base_url=serving.url + API, headers=headers, timeout=300)

        def batches(values: Callable[[int], dict[str, object]]) -> None:
            for start in range(0, assets, BATCH):
                numbers = range(start, min(start + BATCH, assets))
                items = [{"op": "upsert", "plant3d_id": f"id-{n}", "set": values(n)} for n in numbers]
                key = {"Idempotency-Key": uuid.uuid4().hex}
                client.post(
                    "/assets/batch", content=orjson.dumps({"items": items}), headers=key
                ).raise_for_status()

        def fresh(n: int) -> dict[str, object]:
            attributes = {"spec": "CS150", "size": '6"', "line_number": f"L-{n}", "drawing_ref": "PID-001"}
            return {"tag": f"P-{n}", "asset_type": "Equipment", "asset_subtype": "Centrifugal Pump",
                    "description": f"Pump {n}", "attributes": attributes}  # fmt: skip

        def pages(cursor: str | None) -> str:
            more = True
            while more:
                where = f"/assets/changes?limit=1000{f'&cursor={cursor}' if cursor else ''}"
                page = client.get(where).raise_for_status().json()
                cursor, more = str(page["next_cursor"]), bool(page["has_more"])
            return str(cursor)

        print(f"{assets:,} assets, batches of {BATCH}")
        with meter.measured("create", assets):
            batches(fresh)
        with meter.measured("the same again (unchanged)", assets):
            batches(fresh)
        with meter.measured("update descriptions", assets):
            batches(lambda n: {"description": f"Pump {n}, revised"})
        with meter.measured("full read", assets):
            cursor = pages(None)
        with meter.measured("poll, nothing changed", 200):
            for _ in range(200):
                pages(cursor)


def own_writes(uri: str, folder: Path, count: int) -> None:
    """What the triggers cost SYNAPSE's own writes, seen in PostgreSQL alone: one transaction a row."""
    for name, make in (("bare", assembled), ("with the contribution", installed)):
        with empty_database(uri) as url:
            host = make(folder / name.split()[0], url)
            host.sql("INSERT INTO projects (id, name) VALUES ('p', 'bench')")
            meter = Meter(psutil.Process().pid, postmaster_of(host.url))
            meter.roots.pop(0)
            with psycopg.connect(host.url) as connection:
                for what, statement in (
                    (
                        "INSERT",
                        "INSERT INTO assets (id, tag, type, project_id) VALUES (%(n)s, %(n)s, 'PUMP', 'p')",
                    ),
                    ("UPDATE", "UPDATE assets SET description = %(n)s WHERE id = %(n)s"),
                ):
                    with meter.measured(f"SYNAPSE's own {what}, {name}", count):
                        for n in range(count):
                            connection.execute(statement, {"n": f"asset-{n}"})
                            connection.commit()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
