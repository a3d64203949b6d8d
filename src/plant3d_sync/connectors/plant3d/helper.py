"""A process of our own in which calls into a file system are made that may never come back.

A thread in such a call cannot be ended, and it keeps the process from ending that it belongs to. A process can be killed, and
with it go its locks. So it ends when we kill it, or at once when we end, however that happens: what we did not live
to see written is not written afterwards.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, TypeVar

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d import errors

T = TypeVar("T")

SPARE: Final = 2.0
"""Seconds beyond the time a call has for itself after which it counts as hanging."""

_IDLE: Final = 2
"""How many helpers that have nothing to do are kept."""

_DIES_SECONDS: Final = 0.3
"""How long a killed helper may take to be gone; longer if the system holds it in its call."""

_CHILD: Final = f"{__name__}_process"

_asker: int | None = None
"""In a helper: the process that started it. A helper whose asker is gone belongs to another one."""


class Hung(Exception):
    """The call did not come back in its time; the helper was killed. `seconds`: how long was waited."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:.0f} s")
        self.seconds = seconds


class Ended(Exception):
    """The helper ended by itself before it answered, as when the system kills it for its memory."""


@contextmanager
def failures(name: str, *, writes: bool) -> Iterator[None]:
    """What becomes of a call that a helper did not answer, as an error of ours. `name`: the file, for people."""
    try:
        yield
    except Hung as hung:
        raise (errors.write_silent if writes else errors.silent)(name, hung.seconds) from hung
    except Ended as ended:
        raise (errors.write_cut_off if writes else errors.helper_ended)(name, str(ended)) from ended


class Helper:
    """One helper process. Not for two threads at once; whoever has it is alone with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _CHILD],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # not ours: one that cannot be ended would keep it open for whoever reads it
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        threading.Thread(target=_pass_on, args=(self._process.stderr,), name="helper", daemon=True).start()
        self._requests = self._process.stdin
        self._answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        threading.Thread(
            target=_read, args=(self._process.stdout, self._answers), name="helper", daemon=True
        ).start()

    def call(self, function: Callable[..., T], *arguments: object, seconds: float, grace: float = 0.0) -> T:
        """What `function(*arguments)` returns or raises there, in the folder we are in. All of it must be picklable.

        Waits at most `seconds`, and no longer than the run of this thread may go on (and `grace` seconds beyond it, for
        something that is not to be torn). Whatever ends the waiting but an answer kills the helper. Raises Hung, Ended.
        """
        try:
            self._send((_here(), function, arguments))
            good, value = self._answer(seconds, grace)
        except BaseException:
            self.kill()
            raise
        if good:
            found: T = value
            return found
        raise value

    def _answer(self, seconds: float, grace: float) -> tuple[bool, Any]:
        until = time.monotonic() + seconds
        while True:
            try:
                answer = self._answers.get(timeout=patience.STEP)
            except queue.Empty:
                patience.look(grace)
                if time.monotonic() > until:
                    raise Hung(seconds) from None
                continue
            if answer is _END:
                raise Ended(f"it ended with {self._process.wait()}")
            return answer

    def _send(self, what: object) -> None:
        try:
            pickle.dump(what, self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
        except OSError as error:
            raise Ended(str(error)) from error

    def usable(self) -> bool:
        """Whether it can be asked something more."""
        return not self._requests.closed and self.alive()

    def alive(self) -> bool:
        """Whether the process is still there. One that was killed may be, while the system holds it in its call."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, whatever it does. Its locks go with it."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DIES_SECONDS)
        self.close()

    def close(self) -> None:
        """Let it end by itself, as it does when nobody can ask it any more."""
        with suppress(OSError):
            self._requests.close()


_END: Final[tuple[bool, Any]] = (False, None)

_idle: list[Helper] = []
_killed: dict[str, Helper] = {}
_lock = threading.Lock()


def take(name: str) -> Helper:
    """A helper to be alone with. `name`: the file it is for.

    Raises RetryLaterError `source_silent` as long as one that was killed for that file is held in its call.
    """
    with _lock:
        held = _killed.get(name)
        if held is not None and held.alive():
            raise errors.silent(name, 0.0)
        _killed.pop(name, None)
        while _idle:
            helper = _idle.pop()
            if helper.alive():
                return helper
    return Helper()


def give_back(helper: Helper, name: str) -> None:
    """Whoever has done with it. One that was killed is remembered until it is gone."""
    with _lock:
        if helper.usable():
            if len(_idle) < _IDLE:
                _idle.append(helper)
            else:
                helper.close()
        elif helper.alive():
            _killed[name] = helper


_Request = tuple[str | None, Callable[..., object], tuple[object, ...]]


def _here() -> str | None:
    """The folder that a path without a root is meant in. None when it is gone: only whole paths are good then."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


# -- in the helper ------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer calls until nobody can ask any more. Then the process ends at once, whatever it is doing."""
    global _asker
    _asker = os.getppid()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # sent to a whole group; who asked us decides when we end
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                requests.put(pickle.load(sys.stdin.buffer))  # noqa: S301  (from who started us)
        finally:
            os._exit(0)

    threading.Thread(target=listen, name="requests", daemon=True).start()
    while True:
        folder, function, arguments = requests.get()
        answer: tuple[bool, object]
        try:
            if folder is not None and folder != _here():
                os.chdir(folder)
            answer = (True, function(*arguments))
        except Exception as error:  # noqa: BLE001  (handed to whoever asked)
            error.add_note(traceback.format_exc())
            answer = (False, error)
        answers.write(_pickled(answer))
        answers.flush()


def end_if_alone() -> None:
    """End this process, if it is a helper, where nobody lives any more who could hear its answer.

    Its end is noticed by `serve` as well, but in a thread of its own, which may come a moment too late: so whoever is about
    to change something for good asks here. Windows keeps the number of a parent that is gone; there the thread is all.
    """
    if _asker is not None and os.getppid() != _asker:
        os._exit(0)


def _pickled(answer: tuple[bool, object]) -> bytes:
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  (an answer that cannot be sent is a fault of the program)
        return pickle.dumps((False, RuntimeError(f"the answer {answer!r} cannot be sent: {error}")))


def _pass_on(said: BinaryIO) -> None:
    """What it says on its way down belongs to what we say."""
    with said:
        for line in said:
            sys.stderr.write(line.decode("utf-8", "replace"))


def _read(answers: BinaryIO, into: queue.SimpleQueue[tuple[bool, Any]]) -> None:
    """Hand on what the helper says, and its end."""
    with answers:
        try:
            while True:
                into.put(pickle.load(answers))  # noqa: S301  (from a process of ours)
        except (EOFError, OSError, pickle.UnpicklingError):
            into.put(_END)
