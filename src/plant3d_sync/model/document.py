"""A document for people and other programs, as it goes out: members of JSON, made in one place and read in none."""

from __future__ import annotations

Document = dict[str, object]
"""Members by name."""
