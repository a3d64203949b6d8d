"""Everything one application of a plan needs, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec

from plant3d_sync.errors import LeaseLost
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.step import ToSynapse
from plant3d_sync.model.tally import StepCounts
from plant3d_sync.run.project import Project, World
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState


class Outcome(msgspec.Struct):
    """What became of the steps, by entity, and every row that failed."""

    counts: StepCounts = msgspec.field(default_factory=StepCounts)
    errors: list[RowError] = msgspec.field(default_factory=list)
    findings: list[Finding] = msgspec.field(default_factory=list)
    written: int = 0
    cells_written: int = 0
    push: dict[str, int] = msgspec.field(default_factory=dict)
    waiting: int = 0
    remembered: int = 0
    """Steps without a write that are done."""
    echoes: int = 0
    """Writes that changed nothing: SYNAPSE held the values already."""
    misses: int = 0
    """Writes to SYNAPSE whose condition did not hold any more."""
    refused: list[ToSynapse] = msgspec.field(default_factory=list)
    """The steps of those; their links show what SYNAPSE holds now, so they can be decided again."""

    @property
    def progress(self) -> int:
        """Steps that need not be done again."""
        return self.written + self.cells_written + self.remembered


class Execution(msgspec.Struct, kw_only=True):
    """Everything one application of a plan needs."""

    world: World
    project: Project
    known: ProjectState
    lease: Lease
    run_id: str
    plan_id: str
    rules: RuleSet
    actor: str
    outcome: Outcome = msgspec.field(default_factory=Outcome)
    approved: bool = False
    """Whether a person applies the plan: steps that need a person are carried out."""
    stop: Callable[[], None] = lambda: None
    """Called between batches; raises when the run must end (cancel, deadline, lease lost)."""
    next_link: int = 1
    stored_steps: bool = False
    """Whether the chunks are those of the stored plan, so that an intent can point at its steps."""
    just_read: Container[str] = frozenset()
    """Identities whose assets SYNAPSE showed in this run before it was decided; the others' are what we remember."""

    def new_link_id(self) -> int:
        """The id of a link that is made now."""
        made = project_state.link_id(self.known.number, self.next_link)
        self.next_link += 1
        return made

    def check(self) -> None:
        """End here if the run must end."""
        if self.lease.lost.is_set():
            raise LeaseLost(
                f"Another run of {self.project.name} took over. This one stopped and wrote nothing more.",
                hint="Look at the newer run; nothing has to be repaired.",
            )
        self.stop()
