from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adaptertune_deploy.cli.quickstart import result
from adaptertune_deploy.cli.terminal import console

FACTS: dict[str, Any] = {
    "backbone": "vit_pico_patch8_64.atd_formula",
    "tasks": [
        {"task": "digits", "trainable": 18_762, "share": 0.0116, "epochs": 3.0, "lr": 6e-3, "head": {"top1": 0.9},
         "adapter": {"top1": 0.98}, "ships": "adapter", "test_images": 350, "max_abs": 3e-6, "latency_ms": 4.25},
        {"task": "shapes", "trainable": 18_762, "share": 0.0116, "epochs": 5.0, "lr": 6e-3, "head": {"top1": 0.5},
         "adapter": {"top1": 0.75}, "ships": "head", "test_images": 400, "max_abs": 2e-6, "latency_ms": 4.5},
    ],
    "merged_bytes": 13_160_000,
    "shared_bytes": 6_660_000,
    "adapter_bytes": 80_000,
    "mixed_batch_images": 16,
    "mixed_batch_right": 15,
    "seconds": 100.0,
}  # fmt: skip


def test_it_shows_what_was_measured_and_says_what_was_calculated(capsys: pytest.CaptureFixture[str]) -> None:
    result.show(FACTS, Path("quickstart"))
    printed = capsys.readouterr().out
    for text in (
        "90.0 % (315 of 350)", "98.0 % (343 of 350)", "3.0e-06", "4.2 ms", "13.2 MB", "6.66 MB",
        "65.8 MB", "7.3 MB", "2 tasks, measured", "10 tasks, calculated", "100 tasks, calculated",
        "the server answered 16 images of all tasks in one request, 15 of them right",
        "wrote quickstart/adapters/ and quickstart/bundle/ in 1 min 40 s",
    ):  # fmt: skip
        assert text in printed, text


def test_it_says_where_everything_comes_from_and_which_schedule_ran(capsys: pytest.CaptureFixture[str]) -> None:
    result.show(FACTS, Path("quickstart"))
    printed = capsys.readouterr().out
    assert "digits 3 epochs at lr 0.006; shapes 5 epochs at lr 0.006; it is quickstart's own" in printed
    assert "the backbone and the images of shapes were drawn by formulas, digits are real scans" in printed


def test_the_next_commands_lead_out_of_the_toy(capsys: pytest.CaptureFixture[str]) -> None:
    result.show(FACTS, Path("my demo"))
    printed = capsys.readouterr().out
    assert "next: atd serve --adapters digits,shapes --bundle 'my demo/bundle'\n" in printed
    assert printed.endswith("      atd train --dataset pets --rank 8\n")


@pytest.mark.parametrize("width", [120, 80, 40])
def test_it_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, width=width, force_terminal=True, highlight=False))
    result.show(FACTS, Path("quickstart"))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "…" not in printed
    tables = printed.partition("schedule:")[0]
    assert all(len(line.rstrip()) <= width for line in tables.splitlines())
