"""A batch of the contract, carried out with the calls that SYNAPSE 0.2 has.

Conditions are judged here, against a fresh read of each asset right before the write. Renames go in layers, each its own
call, since 0.2 checks tags row by row. After a 500 or a lost answer nothing is believed: the asset is read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

from plant3d_sync.connectors.base import WriteResult
from plant3d_sync.connectors.synapse import errors as contract_errors
from plant3d_sync.connectors.synapse_v02 import wire
from plant3d_sync.connectors.synapse_v02.http import CONNECTIONS, Http, Lost, Reply
from plant3d_sync.connectors.synapse_v02.index import Index
from plant3d_sync.connectors.synapse_v02.read import Reader
from plant3d_sync.connectors.synapse_v02.wire import Raw

BATCH: Final = 100
"""Items of one bulk call: as fast as 500, and rows are held a fifth as long."""
FRESH: Final = 2.0
"""Seconds for which a read of an asset is not repeated within a batch, which begins with reads of its own."""
LONGEST: Final = {"tag": 100, "asset_type": 50, "asset_subtype": 100, "description": 4000}
ATTRIBUTES_BYTES: Final = 64 * 1024
_CONSTRAINT: Final = re.compile(r"uix_project_tag|assets_pkey|assets_\w+_fkey")

UNREADABLE: Final = (
    "SYNAPSE cannot show this asset (values in its electrical or process data break SYNAPSE's own rules), so it was not "
    "touched; correct them in SYNAPSE."
)


class _Refused(Exception):
    def __init__(
        self,
        status: str,
        code: str,
        name: str = "",
        message: str = "",
        other: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.field, self.message, self.other = status, code, name, message, other


class _Job(msgspec.Struct, kw_only=True):
    """One item on its way: the asset it is about, what is sent, and what became of it."""

    item: Mapping[str, Any]
    asset_id: str = ""
    before: Raw | None = None
    patch: Raw = msgspec.field(default_factory=dict)
    restored: bool = False
    linked: bool = False
    tries: int = 0
    result: WriteResult | None = None

    @property
    def plant3d_id(self) -> str:
        return str(self.item["plant3d_id"])

    @property
    def archives(self) -> bool:
        return bool(self.item["op"] == "archive")

    @property
    def creates(self) -> bool:
        return self.before is None

    @property
    def old_tag(self) -> str | None:
        return None if self.before is None else str(self.before["tag"])

    @property
    def takes(self) -> str | None:
        """The tag that it newly takes."""
        tag = self.patch.get("tag")
        return None if tag is None or tag == self.old_tag else str(tag)

    @property
    def is_open(self) -> bool:
        return self.result is None

    def refuse(self, refusal: _Refused, asset: Raw | None = None) -> None:
        """It was not written, and why."""
        shown = wire.to_asset(asset, self.plant3d_id) if asset is not None else None
        self.result = WriteResult(
            plant3d_id=self.plant3d_id,
            status=refusal.status,
            code=refusal.code,
            field=refusal.field,
            message=refusal.message,
            asset=shown,
            asset_id=shown.asset_id if shown else None,
            version=shown.version if shown else None,
            other=refusal.other,
        )

    def done(self, asset: Raw, status: str) -> None:
        """It is as asked; `asset` as SYNAPSE holds it."""
        shown = wire.to_asset(asset, self.plant3d_id)
        self.result = WriteResult(
            plant3d_id=self.plant3d_id,
            status=status,
            asset=shown,
            asset_id=shown.asset_id,
            version=shown.version,
            linked=self.linked,
            restored=self.restored,
        )

    def unknown(self, why: str) -> None:
        """Nobody can say."""
        self.result = WriteResult(
            plant3d_id=self.plant3d_id, status="unknown", code="not_answered", message=why
        )


class Writer:
    """Writes batches of one project."""

    def __init__(
        self,
        http: Http,
        reader: Reader,
        index: Index,
        words: Mapping[str, str],
        *,
        fresh: float = FRESH,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._http, self._reader, self._index, self._words = http, reader, index, words
        self._now = now
        self._fresh = fresh

    def write(self, items: Sequence[Mapping[str, Any]]) -> list[WriteResult]:
        """Carry out the items of one batch; one result each, in their order. Raises RetryLaterError, ConfigError."""
        jobs = [_Job(item=item) for item in items]
        self._refuse_twins(jobs)
        self._locate(jobs)
        for job in jobs:
            if job.is_open:
                try:
                    self._prepare(job)
                except _Refused as refusal:
                    job.refuse(refusal, job.before if refusal.status == "conflict" else None)
        self._look_at_holders(jobs)
        self._judge_tags(jobs)
        self._make_room(jobs)
        self._update([job for job in jobs if job.is_open and not job.creates])
        self._create([job for job in jobs if job.is_open])
        return [job.result for job in jobs if job.result is not None]

    # ---------------------------------------------------------------- what each item is about

    def _refuse_twins(self, jobs: Sequence[_Job]) -> None:
        seen: dict[str, _Job] = {}
        for job in jobs:
            twin = seen.setdefault(job.plant3d_id, job)
            if twin is not job:
                for one in (twin, job):
                    one.refuse(_Refused("error", "duplicate_in_batch", "plant3d_id"))

    def _locate(self, jobs: Sequence[_Job]) -> None:
        """The asset of each item, as it is right now."""
        for job in jobs:
            if not job.is_open:
                continue
            known = self._index.asset_of(job.plant3d_id)
            chosen = wire.asset_id_of(self._http.project_id, job.plant3d_id)
            if known is None and self._index.has(chosen):
                known = chosen
            if known is None and job.item.get("link_by_tag"):
                holder = self._index.holder(str(job.item["set"].get("tag")))
                if holder is not None and self._index.is_free(holder):
                    known, job.linked = holder, True
            job.asset_id = known or chosen
        there = [
            job
            for job in jobs
            if job.is_open and (not self._is_creation(job) or self._index.has(job.asset_id))
        ]
        for job in there:
            self._index.age(job.asset_id)  # nothing but a read of this moment protects somebody's words
        status = self._freshen(job.asset_id for job in there)
        for job in there:
            if status.get(job.asset_id) == 500:
                job.refuse(_Refused("error", "asset_unreadable", message=UNREADABLE))
            else:
                job.before = self._index.row(job.asset_id)
                if job.linked and job.before is not None and wire.namespace_of(job.before) is not None:
                    job.before, job.linked = None, False

    @staticmethod
    def _is_creation(job: _Job) -> bool:
        return not job.archives and not job.item.get("if_version") and not job.item.get("if_field_versions")

    def _freshen(self, asset_ids: Iterable[str]) -> dict[str, int]:
        """Read again what was not read just now. id -> status, for what is not simply there."""
        stale = [one for one in dict.fromkeys(asset_ids) if not self._index.is_fresh(one, self._fresh)]
        status: dict[str, int] = {}
        for asset_id, row, code in self._reader.some(stale, len(self._index)):
            if row is not None:
                self._index.put(row)
            elif code == 404:
                self._index.forget(asset_id)
            if code != 200:
                status[asset_id] = code
        return status

    def _prepare(self, job: _Job) -> None:
        """Check the conditions and the values, and work out what is sent. Raises _Refused."""
        if job.archives:
            self._prepare_archive(job)
            return
        wanted = job.item.get("set")
        if not isinstance(wanted, dict):
            raise _Refused("error", "invalid_value", "set")
        _check_values(wanted)
        before = job.before
        if before is None:
            if not self._is_creation(job):
                raise _Refused(
                    "error", "not_found", "plant3d_id", "there is no such asset in SYNAPSE any more"
                )
            for name in ("tag", "asset_type"):
                if wanted.get(name) is None:
                    raise _Refused("error", "missing_field", name)
            job.patch = self._creation(job, wanted)
            return
        _check_conditions(job.item, before, "" if job.linked else job.plant3d_id)
        job.restored = wire.is_archived(before)
        job.patch = self._changes(job, wanted, before)
        if not job.patch:
            job.done(before, "unchanged")

    def _prepare_archive(self, job: _Job) -> None:
        before = job.before
        if before is None:
            raise _Refused("error", "not_found", "plant3d_id", "there is no such asset in SYNAPSE")
        if wire.is_archived(before):
            job.done(before, "unchanged")
            return
        if job.item.get("if_version") not in (None, wire.to_asset(before, job.plant3d_id).version):
            raise _Refused("conflict", "version_mismatch")
        ours = {**self._namespace(job, before), "archived": True}
        job.patch = {"mechanical": wire.with_namespace(before, ours)}

    def _namespace(self, job: _Job, before: Raw | None) -> Raw:
        """Our part of `mechanical` as it is, with the identity in it."""
        kept = (wire.namespace_of(before) if before is not None else None) or {}
        return {**kept, "v": wire.FORMAT, "plant3d_id": job.plant3d_id}

    def _with_values(self, ours: Raw, wanted: Mapping[str, Any]) -> Raw:
        for name in ("asset_type", "asset_subtype"):
            if name in wanted:
                ours[name] = wanted[name]
        ours["attributes"] = wire.merged(ours.get("attributes"), wanted.get("attributes") or {})
        if len(orjson.dumps(ours["attributes"])) > ATTRIBUTES_BYTES:
            raise _Refused("error", "attributes_too_large", "attributes")
        return ours

    def _creation(self, job: _Job, wanted: Mapping[str, Any]) -> Raw:
        ours = self._with_values(self._namespace(job, None), wanted)
        return {
            "id": job.asset_id,
            "tag": wanted["tag"],
            "type": wire.type_word(wanted["asset_type"], wanted.get("asset_subtype"), self._words),
            "description": wanted.get("description"),
            "mechanical": {wire.NAMESPACE: ours},
        }

    def _changes(self, job: _Job, wanted: Mapping[str, Any], before: Raw) -> Raw:
        """What differs from the asset as it is."""
        patch: Raw = {}
        if "tag" in wanted and wanted["tag"] != before["tag"]:
            patch["tag"] = wanted["tag"]
        if "description" in wanted and (wanted["description"] or None) != (before.get("description") or None):
            patch["description"] = wanted["description"]
        ours = self._with_values(self._namespace(job, before), wanted)
        if ours.pop("archived", None) is not None or ours != wire.namespace_of(before):
            patch["mechanical"] = wire.with_namespace(before, ours)
        if "asset_type" in wanted or "asset_subtype" in wanted:
            word = wire.type_word(ours.get("asset_type"), ours.get("asset_subtype"), self._words)
            if word in wire.SAVED_TYPES and word != before.get("type"):
                patch["type"] = word
        return patch

    # ---------------------------------------------------------------- tags

    def _look_at_holders(self, jobs: Sequence[_Job]) -> None:
        """Read who holds a tag that is to be taken: somebody may have given the asset another one, or taken it up again."""
        mine = {job.asset_id for job in jobs if not job.creates}
        holders = {self._index.holder(job.takes) for job in jobs if job.is_open and job.takes is not None}
        self._freshen_all(holder for holder in holders if holder is not None and holder not in mine)

    def _judge_tags(self, jobs: Sequence[_Job]) -> None:
        """Tags are judged on the state after the whole batch: who would hold one twice does not get it."""
        while True:
            mine = {job.asset_id: job for job in jobs if job.is_open and not job.creates}
            claims: dict[str, list[_Job]] = {}
            for job in jobs:
                if job.is_open and job.takes is not None:
                    claims.setdefault(job.takes, []).append(job)
            refused = False
            for tag, takers in claims.items():
                holder = self._index.holder(tag)
                keeper = None
                if holder is not None and not self._gives_way(holder, mine.get(holder)):
                    keeper = holder
                if keeper is None and len(takers) == 1:
                    continue
                refused = True
                for job in takers:
                    job.refuse(self._taken(tag, keeper))
            if not refused:
                return

    def _gives_way(self, holder: str, job: _Job | None) -> bool:
        """Whether whoever holds a tag now lets it go in this batch, or is archived and can be asked to."""
        if job is not None:
            return job.archives or (job.takes is not None)
        row = self._index.row(holder)
        return row is not None and self._index.identity(holder) is not None and wire.is_archived(row)

    def _taken(self, tag: str, keeper: str | None) -> _Refused:
        other = (
            None if keeper is None else {"id": keeper, "plant3d_id": self._index.identity(keeper), "tag": tag}
        )
        return _Refused("error", "tag_taken", "tag", "the tag is taken", other)

    def _make_room(self, jobs: Sequence[_Job]) -> None:
        """An archived asset gives up its tag for the item that needs it, by another name."""
        mine = {job.asset_id: job for job in jobs if job.is_open and not job.creates}
        day = f"{self._now():%Y-%m-%d}"
        moves: list[Raw] = []
        for job in jobs:
            if not job.is_open or job.takes is None:
                continue
            holder = self._index.holder(job.takes)
            if holder is None:
                continue
            keeper = mine.get(holder)
            name = self._free_name(f"{job.takes} (removed {day})", {str(one["tag"]) for one in moves})
            if keeper is not None and keeper.archives:
                keeper.patch["tag"] = name
            elif keeper is None:
                moves.append({"id": holder, "tag": name})
        for start in range(0, len(moves), BATCH):
            part = moves[start : start + BATCH]
            try:
                reply = self._http.patch("/assets/bulk", orjson.dumps(part))
            except Lost:
                reply = None
            for row in _rows(reply):
                self._index.put(row)
            self._freshen_all(str(one["id"]) for one in part if reply is None or reply.status != 200)

    def _freshen_all(self, asset_ids: Iterable[str]) -> None:
        ids = list(asset_ids)
        for asset_id in ids:
            self._index.age(asset_id)
        self._freshen(ids)

    def _free_name(self, name: str, also: set[str]) -> str:
        made, number = name, 1
        while self._index.holder(made) is not None or made in also:
            number += 1
            made = f"{name} {number}"
        return made

    # ---------------------------------------------------------------- updates

    def _update(self, jobs: Sequence[_Job]) -> None:
        """Bulk calls, those that need a tag after the one that frees it; a circle goes over a name of its own."""
        waiting = list(jobs)
        while waiting:
            ready = [job for job in waiting if self._is_free_for(job)]
            if ready:
                for start in range(0, len(ready), BATCH):
                    self._bulk(ready[start : start + BATCH])
                waiting = [job for job in waiting if job not in ready]
                continue
            holders = {self._index.holder(str(job.takes)) for job in waiting}
            blocked = [
                job
                for job in waiting
                if self._index.holder(str(job.takes)) not in {one.asset_id for one in waiting}
            ]
            for job in blocked:
                job.refuse(self._taken(str(job.takes), self._index.holder(str(job.takes))))
            waiting = [job for job in waiting if job.is_open]
            if blocked or not waiting:
                continue
            turn = next((job for job in waiting if job.asset_id in holders), waiting[0])
            self._step_aside(turn)
            if not turn.is_open:
                waiting.remove(turn)

    def _is_free_for(self, job: _Job) -> bool:
        return job.takes is None or self._index.holder(job.takes) in (None, job.asset_id)

    def _step_aside(self, job: _Job) -> None:
        """Free the tag of one of a circle by a name that nobody else has; the next layer gives it its own."""
        aside = self._free_name(f"{job.old_tag}~{job.asset_id[:8]}", set())
        body = orjson.dumps([{"id": job.asset_id, "tag": aside}])
        try:
            reply = self._http.patch("/assets/bulk", body)
        except Lost:
            reply = None
        for row in _rows(reply):
            self._index.put(row)
        if reply is None or reply.status != 200:
            self._freshen_all([job.asset_id])
        held = self._index.row(job.asset_id)
        if held is None or held["tag"] != aside:
            job.unknown("its tag could not be freed for a circle of renames")
            return
        job.before = held

    def _bulk(self, jobs: Sequence[_Job]) -> None:
        """One bulk call. What is refused for one is tried again without it; what is not known is read back."""
        if not jobs:
            return
        body = orjson.dumps([{"id": job.asset_id, **job.patch} for job in jobs])
        try:
            reply = self._http.patch("/assets/bulk", body)
        except Lost as lost:
            self._read_back(jobs, lost.reason)
            return
        if reply.status == 200:
            self._answered(jobs, reply)
        elif reply.status >= 500:
            self._read_back(jobs, f"it answered {reply.status}")
        elif len(jobs) > 1:
            for job in jobs:
                self._bulk([job])
        else:
            jobs[0].refuse(self._refusal(reply, jobs[0]))

    def _answered(self, jobs: Sequence[_Job], reply: Reply) -> None:
        answers = {str(row["id"]): row for row in _rows(reply)}
        for job in jobs:
            row = answers.get(job.asset_id)
            if row is None:
                self._skipped(job)
            else:
                self._index.put(row, job.plant3d_id)
                job.done(row, "archived" if job.archives else "updated")

    def _skipped(self, job: _Job) -> None:
        """0.2 leaves ids out that it does not find, without a word."""
        reply = self._reader.single(job.asset_id)
        if reply.status == 404:
            self._index.forget(job.asset_id)
            job.refuse(
                _Refused("error", "not_found", "plant3d_id", "there is no such asset in SYNAPSE any more")
            )
        else:
            job.unknown("the answer did not mention this item")

    def _read_back(self, jobs: Sequence[_Job], reason: str) -> None:
        """A 500 may have been committed, a lost answer too: only what the asset holds counts."""
        for job in jobs:
            reply = self._reader.single(job.asset_id)
            row = reply.json() if reply.status == 200 else None
            if isinstance(row, dict):
                self._index.put(row, job.plant3d_id)
                if _holds(row, job.patch):
                    job.done(row, "archived" if job.archives else "updated")
                elif job.tries == 0 and job.before is not None and _untouched(row, job.before):
                    job.tries = 1
                    self._bulk([job])
                else:
                    job.unknown(f"{reason}, and the asset does not hold what was sent")
            elif reply.status == 404:
                self._index.forget(job.asset_id)
                job.refuse(
                    _Refused("error", "not_found", "plant3d_id", "there is no such asset in SYNAPSE any more")
                )
            else:
                job.refuse(
                    _Refused(
                        "error",
                        "asset_unreadable",
                        message="SYNAPSE cannot show this asset (values in its electrical or process data break SYNAPSE's own "
                        "rules); correct them in SYNAPSE. Whether the change was stored is not known",
                    )
                )

    # ---------------------------------------------------------------- creations

    def _create(self, jobs: Sequence[_Job]) -> None:
        """One call each, a few at a time."""
        if len(jobs) == 1:
            self._post(jobs[0])
            return
        if not jobs:
            return
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            futures = [pool.submit(copy_context().run, self._post, job) for job in jobs]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _post(self, job: _Job) -> None:
        body = orjson.dumps(job.patch)
        try:
            reply: Reply | None = self._http.post("/assets/", body)
        except Lost:
            reply = None
        row = reply.json() if reply is not None and reply.status in (200, 201) else None
        if isinstance(row, dict) and wire.is_asset(row):
            self._index.put(row, job.plant3d_id)
            job.done(row, "created")
        elif reply is None or reply.status >= 500 or reply.status in (200, 201):
            self._created_after_all(job)
        elif reply.status == 409 and "assets_pkey" in reply.detail:
            self._exists(job)
        else:
            job.refuse(self._refusal(reply, job))

    def _created_after_all(self, job: _Job) -> None:
        """The answer to a creation was an error, or none."""
        found = self._reader.single(job.asset_id)
        if found.status == 200:
            self._exists(job, found)
        elif job.tries == 0 and found.status == 404:
            job.tries = 1
            self._post(job)
        elif found.status == 404:
            job.refuse(
                _Refused(
                    "error", "refused", message="SYNAPSE fails whenever it is asked to create this asset"
                )
            )
        else:
            job.unknown("SYNAPSE failed, and cannot show the asset")

    def _exists(self, job: _Job, reply: Reply | None = None) -> None:
        """The id that we chose is taken: by our own earlier call, or by an asset that is to be compared."""
        reply = reply or self._reader.single(job.asset_id)
        row = reply.json() if reply.status == 200 else None
        if isinstance(row, dict):
            self._index.put(row, job.plant3d_id)
            if _holds(row, {name: value for name, value in job.patch.items() if name != "type"}):
                job.done(row, "created")
            else:
                job.refuse(_Refused("conflict", "exists"), row)
        elif reply.status == 404:
            job.refuse(
                _Refused(
                    "error",
                    "asset_deleted_in_synapse",
                    "plant3d_id",
                    "SYNAPSE keeps a deleted asset with this identity, which no call can bring back; restore or purge it "
                    "in SYNAPSE's database",
                )
            )
        else:
            job.refuse(_Refused("error", "asset_unreadable", message=UNREADABLE))

    def _refusal(self, reply: Reply, job: _Job) -> _Refused:
        """What a 4xx of one item means."""
        if reply.status == 409:
            found = _CONSTRAINT.search(reply.detail)
            constraint = found.group() if found else ""
            if constraint == "uix_project_tag":
                tag = str(job.patch.get("tag"))
                return self._taken(tag, self._index.holder(tag))
            if constraint == "assets_project_id_fkey":
                raise contract_errors.project_unknown(
                    self._http.url, self._http.project_id, True, {"status": 409}
                )
            return _Refused(
                "error", "refused", message=f"SYNAPSE's database refused it ({constraint or 'a constraint'})"
            )
        if reply.status == 422:
            value = reply.json()
            entries = value.get("detail") if isinstance(value, dict) else None
            loc = (
                entries[0].get("loc")
                if isinstance(entries, list) and entries and isinstance(entries[0], dict)
                else None
            )
            name = str(loc[-1]) if isinstance(loc, list) and loc else ""
            return _Refused("error", "invalid_value", name, "SYNAPSE does not take this value")
        raise contract_errors.refused(
            self._http.url, reply.status, reply.detail[:200], True, {"status": reply.status}
        )


def _rows(reply: Reply | None) -> list[Raw]:
    value = reply.json() if reply is not None and reply.status == 200 else None
    return [row for row in value if wire.is_asset(row)] if isinstance(value, list) else []


def _holds(row: Raw, sent: Mapping[str, Any]) -> bool:
    """Whether an asset holds what was sent; of `mechanical` only our part counts."""
    for name, value in sent.items():
        held = row.get(name)
        if name == "mechanical":
            if not isinstance(held, dict) or held.get(wire.NAMESPACE) != value[wire.NAMESPACE]:
                return False
        elif (held or None) != (value or None):
            return False
    return True


def _untouched(row: Raw, before: Raw) -> bool:
    return all(row.get(name) == before.get(name) for name in ("tag", "description", "mechanical", "type"))


def _check_values(wanted: Mapping[str, Any]) -> None:
    """The values that SYNAPSE takes, as the contract bounds them. Raises _Refused."""
    for name, value in wanted.items():
        if name == "attributes":
            texts = [one for one in value.values() if isinstance(one, str)] if isinstance(value, dict) else []
            bad = not isinstance(value, dict)
        else:
            texts = [value] if isinstance(value, str) else []
            bad = _is_bad(name, value)
        if bad or any("\x00" in text for text in texts):
            raise _Refused("error", "invalid_value", name)


def _is_bad(name: str, value: object) -> bool:
    if value is None:
        return name in ("tag", "asset_type")
    if not isinstance(value, str) or len(value) > LONGEST.get(name, 0):
        return True
    if name == "tag":
        return not value or value != value.strip() or len(value.splitlines()) > 1
    return name == "asset_type" and not value


def _check_conditions(item: Mapping[str, Any], before: Raw, plant3d_id: str) -> None:
    """What must still be so, judged on the asset as it was just read. Raises _Refused."""
    asset = wire.to_asset(before, plant3d_id or None)
    if asset.archived and not item.get("restore"):
        raise _Refused("conflict", "archived")
    version = item.get("if_version")
    if version == 0:
        raise _Refused("conflict", "exists")
    if version not in (None, asset.version):
        raise _Refused("conflict", "version_mismatch")
    fields = item.get("if_field_versions")
    if isinstance(fields, dict) and fields.get("description") not in (None, wire.description_version(before)):
        raise _Refused("conflict", "field_version_mismatch", "description")
