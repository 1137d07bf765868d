from __future__ import annotations

from adaptertune_deploy.serve.companion import Companion
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from tests.serve.fakes import make_shared


class Noted:
    """A companion that notes what happens to it."""

    pending = 0

    def __init__(self) -> None:
        self.events: list[str] = []

    async def start(self) -> None:
        self.events.append("start")

    async def stop(self, seconds: float) -> None:
        self.events.append("stop")


def test_companions_start_and_end_with_the_server() -> None:
    noted = Noted()
    companions: list[Companion] = [noted, noted]
    with serving(make_app(make_shared()), companions=companions):
        pass
    assert noted.events == ["start", "start", "stop", "stop"]
