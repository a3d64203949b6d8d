"""SYNAPSE in memory: the rules of the integration contract without HTTP, and with lies on request.

Property tests of the engine and the demo run on it; one suite of tests holds it and the real client to the same
behaviour. It outlives a "crash" of the caller, as a server does. People edit through `user_*` methods; each test of
faults arms one lie: a value altered on the way in, an answer lost after the commit, results left out.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
import orjson

from plant3d_sync.connectors.base import (
    KEPT_HOURS,
    AssetWrite,
    Batch,
    Capabilities,
    ChangePage,
    Creation,
    CursorReset,
    WriteResult,
)
from plant3d_sync.connectors.synapse import wire
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.model.fields import attribute_field
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.record import Asset

Row = dict[str, object]
"""One asset as SYNAPSE sends it."""

MEMORY_PROJECT: Final = "00000000-0000-4000-8000-00000000a55e"
_LENGTHS: Final = {"tag": 100, "asset_type": 50, "asset_subtype": 100, "description": 4000}
_REQUIRED: Final = ("tag", "asset_type")
_ATTRIBUTES_BYTES: Final = 64 * 1024
_OURS: Final = frozenset(
    {"id", "project_id", "plant3d_id", "version", "seq", "created_at", "updated_at", "field_info"}
)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One batch that reached SYNAPSE, as a recorder would note it. `effective`: assets really changed."""

    key: str
    body: bytes
    effective: int
    statuses: Mapping[str, int]
    replayed: bool = False


class _Refused(Exception):
    """An item of which nothing is applied."""

    def __init__(
        self, status: str, code: str, name: str = "", message: str = "", row: Row | None = None
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.name = status, code, name
        self.message = message or code.replace("_", " ")
        self.row = row


class _Proposal(msgspec.Struct):
    """What an item would do alone, before tags are judged. `before` None: a new asset."""

    index: int
    before: Row | None
    after: Row
    linked: bool = False
    restored: bool = False
    archives: bool = False


class Lies(msgspec.Struct):
    """What goes wrong next. Numbers count down; a function answers None to leave a value alone."""

    alter: Callable[[str, str, object], object] | None = None
    """(plant3d_id, field, value) -> the value stored instead; attributes are called `attributes.<key>`."""
    lose_replies: int = 0
    """The next batches are committed, and their answers lost."""
    refuse_calls: int = 0
    """The next calls of any kind do not arrive."""
    drop_results: int = 0
    """How many results are left out at the end of the next answered batch."""
    deliver_twice: int = 0
    """The next batches arrive twice with the same key."""


class MemorySynapse:
    """A whole SYNAPSE project in memory (`SynapsePort`).

    `now`: SYNAPSE's clock. `page_size`: assets a page of changes. `on_send(body, key)` is called at the moment a
    batch arrives, before anything is applied: the place to check that its intent is stored.
    """

    def __init__(
        self,
        *,
        project_id: str = MEMORY_PROJECT,
        now: Callable[[], datetime] | None = None,
        page_size: int = 1000,
        max_batch_items: int = 1000,
        max_body_bytes: int = wire.DEFAULT_BODY_BYTES,
        by: str = "integration:plant3d-sync",
    ) -> None:
        self.project_id = project_id
        self.page_size = page_size
        self.idempotency_hours = KEPT_HOURS
        self.lies = Lies()
        self.deliveries: list[Delivery] = []
        self.reads = 0
        self.on_send: Callable[[bytes, str], None] | None = None
        self._now = now or (lambda: datetime.now(UTC))
        self._limits = (max_batch_items, max_body_bytes)
        self._by = by
        self._rows: dict[str, Row] = {}
        self._linked: dict[str, str] = {}
        self._seq = 0
        self._epoch = 1
        self._made = 0
        self._answers: dict[str, tuple[bytes, bytes]] = {}

    # ---------------------------------------------------------------- the port

    def capabilities(self) -> Capabilities:
        """Everything the contract has; no skew."""
        self._arrive()
        items, size = self._limits
        return Capabilities(
            contract="1.0",
            version="memory",
            max_batch_items=items,
            max_body_bytes=size,
            max_page=1000,
            idempotency_hours=self.idempotency_hours,
            writable_fields=("tag", "asset_type", "asset_subtype", "description", "attributes"),
            shared_fields=("description",),
            skew_seconds=0.0,
        )

    def changes(self, cursor: str | None, *, totals: bool = False) -> Iterator[ChangePage]:
        """Pages of the state as it is when each is asked for, by ascending `seq`."""
        while True:
            self._arrive()
            self.reads += 1
            page = self._page(self._position(cursor), totals)
            yield page
            if not page.has_more:
                return
            cursor = page.next_cursor

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> Batch:
        """The batch as the client of SYNAPSE makes it."""
        return wire.encode_batch(writes, max_body_bytes=self._limits[1])

    def send(self, batch: Batch, *, key: str) -> list[WriteResult]:
        """Apply one batch, or answer again what was answered to this key; every answer is whole."""
        self._arrive(writes=True)
        body = batch.body
        if self.on_send is not None:
            self.on_send(body, key)
        answer = self._deliver(body, key)
        if self.lies.deliver_twice:
            self.lies.deliver_twice -= 1
            answer = self._deliver(body, key)
        if self.lies.lose_replies:
            self.lies.lose_replies -= 1
            raise RetryLaterError(
                "SYNAPSE (memory): the answer was lost. Whether the batch was applied is not known.",
                code="synapse_unknown_outcome",
                hint="The next run asks SYNAPSE what became of it.",
                details={"may_have_been_applied": True, "attempts": 1},
            )
        entries: list[object] = orjson.loads(answer)["results"]
        if self.lies.drop_results:
            entries = entries[: max(0, len(entries) - self.lies.drop_results)]
            self.lies.drop_results = 0
        results, _ = wire.read_results({"results": entries}, batch.ids, self.project_id)
        for result in results:
            result.replayed = self.deliveries[-1].replayed
        return results

    def get(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        self._arrive()
        self.reads += 1
        row = self._rows.get(asset_id)
        return None if row is None else wire.read_asset(row, self.project_id)

    def limits(self) -> list[Limit]:
        """None: it has the whole contract."""
        return []

    def close(self) -> None:
        """Nothing to give back; the content stays."""

    # ---------------------------------------------------------------- people and operators

    def user_create(
        self, tag: str, asset_type: str = "Equipment", *, by: str = "user:dev", **members: object
    ) -> str:
        """A person adds an asset that is not linked. Returns its id."""
        row = self._new_row(None, self._stamp(), by)
        row.update({"tag": tag, "asset_type": asset_type, **members})
        self._check_free(row)
        self._commit(None, row, self._stamp(), by)
        return str(row["id"])

    def user_edit(
        self, asset_id: str, *, by: str = "user:dev", at: datetime | None = None, **members: object
    ) -> Asset:
        """A person changes members by their names on the wire; `attributes` is merged, null removes a key.

        `at` dates the edit (for clocks that are wrong). Raises KeyError for an unknown asset or member.
        """
        before = self._rows[asset_id]
        after = copy.deepcopy(before)
        for name, value in members.items():
            if name in _OURS or name not in after:
                raise KeyError(name)
            after[name] = _merged(after[name], value) if name == "attributes" else value
        self._check_free(after)
        self._commit(before, after, _rfc3339(at) if at else self._stamp(), by)
        return wire.read_asset(self._rows[asset_id], self.project_id)

    def user_archive(self, asset_id: str, *, by: str = "user:dev") -> None:
        """A person archives an asset."""
        self.user_edit(asset_id, by=by, deleted_at=self._stamp())

    def user_restore(self, asset_id: str, *, by: str = "user:dev") -> None:
        """A person brings an archived asset back. Raises ValueError when its tag is taken."""
        self.user_edit(asset_id, by=by, deleted_at=None)

    def purge(self, asset_id: str) -> None:
        """An operator removes a row physically, without telling anybody (the contract wants a new epoch)."""
        del self._rows[asset_id]

    def clear(self) -> None:
        """An administrator removes all data of the project, and the epoch changes."""
        self._rows.clear()
        self.new_epoch()

    def new_epoch(self) -> None:
        """The history was broken (restored backup): every cursor given out before is void."""
        self._epoch += 1

    def forget_answers(self) -> None:
        """The time for which answers are kept is over."""
        self._answers.clear()

    def assets(self) -> list[Asset]:
        """All assets, live and archived, by `seq`. Not counted as a read."""
        return [wire.read_asset(row, self.project_id) for row in self._by_seq()]

    def rows(self) -> list[Row]:
        """All assets with all their members, by `seq`: copies."""
        return [copy.deepcopy(row) for row in self._by_seq()]

    def find(self, *, tag: str | None = None, plant3d_id: str | None = None) -> Asset | None:
        """The live asset with this tag, or the asset with this Plant 3D id."""
        for row in self._rows.values():
            if (plant3d_id is not None and row["plant3d_id"] == plant3d_id) or (
                tag is not None and row["tag"] == tag and row["deleted_at"] is None
            ):
                return wire.read_asset(row, self.project_id)
        return None

    @property
    def effective_writes(self) -> int:
        """Assets really changed by batches so far."""
        return sum(delivery.effective for delivery in self.deliveries)

    # ---------------------------------------------------------------- reading

    def _arrive(self, *, writes: bool = False) -> None:
        if not self.lies.refuse_calls:
            return
        self.lies.refuse_calls -= 1
        raise RetryLaterError(
            "SYNAPSE (memory): no connection. "
            + ("Nothing of the batch was applied." if writes else "Nothing was read."),
            code="synapse_unavailable",
            hint="The next run continues by itself.",
            details={"may_have_been_applied": False} if writes else None,
        )

    def _position(self, cursor: str | None) -> int:
        if cursor is None:
            return 0
        epoch, _, seq = cursor.partition(".")
        if epoch != f"e{self._epoch}" or not seq.isdigit():
            raise CursorReset("cursor_reset")
        return int(seq)

    def _by_seq(self) -> list[Row]:
        return sorted(self._rows.values(), key=_seq_of)

    def _page(self, after: int, totals: bool) -> ChangePage:
        later = [row for row in self._by_seq() if _seq_of(row) > after]
        shown = [wire.read_asset(row, self.project_id) for row in later[: self.page_size]]
        counted = None
        if totals:
            archived = sum(row["deleted_at"] is not None for row in self._rows.values())
            counted = {
                "live": len(self._rows) - archived,
                "archived": archived,
                "linked": sum(row["plant3d_id"] is not None for row in self._rows.values()),
            }
        return ChangePage(
            assets=shown,
            next_cursor=f"e{self._epoch}.{shown[-1].seq if shown else after}",
            has_more=len(later) > len(shown),
            totals=counted,
        )

    # ---------------------------------------------------------------- writing

    def _deliver(self, body: bytes, key: str) -> bytes:
        stored = self._answers.get(key)
        if stored is not None:
            if stored[0] != body:
                raise ConfigError(
                    "SYNAPSE (memory) refused the request (422): idempotency_key_reused. "
                    "Nothing of the batch was applied.",
                    code="synapse_refused",
                    hint="Repeating will not help.",
                    details={"type": "idempotency_key_reused", "status": 422, "may_have_been_applied": False},
                )
            self.deliveries.append(Delivery(key=key, body=body, effective=0, statuses={}, replayed=True))
            return stored[1]
        seq = self._seq
        results = self._apply(orjson.loads(body)["items"])
        answer = orjson.dumps({"results": results})
        self._answers[key] = (body, answer)
        self.deliveries.append(
            Delivery(
                key=key,
                body=body,
                effective=self._seq - seq,
                statuses=Counter(str(result["status"]) for result in results),
            )
        )
        return answer

    def _apply(self, items: Sequence[Row]) -> list[Row]:
        results: list[Row] = [
            {"index": index, "plant3d_id": item["plant3d_id"]} for index, item in enumerate(items)
        ]
        occurs = Counter(str(item["plant3d_id"]) for item in items)
        proposals: list[_Proposal] = []
        for index, item in enumerate(items):
            try:
                if occurs[str(item["plant3d_id"])] > 1:
                    raise _Refused("error", "duplicate_in_batch", "plant3d_id")
                proposals.append(self._propose(index, item))
            except _Refused as refusal:
                results[index].update(_refusal(refusal))
        for index, holder in self._taken(proposals).items():
            results[index].update(_refusal(_Refused("error", "tag_taken", "tag", "the tag is taken")))
            results[index]["other"] = (
                None if holder is None else {name: holder[name] for name in ("id", "plant3d_id", "tag")}
            )
        for proposal in proposals:
            if "status" not in results[proposal.index]:
                results[proposal.index].update(self._settle(proposal))
        return results

    def _propose(self, index: int, item: Row) -> _Proposal:
        plant3d_id = str(item["plant3d_id"])
        before = self._rows.get(self._linked.get(plant3d_id, ""))
        if item["op"] == "archive":
            return self._propose_archive(index, item, before)
        wanted = item["set"]
        if not isinstance(wanted, dict):
            raise _Refused("error", "invalid_value", "set")
        _check(wanted)
        linked = False
        if before is None and item.get("link_by_tag") and "tag" in wanted:
            holder = self._holder(wanted["tag"])
            if holder is not None and holder["plant3d_id"] is None:
                before, linked = holder, True
        if before is None:
            after = self._create(item, wanted)
        else:
            _check_conditions(item, before)
            after = {**copy.deepcopy(before), "plant3d_id": plant3d_id, "deleted_at": None}
            self._merge(after, wanted)
        restored = before is not None and before["deleted_at"] is not None
        return _Proposal(index=index, before=before, after=after, linked=linked, restored=restored)

    def _propose_archive(self, index: int, item: Row, before: Row | None) -> _Proposal:
        if before is None:
            raise _Refused("error", "not_found", "plant3d_id")
        after = copy.deepcopy(before)
        if before["deleted_at"] is None:
            if item.get("if_version") not in (None, before["version"]):
                raise _Refused("conflict", "version_mismatch", row=before)
            after["deleted_at"] = self._stamp()
        return _Proposal(index=index, before=before, after=after, archives=True)

    def _create(self, item: Row, wanted: Row) -> Row:
        for condition in ("if_version", "if_field_versions"):
            if item.get(condition):
                raise _Refused("error", "not_found", condition)
        for name in _REQUIRED:
            if name not in wanted:
                raise _Refused("error", "missing_field", name)
        row = self._new_row(str(item["plant3d_id"]), self._stamp(), self._by)
        self._merge(row, wanted)
        return row

    def _merge(self, row: Row, wanted: Row) -> None:
        """Lay a checked `set` over a row, through the lie about values if there is one."""
        plant3d_id = str(row["plant3d_id"])
        for name, value in wanted.items():
            if isinstance(value, dict):
                patch = {
                    key: self._altered(plant3d_id, attribute_field(key), part) for key, part in value.items()
                }
                row[name] = _merged(row[name], patch)
                if len(orjson.dumps(row[name])) > _ATTRIBUTES_BYTES:
                    raise _Refused("error", "attributes_too_large", "attributes")
            else:
                row[name] = self._altered(plant3d_id, name, value)

    def _altered(self, plant3d_id: str, name: str, value: object) -> object:
        if self.lies.alter is None or value is None:
            return value
        altered = self.lies.alter(plant3d_id, name, value)
        return value if altered is None else altered

    def _taken(self, proposals: Sequence[_Proposal]) -> dict[int, Row | None]:
        """Items that cannot have their tag -> who keeps it (None: other items of the batch want it too).

        Judged on the state after the whole batch, again and again until nothing changes: a refused item falls
        back to the tag it had, which may make that one too many as well.
        """
        refused: dict[int, Row | None] = {}
        targets = Counter(str(proposal.after["id"]) for proposal in proposals)
        for proposal in proposals:
            if targets[str(proposal.after["id"])] > 1:
                refused[proposal.index] = None
        while True:
            holders: dict[str, list[tuple[Row, _Proposal | None]]] = {}
            applied = {str(p.after["id"]): p for p in proposals if p.index not in refused}
            for asset_id, row in self._rows.items():
                if asset_id not in applied and row["deleted_at"] is None:
                    holders.setdefault(str(row["tag"]), []).append((row, None))
            for proposal in applied.values():
                if proposal.after["deleted_at"] is None:
                    holders.setdefault(str(proposal.after["tag"]), []).append((proposal.after, proposal))
            fresh: dict[int, Row | None] = {}
            for held in holders.values():
                if len(held) > 1:
                    keeper = next((row for row, proposal in held if not _takes(proposal)), None)
                    fresh.update({p.index: keeper for _, p in held if p is not None and _takes(p)})
            if not fresh:
                return refused
            refused.update(fresh)

    def _settle(self, proposal: _Proposal) -> Row:
        before, after = proposal.before, proposal.after
        if before is None:
            status = "created"
        elif before == after:
            status = "unchanged"
        else:
            status = "archived" if proposal.archives else "updated"
        if status != "unchanged":
            self._commit(before, after, self._stamp(), self._by)
        row = self._rows[str(after["id"])]
        settled: Row = {
            "status": status,
            "id": row["id"],
            "version": row["version"],
            "seq": row["seq"],
            "asset": copy.deepcopy(row),
        }
        if proposal.linked:
            settled["linked"] = True
        if proposal.restored:
            settled["restored"] = True
        return settled

    def _commit(self, before: Row | None, after: Row, stamp: str, by: str) -> None:
        """Store a row with the next version and `seq`, if anything effective changed."""
        if before is not None and before == after:
            return
        self._seq += 1
        version = 1 if before is None else _number(before["version"]) + 1
        if before is None or before["description"] != after["description"]:
            after["field_info"] = {"description": {"version": version, "updated_at": stamp, "by": by}}
        after.update({"version": version, "seq": self._seq, "updated_at": stamp})
        self._rows[str(after["id"])] = after
        if after["plant3d_id"] is not None:
            self._linked[str(after["plant3d_id"])] = str(after["id"])

    def _holder(self, tag: object) -> Row | None:
        for row in self._rows.values():
            if row["tag"] == tag and row["deleted_at"] is None:
                return row
        return None

    def _check_free(self, row: Row) -> None:
        holder = self._holder(row["tag"])
        if row["deleted_at"] is None and holder is not None and holder["id"] != row["id"]:
            raise ValueError("the tag is taken")

    def _new_row(self, plant3d_id: str | None, stamp: str, by: str) -> Row:
        self._made += 1
        return {
            "id": str(UUID(int=self._made << 80, version=4)),
            "project_id": self.project_id,
            "plant3d_id": plant3d_id,
            "version": 1,
            "seq": 1,
            "tag": "",
            "asset_type": "",
            "asset_subtype": None,
            "description": None,
            "attributes": {},
            "discipline_code": None,
            "parent_asset_id": None,
            "status": "Design",
            "fbs_code": None,
            "lbs_code": None,
            "wbs_code": None,
            "priority": None,
            "tags": [],
            "m_files_links": [],
            "workflow_status": None,
            "notes": None,
            "created_at": stamp,
            "updated_at": stamp,
            "deleted_at": None,
            "field_info": {"description": {"version": 1, "updated_at": stamp, "by": by}},
        }

    def _stamp(self) -> str:
        return _rfc3339(self._now())


def _takes(proposal: _Proposal | None) -> bool:
    """Whether an item newly takes its tag; one that keeps its tag never fails because of it."""
    if proposal is None:
        return False
    before = proposal.before
    return before is None or before["deleted_at"] is not None or before["tag"] != proposal.after["tag"]


def _refusal(refusal: _Refused) -> Row:
    entry: Row = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
    if refusal.name:
        entry["field"] = refusal.name
    if refusal.row is not None:
        entry["current"] = copy.deepcopy(refusal.row)
    return entry


def _check(wanted: Row) -> None:
    """The values SYNAPSE takes, as the contract bounds them."""
    for name, value in wanted.items():
        if name == "attributes":
            texts = (
                [part for part in value.values() if isinstance(part, str)] if isinstance(value, dict) else []
            )
            bad = not isinstance(value, dict)
        else:
            texts = [value] if isinstance(value, str) else []
            bad = _bad_text(name, value)
        if bad or any("\x00" in text for text in texts):
            raise _Refused("error", "invalid_value", name)


def _bad_text(name: str, value: object) -> bool:
    if value is None:
        return name in _REQUIRED
    if not isinstance(value, str) or len(value) > _LENGTHS[name]:
        return True
    if name == "tag":
        return not value or value != value.strip() or len(value.splitlines()) > 1
    return name == "asset_type" and not value


def _check_conditions(item: Row, before: Row) -> None:
    if before["deleted_at"] is not None and not item.get("restore"):
        raise _Refused("conflict", "archived", row=before)
    version = item.get("if_version")
    if version == 0:
        raise _Refused("conflict", "exists", row=before)
    if version not in (None, before["version"]):
        raise _Refused("conflict", "version_mismatch", row=before)
    fields, info = item.get("if_field_versions"), before["field_info"]
    if not isinstance(fields, dict) or not isinstance(info, dict):
        return
    if _number(info["description"]["version"]) > _number(fields["description"]):
        raise _Refused("conflict", "field_version_mismatch", "description", row=before)


def _merged(stored: object, patch: object) -> object:
    """RFC 7396: keys not named stay, null removes, objects merge."""
    if not isinstance(patch, dict):
        return patch
    result = dict(stored) if isinstance(stored, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _number(value: object) -> int:
    if isinstance(value, int):
        return value
    raise TypeError("not a whole number")


def _seq_of(row: Row) -> int:
    return _number(row["seq"])


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
