"""What a SYNAPSE cannot do, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import asdict


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not work with this SYNAPSE, and what removes it. `code` is stable."""

    code: str
    message: str
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """As it is stored and shown."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: object) -> Limit | None:
        """One that was stored; None if it is none."""
        if not isinstance(stored, Mapping) or not all(
            isinstance(stored.get(name), str) for name in ("code", "message", "hint")
        ):
            return None
        return cls(code=stored["code"], message=stored["message"], hint=stored["hint"])
