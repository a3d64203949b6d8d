"""Who writes a table whose rows are sealed also seals: nowhere else is such a table written."""

from __future__ import annotations

import re
from pathlib import Path

import plant3d_sync

SOURCE = Path(plant3d_sync.__file__).parent
SEALED = "plan|plan_table|plan_chunk|intent|change|conflict|plant_write|api_key|acknowledgement|line_members"
WRITERS = {
    "state/runs.py",
    "state/intents.py",
    "state/conflicts.py",
    "state/acknowledgements.py",
    "state/keys.py",
    "state/lines.py",
    "state/cells.py",
    "state/plans.py",
    "state/retention.py",  # removes, and tells the chain before it does
    "state/ours.py",  # what followed an item, or stands in a workbook: under no intent, so never acted on
}


def test_sealed_tables_are_written_where_their_seals_are_made() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(("synapse_dev/", "state/migrations/")):
            continue
        text = path.read_text(encoding="utf-8")
        writes = rf"(?:insert|update|delete)\((?:{SEALED})\)|(?:bulk_insert|set_columns|insert_if_new)\(\s*connection,\s*(?:{SEALED}),"
        writes += rf"|(?:INSERT INTO|UPDATE|DELETE FROM) (?:{SEALED})\b"
        if re.search(writes, text):
            found.add(name)
    assert found == WRITERS
