"""The base of a pair that was created holds its attributes in an object of their own, as SYNAPSE does.

Why:       what a creation sets goes to SYNAPSE, into the base and into the history as one text, and is not taken apart on the way.
Deploy:    stop the services, `plant3d-sync db upgrade`. Nothing is rewritten: bases, plans and changes of before are read as they are.
Backfill:  none.
Undo:      the downgrade writes such bases as they were before. Changes and plans are sealed and stay; the program of before
           shows the attributes of a creation in one piece.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """The columns are those of before; a program that does not know the object must not open the database."""


def downgrade() -> None:
    bind = op.get_bind()
    rows = bind.execute(sa.text("""SELECT id, base FROM link WHERE base LIKE '%"attributes":{%'"""))
    for number, text in rows.fetchall():
        base: dict[str, object] = {}
        for name, value in json.loads(text).items():
            if isinstance(value, dict):
                base.update({f"{name}.{key}": one for key, one in value.items()})
            else:
                base[name] = value
        given = {"base": json.dumps(base, separators=(",", ":"), ensure_ascii=False), "id": number}
        bind.execute(sa.text("UPDATE link SET base = :base WHERE id = :id"), given)
