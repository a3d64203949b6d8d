"""What the adapter for SYNAPSE 0.2 promises, a scene for each, and the ways in which an adapter can be broken.

A scene plays one promise on the double without a socket and asserts that it is kept. A break names the scene that must
not pass with it: if it does, the promise stands nowhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.connectors.base import AssetWrite, ChangePage, Creation, WriteResult
from plant3d_sync.connectors.synapse_v02 import http, wire, write
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.connectors.synapse_v02.http import Http, Lost
from plant3d_sync.connectors.synapse_v02.index import Index
from plant3d_sync.connectors.synapse_v02.read import Reader, Reading
from plant3d_sync.connectors.synapse_v02.write import Writer
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.record import Asset, Value
from plant3d_sync.model.version import fingerprint
from plant3d_sync.synapse_dev.v02.app import Backend
from plant3d_sync.synapse_dev.v02.store import Row
from plant3d_sync.synapse_dev.v02.traps import Traps
from tests.support.synapse_v02 import Direct

USER, PASSWORD = "sync@example.com", "open sesame"
OUR_CALLS = {("POST", "/auth/login"), ("POST", "/assets/"), ("PATCH", "/assets/bulk")}
"""Everything we may call but GET: no import, no DELETE, no PUT."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """A SYNAPSE 0.2 with one project and the people in it, and clients of ours."""

    backend: Backend = field(default_factory=lambda: Backend(Traps(recycle_after=None)))
    project: str = field(default_factory=lambda: str(uuid.uuid4()))
    links: dict[str, str] = field(default_factory=dict)
    """Asset id -> identity, as our state would know them."""
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backend.add_user(USER, PASSWORD)
        self.backend.add_project(self.project)
        self.wire = Direct(self.backend)
        self.port = self.client()

    wire: Direct = field(init=False)
    port: SynapseV02 = field(init=False)

    @property
    def traps(self) -> Traps:
        return self.backend.traps

    def client(self, *, page_size: int = 1000, fresh: float = 0.0, project: str | None = None) -> SynapseV02:
        """A client that knows nothing yet, as each run makes one."""
        return SynapseV02(
            "http://synapse.example",
            USER,
            PASSWORD,
            project or self.project,
            identities=lambda: self.links,
            requests_per_second=0,
            page_size=page_size,
            fresh_seconds=fresh,
            retry_attempts=2,
            retry_delay=0.0,
            transport=self.wire,
            sleep=self.pauses.append,
        )

    def send(self, *writes: AssetWrite | Creation, port: SynapseV02 | None = None) -> dict[str, WriteResult]:
        """One batch; results by identity."""
        port = port or self.port
        results = port.send(port.encode(writes), key=uuid.uuid4().hex)
        assert len(results) == len(writes), "each item has a result"
        return {result.plant3d_id: result for result in results}

    def pages(self, port: SynapseV02 | None = None, cursor: str | None = None) -> list[ChangePage]:
        return list((port or self.port).changes(cursor))

    def row(self, plant3d_id: str) -> Row:
        """The row of the table that holds this identity's asset."""
        return self.backend.heap.rows[wire.asset_id_of(self.project, plant3d_id)]

    def remove(self, asset_id: str) -> None:
        """An administrator deletes a row."""
        row = self.backend.heap.rows.pop(asset_id)
        del self.backend.heap.tags[self.project, row["tag"]]

    def once(self, method: str, path: str, deed: Callable[[], object]) -> Callable[[str, str], None]:
        """What somebody does at the first such call."""
        done: list[int] = []

        def act(verb: str, where: str) -> None:
            if (verb, where) == (method, path) and not done:
                done.append(1)
                deed()

        return act


def upsert(plant3d_id: str, *, described: int | None = None, **values: Value) -> AssetWrite:
    """`attributes__size` stands for `attributes.size`; `described`: only while the description is as then."""
    return AssetWrite(
        op="upsert",
        plant3d_id=plant3d_id,
        set={name.replace("__", "."): value for name, value in values.items()},
        if_description_version=described,
    )


def pump(plant3d_id: str, **values: Value) -> AssetWrite:
    return upsert(plant3d_id, **{"tag": f"P-{plant3d_id}", "asset_type": "Equipment", **values})


def archive(plant3d_id: str) -> AssetWrite:
    return AssetWrite(op="archive", plant3d_id=plant3d_id)


def ours(row: Row) -> dict[str, Any]:
    """What we keep in an asset."""
    found: dict[str, Any] = (row["mechanical"] or {}).get("plant3d_sync") or {}
    return found


def described(asset: Asset | None) -> int:
    assert asset is not None
    version = asset.field_info["description"].version
    assert version is not None
    return version


def assets_in(pages: Iterable[ChangePage]) -> list[Asset]:
    return [asset for page in pages for asset in page.assets]


# ---------------------------------------------------------------- the scenes


def pages_that_lose_rows(scene: Scene) -> None:
    """Every asset is seen once, though pages of a large table lose a third of the rows."""
    scene.traps.scan_threshold, scene.traps.scan_granularity = 20, 7
    made = {scene.backend.create(scene.project, f"P-{number}") for number in range(90)}
    pages = scene.pages(scene.client(page_size=10))
    seen = [asset.asset_id for asset in assets_in(pages)]
    assert len(seen) == len(set(seen)), "an asset came twice"
    assert set(seen) == made, "an asset was lost"
    assert pages[-1].proved


def a_table_too_large_for_single_reads(scene: Scene) -> None:
    """Where pages lose thousands, asking for the first page again and again proves the read without an asset by itself."""
    scene.traps.scan_threshold, scene.traps.scan_granularity = 20, 7
    for number in range(90):
        scene.backend.create(scene.project, f"P-{number}")
    assert scene.pages(scene.client(page_size=10))[-1].proved
    kinds = {path.partition("?")[0] for method, path in scene.backend.calls if method == "GET"}
    assert not {path for path in kinds if path.startswith("/assets/") and path != "/assets/"}
    assert "/import_export/export" not in kinds


def a_row_that_moves_between_two_pages(scene: Scene) -> None:
    """A row saved meanwhile goes to the end and pulls another one out of sight; it is found all the same."""
    made = [scene.backend.create(scene.project, f"P-{number}") for number in range(30)]
    scene.wire.after = scene.once(
        "GET", "/assets/", lambda: scene.backend.edit(made[0], description="saved meanwhile")
    )
    pages = scene.pages(scene.client(page_size=10))
    assert {asset.asset_id for asset in assets_in(pages)} == set(made)
    assert pages[-1].proved


def a_project_that_never_rests(scene: Scene) -> None:
    """While others make assets at every call nothing is proved, so absence means nothing."""
    for number in range(12):
        scene.backend.create(scene.project, f"P-{number}")

    def make(method: str, path: str) -> None:
        if path.startswith(("/assets", "/import_export")):
            scene.backend.create(scene.project, uuid.uuid4().hex)

    scene.wire.after = make
    assert not scene.pages(scene.client(page_size=5))[-1].proved


def what_others_keep_in_mechanical(scene: Scene) -> None:
    """Weight and material belong to SYNAPSE's screens: they stay, as they are right before our write."""
    scene.send(pump("a", attributes__size="6"))
    row = scene.row("a")
    scene.backend.edit(
        row["id"], mechanical={"weightKg": 12, "material": {"body": "CS"}, **row["mechanical"]}
    )
    assert scene.send(upsert("a", attributes__size="8"))["a"].status == "updated"
    held = scene.row("a")["mechanical"]
    assert (held.get("weightKg"), held.get("material")) == (12, {"body": "CS"})
    assert ours(scene.row("a"))["attributes"] == {"size": "8"}


def a_500_that_did_nothing(scene: Scene) -> None:
    """An error that changed nothing is never told as done: the base would move, and the old text return as an edit."""
    _fails(scene, "failed_500")


def an_answer_that_was_lost_with_the_request(scene: Scene) -> None:
    """A cut connection that changed nothing is never told as done."""
    _fails(scene, "cut_before")


def _fails(scene: Scene, harm: Any) -> None:
    made = scene.send(*(pump(key, description="old") for key in "abc"))
    scene.traps.harms += [("PATCH", "/assets/bulk", harm)] * 5
    writes = [upsert(key, description="new", described=described(made[key].asset)) for key in "abc"]
    for key, result in scene.send(*writes).items():
        held = scene.row(key)["description"]
        assert (result.status in ("updated", "unchanged")) == (held == "new"), (key, result.status, held)
    scene.traps.harms.clear()


def a_500_that_was_committed(scene: Scene) -> None:
    """What was stored is told as stored, whatever the answer was."""
    for harm in ("committed_500", "lose_answer"):
        made = scene.send(*(pump(key, description="old") for key in "abc"))
        scene.traps.harms += [("PATCH", "/assets/bulk", harm)]
        writes = [upsert(key, description=harm, described=described(made[key].asset)) for key in "abc"]
        results = scene.send(*writes)
        assert {result.status for result in results.values()} == {"updated"}
        assert all(scene.row(key)["description"] == harm for key in "abc")
        scene.send(*(upsert(key, description="old") for key in "abc"))


def words_typed_after_a_lost_answer(scene: Scene) -> None:
    """An update whose answer is lost is not sent again over what a person typed since."""
    made = scene.send(pump("a", description="old"))
    scene.traps.harms += [("PATCH", "/assets/bulk", "lose_answer")]
    scene.wire.after = scene.once(
        "PATCH", "/assets/bulk", lambda: scene.backend.edit(scene.row("a")["id"], description="a person's")
    )
    result = scene.send(upsert("a", description="ours", described=described(made["a"].asset)))["a"]
    assert scene.row("a")["description"] == "a person's"
    assert result.status not in ("updated", "unchanged")


def words_typed_after_our_read(scene: Scene) -> None:
    """A description is looked at right before the write, however young our last read is."""
    port = scene.client(fresh=3600)
    made = scene.send(pump("a", description="old"), port=port)
    scene.backend.edit(scene.row("a")["id"], description="a person's")
    writes = upsert("a", description="ours", described=described(made["a"].asset))
    result = scene.send(writes, port=port)["a"]
    assert (result.status, result.code) == ("conflict", "field_version_mismatch")
    assert scene.row("a")["description"] == "a person's"


def two_runs_that_create_the_same(scene: Scene) -> None:
    """Whoever creates an item, whenever, makes the same asset; the second finds the first."""
    first, second = scene.client(), scene.client()
    assert assets_in(scene.pages(first)) == assets_in(scene.pages(second)) == []
    made = scene.send(pump("a"), pump("b"), port=first)
    again = scene.send(pump("a"), pump("b"), port=second)
    assert [result.status for result in again.values()] == ["created", "created"]
    assert {key: result.asset_id for key, result in again.items()} == {
        key: result.asset_id for key, result in made.items()
    }
    assert len(scene.backend.assets(scene.project)) == 2


def a_creation_whose_answer_is_lost(scene: Scene) -> None:
    """One asset, whether the answer was lost, the request, or both."""
    for number, harm in enumerate(("lose_answer", "committed_500", "cut_before", "failed_500")):
        scene.traps.harms += [("POST", "/assets/", harm)]  # type: ignore[list-item]
        key = f"k{number}"
        assert scene.send(pump(key))[key].status == "created", harm
    assert len(scene.backend.assets(scene.project)) == 4


def chains_and_circles_of_tags(scene: Scene) -> None:
    """Renames reach everybody, though a bulk is written in the order of ids and a swap is refused."""
    keys = "abcdefgh"
    scene.send(*(pump(key) for key in keys))
    before = {key: scene.row(key)["id"] for key in keys}
    chain = {key: f"P-{after}" for key, after in zip("abcd", "bcdx", strict=True)}
    back = {key: f"P-{after}" for key, after in zip("efgh", "fghe", strict=True)}
    results = scene.send(*(upsert(key, tag=tag) for key, tag in {**chain, **back}.items()))
    assert {key: result.status for key, result in results.items()} == dict.fromkeys(keys, "updated")
    for key, tag in {**chain, **back}.items():
        assert scene.backend.by_tag(scene.project, tag)["id"] == before[key]
    backwards = {key: f"P-{after}" for key, after in zip("abcd", "abcd", strict=True)}
    results = scene.send(*(upsert(key, tag=tag) for key, tag in backwards.items()))
    assert {result.status for result in results.values()} == {"updated"}


def a_stale_screen(scene: Scene) -> None:
    """A sheet loaded yesterday puts our part back as it was: seen at the next read, and repaired."""
    scene.send(pump("a", attributes__size="6"))
    old = dict(scene.row("a")["mechanical"])
    scene.send(upsert("a", attributes__size="8"))
    cursor = scene.pages()[-1].next_cursor
    assert assets_in(scene.pages(cursor=cursor)) == [], "nothing is new"
    scene.backend.edit(scene.row("a")["id"], mechanical=old)
    seen = [asset.fields["attributes.size"] for asset in assets_in(scene.pages(cursor=cursor))]
    assert seen == ["6"]
    assert scene.send(upsert("a", attributes__size="8"))["a"].status == "updated"
    assert ours(scene.row("a"))["attributes"] == {"size": "8"}


def a_screen_that_takes_our_part_away(scene: Scene) -> None:
    """An asset without our part is still its item's asset, by our links, and gets it back whole."""
    scene.send(pump("a", attributes__size="6"))
    scene.links[scene.row("a")["id"]] = "a"
    scene.backend.edit(scene.row("a")["id"], mechanical={"weightKg": 7})
    port = scene.client()
    (seen,) = assets_in(scene.pages(port))
    assert (seen.plant3d_id, seen.fields.get("attributes.size")) == ("a", None)
    scene.send(pump("a", attributes__size="6"), port=port)
    held = scene.row("a")["mechanical"]
    assert (held.get("weightKg"), ours(scene.row("a")).get("plant3d_id")) == (7, "a")
    assert ours(scene.row("a"))["attributes"] == {"size": "6"}


def a_row_that_was_deleted_softly(scene: Scene) -> None:
    """It is in the count and in no list: the rest is proved, and its tag is known to be taken."""
    scene.send(*(pump(key) for key in "abc"))
    scene.backend.hide(scene.backend.create(scene.project, "P-hidden"))
    port = scene.client()
    pages = scene.pages(port)
    assert {asset.plant3d_id for asset in assets_in(pages)} == set("abc")
    assert pages[-1].proved
    assert scene.send(upsert("a", tag="P-hidden"), port=port)["a"].code == "tag_taken"
    assert scene.send(pump("d", tag="P-hidden"), port=port)["d"].code == "tag_taken"


def a_poisoned_row_in_a_read(scene: Scene) -> None:
    """One row that SYNAPSE cannot show: the others are read, and it counts as there."""
    keys = [f"k{number}" for number in range(25)]
    scene.send(*(pump(key) for key in keys))
    scene.links.update({scene.row(key)["id"]: key for key in keys})
    scene.row("k7")["electrical"] = {"voltage": "690V"}
    pages = scene.pages(scene.client(page_size=10))
    assert {asset.plant3d_id for asset in assets_in(pages)} == set(keys) - {"k7"}
    assert pages[-1].unreadable == {"k7"}, "it would be thought deleted"
    assert pages[-1].proved


def a_poisoned_row_in_a_batch(scene: Scene) -> None:
    """It is refused by name and takes nobody with it."""
    scene.send(*(pump(key, description="old") for key in "abc"))
    scene.row("b")["electrical"] = {"voltage": "690V"}
    results = scene.send(*(upsert(key, description="new") for key in "abc"))
    assert {key: result.code or result.status for key, result in results.items()} == {
        "a": "updated",
        "b": "asset_unreadable",
        "c": "updated",
    }
    assert [scene.row(key)["description"] for key in "abc"] == ["new", "old", "new"]


def a_tag_that_is_drawn_again(scene: Scene) -> None:
    """A removed item's asset makes room for the new one with its tag; a stranger's asset never does."""
    scene.send(pump("a", tag="P-1"))
    assert scene.send(archive("a"))["a"].status == "archived"
    assert scene.send(pump("b", tag="P-1"))["b"].status == "created"
    assert ours(scene.backend.by_tag(scene.project, "P-1"))["plant3d_id"] == "b"
    assert scene.row("a")["tag"].startswith("P-1 (removed ")
    scene.send(pump("c", tag="P-2"))
    results = scene.send(archive("c"), pump("d", tag="P-2"))
    assert [result.status for result in results.values()] == ["archived", "created"], "both in one batch"
    stranger = scene.backend.create(scene.project, "P-3")
    port = scene.client()
    assert scene.send(pump("e", tag="P-3"), port=port)["e"].code == "tag_taken"
    assert scene.backend.by_tag(scene.project, "P-3")["id"] == stranger


def an_id_that_a_bulk_leaves_out(scene: Scene) -> None:
    """0.2 says nothing of an asset that is gone: its item is told so, and nobody else is."""
    scene.send(*(pump(key, description="old") for key in "abc"))
    gone = scene.row("b")["id"]
    scene.wire.before = scene.once("PATCH", "/assets/bulk", lambda: scene.remove(gone))
    results = scene.send(*(upsert(key, description="new") for key in "abc"))
    assert {key: result.code or result.status for key, result in results.items()} == {
        "a": "updated",
        "b": "not_found",
        "c": "updated",
    }


def one_refusal_in_a_bulk(scene: Scene) -> None:
    """0.2 refuses a whole bulk for one item; here only that item fails."""
    scene.send(*(pump(key) for key in "abc"))
    scene.pages()
    scene.wire.before = scene.once(
        "PATCH", "/assets/bulk", lambda: scene.backend.create(scene.project, "P-new-b")
    )
    results = scene.send(*(upsert(key, tag=f"P-new-{key}") for key in "abc"))
    assert {key: result.code or result.status for key, result in results.items()} == {
        "a": "updated",
        "b": "tag_taken",
        "c": "updated",
    }


def words_that_screens_can_save(scene: Scene) -> None:
    """`type` is one of the six where one fits, and no other is ever sent again: 0.2 refuses the whole save."""
    scene.port.learn_words({"CentrifugalUnit": "PUMP"})
    scene.send(
        pump("a", asset_type="Instrument"),
        pump("b", asset_type="Valve"),
        pump("c", asset_subtype="CentrifugalUnit"),
        pump("d", asset_subtype="Vessel"),
        pump("e", asset_subtype="FeedPump"),
    )
    assert [scene.row(key)["type"] for key in "abcde"] == ["INSTRUMENT", "VALVE", "PUMP", "EQUIPMENT", "PUMP"]
    assert scene.send(upsert("d", asset_type="Line", attributes__size="6"))["d"].status == "updated"
    assert (ours(scene.row("d"))["asset_type"], scene.row("d")["type"]) == ("Line", "EQUIPMENT")


def a_token_that_is_not_good_any_more(scene: Scene) -> None:
    """One renewed login, and the run goes on."""
    scene.send(pump("a"))
    scene.backend._secret = b"the server was started again with another one"
    assert scene.send(pump("b"))["b"].status == "created"


def a_proxy_that_wants_less_haste(scene: Scene) -> None:
    """503 without a word on how long: wait, and go on."""
    scene.traps.harms += [("POST", "/assets/", "refuse_503")] * 3
    assert scene.send(pump("a"))["a"].status == "created"
    assert sum(scene.pauses) > 0


def a_project_that_is_not_there(scene: Scene) -> None:
    """0.2 shows an unknown project as an empty one: told before anything is read or written."""
    port = scene.client(project="0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11")
    try:
        pages = scene.pages(port)
    except ConfigError as error:
        assert error.error_code == "synapse_project_unknown"
        return
    raise AssertionError(f"everything would be thought deleted: {pages}")


def an_asset_somebody_copied(scene: Scene) -> None:
    """Of two assets that claim one identity the one that we made has it; the other is a stranger's."""
    scene.send(pump("a", attributes__size="6"))
    for number in range(5):
        scene.backend.create(
            scene.project,
            f"copy {number}",
            id=str(uuid.UUID(int=number)),
            mechanical=scene.row("a")["mechanical"],
        )
    seen = assets_in(scene.pages(scene.client()))
    assert [asset.asset_id for asset in seen if asset.plant3d_id == "a"] == [scene.row("a")["id"]]


# ---------------------------------------------------------------- the breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A way to be wrong: what, where it is put in, and the scene that notices."""

    what: str
    where: object
    name: str
    by: object
    noticed_by: Callable[[Scene], None]


def _naive(self: Reader) -> Reading:
    reading = Reading(complete=True)
    self._pages(reading)
    return reading


def _whole(original: Callable[[Reader], Reading]) -> Callable[[Reader], Reading]:
    def everything(self: Reader) -> Reading:
        reading = original(self)
        reading.complete = True
        return reading

    return everything


def _believes(word: str) -> Callable[[Writer, Sequence[Any], str], None]:
    original = Writer._read_back

    def read_back(self: Writer, jobs: Sequence[Any], reason: str) -> None:
        if word not in reason:
            original(self, jobs, reason)
            return
        for job in jobs:
            job.done({**job.before, **job.patch}, "updated")

    return read_back


def _disbelieves(self: Writer, jobs: Sequence[Any], reason: str) -> None:
    for job in jobs:
        job.unknown(reason)


def _again(self: Http, path: str, body: bytes) -> http.Reply:
    try:
        return self._called("PATCH", path, {}, body, repeats=True)
    except http._Failed as failure:
        raise Lost(failure.reason) from None


def _blind(raw: Row, plant3d_id: str | None, **more: Any) -> Asset:
    asset = _TO_ASSET(raw, plant3d_id, **more)
    return replace(asset, version=fingerprint(f"{raw['tag']} {raw['description']}".encode()))


_TO_ASSET = wire.to_asset
_BY_EXPORT = Reader._by_export
_BULK = Writer._bulk


def _drops_poisoned(self: Reader, reading: Reading) -> None:
    _BY_EXPORT(self, reading)
    reading.poisoned.clear()


def _all_or_none(self: Writer, jobs: Sequence[Any]) -> None:
    reply = self._http.patch(
        "/assets/bulk", write.orjson.dumps([{"id": job.asset_id, **job.patch} for job in jobs])
    )
    if reply.status == 200:
        self._answered(jobs, reply)
    for job in jobs:
        if job.is_open:
            job.refuse(self._refusal(reply, job))


def _shows_poisoned(self: Writer, asset_ids: Iterable[str]) -> dict[str, int]:
    return {one: 200 for one in _FRESHEN(self, asset_ids)}


_FRESHEN = Writer._freshen


def _claims_by_text(rows: Mapping[str, Row], project: str, known: Mapping[str, str]) -> Any:
    owner = {}
    for asset_id, row in rows.items():
        mine = wire.namespace_of(row)
        if mine is not None:
            owner[mine["plant3d_id"]] = asset_id
    return {asset_id: plant3d_id for plant3d_id, asset_id in owner.items()}, owner


BREAKS = (
    Break(
        what="pages are believed",
        where=Reader,
        name="everything",
        by=_naive,
        noticed_by=pages_that_lose_rows,
    ),
    Break(
        what="one pass of pages is enough while others write",
        where=Reader,
        name="everything",
        by=_naive,
        noticed_by=a_row_that_moves_between_two_pages,
    ),
    Break(
        what="an incomplete read is taken as complete",
        where=Reader,
        name="everything",
        by=_whole(Reader.everything),
        noticed_by=a_project_that_never_rests,
    ),
    Break(
        what="the export is left out",
        where=Reader,
        name="_by_export",
        by=lambda self, reading: None,
        noticed_by=a_row_that_was_deleted_softly,
    ),
    Break(
        what="the walk of a large table is left out",
        where=Reader,
        name="_walk",
        by=lambda self, reading, count: None,
        noticed_by=a_table_too_large_for_single_reads,
    ),
    Break(
        what="`mechanical` is overwritten by our part",
        where=wire,
        name="with_namespace",
        by=lambda raw, ours: {wire.NAMESPACE: ours},
        noticed_by=what_others_keep_in_mechanical,
    ),
    Break(
        what="`mechanical` is merged over an old read",
        where=Index,
        name="is_fresh",
        by=lambda self, asset_id, seconds: True,
        noticed_by=what_others_keep_in_mechanical,
    ),
    Break(
        what="a 500 is believed",
        where=Writer,
        name="_read_back",
        by=_believes("answered"),
        noticed_by=a_500_that_did_nothing,
    ),
    Break(
        what="a lost answer is believed without a read-back",
        where=Writer,
        name="_read_back",
        by=_believes("connection"),
        noticed_by=an_answer_that_was_lost_with_the_request,
    ),
    Break(
        what="a 500 counts as not done",
        where=Writer,
        name="_read_back",
        by=_disbelieves,
        noticed_by=a_500_that_was_committed,
    ),
    Break(
        what="an update is repeated without a look",
        where=Http,
        name="patch",
        by=_again,
        noticed_by=words_typed_after_a_lost_answer,
    ),
    Break(
        what="a description is written without a look right before",
        where=Index,
        name="age",
        by=lambda self, asset_id: None,
        noticed_by=words_typed_after_our_read,
    ),
    Break(
        what="conditions are not judged",
        where=write,
        name="_check_conditions",
        by=lambda item, before, plant3d_id: None,
        noticed_by=words_typed_after_our_read,
    ),
    Break(
        what="ids are random",
        where=wire,
        name="asset_id_of",
        by=lambda project, plant3d_id: str(uuid.uuid4()),
        noticed_by=two_runs_that_create_the_same,
    ),
    Break(
        what="a creation is not looked for after a lost answer",
        where=Writer,
        name="_created_after_all",
        by=lambda self, job: job.unknown("it failed"),
        noticed_by=a_creation_whose_answer_is_lost,
    ),
    Break(
        what="renames go without layers",
        where=Writer,
        name="_is_free_for",
        by=lambda self, job: True,
        noticed_by=chains_and_circles_of_tags,
    ),
    Break(
        what="a stale screen is not seen",
        where=wire,
        name="to_asset",
        by=_blind,
        noticed_by=a_stale_screen,
    ),
    Break(
        what="an asset is known by its own text alone",
        where="plant3d_sync.connectors.synapse_v02.client",
        name="by_identity",
        by=_claims_by_text,
        noticed_by=a_screen_that_takes_our_part_away,
    ),
    Break(
        what="whoever claims an identity last has it",
        where="plant3d_sync.connectors.synapse_v02.client",
        name="by_identity",
        by=_claims_by_text,
        noticed_by=an_asset_somebody_copied,
    ),
    Break(
        what="poisoned rows are dropped silently",
        where=Reader,
        name="_by_export",
        by=_drops_poisoned,
        noticed_by=a_poisoned_row_in_a_read,
    ),
    Break(
        what="a poisoned row shares a bulk with others",
        where=Writer,
        name="_freshen",
        by=_shows_poisoned,
        noticed_by=a_poisoned_row_in_a_batch,
    ),
    Break(
        what="removed assets keep their tag",
        where=Writer,
        name="_gives_way",
        by=lambda self, holder, job: False,
        noticed_by=a_tag_that_is_drawn_again,
    ),
    Break(
        what="anybody's asset makes room",
        where=Writer,
        name="_gives_way",
        by=lambda self, holder, job: True,
        noticed_by=a_tag_that_is_drawn_again,
    ),
    Break(
        what="an id that the answer leaves out counts as written",
        where=Writer,
        name="_skipped",
        by=lambda self, job: job.done({**job.before, **job.patch}, "updated"),
        noticed_by=an_id_that_a_bulk_leaves_out,
    ),
    Break(
        what="one refusal fails the whole bulk",
        where=Writer,
        name="_bulk",
        by=_all_or_none,
        noticed_by=one_refusal_in_a_bulk,
    ),
    Break(
        what="any word is sent as `type` again",
        where=wire,
        name="SAVED_TYPES",
        by=frozenset({*wire.SAVED_TYPES, "LINE"}),
        noticed_by=words_that_screens_can_save,
    ),
    Break(
        what="`type` is the item's kind and nothing else",
        where=wire,
        name="type_word",
        by=lambda kind, subtype, words: str(kind).upper(),
        noticed_by=words_that_screens_can_save,
    ),
    Break(
        what="a refused token ends the run",
        where=Http,
        name="_forget",
        by=lambda self, token: None,
        noticed_by=a_token_that_is_not_good_any_more,
    ),
    Break(
        what="a proxy's 503 ends the run",
        where=http,
        name="_REFUSALS",
        by=0,
        noticed_by=a_proxy_that_wants_less_haste,
    ),
    Break(
        what="an empty list is believed of any project",
        where=Reader,
        name="alive",
        by=lambda self: None,
        noticed_by=a_project_that_is_not_there,
    ),
)

SCENES = tuple(
    dict.fromkeys(
        (
            *(one.noticed_by for one in BREAKS),
            a_500_that_was_committed,
            a_creation_whose_answer_is_lost,
        )
    )
)


def put_in(one: Break, patch: pytest.MonkeyPatch) -> None:
    """Break the adapter."""
    if isinstance(one.where, str):
        patch.setattr(f"{one.where}.{one.name}", one.by)
    else:
        patch.setattr(one.where, one.name, one.by)
