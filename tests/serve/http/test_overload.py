"""More than a server can do, and clients that leave: what is accepted is answered, and nothing runs for nobody."""

from __future__ import annotations

import base64
import json
import select
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S, asked, make_adapters, reference, wait_until
from tests.serve.http.raw_http import Wire, post

IMAGES = [encode(make_image(seed=seed)) for seed in range(4)]
TASKS = ("pets", "flowers", "digits")


class Steps(threading.Event):
    """A gate that lets one run of the engine through for every step, or all of them once it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        return self._steps.acquire(timeout=timeout)

    def step(self) -> None:
        self._steps.release()

    def set(self) -> None:
        self._steps.release(100_000)


def infer(task: str, *images: bytes) -> bytes:
    data = [base64.b64encode(image).decode() for image in images]
    entry = {"name": "image", "shape": [len(images), 1], "datatype": "BYTES", "data": data}
    return post(f"/v2/models/{task}/infer", json.dumps({"inputs": [entry]}).encode())


def check_logits(answer: tuple[int, Any], task: str, image: bytes) -> None:
    """Compare an answer about one image with float64 arithmetic straight from the adapter."""
    status, document = answer
    assert status == 200, document
    expected = reference(preprocess.preprocess(image, make_preprocess_spec()), make_adapters()[TASKS.index(task)])
    np.testing.assert_allclose(document["outputs"][0]["data"], expected, rtol=1e-4, atol=1e-5)


@contextmanager
def wires(running: Running, requests: Sequence[bytes]) -> Iterator[list[Wire]]:
    """Send requests, each on a connection of its own."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Wire(running.port)) for _ in requests]
        for wire, request in zip(opened, requests, strict=True):
            wire.send(request)
        yield opened


def answered(opened: Sequence[Wire], count: int) -> list[Wire]:
    """Wait until so many connections have an answer; return them."""
    for _ in range(10_000):
        sockets = select.select([wire.socket for wire in opened], [], [], WAIT_S)[0]
        if len(sockets) >= count:
            return [wire for wire in opened if wire.socket in sockets]
    raise AssertionError(f"fewer than {count} answers came")


def wait_queued(running: Running, rows: int, task: str | None = None) -> None:
    """Return when so many rows, of a task or of all, wait for the engine with their images decoded."""
    names = TASKS if task is None else [task]

    def reached() -> bool:
        jobs = running.service.batcher._queue.jobs()
        return sum(waiting.name in names for job in jobs for waiting in job.task[job.taken :]) >= rows

    wait_until(reached)


def canceled(running: Running, task: str) -> int:
    return running.service.statistics.tasks[task, 1].failures["CANCELED"]


@pytest.mark.case(
    "A1",
    "four times as many requests at once as the queue takes",
    "503 for the rest at once; what is accepted is answered rightly, and nothing else runs",
)
def test_what_is_accepted_is_answered_however_much_more_comes(launch: Launcher) -> None:
    running = launch(settings=Settings(max_batch=4, max_request_rows=4, queue_limit=24, task_queue_limit=8))
    running.engine.gate.clear()
    asking = [(TASKS[place % 3], IMAGES[place % 4]) for place in range(96)]
    with wires(running, [infer(task, image) for task, image in asking]) as opened:
        refused = answered(opened, 72)
        assert len(refused) == 72
        for wire in refused:
            status, document = wire.read_answer()
            assert (status, document["error"].startswith("Exceeds maximum queue size")) == (503, True)
        assert running.service.batcher.admitted == 24
        running.engine.wait_entered()
        wait_queued(running, 24 - len(asked(running.engine.calls[0])))
        running.engine.gate.set()
        for wire, (task, image) in zip(opened, asking, strict=True):
            if wire not in refused:
                check_logits(wire.read_answer(), task, image)
    rows = [task for call in running.engine.calls for task in asked(call)]
    assert Counter(rows) == {0: 8, 1: 8, 2: 8}
    assert len(running.engine.calls) <= 1 + -(-23 // 4)


@pytest.mark.case("A3", "a hundred clients leave while their requests wait", "none of them is run, each is counted")
def test_nothing_runs_for_clients_that_left(launch: Launcher) -> None:
    running = launch(settings=Settings(task_queue_limit=128))
    running.engine.gate.clear()
    with Wire(running.port) as held:
        held.send(infer("digits", IMAGES[0]))
        running.engine.wait_entered()
        with wires(running, [infer("pets", IMAGES[1])] * 100):
            wait_until(lambda: running.service.batcher.admitted == 101)
        wait_until(lambda: canceled(running, "pets") == 100)
        assert running.service.batcher.admitted == 1
        running.engine.gate.set()
        check_logits(held.read_answer(), "digits", IMAGES[0])
        check_logits(held.send(infer("pets", IMAGES[2])).read_answer(), "pets", IMAGES[2])
    assert [asked(call) for call in running.engine.calls] == [[2], [0]]


@pytest.mark.case("A4", "a client leaves while the engine runs its batch", "the others of the batch are answered")
def test_who_leaves_during_a_run_harms_no_other_row(launch: Launcher) -> None:
    running = launch()
    steps = running.engine.gate = Steps()
    with Wire(running.port) as first:
        first.send(infer("pets", IMAGES[0]))
        running.engine.wait_entered()
        with wires(running, [infer(task, IMAGES[place]) for place, task in enumerate(TASKS)]) as opened:
            wait_queued(running, 3)
            steps.step()
            running.engine.wait_entered()
            opened[1].socket.close()
            wait_until(lambda: canceled(running, "flowers") == 1)
            steps.step()
            check_logits(opened[0].read_answer(), "pets", IMAGES[0])
            check_logits(opened[2].read_answer(), "digits", IMAGES[2])
    assert [sorted(asked(call)) for call in running.engine.calls] == [[0], [0, 1, 2]]


@pytest.mark.case(
    "A5",
    "eight clients with 64 rows each of one task",
    "a row of another task is never refused, and rides in the next run",
)
def test_a_noisy_task_takes_neither_the_places_nor_the_turn_of_another(launch: Launcher) -> None:
    running = launch()
    steps = running.engine.gate = Steps()
    noisy = infer("pets", *[IMAGES[0]] * 64)
    with wires(running, [noisy] * 8) as opened, Wire(running.port) as quiet:
        refused = answered(opened, 7)
        assert {wire.read_answer()[0] for wire in refused} == {503}
        running.engine.wait_entered()
        for _ in range(3):
            quiet.send(infer("digits", IMAGES[1]))
            wait_queued(running, 1, "digits")
            steps.step()
            running.engine.wait_entered()
            assert 2 in asked(running.engine.calls[-1])
            steps.step()
            running.engine.wait_entered()
            check_logits(quiet.read_answer(), "digits", IMAGES[1])
        steps.set()
        (last,) = (wire for wire in opened if wire not in refused)
        assert last.read_answer()[0] == 200
