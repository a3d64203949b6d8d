"""Names of tables and columns in SQL text. Only names found in the database itself ever get here."""

from __future__ import annotations


def quotable(name: str) -> bool:
    """Whether a name can be written as `[name]` on both engines. SQLite has no way to escape `]`."""
    return bool(name) and "]" not in name and "\x00" not in name


def quoted(name: str) -> str:
    """`[name]`: the form both engines accept, and in which SQLite reports an unknown name as an error.

    Raises ValueError for a name that cannot be quoted; callers check `quotable` first.
    """
    if not quotable(name):
        raise ValueError(f"cannot quote {name!r}")
    return f"[{name}]"
