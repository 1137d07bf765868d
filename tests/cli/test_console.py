from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from adaptertune_deploy.cli import console


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (78_024, "78 kB"), (6_508_154, "6.51 MB"), (345_000_000, "345 MB"),
     (2_858_000_000, "2.86 GB")],
)  # fmt: skip
def test_human_bytes(count: int, text: str) -> None:
    assert console.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_human_seconds(seconds: float, text: str) -> None:
    assert console.human_seconds(seconds) == text


def test_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_error("pip install 'adaptertune-deploy[cpu]'\nnow")
    assert capsys.readouterr().err == "error: pip install 'adaptertune-deploy[cpu]' now\n"


def test_json_is_one_document_with_readable_letters(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"label": "pêche"})
    printed = capsys.readouterr().out
    assert "pêche" in printed
    assert json.loads(printed) == {"label": "pêche"}


def test_bars_are_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=terminal, width=120))
        with console.progress_bars() as progress:
            progress("train, epoch 1/2", 1, 4)
            progress("train, epoch 2/2", 4, 4)
            progress("export", 0, 1)
        assert ("train, epoch 2/2" in screen.getvalue()) is terminal
        assert ("4/4" in screen.getvalue()) is terminal
        assert ("export" in screen.getvalue()) is terminal
