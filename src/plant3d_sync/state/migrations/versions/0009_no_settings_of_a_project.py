"""A column that nothing wrote.

Why:       `project.settings` was made for settings kept in the state; they live in the configuration file. What no
           code reads or writes only misleads whoever looks into the database.
Deploy:    stop the services, `plant3d-sync db upgrade`. Touches one small table.
Backfill:  none.
Undo:      the downgrade puts the empty column back; nothing is lost.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("project") as batch:
        batch.drop_column("settings")


def downgrade() -> None:
    with op.batch_alter_table("project") as batch:
        batch.add_column(sa.Column("settings", sa.Text(), nullable=True))
