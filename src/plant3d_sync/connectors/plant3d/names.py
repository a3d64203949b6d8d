"""Names of tables and columns in SQL text. Only names found in the database itself ever get here."""

from __future__ import annotations


def readable(name: str) -> bool:
    """Whether a name can stand in a statement at all."""
    return bool(name) and "\x00" not in name


def quotable(name: str) -> bool:
    """Whether a name can be written as `[name]` on both engines; only such names are ever written to."""
    return readable(name) and "]" not in name


def quoted(name: str) -> str:
    """A name for SQLite: `[name]`, in which it reports an unknown name as an error.

    SQLite has no way to escape `]`; a name that holds one stands in double quotes.
    Raises ValueError for a name that cannot be quoted; callers check `readable` first.
    """
    if not readable(name):
        raise ValueError(f"cannot quote {name!r}")
    return f"[{name}]" if "]" not in name else '"' + name.replace('"', '""') + '"'


def bracketed(name: str) -> str:
    """A name for T-SQL: `[name]`, with `]` doubled."""
    return "[" + name.replace("]", "]]") + "]"
