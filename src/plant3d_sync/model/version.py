"""Versions of assets: counted by SYNAPSE, or fingerprints where SYNAPSE counts none.

A fingerprint is larger than any counted version, so both can stand in one column and are told apart.
"""

from __future__ import annotations

import hashlib
from typing import Final

_FINGERPRINT: Final = 1 << 62


def fingerprint(content: bytes) -> int:
    """A version that says only whether something changed, not how often and what came first. Below 2^63."""
    word = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    return _FINGERPRINT | word >> 2


def is_counted(version: int) -> bool:
    """Whether a larger version is a later one."""
    return version < _FINGERPRINT
