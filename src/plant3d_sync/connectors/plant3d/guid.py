"""GUIDs as Plant 3D stores them, and as people see them.

Plant 3D keeps a GUID as 16 bytes in .NET order (the first three groups little-endian). The Data Manager
exports it in lower case with hyphens, which is the form used everywhere outside this package.
"""

from __future__ import annotations

import uuid

GUID_BYTES = 16


def guid_text(value: object) -> str:
    """The GUID in lower case with hyphens, or "" when the value is not a GUID.

    Accepts the 16 bytes of SQLite, text in any usual form (braces, no hyphens) and `uuid.UUID`.
    """
    if isinstance(value, bytes):
        return _from_bytes(value) if len(value) == GUID_BYTES else ""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str):
        try:
            return str(uuid.UUID(value.strip()))
        except ValueError:
            return ""
    return ""


def guid_bytes(value: object) -> bytes | None:
    """The 16 bytes in .NET order, or None when the value is not a GUID. Inverse of `guid_text`."""
    text = guid_text(value)
    return uuid.UUID(text).bytes_le if text else None


def _from_bytes(raw: bytes) -> str:
    """As `str(uuid.UUID(bytes_le=raw))`, several times faster: this runs once per changed item."""
    h = raw.hex()
    return f"{h[6:8]}{h[4:6]}{h[2:4]}{h[0:2]}-{h[10:12]}{h[8:10]}-{h[14:16]}{h[12:14]}-{h[16:20]}-{h[20:]}"
