"""A short key for the identity of a link.

Why:       identities are random text. An index on 36 characters of it was rewritten almost whole with every batch of
           a first pull and took half of the CPU of storing it; an index on 8 bytes takes a third of that.
Deploy:    stop the services, `plant3d-sync db upgrade`. Rewrites the table of links once (a few seconds for a
           million links).
Backfill:  the key of every link, from its identity.
Undo:      the downgrade puts the old constraint back; nothing is lost.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BATCH = 10_000


def upgrade() -> None:
    op.add_column("link", sa.Column("guid_key", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    link = sa.table(
        "link",
        sa.column("id", sa.BigInteger),
        sa.column("plant3d_id", sa.String),
        sa.column("guid_key", sa.BigInteger),
    )
    change = sa.update(link).where(link.c.id == sa.bindparam("whose")).values(guid_key=sa.bindparam("key"))
    rows = connection.execute(sa.select(link.c.id, link.c.plant3d_id)).fetchall()
    for start in range(0, len(rows), BATCH):
        piece = [{"whose": row.id, "key": _key(row.plant3d_id)} for row in rows[start : start + BATCH]]
        connection.execute(change, piece)
    with op.batch_alter_table("link") as batch:
        batch.alter_column("guid_key", existing_type=sa.BigInteger(), nullable=False)
        batch.drop_constraint(op.f("uq_link_project_plant3d_id"), type_="unique")
        batch.create_unique_constraint(op.f("uq_link_project_guid_key"), ["project", "guid_key"])


def downgrade() -> None:
    with op.batch_alter_table("link") as batch:
        batch.drop_constraint(op.f("uq_link_project_guid_key"), type_="unique")
        batch.create_unique_constraint(op.f("uq_link_project_plant3d_id"), ["project", "plant3d_id"])
        batch.drop_column("guid_key")


def _key(identity: str) -> int:
    """As `plant3d_sync.state.links.key_of` was when this was written."""
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "big", signed=True)
