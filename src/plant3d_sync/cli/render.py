"""Reports for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from plant3d_sync.cli.output import heads, labelled, plain, put, say, table
from plant3d_sync.cli.step_lines import step_lines
from plant3d_sync.language import heading, tr
from plant3d_sync.run.report import Report
from plant3d_sync.words import counted, said

SHOWN = 20
COUNTS = heads(
    "total", "created", "updated", "unchanged", "skipped", "errors", "missing", "archived", "conflicts"
)
"""What is counted per entity type, and of all."""
OF_ALL = heads("all")
OF_A_RUN = heads(
    "run_id", "project", "direction", "trigger", "status", "outcome", "started_at", "completed_at", "plan_id"
)
(STATS,) = heads("stats")
LINES_SHOWN = 200


def report(item: Report) -> None:
    """A run in a few lines: what happened, what waits, what to do."""
    stats = item.stats
    head = "Plan" if item.dry_run else "Run"
    say(f"{head} of {plain(item.project)} ({item.direction}): {item.outcome}.")
    if item.guards:
        say("Stopped before the first write:")
        for hit in item.guards:
            say(f"  {hit.name}: {plain(hit.actual)} (limit {plain(hit.limit)}). {tr(plain(hit.message))}")
        say(f"If this is right: plant3d-sync apply {item.plan_id} --approve-guards")
    rows = [[entity, *(per[name] for name in COUNTS)] for entity, per in item.by_entity.items()]
    rows.append([heading(OF_ALL[0]), *(stats[name] for name in COUNTS)])
    table(["", *COUNTS], rows)
    pushed = {name: value for name, value in (item.push_stats or {}).items() if value}
    if pushed and item.direction == "both":
        told = _counts(pushed)
        say(f"Into Plant 3D: {told}.")
    if item.coverage is not None:
        found = item.coverage.whole.said()
        say(f"Would hand over: {found}." if item.dry_run or item.guards else f"Handed over: {found}.")
    if step := item.schema_step:
        say(f"The schema of Plant 3D changed (plant3d-sync schema show {item.project}):")
        for line in step_lines(step):
            say(f"  {line}")
    verb = "Would write" if item.dry_run else "Wrote"
    writes = item.planned_writes if item.dry_run and item.planned_writes is not None else item.writes
    say(f"{verb}: {writes['synapse']} in SYNAPSE, {writes['plant3d']} in Plant 3D.")
    if waiting := item.for_workbook:
        say(f"Items for the workbook: {waiting} (plant3d-sync workbook {item.project}).")
    _found_applied(item.found_applied, item.written_before)
    ahead = item.dry_run or bool(item.guards)
    _missing(stats, item.waiting_for_person, item.project, ahead=ahead)
    if ahead and item.waiting_for_person:
        say(_for_a_person(item.waiting_for_person, item.plan_id, guarded=bool(item.guards)))
    _found(stats, item.findings_by_code, item.project, stored=not item.dry_run)
    for error in item.errors[:SHOWN]:
        _error(error.to_dict())
    if len(item.errors) > SHOWN:
        say(f"  … and {len(item.errors) - SHOWN} more: plant3d-sync show {item.run_id or item.plan_id}")
    if item.dry_run:
        asks = item.guards or item.waiting_for_person or any(writes.values())
        say(
            f"Plan id: {item.plan_id}   (plant3d-sync apply {item.plan_id})"
            if asks
            else f"Plan id: {item.plan_id}   (it would write nothing, so it waits for nobody)"
        )
    elif item.run_id:
        say(f"Run id: {item.run_id}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _counts(counts: Mapping[str, int]) -> str:
    """By words of ours, which are said in the reader's language; codes are `_listed`."""
    return ", ".join(f"{heading(name)} {count}" for name, count in counts.items())


def _error(error: Mapping[str, Any]) -> None:
    """A row error, and what to do about it."""
    field = f" {error['field']}" if error.get("field") else ""
    who = plain(error.get("tag") or error.get("pnpid"))
    say(f"  ! {who}{field} [{error['code']}] {tr(plain(error['message']))}")
    if error.get("hint"):
        say(f"      what to do: {plain(error['hint'])}")


def _for_a_person(waiting: Mapping[str, int], plan_id: object, *, guarded: bool) -> str:
    """How many steps of a plan wait for a person, and the command that carries them out."""
    command = f"plant3d-sync apply {plan_id}" + (" --approve-guards" if guarded else "")
    count, kinds = sum(waiting.values()), _listed(waiting)
    return counted(
        count,
        f"{count} step waits for a person ({kinds}): {command} carries it out; no other run does.",
        f"{count} steps wait for a person ({kinds}): {command} carries them out; no other run does.",
    )


def _missing(
    stats: Mapping[str, int], waiting: Mapping[str, int], project: str, *, ahead: bool = False
) -> None:
    """Items that are not in Plant 3D any more, and what becomes of them. `ahead`: nothing was written yet."""
    if not stats.get("missing"):
        return
    notes = []
    if stats.get("archived"):
        notes.append(f"to archive: {stats['archived']}" if ahead else f"archived: {stats['archived']}")
    count = sum(waiting.values())
    if count and not ahead:
        name = plain(project)
        notes.append(
            counted(
                count,
                f"{count} waits for a person: plant3d-sync plan {name}, then apply",
                f"{count} wait for a person: plant3d-sync plan {name}, then apply",
            )
        )
    say(f"Missing from Plant 3D: {stats['missing']}" + (f" ({'; '.join(notes)})" if notes else ""))


def _found(stats: Mapping[str, int], kinds: Mapping[str, int], project: str, *, stored: bool) -> None:
    """How many findings there are, and the command that lists them."""
    if not stats.get("findings"):
        return
    found = f"{stats['findings']}" + (f" ({_listed(kinds)})" if kinds else "")
    command = f"plant3d-sync findings {plain(project)}"
    if stored:
        say(f"Findings: {found}; {command}")
    else:
        say(f"Findings: {found}; {command} (after a run: a plan keeps none)")
    if "unlinked_asset" in kinds:
        say(f"SYNAPSE holds assets with these tags already: plant3d-sync links propose {plain(project)}")


def findings(
    document: Mapping[str, Any],
    by_code: Mapping[str, int],
    *,
    project: str,
    code: str | None,
    each: bool,
) -> None:
    """Open findings: a few, or if asked each, on a line with what to do; many by cause, drawing and class."""
    total, shown = document["total"], len(document["findings"])
    if each or total <= SHOWN:
        for item in document["findings"]:
            _finding(item)
        if total > shown:
            say(f"… and {total - shown} more (--limit {total})")
    else:
        _groups(document["groups"])
        say("Each of them: --each; a file for others: --export findings.xlsx")
    if document.get("path"):
        path = plain(document["path"])
        say(counted(total, f"{total} finding: {path}", f"{total} findings: {path}"))
    if code is not None:
        say(f"Findings {plain(code)}: {total}.")
    if document["acknowledged"]:
        say(f"Acknowledged (--status acknowledged shows them): {document['acknowledged']}.")
    say(f"Findings: {sum(by_code.values())}" + (f" ({_listed(by_code)})" if by_code else "") + ".")
    if "unlinked_asset" in by_code:
        say(f"SYNAPSE holds assets with these tags already: plant3d-sync links propose {plain(project)}")


def _finding(item: Mapping[str, Any]) -> None:
    words = (
        item["code"],
        item["tag"],
        item["class"],
        f"PnPID {item['pnpid']}" if item["pnpid"] else None,
        item["drawing"],
    )
    where = "  ".join(plain(word) for word in words if word)
    put(labelled(f"{where}  {tr('since')} {item['first_seen']}", tr(plain(item["message"]))))
    if item["hint"]:
        say(f"  what to do: {plain(item['hint'])}")
    if item["acknowledged"]:
        said_by = item["acknowledged"]
        say(f"  acknowledged by {plain(said_by['by'])} at {said_by['at']}: {plain(said_by['reason'])}")


def _groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """Largest first, with one hint each."""
    for group in groups[:LINES_SHOWN]:
        words = (group["code"], group["column"], group["class"], group["drawing"])
        where = "  ".join(plain(word) for word in words if word)
        named = ", ".join(plain(item) for item in group["items"])
        more = ", …" if group["count"] > len(group["items"]) else ""
        many = f"{group['count']} x {where}"
        put(labelled(many, f"{named}{more}") if named else many)
        if group["message"]:
            say(f"  {tr(plain(group['message']))}")
        else:
            say(f"  for example: {plain(group['example'])}")
        if group["hint"]:
            say(f"  what to do: {plain(group['hint'])}")
    if len(groups) > LINES_SHOWN:
        smaller = len(groups) - LINES_SHOWN
        say(
            counted(
                smaller,
                f"… and {smaller} smaller group (--json shows them all)",
                f"… and {smaller} smaller groups (--json shows them all)",
            )
        )


def _found_applied(found: Mapping[str, int] | None, written_before: int) -> None:
    if found:
        say(
            f"Found written by an earlier run that was interrupted: {found['synapse']} in SYNAPSE, "
            f"{found['plant3d']} in Plant 3D."
        )
    if written_before:
        say(f"Steps written when the plan was applied before: {written_before}.")


def runs(
    items: Sequence[Mapping[str, Any]], total: int, plans: Sequence[Mapping[str, Any]], plans_total: int
) -> None:
    """Runs, one a line, then the plans that nobody applied yet."""
    table(
        [
            "run",
            "direction",
            "trigger",
            "status",
            "outcome",
            "started",
            "created",
            "updated",
            "errors",
            "plan",
        ],
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
                item["plan_id"],
            ]
            for item in items
        ],
    )
    say(f"Runs: {total}.")
    if not plans:
        return
    say("")
    say(f"Plans that wait: {plans_total} (plant3d-sync apply PLAN; a guarded one with --approve-guards)")
    names = ("plan_id", "created_at", "direction", "status", "lines", "remembered")
    table(
        ["plan", "made", "direction", "status", "steps", "only remember"],
        [[plan[name] for name in names] for plan in plans],
    )
    if plans_total > len(plans):
        older = plans_total - len(plans)
        say(
            counted(
                older,
                f"… and {older} older one (--limit shows more)",
                f"… and {older} older ones (--limit shows more)",
            )
        )


def waiting(amounts: Mapping[str, int], project: str) -> None:
    """How much waits for a person, if anything does."""
    if not amounts["total"]:
        return
    listed = _listed({kind: count for kind, count in amounts.items() if count and kind != "total"})
    say(f"Waiting for a person: {amounts['total']} ({listed}); plant3d-sync waiting {plain(project)}")


def run(document: Mapping[str, Any], missing: Iterable[str]) -> None:
    """One run. `missing`: what is said of items that it did not find."""
    for name in OF_A_RUN:
        put(labelled(heading(name), plain(document.get(name))))
    stats, project = document.get("stats") or {}, str(document.get("project"))
    put(labelled(heading(STATS), _counts(stats)))
    _found_applied(document.get("found_applied"), document.get("written_before") or 0)
    _missing(stats, document.get("waiting_for_person") or {}, project)
    for sentence in islice(missing, LINES_SHOWN):
        say(plain(sentence))
    _found(stats, document.get("findings_by_code") or {}, project, stored=True)
    if document.get("continued_by"):
        say(f"continued by run {document['continued_by']}: look there (plant3d-sync show …)")
    if document.get("error"):
        say(f"error: {plain(document['error'].get('message'))}")
    for error in document["errors"][:LINES_SHOWN]:
        _error(error)
    for change in document.get("changes") or ():
        _change(change)
    left = document.get("changes_total", 0) - len(document.get("changes") or ())
    if left:
        say(counted(left, f"  … and {left} more change", f"  … and {left} more changes"))


def _change(change: Mapping[str, Any]) -> None:
    """One write: the fields with old and new value and the rule that decided; a new item on one line."""
    where = "into Plant 3D" if change["side"] == "plant3d" else "to SYNAPSE"
    why = change["why"]
    head = labelled(str(change["change_id"]), f"{change['op']:8} {plain(change['tag'])}")
    if change["op"] == "create" or not change["fields"]:
        say(f"{head} · {where} · {why.get('*', '')}")
        return
    for name, (old, new) in change["fields"].items():
        say(f"{head} · {name} · {where} · {said(old)} to {said(new)} · {why.get(name, '')}")


def plan(document: Mapping[str, Any], steps: Iterable[str]) -> None:
    """One plan: what its steps say, with direction, old and new value, and the reason."""
    say(
        f"plan {document['plan_id']} of {plain(document['project'])} ({document['direction']}): {document['status']}"
    )
    if document.get("note"):
        say(document["note"])
    settled = document.get("settled")
    if settled:
        by = f" by run {settled['run_id']}" if settled["run_id"] else ""
        why = f" ({settled['why']})" if settled.get("why") else ""
        say(f"settled{by}{why}: {settled['written']} written, {settled['left']} left")
        for line in settled["left_lines"][:SHOWN]:
            say(f"  left: {line['op']} {plain(line['tag'])}")
    waiting = document["waiting_for_person"]
    if waiting and document["status"] in ("draft", "guarded"):
        say(_for_a_person(waiting, document["plan_id"], guarded=document["status"] == "guarded"))
    elif waiting:
        name, count, kinds = plain(document["project"]), sum(waiting.values()), _listed(waiting)
        say(
            counted(
                count,
                f"{count} step waits for a person ({kinds}): this run left it; plant3d-sync plan {name}, then apply.",
                f"{count} steps wait for a person ({kinds}): this run left them; plant3d-sync plan {name}, then apply.",
            )
        )
    for sentence in steps:
        say(plain(sentence))
    if count := document["remembered"]:
        say(
            counted(
                count,
                f"{count} step writes nothing: it only updates what is remembered.",
                f"{count} steps write nothing: they only update what is remembered.",
            )
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
    alike = document["look_alikes"]
    if alike["plant3d"]:
        say(
            f"Look-alike tags within Plant 3D: {alike['plant3d']}. `links accept` cannot settle them: in Plant 3D, "
            "give one of the two another tag, or delete it."
        )
    if alike["synapse"]:
        say(
            f"Look-alike tags within SYNAPSE: {alike['synapse']}. `links accept` cannot settle them: in SYNAPSE, "
            "give one of the two another tag, or archive it."
        )
    say(
        f"Pairs: {document['total']}, of which need a closer look: {document['ambiguous']}. "
        "`links accept` links the sure ones."
    )
    if document["moved_rows"]:
        table(
            ["tag", "PnPID was", "PnPID is", "class"],
            [[row["tag"], row["linked_pnpid"], row["pnpid"], row["class"]] for row in document["moved_rows"]],
        )
        say(f"Linked items in another row: {len(document['moved_rows'])}. `links accept` follows them.")


def accepted(document: Mapping[str, Any]) -> None:
    """What `links accept` did."""
    say(
        f"Linked {document['linked']}, followed to another row {document['moved_rows']}, left {document['left']}."
    )
    for one in document["not_linked"][:SHOWN]:
        say(f"  {plain(one['tag'])} was not linked: {tr(plain(one['reason']))}. {tr(plain(one['hint']))}")
    for error in document["errors"][:SHOWN]:
        _error(error)
