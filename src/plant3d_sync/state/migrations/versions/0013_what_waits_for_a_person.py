"""Refused rows with their attempts, the words of people about them, and what waits, counted quickly.

Why:       what SYNAPSE or we refuse has a place where somebody can settle it: when it is tried again, and that it may
           be left. What people say of it, or of a finding, is kept under a seal.
Deploy:    stop the services, `plant3d-sync db upgrade`. Makes the table `quarantine` anew (nothing wrote it before), one
           new table and two indexes of few rows; one walk over `link`.
Backfill:  none; the next complete run finds what is refused.
Undo:      the downgrade drops the tables; refused rows are offered in every run again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.drop_table("quarantine")
    op.create_table(
        "quarantine",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("pnpid", _BIG, nullable=False),
        sa.Column("field", sa.String(200), nullable=False),
        sa.Column("code", sa.String(60), nullable=False),
        sa.Column("side", sa.String(60), nullable=False),
        sa.Column("entity", sa.String(60), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("next_try_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "project", "pnpid", "field", "code", name=op.f("uq_quarantine_project_pnpid_field_code")
        ),
    )
    op.create_table(
        "acknowledgement",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("said_by", sa.String(200), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("ended_why", sa.String(60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acknowledgement")),
    )
    op.create_index("ix_acknowledgement_open", "acknowledgement", ["project", "kind", "ended_at"])
    for name, where in (("ix_link_open", "pending IS NOT NULL"), ("ix_link_archive", "state = 'pending'")):
        op.create_index(
            name, "link", ["project"], sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )


def downgrade() -> None:
    op.drop_index("ix_link_archive", "link")
    op.drop_index("ix_link_open", "link")
    op.drop_table("acknowledgement")
    op.drop_table("quarantine")
    op.create_table(
        "quarantine",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("pnpid", _BIG, nullable=False),
        sa.Column("field", sa.String(60), nullable=False),
        sa.Column("code", sa.String(60), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("next_try_at", sa.Double(), nullable=False),
        sa.Column("ignored", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("project", "pnpid", "field", "code", name=op.f("pk_quarantine")),
    )
