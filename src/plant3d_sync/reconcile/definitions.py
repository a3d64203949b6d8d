"""A changed mapping is nobody's edit: under which definition of each field a link was compared last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from plant3d_sync.model.link import Link

MAPPING_CHANGED: Final = "mapping_changed"
"""Why Plant 3D's side of a field holds another value: the mapping takes it from elsewhere."""

UNKNOWN: Final = 0
"""Version of a link that was compared under a mapping we have no definitions of."""

ByClass = Mapping[str, Mapping[str, str]]
"""Class -> field -> digest of where its value comes from."""


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """The mapping as it is and as it was.

    `now`: digest of a field's definition. `current`: the version that equals it, None if it is new. `last`: the version of
    the last complete read, None if that read kept none; then `is_new` says whether the mapping is another one since.
    """

    now: Callable[[str, str], str]
    current: int | None
    last: int | None
    is_new: bool
    earlier: Mapping[int, ByClass] = msgspec.field(default_factory=dict)

    def changed(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the field is filled otherwise than when this link was compared; what is not known counts as changed."""
        version = self.last if link.mapping_version is None else link.mapping_version
        if version is None:
            return self.is_new
        if version == self.current:
            return False
        before = self.earlier.get(version)
        return before is None or before.get(link.class_name, {}).get(name) != self.now(class_name, name)
