"""The acceptance journey of a SYNAPSE, whichever it is: the same story on every server that plant3d-sync works with.

What differs from server to server is behind `SynapseSide`: how a person there reads and edits. Everything else is
the command line and edits of the Plant 3D database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plant3d_sync.sample import edits
from tests.support.world import NAME, Row, Said, World

SETTINGS: Mapping[str, Any] = {
    "write": "sql",
    "drawings_unseen": "closed",
    "missing": {"reads": 1, "minutes": 0, "policy": "archive"},
}
"""Settings of the project: both directions write, and what is gone is archived at the first read without it."""

KILLED_AT = ("pull.request_sent", "pull.reply_received", "push.committed")
"""Where a run of the journey dies: its batch is under way, its answer unread, its transaction just committed."""

KINDS = {"pump": "Equipment", "valve": "HandValves", "instrument": "Instrumentation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An asset as a person sees it in SYNAPSE."""

    id: str
    tag: str
    description: str | None


class SynapseSide(Protocol):
    """People and administrators of one SYNAPSE project."""

    def live(self) -> Mapping[str, Seen]:
        """The assets that people work with, by tag; what a sync marked as removed is not among them."""
        ...

    def describes(self, tag: str, text: str | None) -> None:
        """A person changes the description of the live asset with this tag."""
        ...

    def writes(self) -> int:
        """How many assets the sync really changed here so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSide:
    """A SYNAPSE with the integration API and the /dev helpers of the tests."""

    world: World

    def live(self) -> Mapping[str, Seen]:
        return {
            tag: Seen(id=asset["id"], tag=tag, description=asset["description"])
            for tag, asset in self.world.live().items()
        }

    def describes(self, tag: str, text: str | None) -> None:
        self.world.user_edits(self.live()[tag].id, description=text, _by="user:marie")

    def writes(self) -> int:
        return self.world.writes()


Step = Callable[["Journey"], None]


@dataclass(slots=True, kw_only=True)
class Journey:
    """One way through everything a plant and its SYNAPSE do together; each step ends at rest.

    At each point of `killed_at` one run dies.
    """

    world: World
    side: SynapseSide
    killed_at: Sequence[str] = KILLED_AT

    def whole(self) -> None:
        """All steps in their order."""
        for step in STEPS:
            step(self)

    # ------------------------------------------------------------------ words of the steps

    def now(self, *codes: int) -> Row:
        """A run of both directions, which must end with one of these exit codes (0 unless told)."""
        said = self.world.cli("now", NAME)
        assert said.code in (codes or (0,)), (said.code, said.out, said.err)
        return said.json

    def at_rest(self) -> None:
        """The next run finds nothing to write on either side."""
        before = self.side.writes(), self.world.fingerprint()
        self.now(0, 3)
        assert (self.side.writes(), self.world.fingerprint()) == before

    def items(self, kind: str, first: int, count: int) -> list[edits.Found]:
        """Tagged items of a kind that no other step uses. Of two with one tag neither is taken."""
        roots = KINDS[kind]
        tags = [item.tag for item in edits.find(self.world.dcf)]
        found = [
            item
            for item in edits.find(self.world.dcf, roots)
            if item.tag and "?" not in item.tag and tags.count(item.tag) == 1
        ]
        chosen = found[first : first + count]
        assert len(chosen) == count, f"the plant has too few items of the kind {kind}"
        return chosen

    def drawn(self, pnpid: int) -> edits.Found:
        """The item as Plant 3D holds it now."""
        (found,) = [item for item in edits.find(self.world.dcf) if item.pnpid == pnpid]
        return found

    def both_hold(self, pnpid: int, text: str) -> None:
        """Plant 3D and SYNAPSE agree on this description."""
        item = self.drawn(pnpid)
        assert item.tag is not None
        assert (item.description, self.side.live()[item.tag].description) == (text, text)

    def redescribes(self, pnpid: int, text: str) -> None:
        """A designer changes a description."""
        edits.set_value(self.world.dcf, pnpid, "Description", text)


# ---------------------------------------------------------------- the steps


def everything_arrives(journey: Journey) -> None:
    """The first pull brings every tagged item, and the second run writes nothing."""
    said: Said = journey.world.cli("pull", NAME)
    assert said.code == 0, (said.out, said.err)
    tagged = {item.tag for root in KINDS.values() for item in edits.find(journey.world.dcf, root)}
    assert {tag for tag in tagged if tag and "?" not in tag} <= set(journey.side.live())
    journey.at_rest()


def edits_go_both_ways(journey: Journey) -> None:
    """A person describes a pump in SYNAPSE and a valve in Plant 3D; both sides hold both."""
    (pump,) = journey.items("pump", 0, 1)
    (valve,) = journey.items("valve", 0, 1)
    assert pump.tag is not None
    journey.side.describes(pump.tag, "Pompe décrite dans SYNAPSE")
    journey.redescribes(valve.pnpid, "Vanne décrite dans Plant 3D")
    journey.now()
    journey.both_hold(pump.pnpid, "Pompe décrite dans SYNAPSE")
    journey.both_hold(valve.pnpid, "Vanne décrite dans Plant 3D")
    journey.at_rest()


def a_conflict_is_decided(journey: Journey) -> None:
    """Both sides describe an item anew; a person is asked and his choice stands on both sides."""
    for number, choice in enumerate(("plant3d", "synapse")):
        (item,) = journey.items("valve", 1 + number, 1)
        assert item.tag is not None
        texts = {"plant3d": f"Dit par le dessinateur {number}", "synapse": f"Dit par le préparateur {number}"}
        journey.redescribes(item.pnpid, texts["plant3d"])
        journey.side.describes(item.tag, texts["synapse"])
        journey.now(3)
        (conflict,) = journey.world.conflicts()
        assert journey.drawn(item.pnpid).description == texts["plant3d"], "nothing was overwritten"
        assert journey.side.live()[item.tag].description == texts["synapse"], "nothing was overwritten"
        said = journey.world.cli("resolve", conflict["id"], choice)
        assert said.code == 0, (said.out, said.err)
        journey.both_hold(item.pnpid, texts[choice])
        journey.at_rest()


def tags_move_along(journey: Journey) -> None:
    """A chain of three renames and a circle of three: every asset keeps its id and has its item's tag."""
    chain, circle = journey.items("valve", 4, 3), journey.items("instrument", 0, 3)
    before = {tag: asset.id for tag, asset in journey.side.live().items()}
    dcf = journey.world.dcf
    tags = [str(item.tag) for item in chain]
    edits.rename_tag(dcf, chain[2].pnpid, f"{tags[2]}-NEW")
    edits.rename_tag(dcf, chain[1].pnpid, tags[2])
    edits.rename_tag(dcf, chain[0].pnpid, tags[1])
    edits.swap_tags(dcf, circle[0].pnpid, circle[1].pnpid)
    edits.swap_tags(dcf, circle[1].pnpid, circle[2].pnpid)
    journey.now()
    live = journey.side.live()
    for item in (*chain, *circle):
        assert live[str(journey.drawn(item.pnpid).tag)].id == before[str(item.tag)]
    assert tags[0] not in live
    journey.at_rest()


def an_item_is_drawn_again(journey: Journey) -> None:
    """An item is deleted and another one drawn with its tag: the old asset makes room for the new one."""
    (valve,) = journey.items("valve", 8, 1)
    old = journey.side.live()[str(valve.tag)]
    edits.delete_item(journey.world.dcf, valve.pnpid)
    fresh = edits.add_item(
        journey.world.dcf, valve.class_name, {"Tag": valve.tag, "Description": "Redessinée"}
    )
    journey.now(0, 3)
    journey.now(0, 3)
    assert journey.side.live()[str(valve.tag)].id != old.id
    journey.both_hold(fresh, "Redessinée")
    journey.at_rest()


def a_killed_run_loses_nothing(journey: Journey) -> None:
    """A run dies with work on both sides half done; the next one ends as if nothing had happened."""
    points = journey.killed_at if os.name == "posix" else ()
    for number, point in enumerate(points):
        down = journey.items("valve", 10, 6)
        (up,) = journey.items("pump", 2 + number, 1)
        assert up.tag is not None
        for item in down:
            journey.redescribes(item.pnpid, f"Modifiée avant l'arrêt {number} de {item.pnpid}")
        journey.side.describes(up.tag, f"Saisie avant l'arrêt {number}")
        points_on = {"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:1:kill", "SYNC_BATCH_SIZE": "2"}
        dead = journey.world.process("now", NAME, env=points_on)
        assert dead.code == -9, f"{point} was not met: {dead.out} {dead.err}"
        journey.now(0, 3)
        journey.at_rest()
        for item in down:
            journey.both_hold(item.pnpid, f"Modifiée avant l'arrêt {number} de {item.pnpid}")
        journey.both_hold(up.pnpid, f"Saisie avant l'arrêt {number}")


def a_run_is_undone(journey: Journey) -> None:
    """What a run wrote on both sides is put back, and the words stay where people typed them."""
    (pump,) = journey.items("pump", 6, 1)
    (valve,) = journey.items("valve", 18, 1)
    assert pump.tag is not None
    texts = {
        item.pnpid: (item.description, journey.side.live()[str(item.tag)].description)
        for item in (pump, valve)
    }
    journey.side.describes(pump.tag, "À défaire, saisie dans SYNAPSE")
    journey.redescribes(valve.pnpid, "À défaire, saisie dans Plant 3D")
    run = journey.now()
    undone = journey.world.cli("undo", run["run_id"])
    assert undone.code == 0, (undone.out, undone.err)
    applied = journey.world.cli("apply", undone.json["plan_id"])
    assert applied.code == 0, (applied.out, applied.err)
    live = journey.side.live()
    assert journey.drawn(pump.pnpid).description == texts[pump.pnpid][0]
    assert live[pump.tag].description == "À défaire, saisie dans SYNAPSE"
    assert live[str(valve.tag)].description == texts[valve.pnpid][1]
    assert journey.drawn(valve.pnpid).description == "À défaire, saisie dans Plant 3D"
    journey.at_rest()


STEPS: tuple[Step, ...] = (
    everything_arrives,
    edits_go_both_ways,
    a_conflict_is_decided,
    tags_move_along,
    an_item_is_drawn_again,
    a_killed_run_loses_nothing,
    a_run_is_undone,
)
