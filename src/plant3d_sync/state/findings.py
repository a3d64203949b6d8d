"""Findings and work items: what people have to know."""

from __future__ import annotations

import fnmatch
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict, cast

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.record import Finding
from plant3d_sync.state import acknowledgements
from plant3d_sync.state.acknowledgements import Said
from plant3d_sync.state.projects import name_of as project_name
from plant3d_sync.state.tables import finding, work_item

_COUNTS_ON = frozenset({"missing"})
"""Codes whose sentence says something else in every run (how often an item was not seen): still the same finding."""


def _key(item: Finding) -> str:
    parts = [
        item.code,
        str(item.pnpid),
        item.column or "",
        "" if item.code in _COUNTS_ON else item.message,
        orjson.dumps(dict(item.data)).decode(),
    ]
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_OPEN = sa.select(finding.c.key, finding.c.id, finding.c.data).where(
    finding.c.project == sa.bindparam("whose"), finding.c.closed_at.is_(None)
)


def replace_findings(connection: Connection, number: int, found: Sequence[Finding], at: float) -> None:
    """Make the open findings exactly these: new ones are added, known ones stay, gone ones are closed.

    What people said of one that is gone ends.
    """
    rows = connection.execute(_OPEN, {"whose": number})
    known = {row.key: (row.id, row.data) for row in rows}
    fresh: dict[str, dict[str, Any]] = {}
    moved: list[dict[str, Any]] = []
    seen: set[str] = set()
    for item in found:
        key = _key(item)
        if key in seen:
            continue
        seen.add(key)
        text = orjson.dumps(finding_dict(item)).decode()
        if key not in known:
            fresh[key] = {
                "project": number,
                "key": key,
                "code": item.code,
                "pnpid": item.pnpid,
                "first_seen": at,
                "data": text,
            }
        elif known[key][1] != text:  # drawn elsewhere, say: the same finding, shown as it is now
            moved.append({"whose": known[key][0], "text": text})
    if fresh:
        connection.execute(sa.insert(finding), list(fresh.values()))
    if moved:
        change = sa.update(finding).where(finding.c.id == sa.bindparam("whose"))
        connection.execute(change.values(data=sa.bindparam("text")), moved)
    gone = [row_id for key, (row_id, _data) in known.items() if key not in seen]
    for start in range(0, len(gone), 500):
        connection.execute(
            sa.update(finding).where(finding.c.id.in_(gone[start : start + 500])).values(closed_at=at)
        )
    _end_words(connection, number, seen, at)


def _end_words(connection: Connection, number: int, seen: Collection[str], at: float) -> None:
    name = project_name(connection, number)
    if name is None:
        return
    words = acknowledgements.standing(connection, name, acknowledgements.FINDING)
    gone = [said.number for key, said in words.items() if key not in seen]
    acknowledgements.end(connection, gone, acknowledgements.GONE, at=at)
    over = [said.number for said in words.values() if said.until is not None and said.until <= at]
    acknowledgements.end(connection, over, acknowledgements.OVER, at=at)


def finding_dict(item: Finding) -> dict[str, object]:
    """A finding as JSON. Values from drawings are kept readable even when they are not valid text."""
    return {
        "code": item.code,
        "pnpid": item.pnpid,
        "class": item.class_name,
        "column": item.column,
        "tag": _clean(item.tag),
        "drawing": item.drawing,
        "message": _clean(item.message),
        "hint": item.hint,
        "data": dict(item.data),
    }


def _clean(text: str | None) -> str | None:
    return text.encode("utf-8", "replace").decode() if text else text


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings are looked for. Texts but the code may hold `*` and `?`; times are POSIX seconds.

    `status`: `open` (nobody acknowledged them), `acknowledged` or `all`. `ids`: only these, None for all.
    """

    code: str | None = None
    tag: str | None = None
    class_name: str | None = None
    column: str | None = None
    drawing: str | None = None
    since: float | None = None
    status: str = "open"
    ids: frozenset[int] | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the status is asked for."""
        texts = (self.code, self.tag, self.class_name, self.column, self.drawing, self.since)
        return self.ids is not None or any(one is not None for one in texts)


STATUSES = ("open", "acknowledged", "all")


def open_findings(
    connection: Connection,
    number: int,
    wanted: Wanted | None = None,
    *,
    now: float,
    limit: int = 100,
    offset: int = 0,
) -> tuple[list[Found], int]:
    """Findings that are still so, in a stable order, and how many there are. `acknowledged`: who said so of one."""
    asked = wanted or Wanted()
    if not asked.is_narrow and asked.status == "open" and not _any_words(connection, number):
        where = [finding.c.project == number, finding.c.closed_at.is_(None)]
        count = connection.execute(sa.select(sa.func.count()).select_from(finding).where(*where)).scalar()
        page = sa.select(finding).where(*where).order_by(finding.c.code, finding.c.id)
        rows = connection.execute(page.limit(limit).offset(offset))
        return [_facts(row, orjson.loads(row.data), None) for row in rows], int(count or 0)
    found: list[Found] = []
    total = 0
    for facts in matching(connection, number, asked, now=now):
        if offset <= total < offset + limit:
            found.append(facts)
        total += 1
    return found, total


Found = TypedDict(
    "Found",
    {
        "id": int,
        "key": str,
        "code": str,
        "message": str,
        "hint": str,
        "pnpid": int | None,
        "class": str | None,
        "column": str | None,
        "tag": str | None,
        "drawing": str | None,
        "first_seen": float,
        "acknowledged": Said | None,
    },
)
"""A finding that is still so; `first_seen`: POSIX seconds."""


def matching(connection: Connection, number: int, wanted: Wanted, *, now: float) -> Iterator[Found]:
    """Findings that are still so, by code, then age. Every open one with the code is looked at."""
    where = [finding.c.project == number, finding.c.closed_at.is_(None)]
    if wanted.code is not None:
        where.append(finding.c.code == wanted.code)
    if wanted.since is not None:
        where.append(finding.c.first_seen >= wanted.since)
    name = project_name(connection, number)
    words = acknowledgements.standing(connection, name, acknowledgements.FINDING) if name else {}
    texts = {
        "tag": wanted.tag,
        "class": wanted.class_name,
        "column": wanted.column,
        "drawing": wanted.drawing,
    }
    statement = sa.select(finding).where(*where).order_by(finding.c.code, finding.c.id)
    for row in connection.execute(statement.execution_options(yield_per=1000)):
        said = words.get(row.key)
        if said is not None and said.until is not None and said.until <= now:
            said = None
        if wanted.status != "all" and (said is not None) != (wanted.status == "acknowledged"):
            continue
        if wanted.ids is not None and row.id not in wanted.ids:
            continue
        facts = orjson.loads(row.data)
        if all(one is None or fits(facts.get(part), one) for part, one in texts.items()):
            yield _facts(row, facts, said)


def _facts(row: Row[Any], facts: Mapping[str, Any], said: Said | None) -> Found:
    whole = {
        "drawing": None,
        **facts,
        "id": row.id,
        "key": row.key,
        "first_seen": row.first_seen,
        "acknowledged": said,
    }
    return cast(Found, whole)


def _any_words(connection: Connection, number: int) -> bool:
    name = project_name(connection, number)
    return name is not None and bool(acknowledgements.standing(connection, name, acknowledgements.FINDING))


def count_acknowledged(connection: Connection, number: int, *, now: float) -> int:
    """How many findings that are still so somebody acknowledged."""
    name = project_name(connection, number)
    words = acknowledgements.standing(connection, name, acknowledgements.FINDING) if name else {}
    return sum(said.until is None or said.until > now for said in words.values())


def groups(connection: Connection, number: int, wanted: Wanted, *, now: float) -> list[Group]:
    """The same findings by cause (code and column), drawing and class, the largest group first, with one hint each."""
    found: dict[tuple[str, str, str, str], list[Found]] = {}
    for one in matching(connection, number, wanted, now=now):
        key = (one["code"], one["column"] or "", one["drawing"] or "", one["class"] or "")
        found.setdefault(key, []).append(one)
    made = [_group(members) for members in found.values()]
    return sorted(
        made, key=lambda one: (-one["count"], one["code"], one["drawing"] or "", one["class"] or "")
    )


Group = TypedDict(
    "Group",
    {
        "code": str,
        "column": str | None,
        "drawing": str | None,
        "class": str | None,
        "count": int,
        "items": list[str],
        "message": str | None,
        "example": str,
        "hint": str,
        "first_seen": float,
    },
)
"""Findings of one cause, drawing and class."""

SHOWN_IN_GROUP = 5
"""Items that a group names; the rest is counted."""


def _group(members: Sequence[Found]) -> Group:
    first = members[0]
    hints = Counter(one["hint"] for one in members if one["hint"])
    messages = {one["message"] for one in members}
    named = [one["tag"] or (f"PnPID {one['pnpid']}" if one["pnpid"] else None) for one in members]
    return {
        "code": first["code"],
        "column": first["column"],
        "drawing": first["drawing"],
        "class": first["class"],
        "count": len(members),
        "items": [name for name in dict.fromkeys(named) if name][:SHOWN_IN_GROUP],
        "message": first["message"] if len(messages) == 1 else None,
        "example": first["message"],
        "hint": hints.most_common(1)[0][0] if hints else "",
        "first_seen": min(one["first_seen"] for one in members),
    }


def fits(value: object, pattern: str) -> bool:
    """Whether a text is what somebody looks for; the pattern may hold `*` and `?`."""
    return isinstance(value, str) and fnmatch.fnmatchcase(value, pattern)


_OPEN_BY_CODE = (
    sa.select(finding.c.code, sa.func.count())
    .where(finding.c.project == sa.bindparam("whose"), finding.c.closed_at.is_(None))
    .group_by(finding.c.code)
    .order_by(finding.c.code)
)


def counts_by_code(connection: Connection, number: int) -> dict[str, int]:
    """Open findings per code."""
    rows = connection.execute(_OPEN_BY_CODE, {"whose": number})
    return {row[0]: row[1] for row in rows}


_WORK = sa.select(work_item).where(work_item.c.project == sa.bindparam("whose"))
_NO_WORK = sa.delete(work_item).where(work_item.c.project == sa.bindparam("whose"))


def replace_work_items(
    connection: Connection, number: int, items: Sequence[Mapping[str, Any]], at: float
) -> None:
    """Make the list of work for designers exactly this."""
    known = {(row.pnpid, row.field): row.first_seen for row in connection.execute(_WORK, {"whose": number})}
    connection.execute(_NO_WORK, {"whose": number})
    rows = {
        (item["pnpid"], item["field"]): {
            "project": number,
            "pnpid": item["pnpid"],
            "field": item["field"],
            "data": orjson.dumps(dict(item)).decode(),
            "first_seen": known.get((item["pnpid"], item["field"]), at),
        }
        for item in items
    }
    if rows:
        connection.execute(sa.insert(work_item), list(rows.values()))


def work_items(connection: Connection, number: int) -> list[dict[str, Any]]:
    """What designers have to change in drawings."""
    rows = connection.execute(
        sa.select(work_item)
        .where(work_item.c.project == number)
        .order_by(work_item.c.pnpid, work_item.c.field)
    )
    return [{**orjson.loads(row.data), "first_seen": row.first_seen} for row in rows]
