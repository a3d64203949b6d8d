"""A name server that does not answer holds nobody up, whoever needs the name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plant3d_sync import lookup
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.jobqueue import RedisBell
from plant3d_sync.state import State

SLOW = "slow.example"
REAL = socket.getaddrinfo


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The system's lookup of one name answers when the event is set, and not before."""
    answers = threading.Event()
    asked: list[str] = []

    def getaddrinfo(host: Any, *given: Any, **more: Any) -> Any:
        if host != SLOW:
            return REAL(host, *given, **more)
        asked.append(host)
        answers.wait(60)
        return REAL("127.0.0.1", *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(lookup, "_going", {})
    monkeypatch.setattr(lookup, "SECONDS", 0.2)
    monkeypatch.setattr(lookup.addresses, "__kwdefaults__", {"seconds": 0.2})
    yield answers
    answers.set()


def test_a_name_that_hangs_is_given_up_within_the_bound_and_used_once_it_is_there(
    name_server: threading.Event,
) -> None:
    with pytest.raises(lookup.UnknownName, match=r"0\.2 s"):
        lookup.addresses(SLOW)
    for _ in range(400):  # who asks while it hangs does not wait anew: in 80 s it would be there
        with pytest.raises(lookup.UnknownName):
            lookup.addresses(SLOW)
    looking = [thread for thread in threading.enumerate() if thread.name == "lookup"]
    assert len(looking) == 1, "one thread for a name, however many ask"
    name_server.set()
    looking[0].join(30)
    assert lookup.addresses(SLOW) == ["127.0.0.1"]


def test_the_state_database_by_a_name_that_hangs_is_away_at_once(name_server: threading.Event) -> None:
    state = State(f"postgresql://u:canary@{SLOW}:1/d")
    with pytest.raises(RetryLaterError, match=SLOW) as caught:
        state.ready()
    assert not name_server.is_set()
    assert caught.value.error_code == "state_unavailable"
    assert "canary" not in str(caught.value.to_dict())
    state.close()


def test_redis_by_a_name_that_hangs_is_away_at_once_and_says_why(name_server: threading.Event) -> None:
    for scheme in ("redis", "rediss"):
        bell = RedisBell(f"{scheme}://u:canary@{SLOW}:1/0")
        assert not bell.alive() and not bell.ring("run-1")
        assert not name_server.is_set()
        assert bell.trouble is not None and SLOW in bell.trouble and "canary" not in bell.trouble
        bell.close()


def test_a_name_that_nobody_knows_is_told_and_asked_again() -> None:
    for _ in range(2):
        with pytest.raises(lookup.UnknownName, match=r"no-such-host\.invalid"):
            lookup.addresses("no-such-host.invalid", seconds=30)


def test_what_is_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    for host in ("127.0.0.1", "::1", "fe80::1%eth0", "/var/run/postgresql"):
        assert lookup.addresses(host) == [host]
