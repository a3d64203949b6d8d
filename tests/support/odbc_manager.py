"""unixODBC for the tests of pyodbc on a machine that has none: the copy inside the wheel of ceODBC.

pyodbc's wheel asks the machine for `libodbc.so.2`, Microsoft's driver for `libltdl.so.7`, and only root can install either.
ceODBC's wheel brings both under names of its own (`libodbc-7462827c.so.2.0.0`). A copy that bears the usual name, loaded
before pyodbc, is the one that the loader then finds for everybody in this process; processes that it starts find the same
copy by the search path, in a folder that holds these two libraries alone. The machine's own unixODBC comes first.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

MANAGER = "libodbc.so.2"
# in the order in which they need each other
BUNDLED = (re.compile(r"(libltdl)-[0-9a-f]{8}(\.so\.7)"), re.compile(r"(libodbc)-[0-9a-f]{8}(\.so\.2)[.\d]*"))


def loads(library: str) -> str:
    """Empty if the library can be loaded, else the loader's words."""
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return ""


def bundled_libraries() -> dict[str, Path]:
    """The libraries of ceODBC's wheel by their usual name; empty if it is not installed."""
    try:
        installed = [Path(str(file.locate())) for file in files("ceODBC") or ()]
    except PackageNotFoundError:
        return {}
    found = [(name.fullmatch(path.name), path) for name in BUNDLED for path in installed]
    return {match[1] + match[2]: path for match, path in found if match}


def usual_names(content: bytes, names: dict[str, str]) -> bytes:
    """The library with its own name and those that it asks for made usual; each takes the room of the longer one."""
    for bundled, usual in names.items():
        content = content.replace(bundled.encode() + b"\0", usual.encode().ljust(len(bundled) + 1, b"\0"))
    return content


def provide(driver: str) -> str:
    """Make pyodbc importable here and let it find `driver`; why that cannot be, else nothing."""
    missing = loads(MANAGER)
    if missing and sys.platform == "linux":
        libraries = bundled_libraries()
        if len(libraries) != len(BUNDLED):
            return f"{missing}; install unixODBC (Debian: unixodbc), ceODBC with its copy is for Python 3.11 only"
        folder = Path(tempfile.mkdtemp(prefix="plant3d-odbc-"))
        atexit.register(put_away, folder, os.getpid())
        names = {path.name: usual for usual, path in libraries.items()}
        for usual, path in libraries.items():
            copy = folder / usual
            copy.write_bytes(usual_names(path.read_bytes(), names))
            missing = loads(str(copy))
            if missing:
                return missing
        # this manager (2.3.1) loads no driver by its path alone: it wants it registered, under whatever name
        (folder / "odbcinst.ini").write_text(f"[{driver}]\nDriver={driver}\n", encoding="utf-8")
        os.environ["ODBCSYSINI"] = str(folder)
        paths = [os.environ.get("LD_LIBRARY_PATH", ""), str(folder)]
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    elif missing and sys.platform != "win32":
        return missing
    return loads(driver)


def put_away(folder: Path, maker: int) -> None:
    """At the end of the process that made it, not of one that it forked."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
