"""benchmarks.clients.http1: a wrong answer is noticed, whatever is wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.serve.offline.opened import OpenBundle
from adaptertune_deploy.serve.sessions.session import open_session
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http1 import Answers, Connection, Connections, Question, cycle, percentile, questions
from benchmarks.robustness.soak import picture
from tests.serve.conftest import Launcher, Running, launch, server  # noqa: F401
from tests.serve.http.raw_http import LIVE

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"
QUESTION = Question("pets", b"png", {0: 0.7, 1: 0.2, 2: 0.1})


def answer(task: str = "pets", **changes: float) -> bytes:
    values = {"0": 0.7, "1": 0.2, "2": 0.1, **changes}
    labels = [{"index": int(index), "probability": value} for index, value in values.items()]
    return json.dumps({"images": [{"tasks": {task: labels}}]}).encode()


@pytest.fixture
def opened() -> Iterator[OpenBundle]:
    with OpenBundle(open_session(GOLDEN)) as bundle:
        yield bundle


def test_a_right_answer_passes_and_a_wrong_one_is_said() -> None:
    assert QUESTION.fault(answer()) is None
    assert QUESTION.fault(answer(**{"0": 0.700001})) is None
    assert QUESTION.fault(answer(**{"0": 0.70001})) == "pets: a probability is off by 1e-05"
    assert QUESTION.fault(answer("digits")) == "pets: classes []"
    assert QUESTION.fault(answer(**{"3": 0.0})) == "pets: classes [0, 1, 2, 3]"


def test_answers_are_right_refused_or_wrong() -> None:
    found = Answers()
    for status, body in ((200, answer()), (503, b"{}"), (500, b"{}"), (0, b"broken"), (200, answer("digits"))):
        found.note(QUESTION, status, body)
    assert found.statuses == {200: 2, 503: 1, 500: 1, 0: 1}
    assert found.wrong == ["500: b'{}'", "0: b'broken'", "pets: classes []"]


def test_every_image_is_asked_for_every_task_and_alike_answers_are_refused(opened: OpenBundle) -> None:
    found = questions(opened, [picture(0), picture(5)])
    assert [question.task for question in found] == [task.name for task in opened.tasks for _ in range(2)]
    for question in found:
        assert sum(question.expected.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="are alike"):
        questions(opened, [picture(3), picture(3)])


def test_all_come_in_turn_and_neighbours_lie_apart() -> None:
    for count in (1, 2, 3, 48):
        assert sorted(islice(cycle(list(range(count))), count)) == list(range(count))
    first, second = islice(cycle(list(range(48))), 2)
    assert second - first > 16


def test_a_percentile_is_a_value_that_came() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(100)), 0.99) == 98
    assert percentile([7], 0.99) == percentile([1, 7], 1.0) == 7


def test_connections_are_kept_and_one_that_breaks_is_told(server: Running) -> None:  # noqa: F811
    async def play() -> list[int]:
        connection = Connection(server.port)
        statuses = [(await connection.ask(LIVE))[0] for _ in range(2)]
        statuses += [(await connection.ask(b"\x00\r\n\r\n"))[0], (await connection.ask(LIVE))[0]]
        connection.close()
        absent = Connection(1)
        return [*statuses, (await absent.ask(LIVE))[0]]

    assert asyncio.run(play()) == [200, 200, 400, 200, 0]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BEGUN = b"HTTP/1.1 2"


async def against(scripts: list[list[bytes]], times: int) -> tuple[list[int], int]:
    """Ask so often over one client's connection; return the statuses, and how often it asked again.

    Args:
        scripts: of every connection that the server takes what it answers, request by request; the one after the last
            is read, and then the connection is closed, as it is after an answer that is not whole.
        times: that the client asks.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        script = scripts.pop(0)
        for answer in script:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        if BEGUN not in script:
            with suppress(EOFError):
                await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    serving: list[Any] = []

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        connection = Connection(listening.sockets[0].getsockname()[1])
        statuses = [(await connection.ask(LIVE))[0] for _ in range(times)]
        connection.close()
        await asyncio.gather(*serving)
        assert not scripts
        return statuses, connection.asked_again


@pytest.mark.parametrize(
    ("scripts", "statuses", "asked_again"),
    [
        ([[OK], [OK]], [200, 200], 1),
        ([[OK], []], [200, 0], 1),  # once and no more
        ([[]], [0], 0),  # a new connection, which did not idle
        ([[OK, BEGUN]], [200, 0], 0),  # an answer had begun
    ],
)
def test_a_request_that_met_the_end_of_an_idle_connection_is_asked_once_more(
    scripts: list[list[bytes]], statuses: list[int], asked_again: int
) -> None:
    assert asyncio.run(against(scripts, len(statuses))) == (statuses, asked_again)


def test_a_connection_that_was_closed_while_it_idled_is_not_used(launch: Launcher) -> None:  # noqa: F811
    running = launch(settings=Settings(keep_alive=0.02))

    async def play() -> tuple[int, int, int]:
        connection = Connection(running.port)
        first = (await connection.ask(LIVE))[0]
        assert connection._streams is not None
        await connection._streams[0].read()  # until the server closes it
        second = (await connection.ask(LIVE))[0]
        connection.close()
        return first, second, connection.asked_again

    assert asyncio.run(play()) == (200, 200, 0)


def test_no_more_connections_are_used_than_there_are(server: Running) -> None:  # noqa: F811
    async def play() -> tuple[int, int]:
        connections = Connections(server.port, 2)
        answers = await asyncio.gather(*(connections.ask(LIVE) for _ in range(3)))
        connections.close()
        return answers.count(None), connections.short

    assert asyncio.run(play()) == (1, 1)
