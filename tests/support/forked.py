"""Workers that fail on purpose, each in a process of its own that starts in no time: forked from one that has
everything imported.

`python -m tests.support.forked CONFIG` reads one JSON object a line and answers each with one. Members:
`env`: settings of the worker; `raises` and `line`: which exception to throw at which line of the program
(0: count the lines only); `thread`: a thread that gets it in place of the main one; `room`: bytes of memory the
worker may take beyond what it has; `burst`: false for one that goes on until something ends it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rq.timeouts import JobTimeoutException

import plant3d_sync
from plant3d_sync.bootstrap import make_app
from plant3d_sync.worker import main as worker
from tests.support.world import World

PROGRAM = str(Path(plant3d_sync.__file__).parent)
KINDS: dict[str, type[Exception]] = {
    "memory": MemoryError,
    "timeout": JobTimeoutException,
    "fault": RuntimeError,
}


class Lines:
    """Counts the lines of the program that a thread executes, and throws at one of them."""

    def __init__(self, at: int, raises: str) -> None:
        self.count = 0
        self._at = at
        self._kind = KINDS[raises]

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PROGRAM):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._at:
                raise self._kind(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return self


def _only(name: str, lines: Lines, frame: FrameType, event: str, argument: object) -> Any:
    return lines(frame, event, argument) if threading.current_thread().name.startswith(name) else None


def _work(config: str, order: dict[str, Any]) -> dict[str, Any]:
    """One worker until nothing is due. What ended it, if it did not end by itself."""
    os.environ.update(order.get("env", {}))
    lines = Lines(order.get("line", 0), order.get("raises", "fault"))
    if "room" in order:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + order["room"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if "thread" in order:
        threading.settrace(lambda *seen: _only(order["thread"], lines, *seen))
    elif "line" in order:
        sys.settrace(lines)
    worker.LISTEN = 0.01  # nobody rings here
    try:
        worker.run_worker(make_app(config), burst=order.get("burst", True))
    except Exception as error:  # noqa: BLE001 - as the interpreter would at the end of a process
        sys.settrace(None)
        traceback.print_exc()
        return {"ended_by": type(error).__name__, "lines": lines.count}
    sys.settrace(None)
    return {"ended_by": None, "lines": lines.count}


def main(config: str) -> None:
    for text in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            answer = json.dumps(_work(config, json.loads(text))).encode()
            os.write(writing, answer)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            said = json.loads(stream.read() or b'{"ended_by": "killed", "lines": 0}')
        os.waitpid(child, 0)
        print(json.dumps(said), flush=True)


@dataclass(frozen=True, slots=True)
class Forker:
    """Asks for workers of one world."""

    process: subprocess.Popen[str]

    def work(self, **order: Any) -> dict[str, Any]:
        """One worker; how it ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said


@contextmanager
def forker(world: World) -> Iterator[Forker]:
    """Workers of this world on demand. What they say is in forked.log."""
    root = Path(__file__).parents[2]
    with (world.folder / "forked.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(world.config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=root,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(root), str(Path(PROGRAM).parent)]),
                **world.environment({}),
            },
        )
    try:
        yield Forker(process)
    finally:
        process.kill()
        process.wait(timeout=30)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


if __name__ == "__main__":
    main(sys.argv[1])
