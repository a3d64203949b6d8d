"""What is the same in each command of each world is made once: settings, mapping, catalogue, statements.

Nothing of the program is replaced by something else: a result is kept under everything it depends on here. What is
kept in none of these places: the state, the snapshot of the file, and what a run decides.
"""

from __future__ import annotations

import functools
import gc
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from plant3d_sync import bootstrap
from plant3d_sync.connectors.plant3d import elsewhere, mounts
from plant3d_sync.connectors.plant3d.reading import catalog as catalogs
from plant3d_sync.connectors.plant3d.reading import open as opening
from plant3d_sync.connectors.plant3d.reading import snapshot
from plant3d_sync.mapping.compile import compile_rules
from plant3d_sync.mapping.file import load_mapping
from plant3d_sync.settings import load_config, load_settings
from plant3d_sync.state import State, store

Patch = tuple[Any, str, Any]


def patches() -> list[Patch]:
    """Owner, name, and what to put there."""
    return [
        (bootstrap, "load_settings", _settings()),
        (bootstrap, "load_config", _config()),
        (bootstrap, "load_mapping", _mapping()),
        (bootstrap, "compile_rules", _rules()),
        (snapshot, "discover", _catalogue()),
        (opening, "elsewhere", _here),
        (elsewhere, "elsewhere", _here),
        (elsewhere, "may_hang", _never),
        (mounts, "may_hang", _never),
        (bootstrap, "State", _kept_state),
        *((module, "threading", _NO_TIME_PASSES) for module in _with_threads()),
        (store, "_engine", _engine()),
        (store, "refuse_foreign_file", lambda _path: None),
        (yaml, "compose", functools.lru_cache(yaml.compose)),
    ]


def _settings() -> Callable[[dict[str, str]], Any]:
    @functools.cache
    def kept(items: frozenset[tuple[str, str]]) -> Any:
        return load_settings(dict(items))

    return lambda environ: kept(frozenset(environ.items()))


def _config() -> Callable[..., Any]:
    known: dict[tuple[str, str], Any] = {}

    def config(path: Any, settings: Any) -> Any:
        key = str(path), Path(path).read_text(encoding="utf-8")
        if key not in known:
            known.clear()
            known[key] = load_config(path, settings)
        return known[key]

    return config


def _mapping() -> Callable[..., Any]:
    known: dict[object, Any] = {}

    def mapping(sources: list[str], *, base_dir: Path) -> Any:
        files = [base_dir / name for name in sources if name != "stock"]
        key = *sources, *(path.read_text(encoding="utf-8") for path in files)
        if key not in known:
            known[key] = load_mapping(sources, base_dir=base_dir)
        return known[key]

    return mapping


def _rules() -> Callable[..., Any]:
    known: dict[tuple[int, int], Any] = {}

    def rules(mapping: Any, catalog: Any) -> Any:
        key = id(mapping), id(catalog)
        if key not in known:
            known[key] = mapping, catalog, compile_rules(mapping, catalog)
        return known[key][2]

    return rules


def _catalogue() -> Callable[[sqlite3.Connection], Any]:
    """Whoever changes a class in a world changes a table with it."""
    known: dict[int, Any] = {}

    def discover(connection: sqlite3.Connection) -> Any:
        ((version,),) = connection.execute("PRAGMA schema_version").fetchall()
        if version not in known:
            known[version] = catalogs.discover(connection)
        return known[version]

    return discover


def _here(_name: str, work: Callable[..., Any], *given: Any, **_bounds: Any) -> Any:
    """No share hangs in a world."""
    return work(*given)


def _with_threads() -> list[Any]:
    """What a run consists of, as far as it has threads that wake now and then."""
    import_module("plant3d_sync.cli.sync_commands")  # which the command line imports late
    import_module("plant3d_sync.worker.main")
    ours = ("plant3d_sync.run.", "plant3d_sync.usecases.", "plant3d_sync.state.", "plant3d_sync.worker.main")
    return [
        one
        for name, one in sys.modules.items()
        if name.startswith(ours) and vars(one).get("threading") is threading
    ]


def _never(*_places: object) -> bool:
    """A folder in memory is not known as a disk of this machine, and a process apart would pass no point of ours."""
    return False


class _Nobody:
    """A thread that wakes now and then: no time passes within a command."""

    def __init__(self, **_given: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        pass


_NO_TIME_PASSES = SimpleNamespace(
    **{name: getattr(threading, name) for name in ("Event", "current_thread")}, Thread=_Nobody
)


class _Kept(State):
    """One for all commands of a world, until the world itself closes it."""

    def ready(self) -> None:
        if not self._looked_at:
            super().ready()

    def close(self) -> None:
        pass


_states: dict[str, _Kept] = {}


def _kept_state(url: str) -> State:
    if not url.startswith("sqlite:////"):
        return State(url)
    if url not in _states:
        _states[url] = _Kept(url)
    return _states[url]


def put_down(path: Path) -> None:
    """Close a state database: somebody wants the file."""
    kept = _states.pop(f"sqlite:///{path}", None)
    if kept is not None:
        kept.engine.dispose()


def _engine() -> Callable[..., Any]:
    """A statement is compiled once for all worlds, not once for each command."""
    real = store._engine
    first: list[Any] = []

    def engine(*given: Any) -> Any:
        made = real(*given)
        first.append(made)
        made.dialect, made._compiled_cache = first[0].dialect, first[0]._compiled_cache
        del first[1:]
        return made

    return engine


@contextmanager
def patched(wanted: list[Patch]) -> Iterator[None]:
    """These patches, taken back at the end."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _new in wanted]
    rhythm = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)  # as the program's own entrance does
    for owner, name, new in wanted:
        setattr(owner, name, new)
    try:
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)
        gc.set_threshold(*rhythm)
