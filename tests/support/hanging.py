"""A file system that hangs: whoever asks it anything waits until it is taken away. Needs FUSE and root, as in a container."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DETACH_AND_FORCE = 1 | 2


@contextmanager
def hanging_share(folder: Path) -> Iterator[Path]:
    """A share mounted on `folder` whose server took the mount and says nothing any more."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error.strerror}")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    try:
        if libc.mount(b"hangs", os.fsencode(folder), b"fuse.hangs", 0, options) != 0:
            pytest.skip(f"FUSE cannot be mounted here: {os.strerror(ctypes.get_errno())}")
        try:
            yield folder
        finally:
            libc.umount2(os.fsencode(folder), _DETACH_AND_FORCE)
    finally:
        os.close(device)  # whoever still waits gets an error
