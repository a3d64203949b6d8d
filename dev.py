#!/usr/bin/env python3
"""Everything a developer or a curious visitor needs, with nothing but Python.

    python3 dev.py demo          the whole journey on a sample project
    python3 dev.py contrib       the modules that contrib/synapse shares with us
    python3 dev.py mutants       break the program on purpose: do the tests notice?
    python3 dev.py test          style, types, import rules, tests with coverage

The first call makes `.venv` beside this file and installs the locked requirements into it (hashes
checked); later calls go straight to work, until a lock file changes. Standard library only; Python 3.11
or newer, on Linux, macOS and Windows. `P3DSYNC_VENV` names another folder for the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
REQUIREMENTS = ROOT / "requirements"
WINDOWS = os.name == "nt"
STAMP = "plant3d-sync-installed.json"
OLDEST = (3, 11)


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


# --- the environment -----------------------------------------------------------------------------


def venv_folder() -> Path:
    """Where the environment lives: `P3DSYNC_VENV`, else `.venv` beside this file."""
    named = os.environ.get("P3DSYNC_VENV")
    return Path(named).expanduser().absolute() if named else ROOT / ".venv"


def scripts_folder() -> Path:
    return venv_folder() / ("Scripts" if WINDOWS else "bin")


def venv_python() -> Path:
    return scripts_folder() / ("python.exe" if WINDOWS else "python")


def digest(lock: Path) -> str:
    """Line ends do not count: a Windows checkout has the same lock."""
    return hashlib.sha256(lock.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def ensure(kind: str) -> None:
    """Make the environment hold `requirements/<kind>.lock` ("runtime" or "dev"); dev includes runtime."""
    wanted = {name: digest(REQUIREMENTS / f"{name}.lock") for name in ("runtime", "dev")}
    if not venv_python().exists():
        make_venv()
    version = ask_version()
    present = read_stamp()
    if present.get("python") == version and present.get(kind) == wanted[kind]:
        return
    install(REQUIREMENTS / f"{kind}.lock")
    link_source()
    stamp = {"python": version, "runtime": wanted["runtime"]}
    if kind == "dev":
        stamp["dev"] = wanted["dev"]
    (venv_folder() / STAMP).write_text(json.dumps(stamp), encoding="utf-8")


def make_venv() -> None:
    say(f"Making the environment {venv_folder()} (first use only).")
    try:
        import ensurepip
        import venv
    except ImportError as error:
        raise SetupError(no_venv_advice()) from error
    if not ensurepip.version():
        raise SetupError(no_venv_advice())
    try:
        venv.create(venv_folder(), with_pip=True, symlinks=not WINDOWS)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(venv_folder(), ignore_errors=True)
        raise SetupError(f"The environment could not be made: {error}\n{no_venv_advice()}") from error


def no_venv_advice() -> str:
    return (
        f"This Python ({sys.executable}) cannot make virtual environments with pip.\n"
        "  Debian, Ubuntu:  sudo apt-get install python3-venv\n"
        "  Fedora:          sudo dnf install python3-pip\n"
        "  macOS, Windows:  install Python 3.11 or newer from python.org\n"
        "Then run the same command again. Nothing was installed."
    )


def ask_version() -> str:
    """The environment's own Python, such as "3.12.1"; it may differ from the one running this file."""
    code = "import platform; print(platform.python_version())"
    try:
        answer = subprocess.run([venv_python(), "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"The environment {venv_folder()} does not start ({error}).\n"
            "Its Python was probably moved or removed. Delete that folder and run the same command again."
        ) from error
    version = answer.stdout.strip()
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise SetupError(
            f"The environment {venv_folder()} has Python {version}; 3.11 or newer is needed.\n"
            "Delete that folder and run the same command with a newer Python."
        )
    return version


def read_stamp() -> dict[str, str]:
    """What was installed last; an unreadable or absent stamp counts as nothing."""
    try:
        found = json.loads((venv_folder() / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def install(lock: Path) -> None:
    """Install exactly what the lock says, then prove that nothing is missing.

    The lock is complete, so nothing is resolved (`--no-deps`): a package released after it was written cannot
    change the outcome. pip refuses a package whose hash differs. What pip prints is shown only if it fails.
    """
    say(f"Installing {lock.relative_to(ROOT).as_posix()} (about a minute; later calls skip this).")
    ensure_pip()
    code, output = pip("install", "--require-hashes", "--no-deps", "-r", lock)
    if code:
        raise SetupError(
            f"Installing {lock.name} failed. pip says:\n\n{useful_part(output)}\n\n{install_advice(output)}\n"
            "Nothing else was done. Run the same command again when it is settled."
        )
    code, output = pip("check")
    if code:
        raise SetupError(
            f"What {lock.name} installed does not fit together. pip says:\n\n{useful_part(output)}\n\n"
            f"The lock lacks something, or {venv_folder()} holds a package from elsewhere: delete that folder\n"
            "and run the same command again. If it fails again, the lock is wrong: please report this message."
        )


def ensure_pip() -> None:
    """Give the environment a pip if it lost its own."""
    if pip("--version")[0] == 0:
        return
    code, output = captured(venv_python(), "-m", "ensurepip", "--upgrade")
    if code:
        raise SetupError(
            f"The environment {venv_folder()} has no pip, and making one failed:\n\n{useful_part(output)}\n\n"
            "Delete that folder and run the same command again."
        )


def pip(*arguments: str | Path) -> tuple[int, str]:
    """Run pip of the environment: its exit code and all that it printed."""
    return captured(venv_python(), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments)


def captured(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a program: its exit code and what it printed on both channels."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    return done.returncode, done.stdout


PROGRESS = ("WARNING:", "DEPRECATION:", "[notice]", "Looking in ", "Collecting ", "Using cached ", "Downloading ",
            "Requirement already satisfied", "Obtaining dependency information", "Ignoring ")  # fmt: skip


def useful_part(output: str, most: int = 25) -> str:
    """The lines of a failed pip that say what is wrong: its errors, else its last lines."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if "ERROR" in line), None)
    errors = lines[first:] if first is not None else [x for x in lines if not x.strip().startswith(PROGRESS)]
    # pip's retries are warnings, and without an error line they are all that it said
    return "\n".join(f"  {line}" for line in (errors or lines)[-most:]) or "  (nothing)"


ADVICE = (
    ("DO NOT MATCH THE HASHES",
     "A package is not the one that was locked: the index or a proxy on the way changed it, or a download was cut.\n"
     "If it stays so, do not install it; ask who runs the index (PIP_INDEX_URL)."),
    ("CERTIFICATE_VERIFY_FAILED",
     "The index's certificate is not trusted here: set PIP_CERT to the file with your company's certificates."),
    ("No space left", "The disk is full. Both the environment and the folder for temporary files need about 1 GB."),
    ("Permission denied", "This account may not write there. P3DSYNC_VENV names another folder for the environment."),
    ("No matching distribution",
     "The index does not have this package in this version for this Python and machine. With a company index\n"
     "(PIP_INDEX_URL) ask for it there; else try a Python between 3.11 and 3.14."),
)  # fmt: skip


def install_advice(output: str) -> str:
    """What to do about a failed installation; names that do not resolve come before what follows from them."""
    if any(
        word in output for word in ("NewConnectionError", "NameResolutionError", "ProxyError", "timed out")
    ):
        return (
            "The package index cannot be reached. Behind a proxy set HTTPS_PROXY; with a company package index\n"
            "set PIP_INDEX_URL (and PIP_CERT for its certificate)."
        )
    return next((advice for sign, advice in ADVICE if sign in output), "The message above names the package.")


def link_source() -> None:
    """Make `src` importable in the environment and give it the command `plant3d-sync`, without a build."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([venv_python(), "-c", code], capture_output=True, text=True, check=True)
    source = str(ROOT / "src")
    # A .pth file has no fixed encoding; a path with accents goes in as escaped Python instead.
    line = source if source.isascii() else f"import sys; sys.path.append({ascii(source)})"
    (Path(answer.stdout.strip()) / "plant3d_sync_checkout.pth").write_text(line + "\n", encoding="ascii")
    if WINDOWS:
        launcher = '@"%~dp0python.exe" -m plant3d_sync %*\r\n'
        (scripts_folder() / "plant3d-sync.cmd").write_bytes(launcher.encode("ascii"))
    else:
        target = scripts_folder() / "plant3d-sync"
        target.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m plant3d_sync "$@"\n', encoding="ascii")
        target.chmod(0o755)


# --- running things --------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Our variables, the environment's programs first, and this checkout's `src` before any installed copy."""
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of child processes would compile everything again
    env["PATH"] = os.pathsep.join([str(scripts_folder()), env.get("PATH", "")])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), env.get("PYTHONPATH")]))
    env.setdefault("PYTHONUTF8", "1")
    env.update(more or {})
    return env


def run(*command: str | Path, cwd: Path | None = ROOT, env: dict[str, str] | None = None) -> int:
    """Run in the environment; the exit code is the answer (Ctrl+C: 130)."""
    child = subprocess.Popen([str(part) for part in command], cwd=cwd, env=environment(env))
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue  # the child got it too and ends in its own way; its exit code is what counts


def python(*arguments: str | Path, cwd: Path | None = ROOT, env: dict[str, str] | None = None) -> int:
    return run(venv_python(), *arguments, cwd=cwd, env=env)


def quietly(*arguments: str | Path) -> tuple[int, str]:
    """As `python`, beside something else: its exit code and what it printed."""
    return captured(venv_python(), *arguments, cwd=ROOT, env=environment())


def all_of(steps: Sequence[tuple[str, Sequence[str | Path]]]) -> int:
    """Run every step, also after a failure, so that one round shows everything; 1 if any failed."""
    failed = []
    for name, arguments in steps:
        say(f"--- {name}")
        if python(*arguments) != 0:
            failed.append(name)
    if failed:
        say(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


# --- commands --------------------------------------------------------------------------------------

Checks = tuple[tuple[str, Sequence[str | Path]], ...]
QUICK_CHECKS: Checks = (
    ("style (ruff check)", ("-m", "ruff", "check", ".")),
    ("format (ruff format)", ("-m", "ruff", "format", "--check", ".")),
)
SLOW_CHECKS: Checks = (
    ("types (mypy)", ("-m", "mypy")),
    ("import rules (lint-imports)", ("-c", "from importlinter.cli import lint_imports_command as c; c()")),
    ("unused code (vulture)", ("-m", "vulture")),
)
CHECKS: Checks = (*QUICK_CHECKS, *SLOW_CHECKS)


def demo(options: argparse.Namespace, rest: list[str]) -> int:
    """The whole journey on a sample project: nothing to install, no account, no CAD."""
    ensure("runtime")
    return python("-m", "plant3d_sync", "demo", *rest, cwd=None)


def setup(options: argparse.Namespace, rest: list[str]) -> int:
    """Make or refresh the environment, and do nothing else."""
    ensure("dev")
    say(f"Ready: {venv_python()}")
    return 0


def check(options: argparse.Namespace, rest: list[str]) -> int:
    """Style, format, types and import rules, without the tests."""
    ensure("dev")
    return all_of(CHECKS)


def test(options: argparse.Namespace, rest: list[str]) -> int:
    """The checks and the tests. Part of the tests: -k EXPR or paths; then without checks and coverage."""
    ensure("dev")
    long = {"P3DSYNC_LONG": "1"} if options.long else {}
    selected = bool(options.k or rest)
    arguments: list[str | Path] = ["-m", "pytest"]
    if options.k:
        arguments += ["-k", options.k]
    if selected:
        return python(*arguments, *rest, env=long)
    failed = bool(all_of(QUICK_CHECKS))
    # each of the others keeps one core busy and would leave the second one idle
    with ThreadPoolExecutor(max_workers=1) as aside:
        others = aside.submit(lambda: [(name, *quietly(*words)) for name, words in SLOW_CHECKS])
        failed |= all_tests(options, arguments, long)
        for name, code, output in others.result():
            say(f"--- {name}\n{output.rstrip()}")
            failed |= bool(code)
    return int(failed)


def all_tests(options: argparse.Namespace, arguments: list[str | Path], long: dict[str, str]) -> bool:
    """Both parts of the suite, the first one measured; whether anything failed."""
    say("--- tests (pytest)")
    arguments += ["-q", "-n", options.workers, "--dist", "loadfile"]
    whole = [f"tests/{part}" for part in ("acceptance", "integration", "properties", "stories", "worlds")]
    measured = [
        *arguments,
        "--cov",
        "--cov-report",
        "term",
        *(part for name in whole for part in ("--ignore", name)),
    ]
    failed = bool(python(*measured, env=long))
    # whole commands, services and killed processes: they prove behaviour, and measuring them only costs time
    say("--- acceptance, integration, properties, stories and worlds (pytest)")
    # a third of their time they wait for a process or a clock: two more than there are cores keep these busy
    workers = str(int(options.workers) + 2) if options.workers.isdigit() else options.workers
    return bool(python(*arguments, "-n", workers, *whole, env=long)) | failed


def fix(options: argparse.Namespace, rest: list[str]) -> int:
    """Let ruff repair what it can: format, import order, simple rewrites."""
    ensure("dev")
    return python("-m", "ruff", "check", "--fix", ".") | python("-m", "ruff", "format", ".")


def lock(options: argparse.Namespace, rest: list[str]) -> int:
    """Write the lock files again after a change of requirements/*.in; --upgrade takes newer versions."""
    ensure("dev")
    for name in ("runtime", "build", "dev"):
        code = python(
            "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-emit-index-url",
            "--no-header", "--no-strip-extras", "--python-version", "3.11", *(["--upgrade"] if options.upgrade else []),
            f"requirements/{name}.in", "-o", f"requirements/{name}.lock",
        )  # fmt: skip
        if code:
            return code
    say("Locks written. The next command installs them.")
    return 0


def bench(options: argparse.Namespace, rest: list[str]) -> int:
    """Measure a pull beside a hand-tuned floor; what follows goes to bench/pull.py."""
    ensure("dev")
    return python("bench/pull.py", *rest)


def contrib(options: argparse.Namespace, rest: list[str]) -> int:
    """Write the modules that contrib/synapse shares with the reference server; --check only looks."""
    return subprocess.call([sys.executable, str(ROOT / "contrib" / "build.py"), *rest])


def mutants(options: argparse.Namespace, rest: list[str]) -> int:
    """Break the program on purpose and see whether the tests notice; what follows goes to tests/mutants/runner.py."""
    ensure("dev")
    return python("-m", "tests.mutants", *rest)


COMMANDS = {
    "demo": demo,
    "test": test,
    "check": check,
    "fix": fix,
    "bench": bench,
    "contrib": contrib,
    "lock": lock,
    "mutants": mutants,
    "setup": setup,
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        text = (function.__doc__ or "").strip()
        # bench, contrib, demo and mutants hand every option on, so they have none of their own, not even --help.
        commands.add_parser(
            name, help=text, description=text, add_help=name not in {"bench", "contrib", "demo", "mutants"}
        )
    testing = commands.choices["test"]
    testing.add_argument("--long", action="store_true", help="also the tests marked long")
    testing.add_argument("-k", metavar="EXPR", help="only tests whose names match")
    testing.add_argument("--workers", default="2", help="processes for the whole suite (default 2)")
    commands.choices["lock"].add_argument("--upgrade", action="store_true", help="take newer versions")
    return top


def main(arguments: Sequence[str]) -> int:
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        say(f"Python 3.11 or newer is needed, this is {found} ({sys.executable}). Nothing was done.")
        return 2
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if rest and options.command not in {"demo", "bench", "contrib", "mutants", "test"}:
        top.error(f"{options.command} takes no {' '.join(rest)}")
    try:
        return COMMANDS[options.command](options, rest)
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
