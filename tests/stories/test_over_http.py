"""Stories over the HTTP API: what the plan's client does, and two people who decide at once.

The web service only queues; the worker of the story carries out what is due, when the story says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import make_app
from plant3d_sync.state import keys
from plant3d_sync.web import create_app
from plant3d_sync.worker.main import Worker
from tests.support.story import Story, Tell, promise
from tests.support.world import NAME

ASK = {"policy": "ask"}
Row = dict[str, Any]


@dataclass(slots=True)
class Person:
    """Somebody with a key of his own and a client that shows him what he looks at."""

    client: httpx2.Client
    name: str
    key: str

    def asks(self, method: str, path: str, body: Row | None = None, **headers: str) -> tuple[int, Row]:
        """One call. Only answers of the documented kind go on with the story."""
        answer = self.client.request(
            method, f"/api/v1{path}", json=body, headers={"X-API-Key": self.key, **headers}
        )
        assert answer.status_code < 500, answer.text
        document: Row = answer.json()
        return answer.status_code, document

    def conflict(self, story: Story, tag: str) -> Row:
        """The one pending conflict of an item, as the list shows it."""
        status, found = self.asks("GET", f"/conflicts?project_id={NAME}&status=pending")
        assert status == 200, found
        (mine,) = [one for one in found["items"] if one["plant3d_id"] == story.guids[tag]]
        return dict(mine)

    def resolves(self, conflict: Row, choice: str, **more: Any) -> tuple[int, Row]:
        """Decide, on the version that was looked at."""
        body = {"resolution": choice, **more}
        return self.asks(
            "POST",
            f"/conflicts/{conflict['id']}/resolve",
            body,
            **{"If-Match": f'"{conflict["version"]}"'},
        )


@dataclass(slots=True)
class Service:
    """The web service and the worker of one story."""

    story: Story
    client: httpx2.Client
    worker: Callable[[], int]
    person: Callable[[str], Person]


Serve = Callable[[Story], Service]


@pytest.fixture
def serve() -> Iterator[Serve]:
    closing: list[Callable[[], object]] = []

    def served(story: Story) -> Service:
        app = make_app(story.world.config, story.world.environment({}))
        client = TestClient(
            create_app(app, poll=0.01), raise_server_exceptions=False, base_url="http://plant3d-sync"
        )
        client.__enter__()
        closing.extend([lambda: client.__exit__(None, None, None), app.state.close])

        def person(name: str) -> Person:
            with app.state.write() as connection:
                _id, key = keys.create(
                    connection,
                    name,
                    keys.SCOPES,
                    projects=None,
                    expires_days=None,
                    now=app.world().clock(),
                    by="story",
                )
            return Person(client, name, key)

        return Service(story, client, lambda: Worker(app).work(burst=True), person)

    yield served
    for close in reversed(closing):
        close()


def both_edited(tell: Tell, serve: Serve, tag: str = "HV-1") -> tuple[Story, Service, Person, Person]:
    """Both sides edited a description; two people look at the question."""
    story = tell(conflict=ASK)
    story.designer.types(tag, "description", "The designer's words")
    story.user.types(tag, "description", "The user's words")
    story.run.now()
    service = serve(story)
    return story, service, service.person("anna"), service.person("bert")


def test_of_two_people_who_decide_one_question_the_second_is_told(tell: Tell, serve: Serve) -> None:
    story, service, anna, bert = both_edited(tell, serve)
    seen_by_anna, seen_by_bert = anna.conflict(story, "HV-1"), bert.conflict(story, "HV-1")
    status, _answer = anna.resolves(seen_by_anna, "synapse")
    promise(status in (200, 202), "the first decides")
    status, answer = bert.resolves(seen_by_bert, "plant3d")
    promise(status in (409, 412), f"the second decided over the first: {status} {answer}")
    service.worker()
    service.worker()
    story.then.both_sides_hold("HV-1", "The user's words")
    story.then.all_is_well()


def test_a_decision_on_values_that_moved_since_is_refused_or_void(tell: Tell, serve: Serve) -> None:
    story, service, anna, _bert = both_edited(tell, serve)
    seen = anna.conflict(story, "HV-1")
    story.user.types("HV-1", "description", "The user's newer words")
    story.run.now()
    status, answer = anna.resolves(seen, "plant3d")
    promise(status in (409, 412), f"decided on what is not shown any more: {status} {answer}")
    service.worker()
    story.then.is_asked("HV-1", "description", "The user's newer words")
    story.then.all_is_well()


def test_two_people_resolve_all_with_previews_of_different_moments(tell: Tell, serve: Serve) -> None:
    story, service, anna, bert = both_edited(tell, serve)
    preview = {"project_id": NAME, "filter": {}, "resolution": "synapse", "preview": True}
    _status, shown = anna.asks("POST", "/conflicts/resolve", preview)
    bert.resolves(bert.conflict(story, "HV-1"), "plant3d")
    status, answer = anna.asks(
        "POST", "/conflicts/resolve", {**preview, "preview": False, "seen": shown["seen"]}
    )
    promise(status == 412, f"decided what the preview did not show: {status} {answer}")
    service.worker()
    story.then.both_sides_hold("HV-1", "The designer's words")
    story.then.all_is_well()


def test_two_people_apply_one_plan(tell: Tell, serve: Serve) -> None:
    story = tell()
    story.designer.types("HV-1", "description", "The designer's words")
    plan = story.run.plan()
    service = serve(story)
    anna, bert = service.person("anna"), service.person("bert")
    first, _answer = anna.asks("POST", f"/plans/{plan}/apply", {"approve_guards": False})
    service.worker()
    story.user.types("HV-1", "description", "Typed after the first")
    second, answer = bert.asks("POST", f"/plans/{plan}/apply", {"approve_guards": False})
    promise(first == 202, f"the first applies it: {first} {_answer}")
    promise(second == 409, f"a used plan is applied again: {second} {answer}")
    service.worker()
    story.run.now()
    story.then.both_sides_hold("HV-1", "Typed after the first")
    story.then.all_is_well()


def test_one_undoes_what_the_other_is_about_to_decide_upon(tell: Tell, serve: Serve) -> None:
    story = tell(conflict=ASK)
    story.user.types("HV-1", "description", "Pushed")
    pushed = story.run.now().json["run_id"]
    story.designer.types("HV-1", "description", "The designer's words")
    story.user.types("HV-1", "description", "The user's words")
    story.run.now()
    service = serve(story)
    anna, bert = service.person("anna"), service.person("bert")
    seen = anna.conflict(story, "HV-1")
    status, undo = bert.asks("POST", f"/sync/{pushed}/undo")
    if status < 300 and undo.get("plan_id"):
        bert.asks("POST", f"/plans/{undo['plan_id']}/apply", {"approve_guards": False})
    anna.resolves(seen, "synapse")
    service.worker()
    service.worker()
    story.run.now()
    story.then.arrived_or_asked("HV-1", "The user's words")
    story.then.all_is_well()


def test_the_plans_walk_meets_an_edit_between_question_and_run(tell: Tell, serve: Serve) -> None:
    story, service, anna, _bert = both_edited(tell, serve)
    status, _answer = anna.resolves(anna.conflict(story, "HV-1"), "synapse")
    promise(status in (200, 202), "it is decided")
    story.designer.types("HV-1", "description", "Typed before the worker came")
    service.worker()
    status, _answer = anna.asks("POST", "/sync/now?wait=0", {"project_id": NAME})
    promise(status in (200, 202), "a run is asked for")
    service.worker()
    story.then.is_asked("HV-1", "description", "Typed before the worker came", "The user's words")
    story.then.all_is_well()


def test_a_question_that_nobody_decided_is_not_said_to_be_carried_out(tell: Tell, serve: Serve) -> None:
    story, service, anna, _bert = both_edited(tell, serve)
    seen = anna.conflict(story, "HV-1")
    promise(not seen["carried_out"], seen)
    anna.resolves(seen, "synapse")
    service.worker()
    _status, done = anna.asks("GET", f"/conflicts/{seen['id']}")
    promise(done["carried_out"], done)


# ---------------------------------------------------------------- a service that runs, and a word in its configuration


def runs(person: Person, service: Service, which: str) -> None:
    status, answer = person.asks("POST", f"/sync/{which}?wait=0", {"project_id": NAME})
    promise(status in (200, 202), f"no run is taken: {answer}")
    promise(service.worker() == 1, "the worker carried nothing out")


@pytest.mark.parametrize("said", ["off", "no project", "nonsense"])
def test_a_running_service_writes_nothing_more_into_plant_3d_once_somebody_says_so(
    tell: Tell, serve: Serve, said: str
) -> None:
    story = tell()
    service = serve(story)
    anna = service.person("anna")
    story.user.types("P-1", "description", "Before")
    runs(anna, service, "push")
    story.then.both_sides_hold("P-1", "Before")
    config = story.world.config.read_text()
    if said == "off":
        story.settings(write="off")
    else:
        story.world.config.write_text({"no project": "projects: {}", "nonsense": "projects: [: {"}[said])
    story.user.types("P-1", "description", "After")
    story.designer.types("P-2", "description", "The designer's")
    runs(anna, service, "push")
    runs(anna, service, "pull")
    story.then.plant3d_holds("P-1", "Before")
    story.then.synapse_holds("P-1", "After")
    story.then.synapse_holds("P-2", "The designer's")
    story.world.config.write_text(config)
    story.settings(write="sql")
    runs(anna, service, "push")
    story.then.both_sides_hold("P-1", "After")


def test_a_service_that_began_without_the_right_to_write_does_not_take_it_from_the_file(
    tell: Tell, serve: Serve
) -> None:
    story = tell(write="off")
    service = serve(story)
    anna = service.person("anna")
    story.settings(write="sql")
    story.user.types("P-1", "description", "The user's")
    runs(anna, service, "push")
    story.then.plant3d_holds("P-1", "Pump 1, as drawn")
