from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.wire.lingering import Lingering
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.http.wire.watch import LINGER_S, Watch
from adaptertune_deploy.serve.settings import Settings
from tests.serve.http.wire.test_lingering import FakeTransport

SETTINGS = Settings(header_timeout=10, keep_alive=75, body_grace=5, min_body_rate=100, answer_timeout=30)


class Asked(Lingering):
    """Whether a request has come is said by the connection."""

    connection: FakeConnection

    def arrived(self) -> bool:
        return self.connection.asked


@dataclass(eq=False)
class FakeConnection:
    phase: Phase
    since: float = 0.0
    received: int = 0
    fate: str = ""
    pending: int = 0
    asked: bool = False
    lingering: Asked = field(init=False)

    def __post_init__(self) -> None:
        connection = self

        class Transport(FakeTransport):
            def close(self) -> None:
                connection.fate = "closed"

            def get_write_buffer_size(self) -> int:
                return connection.pending

            def __getattribute__(self, name: str) -> object:
                return object.__getattribute__(self, name)

        self.lingering = Asked(Transport(), lambda: False, lambda call: None)
        self.lingering.connection = self

    def refuse(self, error: RequestError) -> None:
        self.fate = str(error.status)

    def abort(self) -> None:
        self.fate = "aborted"


def watched(*phases: Phase) -> tuple[Watch, list[FakeConnection]]:
    watch = Watch(SETTINGS)
    connections = [FakeConnection(phase) for phase in phases]
    for connection in connections:
        watch.enter(connection)
    return watch, connections


@pytest.mark.parametrize(
    ("phase", "received", "limit", "fate"),
    [
        (Phase.OPENED, 0, 10, "closed"),
        (Phase.IDLE, 0, 75, "closed"),
        (Phase.HEAD, 0, 10, "408"),
        (Phase.BODY, 0, 5, "408"),
        (Phase.BODY, 700, 12, "408"),
        (Phase.ENDING, 0, LINGER_S, "aborted"),
        (Phase.ANSWER, 0, 1e9, ""),
    ],
)
def test_every_wait_for_a_client_has_its_limit(phase: Phase, received: int, limit: float, fate: str) -> None:
    watch, (connection,) = watched(phase)
    connection.received = received
    watch.end_overdue(limit)
    assert connection.fate == ""
    watch.end_overdue(limit + 0.01)
    assert connection.fate == fate


def test_who_waits_longest_makes_room_and_nobody_who_is_owed_an_answer() -> None:
    watch, connections = watched(Phase.BODY, Phase.IDLE, Phase.ANSWER, Phase.OPENED, Phase.BODY, Phase.OPENED)
    assert (len(watch), watch.count(Phase.BODY)) == (6, 2)
    gone = []
    while watch.make_room():
        gone.append(next(c for c in connections if c.fate and c not in gone))
    assert [connections.index(connection) for connection in gone] == [3, 5, 1, 0, 4]
    assert [connection.fate for connection in gone] == ["closed", "closed", "closed", "aborted", "aborted"]
    assert len(watch) == 1


def test_whose_request_has_come_does_not_make_room_and_idles_no_more() -> None:
    watch, (asking, idle, opened, head) = watched(Phase.IDLE, Phase.IDLE, Phase.OPENED, Phase.HEAD)
    for connection in (asking, opened, head):
        connection.asked = True
    watch.end_overdue(1e9)
    assert (asking.fate, idle.fate, opened.fate, head.fate) == ("", "closed", "", "408")
    watch.leave(idle)
    assert watch.make_room()  # of a request that is being read more may have come, and who came first is not known
    assert (asking.fate, opened.fate, head.fate) == ("", "", "aborted")
    assert not watch.make_room()


def test_who_has_not_taken_an_answer_makes_room_at_once() -> None:
    watch, (connection,) = watched(Phase.IDLE)
    connection.pending = 1
    assert watch.make_room()
    assert connection.fate == "aborted"


def test_connections_are_scarce_when_less_than_an_eighth_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, _ = watched(*[Phase.IDLE] * 14)
    for room, scarce in ((14, True), (15, True), (16, False), (17, False)):
        monkeypatch.setattr(watch, "capacity", room)
        assert watch.scarce is scarce, room


def test_a_connection_that_asks_anew_waits_anew() -> None:
    watch, (first, second) = watched(Phase.IDLE, Phase.IDLE)
    watch.enter(first)
    watch.make_room()
    assert (first.fate, second.fate) == ("", "closed")


def test_an_answer_that_is_not_taken_ends_its_connection() -> None:
    watch, (connection,) = watched(Phase.ANSWER)
    connection.pending = 100
    watch.end_overdue(50)
    watch.end_overdue(80)
    connection.pending = 0
    watch.end_overdue(90)
    connection.pending = 100
    watch.end_overdue(100)
    watch.end_overdue(130)
    assert connection.fate == ""
    watch.end_overdue(130.01)
    assert connection.fate == "aborted"


def test_what_a_client_has_not_taken_is_known() -> None:
    watch, connections = watched(Phase.IDLE, Phase.ANSWER)
    assert not watch.unsent()
    connections[0].pending = 1
    assert watch.unsent()


def test_refusals_are_told_by_status() -> None:
    told: list[int] = []
    watch = Watch(SETTINGS, told.append)
    for status in (400, 408, 400):
        watch.refused(status)
    assert told == [400, 408, 400]
