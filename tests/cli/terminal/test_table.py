from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from adaptertune_deploy.cli.terminal import console, table

COLUMNS = (table.Words("image"), table.Words("answer"), "probability", table.Words("then"))
LABEL = "arrow pointing to the upper left corner"
ROWS = [("a/x.png", LABEL, "94.8%", "ring 3%, [bold]star[/] 2%"), ("b/x.png", "ri\x1b[2Jng\n", "5.0%", "")]


def printed(width: int) -> str:
    screen = io.StringIO()
    table.show(Console(file=screen, width=width, force_terminal=True, color_system=None), "Answers", COLUMNS, ROWS)
    return screen.getvalue()


@pytest.mark.parametrize("width", [120, 80, 60, 40])
def test_nothing_is_cut_and_no_line_is_wider_than_the_terminal(width: int) -> None:
    shown = printed(width)
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    assert "…" not in shown
    for word in (*LABEL.split(), "a/x.png", "b/x.png", "94.8%", "5.0%", "\\x1b[2J", "[bold]star[/]"):
        assert word in shown or word in shown.replace("\n", ""), (word, shown)
    assert "\x1b[2J" not in shown


def test_where_no_table_fits_a_row_is_a_block() -> None:
    first, second = printed(30).split("b/x.png")
    assert [line.rstrip() for line in first.splitlines()[:3]] == ["Answers", "a/x.png", "  answer       arrow pointing"]
    assert "  probability  94.8%" in first
    assert "then" in first
    assert "then" not in second


def test_a_pipe_gets_every_row_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table.show(console.out, "A title " + "and more " * 30, COLUMNS, [(*ROWS[0][:3], "star 1%, " * 40)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert LABEL in lines[2]
    assert lines[2].rstrip().endswith("star 1%,")


def test_a_styled_cell_has_no_colour_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(console.out, "", ("n",), [(Text("1", style="bold green"),)])
    assert capsys.readouterr().out.split() == ["n", "1"]
