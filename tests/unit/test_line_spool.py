"""Lines of a plan outlive memory in a temporary file without being changed, reordered or lost."""

from __future__ import annotations

import pytest

from plant3d_sync.run import spool
from plant3d_sync.run.spool import LineSpool


def _lines(count: int) -> list[bytes]:
    return [b'{"n": %d, "text": "\xc3\xa9\\n"}' % number for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 500])
def test_lines_come_back_as_they_went_in(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 10)
    pile = LineSpool()
    for line in _lines(count):
        pile.append(line)
    assert len(pile) == count
    assert list(pile) == list(pile) == _lines(count)


def test_a_dropped_line_is_left_out_wherever_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 10)
    pile, lines = LineSpool(), _lines(30)
    for line in lines:
        pile.append(line)
    for index in (3, 10, 29):
        pile[index] = b""
    assert list(pile) == [line for index, line in enumerate(lines) if index not in (3, 10, 29)]
    assert len(pile) == 30  # the index of the next line does not move


def test_a_line_is_dropped_but_never_replaced() -> None:
    pile = LineSpool()
    pile.append(b"{}")
    with pytest.raises(IndexError):
        pile[0] = b"other"
    with pytest.raises(IndexError):
        pile[1] = b""
    assert list(pile) == [b"{}"]
