"""One run, in files named by its five steps: read, decide, show, write, remember. Connectors are seen only through the
protocols of `connectors.base`.

1. Read: `both_sides`, `read_synapse`, `unread`, `lines` (the other side is `connectors.plant3d.reading`).
2. Decide, in the pure code of `reconcile`: `recall`, `compare`, `decide`, `spool`, `schema`, `letters`; `stale` asks again.
3. Show what is planned, and what became of it: `plan_store`, `report`, `telling`, `unfinished`, `recount`.
4. Write, and read back: `carry_out`, `execution`, `portions`, `write_synapse`, `second_look`; `write_plant3d`,
   `push_backup`; `recover` and `asking` for what a dead run wrote.
5. Remember, each batch in one transaction: `receipts`, `bookkeeping`, `quiet`; the rest at the end: `remember`, `refused`,
   `plans`, `leftovers`.

In front of them `standing` (did anything move?) and `preflight` (is it the project we know?); around them `life` (a run's
row, its lease, its signs of life), `asked`, `request` and `project`; above them `engine`, their order.
"""
