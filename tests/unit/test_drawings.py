"""Lock files beside drawings: who works on what."""

from __future__ import annotations

from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks

RELATIVE = "PID DWG\\P-100-001.dwg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawings = tmp_path / "PID DWG"
    drawings.mkdir()
    for name in ("P-100-001.dwg", "P-100-001.A.dwg", "Élution.dwg"):
        (drawings / name).write_bytes(b"AC1032")
    return tmp_path


@pytest.mark.parametrize("lock", ["P-100-001.dwl", "P-100-001.DWL2", "p-100-001.dwl"])
def test_a_lock_file_in_any_case_means_open(folder: Path, lock: str) -> None:
    (folder / "PID DWG" / lock).write_bytes(b"")
    for asked in (RELATIVE, "PID DWG/P-100-001.dwg", "pid dwg\\p-100-001.DWG", "P-100-001", "P-100-001.dwg"):
        assert DrawingLocks(folder).is_open(asked) == (True, "drawing_open"), asked


@pytest.mark.parametrize(
    "asked", [RELATIVE, "P-100-001", "Élution.dwg", "E\u0301lution.dwg", "P-100-001.A.dwg"]
)
def test_without_a_lock_file_of_its_own_a_drawing_is_closed(folder: Path, asked: str) -> None:
    (folder / "PID DWG" / "P-100-0010.dwl").write_bytes(b"")
    (folder / "PID DWG" / "P-100-001.bak").write_bytes(b"")
    assert DrawingLocks(folder).is_open(asked) == (False, "")


def test_the_folder_of_the_drawings_itself_may_be_given(folder: Path) -> None:
    locks = DrawingLocks(folder / "PID DWG")
    assert locks.is_open(RELATIVE) == (False, "")
    (folder / "PID DWG" / "P-100-001.dwl").write_bytes(b"")
    assert locks.is_open(RELATIVE) == (True, "drawing_open")


def test_drawings_in_deeper_folders_with_dots_are_found_by_name(folder: Path) -> None:
    deep = folder / "Area 1.0" / "Rev.B"
    deep.mkdir(parents=True)
    (deep / "X.dwg").write_bytes(b"")
    assert DrawingLocks(folder).is_open("X.dwg") == (False, "")
    (deep / "X.dwl2").write_bytes(b"")
    assert DrawingLocks(folder).is_open("X.dwg") == (True, "drawing_open")


def test_what_cannot_be_seen_counts_as_open_unless_told_otherwise(folder: Path) -> None:
    for missing in (None, folder / "gone"):
        assert DrawingLocks(missing).is_open(RELATIVE) == (True, "drawing_folder_unseen")
        assert DrawingLocks(missing, unseen_counts_as_open=False).is_open(RELATIVE) == (False, "")
    assert DrawingLocks(folder).is_open("PID DWG\\other.dwg") == (True, "drawing_unseen")
    assert DrawingLocks(folder, unseen_counts_as_open=False).is_open("PID DWG\\other.dwg") == (False, "")


@pytest.mark.parametrize("sign", ["Project.xml.lock", "PnIdPart.xml.plck", "PROJECT.XML.LOCK"])
def test_open_project_settings_count_for_every_drawing(folder: Path, sign: str) -> None:
    (folder / sign).write_bytes(b"")
    for locks in (DrawingLocks(folder), DrawingLocks(folder / "PID DWG")):
        assert locks.is_open(RELATIVE) == (True, "project_settings_open")
        code, message = locks.check([])
        assert code == "project_settings_open"
        assert sign in message


@pytest.mark.parametrize(
    ("content", "user"),
    [
        (b"mtremblay\r\nPOSTE-12\r\n", "mtremblay"),
        ("éloïse\r\n".encode("utf-16"), "éloïse"),
        (b"\xff\xfeb", "\ufffd"),
        (b"a\x1b[31mb\x00\n", "a[31mb"),
        (b"x" * 5000, "x" * 64),
        (b"", ""),
    ],
)
def test_the_user_is_named_if_the_lock_file_tells(folder: Path, content: bytes, user: str) -> None:
    (folder / "PID DWG" / "P-100-001.dwl").write_bytes(content)
    _, message = DrawingLocks(folder).check([RELATIVE])
    assert (f"by {user} (" in message) == bool(user)
    assert "\x1b" not in message
    assert RELATIVE in message


def test_any_open_drawing_of_several_speaks_against_writing(folder: Path) -> None:
    (folder / "PID DWG" / "Élution.dwl").write_bytes(b"")
    assert DrawingLocks(folder).check([RELATIVE])[0] == ""
    assert DrawingLocks(folder).check([RELATIVE, "PID DWG\\Élution.dwg"])[0] == "drawing_open"
    assert DrawingLocks(folder).open_drawings() == [str(folder / "PID DWG" / "Élution.dwg")]


@pytest.mark.parametrize("asked", ["..\\..\\P-100-001.dwg", "C:\\plants\\PID DWG\\P-100-001.dwg", "", "\\"])
def test_paths_that_lead_elsewhere_stay_in_the_folder(folder: Path, asked: str) -> None:
    (folder.parent / "P-100-001.dwl").write_bytes(b"")
    opened, reason = DrawingLocks(folder / "PID DWG").is_open(asked)
    assert reason in ("", "drawing_unseen")
    assert opened == bool(reason)
