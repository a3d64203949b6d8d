"""How an SQLite file is named so that it is read and never written."""

from __future__ import annotations

from pathlib import Path


def sqlite_uri(path: Path) -> str:
    """A read-only URI for exactly this file name, whatever it contains (`a?mode=rwc.dcf` stays a name)."""
    uri = path.absolute().as_uri()
    if not uri.startswith("file:///"):  # a UNC path: SQLite takes no host name in a URI
        uri = "file:////" + uri.removeprefix("file://")
    return uri + "?mode=ro"
