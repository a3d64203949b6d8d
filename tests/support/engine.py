"""A Docker engine, where one answers. What a test makes with it has a name of its own and goes with its block."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("plant3d-sync", "plant3d-sync-worker", "plant3d-sync-scheduler")
KEPT = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "USERPROFILE")
"""Of this machine's environment; every name of Docker's own is kept too."""

HANG = 900
"""Seconds after which a call of the client counts as hung."""

ASK = """
import json, sys, urllib.error, urllib.request
method, path, key, body = json.loads(sys.argv[1])
asked = urllib.request.Request("http://127.0.0.1:8002" + path, method=method, data=body and body.encode(),
                               headers={"Content-Type": "application/json", **({"X-API-Key": key} if key else {})})
try:
    answer = urllib.request.urlopen(asked, timeout=90)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(print(json.dumps([0, str(error)])))
print(json.dumps([answer.status, answer.read().decode()]))
"""
"""A call of the API from inside the container: where an engine publishes its ports differs from machine to machine."""


def need() -> None:
    """The test is skipped, and says so, where no engine answers."""
    if shutil.which("docker") is None:
        pytest.skip("no docker client: the image was not built, the stack not started")
    if docker("info", check=False).returncode:
        pytest.skip("no Docker engine answers: the image was not built, the stack not started")


def need_image(name: str) -> None:
    """An image of somebody else's: here already, or pulled; else the test is skipped and says so."""
    if docker("image", "inspect", name, check=False).returncode == 0:
        return
    if docker("pull", "--quiet", name, check=False).returncode:
        pytest.skip(f"the image {name} is not here and cannot be pulled: the stack was not started")


def docker(
    *words: str | Path, values: Mapping[str, str] | None = None, check: bool = True, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """`docker WORDS` with only these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith(("DOCKER_", "BUILD"))
    }
    done = subprocess.run(
        ["docker", *map(str, words)],
        cwd=cwd,
        env={**kept, **(values or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert not check or done.returncode == 0, f"docker {words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@contextmanager
def built(*words: str, context: Path = ROOT) -> Iterator[str]:
    """The image as the Dockerfile makes it, under a name of its own: `plant3d-sync:TAG`."""
    name = f"plant3d-sync:test-{uuid.uuid4().hex[:8]}"
    docker("build", "-t", name, *words, ".", cwd=context)
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name, check=False)


def run_in(image: str, *command: str, options: Sequence[str] = (), check: bool = True) -> str:
    """What a command prints in a container that is then gone. As in the compose file: read-only, but for /tmp."""
    hardened = ["--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL", "--network", "none"]
    done = docker("run", "--rm", *hardened, *options, image, *command, check=check)
    return done.stdout if check else done.stdout + done.stderr


def inspected(kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker(kind, "inspect", name).stdout)
    return found[0]


@dataclass(frozen=True)
class Stack:
    """A compose project with a name of its own. `files`: none reads what a plain `docker compose` reads."""

    name: str
    folder: Path
    values: Mapping[str, str]
    files: tuple[Path, ...] = ()

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        nothing = self.folder / "empty.env"  # a developer's own .env does not count
        nothing.write_text("", encoding="utf-8")
        files = [part for file in self.files for part in ("-f", str(file))]
        front = ["--env-file", str(nothing), "-p", self.name, *files]
        return docker("compose", *front, *words, values=self.values, check=check)

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command).stdout

    def containers(self, service: str) -> list[dict[str, Any]]:
        ids = self.compose("ps", "--all", "--quiet", service).stdout.split()
        return [inspected("container", one) for one in ids]

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", service).stdout

    def call(self, method: str, path: str, key: str = "", body: object = None) -> tuple[int, Any]:
        """Status and answer of our web service; status 0: it does not listen yet."""
        asked = json.dumps([method, path, key, None if body is None else json.dumps(body)])
        status, text = json.loads(self.inside("plant3d-sync", "python", "-c", ASK, asked))
        return status, json.loads(text) if status else text

    def until(self, what: str, holds: Callable[[], object], seconds: float = 240) -> None:
        """Waits for it; a failure shows what every container said."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(
                    f"not {what} within {seconds} s: {self.compose('logs', '--no-color').stdout}"
                )
            time.sleep(1)

    @contextmanager
    def removed_at_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.compose("down", "--volumes", "--timeout", "20", check=False)
