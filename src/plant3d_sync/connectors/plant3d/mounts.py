"""Do file locks on this path reach the file? Read from the mount table, for whoever wants to write there.

SQLite keeps writers apart with byte-range locks. A network mount that keeps them on the client (`nobrl` for SMB,
`nolock` or `local_lock` for NFS) lets two writers corrupt the file in silence.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
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
