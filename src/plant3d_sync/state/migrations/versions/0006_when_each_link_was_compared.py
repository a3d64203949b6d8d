"""When a link was compared, if the last complete read did not compare it.

Why:       an edit is dated between the last comparison of its own item and the read that finds it. The project's last
           read stood for the former, also for items that it had set aside with an error of their row.
Deploy:    stop the services, `plant3d-sync db upgrade`. One empty column; takes no time.
Backfill:  none: which items earlier versions set aside is not known.
Undo:      the downgrade drops the column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("link", sa.Column("looked_at", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("link") as batch:
        batch.drop_column("looked_at")
