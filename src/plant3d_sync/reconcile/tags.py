"""Who may have which tag: judged once, when every item was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.side import Entity
from plant3d_sync.model.tags import look_alike_key, misread_keys, telling_apart
from plant3d_sync.words import said


class Holder(Protocol):
    """Whose tag or identity it is."""

    @property
    def class_name(self) -> str:
        """Its class when it was linked."""
        ...

    @property
    def plant3d_id(self) -> str:
        """Its identity."""
        ...

    @property
    def entity(self) -> str:
        """Kind of asset."""
        ...


class Unchanged(Holder, Protocol):
    """What the planner needs to know of an item that did not change."""

    @property
    def pnpid(self) -> int:
        """The item."""
        ...

    @property
    def tag(self) -> str:
        """Its tag."""
        ...


class Steps(Container[int], Protocol):
    """The items that have a step."""

    def kinds(self) -> Mapping[int, str]:
        """All of them with their kinds."""
        ...


class Claim(msgspec.Struct, gc=False):
    """An item that carries a tag."""

    class_name: str
    plant3d_id: str
    entity: str


NOBODY = Claim("", "", "")


class Rename(NamedTuple):
    """A step that gives an asset another tag."""

    old: str | None
    new: str
    line: bytes
    entity: str


class Shared(NamedTuple):
    """One of several items with the same tag."""

    pnpid: int
    holder: Holder
    finding: Finding


class Bearer(NamedTuple):
    """Where a tag stands: on an item of Plant 3D that was seen, else on an asset of SYNAPSE.

    `pnpid`: the item, or the one the asset is linked with; None for an asset without a link, which `asset_id` names.
    `stray`: the asset carries an identity that no item has, so that no item can be linked with it.
    """

    tag: str
    pnpid: int | None
    asset_id: str = ""
    seen: bool = True
    stray: bool = False

    @property
    def is_item(self) -> bool:
        """Whether an item shows the tag."""
        return self.pnpid is not None and self.seen

    def said(self) -> str:
        """In words: whose tag it is."""
        if self.is_item:
            return f"PnPID {self.pnpid}"
        if self.pnpid is not None:
            return f"the asset of PnPID {self.pnpid}"
        return "an asset of SYNAPSE that is not linked"


class Twins(NamedTuple):
    """Two tags that read the same. `held`: the first one is of an item that would be created, and must not."""

    one: Bearer
    other: Bearer
    held: bool


class Alike(NamedTuple):
    """What is reported of two tags that read the same. `pnpid`: the item it is about; None if only SYNAPSE holds both."""

    pnpid: int | None
    holder: Holder
    held: bool
    finding: Finding


class Tags:
    """The tags of the items that were seen, and those that SYNAPSE holds.

    `unlinked`: tag -> (asset id, asset type) of live assets without a link.
    """

    def __init__(self, unlinked: Mapping[str, tuple[str, str]]) -> None:
        self._unlinked = unlinked
        self._holders: dict[str, int] = {}
        self._shared: dict[str, list[int]] = {}
        self._info: dict[int, Holder] = {}
        self._live: dict[str, int] = {}
        self._released: set[str] = set()
        self._registered: set[int] = set()
        self._strays: dict[str, str] = {}
        self._left_alone: dict[str, int] = {}

    # ---------------------------------------------------------------- what was seen

    def announce(self, holders: Mapping[str, int]) -> None:
        """Tags of live assets in SYNAPSE -> PnPID of the linked item."""
        self._live.update(holders)

    def leave_alone(self, holders: Mapping[str, int]) -> None:
        """The same of assets that a person keeps although their items are gone."""
        self._left_alone.update(holders)

    def take(self, tag: str, pnpid: int) -> None:
        """The asset of this item turned out to hold the tag."""
        self._live[tag] = pnpid

    def release(self, tag: str) -> None:
        """SYNAPSE gives the tag free."""
        self._released.add(tag)

    def claim(self, tag: str, pnpid: int, holder: Holder) -> None:
        """The item carries the tag in Plant 3D."""
        first = self._holders.setdefault(tag, pnpid)
        if first != pnpid:
            self._shared.setdefault(tag, [first]).append(pnpid)
        self._info[pnpid] = holder

    def only_registered(self, pnpid: int) -> None:
        """Only the registry knows the item's tag."""
        self._registered.add(pnpid)

    def claim_all(self, items: Sequence[Unchanged]) -> None:
        """Many items that did not change."""
        holders = {item.tag: item.pnpid for item in items}
        if len(holders) == len(items) and self._holders.keys().isdisjoint(holders):
            self._holders.update(holders)
            self._info.update(zip(holders.values(), items, strict=True))
            return
        for item in items:
            self.claim(item.tag, item.pnpid, Claim(item.class_name, item.plant3d_id, item.entity))

    def holder(self, pnpid: int) -> Holder:
        """Who carries a tag."""
        return self._info.get(pnpid, NOBODY)

    # ---------------------------------------------------------------- what follows

    def shared(self) -> Iterator[Shared]:
        """Items that share their tag: none of them may be written, but for one that alone shows it itself."""
        for tag, holders in self._shared.items():
            own = [pnpid for pnpid in holders if pnpid not in self._registered]
            if len(own) == 1:  # what an item itself shows goes before what the registry says of another one
                self._holders[tag] = own[0]
            all_of_them = len(own) != 1
            for pnpid in holders:
                if own == [pnpid]:
                    continue
                others = [other for other in holders if other != pnpid]
                end = (
                    "All were skipped." if all_of_them else "Only the registry says so of this one; skipped."
                )
                yield Shared(pnpid, self._info[pnpid], self._told(tag, pnpid, others, end))

    def _told(self, tag: str, pnpid: int, others: list[int], end: str) -> Finding:
        holder = self._info[pnpid]
        return Finding(
            code="duplicate_tag",
            message=f"The tag {tag} is also on {self._names(others)}. {end}",
            hint="If these groups are one line, put their segments into one group in Plant 3D; "
            "else give each its own number."
            if all(self._info[one].entity == Entity.LINES for one in (pnpid, *others))
            else "Give each item its own tag in Plant 3D.",
            pnpid=pnpid,
            class_name=holder.class_name,
            tag=tag,
            data={"others": others, "plant3d_id": holder.plant3d_id},
        )

    def _names(self, pnpids: Sequence[int]) -> str:
        shown = [
            f"PnPID {pnpid} ({self._info[pnpid].class_name}, {self._info[pnpid].plant3d_id})"
            for pnpid in pnpids[:5]
        ]
        more = f" and {len(pnpids) - 5} more" if len(pnpids) > 5 else ""
        return ", ".join(shown) + more

    def stray(self, tag: str, asset_id: str) -> None:
        """A live asset that carries an identity which no item has."""
        self._strays[tag] = asset_id

    def look_alikes(self, created: Container[int]) -> Iterator[Alike]:
        """What is reported of tags that read the same."""
        for twins in self.twins(created):
            one = twins.one
            pnpid = one.pnpid if one.is_item else None
            holder = NOBODY if pnpid is None else self._info[pnpid]
            yield Alike(pnpid, holder, twins.held, _looks_like(twins, holder))

    def twins(self, created: Container[int]) -> Iterator[Twins]:
        """Tags that read the same. No second asset is made silently because one tag is written in two ways.

        An item that would be `created` waits while an asset of another item, or of none, or another item, holds a tag that
        reads the same. O and 0, I and 1 differ between two items of Plant 3D often enough: those are only told.
        """
        theirs = self._only_in_synapse()
        keys = misread_keys(list(self._holders))
        if not theirs and len(dict.fromkeys(keys)) == len(keys):  # a set of them takes three times the room
            return
        their_keys = misread_keys([one.tag for one in theirs])
        held = Counter([*keys, *their_keys])
        more = {key for key, count in held.items() if count > 1}
        if not more:
            return
        groups: dict[str, list[Bearer]] = {}
        for key, (tag, pnpid) in zip(keys, self._holders.items(), strict=True):
            if key in more:
                groups.setdefault(key, []).append(Bearer(tag, pnpid))
        for key, bearer in zip(their_keys, theirs, strict=True):
            if key in more:
                groups.setdefault(key, []).append(bearer)
        linked = set(self._live.values())
        for group in groups.values():
            if any(one.tag != group[0].tag for one in group):
                yield from self._of_items(group, created)
                yield from self._of_assets(group, linked)

    def _only_in_synapse(self) -> list[Bearer]:
        """Assets whose tag no item that was seen answers for."""
        kept = [
            Bearer(tag, pnpid, seen=False)
            for linked in (self._live, self._left_alone)
            if not all(map(self._info.__contains__, linked.values()))  # nearly always: nobody is gone
            for tag, pnpid in linked.items()
            if pnpid not in self._info and tag not in self._released
        ]
        loose = [Bearer(tag, None, asset_id) for tag, (asset_id, _kind) in self._unlinked.items()]
        strays = [Bearer(tag, None, asset_id, stray=True) for tag, asset_id in self._strays.items()]
        return [*kept, *loose, *strays]

    def _of_items(self, group: Sequence[Bearer], created: Container[int]) -> Iterator[Twins]:
        for one in group:
            others = [other for other in group if other.tag != one.tag]
            if not one.is_item or not others:
                continue
            key = look_alike_key(one.tag)
            strict = [other for other in others if other.pnpid is None or look_alike_key(other.tag) == key]
            other = (strict or others)[0]
            held = one.pnpid in created and bool(strict)
            if (
                other.is_item or held
            ):  # what SYNAPSE holds besides the asset of a linked item is reported of that asset
                yield Twins(one, other, held)

    def _of_assets(self, group: Sequence[Bearer], linked: Collection[int]) -> Iterator[Twins]:
        """Assets without a link, each against one that came before it; items stand for their assets."""
        before: list[Bearer] = []
        for one in group:
            if one.is_item and one.pnpid not in linked:
                continue
            other = next((each for each in before if each.tag != one.tag), None)
            if one.pnpid is None and other is not None:
                yield Twins(one, other._replace(seen=False), held=False)
            before.append(one)

    def refused(self, renames: Mapping[int, Rename], created: Steps) -> Iterator[tuple[int, str, RowError]]:
        """Items (with their kind) that want a tag which another live asset holds and keeps. Chains fail as a whole."""
        left = dict(renames)
        while True:
            free = {rename.old for rename in left.values() if rename.old} | self._released
            taken = [
                (pnpid, rename) for pnpid, rename in left.items() if self._is_held(rename.new, pnpid, free)
            ]
            for pnpid, rename in taken:
                del left[pnpid]
                yield pnpid, rename.entity, self._error(pnpid, rename.new)
            if not taken:
                break
        kinds = created.kinds() if self._live or self._unlinked else {}
        if not kinds:
            return
        for tag, pnpid in self._holders.items():
            if pnpid in kinds and self._is_held(tag, pnpid, free):
                yield pnpid, kinds[pnpid], self._error(pnpid, tag)

    def _is_held(self, tag: str, pnpid: int, free: set[str]) -> bool:
        holder = self._live.get(tag)
        if holder is not None and holder != pnpid:
            return tag not in free
        return tag in self._unlinked

    def _error(self, pnpid: int, tag: str) -> RowError:
        claim, holder = self.holder(pnpid), self._live.get(tag)
        who = f"the asset of PnPID {holder}" if holder is not None else "an asset that is not linked"
        return RowError(
            code="tag_taken",
            message=f"The tag {tag} is still held in SYNAPSE by {who}. Nothing was written for this item.",
            hint="If that item is gone from Plant 3D, approve its archiving (`plan`, then `apply`); "
            "if it is not linked, use `links propose`.",
            plant3d_id=claim.plant3d_id or None,
            pnpid=pnpid,
            class_name=claim.class_name or None,
            tag=tag,
            field="tag",
            plant3d=tag,
        )


def _looks_like(twins: Twins, holder: Holder) -> Finding:
    one, other, held = twins
    if one.is_item:
        message = f"The tag {said(one.tag)} looks like {said(other.tag)} of {other.said()}: {telling_apart(one.tag, other.tag)}."
    else:
        message = (
            f"The tag {said(one.tag)} of {one.said()} looks like {said(other.tag)} of {other.said()}: "
            f"{telling_apart(one.tag, other.tag)}."
        )
    return Finding(
        code="look_alike_tag",
        message=message + (" Nothing was created." if held else ""),
        hint=settled_by(twins),
        pnpid=one.pnpid,
        class_name=holder.class_name or None,
        tag=one.tag,
        data={
            "other_tag": other.tag,
            "other": other.pnpid,
            "asset_id": one.asset_id or other.asset_id or None,
            "other_asset_id": other.asset_id or None if one.asset_id else None,
        },
    )


def settled_by(twins: Twins) -> str:
    """What somebody does about two tags that read the same."""
    one, other = twins.one, twins.other
    if one.is_item and other.is_item:
        return "If both mean one item, delete one of them in Plant 3D; if not, give one another tag there."
    if not one.is_item:
        return "If both mean one asset, archive one of them in SYNAPSE; if not, give one another tag there."
    if other.pnpid is not None or other.stray:
        return "If it is the same item, give it the tag of the asset, or archive the asset in SYNAPSE; if not, give it another tag."
    return "Run `links propose`: it shows the pair; `links accept --only TAG` links it."


def in_order(renames: Mapping[int, Rename]) -> list[bytes]:
    """Renames so that a tag is released before, or in the same stretch as, it is taken."""
    by_old = {rename.old: pnpid for pnpid, rename in renames.items() if rename.old}
    done: set[int] = set()
    ordered: list[bytes] = []
    for start in renames:
        chain: list[int] = []
        current: int | None = start
        while current is not None and current not in done and current not in chain:
            chain.append(current)
            current = by_old.get(renames[current].new)
        for pnpid in reversed(chain):
            done.add(pnpid)
            ordered.append(renames[pnpid].line)
    return ordered
