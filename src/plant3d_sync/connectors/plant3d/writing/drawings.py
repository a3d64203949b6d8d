"""Is somebody working on a drawing? Told by the lock files that AutoCAD and Plant 3D leave next to their files.

While a drawing is open its rows are in memory, and saving it may overwrite what was written from outside. AutoCAD
keeps `<drawing>.dwl` (text, the user's name first) and `<drawing>.dwl2` next to an open drawing. Plant 3D keeps
`Project.xml.lock` and `*.plck` while project settings are open or being changed.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

DRAWING_OPEN: Final = "drawing_open"
FOLDER_UNSEEN: Final = "drawing_folder_unseen"
DRAWING_UNSEEN: Final = "drawing_unseen"
SETTINGS_OPEN: Final = "project_settings_open"

_LOCK_SUFFIXES: Final = (".dwl", ".dwl2")
_PROJECT_LOCK: Final = "project.xml.lock"
_USER_LENGTH: Final = 64
_PLAIN_FILES: Final = frozenset({".dwg", ".dwl", ".dwl2", ".bak", ".xml", ".dcf", ".dcfx"})
_DEEPEST: Final = 6
"""Levels of folders searched below the drawing folder."""


class DrawingLocks:
    """The drawing folder of one project, looked at afresh for every question.

    `folder`: the project folder or its folder of P&ID drawings; None when it cannot be seen from here.
    `unseen_counts_as_open`: what cannot be seen counts as open; a project may say otherwise.
    """

    def __init__(self, folder: Path | None, *, unseen_counts_as_open: bool = True) -> None:
        self.folder = folder
        self.unseen_counts_as_open = unseen_counts_as_open

    def is_open(self, drawing: str) -> tuple[bool, str]:
        """Whether this drawing (relative path as in `PnPDrawings.PnPRelativePath`, or a name) may be open, and why.

        Reasons: `drawing_open`, `project_settings_open`, `drawing_folder_unseen` (folder missing or unreadable),
        `drawing_unseen` (the folder is there, the drawing is not in it); "" when it is not open.
        """
        if self.project_sign():
            return True, SETTINGS_OPEN
        reason, _ = self._look(drawing)
        return bool(reason), reason

    def check(self, drawings: Sequence[str]) -> tuple[str, str]:
        """The first thing that speaks against writing to an item on these drawings: (code, sentence), or ("", "")."""
        sign = self.project_sign()
        if sign:
            return SETTINGS_OPEN, (
                f"The project settings are open in Plant 3D ({sign.name} is there). Nothing was written; "
                "it is tried again at the next run."
            )
        for drawing in drawings:
            reason, lock = self._look(drawing)
            if reason:
                return reason, self._sentence(drawing, reason, lock)
        return "", ""

    def project_sign(self, *more: Path) -> Path | None:
        """A lock file of the project settings in the drawing folder, its parent or the folders given, if any."""
        folders = [self.folder, self.folder.parent] if self.folder is not None else []
        for folder in (*folders, *more):
            for entry in _entries(folder) or ():
                name = entry.lower()
                if name == _PROJECT_LOCK or name.endswith(".plck"):
                    return folder / entry
        return None

    def token(self) -> str:
        """Changes whenever a lock file or a drawing comes or goes, the folder appears or vanishes."""
        sign = self.project_sign()
        names = [str(sign)]
        for folder, entries in self._folders():
            names.append(str(folder))
            names += [
                name for name in entries if os.path.splitext(name)[1].lower() in (*_LOCK_SUFFIXES, ".dwg")
            ]
        return hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def open_drawings(self) -> list[str]:
        """Every drawing in the folder and below that has a lock file next to it."""
        found: set[str] = set()
        for folder, names in self._folders():
            by_key = {_key(name): name for name in names}
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in _LOCK_SUFFIXES:
                    found.add(str(folder / by_key.get(_key(stem + ".dwg"), stem + ".dwg")))
        return sorted(found)

    def user_of(self, lock: Path) -> str:
        """The user named in the first line of a lock file, without control characters; "" if there is none to read."""
        if lock.suffix.lower() != ".dwl":
            return ""
        try:
            with lock.open("rb") as stream:
                raw = stream.read(512)
        except OSError:  # AutoCAD may hold it exclusively, or it has just gone: the name is only a courtesy
            return ""
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
        first = (text.splitlines() or [""])[0]
        shown = "".join(char for char in first if unicodedata.category(char)[0] not in "C")
        return shown.strip()[:_USER_LENGTH]

    def _sentence(self, drawing: str, reason: str, lock: Path | None) -> str:
        if reason == DRAWING_OPEN and lock is not None:
            if user := self.user_of(lock):
                return (
                    f"The drawing {drawing} is open by {user} ({lock.name} is next to it). Nothing was written; "
                    "it is tried again at the next run. If nobody has it open, delete that lock file."
                )
            return (
                f"The drawing {drawing} is open ({lock.name} is next to it). Nothing was written; "
                "it is tried again at the next run. If nobody has it open, delete that lock file."
            )
        if self.folder is None:
            return (
                f"Whether the drawing {drawing} is open cannot be seen because no drawing folder is configured, so it "
                "counts as open. Nothing was written. Set the project's `drawings` folder, or let unseen drawings count "
                "as closed."
            )
        return (
            f"Whether the drawing {drawing} is open cannot be seen in {self.folder}, so it counts as open. Nothing was "
            "written. Set the project's `drawings` folder, or let unseen drawings count as closed."
        )

    def _look(self, drawing: str) -> tuple[str, Path | None]:
        """The reason why the drawing counts as open, with its lock file; ("", None) if it does not."""
        unseen = self.unseen_counts_as_open
        if self.folder is None or _entries(self.folder) is None:
            return (FOLDER_UNSEEN if unseen else ""), None
        seen = False
        for folder in self._homes(drawing):
            names = _entries(folder) or []
            wanted = _key(
                Path(_name(drawing)).stem if _name(drawing).lower().endswith(".dwg") else _name(drawing)
            )
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in _LOCK_SUFFIXES and _key(stem) == wanted:
                    return DRAWING_OPEN, folder / name
                seen = seen or (suffix.lower() == ".dwg" and _key(stem) == wanted)
        return (DRAWING_UNSEEN if unseen and not seen else ""), None

    def _homes(self, drawing: str) -> Iterator[Path]:
        """Folders where the drawing may lie: where its relative path says, else every folder that could hold it."""
        assert self.folder is not None
        parts = _parts(drawing)[:-1]
        told = _descend(self.folder, parts)
        if parts and told is not None:
            yield told
            return
        for folder, _ in self._folders():
            yield folder

    def _folders(self) -> Iterator[tuple[Path, list[str]]]:
        """The drawing folder and the folders below it, with their names. What cannot be listed is left out."""
        waiting = [(self.folder, 0)] if self.folder is not None else []
        while waiting:
            folder, depth = waiting.pop(0)
            names = _entries(folder)
            if names is None:
                continue
            yield folder, names
            if depth < _DEEPEST:
                below = (
                    folder / name for name in names if os.path.splitext(name)[1].lower() not in _PLAIN_FILES
                )
                waiting.extend((one, depth + 1) for one in below if one.is_dir() and not one.is_symlink())


def token_of_doors(folder: Path | None) -> str:
    """See `DrawingLocks.token`."""
    return DrawingLocks(folder).token()


def _entries(folder: Path) -> list[str] | None:
    """Names in a folder, sorted, or None when it is missing or may not be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return None


def _parts(drawing: str) -> list[str]:
    """The path as written by Plant 3D (Windows separators), without drive, `.` and `..`."""
    parts = drawing.replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]


def _name(drawing: str) -> str:
    return (_parts(drawing) or [drawing])[-1]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _descend(folder: Path, parts: Sequence[str]) -> Path | None:
    """`folder`/a/b/c with names in any case; None when a level is not there."""
    for part in parts:
        found = next((name for name in _entries(folder) or () if _key(name) == _key(part)), None)
        if found is None:
            return None
        folder = folder / found
    return folder
