"""Everything one application of a plan needs, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec

from plant3d_sync.errors import LeaseLost
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.step import Step, ToSynapse
from plant3d_sync.model.tally import End, StepCounts
from plant3d_sync.run.project import Project, World
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState


class Refused(msgspec.Struct, frozen=True):
    """A step whose condition did not hold any more when it came to SYNAPSE, and what is said of it if that stays so."""

    step: ToSynapse
    error: RowError


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
    refused: list[Refused] = msgspec.field(default_factory=list)
    """Those; their links show what SYNAPSE holds now, so they can be decided anew. Until it is known whether they are, they
    stand in no count."""

    def fail(self, step: Step, error: RowError) -> None:
        """A step was not carried out, and waits."""
        self.waiting += 1
        self.counts.add(step.entity, step.op, End.FAILED)
        self.errors.append(error)

    def leave_refused(self) -> None:
        """What was refused is not decided anew in this run: it failed."""
        for one in self.refused:
            self.fail(one.step, one.error)
        self.refused = []

    def decide_refused_anew(self) -> None:
        """What was refused is decided anew: what follows counts in its place, also for what else failed of its items."""
        whose = {one.step.plant3d_id for one in self.refused}
        for one in self.refused:
            self.counts.add(one.step.entity, one.step.op, End.ANEW)
        self.errors = [error for error in self.errors if error.plant3d_id not in whose]
        self.refused = []

    def join(self, later: Outcome) -> None:
        """What a later look of the same run came to is added; what that one was refused may be decided anew as well."""
        self.counts.join(later.counts)
        self.errors += later.errors
        self.findings += later.findings
        self.written += later.written
        self.cells_written += later.cells_written
        for end, number in later.push.items():
            self.push[end] = self.push.get(end, 0) + number
        self.waiting += later.waiting
        self.remembered += later.remembered
        self.echoes += later.echoes
        self.misses += later.misses
        self.refused += later.refused

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
