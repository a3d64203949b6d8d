"""A batch of many items is large: its seal holds it by its digest, and nothing keeps its body once it was sent."""

from __future__ import annotations

import gc

import httpx2
import pytest
import sqlalchemy as sa

from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse.exchange import Call
from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.state import State, audit, intents, seals
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.seals.digests import EARLIER, Form, digest_of_row
from plant3d_sync.state.tables import intent

BODY = b'{"items": [' + b"1," * 5000 + b"1]}"
URL = "http://synapse.example"
PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"


@pytest.fixture
def open_intent(state: State) -> int:
    with Lease(state, "mine", "run") as held, state.write() as connection:
        return intents.record(
            connection,
            held.fence,
            intents.Meant(run_id="run", plan_id="plan", side="synapse", key="k", body=BODY, steps=[], at=1.0),
        )


def alter(state: State, number: int, body: bytes) -> None:
    with state.write() as connection:
        connection.execute(sa.update(intent).where(intent.c.id == number).values(body=body))


def check(state: State) -> None:
    with state.read() as connection:
        seals.check_recovery(connection, "mine", nothing="Nothing was sent.")


def test_a_large_piece_under_a_seal_cannot_be_altered(state: State, open_intent: int) -> None:
    check(state)
    alter(state, open_intent, BODY.replace(b"1", b"2", 1))
    with pytest.raises(NeedsPersonError) as caught:
        check(state)
    assert caught.value.error_code == "row_altered"


@pytest.mark.parametrize("form", EARLIER)
def test_a_large_piece_that_an_earlier_version_sealed_otherwise_is_held_by_its_seal(
    state: State, open_intent: int, form: Form
) -> None:
    with state.write() as connection:
        row = connection.execute(sa.select(intent).where(intent.c.id == open_intent)).one()
        earlier = digest_of_row(row, seals.columns("intent"), form)
        audit.append(
            connection,
            seals.chain_name(seals.ROWS, "mine"),
            action=seals.SEALED,
            actor=seals.ACTOR,
            at=2.0,
            rows={f"intent:{open_intent}": earlier},
        )
    check(state)
    alter(state, open_intent, BODY + b" ")
    with pytest.raises(NeedsPersonError):
        check(state)


@pytest.mark.parametrize("digest", [seals.digest_of_piece(BODY), seals.digest_of(BODY)])
def test_the_steps_of_a_plan_are_held_by_the_digest_of_this_version_and_of_an_earlier_one(
    digest: str,
) -> None:
    assert seals.is_piece(BODY, digest)
    assert not seals.is_piece(BODY + b" ", digest)


def test_the_body_of_a_call_is_let_go_once_it_was_answered() -> None:
    """A cycle of objects would keep it until the collector comes by, which is 40 bodies later in a first pull."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, content=iter([b"{}"]), headers={"Content-Type": "application/json"}, request=request
        )

    client = SynapseClient(
        URL, "key", PROJECT, transport=httpx2.MockTransport(answer), sleep=lambda _seconds: None
    )
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            call = Call(method="POST", path="/assets", body=BODY, writes=True)
            assert client._retries.run(call, lambda reply: reply.status) == 200
        del call
        kept = [one for one in gc.get_objects() if isinstance(one, Call)]
    finally:
        gc.enable()
    assert kept == []
