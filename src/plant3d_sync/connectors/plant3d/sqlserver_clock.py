"""The time by the clock of a SQL Server, in .NET ticks, as Plant 3D stamps rows."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.model.moment import EPOCH_TICKS, TICKS, posix

CLOCK_STATEMENT: Final = "SELECT CONVERT(nvarchar(30), SYSUTCDATETIME(), 126)"
"""As text: of a datetime2 each driver makes something of its own."""
_TOLD: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?")


def server_ticks(connection: Connection) -> int | None:
    """The server's clock now; None where it says nothing of use. Raises the driver's errors."""
    told: Any = connection.exec_driver_sql(CLOCK_STATEMENT).scalar()
    found = _TOLD.fullmatch(str(told))
    if found is None:
        return None
    try:
        whole = int(posix(f"{found[1]}Z"))
    except ValueError:
        return None
    return EPOCH_TICKS + whole * TICKS + int((found[2] or "").ljust(7, "0"))


def clock_of(engine: Engine) -> int | None:
    """The same through a connection of its own. Raises RetryLaterError `source_away`."""
    try:
        with engine.connect() as connection:
            return server_ticks(connection)
    except SQLAlchemyError as error:
        raise RetryLaterError(
            f"The server could not be asked for its clock ({type(error).__name__}). Nothing was written.",
            hint="Check that the server is up and the login valid.",
            code="source_away",
        ) from error
