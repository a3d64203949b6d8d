"""The text of a stored row, and its digest; the forms that earlier versions gave to large pieces hold too."""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy.engine import Row

LARGE = 1000
"""Bytes above which a stored piece stands in the text under a seal as its own digest."""

Form = Callable[[object], object]
"""How a value that JSON does not know stands in the text under a seal."""


def digest_of(text: bytes) -> str:
    """The digest of a short text, as hexadecimal text."""
    return hashlib.blake2b(text, digest_size=32).hexdigest()


def _sha256_of(piece: bytes) -> str:
    return hashlib.sha256(piece).hexdigest()


def in_full(value: object) -> object:
    """A value with all that it holds."""
    return value.hex() if isinstance(value, bytes) else repr(value)


def _by_digest(name: str, digest: Callable[[bytes], str]) -> Form:
    """A large piece stands as its digest, under the name of its kind; anything else in full."""

    def form(value: object) -> object:
        if isinstance(value, bytes) and len(value) > LARGE:
            return {name: digest(value)}
        return in_full(value)

    return form


OURS = _by_digest("sha256", _sha256_of)
EARLIER: tuple[Form, ...] = (_by_digest("blake2b", digest_of), in_full)
"""Those of the versions before."""


def digest_of_row(row: Row[Any], columns: Sequence[str], form: Form = OURS) -> str:
    """Over the columns that hold something, by name: a column that a later version adds changes no digest."""
    values = {name: value for name in columns if (value := getattr(row, name)) is not None}
    return digest_of(orjson.dumps(values, default=form, option=orjson.OPT_SORT_KEYS))


def is_sealed(row: Row[Any], columns: Sequence[str], sealed: str) -> bool:
    """Whether a row is what was sealed; large pieces stood otherwise under the seals of earlier versions."""
    return any(sealed == digest_of_row(row, columns, form) for form in (OURS, *EARLIER))


_SHA256 = "sha256:"


def digest_of_piece(piece: bytes) -> str:
    """The digest of a stored piece, however large it is. SHA-256, for which processors have instructions."""
    return _SHA256 + _sha256_of(piece)


def is_piece(piece: bytes, digest: str) -> bool:
    """Whether it is the piece with this digest, of which earlier versions made another kind."""
    return digest == (digest_of_piece(piece) if digest.startswith(_SHA256) else digest_of(piece))


MARK = 4
"""Bytes that tell which change entry of a call moved."""


def mark_of(line: bytes) -> bytes:
    """The mark of one change entry."""
    return zlib.crc32(line).to_bytes(MARK, "big")


def marks_of(lines: Iterable[bytes]) -> str:
    """The marks of change entries one after the other, as text; as `mark_of` of each, at once."""
    marks = array("I", map(zlib.crc32, lines))
    if sys.byteorder == "little":
        marks.byteswap()
    return base64.b64encode(marks.tobytes()).decode()
