"""Who may have which tag: judged once, when every item was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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


class Alike(NamedTuple):
    """An item whose tag reads like another one. `held`: it would be created, and must not."""

    pnpid: int
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

    # ---------------------------------------------------------------- what was seen

    def announce(self, holders: Mapping[str, int]) -> None:
        """Tags of live assets in SYNAPSE -> PnPID of the linked item."""
        self._live.update(holders)

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

    def look_alikes(self, created: Collection[int]) -> Iterator[Alike]:
        """Tags that read the same. No second asset is made silently because one tag is written in two ways.

        An item that would be `created` waits while an unlinked asset, or another item, holds a tag that reads the same.
        O and 0, I and 1 differ between two items of Plant 3D often enough: those are only told.
        """
        keys = misread_keys(list(self._holders))
        if not (created and self._unlinked) and len(set(keys)) == len(keys):
            return
        held = Counter(keys)
        theirs: list[tuple[str, str]] = []
        if created:
            theirs = list(zip(misread_keys(list(self._unlinked)), self._unlinked, strict=True))
            held.update(key for key, _tag in theirs if key in held)
        more = {key for key, count in held.items() if count > 1}
        if not more:
            return
        alike: dict[str, list[tuple[str, int | None]]] = {}
        for key, (tag, pnpid) in zip(keys, self._holders.items(), strict=True):
            if key in more:
                alike.setdefault(key, []).append((tag, pnpid))
        for key, tag in theirs:
            if key in alike:
                alike[key].append((tag, None))
        for group in alike.values():
            if len(group) > 1:
                yield from self._alike(group, created)

    def _alike(self, group: Sequence[tuple[str, int | None]], created: Collection[int]) -> Iterator[Alike]:
        for tag, pnpid in group:
            others = [one for one in group if one[0] != tag]
            if pnpid is None or not others:
                continue
            key = look_alike_key(tag)
            strict = [one for one in others if one[1] is None or look_alike_key(one[0]) == key]
            other = (strict or others)[0]
            held = pnpid in created and bool(strict)
            if other[1] is not None or held:  # of a linked item it is no business what SYNAPSE holds besides
                yield Alike(pnpid, self._info[pnpid], held, self._looks_like(tag, pnpid, other, held))

    def _looks_like(self, tag: str, pnpid: int, other: tuple[str, int | None], held: bool) -> Finding:
        name, whom = other
        whose = f"PnPID {whom}" if whom is not None else "an asset of SYNAPSE that is not linked"
        asset_id, _kind = self._unlinked.get(name, ("", "")) if whom is None else ("", "")
        return Finding(
            code="look_alike_tag",
            message=f"The tag {said(tag)} looks like {said(name)} of {whose}: {telling_apart(tag, name)}."
            + (" Nothing was created." if held else ""),
            hint="Run `links propose`: it shows the pair; `links accept --only TAG` links it."
            if whom is None
            else "If both mean one item, delete one of them; if not, give one another tag.",
            pnpid=pnpid,
            class_name=self._info[pnpid].class_name,
            tag=tag,
            data={"other_tag": name, "other": whom, "asset_id": asset_id or None},
        )

    def refused(
        self, renames: Mapping[int, Rename], created: Mapping[int, str]
    ) -> Iterator[tuple[int, str, RowError]]:
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
        if not self._live and not self._unlinked:
            return
        for tag, pnpid in self._holders.items():
            if pnpid in created and self._is_held(tag, pnpid, free):
                yield pnpid, created[pnpid], self._error(pnpid, tag)

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
