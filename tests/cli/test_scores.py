from __future__ import annotations

from types import SimpleNamespace

import pytest

from adaptertune_deploy.cli import scores

FOUND = SimpleNamespace(images=74, top1=63 / 74, top5=0.9865, loss=0.51234)


def test_top5_is_shown_only_where_it_says_something() -> None:
    assert scores.columns(10) == ("top-1", "loss")
    assert scores.cells(FOUND, 10) == ("85.1% (63 of 74)", "0.512")
    assert scores.columns(11) == ("top-1", "top-5", "loss")
    assert scores.cells(FOUND, 11) == ("85.1% (63 of 74)", "98.7%", "0.512")


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (74, "note: 74 test images: one image is 1.4 points; small differences mean nothing here\n"),
        (1, "note: 1 test image: one image is 100.0 points; small differences mean nothing here\n"),
        (100, ""),
    ],
)
def test_a_small_split_is_called_coarse(capsys: pytest.CaptureFixture[str], images: int, note: str) -> None:
    scores.tell_coarse(images, "test")
    assert capsys.readouterr().err == note
