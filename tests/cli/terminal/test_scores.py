from __future__ import annotations

import io

import pytest
from rich.console import Console

from adaptertune_deploy.cli.terminal import console, scores
from tests.train.outcome.measured_values import LABELS, make_measure

CANDIDATES = {"head alone": make_measure(30, parameters=7_141), "adapter + head": make_measure(33, parameters=39_264)}


def test_candidates_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    scores.show("trees: test split", CANDIDATES, LABELS, 5_524_416)
    title, header, *rows = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert title == "trees: test split"
    assert header.split("  ")[-1].strip() == "adapter + head"
    cells = {row[:18].strip(): row[18:].split("  ") for row in rows}
    assert [cell.strip() for cell in cells["right"] if cell] == ["30 of 40", "33 of 40"]
    assert "worst class" in cells
    assert len({len(row) for row in rows}) == 1  # numbers end in one column


@pytest.mark.parametrize("width", [80, 60, 30])
def test_it_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True, color_system=None, width=width))
    scores.show("trees", CANDIDATES, ("ash", "a rather long name of a class", "oak"), 5_524_416)
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "16 of 20: a rather long..." in " ".join(screen.getvalue().split())
    assert (len(lines) == 11) is (width == 80)  # title, header and nine facts


@pytest.mark.parametrize(("images", "said"), [(74, True), (1, True), (100, False)])
def test_a_small_split_says_what_it_can_not_show(capsys: pytest.CaptureFixture[str], images: int, said: bool) -> None:
    scores.tell_coarse(images, "test")
    note = capsys.readouterr().err
    assert note.startswith(f"note: {images} test image") is said
    assert bool(note) is said
