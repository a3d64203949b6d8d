"""The double of SYNAPSE 0.2 behaves as its description says, and each trap can be switched off."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from plant3d_sync import patience
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse_v02.auto import AutoSynapse
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.synapse_dev.main import listen
from plant3d_sync.synapse_dev.v02.main import DEFAULT_USER, Running
from tests.support.synapse_v02 import PASSWORD, logged_in, poison, synapse_v02


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with synapse_v02() as made:
        yield made


@pytest.fixture
def project(running: Running) -> str:
    return running.backend.add_project()


@pytest.fixture
def client(running: Running, project: str) -> Iterator[httpx2.Client]:
    with logged_in(running, project) as made:
        yield made
    running.backend.traps.__init__()  # type: ignore[misc]


def create(client: httpx2.Client, tag: str, **members: Any) -> dict[str, Any]:
    answer = client.post("/assets/", json={"tag": tag, "type": "Equipment", **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def listed(client: httpx2.Client, skip: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/assets/", params={"skip": skip, "limit": limit}).json()
    return found


def passed(client: httpx2.Client, limit: int) -> list[str]:
    """One full pass by offset, as a client does it that trusts the pages."""
    ids: list[str] = []
    while page := listed(client, len(ids), limit):
        ids += [asset["id"] for asset in page]
    return ids


def test_a_wrong_slash_is_a_redirect_built_from_the_host(client: httpx2.Client) -> None:
    answer = client.get("/assets")
    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["location"].endswith("/api/v1/assets/")


@pytest.mark.parametrize(
    ("form", "status"),
    [({"data": {"username": "x@example.com", "password": "no"}}, 401), ({"json": {"username": "x"}}, 422)],
)
def test_a_login_is_a_form_and_can_fail(running: Running, form: dict[str, Any], status: int) -> None:
    assert httpx2.post(f"{running.url}/api/v1/auth/login", **form).status_code == status


def test_an_expired_token_is_a_401_like_any_other(running: Running, project: str) -> None:
    running.backend.traps.token_minutes = -1
    with logged_in(running, project) as late:
        running.backend.traps.token_minutes = 1440
        answer = late.get("/assets/")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Could not validate credentials"})


def test_an_inactive_user_logs_in_and_can_do_nothing(running: Running, client: httpx2.Client) -> None:
    running.backend.users[running.user].active = False
    try:
        answer = client.get("/assets/")
    finally:
        running.backend.users[running.user].active = True
    assert (answer.status_code, answer.json()["detail"]) == (400, "Inactive user")


def test_an_unknown_project_looks_empty_and_refuses_creations(running: Running) -> None:
    with logged_in(running, str(uuid.uuid4())) as lost:
        assert listed(lost) == []
        answer = lost.post("/assets/", json={"tag": "P-1", "type": "PUMP"})
        assert answer.status_code == 409
        assert "assets_project_id_fkey" in answer.json()["detail"]
        assert lost.get(f"/projects/projects/{uuid.uuid4()}").status_code == 404


def test_a_chosen_id_is_kept_and_taken_once(client: httpx2.Client) -> None:
    chosen = str(uuid.uuid4())
    assert create(client, "P-1", id=chosen)["id"] == chosen
    again = client.post("/assets/", json={"id": chosen, "tag": "P-2", "type": "PUMP"})
    assert (again.status_code, "assets_pkey" in again.text) == (409, True)
    taken = client.post("/assets/", json={"tag": "P-1", "type": "PUMP"})
    assert (taken.status_code, "uix_project_tag" in taken.text) == (409, True)


def test_unknown_fields_vanish_without_a_word(client: httpx2.Client) -> None:
    made = create(client, "P-1", plant3d_id="x", priority=2, mechanical={"a": [1, {"b": 2**60}]})
    assert {"plant3d_id", "priority"}.isdisjoint(made)
    assert made["mechanical"] == {"a": [1, {"b": 2**60}]}


def test_only_six_types_can_be_saved_and_one_bad_row_takes_the_others(client: httpx2.Client) -> None:
    first, second = create(client, "P-1"), create(client, "P-2")
    rows = [{"id": first["id"], "description": "a"}, {"id": second["id"], "type": "Equipment"}]
    assert client.patch("/assets/bulk", json=rows).status_code == 422
    assert client.get(f"/assets/{first['id']}").json()["description"] is None
    rows[1]["type"] = "PUMP"
    assert client.patch("/assets/bulk", json=rows).status_code == 200


def test_ids_that_are_not_there_are_left_out_of_a_bulk(client: httpx2.Client) -> None:
    made = create(client, "P-1")
    rows = [{"id": made["id"], "description": "a"}, {"id": str(uuid.uuid4()), "description": "b"}]
    assert [row["id"] for row in client.patch("/assets/bulk", json=rows).json()] == [made["id"]]


def test_a_chain_of_renames_depends_on_the_ids_and_a_swap_never_works(client: httpx2.Client) -> None:
    low, high = (str(uuid.UUID(int=number, version=4)) for number in sorted((uuid.uuid4().int, 1 << 100)))
    low, high = sorted((low, high))
    create(client, "A", id=low)
    create(client, "B", id=high)
    for order in (1, -1):
        chain = [{"id": low, "tag": "B"}, {"id": high, "tag": "C"}][::order]
        assert client.patch("/assets/bulk", json=chain).status_code == 409
    assert (
        client.patch("/assets/bulk", json=[{"id": low, "tag": "C"}, {"id": high, "tag": "A"}]).status_code
        == 200
    )
    swap = [{"id": low, "tag": "A"}, {"id": high, "tag": "C"}]
    assert client.patch("/assets/bulk", json=swap).status_code == 409
    assert {row["tag"] for row in listed(client)} == {"C", "A"}


def test_a_poisoned_row_takes_every_page_and_every_bulk_with_it_and_is_committed(
    running: Running, client: httpx2.Client, project: str
) -> None:
    good, bad = create(client, "P-1"), create(client, "P-2")
    poison(running, bad["id"])
    assert client.get(f"/assets/{bad['id']}").status_code == 500
    with logged_in(running, project) as fresh:
        assert fresh.get("/assets/").text == "Internal Server Error"
    rows = [{"id": one["id"], "description": "written"} for one in (good, bad)]
    with logged_in(running, project) as fresh:
        assert fresh.patch("/assets/bulk", json=rows).status_code == 500
    assert {row["description"] for row in running.backend.assets(project)} == {"written"}
    with logged_in(running, project) as fresh:
        assert bad["id"] in fresh.get("/import_export/export").text


def test_without_that_trap_a_500_is_not_committed(
    running: Running, client: httpx2.Client, project: str
) -> None:
    running.backend.traps.commits_before_500 = False
    bad = create(client, "P-2")
    poison(running, bad["id"])
    answer = client.patch("/assets/bulk", json=[{"id": bad["id"], "description": "written"}])
    assert answer.status_code == 500
    assert running.backend.by_tag(project, "P-2")["description"] is None


def test_a_connection_is_dead_after_a_500(running: Running, client: httpx2.Client) -> None:
    bad = create(client, "P-2")
    poison(running, bad["id"])
    transport = httpx2.HTTPTransport(retries=0)
    with httpx2.Client(transport=transport, headers=client.headers, base_url=client.base_url) as one:
        assert one.get(f"/assets/{bad['id']}").status_code == 500
        before = len(running.backend.calls)
        try:
            one.get(f"/projects/projects/{running.project}")  # the pool has noticed by now, or this raises
        except httpx2.TransportError:
            one.get(
                f"/projects/projects/{running.project}"
            )  # on a new connection: the dead one served nothing
        assert len(running.backend.calls) == before + 1


def test_soft_deleted_rows_hide_and_keep_their_tag(
    running: Running, client: httpx2.Client, project: str
) -> None:
    made = create(client, "P-1")
    running.backend.hide(made["id"])
    assert listed(client) == []
    assert client.get(f"/assets/{made['id']}").status_code == 404
    assert client.post("/assets/", json={"tag": "P-1", "type": "PUMP"}).status_code == 409
    assert client.get("/admin/stats").json()["assets"] == 1
    assert made["id"] in client.get("/import_export/export").text


@pytest.mark.parametrize(("threshold", "complete"), [(None, True), (100, False)])
def test_pages_of_a_large_table_lose_rows_and_give_others_twice(
    running: Running, client: httpx2.Client, project: str, threshold: int | None, complete: bool
) -> None:
    for number in range(1000):
        running.backend.create(project, f"P-{number}")
    running.backend.traps.scan_threshold = threshold
    running.backend.traps.scan_granularity = 1
    for _ in range(2):
        ids = passed(client, 100)
        assert len(ids) == 1000  # the number of rows is right each time
        assert (len(set(ids)) == 1000) is complete
        assert complete or 500 < len(set(ids)) < 800


def test_asking_for_the_first_page_again_and_again_walks_a_large_table(
    running: Running, client: httpx2.Client, project: str
) -> None:
    for number in range(1000):
        running.backend.create(project, f"P-{number}")
    running.backend.traps.scan_threshold = 100
    running.backend.traps.scan_granularity = 7
    seen = {asset["id"] for _ in range(60) for asset in listed(client, 0, 100)}
    assert len(seen) == 1000


def test_a_row_saved_between_two_pages_moves_to_the_end(
    running: Running, client: httpx2.Client, project: str
) -> None:
    made = [running.backend.create(project, f"P-{number}") for number in range(4)]
    first = [row["id"] for row in listed(client, 0, 2)]
    client.patch("/assets/bulk", json=[{"id": made[0], "description": "x"}])
    second = [row["id"] for row in listed(client, 2, 2)]
    assert set(made) - {*first, *second} == {made[2]}


def test_the_proxy_refuses_in_html_without_saying_how_long(running: Running, project: str) -> None:
    with logged_in(running, project) as client:
        running.backend.traps.requests_per_second, running.backend.traps.burst = 1.0, 2
        try:
            answers = [client.get("/assets/") for _ in range(6)]
        finally:
            running.backend.traps.requests_per_second = None
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) >= 3
    assert all("retry-after" not in answer.headers and "html" in answer.text for answer in refused)


def test_a_worker_that_goes_cuts_the_connection_and_does_nothing(
    running: Running, client: httpx2.Client, project: str
) -> None:
    running.backend.traps.recycle_after = 0
    with pytest.raises(httpx2.TransportError):
        client.post("/assets/", json={"tag": "P-1", "type": "PUMP"})
    running.backend.traps.recycle_after = None
    assert running.backend.assets(project) == []


def test_an_answer_can_be_lost_after_the_commit(
    running: Running, client: httpx2.Client, project: str
) -> None:
    running.backend.traps.harms.append(("POST", "/assets/", "lose_answer"))
    with pytest.raises(httpx2.TransportError):
        client.post("/assets/", json={"tag": "P-1", "type": "PUMP"})
    assert [row["tag"] for row in running.backend.assets(project)] == ["P-1"]


def test_it_says_which_synapse_it_is(running: Running) -> None:
    said = httpx2.get(f"{running.url}/openapi.json").json()["info"]
    assert said == {"title": "AXOIQ SYNAPSE API", "version": "0.2.2"}
    assert httpx2.get(f"{running.url}/api/v1/integration/capabilities").status_code == 404


def test_a_pause_between_two_tries_ends_with_the_run(running: Running, project: str) -> None:
    client = SynapseV02(running.url, running.user, PASSWORD, project, retry_delay=600, requests_per_second=0)
    client.capabilities()
    running.backend.traps.harms += [("GET", "/admin/stats", "cut_before")] * 2
    asked = iter([None] * 3)
    stopped = RetryLaterError("asked to end")
    clock = patience.Patience(lambda: next(asked, stopped))
    with patience.held(clock), pytest.raises(RetryLaterError, match="asked to end"):
        list(client.changes(None))
    client.close()
    running.backend.traps.harms.clear()


# ---------------------------------------------------------------- which SYNAPSE is it


KEY = "a-key-of-the-integration-api"


def auto(url: str, project: str) -> AutoSynapse:
    """As a run makes it."""

    def contract() -> SynapseClient:
        return SynapseClient(url, KEY, project, retry_attempts=1)

    def v02() -> SynapseV02:
        return SynapseV02(url, DEFAULT_USER, PASSWORD, project, requests_per_second=0, retry_attempts=1)

    return AutoSynapse(contract, contract, v02, url)


def test_to_find_out_which_synapse_answers_costs_one_request(running: Running, project: str) -> None:
    calls = running.backend.calls
    told = SynapseV02(running.url, running.user, running.password, project, requests_per_second=0)
    calls.clear()
    told.capabilities()
    spent = list(calls)
    calls.clear()
    found = auto(running.url, project)
    assert found.capabilities().contract == "0.2"
    assert sorted(calls) == sorted([*spent, ("GET", "/integration/capabilities")])
    for client in (told, found):
        client.close()


def test_an_integration_api_that_was_installed_is_used_by_the_next_run_of_the_same_process() -> None:
    with synapse_v02() as old:
        before = auto(old.url, old.project)
        assert before.capabilities().contract == "0.2"
        before.close()
    merged = listen(api_key=KEY, port=int(old.url.rpartition(":")[2]), project=old.project)
    thread = threading.Thread(target=merged.serve)
    thread.start()
    try:
        after = auto(old.url, old.project)
        assert after.capabilities().contract.startswith("1")
        after.close()
    finally:
        merged.stop()
        thread.join()
