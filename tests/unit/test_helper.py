"""The process of its own that asks a file system which may never answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import helper


def test_a_helper_that_is_used_again_is_where_its_asker_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (other / "mine.dcf").write_bytes(b"something")
    asked = helper.Helper()
    try:
        monkeypatch.chdir(one)
        assert asked.call(os.path.exists, "mine.dcf", seconds=60) is False
        monkeypatch.chdir(other)
        assert asked.call(os.path.exists, "mine.dcf", seconds=60) is True
    finally:
        asked.kill()


def test_a_helper_answers_about_whole_paths_from_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    asked = helper.Helper()
    try:
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert asked.call(os.path.exists, str(tmp_path), seconds=60) is True
    finally:
        asked.kill()
        monkeypatch.chdir(tmp_path)


def test_a_helper_whose_asker_is_gone_ends_before_it_changes_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    helper.end_if_alone()
    assert ended == [], "a process that is no helper"
    monkeypatch.setattr(helper, "_asker", os.getppid())
    helper.end_if_alone()
    assert ended == []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    helper.end_if_alone()
    assert ended == [0]
