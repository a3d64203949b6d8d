"""Do file locks on this path reach the file? Read from the mount table, for whoever wants to write there.

SQLite keeps writers apart with byte-range locks. A network mount that keeps them on the client (`nobrl` for SMB,
`nolock` or `local_lock` for NFS) lets two writers corrupt the file in silence.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

LOCAL: Final = "local"
NETWORK: Final = "network"
SAFE_KINDS: Final = frozenset({LOCAL, NETWORK})

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
_LOCAL_TYPES: Final = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "jfs",
        "bcachefs",
        "overlay",
        "tmpfs",
        "ramfs",
        "ntfs",
        "ntfs3",
        "fuseblk",
        "vfat",
        "exfat",
    ]
)
_NETWORK_TYPES: Final = frozenset(["cifs", "smb2", "smb3", "nfs", "nfs4"])
_REMOTE_DRIVE: Final = 4
_LINKS: Final = 40
"""Links on the way to a file, as many as Linux follows."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def mount_kind(path: Path, *, table: Path = MOUNT_TABLE) -> str:
    """How far locks on this path reach.

    `local` and `network` are safe (network: the locks go to the server). `nobrl` and `nolock` are not: the mount
    keeps them to itself. `unknown:<type>`: nobody can tell (container shares, user-space file systems).
    On Windows locks always go through the system to the server: `local`, or `network` for a UNC path.
    """
    if sys.platform == "win32":
        return NETWORK if str(path.absolute()).startswith("\\\\") else LOCAL
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "unknown:no mount table"
    real = os.path.realpath(path)
    best: tuple[int, str, frozenset[str]] = (-1, "none", frozenset())
    for point, kind, options in _mounts(lines):
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best[0]:  # a later mount on the same point hides the earlier one
            best = (len(point), kind, options)
    return _judge(best[1], best[2])


def may_hang(*paths: str | Path, table: Path = MOUNT_TABLE) -> bool:
    """Whether one of these paths is not on a disk of this machine, or nobody can tell. Asks no share to find out.

    Links are followed one name at a time, and no name is asked about that lies on anything but a disk.
    """
    if sys.platform == "win32":
        import ctypes

        drives = {os.path.splitdrive(os.path.abspath(path))[0] for path in paths}
        kind = ctypes.windll.kernel32.GetDriveTypeW
        return any(drive.startswith("\\\\") or kind(drive + "\\") == _REMOTE_DRIVE for drive in drives)
    try:
        mounts = _types(table.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return True
    return any(_leaves_the_disks(os.path.abspath(path), mounts) for path in paths)


def _leaves_the_disks(path: str, mounts: _Types) -> bool:
    left = _names(path)
    here, links = "/", 0
    while True:
        if mounts.of(here) not in _LOCAL_TYPES:
            return True
        if not left or links > _LINKS:  # a circle: whoever opens it is told so at once
            return False
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, name)
        if mounts.of(there) not in _LOCAL_TYPES:
            return True
        try:
            target = os.readlink(there)
        except OSError:  # no link
            here = there
            continue
        links += 1
        left += _names(target)
        if target.startswith("/"):
            here = "/"


def _names(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


class _Types:
    """The types of the file systems of one mount table, each path looked up once: a quiet slot asks for the same few."""

    def __init__(self, mounts: Sequence[tuple[str, str]]) -> None:
        self._mounts = [(point, point.rstrip("/") + "/", kind) for point, kind in mounts]
        self._known: dict[str, str] = {}

    def of(self, path: str) -> str:
        """The type of the file system that a path without links lies on."""
        known = self._known.get(path)
        if known is not None:
            return known
        best = (-1, "none")
        for point, folder, kind in self._mounts:
            if (path == point or path.startswith(folder)) and len(point) >= best[0]:
                best = (len(point), kind)  # a later mount on the same point hides the earlier one
        if len(self._known) < _REMEMBERED:
            self._known[path] = best[1]
        return best[1]


_REMEMBERED: Final = 10_000


@lru_cache(maxsize=2)
def _types(table: str) -> _Types:
    """Of the text of a mount table, which is read anew each time."""
    return _Types([(point, kind) for point, kind, _options in _mounts(table.splitlines())])


def _mounts(lines: list[str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Mount point, type and all options of each line of `mountinfo`."""
    for line in lines:
        before, separator, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not separator or len(left) < 6 or len(right) < 1:
            continue
        options = f"{left[5]},{right[2] if len(right) > 2 else ''}"
        point = _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), left[4])
        yield point, right[0].lower(), frozenset(options.lower().split(","))


def _judge(kind: str, options: frozenset[str]) -> str:
    if kind in _LOCAL_TYPES:
        return LOCAL
    if kind not in _NETWORK_TYPES:
        return f"unknown:{kind}"
    if "nobrl" in options:
        return "nobrl"
    if "nolock" in options or options & {"local_lock=all", "local_lock=posix"}:
        return "nolock"
    return NETWORK
