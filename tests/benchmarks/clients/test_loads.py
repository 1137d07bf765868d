"""Clients: what they count, when they ask, and that a slow answer keeps nobody of the second kind from asking."""

from __future__ import annotations

import contextlib
import itertools
import socketserver
import statistics
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks.clients import loads

REQUEST = b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


class Answering(socketserver.ThreadingTCPServer):
    """A server on a loopback port that answers each request once `enough` have come.

    asked: how many have come. most: how many were unanswered at once.
    """

    daemon_threads = True

    def __init__(self, enough: int, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked = self.open = self.most = 0
        self.enough, self.status = enough, status
        self.changed = threading.Condition()


class Answers(socketserver.StreamRequestHandler):
    server: Answering
    timeout = 30  # seconds: a connection that is left open fails a test and does not hang it

    def handle(self) -> None:
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            with self.server.changed:
                self.server.asked += 1
                self.server.open += 1
                self.server.most = max(self.server.most, self.server.open)
                self.server.changed.notify_all()
                self.server.changed.wait_for(lambda: self.server.asked >= self.server.enough)
                self.server.open -= 1
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.server.status)


@contextlib.contextmanager
def answering(enough: int = 1, status: int = 200) -> Iterator[tuple[Answering, int]]:
    with Answering(enough, status) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, server.server_address[1]
        finally:
            with server.changed:
                server.enough = 0
                server.changed.notify_all()
            server.shutdown()
            thread.join()


def test_clients_that_wait_have_one_request_each() -> None:
    with answering(enough=3) as (server, port):
        load = loads.waiting(port, itertools.repeat(REQUEST), 3, 0.05)
        assert server.most == 3
        assert len(load.latencies) == server.asked
        assert load.rate == pytest.approx(server.asked / load.seconds)
        assert max(load.latencies) <= load.seconds
        assert load.client_s > 0


def test_clients_that_do_not_wait_ask_though_nobody_is_answered() -> None:
    count = len(loads.moments(400, 0.1, 1))
    with answering(enough=count) as (server, port):
        load = loads.drawn(port, itertools.repeat(REQUEST), 400, 0.1, 1)
        assert server.most == server.asked == len(load.latencies) == len(load.late) == count
    # The first to ask waited for the last: nothing of that is left out.
    moments = loads.moments(400, 0.1, 1)
    assert max(load.latencies) >= moments[-1] - moments[0]
    assert min(load.late) >= 0


def test_evenly_spaced_requests_leave_one_after_another() -> None:
    with answering() as (server, port):
        load = loads.spaced(port, itertools.repeat(REQUEST), 200, 0.1)
        assert server.asked == len(load.latencies) == len(load.late) == 20
        assert load.seconds >= 19 / 200


def test_a_group_is_asked_at_once_and_lasts_until_its_last_answer() -> None:
    with answering(enough=5) as (server, port):
        load = loads.together(port, itertools.repeat([REQUEST] * 5), 0)
        assert (server.most, server.asked, len(load.latencies)) == (5, 5, 1)


@pytest.mark.parametrize("ask", [
    lambda port: loads.waiting(port, itertools.repeat(REQUEST), 1, 1),
    lambda port: loads.together(port, itertools.repeat([REQUEST]), 1),
    lambda port: loads.drawn(port, itertools.repeat(REQUEST), 1000, 0.01, 0),
])  # fmt: skip
def test_an_answer_that_is_not_200_ends_it(ask: Callable[[int], object]) -> None:
    with (
        answering(status=503) as (_, port),
        pytest.raises(RuntimeError, match="was answered with 503: b'ok'"),
    ):
        ask(port)


def test_a_server_that_does_not_keep_up_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "CONNECTIONS", 3)
    with (
        answering(enough=10**9) as (_, port),
        pytest.raises(RuntimeError, match="3 requests are unanswered: the server does not keep up"),
    ):
        loads.drawn(port, itertools.repeat(REQUEST), 1000, 0.05, 0)


def test_moments_are_those_of_a_poisson_process() -> None:
    """Independent exponential gaps: mean and standard deviation are both 1 / rate."""
    moments = loads.moments(50, 400, 7)
    gaps = [after - before for before, after in itertools.pairwise([0.0, *moments])]
    assert len(moments) == pytest.approx(50 * 400, rel=0.03)
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert moments == sorted(moments)
    assert moments[-1] < 400
    assert loads.moments(50, 400, 7) == moments != loads.moments(50, 400, 8)


def test_resampling_draws_whole_rounds() -> None:
    rounds = [[1.0, 1.0], [3.0]]
    found = loads.resampled(rounds, sum)
    assert set(found) == {4.0, 5.0, 6.0}
    assert found.count(5.0) == pytest.approx(loads.SAMPLES / 2, rel=0.2)


def test_percentiles_are_in_milliseconds() -> None:
    assert loads.p99_ms([place / 1000 for place in range(1, 101)]) == pytest.approx(99)
