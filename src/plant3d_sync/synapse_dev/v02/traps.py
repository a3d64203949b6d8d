"""What a client of SYNAPSE 0.2 can step into; each of them can be switched off, so that a test shows which one bites."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Harm = Literal["lose_answer", "cut_before", "committed_500", "failed_500", "refuse_503", "stall"]
"""`lose_answer`: done, and the connection is cut; `cut_before`: cut, and nothing done; `committed_500`: done, and 500
is answered; `failed_500`: 500, and nothing done; `refuse_503`: a proxy's page, nothing done; `stall`: the call waits
until the test lets it go on."""


@dataclass(slots=True, kw_only=True)
class Traps:
    """The behaviour of 0.2 that is not what a client hopes for.

    `scan_threshold`: rows in the whole table from which lists start where the last scan stopped (None: never; as
    shipped about 95,000 rows of 350 bytes, a quarter of the shared buffers). `scan_granularity`: to how many rows
    that place is kept. `recycle_after`: requests after which the worker goes and cuts a connection (None: never).
    `requests_per_second`, `burst`: the proxy's limit (None: no proxy). `paced`: each call takes the time measured on
    the real backend, one after the other.
    """

    scan_threshold: int | None = 95_000
    scan_granularity: int = 368
    updates_move_rows: bool = True
    commits_before_500: bool = True
    cuts_after_500: bool = True
    drops_unknown_fields: bool = True
    six_types_on_save: bool = True
    skips_unknown_ids: bool = True
    redirects_slashes: bool = True
    recycle_after: int | None = 1000
    requests_per_second: float | None = None
    burst: int = 50
    token_minutes: float = 1440.0
    paced: bool = False
    version: str = "0.2.2"
    harms: list[tuple[str, str, Harm]] = field(default_factory=list)
    """What happens to the next calls of a method whose path begins so, each used once."""

    def next_harm(self, method: str, path: str) -> Harm | None:
        """The harm meant for this call, taken off the list."""
        for place, (verb, start, harm) in enumerate(self.harms):
            if verb == method and path.startswith(start):
                del self.harms[place]
                return harm
        return None
