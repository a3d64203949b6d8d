"""A share of the tests' own: a folder seen through FUSE, whose server takes its time for each call or falls silent.

Speaks the kernel's protocol itself (7.31), reading only. Needs FUSE and root, as in a container.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_DETACH_AND_FORCE = 1 | 2
_HEADER = struct.Struct("<IIQQIIII")
_ANSWER = struct.Struct("<IiQ")
_MAX_WRITE = 1 << 20
_AT_ONCE = 16
"""Calls that the server works on at the same time, as any file server does."""

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
INIT, OPENDIR, READDIR, RELEASEDIR, BATCH_FORGET, INTERRUPT = 26, 27, 28, 29, 42, 36
_UNANSWERED = (FORGET, BATCH_FORGET, INTERRUPT)


@dataclass(slots=True, kw_only=True)
class Share:
    """`delay`: seconds each call takes, `read_delay` those more that a read does. `silent`: calls are taken and not answered any more. `largest`: bytes in one read."""

    folder: Path
    behind: Path
    device: int
    delay: float = 0.0
    read_delay: float = 0.0
    largest: int = 128 * 1024
    silent: bool = False
    calls: list[int] = field(default_factory=list)
    _paths: dict[int, Path] = field(default_factory=dict)

    def serve(self) -> None:
        self._paths[1] = self.behind
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="share") as pool:
            while True:
                try:
                    request = os.read(self.device, _MAX_WRITE + 4096)
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.EINTR):
                        continue
                    return  # unmounted
                _size, opcode, unique, node, *_ = _HEADER.unpack_from(request)
                if opcode in _UNANSWERED or (self.silent and opcode != INIT):
                    continue
                self.calls.append(opcode)
                pool.submit(self._answer, opcode, unique, node, request[_HEADER.size :])

    def _answer(self, opcode: int, unique: int, node: int, body: bytes) -> None:
        time.sleep(self.delay + (self.read_delay if opcode == READ else 0.0))
        try:
            answer, code = self._does(opcode, node, body), 0
        except OSError as error:
            answer, code = b"", -(error.errno or errno.EIO)
        try:
            os.write(self.device, _ANSWER.pack(_ANSWER.size + len(answer), code, unique) + answer)
        except OSError:
            return  # who asked has gone

    def _does(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode == INIT:
            readahead = struct.unpack_from("<I", body, 8)[0]
            flags = 1 | 1 << 22  # reads side by side, and a number of pages of our own
            pages = self.largest // 4096
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, flags, 12, 9, _MAX_WRITE, 1, pages, 0, 0)
        path = self._paths[node]
        if opcode == LOOKUP:
            child = path / os.fsdecode(body.rstrip(b"\0"))
            state = os.stat(child)
            self._paths[state.st_ino] = child
            return struct.pack("<QQQQII", state.st_ino, 0, 1, 1, 0, 0) + _attributes(state)
        if opcode == GETATTR:
            return struct.pack("<QII", 1, 0, 0) + _attributes(os.stat(path))
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            _handle, offset, size = struct.unpack_from("<QQI", body)
            with path.open("rb") as stream:
                return os.pread(stream.fileno(), size, offset)
        if opcode == READDIR:
            return _listed(path, struct.unpack_from("<Q", body, 8)[0])
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1000, 500, 4096, 255, 4096, 0)
        if opcode in (RELEASE, RELEASEDIR):
            return b""
        raise OSError(errno.ENOSYS, "not here")


def _attributes(state: os.stat_result) -> bytes:
    times = (int(state.st_atime), int(state.st_mtime), int(state.st_ctime))
    parts = tuple(ns % 10**9 for ns in (state.st_atime_ns, state.st_mtime_ns, state.st_ctime_ns))
    owner = (state.st_mode, state.st_nlink, state.st_uid, state.st_gid)
    return struct.pack(
        "<6Q10I", state.st_ino, state.st_size, state.st_blocks, *times, *parts, *owner, 0, 4096, 0
    )


def _listed(folder: Path, after: int) -> bytes:
    answer = b""
    for number, name in enumerate([".", "..", *sorted(os.listdir(folder))]):
        if number >= after:
            raw = os.fsencode(name)
            state = os.stat(folder / name)
            entry = struct.pack("<QQII", state.st_ino, number + 1, len(raw), stat.S_IFMT(state.st_mode) >> 12)
            answer += (entry + raw).ljust((len(entry) + len(raw) + 7) // 8 * 8, b"\0")
    return answer[:4096]


@contextmanager
def share(
    folder: Path, *, behind: Path | None = None, delay: float = 0.0, largest: int = 128 * 1024
) -> Iterator[Share]:
    """A share mounted on `folder` that shows what is in `behind`; see `Share`. It is gone at the end of the block."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error.strerror}")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other".encode()
    try:
        if libc.mount(b"share", os.fsencode(folder), b"fuse.share", 0, options) != 0:
            pytest.skip(f"FUSE cannot be mounted here: {os.strerror(ctypes.get_errno())}")
        made = Share(folder=folder, behind=behind or folder, device=device, delay=delay, largest=largest)
        served = threading.Thread(target=made.serve, name="share", daemon=True)
        served.start()
        try:
            yield made
        finally:
            libc.umount2(os.fsencode(folder), _DETACH_AND_FORCE)  # whoever still waits gets an error
            served.join(timeout=30)
    finally:
        os.close(device)
