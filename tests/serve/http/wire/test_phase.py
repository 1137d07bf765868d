from __future__ import annotations

from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.http.wire.watch import GIVING_WAY


def test_whoever_keeps_the_server_waiting_gives_way_and_nobody_else() -> None:
    assert set(Phase) - set(GIVING_WAY) == {Phase.ANSWER}
