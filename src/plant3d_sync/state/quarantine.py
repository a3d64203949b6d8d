"""Rows that were refused: kept with both values, how often they were tried, and when they are tried again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.link import InSynapse, LinkState
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.refused import OF_IDENTITY, Ignored, Key, Refused, digest_of, key_of
from plant3d_sync.state import acknowledgements, links
from plant3d_sync.state.acknowledgements import Said, Word
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.tables import change, link, quarantine
from plant3d_sync.state.tables import project as project_table

Kept = Row[Any]
"""One stored row."""

FIRST_RETRY_SECONDS = 300.0
LONGEST_RETRY_SECONDS = 3600.0
"""What the other side refused is offered again in the next run, then after these seconds, doubled each time up to the
longest; at once when the value moves."""

LOOK_AGAIN_SECONDS = 86_400.0
"""What we refuse is found out by every comparison: when an input moves, and at least once a day."""


_OF_PROJECT = sa.select(quarantine).where(quarantine.c.project == sa.bindparam("whose"))
_IN_ORDER = _OF_PROJECT.order_by(quarantine.c.id)
_PUSHES = _OF_PROJECT.where(quarantine.c.side == "plant3d")


def retry_after(tries: int) -> float:
    """Seconds until a refused row is offered again, after this many refusals in a row: 0, 300, 600, … 3600."""
    if tries <= 1:
        return 0.0
    return float(min(FIRST_RETRY_SECONDS * 2 ** min(tries - 2, 10), LONGEST_RETRY_SECONDS))


def word_of(key: Key) -> str:
    """The key under which a word of a person about this row is kept."""
    return hashlib.blake2b(orjson.dumps(list(key)), digest_size=16).hexdigest()


def read(connection: Connection, number: int, project: str) -> dict[int, list[Refused]]:
    """Everything that is refused, by item. A person's word counts only for what it was said of."""
    rows = connection.execute(_IN_ORDER, {"whose": number}).fetchall()
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE) if rows else {}
    found: dict[int, list[Refused]] = {}
    for row in rows:
        found.setdefault(row.pnpid, []).append(_refused(row, words))
    return found


def _refused(row: Row[Any], words: Mapping[str, Said]) -> Refused:
    data = load_map(row.data)
    key = Key(row.pnpid, row.field, row.code)
    said = word_for(row, words)
    return Refused(
        number=row.id,
        key=key,
        into=row.side,
        digest=row.digest,
        offered=bool(data.get("offered")),
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        entity=row.entity or "",
        ignored=None if said is None else Ignored(by=said.by, at=said.at, reason=said.reason),
        error=RowError(
            code=row.code,
            message=str(data.get("message") or ""),
            hint=str(data.get("hint") or ""),
            plant3d_id=data.get("plant3d_id"),
            pnpid=row.pnpid,
            class_name=data.get("class"),
            tag=data.get("tag"),
            field=row.field or None,
            plant3d=data.get("plant3d", UNSET),
            synapse=data.get("synapse", UNSET),
            into=row.side,
            offer=bytes.fromhex(row.digest) if data.get("offered") else b"",
        ),
    )


def word_for(row: Row[Any], words: Mapping[str, Said]) -> Said | None:
    """The word by which a person left the row alone, if it was said of what the row is about now."""
    said = words.get(word_of(Key(row.pnpid, row.field, row.code)))
    return said if said is not None and said.digest == row.digest else None


LeftOut = Callable[[str, str, str], bool]
"""Whether the mapping leaves out what a row is about for now: its class, its side, its field."""


def nothing_left_out(_class_name: str, _side: str, _field: str) -> bool:
    """The mapping is whole."""
    return False


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What a run met until this moment (POSIX seconds), and how far it looked.

    `entity_of`, `drawing_of`: of the items, by PnPID. `settled`: the sides of which this run found out everything; what it
    did not meet there is over, but for items that it did not compare (`aside`, by identity) and rows that it met again and
    a person left alone (`left_alone`, by id), and what the mapping leaves out. `run_id`: what this run wrote is settled, whether or not it compared the item.
    """

    at: float
    errors: Iterable[RowError]
    entity_of: Mapping[int, str]
    drawing_of: Mapping[int, str]
    settled: Collection[str] = ()
    aside: Collection[str] = ()
    left_alone: Collection[int] = ()
    run_id: str | None = None
    is_left_out: LeftOut = nothing_left_out


def keep(connection: Connection, number: int, project: str, run: Looked) -> None:
    """Make the rows agree with what a run met: tried once more, held back, new, or settled.

    An item that it met under another number is not refused under the old one any more; nor is one that is gone from
    Plant 3D, or whose asset is archived: between those two nothing is written.
    Whose identity is refused for another reason than before is not refused for that one any more.
    """
    known = {
        Key(row.pnpid, row.field, row.code): row for row in connection.execute(_OF_PROJECT, {"whose": number})
    }
    met: set[Key] = set()
    numbers: dict[str | None, set[int]] = {}
    for error in run.errors:
        key = key_of(error)
        if key is not None:
            numbers.setdefault(error.plant3d_id, set()).add(key.pnpid)
        if key is None or key in met:
            continue
        met.add(key)
        before = known.get(key)
        if before is not None and error.held:
            continue
        _put(connection, number, key, error, before, run)
    left = [
        row
        for key, row in known.items()
        if key not in met and row.id not in run.left_alone and row.side in run.settled
    ]
    mistaken = {key.pnpid for key in met if key.code in OF_IDENTITY}
    over = [
        row
        for row in left
        if (identity := str(load_map(row.data).get("plant3d_id"))) not in run.aside
        or row.pnpid not in numbers.get(identity, {row.pnpid})
        or (row.code in OF_IDENTITY and row.pnpid in mistaken)
        or not _lives_on_both(connection, number, identity)
        or _is_written(connection, row, run.run_id)
    ]
    _remove(connection, project, _awake(connection, number, project, over, run.is_left_out, numbers), run.at)


_PAIR: sa.Select[Any] = sa.select(link.c.state, link.c.gone_in_synapse, link.c.pending, link.c.pnpid).where(
    link.c.project == sa.bindparam("whose"),
    link.c.guid_key == sa.bindparam("key"),
    link.c.plant3d_id == sa.bindparam("identity"),
)


def _lives_on_both(connection: Connection, number: int, identity: str) -> bool:
    """Whether an item is in Plant 3D and its asset in SYNAPSE, as this run saw them; True without a link."""
    pair = _pair_of(connection, number, identity)
    return pair is None or _lives(pair.state, pair.gone_in_synapse)


def _pair_of(connection: Connection, number: int, identity: str) -> Row[Any] | None:
    return connection.execute(
        _PAIR, {"whose": number, "key": links.key_of(identity), "identity": identity}
    ).first()


def _lives(state: str, in_synapse: int) -> bool:
    return state == LinkState.ACTIVE and in_synapse == InSynapse.LIVE


def _is_written(connection: Connection, row: Kept, run_id: str | None) -> bool:
    """Whether a run wrote what was refused before."""
    found = connection.execute(
        sa.select(change.c.id)
        .where(change.c.run_id == run_id, change.c.pnpid == row.pnpid, change.c.side == row.side)
        .limit(1)
    )
    return run_id is not None and found.first() is not None


def forget_pushes(
    connection: Connection,
    number: int,
    project: str,
    *,
    at: float,
    is_left_out: LeftOut = nothing_left_out,
) -> None:
    """Cells that nobody wants to write any more: their link has nothing open there, or does not live on both sides any
    more. For runs that write none.
    """
    rows = connection.execute(_PUSHES, {"whose": number}).fetchall()
    over = []
    for row in rows:
        pairs = connection.execute(
            sa.select(link.c.state, link.c.gone_in_synapse, link.c.pending).where(
                link.c.project == number, link.c.pnpid == row.pnpid
            )
        )
        if not any(_lives(state, held) and row.field in load_map(text) for state, held, text in pairs):
            over.append(row)
    _remove(connection, project, _awake(connection, number, project, over, is_left_out), at)


_NOWHERE: Final[Mapping[str | None, Collection[int]]] = {}
_RESTS: Final = frozenset((LinkState.ACTIVE, LinkState.OUT, LinkState.MISSING, LinkState.PENDING))
"""States of a pair that may live again as it was: its class comes back, its item, or its asset."""


def _awake(
    connection: Connection,
    number: int,
    project: str,
    rows: Sequence[Kept],
    is_left_out: LeftOut,
    met_as: Mapping[str | None, Collection[int]] = _NOWHERE,
) -> list[Kept]:
    """Those of these rows that are over. One that a person left alone rests while its pair, or its field, is not compared:
    what it was said of did not move. `met_as`: numbers under which this run met an identity.
    """
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE) if rows else {}
    over = []
    for row in rows:
        data = load_map(row.data)
        identity = str(data.get("plant3d_id"))
        pair = _pair_of(connection, number, identity) if word_for(row, words) is not None else None
        if (
            pair is None
            or pair.state not in _RESTS
            or (
                _lives(pair.state, pair.gone_in_synapse)
                and not is_left_out(str(data.get("class")), row.side, row.field)
                and not (pair.pnpid == row.pnpid and row.pnpid not in met_as.get(identity, {row.pnpid}))
            )
        ):
            over.append(row)
    return over


def follow(connection: Connection, number: int, project: str, rows: Mapping[int, int], *, at: float) -> None:
    """Items stand in other rows now (old PnPID -> new one), as a person said: their identities are not refused any more,
    and what he left alone of them is left alone there too.
    """
    known = rows_of(connection, number)
    accepted = {row.id: row for row in known if row.pnpid in rows.values() and row.code in OF_IDENTITY}
    _remove(connection, project, list(accepted.values()), at)
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE)
    taken = {Key(row.pnpid, row.field, row.code) for row in known if row.id not in accepted}
    for row in known:
        said = word_for(row, words)
        there = Key(rows.get(row.pnpid, row.pnpid), row.field, row.code)
        if said is None or there in taken:
            continue
        connection.execute(sa.update(quarantine).where(quarantine.c.id == row.id).values(pnpid=there.pnpid))
        acknowledgements.end(connection, [said.number], acknowledgements.REPLACED, at=at)
        word = Word(reason=said.reason, by=said.by, at=said.at, until=said.until)
        acknowledgements.say(
            connection, project, acknowledgements.QUARANTINE, {word_of(there): said.digest}, word
        )


def _remove(connection: Connection, project: str, rows: Collection[Row[Any]], at: float) -> None:
    if not rows:
        return
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE)
    ended = [
        words[key].number for row in rows if (key := word_of(Key(row.pnpid, row.field, row.code))) in words
    ]
    acknowledgements.end(connection, ended, acknowledgements.GONE, at=at)
    ids = [row.id for row in rows]
    for start in range(0, len(ids), 500):
        connection.execute(sa.delete(quarantine).where(quarantine.c.id.in_(ids[start : start + 500])))


def _put(
    connection: Connection, number: int, key: Key, error: RowError, before: Row[Any] | None, run: Looked
) -> None:
    digest = digest_of(error)
    again = before is not None and before.digest == digest
    attempts = before.attempts + 1 if before is not None and again else 1
    data: dict[str, Any] = {
        "message": _clean(error.message),
        "hint": error.hint,
        "plant3d_id": error.plant3d_id,
        "class": error.class_name,
        "tag": _clean(error.tag),
        "drawing": run.drawing_of.get(key.pnpid),
        "offered": bool(error.offer),
    }
    for name, value in (("plant3d", error.plant3d), ("synapse", error.synapse)):
        if value is not UNSET:
            data[name] = _clean(value) if isinstance(value, str) else value
    values = {
        "side": error.into,
        "entity": run.entity_of.get(key.pnpid),
        "data": orjson.dumps(data).decode(),
        "digest": digest,
        "attempts": attempts,
        "first_at": before.first_at if before is not None and again else run.at,
        "last_at": run.at,
        "next_try_at": run.at + (retry_after(attempts) if error.offer else LOOK_AGAIN_SECONDS),
    }
    if before is None:
        connection.execute(
            sa.insert(quarantine).values(
                project=number, pnpid=key.pnpid, field=key.field, code=key.code, **values
            )
        )
    else:
        connection.execute(sa.update(quarantine).where(quarantine.c.id == before.id).values(**values))


def _clean(text: str | None) -> str | None:
    return text.encode("utf-8", "replace").decode() if text else text


def next_tries(connection: Connection, number: int, project: str) -> list[float]:
    """When what the other side refused is offered again, those left out that a person left alone."""
    return [
        one.next_try_at
        for rows in read(connection, number, project).values()
        for one in rows
        if one.offered and one.ignored is None
    ]


def end_moved(connection: Connection, number: int, project: str, *, at: float) -> None:
    """Words about refused rows end when what they were said of moved, or is refused no more."""
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE)
    if not words:
        return
    rows = connection.execute(_OF_PROJECT, {"whose": number})
    digests = {word_of(Key(row.pnpid, row.field, row.code)): row.digest for row in rows}
    for key, said in words.items():
        if key not in digests:
            acknowledgements.end(connection, [said.number], acknowledgements.GONE, at=at)
        elif digests[key] != said.digest:
            acknowledgements.end(connection, [said.number], acknowledgements.MOVED, at=at)


def try_now(connection: Connection, numbers: Collection[int]) -> int:
    """Let these rows be offered in the next run; returns how many there are."""
    return connection.execute(
        sa.update(quarantine).where(quarantine.c.id.in_(sorted(numbers))).values(next_try_at=0.0)
    ).rowcount


def rows_of(connection: Connection, number: int) -> list[Row[Any]]:
    """All rows of a project, oldest first."""
    return list(
        connection.execute(
            sa.select(quarantine)
            .where(quarantine.c.project == number)
            .order_by(quarantine.c.first_at, quarantine.c.id)
        ).fetchall()
    )


def find(connection: Connection, row_id: int) -> tuple[Kept | None, str | None]:
    """One row and the name of its project; None and None if there is none with this id."""
    row = connection.execute(
        sa.select(quarantine, project_table.c.name.label("project_name"))
        .join(project_table, project_table.c.number == quarantine.c.project)
        .where(quarantine.c.id == row_id)
    ).first()
    return (None, None) if row is None else (row, str(row.project_name))


def counts(connection: Connection) -> Counter[tuple[str, str]]:
    """Refused rows that nobody left alone, by project and kind of asset."""
    found: Counter[tuple[str, str]] = Counter()
    for number, name in connection.execute(
        sa.select(project_table.c.number, project_table.c.name)
    ).fetchall():
        for rows in read(connection, number, name).values():
            found.update((name, one.entity) for one in rows if one.ignored is None)
    return found
