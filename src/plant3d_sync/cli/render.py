"""Reports for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plant3d_sync.cli.output import plain, say, table
from plant3d_sync.usecases.report import Report

SHOWN = 20


def report(item: Report) -> None:
    """A run in a few lines: what happened, what waits, what to do."""
    stats = item.stats
    head = "Plan" if item.dry_run else "Run"
    say(f"{head} of {plain(item.project)} ({item.direction}): {item.outcome}.")
    if item.guards:
        say("Stopped before the first write:")
        for hit in item.guards:
            say(f"  {hit.name}: {plain(hit.actual)} (limit {plain(hit.limit)}). {plain(hit.message)}")
        say(f"If this is right: plant3d-sync apply {item.plan_id} --approve-guards")
    names = (
        "total",
        "created",
        "updated",
        "unchanged",
        "skipped",
        "errors",
        "missing",
        "archived",
        "conflicts",
    )
    rows = [[entity, *(per[name] for name in names)] for entity, per in item.by_entity.items()]
    rows.append(["all", *(stats[name] for name in names)])
    table(["", *names], rows)
    if item.push_stats is not None and item.direction == "both":
        say(
            "Into Plant 3D: "
            + ", ".join(f"{name} {value}" for name, value in item.push_stats.items() if value)
        )
    verb = "Would write" if item.dry_run else "Wrote"
    writes = item.extra.get("planned_writes", item.writes) if item.dry_run else item.writes
    say(f"{verb}: {writes['synapse']} in SYNAPSE, {writes['plant3d']} in Plant 3D.")
    _found_applied(item.extra)
    if stats["findings"]:
        found = item.extra.get("findings_by_code") or {}
        kinds = ", ".join(f"{code} {count}" for code, count in found.items())
        say(f"Findings: {stats['findings']}" + (f" ({kinds})" if kinds else ""))
    for error in item.errors[:SHOWN]:
        say(
            f"  ! {plain(error.tag or error.pnpid)} {error.field or ''} [{error.code}] {plain(error.message)}"
        )
    if len(item.errors) > SHOWN:
        say(f"  … and {len(item.errors) - SHOWN} more: plant3d-sync show {item.run_id or item.plan_id}")
    if item.dry_run:
        say(f"Plan id: {item.plan_id}   (plant3d-sync apply {item.plan_id})")
    elif item.run_id:
        say(f"Run id: {item.run_id}")


def _found_applied(document: Mapping[str, Any]) -> None:
    found = document.get("found_applied")
    if found:
        say(
            f"Found written by an earlier run that was interrupted: {found['synapse']} in SYNAPSE, "
            f"{found['plant3d']} in Plant 3D."
        )
    if document.get("written_before"):
        say(f"Written when the plan was applied before: {document['written_before']} lines.")


def runs(items: Sequence[Mapping[str, Any]], total: int) -> None:
    """Runs, one a line."""
    table(
        ["run", "direction", "trigger", "status", "outcome", "started", "created", "updated", "errors"],
        [
            [
                item["run_id"],
                item["direction"],
                item["trigger"],
                item["status"],
                item["outcome"],
                item["started_at"],
                item["stats"].get("created"),
                item["stats"].get("updated"),
                item["stats"].get("errors"),
            ]
            for item in items
        ],
    )
    say(f"{total} runs.")


def run(document: Mapping[str, Any]) -> None:
    """One run."""
    for name in (
        "run_id",
        "project",
        "direction",
        "trigger",
        "status",
        "outcome",
        "started_at",
        "completed_at",
        "plan_id",
    ):
        say(f"{name}: {plain(document.get(name))}")
    say("stats: " + ", ".join(f"{name} {value}" for name, value in (document.get("stats") or {}).items()))
    _found_applied(document)
    if document.get("continued_by"):
        say(f"continued by run {document['continued_by']}: look there (plant3d-sync show …)")
    if document.get("error"):
        say(f"error: {plain(document['error'].get('message'))}")
    for error in document["errors"][:200]:
        say(
            f"  ! {plain(error.get('tag') or error.get('pnpid'))} [{error['code']}] {plain(error['message'])}"
        )
    for change in document.get("changes") or ():
        _change(change)
    left = document.get("changes_total", 0) - len(document.get("changes") or ())
    if left:
        say(f"  … and {left} more changes")


def _change(change: Mapping[str, Any]) -> None:
    """One write: the fields with old and new value and the rule that decided; a new item on one line."""
    where = "into Plant 3D" if change["side"] == "plant3d" else "to SYNAPSE"
    why, head = change["why"], f"{change['change_id']}: {change['op']:8} {plain(change['tag'])}"
    if change["op"] == "create" or not change["fields"]:
        say(f"{head} · {where} · {why.get('*', '')}")
        return
    for name, (old, new) in change["fields"].items():
        say(f"{head} · {name} · {where} · {plain(old)!r} to {plain(new)!r} · {why.get(name, '')}")


def plan(document: Mapping[str, Any]) -> None:
    """One plan: every line with direction, old and new value, and the reason."""
    say(
        f"plan {document['plan_id']} of {plain(document['project'])} ({document['direction']}): {document['status']}"
    )
    if document.get("note"):
        say(document["note"])
    settled = document.get("settled")
    if settled:
        say(f"settled by run {settled['run_id']}: {settled['written']} written, {settled['left']} left")
        for line in settled["left_lines"][:SHOWN]:
            say(f"  left: {line['op']} {plain(line['tag'])}")
    for line in document["lines"]:
        tag = plain(line["tag"])
        if line["op"] in ("create", "archive", "missing"):
            say(f"{line['op']:8} {tag}  ({line['class']}, PnPID {line['pnpid']})")
        for name, value in (line.get("set") or {}).items() if line["op"] != "create" else ():
            old = plain((line.get("was") or {}).get(name))
            why = (line.get("why") or {}).get(name, "")
            say(f"{line['op']:8} {tag} · {name} · Plant 3D to SYNAPSE · {old!r} to {plain(value)!r} · {why}")
        for cell in line.get("cells") or ():
            say(
                f"push     {tag} · {cell['field']} · SYNAPSE to Plant 3D · {plain(cell['old'])!r} to "
                f"{plain(cell['new'])!r} · {cell['why']}"
                + (f" · {line['needs']}" if line.get("needs") else "")
            )
        for name, entry in ((line.get("after") or {}).get("pending") or {}).items():
            say(
                f"open     {tag} · {name} · {plain(entry.get('p'))!r} / {plain(entry.get('s'))!r} · {entry['why']}"
            )


def proposal(document: Mapping[str, Any]) -> None:
    """Proposed links."""
    table(
        ["tag", "PnPID", "class", "asset", "by", "sure"],
        [
            [pair["tag"], pair["pnpid"], pair["class"], pair["asset_id"], pair["reason"], pair["certain"]]
            for pair in document["pairs"]
        ],
    )
    say(
        f"{document['total']} pairs, {document['ambiguous']} need a closer look. `links accept` ties the sure ones."
    )


def accepted(document: Mapping[str, Any]) -> None:
    """What `links accept` did."""
    say(f"Tied {document['linked']}, left {document['left']}.")
    for error in document["errors"][:SHOWN]:
        say(f"  ! {plain(error['tag'])} [{error['code']}] {plain(error['message'])}")
