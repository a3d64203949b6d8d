"""A state of their own for links whose class the mapping leaves out.

Why:       they were stored as `unlinked`, like those that a person chose to keep, and never looked at again: an item
           that was deleted meanwhile left a live asset that nobody mentions.
Deploy:    stop the services, `plant3d-sync db upgrade`. Touches the unlinked links only.
Backfill:  an unlinked link is out of the mapping unless a conflict says that a person chose SYNAPSE for the gone item.
           Where that conflict was deleted with its age, the link holds what was edited in SYNAPSE, so the person is
           asked again and nothing is archived.
Undo:      the downgrade calls them unlinked again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_OUT = """
UPDATE link SET state = 'out'
WHERE state = 'unlinked' AND NOT EXISTS (
    SELECT 1 FROM conflict
    WHERE conflict.link_id = link.id AND conflict.field = '*' AND conflict.kind = 'gone_from_plant3d'
      AND conflict.resolution = 'synapse'
)
"""


def upgrade() -> None:
    op.execute(sa.text(_OUT))


def downgrade() -> None:
    op.execute(sa.text("UPDATE link SET state = 'unlinked' WHERE state = 'out'"))
