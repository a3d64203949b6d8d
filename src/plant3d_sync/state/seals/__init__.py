"""Seals: digests in the hash chain of the rows that may lead to a write.

A plain UPDATE in the state database could make `undo`, `apply` or a recovery write a value nobody decided. So every
such row is sealed when it is stored and each time it moves on: its digest is entered in a chain of the audit next to
the project's own (`rows:PROJECT`; `choices:` and `requests:` for what people decide; `rows:system` for keys). The
newest seal of a row counts. Whoever is about to act on rows recomputes them first (`check_…`), `verify` all of them.

Change entries have one seal a call (ADR 10): the digest over them, and four bytes of each that tell which one moved.
What the lines of a project are made of has one digest in the newest entry of `lines:PROJECT`, since every run asks for it.
Rows written before seals existed are known by the first entry of `rows:system` and are `not_covered`.
Not sealed: links and what a read found. What they say SYNAPSE holds goes into Plant 3D only once SYNAPSE says so too.

To be read in this order: `covered` (what is sealed, and in which chain), `digests` (the text of a row and its digest),
`making` (a seal is entered), `chains` (what the chains say), `altered` (a row against its seal), `checks` (before a
write), `verify` (all of them). `lines` has all of this for what lines are made of.
"""

from plant3d_sync.state.seals.altered import refusal
from plant3d_sync.state.seals.checks import (
    check_choices,
    check_late,
    check_plan,
    check_recovery,
    check_request,
    check_run,
    key_holds,
)
from plant3d_sync.state.seals.covered import (
    ACTOR,
    PRUNED,
    ROWS,
    SEALED,
    WAITING_PLANS,
    chain_name,
    columns,
)
from plant3d_sync.state.seals.digests import digest_of, digest_of_piece, is_piece
from plant3d_sync.state.seals.lines import check_lines, line_rows, seal_lines
from plant3d_sync.state.seals.making import end_request, seal, seal_cells, seal_changes, seal_plan
from plant3d_sync.state.seals.verify import Verified, verify

__all__ = [
    "ACTOR",
    "PRUNED",
    "ROWS",
    "SEALED",
    "WAITING_PLANS",
    "Verified",
    "chain_name",
    "check_choices",
    "check_late",
    "check_lines",
    "check_plan",
    "check_recovery",
    "check_request",
    "check_run",
    "columns",
    "digest_of",
    "digest_of_piece",
    "end_request",
    "is_piece",
    "key_holds",
    "line_rows",
    "refusal",
    "seal",
    "seal_cells",
    "seal_changes",
    "seal_lines",
    "seal_plan",
    "verify",
]
