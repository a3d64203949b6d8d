"""Steps without a write: only our own memory changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import Asset
from plant3d_sync.model.step import Absent, Adopt, Archive, Quiet, Settle, Touch
from plant3d_sync.reconcile import advance
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.receipts import ask_again, link_of, links_of
from plant3d_sync.state import links
from plant3d_sync.state import projects as project_state


def remember_quiet(execution: Execution, steps: Sequence[Quiet]) -> None:
    """Settle, touch, missing, and each `Adopt` that needs no write: only our own memory changes."""
    execution.check()
    failpoint("pull.before_bookkeeping")
    number = execution.known.number
    assets = _to_adopt(execution, [step for step in steps if isinstance(step, Adopt)])
    with execution.world.state.write() as connection:
        execution.lease.fence.check(connection)
        old = links_of(connection, steps)
        moved: list[Link] = []
        made: list[Link] = []
        for step in steps:
            link, asset = old.get(link_of(step) or 0), assets.get(step.plant3d_id)
            match step:
                case Adopt():
                    if asset is not None:
                        made.append(advance.created(step, asset, link_id=execution.new_link_id()))
                case Absent() | Archive():
                    if link is not None:
                        moved.append(advance.gone(link, step))
                case Settle() | Touch():
                    if link is not None:
                        moved.append(advance.remembered(link, step))
                case _:
                    assert_never(step)
        links.add(connection, made, number=number, run_id=execution.run_id)
        links.drop_unlinked(connection, number, [link.asset_id for link in made])
        links.save(connection, moved)
        ask_again(connection, execution, [*made, *moved])
        project_state.update(connection, execution.project.name, next_link=execution.next_link)
    execution.outcome.remembered += len(steps)
    failpoint("pull.bookkeeping_stored")


def _to_adopt(execution: Execution, steps: Sequence[Adopt]) -> dict[str, Asset]:
    """The assets to link as the feed showed them, else as SYNAPSE holds them now; what changes in SYNAPSE after that
    is in the next feed.
    """
    if not steps:
        return {}
    with execution.world.state.read() as connection:
        ids = [step.plant3d_id for step in steps]
        found = links.unlinked_by_plant3d_id(connection, execution.known.number, ids)
    for step in steps:
        if step.plant3d_id not in found:
            asset = execution.project.synapse.get(step.asset_id or "")
            if asset is not None:
                found[step.plant3d_id] = asset
    return found
