"""What a mapping wants of a read, beyond the items themselves."""

from __future__ import annotations

from dataclasses import dataclass

from plant3d_sync.model.tags import STOCK, TagRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one project is read.

    `tags`: which texts are tags, for the names of lines, ends and owners too. `registry`: classes whose tag may come
    from Plant 3D's registry.
    """

    tags: TagRule = STOCK
    registry: frozenset[str] = frozenset()


PLAIN = Reading()
"""As a project without a mapping is read."""
