"""Which SYNAPSE answers: the integration API, or 0.2 as it is. Asked at the first call of each run: see ADR 24."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from plant3d_sync.connectors.base import (
    AssetWrite,
    Batch,
    Capabilities,
    ChangePage,
    Creation,
    Echo,
    SynapsePort,
    WriteResult,
)
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.record import Asset


class AutoSynapse:
    """Decides at its first call which of the two clients speaks (`SynapsePort`).

    Each is made by a function, which raises ConfigError where its credentials are missing: only if it is the one needed.
    `asking` makes a client that can find out without a key whether there is an integration API.
    """

    def __init__(
        self,
        asking: Callable[[], SynapseClient],
        contract: Callable[[], SynapseClient],
        v02: Callable[[], SynapseV02],
        url: str,
    ) -> None:
        self.url = url
        self._make_asking, self._make_contract, self._make_v02 = asking, contract, v02
        self._chosen: SynapseClient | SynapseV02 | None = None
        self._words: dict[str, str] = {}

    def chosen(self) -> SynapseClient | SynapseV02:
        """The client that fits what answers. Raises ConfigError, RetryLaterError."""
        if self._chosen is None:
            self._chosen = self._choose()
            if isinstance(self._chosen, SynapseV02):
                self._chosen.learn_words(self._words)
        return self._chosen

    def _choose(self) -> SynapseClient | SynapseV02:
        client = self._make_asking()
        try:
            client.capabilities()
            return client
        except ConfigError as error:
            if error.error_code == "synapse_unauthorized":
                self._make_contract()  # says that there is no key, if there is none
            if error.error_code != "synapse_no_contract":
                raise
            absent = error
        client.close()
        older = self._make_v02()
        try:
            older.version()
        except ConfigError as error:
            older.close()
            raise (absent if error.error_code == "synapse_no_contract" else error) from None
        return older

    @property
    def is_v02(self) -> bool:
        """Whether SYNAPSE 0.2 was found, as far as was asked."""
        return isinstance(self._chosen, SynapseV02)

    def learn_words(self, words: Mapping[str, str]) -> None:
        """What the project's classes are called in SYNAPSE 0.2."""
        self._words.update(words)
        if isinstance(self._chosen, SynapseV02):
            self._chosen.learn_words(words)

    @property
    def _port(self) -> SynapsePort:
        return self.chosen()

    def capabilities(self) -> Capabilities:
        """Ask what is there."""
        return self._port.capabilities()

    def changes(self, cursor: str | None, *, totals: bool = False) -> Iterator[ChangePage]:
        """Everything, or what changed since `cursor`."""
        return self._port.changes(cursor, totals=totals)

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> Batch:
        """One batch, with its exact body."""
        return self._port.encode(writes)

    def send(self, batch: Batch, *, key: str) -> Sequence[WriteResult | Echo]:
        """Send one batch."""
        return self._port.send(batch, key=key)

    def get(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        return self._port.get(asset_id)

    def limits(self) -> Sequence[Limit]:
        """What the SYNAPSE that was found cannot do; nothing before anything was asked."""
        return [] if self._chosen is None else self._chosen.limits()

    def close(self) -> None:
        """Give connections back."""
        if self._chosen is not None:
            self._chosen.close()
