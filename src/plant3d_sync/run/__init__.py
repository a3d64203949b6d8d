"""One run, in files named by its five steps: read, decide, show, write, remember. Connectors are seen only through the
protocols of `connectors.base`.

- `read_synapse`, `unread`, `lines`: read both sides (the other one is `connectors.plant3d.reading`).
- `decide`, `spool`, `schema`, `letters`, `mapping_diff`: decide, in the pure code of `reconcile`; `stale` decides again.
- `report`, `telling`, `unfinished`, `recount`: show what is planned, what was done, and what of it was not.
- `write_synapse`, `asking`, `bookkeeping`, `second_look`; `write_plant3d`, `push_backup`: write, and read back.
- `remember`, `plans`, `leftovers`: remember, at the end and in one transaction.

In front of them `standing` (did anything move?) and `preflight` (is it the project we know?); around them `life` (a run's
row and its signs of life), `request`, `project` and `recover` (what a dead run left); above them `engine`, their order.
"""
