"""The catalogue of each project as it was accepted.

Why:       a change of the schema is not a change of values: it is shown, and the fields concerned are unknown until a
           person accepts it.
Deploy:    stop the services, `plant3d-sync db upgrade`. Makes one new table.
Backfill:  none; the first complete run of a project accepts the catalogue as it is.
Undo:      the downgrade drops the table; changes of a schema are not noticed any more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "catalogue",
        sa.Column("project", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accepted", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.Column("accepted_by", sa.String(200), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("offered", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_catalogue")),
    )


def downgrade() -> None:
    op.drop_table("catalogue")
