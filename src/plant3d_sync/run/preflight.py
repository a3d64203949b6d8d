"""Asked before every command that links or writes: is this the SYNAPSE project and the database we know?

A run asks the questions about the database as guards of its plan, so that a person may approve them; every other
command stops. One place, so that no command is a door around the checks.
"""

from __future__ import annotations

from collections.abc import Collection

from plant3d_sync.errors import ConfigError, GuardStop
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.reconcile.guard import check_identity
from plant3d_sync.run.project import Project, World
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.projects import ProjectState


def check_synapse_project(project: Project, known: ProjectState) -> None:
    """Links belong to one SYNAPSE project; pointing the configuration at another one would mix two plants.

    Raises ConfigError `synapse_project_changed`.
    """
    remembered, configured = known.synapse_project_id, project.config.synapse_project_id
    if remembered and remembered.lower() != configured.lower():
        raise ConfigError(
            f"{known.name} was linked with the SYNAPSE project {remembered} and is now configured for "
            f"{configured}. Nothing was written.",
            hint="Give the new pair a project name of its own, or put the old id back.",
            code="synapse_project_changed",
        )


def check_neighbours(world: World, project: Project, seen: SourceIdentity) -> None:
    """Two projects must not bring copies of one database to one SYNAPSE project: each would overwrite the other.

    Only projects that are still configured count, so a project may be renamed. Raises ConfigError `source_shared`.
    """
    others = project.neighbours
    if not others:
        return
    with world.state.read() as connection:
        for name in sorted(others):
            other = project_state.get(connection, name)
            if other is None or other.identity is None or other.identity.dbid != seen.dbid:
                continue
            raise ConfigError(
                f"{project.name} and {name} bring the same Plant 3D database (DBID {seen.dbid}) to the same "
                "SYNAPSE project; each would overwrite what the other wrote. Nothing was written.",
                hint=f"Give {project.name} a SYNAPSE project of its own, or take {name} out of the configuration.",
                code="source_shared",
            )


def check_source(known: ProjectState, seen: SourceIdentity, *, approved: Collection[str] = ()) -> None:
    """The database is the one we know, and not an older copy of it, unless these guards were approved by name.

    Raises GuardStop `guard`.
    """
    hits = [hit for hit in check_identity(known.identity, seen) if hit.name not in approved]
    if hits:
        raise GuardStop(
            hits[0].message,
            hint=f"Check the source of {known.name}. If it is meant: `plant3d-sync plan {known.name}`, look at the "
            "plan, then `plant3d-sync apply PLAN_ID --approve-guards`.",
            code="guard",
            details={"guards": [hit.to_dict() for hit in hits]},
        )
