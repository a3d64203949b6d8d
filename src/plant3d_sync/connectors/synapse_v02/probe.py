"""What `doctor` says of a SYNAPSE 0.2: whether we get in, and what it cannot do."""

from __future__ import annotations

from plant3d_sync.connectors.synapse.probe import NAMES, Check, reach
from plant3d_sync.connectors.synapse_v02 import errors, wire
from plant3d_sync.connectors.synapse_v02.client import NO_ARCHIVE, NO_TIMES, SynapseV02
from plant3d_sync.connectors.synapse_v02.errors import HOW_TO_GET_THE_API
from plant3d_sync.errors import SyncError
from plant3d_sync.words import counted

_CHECK_OF = {
    "synapse_login_refused": "key",
    "synapse_user_inactive": "key",
    "synapse_login_missing": "key",
    "synapse_project_unknown": "project",
    "synapse_tls": "encryption",
}


def probe(client: SynapseV02) -> list[Check]:
    """Check SYNAPSE 0.2 from the outside in; after a failure the rest is `skipped`. Reads everything once, writes nothing."""
    checks = reach(client.url)
    if checks[-1].status != "failed":
        checks += _talk(client)
    done = {check.name for check in checks}
    return checks + [
        Check(name=name, status="skipped", message="not checked: see above")
        for name in NAMES
        if name not in done
    ]


def _talk(client: SynapseV02) -> list[Check]:
    checks: list[Check] = []
    try:
        able = client.capabilities()
        said = Check(
            name="contract",
            status="warning",
            message=f"SYNAPSE {able.version}, no integration API. {NO_TIMES} {NO_ARCHIVE}",
            hint=HOW_TO_GET_THE_API,
            code="synapse_v02",
        )
        checks += [said, Check(name="key", status="ok", message=f"login of {client.http.user}")]
        before = client.http.calls
        for _page in client.changes(None):
            pass
    except SyncError as error:
        name = _CHECK_OF.get(error.error_code, "project" if checks else "contract")
        checks.append(
            Check(name=name, status="failed", message=error.message, hint=error.hint, code=error.error_code)
        )
        return checks
    reading = client.last_reading
    assert reading is not None
    calls = client.http.calls - before
    proved = "proved complete" if reading.complete else "NOT proved complete: absence means nothing"
    text = f"{client.project_id}; full read each run (assets: {len(reading.rows)}, calls: {calls}, {proved})"
    checks.append(Check(name="project", status="ok" if reading.complete else "warning", message=text))
    unsaved = sum(str(row.get("type")) not in wire.SAVED_TYPES for row in reading.rows.values())
    if unsaved:
        message = errors.unsaved(unsaved)
        checks.append(
            Check(
                name="types", status="warning", message=message, hint=HOW_TO_GET_THE_API, code="synapse_types"
            )
        )
    if reading.poisoned:
        tags = ", ".join(sorted(str(row["tag"]) for row in reading.poisoned.values())[:5])
        count = len(reading.poisoned)
        message = counted(
            count,
            f"{count} asset cannot be shown by SYNAPSE ({tags}): it is left alone",
            f"{count} assets cannot be shown by SYNAPSE ({tags}): they are left alone",
        )
        hint = "Correct their electrical and process values in SYNAPSE."
        checks.append(
            Check(name="unreadable", status="warning", message=message, hint=hint, code="asset_unreadable")
        )
    checks.append(Check(name="clock", status="ok", message="SYNAPSE 0.2 tells no time"))
    return checks
