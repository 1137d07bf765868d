"""core.progress."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.progress import Progress, silent


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report: Progress = silent
    report("epochs", 1, 2)
    assert capsys.readouterr() == ("", "")
