"""SYNAPSE 0.2 behind the port of the contract: stateless, its versions are fingerprints of what was read.

There are no times, so who edited last is never known; an archive is a mark in our own part of the asset; and every read
is a full read. Nothing here imports, deletes, or replaces what others keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from plant3d_sync import patience
from plant3d_sync.connectors.base import (
    AssetWrite,
    Batch,
    Capabilities,
    ChangePage,
    Creation,
    CursorReset,
    WriteResult,
)
from plant3d_sync.connectors.synapse import wire as contract_wire
from plant3d_sync.connectors.synapse.address import Secret, project_of
from plant3d_sync.connectors.synapse.exchange import Timeouts
from plant3d_sync.connectors.synapse_v02 import errors, wire
from plant3d_sync.connectors.synapse_v02.http import REQUESTS_PER_SECOND, Hear, Http
from plant3d_sync.connectors.synapse_v02.index import Index
from plant3d_sync.connectors.synapse_v02.read import PAGE, Reader, Reading, by_identity
from plant3d_sync.connectors.synapse_v02.write import BATCH, FRESH, Writer
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.record import Asset

if TYPE_CHECKING:
    import httpx2

TITLE: Final = "SYNAPSE"
CURSOR: Final = "v02."
NO_TIMES: Final = (
    "It keeps no times and no versions: newest-wins is impossible, so a field that both sides changed goes to a person, and "
    "an edit between our last look and our write can be lost."
)
NO_ARCHIVE: Final = "An archive is only a mark in our own part of the asset: SYNAPSE goes on showing it."
_WRITABLE: Final = ("tag", "asset_type", "asset_subtype", "description", "attributes")

Identities = Callable[[], Mapping[str, str]]


class SynapseV02:
    """SYNAPSE 0.2, for one project (`SynapsePort`). Connects at the first call.

    `identities` gives asset id -> identity of all our links: an asset whose namespace somebody's stale screen removed is
    known by it. `requests_per_second`: 0 for no limit. `fresh_seconds`: for how long a read of an asset is not
    repeated within a batch; each batch begins with reads of its own. The other arguments are those of `SynapseClient`.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str | Secret,
        project_id: str,
        *,
        identities: Identities = dict,
        requests_per_second: float = REQUESTS_PER_SECOND,
        page_size: int = PAGE,
        fresh_seconds: float = FRESH,
        retry_attempts: int = 3,
        retry_delay: float = 30.0,
        timeout: Timeouts | None = None,
        deadline: float = 120.0,
        transport: httpx2.BaseTransport | None = None,
        request_id: str | None = None,
        ca_file: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = patience.sleep,
        on_event: Hear | None = None,
    ) -> None:
        self.project_id = project_of(project_id)
        self.http = Http(
            url,
            user,
            password,
            self.project_id,
            requests_per_second=requests_per_second,
            retry_attempts=retry_attempts,
            retry_delay=retry_delay,
            timeout=timeout,
            deadline=deadline,
            transport=transport,
            request_id=request_id,
            ca_file=ca_file,
            monotonic=monotonic,
            sleep=sleep,
            on_event=on_event,
        )
        self.url = self.http.url
        self.words: dict[str, str] = {}
        """Subtype -> the word SYNAPSE's screens know for it, as the project's classes tell."""
        self.last_reading: Reading | None = None
        self._identities = identities
        self._reader = Reader(self.http, page=min(page_size, PAGE), monotonic=monotonic)
        self._index = Index(monotonic)
        self._writer = Writer(self.http, self._reader, self._index, self.words, fresh=fresh_seconds)
        self._monotonic = monotonic
        self._page_size = page_size
        self._capabilities: Capabilities | None = None
        self._version: str | None = None

    def __repr__(self) -> str:
        return f"SynapseV02({self.url!r}, project_id={self.project_id!r})"

    # ---------------------------------------------------------------- the port

    def capabilities(self) -> Capabilities:
        """Log in, and see that this is SYNAPSE 0.2 and the project is there: before anything is written.

        Raises ConfigError `synapse_login_refused`, `synapse_user_inactive`, `synapse_project_unknown`,
        `synapse_no_contract`.
        """
        if self._capabilities is None:
            version = self.version()
            self._reader.alive()
            self._capabilities = Capabilities(
                contract="0.2",
                version=version,
                feed=False,
                versions=False,
                archive=False,
                max_batch_items=BATCH,
                max_page=PAGE,
                idempotency_hours=0,
                writable_fields=_WRITABLE,
            )
        return self._capabilities

    def changes(self, cursor: str | None, *, totals: bool = False) -> Iterator[ChangePage]:
        """Everything, whatever the cursor; nothing if all of it is as the cursor knows it.

        A page says whether the read was proved to be complete; without that, absence means nothing.
        """
        if cursor is not None and not cursor.startswith(CURSOR):
            raise CursorReset("cursor_reset")
        self.capabilities()
        reading, owners = self._read()
        identities = {asset_id: plant3d_id for plant3d_id, asset_id in owners.items()}
        versions: dict[str, int] = {}
        for asset_id, row in reading.rows.items():
            versions[asset_id] = wire.to_asset(row, identities.get(asset_id)).version
        digest = wire.digest_of(versions)
        last = f"{CURSOR}{digest}.{'whole' if reading.complete else 'part'}"
        unreadable = frozenset(
            identities[asset_id] for asset_id in reading.poisoned if asset_id in identities
        )
        if cursor == last:
            yield ChangePage(assets=[], next_cursor=last, has_more=False, totals=None)
            return
        order = list(reading.rows)
        counted = self._totals(reading, identities) if totals else None
        for start in range(0, max(len(order), 1), self._page_size):
            part = order[start : start + self._page_size]
            more = start + self._page_size < len(order)
            yield ChangePage(
                assets=[
                    wire.to_asset(reading.rows[asset_id], identities.get(asset_id), seq=place)
                    for place, asset_id in enumerate(part, start + 1)
                ],
                next_cursor=f"{CURSOR}{digest}.{start}" if more else last,
                has_more=more,
                totals=counted,
                shows_all=True,
                proved=reading.complete,
                unreadable=unreadable,
            )

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> Batch:
        """The batch as the contract writes it: what an intent means does not depend on who carries it out."""
        return contract_wire.encode_batch(writes)

    def send(self, batch: Batch, *, key: str) -> list[WriteResult]:
        """Carry out a batch; every answer is whole. Safe to repeat: ids are chosen by us, and conditions are judged anew."""
        self.capabilities()
        if not self._index.is_filled:
            self._read()
        said: dict[str, Any] = orjson.loads(batch.body)
        return self._writer.write(said["items"])

    def get(self, asset_id: str) -> Asset | None:
        """One asset; None if it is not there, or cannot be shown."""
        reply = self._reader.single(asset_id)
        row = reply.json() if reply.status == 200 else None
        if not isinstance(row, dict):
            return None
        plant3d_id = self._index.identity(asset_id) or self._identities().get(asset_id)
        if plant3d_id is None and (ours := wire.namespace_of(row)) is not None:
            plant3d_id = str(ours["plant3d_id"])
        self._index.put(row, plant3d_id)
        return wire.to_asset(row, plant3d_id)

    def limits(self) -> list[Limit]:
        """What SYNAPSE 0.2 cannot do; after a read also how many assets its own screens cannot save."""
        read = f" ({len(self._index)} assets)" if self._index.is_filled else ""
        found = [
            errors.limit("synapse_no_times", f"SYNAPSE {self.version()}, no integration API. {NO_TIMES}"),
            errors.limit("synapse_no_archive", NO_ARCHIVE),
            errors.limit(
                "synapse_full_read", f"Everything is read in each run{read}: there is no feed of changes."
            ),
        ]
        unsaved = self._index.count_but(wire.SAVED_TYPES)
        if unsaved:
            found.append(errors.limit("synapse_types", errors.unsaved(unsaved)))
        return found

    def close(self) -> None:
        """Give connections back."""
        self.http.close()

    # ---------------------------------------------------------------- the beginning

    def learn_words(self, words: Mapping[str, str]) -> None:
        """What the project's classes are called in SYNAPSE."""
        self.words.update(words)

    def version(self) -> str:
        """The version that it says of itself, asked once. Raises ConfigError `synapse_no_contract` if it is no SYNAPSE."""
        if self._version is not None:
            return self._version
        reply = self.http.open_get("/openapi.json")
        value = reply.json() if reply.status == 200 else None
        info = value.get("info") if isinstance(value, dict) else None
        title = str(info.get("title") or "") if isinstance(info, dict) else ""
        if reply.status >= 500:
            raise errors.gave_up(self.url, f"it answered {reply.status}", None)
        if TITLE not in title.upper():
            raise errors.not_v02(self.url, reply.status, title)
        self._version = str(info.get("version") or "0.2") if isinstance(info, dict) else "0.2"
        return self._version

    def _read(self) -> tuple[Reading, dict[str, str]]:
        at = self._monotonic()
        reading = self._reader.everything()
        known = {one: who for one, who in self._identities().items()}
        shown = {**reading.rows, **{one: flat for one, flat in reading.poisoned.items() if one in known}}
        _, owners = by_identity(shown, self.project_id, known)
        self._index.fill(reading.rows, {**reading.hidden, **reading.poisoned}, owners, at)
        self.last_reading = reading
        return reading, owners

    @staticmethod
    def _totals(reading: Reading, identities: Mapping[str, str]) -> dict[str, int]:
        archived = sum(
            asset_id in identities and wire.is_archived(row) for asset_id, row in reading.rows.items()
        )
        return {
            "live": len(reading.rows) - archived,
            "archived": archived,
            "linked": sum(asset_id in identities for asset_id in reading.rows),
        }


def missing_login(name: str) -> ConfigError:
    """No user or password is configured for a SYNAPSE that knows only users."""
    return ConfigError(
        f"SYNAPSE 0.2 needs a login, and {name} is not set. Nothing was read and nothing was written.",
        code="synapse_login_missing",
        hint="Set SYNAPSE_USER and SYNAPSE_PASSWORD (or SYNAPSE_PASSWORD_FILE) to an account of its own for the sync.",
    )
