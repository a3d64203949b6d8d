"""Measures a first pull into the double of SYNAPSE 0.2, which takes as long for each call as was measured on the real
backend, beside bare POSTs of the very same assets over as many connections.

    python bench/synapse_v02.py [ASSETS]        default 20,000: about eleven minutes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from plant3d_sync.connectors.synapse_v02.http import CONNECTIONS  # noqa: E402
from tests.support.world import template  # noqa: E402

SERVE = """
from plant3d_sync.synapse_dev.v02.main import listen
from plant3d_sync.synapse_dev.v02.traps import Traps
running = listen(traps=Traps(paced=True))
print(running.line(), flush=True)
running.serve()
"""
API = "/api/v1"


@contextmanager
def double() -> Iterator[dict[str, Any]]:
    """The double in a process of its own; what it says of itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=60)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **more}


def pulled(folder: Path, said: dict[str, Any], items: int) -> tuple[int, float]:
    """A first pull as a process: how many assets it made, and seconds."""
    (folder / "ProcessPower.dcf").write_bytes(template(folder, items=items).read_bytes())
    document = {
        "state_db_url": f"sqlite:///{folder / 'state.db'}",
        "synapse": {"url": said["url"], "requests_per_second": 0},
        "projects": {"mine": {"synapse_project_id": said["projects"][0], "source": "ProcessPower.dcf"}},
    }
    (folder / "plant3d-sync.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    words = ["-m", "plant3d_sync", "--config", str(folder / "plant3d-sync.yml"), "--json", "pull", "mine"]
    login = environment(SYNAPSE_USER=said["user"], SYNAPSE_PASSWORD=said["password"])
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=login, check=False)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return int(json.loads(done.stdout)["writes"]["synapse"]), seconds


def client(said: dict[str, Any], project: str) -> httpx2.Client:
    """A client that is logged in; a call that a recycled worker cut is sent again."""
    form = {"username": said["user"], "password": said["password"]}
    token = httpx2.post(f"{said['url']}{API}/auth/login", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "X-Project-ID": project}
    return httpx2.Client(
        base_url=said["url"] + API,
        headers=headers,
        timeout=60,
        trust_env=False,
        transport=httpx2.HTTPTransport(retries=2),
    )


def everything(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The assets that the pull made."""
    found: list[dict[str, Any]] = []
    with client(said, said["projects"][0]) as reader:
        while page := reader.get("/assets/", params={"skip": len(found), "limit": 1000}).json():
            found += page
    return found


def bare(said: dict[str, Any], project: str, assets: Sequence[dict[str, Any]]) -> float:
    """Nothing but a POST for each of these; seconds."""

    def post(part: Sequence[dict[str, Any]]) -> None:
        with client(said, project) as sender:
            for asset in part:
                body = {name: asset[name] for name in ("tag", "type", "description", "mechanical")}
                body["id"] = str(uuid.uuid4())
                for _ in range(3):
                    try:
                        answer = sender.post("/assets/", json=body)
                    except httpx2.TransportError:
                        continue
                    assert answer.status_code == 201, answer.text
                    break

    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(post, [assets[number::CONNECTIONS] for number in range(CONNECTIONS)]))
    return time.perf_counter() - started


def main(items: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with double() as said:
            made, ours = pulled(Path(folder), said, items)
            assets = everything(said)
        assert len(assets) == made, (len(assets), made)
        with double() as said:
            floor = bare(said, said["projects"][0], assets)
    print(f"{'':20} {'assets':>8} {'wall s':>8} {'a second':>9}")
    print(f"{'bare POSTs':20} {made:8,} {floor:8.1f} {made / floor:9.1f}")
    print(
        f"{'plant3d-sync':20} {made:8,} {ours:8.1f} {made / ours:9.1f}   {ours / floor:.3f} of the bare POSTs"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
