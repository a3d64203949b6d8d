"""`demo`: the whole loop in front of your eyes, on a sample gold mine and the reference SYNAPSE.

Every command shown is really run, as a process of its own. After each one the demo asks our own records
(`runs --json`) and the reference server (`/dev/writes`) whether it did what the text says; if not, it says so and
ends with 1.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import msgspec

import plant3d_sync
from plant3d_sync.cli.output import plain, say
from plant3d_sync.errors import SyncError
from plant3d_sync.model.plan import Op
from plant3d_sync.sample import edits, write_sample
from plant3d_sync.state import State, plans
from plant3d_sync.state import runs as run_state
from plant3d_sync.words import said

KEY: Final = "demo-key-for-this-machine-only"
PROJECT: Final = "mine"
STATE: Final = "state.db"
READY_SECONDS: Final = 30.0
_OUTSIDE: Final = ("P3DSYNC_", "PLANT3D_", "SYNAPSE_", "STATE_DB_", "SYNC_", "REDIS_")
_NEW_TAG: Final = "900-PU-999"
_NEW_DESCRIPTION: Final = "Standby pump, added in the demo"
_CHANGED_DESCRIPTION: Final = "Décrit pendant la démonstration"


class DemoError(SyncError):
    """A step did not do what the demo says. A bug of ours, or a machine that cannot run it."""

    code = "demo_failed"
    exit_code = 1


def run_demo(*, keep: bool = False, items: int = 2000) -> int:
    """Play the demo; 0 if every step did what its text says, else 1. The folder is removed unless `keep`."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="plant3d-sync-demo-"))
    try:
        with _reference_synapse(folder) as (url, project):
            show = _Show(folder=folder, url=url, project=project, items=items)
            show.play()
            _goodbye(show, keep=keep, seconds=time.monotonic() - started)
    except SyncError as error:
        say(f"\nThe demo stopped: {plain(error.message)}")
        say(f"  {plain(error.hint)}")
        say(f"  Everything it wrote is in {folder}; it was kept so that you can look.")
        return 1
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


# ---------------------------------------------------------------- the stage


@contextmanager
def _reference_synapse(folder: Path) -> Iterator[tuple[str, str]]:
    """The reference server on a free port as a process of its own: its address and its project."""
    project = str(uuid.uuid4())
    command = _command(
        "synapse-dev",
        "--port",
        "0",
        "--db",
        str(folder / "synapse.db"),
        "--api-key",
        KEY,
        "--project",
        project,
    )
    log = folder / "synapse.log"
    with log.open("w", encoding="utf-8") as complaints:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            env=_environment(),
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip():
            process.wait(timeout=READY_SECONDS)
            raise DemoError(
                f"The reference SYNAPSE did not start: {log.read_text(encoding='utf-8').strip()[-500:]}",
                hint="Try it alone: plant3d-sync synapse-dev --port 0",
            )
        yield json.loads(line)["url"], project
    finally:
        process.terminate()
        process.wait(timeout=READY_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _environment() -> dict[str, str]:
    """This process's variables without anybody's real settings, and what the demo needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OUTSIDE)}
    source = str(Path(plant3d_sync.__file__).resolve().parents[1])  # children run in another folder
    path = os.pathsep.join(filter(None, [source, kept.get("PYTHONPATH")]))
    return {**kept, "SYNAPSE_API_KEY": KEY, "PYTHONUTF8": "1", "PYTHONPATH": path}


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "plant3d_sync", *words]


class _Show(msgspec.Struct):
    """The steps, in order. `writes`: what the reference server had counted when we last looked."""

    folder: Path
    url: str
    project: str
    items: int
    step: int = 0
    writes: Mapping[str, int] = msgspec.field(default_factory=dict)

    @property
    def dcf(self) -> Path:
        return self.folder / "ProcessPower.dcf"

    @property
    def config(self) -> Path:
        return self.folder / "plant3d-sync.yml"

    def play(self) -> None:
        """All steps."""
        self.introduce()
        self.set_up()
        self.first_pull()
        self.second_pull()
        self.edited_pull()

    # ------------------------------------------------------------ steps

    def introduce(self) -> None:
        say("plant3d-sync demo: a Plant 3D P&ID project on one side, SYNAPSE on the other.")
        say("Démonstration : un projet P&ID d'un côté, SYNAPSE de l'autre; rien de réel n'est touché.")
        say(f"Everything happens in {self.folder}")

    def set_up(self) -> None:
        self.headline("A sample project, a reference SYNAPSE, a configuration")
        report = write_sample(self.dcf, items=self.items)
        counts = ", ".join(f"{count} {name}" for name, count in report.by_entity.items())
        say(f"Plant 3D   {self.dcf.name}: a gold mine with {counts}")
        say(f"SYNAPSE    {self.url}, empty, a process of its own")
        self.config.write_text(_configuration(self.url, self.project, self.folder), encoding="utf-8")
        say(f"Settings   {self.config.name}:")
        for line in self.config.read_text(encoding="utf-8").splitlines():
            say(f"             {line}")
        self.writes = self.counted()

    def first_pull(self) -> None:
        self.headline("Pull: everything is new")
        self.run("pull", PROJECT)
        self.check(created=self.items, sent=self.items)
        say(f"Checked: SYNAPSE counted {self.items} assets created, one per item.")

    def second_pull(self) -> None:
        self.headline("Pull again: nothing changed, so nothing is written")
        self.run("pull", PROJECT)
        self.check(unchanged=self.items, sent=0)
        say("Checked: SYNAPSE was not written to at all.")

    def edited_pull(self) -> None:
        self.headline("A designer works in Plant 3D")
        made = _edit(self.dcf)
        for line in made:
            say(f"  - {line}")
        self.headline("Plan: see exactly that, before anything is written")
        plan_id = self.plan()
        self.run("show", plan_id)
        self.headline("Apply: do exactly that plan")
        self.run("apply", plan_id)
        self.check(created=1, updated=2, missing=1, unchanged=self.items - 3, sent=3)
        say(
            "Checked: 3 writes. The new item was created, the renamed one kept its asset, and the deleted one"
        )
        say(
            "is only noted as missing: after three reads without it, a person is asked before it is archived."
        )
        self.headline("And once more: nothing left to do")
        self.run("pull", PROJECT)
        self.check(created=0, updated=0, sent=0)
        self.run("runs", PROJECT)

    # ------------------------------------------------------------ running and checking

    def headline(self, text: str) -> None:
        self.step += 1
        title = f"{self.step}. {text}"
        say(f"\n{title}\n{'-' * len(title)}")

    def run(self, *words: str) -> None:
        """Show the command, run it in the demo's folder, its output straight to the terminal."""
        say(f"$ plant3d-sync {' '.join(words)}")
        sys.stdout.flush()
        code = subprocess.run(_command(*words), cwd=self.folder, env=_environment()).returncode
        if code != 0:
            raise DemoError(
                f"`plant3d-sync {' '.join(words)}` ended with {code} instead of 0.",
                hint="Its own message is above.",
            )

    def plan(self) -> str:
        """Run a dry run, and check the plan it stored: one creation, two updates, one item missing, no write."""
        self.run("pull", PROJECT, "--dry-run")
        with self.state() as state, state.read() as connection:
            plan_id = plans.newest(connection) or ""
            stored = run_state.get_plan(connection, plan_id)
            steps = list(run_state.all_steps(connection, stored)) if stored is not None else []
        seen = Counter(step.op.value for step in steps if step.op is not Op.TOUCH)
        counted = self.counted()
        expect(
            {"create": 1, "update": 2, "missing": 1, "written": 0}, {**seen, "written": self.sent(counted)}
        )
        return plan_id

    @contextmanager
    def state(self) -> Iterator[State]:
        """The demo's state database, to check what was remembered."""
        state = State(f"sqlite:///{(self.folder / STATE).as_posix()}")
        try:
            yield state
        finally:
            state.close()

    def sent(self, counted: Mapping[str, int]) -> int:
        """Writes since the last look."""
        before, self.writes = self.writes, counted
        return counted["effective"] - before["effective"]

    def counted(self) -> dict[str, int]:
        """What the reference server counts: assets really changed, by status."""
        with httpx2.Client(trust_env=False, headers={"X-API-Key": KEY}, timeout=30) as client:
            found = client.get(f"{self.url}/dev/writes").raise_for_status().json()
        return {"effective": int(found["effective"]), **found["by_status"]}

    def check(self, *, sent: int, **stats: int) -> None:
        """The newest run's own figures and the server's must both be these. Raises DemoError if not."""
        with self.state() as state, state.read() as connection:
            run = run_state.history(connection, PROJECT, limit=1)[0]
        seen = {name: run.stats[name] for name in stats}
        expect(
            {"outcome": "clean", "written": sent, **stats},
            {"outcome": run.outcome, "written": self.sent(self.counted()), **seen},
        )


def expect(wanted: Mapping[str, object], seen: Mapping[str, object]) -> None:
    """Stop the demo unless a step did what its text says."""
    if dict(wanted) != dict(seen):
        raise DemoError(
            f"This step should have ended with {dict(wanted)}, but it was {dict(seen)}.",
            hint="Please report this with the output above.",
            details={"wanted": dict(wanted), "seen": dict(seen)},
        )


def _configuration(url: str, project: str, folder: Path) -> str:
    return (
        f"state_db_url: sqlite:///{(folder / STATE).as_posix()}\n"
        f"synapse: {{url: {url}, api_key_env: SYNAPSE_API_KEY}}\n"
        "projects:\n"
        f"  {PROJECT}: {{synapse_project_id: {project}, source: ProcessPower.dcf}}\n"
    )


def _edit(dcf: Path) -> list[str]:
    """A description, a rename, a deletion, a new item, the way Plant 3D would save them; one line about each."""
    # None of the three stands at the end of a line: a line's `to` would change with the tag of its end.
    described = _tagged(edits.find(dcf, "Equipment"))
    renamed = _tagged(edits.find(dcf, "FieldMountedDiscreteInstrument"))
    deleted = _tagged(edits.find(dcf, "ElectricMotor"))
    new_name = f"{renamed.tag}A"
    edits.set_value(dcf, described.pnpid, "Description", _CHANGED_DESCRIPTION)
    edits.rename_tag(dcf, renamed.pnpid, new_name)
    edits.delete_item(dcf, deleted.pnpid)
    edits.add_item(dcf, "HorizontalCentrifugalPump", {"Tag": _NEW_TAG, "Description": _NEW_DESCRIPTION})
    return [
        f"describes {described.tag}: {said(_CHANGED_DESCRIPTION)} instead of {said(described.description)}",
        f"renames {renamed.tag} to {new_name}",
        f"deletes {deleted.tag}",
        f"adds {_NEW_TAG}: {said(_NEW_DESCRIPTION)}",
    ]


def _tagged(found: list[edits.Found]) -> edits.Found:
    for item in found:
        if item.tag and "?" not in item.tag:
            return item
    raise DemoError("The sample has no tagged item of a class the demo edits.", hint="Use more --items.")


# ---------------------------------------------------------------- what next


def _goodbye(show: _Show, *, keep: bool, seconds: float) -> None:
    say(f"\nDone in {seconds:.0f} s: every step did what it said.\n")
    say("What to try next")
    program = Path(sys.executable).with_name("plant3d-sync.cmd" if os.name == "nt" else "plant3d-sync")
    if program.is_file():
        say(f"  (the command plant3d-sync is {program})")
    if keep:
        _go_on(show)
    else:
        say("  keep the folder and go on by hand      python3 dev.py demo --keep")
    say("  look at a project of yours, read-only  plant3d-sync inspect PATH_OF_THE_PROJECT")
    say("  connect it                             docs/quickstart.md")
    say("  what it does to your project           docs/explanation/what-it-does-to-your-project.md")


def _go_on(show: _Show) -> None:
    """The commands that continue where the demo ended; the server stops with the demo, so it comes first."""
    port = show.url.rpartition(":")[2]
    quoted = shlex.quote(str(show.folder)) if os.name == "posix" else f'"{show.folder}"'
    say("  In one terminal:")
    say(f"    cd {quoted}")
    say(f"    {_setting_line()}")
    say(f"    plant3d-sync synapse-dev --port {port} --db synapse.db")
    say("  In another, after the same cd and the same key:")
    for words in ("doctor mine", "pull mine --full", "pull mine --dry-run", "runs mine"):
        say(f"    plant3d-sync {words}")


def _setting_line() -> str:
    return f"export SYNAPSE_API_KEY={KEY}" if os.name == "posix" else f'$env:SYNAPSE_API_KEY = "{KEY}"'
