"""What holds for every test: no outside settings, own folders, and skipped tests that are seen."""

from __future__ import annotations

import copy
import functools
import gc
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from sqlalchemy import Connection, Engine, event, util
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from plant3d_sync import bootstrap
from plant3d_sync.mapping.file import STOCK, MappingFile
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.rules import RuleSet

LONG = os.environ.get("P3DSYNC_LONG") == "1"

hypothesis.settings.register_profile(
    "suite",
    deadline=None,  # how long an example takes depends on the machine
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

# A command run in this process opens the state anew, as a process of its own would, and SQLAlchemy would compile the same
# two hundred statements for each: a quarter of what the stories cost. Here all SQLite engines share what was compiled.
COMPILED = util.LRUCache(3000)
SQLiteDialect_pysqlite.__hash__ = lambda dialect: hash(type(dialect))  # type: ignore[method-assign]
SQLiteDialect_pysqlite.__eq__ = lambda dialect, other: type(dialect) is type(other)  # type: ignore[method-assign]


@event.listens_for(Engine, "engine_connect")
def share_what_was_compiled(connection: Connection) -> None:
    if type(connection.dialect) is SQLiteDialect_pysqlite:
        connection.engine._compiled_cache = COMPILED


# Read by the tests themselves; everything else with these prefixes would point at somebody's real systems.
MEANT_FOR_TESTS = ("P3DSYNC_LONG", "P3DSYNC_VENV", "P3DSYNC_CONFORMANCE_", "P3DSYNC_TEST_")
OUTSIDE_SETTINGS = ("P3DSYNC_", "PLANT3D_", "SYNAPSE_", "STATE_DB_", "SYNC_", "REDIS_")


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background of a shell: what is ignored here would be ignored by every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def points_outside(name: str) -> bool:
    return name.startswith(OUTSIDE_SETTINGS) and not name.startswith(MEANT_FOR_TESTS)


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and no process it starts, sees the developer's settings or writes to his state folder."""
    state = tmp_path_factory.mktemp("user-state")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if points_outside(name):
                patch.delenv(name)
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(state / name.lower()))
        yield


@pytest.fixture(scope="session", autouse=True)
def mappings_read_once() -> Iterator[None]:
    """The same text is made into the same tree, and the same mapping over the same catalogue into the same rules: building
    them takes longer than a small run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "compose", functools.lru_cache(yaml.compose))
        patch.setattr(yaml, "safe_load", read_once(yaml.safe_load))
        patch.setattr(bootstrap, "load_mapping", stock_loaded_once(bootstrap.load_mapping))
        patch.setattr(bootstrap, "compile_rules", compiled_once(bootstrap.compile_rules))
        yield


def read_once(safe_load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Each caller gets a document of its own."""
    kept = functools.lru_cache(safe_load)
    return lambda stream: copy.deepcopy(kept(stream)) if isinstance(stream, str) else safe_load(stream)


def stock_loaded_once(load_mapping: Callable[..., MappingFile]) -> Callable[..., MappingFile]:
    """The shipped mapping alone; files of a test may change."""
    stock = functools.cache(lambda: load_mapping([STOCK], base_dir=Path()))
    return lambda sources, **more: stock() if sources == [STOCK] else load_mapping(sources, **more)


def compiled_once(compile_rules: Callable[[MappingFile, Catalog], RuleSet]) -> Callable[..., RuleSet]:
    """Of what was compiled last, what is made from equal mappings and equal catalogues."""
    kept: deque[tuple[tuple[object, ...], Catalog, RuleSet]] = deque(maxlen=8)

    def compiled(mapping: MappingFile, catalog: Catalog) -> RuleSet:
        made_of = mapping.token, mapping.sources
        for known, like, rules in kept:
            if known == made_of and like == catalog:
                return rules
        kept.append((made_of, catalog, compile_rules(mapping, catalog)))
        return kept[-1][2]

    return compiled


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    real = os.environ.get("P3D_TEST_REAL_DCF")
    for item in items:
        if item.get_closest_marker("long") and not LONG:
            item.add_marker(pytest.mark.skip(reason="long; runs with: python3 dev.py test --long"))
        if item.get_closest_marker("realfile") and not (real and Path(real).exists()):
            why = f"P3D_TEST_REAL_DCF names no file ({real})" if real else "P3D_TEST_REAL_DCF is not set"
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_collection_finish() -> None:
    """What was imported for the suite lives to its end: no collection of garbage need look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def real_dcf() -> Path:
    """The real project database of `P3D_TEST_REAL_DCF`; only for tests marked `realfile`. Never write to it."""
    return Path(os.environ["P3D_TEST_REAL_DCF"])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """A skipped test proves nothing: say so last of all, with reasons and counts, whatever the verbosity."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(reason_of(report) for report in skipped)
    terminalreporter.section(f"NOT RUN: {len(skipped)} tests", sep="!", yellow=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5}  {reason}", yellow=True)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    where = report.longrepr
    text = where[2] if isinstance(where, tuple) else str(where)
    return str(text).removeprefix("Skipped: ")
