from __future__ import annotations

import logging

import pytest

from adaptertune_deploy.serve.logs.readiness import ReadinessLog


def test_each_change_is_one_line_and_an_illness_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "adaptertune_deploy.serve.logs")
    log = ReadinessLog()
    for reason, ill in [("warming up", False), (None, False), ("it failed", True), (None, False), ("ending", False)]:
        log.note(reason, ill)
        log.note(reason, ill)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "not ready: warming up"),
        ("INFO", "ready"),
        ("ERROR", "not ready: it failed"),
        ("INFO", "ready"),
        ("INFO", "not ready: ending"),
    ]
