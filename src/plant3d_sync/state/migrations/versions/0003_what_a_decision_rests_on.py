"""What the last decision of a project rests on.

Why:       a run in which nothing moved need not compare everything again because something waits. For that the last
           complete decision is kept with its inputs (`standing`), and everything that asks for a comparison, a word of a
           person above all, is counted (`stirs`): a flag could be cleared by a run that had not seen what set it.
Deploy:    stop the services, `plant3d-sync db upgrade`. Two columns; takes no time.
Backfill:  none. Without a stored decision the next run compares.
Undo:      the downgrade drops both columns; the next run compares.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("project", sa.Column("standing", sa.Text(), nullable=True))
    op.add_column("project", sa.Column("stirs", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("project") as batch:
        batch.drop_column("stirs")
        batch.drop_column("standing")
