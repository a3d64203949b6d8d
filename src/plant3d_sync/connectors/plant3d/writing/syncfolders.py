"""Who else has the file? Signs that a program keeps its folder in step with other machines.

Such a program copies the file whenever it changes, does not look at SQLite's locks, and may put an older copy in its
place. A write of ours can meet a copy half-way, or be undone by one. Every parent folder counts, as named and with
links resolved; names are compared without regard to case.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

ONEDRIVE: Final = "onedrive"
DESKTOP_CONNECTOR: Final = "desktop-connector"
DROPBOX: Final = "dropbox"
NEXTCLOUD: Final = "nextcloud"
ICLOUD: Final = "icloud"
GOOGLE_DRIVE: Final = "google-drive"
SYNCTHING: Final = "syncthing"
CLOUD_FILES: Final = "cloud-files"
CONFLICTED_COPY: Final = "conflicted-copy"

LABELS: Final = {
    ONEDRIVE: "OneDrive",
    DESKTOP_CONNECTOR: "Autodesk Desktop Connector",
    DROPBOX: "Dropbox",
    NEXTCLOUD: "Nextcloud or ownCloud",
    ICLOUD: "iCloud Drive",
    GOOGLE_DRIVE: "Google Drive",
    SYNCTHING: "Syncthing",
    CLOUD_FILES: "a cloud file provider of Windows",
    CONFLICTED_COPY: "a file synchroniser",
}
"""Names a project may allow, and how people know them."""


class SyncSign(msgspec.Struct, frozen=True, kw_only=True):
    """One sign. `name` is the word that allows it, `why` what was seen, for people."""

    name: str
    why: str

    @property
    def label(self) -> str:
        """The product as people know it."""
        return LABELS[self.name]


# One whole name of a folder, lower case. "OneDrive - Acme", "Acme Dropbox", "GoogleDrive-name@example.com" and
# "Nextcloud2" are how the products name a second account or, below macOS' ~/Library/CloudStorage, every account.
_FOLDERS: Final = (
    (ONEDRIVE, re.compile(r"onedrive(\s*-.*)?|skydrive")),
    (
        DESKTOP_CONNECTOR,
        re.compile(r"accdocs|autodesk docs|autodesk drive|autodesk desktop connector|bim ?360( docs| team)?"),
    ),
    (DROPBOX, re.compile(r"(.* )?dropbox(-.*| \(.*\))?")),
    (NEXTCLOUD, re.compile(r"(nextcloud|owncloud)(\d+|\s*-.*)?")),
    (ICLOUD, re.compile(r"icloud ?drive(\s*\(.*\))?|mobile documents|com~apple~clouddocs|icloud~.*")),
    (GOOGLE_DRIVE, re.compile(r"google ?drive(\s*-.*|\s*\(.*\))?|drivefs|my drive|mon drive|meine ablage")),
)

# What the clients leave in the folder they keep in step, lower case.
_MARKERS: Final = (
    (DROPBOX, re.compile(r"\.dropbox\.cache|\.dropbox")),
    (
        NEXTCLOUD,
        re.compile(
            r"\.sync_[0-9a-f]+\.db|\._sync_[0-9a-f]+\.db|\.csync_journal\.db|\.(owncloud|nextcloud)sync\.log(\.\d+)?"
        ),
    ),
    (GOOGLE_DRIVE, re.compile(r"\.tmp\.drive(download|upload)|\.shortcut-targets-by-id")),
    (SYNCTHING, re.compile(r"\.stfolder|\.stversions|\.stignore")),
)

# desktop.ini names the icon of the program that owns the folder (also of a SharePoint library, whose name says nothing).
_ICONS: Final = (
    (ONEDRIVE, re.compile(r"onedrive", re.IGNORECASE)),
    (DESKTOP_CONNECTOR, re.compile(r"desktop ?connector|autodesk docs", re.IGNORECASE)),
    (DROPBOX, re.compile(r"dropbox", re.IGNORECASE)),
    (NEXTCLOUD, re.compile(r"nextcloud|owncloud", re.IGNORECASE)),
    (ICLOUD, re.compile(r"icloud", re.IGNORECASE)),
    (GOOGLE_DRIVE, re.compile(r"googledrive|google drive", re.IGNORECASE)),
)
_INI_BYTES: Final = 16 * 1024

_VARIABLES: Final = ("OneDrive", "OneDriveCommercial", "OneDriveConsumer")
"""Where OneDrive keeps its folders, on Windows."""

_CLOUD_TAG: Final = 0x9000001A
_CLOUD_TAG_MASK: Final = 0xFFFF0FFF
"""Reparse tags IO_REPARSE_TAG_CLOUD to IO_REPARSE_TAG_CLOUD_F of Windows differ in one digit."""

_CONFLICT: Final = re.compile(r"conflict|conflit|konflikt")
"""In the name of the copy: Dropbox, Nextcloud ("conflicted copy", "copie en conflit"), ownCloud ("_conflict-"),
Syncthing (".sync-conflict-"), Google Drive ("[Conflict]")."""

_MACHINE: Final = re.compile(r"-(desktop|laptop)-[a-z0-9]{5,9}(-\d+)?")
"""OneDrive adds the name of the machine; these are the names that Windows gives."""


def sync_signs(path: Path, *, environ: Mapping[str, str] | None = None) -> list[SyncSign]:
    """Every sign that `path` is kept in step with other machines, at most one a product, and conflicted copies next to it.

    What may not be listed or read from here shows no sign. An empty list is no proof that nobody else has the file.
    """
    found: dict[str, SyncSign] = {}
    for folder in _folders(path):
        for sign in _signs_of(folder):
            found.setdefault(sign.name, sign)
    for sign in _signs_of_windows(path, os.environ if environ is None else environ):
        found.setdefault(sign.name, sign)
    copies = conflicted_copies(path)
    if copies:
        shown = ", ".join(copies[:3]) + (f" and {len(copies) - 3} more" if len(copies) > 3 else "")
        found[CONFLICTED_COPY] = SyncSign(name=CONFLICTED_COPY, why=f"conflicted copy next to it: {shown}")
    return list(found.values())


def conflicted_copies(path: Path) -> list[str]:
    """Names of files next to `path` that a synchroniser made of it when two machines had changed it."""
    real = Path(os.path.realpath(path))
    stem, suffix = _key(real.stem), _key(real.suffix)
    own = _key(os.environ.get("COMPUTERNAME", ""))
    found = []
    for name in _names(real.parent):
        key = _key(name)
        if key == _key(real.name) or not key.startswith(stem) or suffix not in key[len(stem) :]:
            continue
        added = key[len(stem) :]
        machine = _MACHINE.match(added) or (own and added.startswith(f"-{own}"))
        if _CONFLICT.search(added) or (machine and key.endswith(suffix)):
            found.append(name)
    return sorted(found)


def _folders(path: Path) -> Iterator[Path]:
    """Every parent folder, as named and with links resolved, nearest first."""
    seen = set()
    for start in (path.absolute(), Path(os.path.realpath(path))):
        for folder in start.parents:
            if folder not in seen:
                seen.add(folder)
                yield folder


def _signs_of(folder: Path) -> Iterator[SyncSign]:
    key = _key(folder.name)
    for product, pattern in _FOLDERS:
        if pattern.fullmatch(key):
            yield SyncSign(name=product, why=f"it lies below {folder}")
    for name in _names(folder):
        key = _key(name)
        if key == "desktop.ini":
            yield from _signs_of_icon(folder / name)
            continue
        for product, pattern in _MARKERS:
            # the home folder holds a directory .dropbox with the settings of the client
            if pattern.fullmatch(key) and not (key == ".dropbox" and (folder / name).is_dir()):
                yield SyncSign(name=product, why=f"{folder / name} is there")


def _signs_of_icon(ini: Path) -> Iterator[SyncSign]:
    try:
        with ini.open("rb") as stream:
            raw = stream.read(_INI_BYTES)
    except OSError:  # not ours to read: it shows no sign
        return
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    for product, pattern in _ICONS:
        if pattern.search(text):
            yield SyncSign(name=product, why=f"{ini} names it")


def _signs_of_windows(path: Path, environ: Mapping[str, str]) -> Iterator[SyncSign]:
    wanted = {name.upper() for name in _VARIABLES}
    given = [(name, text) for name, text in environ.items() if name.upper() in wanted and text.strip()]
    below = {_key(str(folder)) for folder in _folders(path)}
    for name, text in given:
        if {_key(str(Path(text).absolute())), _key(os.path.realpath(text))} & below:
            yield SyncSign(name=ONEDRIVE, why=f"it lies below {text} ({name})")
    for one in (path, *path.absolute().parents):
        try:
            tag = getattr(os.lstat(one), "st_reparse_tag", 0)
        except OSError:
            continue
        if is_cloud_tag(tag):
            yield SyncSign(name=CLOUD_FILES, why=f"Windows shows {one} as a cloud file")
            return


def is_cloud_tag(tag: int) -> bool:
    """Whether a reparse tag of Windows says that the file belongs to a cloud provider."""
    return tag & _CLOUD_TAG_MASK == _CLOUD_TAG


def unallowed(signs: Sequence[SyncSign], allowed: frozenset[str]) -> list[SyncSign]:
    """The signs whose name the project does not allow."""
    return [sign for sign in signs if sign.name not in allowed]


def _names(folder: Path) -> list[str]:
    """Names in a folder, none when it is missing or may not be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
