"""What lines are made of is sealed.

Why:       a row of `line_members` says which row of Plant 3D stands for a line. A plain UPDATE could lead a value into the
           row of another line.
Deploy:    stop the services, `plant3d-sync db upgrade`. One audit entry for each project that has lines; takes no time.
Backfill:  what is there is sealed as it is: nobody knows whether it is as it was stored, but it moves no more unseen.
Undo:      the downgrade removes these chains.
"""

from __future__ import annotations

import hashlib
import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    bind = op.get_bind()
    for number, name in bind.execute(sa.text("SELECT number, name FROM project ORDER BY number")).fetchall():
        found = bind.execute(
            sa.text("SELECT plant3d_id, row_guid, members FROM line_members WHERE project = :number"),
            {"number": number},
        ).fetchall()
        if found:
            _enter(bind, _chain(name), sorted(tuple(row) for row in found))


def _enter(bind: sa.engine.Connection, chain: str, rows: list[tuple[str, str, str]]) -> None:
    texts = {row[0]: "\t".join(row).encode("utf-8", "surrogatepass") for row in rows}
    told = {
        "action": "rows.sealed",
        "actor": "upgrade",
        "at": f"{time.time():.6f}",
        "digest": hashlib.blake2b(b"\n".join(texts.values()), digest_size=32).hexdigest(),
        "lines": {one: hashlib.blake2b(text, digest_size=8).hexdigest() for one, text in texts.items()},
    }
    body = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    before = "0" * 64
    entry = hashlib.sha256(f"{before}|{chain}|1|{body}".encode()).hexdigest()
    bind.execute(
        sa.text(
            "INSERT INTO audit (project, seq, body, prev, hash) VALUES (:project, 1, :body, :prev, :hash)"
        ),
        {"project": chain, "body": body, "prev": before, "hash": entry},
    )
    bind.execute(
        sa.text("INSERT INTO audit_head (project, seq, hash) VALUES (:project, 1, :hash)"),
        {"project": chain, "hash": entry},
    )


def _chain(project: str) -> str:
    name = f"lines:{project}"
    if len(name) <= 200:
        return name
    return f"lines:{hashlib.blake2b(project.encode(), digest_size=20).hexdigest()}"


def downgrade() -> None:
    """Take the chains away; the trail is append-only by triggers, which step aside for this."""
    bind = op.get_bind()
    sqlite = bind.dialect.name == "sqlite"
    saved: list[tuple[str, str]] = []
    if sqlite:
        found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        saved += [(row.name, row.sql) for row in bind.execute(sa.text(found))]
        for name, _sql in saved:
            bind.exec_driver_sql(f"DROP TRIGGER {name}")
    else:
        bind.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER audit_no_change"))
    for table in ("audit", "audit_head"):
        bind.execute(sa.text(f"DELETE FROM {table} WHERE project LIKE 'lines:%'"))  # noqa: S608 - our own names
    for _name, sql in saved:
        bind.exec_driver_sql(sql)
    if not sqlite:
        bind.execute(sa.text("ALTER TABLE audit ENABLE TRIGGER audit_no_change"))
