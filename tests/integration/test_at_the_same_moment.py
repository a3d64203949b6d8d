"""What is asked in several statements while somebody else writes between them, and what two threads make at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from plant3d_sync.state import State, acknowledgements, keys, projects, seals
from tests.support import postgres
from tests.support.jobs import build_plant
from tests.support.synapse_dev import synapse_in_thread

SHORT = 0.5


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as uri:
        yield uri


@pytest.fixture
def state(server: str) -> Iterator[State]:
    with postgres.empty_database(server) as url:
        made = State(url)
        made.ready()
        yield made
        made.close()


@contextmanager
def somebody_else(state: State, act: Callable[[], object]) -> Iterator[list[str]]:
    """Before each statement of this thread somebody else acts, and commits if nobody holds what is needed."""
    mine, told = threading.get_ident(), list[str]()
    others = ThreadPoolExecutor(max_workers=1)
    waiting: list[Any] = []

    def meanwhile(_c: Any, _u: Any, statement: str, *_rest: Any) -> None:
        if threading.get_ident() != mine:
            return
        told.append(statement)
        acting = others.submit(act)
        waiting.append(acting)
        until = time.monotonic() + SHORT
        while not acting.done() and time.monotonic() < until:
            time.sleep(0.01)

    sa.event.listen(state.engine, "before_cursor_execute", meanwhile)
    try:
        yield told
    finally:
        sa.event.remove(state.engine, "before_cursor_execute", meanwhile)
        others.shutdown()
        for acting in waiting:
            acting.result()


def test_a_key_is_good_while_others_are_made(state: State) -> None:
    numbers = iter(range(1000))
    with state.write() as connection:
        key_id, secret = keys.create(connection, "mine", ["read"], now=1.0)

    def make() -> None:
        with state.write() as connection:
            keys.create(connection, f"another {next(numbers)}", ["read"], now=2.0)

    with somebody_else(state, make) as statements, state.read() as connection:
        found = keys.verify(connection, secret, now=3.0)
    assert found is not None
    assert found.key_id == key_id
    assert len(statements) > 2


@pytest.mark.parametrize(("writing", "about"), [(False, "the one"), (True, "the one"), (True, "another {}")])
def test_words_hold_while_others_say_theirs(state: State, *, writing: bool, about: str) -> None:
    """`row_altered` would be told of a row and a seal that are of two moments."""
    numbers = iter(range(1000))
    with state.write() as connection:
        projects.ensure(connection, "mine")

    def say() -> None:
        number = next(numbers)
        with state.write() as connection:
            # said again of the same thing: the former word ends, which seals it anew
            acknowledgements.say(
                connection,
                "mine",
                "finding",
                {about.format(number) if number else "the one": None},
                acknowledgements.Word(reason=f"{number}", by="she", at=float(number)),
            )

    say()
    with somebody_else(state, say) as statements:
        opened = state.write() if writing else state.read()
        with opened as connection:
            seals.check_choices(connection, "mine", nothing="Nothing was done.", writing=writing)
    assert len(statements) > 3


def test_databases_are_set_up_by_threads_at_the_same_moment(tmp_path: Path) -> None:
    """Alembic knows one database at a time."""
    together = threading.Barrier(4)

    def ready(number: int) -> None:
        state = State(f"sqlite:///{tmp_path / f'state{number % 2}.db'}")
        together.wait()
        state.ready()
        state.close()

    with ThreadPoolExecutor(max_workers=4) as threads:
        assert [one.result() for one in [threads.submit(ready, number) for number in range(4)]] == [None] * 4


def test_threads_of_a_process_share_one_state(tmp_path: Path) -> None:
    """On Python 3.12 and newer each of them made its own, and set it up."""
    with synapse_in_thread() as synapse:
        app = build_plant(tmp_path, synapse, ["mine"], items=10).app()
    together = threading.Barrier(8)

    def ask(_number: int) -> State:
        together.wait()
        return app.state

    with ThreadPoolExecutor(max_workers=8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    app.state.close()
