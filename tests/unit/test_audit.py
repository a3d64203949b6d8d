"""A trail that somebody with every right on the database rewrote does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from plant3d_sync.state import State, audit
from plant3d_sync.state.tables import audit as entries
from plant3d_sync.state.tables import audit_head
from tests.support.state import empty_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Three entries of `mine`, three of `other`, and no triggers that keep them."""
    (tmp_path / "state.db").write_bytes(empty_state())
    made = State(f"sqlite:///{tmp_path / 'state.db'}")
    with made.write() as connection:
        for verb in ("update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER audit_no_{verb}")
        for number in range(3):
            for project in ("mine", "other"):
                audit.append(
                    connection, project, action="a", actor="eve", at=number, text=f"{project} {number}"
                )
    yield made
    made.close()


def broken(state: State, *statements: sa.Executable) -> list[tuple[str, int, str]]:
    """What does not hold after these statements."""
    with state.write() as connection:
        for statement in statements:
            connection.execute(statement)
    with state.read() as connection:
        return [(one.project, one.seq, one.what) for one in audit.verify(connection)[1]]


def at(seq: int, project: str = "mine") -> sa.ColumnElement[bool]:
    return sa.and_(entries.c.project == project, entries.c.seq == seq)


def test_an_untouched_trail_holds(state: State) -> None:
    assert broken(state) == []


def test_the_history_of_one_project_cannot_pass_for_that_of_another(state: State) -> None:
    found = broken(
        state,
        sa.delete(entries).where(entries.c.project == "mine"),
        sa.delete(audit_head).where(audit_head.c.project == "mine"),
        sa.update(entries).values(project="mine"),
        sa.update(audit_head).values(project="mine"),
    )
    assert [(project, what) for project, _seq, what in found] == [("mine", "the entry was changed")] * 3


def test_a_changed_entry_is_named(state: State) -> None:
    changed = sa.update(entries).where(at(2)).values(body='{"action":"b"}')
    assert broken(state, changed) == [("mine", 2, "the entry was changed")]


def test_an_entry_hung_behind_another_one_is_named(state: State) -> None:
    hung = sa.update(entries).where(at(2)).values(prev="f" * 64)
    assert ("mine", 2, "does not follow the entry before") in broken(state, hung)
    assert ("mine", 2, "the entry was changed") in broken(state), "its hash covers what it follows"


def test_a_missing_entry_is_named(state: State) -> None:
    assert ("mine", 3, "entries after 1 are missing") in broken(state, sa.delete(entries).where(at(2)))


def test_an_entry_cannot_move_to_another_place(state: State) -> None:
    moved = sa.update(entries).where(at(3)).values(seq=4)
    assert {("mine", 4, "entries after 2 are missing"), ("mine", 4, "the entry was changed")} <= {
        *broken(state, moved)
    }


def test_entries_that_were_cut_off_are_named(state: State) -> None:
    assert broken(state, sa.delete(entries).where(at(3))) == [("mine", 2, "entries up to 3 are missing")]


def test_a_head_that_was_changed_or_removed_is_named(state: State) -> None:
    mine = audit_head.c.project == "mine"
    changed = broken(state, sa.update(audit_head).where(mine).values(hash="f" * 64))
    assert changed == [("mine", 3, "the head does not match the last entry")]
    assert broken(state, sa.delete(audit_head).where(mine)) == [("mine", 3, "the head is missing")]


@pytest.mark.parametrize(("given", "found"), [("f" * 64, ["is another one"]), (None, [])])
def test_an_export_kept_elsewhere_shows_a_trail_that_was_written_anew(
    state: State, given: str | None, found: list[str]
) -> None:
    with state.read() as connection:
        kept = list(audit.export(connection))
        kept[1] |= {"hash": given} if given else {}
        told = audit.compare(connection, kept)
    assert [one.what.partition(";")[0] for one in told] == found


def test_the_digest_of_changes_covers_each_of_them() -> None:
    names = ("link_id", "pnpid", "tag", "side", "op", "outcome", "fields", "at")
    change = dict.fromkeys(names, "x")
    seen = {audit.digest_of([change])} | {audit.digest_of([{**change, name: "y"}]) for name in names}
    assert len(seen) == len(names) + 1


def test_a_writer_of_the_state_holds_the_lock_from_its_beginning(state: State) -> None:
    """Else two runs read the same head, and the second one's entry does not follow the first's."""
    engine = sa.create_engine(state.url, connect_args={"timeout": 0})
    locked = pytest.raises(sa.exc.OperationalError, match="locked")
    with state.write(), engine.connect() as other, locked:
        other.exec_driver_sql("BEGIN IMMEDIATE")
    engine.dispose()
