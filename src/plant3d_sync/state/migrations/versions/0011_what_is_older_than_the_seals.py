"""Where the seals begin.

Why:       rows that may lead to a write have a digest in the audit's chain from now on. What is there already has none;
           which rows those are is written down once, so that none can be slipped in among them later.
Deploy:    stop the services, `plant3d-sync db upgrade`. An index on a small table and one audit entry; takes no time.
Backfill:  none: nobody knows whether older rows are as they were stored. `audit verify` counts them as `not_covered`.
Undo:      the downgrade removes the seals with their chains. After a new upgrade what was written before it is older.
"""

from __future__ import annotations

import hashlib
import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

CHAIN = "rows:system"
KINDS = ("rows", "choices", "requests")


def upgrade() -> None:
    op.create_index(op.f("ix_plant_write_intent"), "plant_write", ["intent_id"])
    bind = op.get_bind()

    def highest(table: str, key: str = "id") -> int:
        return bind.execute(sa.text(f"SELECT max({key}) FROM {table}")).scalar() or 0  # noqa: S608 - our own names

    def ids(statement: str) -> list[object]:
        return list(bind.execute(sa.text(statement)).scalars())

    begun: dict[str, object] = {
        "change": highest("change"),
        "intent": highest("intent"),
        "plant_write": highest("plant_write"),
        "conflict": highest("conflict", "seq"),
        "run": highest("run", "seq"),
        "open": ids("SELECT id FROM intent WHERE status = 'open' ORDER BY id"),
        "choices": ids("SELECT seq FROM conflict WHERE status <> 'pending' AND carried_out = 0 ORDER BY seq"),
        "plans": ids(
            "SELECT id FROM plan WHERE status IN ('draft', 'guarded', 'approved', 'applying') ORDER BY id"
        ),
        "keys": ids("SELECT id FROM api_key ORDER BY id"),
    }
    if not any(begun.values()) and not ids("SELECT id FROM plan LIMIT 1"):
        return  # a new database: nothing is older
    told = {"action": "seals.begun", "actor": "upgrade", "at": f"{time.time():.6f}", **begun}
    body = json.dumps(told, sort_keys=True, separators=(",", ":"))
    before = "0" * 64
    entry = hashlib.sha256(f"{before}|{CHAIN}|1|{body}".encode()).hexdigest()
    bind.execute(
        sa.text(
            "INSERT INTO audit (project, seq, body, prev, hash) VALUES (:project, 1, :body, :prev, :hash)"
        ),
        {"project": CHAIN, "body": body, "prev": before, "hash": entry},
    )
    bind.execute(
        sa.text("INSERT INTO audit_head (project, seq, hash) VALUES (:project, 1, :hash)"),
        {"project": CHAIN, "hash": entry},
    )


def downgrade() -> None:
    bind = op.get_bind()
    _forget(bind)
    op.drop_index(op.f("ix_plant_write_intent"), table_name="plant_write")


def _forget(bind: sa.engine.Connection) -> None:
    """Take the chains of seals away; the trail is append-only by triggers, which step aside for this."""
    sqlite = bind.dialect.name == "sqlite"
    saved: list[tuple[str, str]] = []
    if sqlite:
        found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        saved += [(row.name, row.sql) for row in bind.execute(sa.text(found))]
        for name, _sql in saved:
            bind.exec_driver_sql(f"DROP TRIGGER {name}")
    else:
        bind.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER audit_no_change"))
    for kind in KINDS:
        for table in ("audit", "audit_head"):
            bind.execute(
                sa.text(f"DELETE FROM {table} WHERE project LIKE :kind"),  # noqa: S608 - our own names
                {"kind": f"{kind}:%"},
            )
    for _name, sql in saved:
        bind.exec_driver_sql(sql)
    if not sqlite:
        bind.execute(sa.text("ALTER TABLE audit ENABLE TRIGGER audit_no_change"))
