"""Under which mapping a link was compared.

Why:       a changed mapping moves Plant 3D's value of a field without anybody's edit. To tell, the digest of every
           field's definition is kept, and for a link that the last complete read set aside, the version it knew.
Deploy:    stop the services, `plant3d-sync db upgrade`. Two empty columns and a table; takes no time. The next run
           reads the whole feed once.
Backfill:  none. Without a version a link counts as compared under the mapping whose digest the project keeps.
Undo:      the downgrade drops both columns and the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("project", sa.Column("mapping_version", sa.Integer(), nullable=True))
    op.add_column("link", sa.Column("mapping_version", sa.Integer(), nullable=True))
    op.create_table(
        "definitions",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "n", name=op.f("pk_definitions")),
    )


def downgrade() -> None:
    op.drop_table("definitions")
    with op.batch_alter_table("link") as batch:
        batch.drop_column("mapping_version")
    with op.batch_alter_table("project") as batch:
        batch.drop_column("mapping_version")
