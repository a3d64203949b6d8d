"""How far behind the clock of a workstation was ever shown to be.

Why:       a stamp of a row bounds an edit only by the clock that gave it. A stamp that is older than our last sight of the row
           without it shows that this clock is behind; the worst such lag of a project widens every interval from then on.
Deploy:    stop the services, `plant3d-sync db upgrade`. One new column in a table of few rows; milliseconds.
Backfill:  none: nothing is known of the clocks so far.
Undo:      the downgrade drops the column; the lag is found anew by the next stamp that shows it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("project", sa.Column("plant_lag", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.drop_column("plant_lag")
