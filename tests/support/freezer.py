"""Commands that freeze or die at a named place, forked from a process that has everything imported.

`python -m tests.support.freezer` reads one JSON order a line and answers each with one: `start` runs a command
line until it ends or stops itself (failpoint `…:stop`), `go_on` wakes it and waits again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plant3d_sync.cli.main import run
from tests.support.world import SOURCE, Said, World


def _child(order: dict[str, Any]) -> None:
    os.environ.update(order["env"])
    for name, number in (("out", 1), ("err", 2)):
        target = os.open(order[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(target, number)
    code = 70
    try:
        code = run(order["words"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watched(pid: int) -> dict[str, Any]:
    _pid, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"pid": pid, "frozen": True, "code": None}
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"pid": pid, "frozen": False, "code": code}


def main() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run(["failpoints", "--json"])  # imports every command
    for text in sys.stdin:
        order = json.loads(text)
        if order["do"] == "start":
            pid = os.fork()
            if pid == 0:
                _child(order)
        else:
            pid = order["pid"]
            os.kill(pid, signal.SIGCONT)
        print(json.dumps(_watched(pid)), flush=True)


@dataclass(slots=True, kw_only=True)
class Frozen:
    """A command that stands still, or has ended."""

    freezer: Freezer
    pid: int
    frozen: bool
    code: int | None
    out: Path
    err: Path

    def go_on(self) -> Said:
        """Wake it up, wait for its end."""
        if self.frozen:
            answer = self.freezer.order(do="go_on", pid=self.pid)
            self.frozen, self.code = answer["frozen"], answer["code"]
        return self.said()

    def said(self) -> Said:
        """What it said until now."""
        return Said(
            code=-1 if self.code is None else self.code, out=self.out.read_text(), err=self.err.read_text()
        )


@dataclass(slots=True)
class Freezer:
    """Starts commands that may freeze."""

    process: subprocess.Popen[str]
    started: list[Frozen] = field(default_factory=list)

    def start(self, world: World, *words: str, env: Mapping[str, str]) -> Frozen:
        """Run a command line of this world until it ends or freezes."""
        number = len(self.started)
        out, err = (world.folder / f"command-{number}.{name}" for name in ("out", "err"))
        answer = self.order(
            do="start",
            words=["--config", str(world.config), "--json", *words],
            env=world.environment(env),
            out=str(out),
            err=str(err),
        )
        frozen = Frozen(freezer=self, out=out, err=err, **answer)
        self.started.append(frozen)
        return frozen

    def order(self, **order: Any) -> dict[str, Any]:
        """One order, one answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the freezer ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def freezer() -> Iterator[Freezer]:
    """One for all tests of a process. Whatever still stands frozen at the end is killed."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.freezer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(SOURCE)])},
    )
    made = Freezer(process)
    try:
        yield made
    finally:
        for frozen in made.started:
            if frozen.frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(frozen.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
