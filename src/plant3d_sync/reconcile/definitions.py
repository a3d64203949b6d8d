"""A changed mapping is nobody's edit: under which definition of each field a link was compared last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from plant3d_sync.model.link import Link

MAPPING_CHANGED: Final = "mapping_changed"
"""Why Plant 3D's side of a field holds another value: the mapping takes it from elsewhere."""

COMPARED_OTHERWISE: Final = "compared_otherwise"
"""Why a field is asked about that nobody edited: two spellings that were the same are not under the mapping of today."""

UNKNOWN: Final = 0
"""Version of a link that was compared under a mapping we have no definitions of."""

COMPARATORS: Final = ""
"""In place of a class: field -> the name of its comparator. Versions of an earlier program have none."""

ByClass = Mapping[str, Mapping[str, str]]
"""Class -> field -> digest of where its value comes from."""


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """The mapping as it is and as it was.

    `now`: digest of a field's definition. `current`: the version that equals it, None if it is new. `last`: the version of
    the last complete read, None if that read kept none; then `is_new` says whether the mapping is another one since.
    `comparators`: field -> the name of its comparator.
    """

    now: Callable[[str, str], str]
    current: int | None
    last: int | None
    is_new: bool
    earlier: Mapping[int, ByClass] = msgspec.field(default_factory=dict)
    comparators: Mapping[str, str] = msgspec.field(default_factory=dict)

    def changed(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the field is filled otherwise than when this link was compared; what is not known counts as changed."""
        version = self._of(link)
        if version is None:
            return self.is_new
        if version == self.current:
            return False
        before = self.earlier.get(version)
        return before is None or before.get(link.class_name, {}).get(name) != self.now(class_name, name)

    def arrives(self, link: Link, class_name: str, name: str) -> bool:
        """Whether the field has a column now and had none when this link was compared; what is not known is no change."""
        version = self._of(link)
        if version is None or version == self.current or version not in self.earlier:
            return False
        return name not in self.earlier[version].get(link.class_name, {}) and bool(self.now(class_name, name))

    def compared_otherwise(self, link: Link, name: str) -> bool:
        """Whether the field had another comparator when this link was compared; what is not known is no change."""
        version = self._of(link)
        if version is None or version == self.current:
            return False
        before = self.earlier.get(version, {}).get(COMPARATORS, {}).get(name)
        return before is not None and before != self.comparators.get(name)

    def _of(self, link: Link) -> int | None:
        """The version under which the link was compared."""
        return self.last if link.mapping_version is None else link.mapping_version
