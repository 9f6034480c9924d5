"""What goes over the socket comes back the same, and no secret is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from courseyard import errors
from courseyard.agent import client, protocol
from courseyard.backends.base import Exit, ExitReason, Progress, Started


def test_requests_survive_the_way(make_plan: Callable[..., Any]) -> None:
    requests = (
        protocol.Start(plan=make_plan(), secrets={"JUPYTERHUB_API_TOKEN": 't"o\nk'}),
        protocol.Poll(handle="a.b.c"),
        protocol.Stop(handle="a", now=True),
        protocol.Log(handle="a", lines=3),
        protocol.EnsureStorage(needs=make_plan().storage),
        protocol.PamLogin(username="alice", password="hunter2"),
        protocol.Ping(),
    )
    for request in requests:
        assert protocol.read_request(client._line(request)) == request


def test_no_secret_in_a_repr(make_plan: Callable[..., Any]) -> None:
    start = protocol.Start(plan=make_plan(), secrets={"TOKEN": "t0p"})
    login = protocol.PamLogin(username="a", password="hunter2")
    assert "t0p" not in repr(start)
    assert "hunter2" not in repr(login)


@pytest.mark.parametrize("name", ["A=B", "1A", "A B", "", "A\0"])
def test_names_of_secrets(make_plan: Callable[..., Any], name: str) -> None:
    with pytest.raises(ValidationError):
        protocol.Start(plan=make_plan(), secrets={name: "x"})


@pytest.mark.parametrize(
    "thing",
    [Progress(5, "x"), Started("h", "127.0.0.1", 1), Exit(ExitReason.OUT_OF_MEMORY, 137, "m")],
)
def test_answers(thing: Any) -> None:
    answer = protocol.answer_of(thing)
    assert protocol.read_answer(answer.model_dump_json().encode()) == answer


@pytest.mark.parametrize(
    "kind",
    [errors.StartError, errors.StorageError, errors.AgentRefusedError, errors.UnsupportedError],
)
def test_an_error_stays_the_same_error(kind: type[errors.CourseyardError]) -> None:
    error = kind("m", "n", detail="d")
    back = protocol.error_of(protocol.error_answer(error))
    assert type(back) is kind
    assert (back.message, back.next_step, back.detail, back.id) == ("m", "n", "d", error.id)


def test_an_unknown_error_is_one_of_the_agents() -> None:
    answer = protocol.ErrorAnswer(type="SystemExit", message="m")
    assert type(protocol.error_of(answer)) is errors.AgentError
