"""A certificate that is not trusted ends a call at once, on both ways to SYNAPSE, and nothing of the request hangs on it."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from plant3d_sync.connectors.base import SynapsePort
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.errors import ConfigError

URL = "https://synapse.example"
PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"


class Untrusted(httpx2.BaseTransport):
    """The other side shows a certificate of its own making."""

    def __init__(self) -> None:
        self.asked = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        seen = ssl.SSLCertVerificationError(1, "certificate verify failed")
        seen.verify_message = "self-signed certificate"
        raise httpx2.ConnectError("no connection", request=request) from seen


def of_contract(transport: Untrusted) -> SynapsePort:
    return SynapseClient(URL, "key", PROJECT, transport=transport, sleep=lambda _seconds: None)


def of_v02(transport: Untrusted) -> SynapsePort:
    return SynapseV02(URL, "user", "password", PROJECT, transport=transport, sleep=lambda _seconds: None)


@pytest.mark.parametrize("port_to", [of_contract, of_v02])
def test_a_certificate_that_is_not_trusted_is_not_tried_again(port_to: type[SynapsePort]) -> None:
    transport = Untrusted()
    with pytest.raises(ConfigError) as caught:
        port_to(transport).capabilities()
    error = caught.value
    assert (error.error_code, error.details["reason"]) == ("synapse_tls", "self-signed certificate")
    assert transport.asked == 1
    assert error.__cause__ is None and error.__context__ is None, "a driver's error holds the request"
