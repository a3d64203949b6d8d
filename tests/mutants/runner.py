"""Break the program on purpose, one promise at a time, and see whether the tests notice.

    python3 dev.py mutants              the breaks of modules, tests and data that differ from main
    python3 dev.py mutants --all        every break
    python3 dev.py mutants WORDS        those whose name, module or promise holds these words

Where it can be, a break is put into the running program, in a fork of a process that has imported everything
(`stand.py`). What survives that, or cannot be tried so, is put into a copy of `src`; the tests that stand for it run
against that copy in a process of their own. First they run against the program as it is: a test that fails by itself
notices nothing. The exit code is 1 if a break survived, or could not be tried.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.mutants.breaks import ROOT, SOURCE, Break, all_breaks
from tests.mutants.stand import exchange, in_a_fork

PRELOADED = [
    "pytest",
    "sqlalchemy",
    "hypothesis.stateful",
    "httpx2",
    "pydantic",
    "msgspec",
    "orjson",
    "typer",
]
HANG = 600
"""Seconds: a break that makes a test hang for so long was noticed."""

CAUGHT, SURVIVED, BROKEN = "caught", "SURVIVED", "NOT TRIED"
_MEANING = {int(pytest.ExitCode.OK): SURVIVED, int(pytest.ExitCode.TESTS_FAILED): CAUGHT}


def _settle(source: str, log: str, folder: str) -> list[str]:
    """A process of its own looks at this source and writes into this log. Returns the options of pytest."""
    with open(log, "w", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join([source, str(ROOT)])
    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
    sys.path[:0] = [source]
    import_module(SOURCE.name)  # now: a module of the tests may put the unbroken program before it
    return [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-o",
        f"pythonpath={source} .",
        "-o",
        f"timeout={HANG}",
    ]


def _tests(source: str, tests: Sequence[str], log: str, folder: str) -> None:
    """In a process of its own: run tests against this source; its exit code is pytest's."""
    options = _settle(source, log, folder)
    code = pytest.main([*options, *tests])
    sys.stdout.flush()
    os._exit(int(code))


def _stand(source: str, breaks: Sequence[Break], log: str, folder: str, trust: bool) -> None:
    """In a process of its own: try breaks that the same tests stand for; the names of those caught go to `caught`."""
    options = _settle(source, log, folder)
    files = files_of(breaks[0])
    pytest.main([*options, "--collect-only", *files])  # imports the tests, and with them the program
    fork = Path(folder) / "fork"
    tests = sorted({test for one in breaks for test in one.tests})
    if not trust and in_a_fork(lambda: int(pytest.main([*options, *tests])), fork, HANG)[0]:
        os._exit(1)  # the tests fail by themselves: the runner finds that again, and says it
    for one in breaks:
        text = (Path(source) / SOURCE.name / one.module).read_text(encoding="utf-8")

        def tried(one: Break = one, text: str = text) -> int:
            exchange(import_module(one.import_name), text, one.applied(text))
            return int(pytest.main([*options, *one.tests]))

        if in_a_fork(tried, fork, HANG)[0] == pytest.ExitCode.TESTS_FAILED:
            with (Path(folder) / "caught").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(one.name) + "\n")
    os._exit(0)


def files_of(one: Break) -> tuple[str, ...]:
    """The files of the tests that stand for a break."""
    return tuple(sorted({test.partition("::")[0] for test in one.tests}))


def groups(wanted: Iterable[Break]) -> list[list[Break]]:
    """Breaks by the files of their tests, the largest group first."""
    found: dict[tuple[str, ...], list[Break]] = {}
    for one in wanted:
        found.setdefault(files_of(one), []).append(one)
    return sorted(found.values(), key=len, reverse=True)


class Bench:
    """A copy of the program in which one break after the other is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source = folder / "src"
        shutil.copytree(SOURCE, self._source / SOURCE.name)
        self._how = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """Exit code and output of these tests against the copy as it is now."""
        log = self._folder / "log"
        child = self._how.Process(target=_tests, args=(str(self._source), tests, str(log), str(self._folder)))
        child.start()
        child.join(HANG)
        if child.is_alive():
            child.kill()
            child.join()
            return int(pytest.ExitCode.TESTS_FAILED), "hung"
        return child.exitcode or 0, log.read_text(encoding="utf-8", errors="replace")

    def stand(self, breaks: Sequence[Break], *, trust: bool) -> set[str]:
        """Names of the breaks that were caught by exchanging functions of the running program."""
        (self._folder / "caught").write_text("", encoding="utf-8")
        child = self._how.Process(
            target=_stand,
            args=(str(self._source), breaks, str(self._folder / "log"), str(self._folder), trust),
        )
        child.start()
        child.join()
        names = (self._folder / "caught").read_text(encoding="utf-8").splitlines()
        return {json.loads(name) for name in names}

    def try_(self, one: Break) -> tuple[str, str]:
        """What became of a break, and what its tests said."""
        path = self._source / SOURCE.name / one.module
        text = path.read_text(encoding="utf-8")
        try:
            path.write_text(one.applied(text), encoding="utf-8")
            _forget_compiled(path)
            code, said = self.run(one.tests)
            return _MEANING.get(code, BROKEN if code > 1 else CAUGHT), said
        finally:
            path.write_text(text, encoding="utf-8")
            _forget_compiled(path)


def _forget_compiled(path: Path) -> None:
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


@contextmanager
def benches(count: int) -> Iterator[SimpleQueue[Bench]]:
    """So many copies, to be taken and given back."""
    with tempfile.TemporaryDirectory(prefix="p3dsync-mutants-", ignore_cleanup_errors=True) as folder:
        free: SimpleQueue[Bench] = SimpleQueue()
        for number in range(count):
            free.put(Bench(Path(folder) / str(number)))
        yield free


def changed() -> set[str]:
    """Files that differ from main, or from the commit before where main stands."""
    for base in ("main", "origin/main"):
        with contextlib.suppress(subprocess.CalledProcessError):
            merged = _git("merge-base", base, "HEAD")
            if merged != _git("rev-parse", "HEAD") or _git("status", "--porcelain"):
                return {*_git("diff", "--name-only", merged).split("\n")}
    return {*_git("diff", "--name-only", "HEAD~1").split("\n")}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def touches(one: Break, files: Iterable[str]) -> bool:
    """Whether a break stands in one of these files, or one of its tests does."""
    mine = {f"src/plant3d_sync/{one.module}", f"tests/mutants/{one.source}"}
    mine |= {test.partition("::")[0] for test in one.tests}
    return not mine.isdisjoint(files)


def chosen(options: argparse.Namespace) -> list[Break]:
    """The breaks that were asked for."""
    every = [one for one in all_breaks() if not one.equivalent]
    if options.words:
        words = " ".join(options.words)
        return [one for one in every if any(words in text for text in (one.name, one.where, one.promise))]
    if options.all:
        return every
    files = changed()
    return [one for one in every if touches(one, files)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py mutants", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "words", nargs="*", help="only breaks whose name, module or promise holds these words"
    )
    parser.add_argument("--all", action="store_true", help="every break")
    parser.add_argument(
        "--changed", action="store_true", help="breaks of what differs from main (the default)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the tests on the unbroken program first"
    )
    options = parser.parse_args()
    wanted = chosen(options)
    if not wanted:
        print("No break was asked for.")
        return 0
    multiprocessing.set_start_method("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        multiprocessing.set_forkserver_preload(PRELOADED)
    with benches(options.workers) as free:
        caught: set[str] = set()

        def stood(group: list[Break]) -> None:
            bench = free.get()
            try:
                names = bench.stand(group, trust=options.trust)
            finally:
                free.put(bench)
            for one in group:
                if one.name in names:
                    caught.add(one.name)
                    print(f"{CAUGHT:9}  {one.name}  ({one.where})", flush=True)

        def tried(one: Break) -> tuple[Break, str, str]:
            bench = free.get()
            try:
                return one, *bench.try_(one)
            finally:
                free.put(bench)

        with ThreadPoolExecutor(options.workers) as pool:
            if hasattr(os, "fork"):
                list(pool.map(stood, groups(wanted)))
            rest = [one for one in wanted if one.name not in caught]
            if rest and not options.trust:
                bench = free.get()
                code, said = bench.run(sorted({test for one in rest for test in one.tests}))
                free.put(bench)
                if code:
                    print(said[-3000:], "\nThe tests fail on the program as it is.", sep="")
                    return 1
            left = 0
            for one, fate, said in pool.map(tried, rest):
                left += fate != CAUGHT
                print(f"{fate:9}  {one.name}  ({one.where})", flush=True)
                if fate == BROKEN:
                    print("\n".join(f"    {line}" for line in said.splitlines()[-15:]))
    print(f"{len(wanted)} breaks, {len(wanted) - left} caught.")
    return 1 if left else 0
