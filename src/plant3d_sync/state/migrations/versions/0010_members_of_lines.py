"""What each line is made of.

Why:       a line is what carries one line number: it keeps its asset while one of its groups or segments lives, and a
           line drawn anew takes the asset over.
Deploy:    stop the services, `plant3d-sync db upgrade`. Makes one new table.
Backfill:  none; a line without a row here is known by its own row, and the next read of Plant 3D fills the rest in.
Undo:      the downgrade drops the table; lines are known by their own rows again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "line_members",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("plant3d_id", sa.String(128), nullable=False),
        sa.Column("row_guid", sa.String(128), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "plant3d_id", name=op.f("pk_line_members")),
    )


def downgrade() -> None:
    op.drop_table("line_members")
