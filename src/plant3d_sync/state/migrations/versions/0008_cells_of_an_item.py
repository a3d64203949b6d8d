"""The record of cells is looked up by item.

Why:       a value of Plant 3D that left the base may be a copy of something we wrote, replaced or put into a workbook;
           for the few items that moved, the record of cells (`plant_write`) is asked.
Deploy:    stop the services, `plant3d-sync db upgrade`. One index; takes seconds for a million cells.
Backfill:  none. What was written before is in the record already.
Undo:      the downgrade drops the index.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("ix_plant_write_item", "plant_write", ["project", "pnpid"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_plant_write_item", table_name="plant_write")
