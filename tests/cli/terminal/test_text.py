from __future__ import annotations

import pytest

from adaptertune_deploy.cli.terminal import text


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (78_024, "78 kB"), (6_508_154, "6.51 MB"), (345_000_000, "345 MB"),
     (2_858_000_000, "2.86 GB")],
)  # fmt: skip
def test_human_bytes(count: int, shown: str) -> None:
    assert text.human_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_human_seconds(seconds: float, shown: str) -> None:
    assert text.human_seconds(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1000, "1,000 tasks")])
def test_plural(count: int, shown: str) -> None:
    assert text.plural(count, "task") == shown


@pytest.mark.parametrize(("right", "images", "shown"), [(63, 74, "85.1 % (63 of 74)"), (0, 1, "0.0 % (0 of 1)")])
def test_an_accuracy_comes_with_its_counts(right: int, images: int, shown: str) -> None:
    assert text.accuracy(right / images, images) == shown


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("gro\u202eß", "gro\\u202eß"),
        ("\x9b31m", "\\x9b31m"),
        ("\u2066a\u2069\u2028\ufeff", "\\u2066a\\u2069\\u2028\\ufeff"),
        ("\udcff.png", "\\udcff.png"),
        ("Bär 日本 🐈‍⬛ [red]x[/]", "Bär 日本 🐈‍⬛ [red]x[/]"),
    ],
)
def test_control_characters_are_spelled_out_and_writing_is_left_alone(label: str, shown: str) -> None:
    assert text.visible(label) == shown
