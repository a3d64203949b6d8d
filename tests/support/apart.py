"""Commands in processes of their own that start in no time: each is forked from one that has the program imported.

They can be killed and frozen as any process; what they print goes to files. Where nothing can be forked they are started.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = [
    "plant3d_sync.cli.main",
    "plant3d_sync.cli.sync_commands",
    "plant3d_sync.bootstrap",
    "plant3d_sync.run.engine",
    "plant3d_sync.connectors.synapse.client",
    "plant3d_sync.connectors.plant3d.reading.snapshot",
    "plant3d_sync.connectors.plant3d.writing.writer",
    "plant3d_sync.mapping.compile",
]
LIMIT = 120
"""Seconds after which a command hangs."""


def _command(words: Sequence[str], env: Mapping[str, str], folder: str) -> None:
    from plant3d_sync.cli.main import main

    for channel, name in ((1, "out"), (2, "err")):
        stream = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(stream, channel)
        os.close(stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["plant3d-sync", *words]
    main()


def command(words: Sequence[str], env: Mapping[str, str], folder: Path) -> tuple[int, str, str]:
    """Run a command in this folder: its exit code (of one killed by signal 9: -9), and what it said on both channels."""
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(PRELOADED)
    child = context.Process(target=_command, args=(list(words), dict(env), str(folder)))
    child.start()
    child.join(LIMIT)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError(f"{' '.join(words)} still runs after {LIMIT} s")
    out, err = ((folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
    assert child.exitcode is not None
    return child.exitcode, out, err
