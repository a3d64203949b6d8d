"""Lines by number: which line groups and segments are one line, and which known line it is.

A line is what carries one line number. The number often stands on several groups, since inline equipment splits
them, on the segments only, or on groups of which nothing is drawn any more. Pure: works on ids and numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from plant3d_sync.connectors.plant3d.reading.relations import Relations
from plant3d_sync.model.reading import KnownLine
from plant3d_sync.model.record import Finding
from plant3d_sync.words import said

GuidOf = Callable[[int], str]
"""PnPGuid of a row of `PnPBase`, empty if it has none."""


class Group(msgspec.Struct, kw_only=True, gc=False):
    """One row of a class of line groups. `number`: as the mapping reads it, None without a usable one.

    `guid`: its PnPGuid; empty if it has none, and where no line is known yet, since nothing is compared with it then.
    `segment_tag`: the one tag that all its segments carry.
    """

    pnpid: int
    class_name: str
    guid: str
    number: str | None
    segment_tag: str | None


class Line(msgspec.Struct, kw_only=True):
    """What carries one number. `mixed`: groups with several numbers, this one among them.

    `carrier`: the row that stands for it. `identity`: whose it is, where that is not the carrier's own PnPGuid.
    `follows`: the row that stood for it before. `class_name`: of the group whose columns it has.
    """

    number: str | None
    groups: list[int] = []
    mixed: list[int] = []
    segments: list[int] = []
    carrier: int = 0
    class_name: str = ""
    identity: str = ""
    follows: int | None = None

    @property
    def members(self) -> set[int]:
        """Every row with its number."""
        return {*self.groups, *self.mixed, *self.segments}

    def has(self, row: int) -> bool:
        """Whether this row has its number."""
        return row in self.groups or row in self.mixed or row in self.segments


class Lines(msgspec.Struct):
    """The lines of one read that are more, or other, than one group with its segments, by the row that carries them.

    `hidden`: groups that are no item of their own. Every other group is read like any item.
    """

    special: dict[int, Line] = msgspec.field(default_factory=dict)
    hidden: dict[int, str] = msgspec.field(default_factory=dict)
    """Group -> its class."""
    findings: list[Finding] = msgspec.field(default_factory=list)


def find_lines(
    groups: Sequence[Group],
    relations: Relations,
    known: Sequence[KnownLine],
    guid_of: GuidOf,
    *,
    from_segments: bool,
    class_name: str,
) -> Lines:
    """Sort groups and segments by number. Tells `relations` the numbers, for everything that names a line.

    `from_segments`: whether the mapping takes the tag of a segment for a number. `class_name`: what a line is whose
    number stands on segments only.
    """
    found = Lines()
    by_number, numberless = _by_number(groups, relations, found, from_segments)
    class_of = {group.pnpid: group.class_name for group in groups}
    guids = {group.pnpid: group.guid for group in groups}
    matched = _matched(by_number, known, guids)
    used: set[int] = set()
    plain = {group.pnpid: group.number for group in groups}
    taken = {link.identity for link in matched.values()}
    for number in (*sorted(matched), *sorted(by_number.keys() - matched.keys())):
        line = by_number[number]
        link = matched.get(number)
        _choose_carrier(line, link, used)
        used.add(line.carrier)
        line.class_name = class_of.get(line.carrier) or (groups[0].class_name if groups else class_name)
        if taken:
            own = guids.get(line.carrier) or guid_of(line.carrier)
            if link is not None:
                line.identity = link.identity if link.identity != own else ""
                line.follows = link.pnpid if link.pnpid != line.carrier else None
            elif own in taken:
                line.identity = _free_identity(line, guids, guid_of, taken | {one.identity for one in known})
        if not _is_plain(line, relations, plain):
            found.special[line.carrier] = line
    for link in known:  # a line that lost its number stays the line it was
        if link.identity not in taken and link.pnpid in numberless:
            own = guids[link.pnpid]
            if own != link.identity and own == link.row_guid:
                segments = relations.segments_in.get(link.pnpid, ())
                found.special[link.pnpid] = Line(
                    number=None,
                    groups=[link.pnpid],
                    segments=list(segments),
                    carrier=link.pnpid,
                    class_name=class_of[link.pnpid],
                    identity=link.identity,
                )
    for line in found.special.values():
        for one in (*line.groups, *line.mixed):
            if one not in found.special:
                found.hidden[one] = class_of[one]
    relations.infos.clear()
    return found


def _by_number(
    groups: Iterable[Group], relations: Relations, found: Lines, from_segments: bool
) -> tuple[dict[str, Line], set[int]]:
    lines: dict[str, Line] = {}
    numberless: set[int] = set()
    tag_of = relations.tags.get

    def line(number: str) -> Line:
        made = lines.get(number)
        if made is None:
            made = lines[number] = Line(number=number)
        return made

    dangling = relations.dangling
    for group in groups:
        segments = relations.segments_in.get(group.pnpid, ())
        if group.number is not None and not dangling and group.segment_tag == group.number:  # the usual line
            usual = line(group.number)
            usual.groups.append(group.pnpid)
            usual.segments.extend(segments)
            relations.numbers[group.pnpid] = group.number
            continue
        if dangling and not dangling.isdisjoint(segments):
            segments = tuple(s for s in segments if s not in dangling)
        tags = {tag for s in segments if (tag := tag_of(s))} if from_segments else set()
        number = group.number
        if number is None and len(tags) == 1:
            (number,) = tags
        others = tags if number is None else (tags - {number} if number in tags else set())
        if number is None and not others:
            numberless.add(group.pnpid)
            continue
        if others:
            found.findings.append(_several_numbers(group, sorted(tags)))
        if number is None:
            for one in others:
                line(one).mixed.append(group.pnpid)
        else:
            line(number).groups.append(group.pnpid)
            relations.numbers[group.pnpid] = number
        for segment in segments:
            own = tag_of(segment)
            if own is not None and own in others:
                line(own).segments.append(segment)
                relations.segment_numbers[segment] = own
            elif number is not None:
                line(number).segments.append(segment)
    if from_segments:
        for segment in relations.loose:
            own = tag_of(segment)
            if own is not None:
                line(own).segments.append(segment)
                relations.segment_numbers[segment] = own
    for made in lines.values():
        if len(made.groups) > 1:
            made.groups.sort()
        if len(made.segments) > 1:
            made.segments = sorted(set(made.segments))
    return lines, numberless


def _matched(
    lines: Mapping[str, Line], known: Sequence[KnownLine], guids: Mapping[int, str]
) -> dict[str, KnownLine]:
    """Which known line each number is: it keeps its number, else its members; a number without members goes on too."""
    if not known:
        return {}
    matched = _as_they_were(lines, known, guids)
    used = {link.identity for link in matched.values()}
    left = [link for link in known if link.identity not in used]
    if not left:
        return matched
    moved = {number: line for number, line in lines.items() if number not in matched}
    found = _by_members(moved, left, guids)
    matched |= found
    used.update(link.identity for link in found.values())
    waiting = [
        link
        for link in left
        if link.identity not in used and link.live and link.tag in lines and link.tag not in matched
    ]
    alive = set(guids).union(*(line.members for line in lines.values())) if waiting else set()
    for link in waiting:
        if link.pnpid not in alive and link.tag not in matched:
            matched[link.tag] = link
    return matched


def _as_they_were(
    lines: Mapping[str, Line], known: Sequence[KnownLine], guids: Mapping[int, str]
) -> dict[str, KnownLine]:
    """The numbers that one known line had, and no other, on the same group with the same segments: nearly all, as a
    rule. Of the ways to match a line this goes before every other one, so the rest is matched without them.
    """
    by_tag = {link.tag: link for link in known}
    several = {tag for tag, count in Counter([link.tag for link in known]).items() if count > 1}
    return {
        number: link
        for number, line in lines.items()
        if (link := by_tag.get(number)) is not None
        and number not in several
        and not line.mixed
        and (*line.groups, *line.segments) == link.members
        and line.groups
        and line.groups[0] == link.pnpid
        and guids.get(link.pnpid) == link.row_guid
    }


def _by_members(
    lines: Mapping[str, Line], known: Sequence[KnownLine], guids: Mapping[int, str]
) -> dict[str, KnownLine]:
    """A line keeps its number, else its members."""
    by_identity = {link.identity: link for link in known}
    of_member = _by_member(known, guids)
    shared: list[tuple[bool, bool, int, str, KnownLine]] = []
    owner = of_member.get
    for number, line in lines.items():
        members = line.members
        counts = Counter(chain.from_iterable([owner(member, ()) for member in members]))
        shared += [
            ((link := by_identity[identity]).tag == number, link.pnpid in members, count, number, link)
            for identity, count in counts.items()
        ]
    matched = {one[3]: one[4] for one in shared}
    used = {link.identity for link in matched.values()}
    if not len(shared) == len(matched) == len(used):  # a number of two lines, or a line of two numbers
        matched, used = {}, set()
        shared.sort(key=lambda one: (not one[0], not one[1], -one[2], one[3], one[4].identity))
        for _same, _carried, _count, number, link in shared:
            if number not in matched and link.identity not in used:
                matched[number] = link
                used.add(link.identity)
    return matched


def _by_member(known: Sequence[KnownLine], guids: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    """Row -> identities of the known lines it is a member of; not the row of a line that another object has now."""
    found: dict[int, tuple[str, ...]] = {}
    for link in known:
        own = guids.get(link.pnpid)
        mine = (link.identity,)
        is_its_own = own is None or own == link.row_guid
        for member in link.members:
            if member != link.pnpid:
                found[member] = found[member] + mine if member in found else mine
        if is_its_own:
            found[link.pnpid] = found[link.pnpid] + mine if link.pnpid in found else mine
    return found


def _choose_carrier(line: Line, link: KnownLine | None, used: set[int]) -> None:
    """The row that stood for the line before; else its first group, else its first segment."""
    if link is not None and link.pnpid not in used and line.has(link.pnpid):
        line.carrier = link.pnpid
        return
    if line.groups and line.groups[0] not in used:
        line.carrier = line.groups[0]
        return
    rows = [*line.groups, *sorted(line.mixed), *line.segments]
    line.carrier = next((one for one in rows if one not in used), rows[0])


def _free_identity(line: Line, guids: Mapping[int, str], guid_of: GuidOf, taken: set[str]) -> str:
    """The carrier's own PnPGuid went on with another number: that of a member nobody else is known by."""
    for one in (*line.groups, *line.segments, *line.mixed):
        guid = guids.get(one) or guid_of(one)
        if guid and guid not in taken:
            return guid
    return ""


def _is_plain(line: Line, relations: Relations, read: Mapping[int, str | None]) -> bool:
    """Whether the line is one group with its own segments, whose number and identity are read off that group."""
    return (
        line.groups == [line.carrier]
        and not line.mixed
        and not line.identity
        and line.follows is None
        and read[line.carrier] == line.number
        and line.segments == list(relations.segments_in.get(line.carrier, ()))
    )


def _several_numbers(group: Group, tags: Sequence[str]) -> Finding:
    shown = ", ".join(said(tag) for tag in tags[:5])
    more = f" and {len(tags) - 5} more" if len(tags) > 5 else ""
    return Finding(
        code="several_line_numbers",
        message=f"The segments of line group {group.pnpid} carry {len(tags)} line numbers: {shown}{more}. "
        "Each segment counts to the line whose number it carries.",
        pnpid=group.pnpid,
        class_name=group.class_name,
        tag=group.number,
        hint="If it is one line, give all its segments one number; if not, put them into groups of their own.",
        data={"numbers": list(tags)},
    )
