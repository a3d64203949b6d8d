"""What tells two tags apart that look alike."""

from __future__ import annotations

import pytest

from plant3d_sync.model.tags import telling_apart


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            "ZV-\u00c91",
            "ZV-E\u03011",
            "'\u00c9' U+00C9 (latin capital letter e with acute) against "
            "'E\u0301' U+0045 U+0301 (latin capital letter e, combining acute accent) at character 4",
        ),
        (
            "ZV-E\u03011",
            "ZV-E\u0300\u03011",
            "'E\u0301' U+0045 U+0301 (latin capital letter e, combining acute accent) against 'E\u0300\u0301' "
            "U+0045 U+0300 U+0301 (latin capital letter e, combining grave accent, combining acute accent) at character 4",
        ),
        ("ZV\u20131", "ZV-1", "'\u2013' U+2013 (en dash) against '-' U+002D (hyphen-minus) at character 3"),
        ("ZV-1", "ZV-", "'1' U+0031 (digit one) against nothing at character 4"),
    ],
)
def test_what_tells_two_tags_apart_is_named_with_the_accents_that_are_characters_of_their_own(
    one: str, other: str, said: str
) -> None:
    assert telling_apart(one, other) == said
