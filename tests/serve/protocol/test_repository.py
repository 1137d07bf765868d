from __future__ import annotations

import asyncio

import pytest

from adaptertune_deploy.core.errors import FormatError, RequestError
from adaptertune_deploy.serve.protocol import repository
from adaptertune_deploy.serve.protocol.repository import Sent, read_load
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import make_shared


def read(parameters: dict[str, str]) -> Sent:
    return read_load("pets", parameters, lambda _, value: value, lambda _, value: value.encode())


def test_a_load_brings_nothing_or_files_and_which_candidate_ships() -> None:
    assert read({}) == Sent({})
    assert read({"file:a": "1", "file:samples/b": "2", "ship": "head"}) == Sent({"a": b"1", "samples/b": b"2"}, "head")
    assert read({"file:a": "1", "ship": "adapter-4"}) == Sent({"a": b"1"}, "adapter-4")


@pytest.mark.parametrize(
    "parameters",
    [
        {"config": "{}"},
        {"File:a": "x"},
        {"ship": "head"},
        {"file:a": "", "ship": ""},
        {"file:a": "", "ship": "adapter-0"},
    ],
)
def test_what_a_load_can_not_bring_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="failed to load 'pets', ") as caught:
        read(parameters)
    assert caught.value.status == 400


def test_a_load_that_fails_carries_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(make_shared(), Settings())

    async def fail(name: str) -> None:
        raise FormatError("damaged")

    monkeypatch.setattr(service.loader, "load", fail)
    with pytest.raises(RequestError, match="failed to load 'pets': damaged") as caught:
        asyncio.run(repository.load(service, "pets", Sent({})))
    assert caught.value.status == 500


def test_a_task_is_not_unloaded_by_the_name_of_its_other_model() -> None:
    service = Service(make_shared(), Settings())
    with pytest.raises(RequestError) as caught:
        asyncio.run(repository.unload(service, "pets__tensor", ()))
    assert str(caught.value) == "pets__tensor is the task 'pets' with tensors in; unload 'pets'"
    assert caught.value.status == 400
    assert service.tasks.current.get("pets") is not None


@pytest.mark.parametrize("name", ["pets", "never__tensor"])
def test_what_is_not_served_counts_as_unloaded(name: str) -> None:
    service = Service(make_shared(), Settings())
    asyncio.run(repository.unload(service, name, ()))
    asyncio.run(repository.unload(service, name, ()))
    assert service.tasks.current.get(name) is None


def test_the_index_leaves_out_what_it_is_asked_to() -> None:
    service = Service(make_shared(), Settings())
    service.loader._index.failed("trees", FormatError("damaged"))
    every, ready = repository.index(service, ready=False), repository.index(service, ready=True)
    assert every[-1] == {"name": "trees", "version": "1", "state": "UNAVAILABLE", "reason": "damaged"}
    assert ready == every[:-1] == [
        {"name": name, "version": "1", "state": "READY"} for name in ("digits", "flowers", "pets")
    ]  # fmt: skip


def test_what_nobody_knows_is_not_unloaded_by_halves() -> None:
    service = Service(make_shared(), Settings())
    with pytest.raises(RequestError, match="unknown parameter 'x'"):
        asyncio.run(repository.unload(service, "pets", ["unload_dependents", "x"]))
    assert service.tasks.current.get("pets") is not None
