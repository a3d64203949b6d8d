"""What tells that a row or an asset went back to an earlier day.

Why:       an older copy of the Plant 3D database that is put back and saved, and a backup of SYNAPSE that is restored,
           hold values that nobody typed. `revision` is the row's as it was last compared; `went_back` says that an
           asset was seen in an earlier version and not compared since.
Deploy:    stop the services, `plant3d-sync db upgrade`. Two columns; takes no time.
Backfill:  none. A link without a revision is told nothing until its item is compared again.
Undo:      the downgrade drops both columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("link", sa.Column("revision", sa.Integer(), nullable=True))
    op.add_column("link", sa.Column("went_back", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("link") as batch:
        batch.drop_column("went_back")
        batch.drop_column("revision")
