"""Try breaks in a process that has the program and the tests imported: each in a fork of it, one function exchanged.

A start, its imports and the collection cost more than most tests; here they are paid once for all breaks that the same
tests stand for. What cannot be exchanged in a running program (a constant, a class body, a decorator, a cached function)
is not tried here: `exchange` says so, and the runner writes it into a copy of the program, as it does with what survived.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest


class CannotExchange(Exception):
    """A break that is more than the bodies of functions."""


def differing(
    old: CodeType, new: CodeType, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], CodeType]]:
    """The functions whose bodies differ between two versions of a module: their path of names, and the new body.

    Raises CannotExchange if anything else differs.
    """
    if not _same_instructions(old, new) or len(old.co_consts) != len(new.co_consts):
        raise CannotExchange(".".join(path) or "the module itself")
    for before, after in zip(old.co_consts, new.co_consts, strict=True):
        if not isinstance(before, CodeType) or not isinstance(after, CodeType):
            if not _same(before, after):
                raise CannotExchange(f"a constant of {'.'.join(path) or 'the module'}")
        elif before.co_flags & inspect.CO_OPTIMIZED:
            if not _same(before, after):
                yield (*path, before.co_name), after
        else:
            yield from differing(before, after, (*path, before.co_name))


def _same_instructions(one: CodeType, other: CodeType) -> bool:
    return (one.co_code, one.co_names, one.co_varnames, one.co_freevars, one.co_cellvars) == (
        other.co_code,
        other.co_names,
        other.co_varnames,
        other.co_freevars,
        other.co_cellvars,
    )


def _same(one: object, other: object) -> bool:
    """Whether two constants are the same; where their lines stand does not count."""
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return (
            _same_instructions(one, other)
            and len(one.co_consts) == len(other.co_consts)
            and all(map(_same, one.co_consts, other.co_consts))
        )
    return type(one) is type(other) and one == other


def function_at(module: ModuleType, path: Sequence[str]) -> FunctionType:
    """The function itself, below what its decorators made of it."""
    found: object = module
    for name in path:
        try:
            found = inspect.getattr_static(found, name)
        except AttributeError as error:
            raise CannotExchange(f"no {'.'.join(path)}") from error
    while not isinstance(found, FunctionType):
        if hasattr(found, "cache_clear"):
            raise CannotExchange(f"{'.'.join(path)} keeps its answers")
        if isinstance(found, property):
            found = found.fget
        elif isinstance(found, functools.cached_property):
            found = found.func
        elif isinstance(found, staticmethod | classmethod):
            found = found.__func__
        else:
            raise CannotExchange(f"{'.'.join(path)} is no function")
    inner = inspect.unwrap(found)
    if not isinstance(inner, FunctionType) or inner.__code__.co_name != path[-1]:
        raise CannotExchange(f"{'.'.join(path)} is something else now")
    return inner


def exchange(module: ModuleType, text: str, broken: str) -> None:
    """Put the bodies of functions that differ between two versions of a module into the running program."""
    file = str(module.__file__)
    bodies = [
        (function_at(module, path), body)
        for path, body in differing(compile(text, file, "exec"), compile(broken, file, "exec"))
    ]
    if not bodies:
        raise CannotExchange("nothing differs")
    for function, body in bodies:
        if function.__code__.co_freevars != body.co_freevars:
            raise CannotExchange(f"{function.__qualname__} sees other variables")
        function.__code__ = body


def in_a_fork(do: Callable[[], int], log: Path, limit: float) -> tuple[int, str]:
    """Do this in a fork of this process: its exit code (None of one that hung: 1), and what it said."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            code = do()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), log.read_text(encoding="utf-8", errors="replace")
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return int(pytest.ExitCode.TESTS_FAILED), "hung"
