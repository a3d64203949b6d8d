"""Two sides as dictionaries, our links between them, and a judge that shares no code with the planner.

Reading, planning and bookkeeping are the real ones; only the two systems are played. SYNAPSE trims and cuts
descriptions, refuses a tag that a live asset holds, and writes an item only while it holds the expected values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.outcome import Clocks, Resolution
from plant3d_sync.model.plan import MissingPolicy
from plant3d_sync.model.record import Asset, FieldInfo, PlantItem, Value
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import Direction, WriteMode
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Cell,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    ToSynapse,
    Touch,
    Update,
    from_text,
)
from plant3d_sync.reconcile import advance, planning
from plant3d_sync.reconcile.planning import Draft
from tests.support.builders import (
    CLASSES,
    COLUMNS,
    announce,
    guid_of,
    item,
    knowledge,
    meaning,
    rule_set,
    same,
)

MAX_TEXT = 12
"""SYNAPSE of this world cuts descriptions here."""


@dataclass
class Held:
    """One asset."""

    asset_id: str
    plant3d_id: str | None
    fields: dict[str, Value]
    version: int = 1
    archived: bool = False
    edited_at: float | None = None
    restored: list[str] = field(default_factory=list)


class Refused(Exception):
    """SYNAPSE did not take an item."""


class TwoSides:
    """The world. Every moment of it is remembered where the judge needs it."""

    def __init__(self, *, skew: float = 0.0, skew_known: bool = True, policy: str = "archive") -> None:
        self.now = 1_000_000.0
        self.skew, self.skew_known, self.policy = skew, skew_known, policy
        self.plant: dict[int, dict[str, Value]] = {}
        self.synapse: dict[str, Held] = {}
        self.links: dict[int, Link] = {}
        self.resolutions: dict[tuple[int, str], Resolution] = {}
        self.resolved_at: dict[tuple[int, str], float] = {}
        self.rules: RuleSet = rule_set()
        self.plant_read_at: float | None = None
        self.feed_read_at: float | None = None
        self.next_pnpid = 1
        self.next_version = 1
        # what the judge knows
        self.edited: dict[tuple[str, int], float] = {}
        """(side, pnpid) -> true time of the edit that the description there comes from."""
        self.together: dict[tuple[int, str], set[tuple[str, str]]] = {}
        """(pnpid, field) -> every pair of values (Plant 3D, SYNAPSE) that stood at one moment."""
        self.created: dict[str, int] = {}
        self.before_push: dict[int, tuple[Value, Value, float]] = {}
        """pnpid -> the description we wrote over, the one we wrote, and when the old one was typed."""
        self.stale: set[int] = set()
        """Items whose description in Plant 3D is an old copy that nobody typed since."""
        self.writes = 0
        self.complaints: list[str] = []

    # ------------------------------------------------------------------ people

    def tick(self, seconds: float = 60.0) -> float:
        self.now += seconds
        return self.now

    def draws(self, tag: Value, description: Value = None, **more: Value) -> int:
        """A designer places an item."""
        pnpid, self.next_pnpid = self.next_pnpid, self.next_pnpid + 1
        self.plant[pnpid] = {
            "Tag": tag,
            "Remark": description,
            "Spec": None,
            "Note": None,
            "Flow": None,
        } | more
        self.edited["p", pnpid] = self.tick()
        self.remember()
        return pnpid

    def edits_plant(self, pnpid: int, column: str, value: Value) -> None:
        before, self.plant[pnpid][column] = self.plant[pnpid][column], value
        self.tick()
        if column == "Remark":
            self.stale.discard(pnpid)
        if column == "Remark" and not same(before, value):
            self.edited["p", pnpid] = self.now
        self.remember()

    def saves_an_old_copy(self, pnpid: int) -> None:
        """A session of Plant 3D that was open during our write saves what it still holds."""
        old, written, typed_at = self.before_push.get(pnpid, (None, None, 0.0))
        if pnpid not in self.before_push or self.plant[pnpid]["Remark"] != written:
            return
        self.plant[pnpid]["Remark"] = old
        self.tick()
        self.edited["p", pnpid] = typed_at
        self.stale.add(pnpid)
        self.remember()

    def deletes(self, pnpid: int) -> None:
        del self.plant[pnpid]
        self.tick()

    def edits_synapse(self, pnpid: int, name: str, value: Value) -> None:
        held = self.held(pnpid)
        if held is None or held.archived:
            return
        self.tick()
        before, held.fields[name] = held.fields.get(name), value
        self._touch(held)
        if name == "description" and not same(before, value):
            held.edited_at = self.now
            self.edited["s", pnpid] = self.now
        self.remember()

    def resolves(self, pnpid: int, value: Value) -> None:
        """A person looks at both values and chooses; the choice is bound to what was shown."""
        known, held = self.links.get(pnpid), self.held(pnpid)
        if known is None or held is None or pnpid not in self.plant:
            return
        key = (known.link_id, "description")
        self.resolutions[key] = Resolution(
            conflict_id=f"k{known.link_id}",
            plant3d_value=self.plant[pnpid]["Remark"],
            synapse_value=held.fields.get("description"),
            chosen=value,
            by="eve",
        )
        self.resolved_at[key] = self.tick()

    # ------------------------------------------------------------------ looking

    def held(self, pnpid: int) -> Held | None:
        """The asset of an item, by identity."""
        return next((one for one in self.synapse.values() if one.plant3d_id == guid_of(pnpid)), None)

    def remember(self) -> None:
        """Write down every pair of values that stand together at this moment."""
        for pnpid, values in self.plant.items():
            self._remember_pair(pnpid, values)

    def _remember_pair(self, pnpid: int, values: dict[str, Value]) -> None:
        held = self.held(pnpid)
        if held is None:
            return
        for name, column in COLUMNS.items():
            pair = (meaning(values[column]), meaning(held.fields.get(name)))
            self.together.setdefault((pnpid, name), set()).add(pair)

    def _touch(self, held: Held) -> None:
        self.next_version += 1
        held.version = self.next_version

    # ------------------------------------------------------------------ a run

    def loses_our_state(self) -> None:
        """The state database is gone; both sides are as they were."""
        self.links, self.resolutions = {}, {}
        self.before_push, self.stale = {}, set()
        self.plant_read_at = self.feed_read_at = None

    def plan(
        self, direction: Direction = Direction.BOTH, order: Iterable[int] | None = None, *, full: bool = False
    ) -> Draft:
        """Read both sides completely and plan, as a run does; remembers what SYNAPSE said first.

        `full`: compare every item, whatever its digest says.
        """
        started = self.tick()
        news = self._read_feed(started)
        self.snapshot = {pnpid: dict(values) for pnpid, values in self.plant.items()}
        self.edited_when_read = dict(self.edited)
        read = self.tick()
        planner = planning.Planner(
            self.rules,
            knowledge(
                now=read,
                direction=direction,
                missing=MissingPolicy(reads=2, minutes=0, policy=self.policy),
                write_mode=WriteMode.SQL,
                signature=repr(self.now),
                clocks=Clocks(skew=self.skew if self.skew_known else None),
                last_plant3d_read=self.plant_read_at,
                last_synapse_read=self.feed_read_at,
                resolutions=dict(self.resolutions),
                unlinked=self._tags_without_link(),
            ),
        )
        announce(planner, self.links.values())
        for pnpid in order or self.snapshot:
            self._see(planner, pnpid, news, full)
        for pnpid, known in self.links.items():
            live = known.state in (LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING)
            if live and pnpid not in self.snapshot:
                planner.gone(known)
        self._read_at = (started, started)
        return planner.finish()

    def _tags_without_link(self) -> dict[str, tuple[str, str]]:
        linked = {known.asset_id for known in self.links.values()}
        return {
            str(held.fields["tag"]): (held.asset_id, "Equipment")
            for held in self.synapse.values()
            if not held.archived and held.asset_id not in linked
        }

    def _see(self, planner: planning.Planner, pnpid: int, news: dict[str, Asset], full: bool) -> None:
        known, one = self.links.get(pnpid), self.read_item(pnpid)
        settled = (
            known is not None
            and known.state is LinkState.ACTIVE
            and known.digest == one.digest
            and known.base is not None
            and not (known.pending or known.synapse_delta or known.missing or known.archived_in_synapse)
            and one.guid not in news
        )
        if known is not None and settled and not full:
            planner.see_unchanged([known])
        else:
            planner.see(one, known, news.get(one.guid))

    def read_item(self, pnpid: int) -> PlantItem:
        values = self.snapshot[pnpid]
        return item(
            pnpid, values["Tag"], values["Remark"], **{k.lower(): values[k] for k in ("Spec", "Note", "Flow")}
        )

    def _read_feed(self, at: float) -> dict[str, Asset]:
        """What SYNAPSE changed since we wrote: on the link, and for this run."""
        news: dict[str, Asset] = {}
        by_guid = {known.plant3d_id: known for known in self.links.values()}
        for held in self.synapse.values():
            known = by_guid.get(held.plant3d_id or "")
            if known is not None and known.asset_version == held.version and known.base is not None:
                continue
            one = self.as_asset(held)
            news[held.plant3d_id or ""] = one
            if known is not None:
                known = advance.seen(known, one, at=at, last_read=self.feed_read_at)
                self.links[known.pnpid] = known
        return news

    def as_asset(self, held: Held) -> Asset:
        info: dict[str, FieldInfo] = {}
        if held.edited_at is not None:
            stamp = datetime.fromtimestamp(held.edited_at + self.skew, UTC).isoformat()
            info["description"] = FieldInfo(version=held.version, updated_at=stamp, by="sam")
        return Asset(
            asset_id=held.asset_id,
            plant3d_id=held.plant3d_id,
            version=held.version,
            seq=held.version,
            archived=held.archived,
            fields=dict(held.fields),
            field_info=info,
        )

    # ------------------------------------------------------------------ writing

    def apply(self, draft: Draft, *, upto: int | None = None, lose_last_reply: bool = False) -> None:
        """Write the plan step by step; stop after `upto` steps, the last one perhaps before it was noted."""
        steps = _steps(from_text(b"[%b]" % b",".join(draft.lines)))
        for number, step in enumerate(steps[:upto], 1):
            note = not (lose_last_reply and number == len(steps[:upto]))
            self._write(step, note)
            self.remember()
        if upto is None or upto >= len(steps):
            self.plant_read_at, self.feed_read_at = self._read_at
            self._close_choices(draft)

    def run(self, direction: Direction = Direction.BOTH) -> Draft:
        draft = self.plan(direction)
        self.apply(draft)
        return draft

    def _close_choices(self, draft: Draft) -> None:
        """As the state does: a choice that was looked at is void, or done when its field is not open any more."""
        still_open = {(link.link_id, name) for link in self.links.values() for name in link.pending}
        for key, choice in list(self.resolutions.items()):
            fate = draft.fates.get(choice.conflict_id)
            if fate or (fate is not None and key not in still_open):
                del self.resolutions[key]

    def _write(self, together: Sequence[Step], note: bool) -> None:
        first = together[0]
        match first:
            case Push():
                self._push(first, note)
            case Absent():
                self.links[first.pnpid] = advance.gone(self.links[first.pnpid], first)
            case Adopt() if not first.set and len(together) == 1:
                self._adopted(first, self.synapse[first.asset_id or ""])
            case Settle() | Touch():
                if note:
                    self.links[first.pnpid] = advance.remembered(self.links[first.pnpid], first)
            case _:
                self._batch([step for step in together if isinstance(step, ToSynapse)], note)

    def _batch(self, together: Sequence[ToSynapse], note: bool) -> None:
        taken: list[tuple[ToSynapse, Held]] = []
        wanted = self._possible_tags(together)
        for step in together:
            try:
                taken.append((step, self._write_one(step, wanted)))
            except Refused:
                known = self.links.get(step.pnpid)
                if known is not None:
                    known.digest = b""
        live = [held.fields["tag"] for held in self.synapse.values() if not held.archived]
        if len(live) != len(set(live)):
            self.complaints.append(f"two live assets share a tag: {sorted(map(str, live))}")
        for step, held in taken if note else ():
            if isinstance(step, Archive):
                self.links[step.pnpid].state = LinkState.ARCHIVED
                self.links[step.pnpid].asset_version = held.version
            elif step.pnpid in self.links:
                self.links[step.pnpid] = advance.written(self.links[step.pnpid], step, self.as_asset(held))
            else:
                self._adopted(step, held)

    def _possible_tags(self, together: Sequence[ToSynapse]) -> dict[int, str]:
        """Tags that a batch can really give: items that fail their condition keep theirs, and so on."""
        wanted = {step.pnpid: str(_set(step)["tag"]) for step in together if "tag" in _set(step)}
        for step in together:
            if not isinstance(step, Create) and not self._holds_as_expected(step):
                wanted.pop(step.pnpid, None)
        while True:
            stuck = [pnpid for pnpid, tag in wanted.items() if self._is_taken(tag, pnpid, wanted)]
            if not stuck:
                return wanted
            for pnpid in stuck:
                del wanted[pnpid]

    def _holds_as_expected(self, step: Adopt | Update | Restore | Archive) -> bool:
        held = self.synapse[step.asset_id or ""]
        was = {} if isinstance(step, Archive) else step.was
        return not held.archived and all(held.fields.get(name) == value for name, value in was.items())

    def _is_taken(self, tag: str, pnpid: int, wanted: dict[int, str]) -> bool:
        holders = {
            int((held.plant3d_id or "0").split("-")[-1])
            for held in self.synapse.values()
            if not held.archived and held.fields.get("tag") == tag and held.plant3d_id != guid_of(pnpid)
        }
        return any(holder not in wanted or wanted[holder] == tag for holder in holders)

    def _write_one(self, step: ToSynapse, wanted: dict[int, str]) -> Held:
        pnpid, values = step.pnpid, _set(step)
        if isinstance(step, Create):
            if self.held(pnpid) is not None:
                raise Refused("exists")
            held = Held(f"asset-{len(self.synapse) + 1}", guid_of(pnpid), {})
            if pnpid not in wanted:
                raise Refused("tag_taken")
            self.synapse[held.asset_id] = held
            self.created[guid_of(pnpid)] = self.created.get(guid_of(pnpid), 0) + 1
        else:
            held = self.synapse[step.asset_id or ""]
            if not self._holds_as_expected(step):
                raise Refused("condition")
            if isinstance(step, Archive):
                if held.version != step.asset_version:
                    raise Refused("condition")
                held.archived = True
                self._touch(held)
                self.writes += 1
                return held
            if "tag" in values and pnpid not in wanted:
                raise Refused("tag_taken")
        why = {} if isinstance(step, Create | Archive) else step.why
        self._judge_write("s", pnpid, values, why, held.fields.get("description"))
        held.fields |= {name: _stored(name, value) for name, value in values.items()}
        if isinstance(step, Create):
            held.fields = {name: held.fields.get(name) for name in COLUMNS}
        self._touch(held)
        self.writes += 1
        self._remember_pair(pnpid, self.snapshot[pnpid])
        return held

    def _push(self, step: Push, note: bool) -> None:
        pnpid = step.pnpid
        done: list[tuple[Cell, Value]] = []
        for cell in step.cells:
            values = self.plant.get(pnpid)
            if cell.field != "description":
                self.complaints.append(f"{cell.field} is not ours to write into Plant 3D")
            if values is None or values[cell.column] != cell.old:
                continue
            typed_at = self.edited.get(("p", pnpid), 0.0)
            self._judge_write("p", pnpid, {"description": cell.new}, step.why, cell.old)
            values[cell.column] = cell.new
            self.writes += 1
            self.stale.discard(pnpid)
            self.before_push.pop(pnpid, None)
            if note and pnpid in self.links:
                self.before_push[pnpid] = cell.old, cell.new, typed_at
                done.append((cell, cell.new))
                pair = meaning(cell.new), meaning(cell.synapse)
                self.together.setdefault((pnpid, cell.field), set()).add(pair)
        self.remember()
        if done:
            self.links[pnpid] = advance.pushed(self.links[pnpid], done, at=self.now)

    def _adopted(self, step: Create | Adopt | Update | Restore, held: Held) -> None:
        self.links[step.pnpid] = advance.created(step, self.as_asset(held), link_id=1000 + step.pnpid)

    # ------------------------------------------------------------------ the judge

    def _judge_write(
        self, side: str, pnpid: int, values: Mapping[str, Value], why: Mapping[str, str], was: Value
    ) -> None:
        """A write of a description may only replace an older edit by a newer one, or carry out a choice."""
        if "description" not in values:
            return
        other = "p" if side == "s" else "s"
        source, target = self.edited_when_read.get((other, pnpid), 0.0), self.edited.get((side, pnpid), 0.0)
        if why.get("description") == "resolved":
            source = self.resolved_at[1000 + pnpid, "description"]
            choice = self.resolutions[1000 + pnpid, "description"]
            shown = (choice.plant3d_value if side == "p" else choice.synapse_value, choice.chosen)
            if not any(same(was, value) for value in shown):
                self.complaints.append(
                    f"{pnpid}: {was!r} in {side} was overwritten by a choice made without seeing it"
                )
        elif side == "s" and pnpid in self.stale and same(values["description"], self.plant_when_read(pnpid)):
            self.complaints.append(
                f"{pnpid}: an old copy that was saved again was taken for an edit: {was!r}"
            )
        if self._is_agreed(side, pnpid, was):
            target = 0.0
        if source <= target and meaning(was) and not same(was, values["description"]):
            self.complaints.append(
                f"{pnpid}: {was!r} (edited {target:.0f}) in {side} was overwritten by {values['description']!r} "
                f"(edited {source:.0f}): {why}"
            )
        self.edited[side, pnpid] = max(source, target)

    def plant_when_read(self, pnpid: int) -> Value:
        """The description the plan was made of."""
        return self.snapshot.get(pnpid, {}).get("Remark")

    def _is_agreed(self, side: str, pnpid: int, value: Value) -> bool:
        """Whether a side holds what both last agreed on: then no edit is lost (a to-and-fro cannot be seen)."""
        known = self.links.get(pnpid)
        if known is None or known.base is None or "description" not in known.base:
            return False
        agreed = known.base["description"]
        return same(value, agreed if side == "s" else known.base_plant.get("description", agreed))

    def judge_links(self) -> list[str]:
        """The base never holds a value that both sides did not hold together."""
        wrong = []
        for pnpid, known in self.links.items():
            for name, value in (known.base or {}).items():
                pair = (meaning(known.base_plant.get(name, value)), meaning(value))
                if pair not in self.together.get((pnpid, name), set()):
                    wrong.append(f"{pnpid}.{name}: base {pair} never stood together")
        return wrong

    def judge_identity(self) -> list[str]:
        """One live asset per identity, and no identity was created twice."""
        live = [held.plant3d_id for held in self.synapse.values() if not held.archived]
        twice = [guid for guid, count in self.created.items() if count > 1]
        return [f"created twice: {guid}" for guid in twice] + [
            f"two live assets: {guid}" for guid in set(live) if live.count(guid) > 1
        ]

    def differences(self) -> set[tuple[int, str]]:
        """(item, field) where the sides differ in what Plant 3D or both own. No planner code in here."""
        different: set[tuple[int, str]] = set()
        for pnpid, values in self.plant.items():
            held = self.held(pnpid)
            if held is None or held.archived:
                different.add((pnpid, "*"))
                continue
            for name in ("tag", "description", "attributes.spec"):
                mine, theirs = values[COLUMNS[name]], held.fields.get(name)
                expected = _stored(name, mine) if meaning(mine) != meaning(theirs) else mine
                if meaning(expected) != meaning(theirs):
                    different.add((pnpid, name))
        return different

    def explained(self, draft: Draft) -> set[tuple[int, str]]:
        """What a plan reports as not settled."""
        said: set[tuple[int, str]] = set()
        numbers = {guid_of(pnpid): pnpid for pnpid in self.plant}
        for conflict in draft.conflicts:
            said.add((numbers.get(conflict.plant3d_id, 0), conflict.field))
        for error in draft.errors:
            said |= {(error.pnpid or 0, name) for name in ("*", *COLUMNS)}
        for finding in draft.findings:
            if finding.code in ("untagged", "duplicate_tag", "archived_in_synapse", "unlinked_asset"):
                said |= {(finding.pnpid or 0, name) for name in ("*", *COLUMNS)}
            if finding.code == "tag_lost":
                said.add((finding.pnpid or 0, "tag"))
            if finding.code == "drift":
                said.add((finding.pnpid or 0, finding.column or ""))
        return said


def _stored(name: str, value: Value) -> Value:
    """What SYNAPSE makes of a value it is given."""
    if not isinstance(value, str):
        return value
    return value.strip()[:MAX_TEXT] if name == "description" else value.strip()


def _set(step: ToSynapse) -> Mapping[str, Value]:
    return {} if isinstance(step, Archive) else step.set


def _steps(every: list[Step]) -> list[list[Step]]:
    """Renames go in one batch (a cycle must not be torn), everything else alone."""
    renames = [step for step in every if isinstance(step, Update | Adopt) and step.old_tag]
    steps = [[step] for step in every if step not in renames]
    if renames:
        steps.insert(sum(1 for step in every if isinstance(step, Archive)), [*renames])
    return steps


__all__ = ["CLASSES", "MAX_TEXT", "Held", "TwoSides"]
