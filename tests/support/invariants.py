"""What must hold after every pull, as code. The numbers are those of docs/explanation/reliability.

None of it shares code with the planner: Plant 3D is read by plain SQL, SYNAPSE by its test interface, our state by SQL.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from plant3d_sync.model.fields import flat
from plant3d_sync.state import State, audit, intents
from tests.support.world import ROOTS, UNTOUCHED, Recorder, World

DESCRIPTION_TABLE = {"lines": "PipeLineGroup"}
OWNED = ("tag", "asset_type", "asset_subtype")
"""Fields of an asset, besides attributes, that belong to Plant 3D. The description is shared."""

NOT_TAGGED = ("", "?", "NA", "HOLD")


def writes_had_intents(world: World, recorder: Recorder | None = None) -> None:
    """I-1: each request SYNAPSE accepted carries the key of a stored intent, made under an existing fence."""
    with world.client() as client:
        recent = client.get("/dev/writes").json()["recent"]
    keys = {entry["key"] for entry in recent if entry["project_id"] == world.uuid}
    known = {row["idempotency_key"] for row in world.rows("SELECT idempotency_key FROM intent")}
    assert keys <= known, f"I-1: SYNAPSE got {keys - known} without an intent"
    if recorder is not None:
        assert recorder.unintended == [], (
            "I-1: no open intent under the current fence at the moment of the call"
        )


def nobodys_fields_were_touched(world: World, recorder: Recorder) -> None:
    """I-4: a pull sends only fields of Plant 3D and shared ones."""
    for batch in recorder.batches:
        for item in batch["items"]:
            foreign = set(item.get("set") or {}) - {*OWNED, "description", "attributes"}
            assert not foreign, f"I-4: {foreign} was sent"


def one_asset_per_identity(world: World) -> None:
    """I-5: at most one asset per Plant 3D identity, and one link per asset."""
    seen = Counter(asset["plant3d_id"] for asset in world.assets() if asset["plant3d_id"])
    assert [guid for guid, count in seen.items() if count > 1] == [], "I-5: an identity has several assets"
    linked = Counter(row["asset_id"] for row in world.rows("SELECT asset_id FROM link"))
    assert [asset for asset, count in linked.items() if count > 1] == [], "I-5: an asset has several links"


def tagged_rows(world: World) -> dict[int, tuple[str, str, str | None]]:
    """PnPID -> (entity, tag, description) of every item with a complete, unique tag; plain SQL over the tables."""
    found: dict[int, tuple[str, str, str | None]] = {}
    for entity, root in ROOTS.items():
        names = _members(world, root)
        marks = ", ".join("?" * len(names))
        where = DESCRIPTION_TABLE.get(entity, "EngineeringItems")
        for pnpid, tag, description in world.sql(
            f"SELECT b.PnPID, t.Tag, d.Description FROM PnPBase b JOIN [{root}] t ON t.PnPID = b.PnPID "
            f"JOIN [{where}] d ON d.PnPID = b.PnPID WHERE b.PnPClassName IN ({marks})",
            *names,
        ):
            text = (tag or "").strip()
            if "?" not in text and text.upper() not in NOT_TAGGED:
                found[pnpid] = (entity, text, description)
    count = Counter(tag for _entity, tag, _description in found.values())
    return {pnpid: row for pnpid, row in found.items() if count[row[1]] == 1}


def _members(world: World, root: str) -> list[str]:
    rows = world.sql(
        "WITH RECURSIVE down(name) AS (VALUES (?) UNION SELECT t.TableName FROM PnPTables t "
        "JOIN down ON t.BaseTable = down.name) SELECT name FROM down",
        root,
    )
    return [row[0] for row in rows]


def both_sides_agree(world: World, *, but: Iterable[int] = ()) -> None:
    """I-6: tag and description of every tagged item equal the asset's, except the named items."""
    assets = {asset["plant3d_id"]: asset for asset in world.assets() if asset["deleted_at"] is None}
    defaults = {
        str(row[0]).strip().lower()
        for row in world.sql(
            "SELECT AttributeValue FROM PnPColumnAttributes "
            "WHERE ColumnName = 'Description' AND AttributeName = 'VALUE' AND AttributeValue IS NOT NULL"
        )
    }
    skipped = set(but)
    guids = world.guids()
    wrong = []
    for pnpid, (entity, tag, description) in tagged_rows(world).items():
        if pnpid in skipped:
            continue
        asset = assets.get(guids.get(pnpid, ""))
        if asset is None:
            wrong.append((pnpid, "no asset"))
            continue
        if asset["tag"] != tag:
            wrong.append((pnpid, f"tag {asset['tag']!r} for {tag!r}"))
        wanted = _plain(description)
        if wanted.lower() in defaults:
            wanted = ""
        if _plain(asset["description"]) != wanted:
            wrong.append((pnpid, f"description {asset['description']!r} for {description!r} ({entity})"))
    assert wrong == [], f"I-6: {wrong[:10]}"


def _plain(text: str | None) -> str:
    lines = (text or "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def quiet(world: World, *, code: int = 0) -> dict[str, Any]:
    """I-7: one more run, compared in full, writes nothing; the bytes of the .dcf stay. Returns its report."""
    bytes_before, writes_before = world.fingerprint(), world.writes()
    versions = [(asset["id"], asset["version"]) for asset in world.assets()]
    report: dict[str, Any] = {}
    for words in ((), ("--full",)):
        report = world.pulled(*words, code=code)
        assert report["writes"] == {"synapse": 0, "plant3d": 0}, f"I-7: {report['writes']}"
    assert world.writes() == writes_before, "I-7: SYNAPSE saw writes"
    assert [(asset["id"], asset["version"]) for asset in world.assets()] == versions, "I-7: versions moved"
    assert world.fingerprint() == bytes_before, "I-7: the .dcf changed"
    return report


def bases_were_shared(world: World) -> None:
    """I-8: base plus SYNAPSE's delta is what SYNAPSE holds; a base that differs from it is marked as open."""
    assets = {asset["id"]: asset for asset in world.assets()}
    for link in world.rows("SELECT * FROM link WHERE state = 'active' AND gone_in_synapse = 0"):
        asset = assets[link["asset_id"]]
        base = flat(json.loads(link["base"] or "{}"))
        delta = json.loads(link["synapse_delta"] or "{}")
        for name, value in {**base, **delta}.items():
            held = (
                asset["attributes"].get(name.removeprefix("attributes."))
                if name.startswith("attributes.")
                else asset[name]
            )
            assert held == value, f"I-8: {link['tag']} {name}: base {value!r}, SYNAPSE {held!r}"


def archived_only(world: World, pnpids: Iterable[int]) -> None:
    """I-9: exactly the assets of these items were archived by the sync."""
    archived = world.rows("SELECT pnpid FROM link WHERE state = 'archived' ORDER BY pnpid")
    assert [row["pnpid"] for row in archived] == sorted(pnpids), "I-9"


def source_is_sound(world: World) -> None:
    """I-10 as far as a pull goes: the database is whole and nothing lies beside it."""
    with closing(sqlite3.connect(f"file:{world.dcf}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    beside = [path.name for path in world.folder.glob(world.dcf.name + "*") if path != world.dcf]
    assert beside == [], f"I-10: {beside}"


def audit_tells_everything(world: World) -> None:
    """I-11: the chain holds; every change is covered by exactly one entry, by digest, and none without a change."""
    state = State(f"sqlite:///{world.state}")
    try:
        with state.read() as connection:
            _count, broken = audit.verify(connection)
            assert broken == [], f"I-11: {broken}"
            entries = list(audit.entries(connection, "mine", limit=10_000))
            changes = [
                change
                for run in world.rows("SELECT DISTINCT run_id FROM change")
                for change in intents.changes_of_run(connection, run["run_id"])
            ]
    finally:
        state.close()
    batches = [e for e in entries if e["action"] in ("synapse.batch", "links.accepted")]
    assert sum(int(str(e["items"])) for e in batches) == len(changes), (
        "I-11: audit and changes differ in number"
    )
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in world.rows("SELECT * FROM change ORDER BY id"):
        groups.setdefault(row["intent_id"], []).append(row)
    digests = Counter(str(e["changes"]) for e in batches)
    told = Counter(audit.digest_of(rows) for rows in groups.values())
    if sum(digests.values()) == len(groups):  # one entry an intent: the usual case
        assert digests == told, "I-11: an entry does not cover its changes"


def changes_match_synapse(world: World) -> None:
    """I-11: SYNAPSE counted as many effective writes as we kept change entries."""
    (row,) = world.rows("SELECT count(*) AS n FROM change WHERE outcome NOT IN ('unchanged')")
    assert row["n"] == world.writes(), f"I-11: {row['n']} change entries, {world.writes()} writes"


def history_adds_up(world: World) -> None:
    """The counts over all runs are what was changed in SYNAPSE, run by run and in total."""
    total = 0
    for run in world.rows("SELECT id, stats, result FROM run WHERE direction = 'pull'"):
        stats, result = (json.loads(run[name] or "{}") for name in ("stats", "result"))
        for name, ops in COUNTED_OPS.items():
            (row,) = world.rows(
                f"SELECT count(*) AS n FROM change WHERE run_id = ? AND side = 'synapse' AND op IN ({ops})",
                run["id"],
            )
            assert stats.get(name, 0) == row["n"], f"run {run['id']} counts {name} {stats.get(name)}: {row}"
            kinds = result.get("by_entity", {}).values()
            assert sum(kind[name] for kind in kinds) == row["n"], f"run {run['id']}: {name} by kind"
            total += row["n"]
    (row,) = world.rows("SELECT count(*) AS n FROM change WHERE side = 'synapse'")
    assert total == row["n"]


COUNTED_OPS = {"created": "'create'", "updated": "'update', 'adopt', 'restore'", "archived": "'archive'"}


def no_run_is_stuck(world: World) -> None:
    """I-12: no run that ever held the lease stands as running; each ended run has an outcome; the lease is free."""
    stuck = world.rows("SELECT id FROM run WHERE status IN ('running', 'queued') AND fence IS NOT NULL")
    assert stuck == [], f"I-12: {stuck}"
    assert world.rows("SELECT id FROM run WHERE status IN ('completed', 'failed') AND outcome IS NULL") == []
    assert world.rows("SELECT project FROM lease WHERE holder IS NOT NULL") == [], "I-12: the lease is held"


def totals_add_up(report: dict[str, Any]) -> None:
    """I-13: every item of the snapshot has exactly one fate, in total and per kind."""
    for stats in (report["stats"], *report["by_entity"].values()):
        parts = sum(stats[name] for name in ("created", "updated", "unchanged", "skipped", "errors"))
        assert stats["total"] == parts, f"I-13: {stats}"


def locks_were_short(report: dict[str, Any]) -> None:
    """I-14: the source was let go; how long it was held depends on the machine, and `dev.py bench` measures it."""
    assert 0 <= report["lock_ms"] <= 60_000, f"I-14: {report['lock_ms']} ms"


def no_secret_was_told(world: World) -> None:
    """I-15: the key stands in nothing we printed, stored or wrote beside the state."""
    secret = world.synapse.api_key
    for said in world.heard:
        assert secret not in said.out and secret not in said.err, "I-15: printed"
    for path in world.folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"I-15: {path.name}"


def synapse_owned_unchanged(world: World, before: Iterable[dict[str, Any]]) -> None:
    """I-4: what SYNAPSE owns is as it was, asset by asset."""
    now = {asset["id"]: asset for asset in world.assets()}
    for asset in before:
        for name in UNTOUCHED:
            assert now[asset["id"]][name] == asset[name], f"I-4: {name} of {asset['tag']}"


def all_hold(world: World, *, but: Iterable[int] = (), code: int = 0, archived: Iterable[int] = ()) -> None:
    """Everything that must hold at rest. `but`: items that are known to differ; `code`: exit code of a quiet run."""
    report = quiet(world, code=code)
    totals_add_up(report)
    locks_were_short(report)
    writes_had_intents(world)
    one_asset_per_identity(world)
    both_sides_agree(world, but=but)
    bases_were_shared(world)
    archived_only(world, archived)
    source_is_sound(world)
    audit_tells_everything(world)
    changes_match_synapse(world)
    no_run_is_stuck(world)
    no_secret_was_told(world)
