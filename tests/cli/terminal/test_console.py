from __future__ import annotations

import errno
import io
import json
import sys

import pytest
from rich.console import Console

from adaptertune_deploy.cli.terminal import console

NASTY = "a\x1b[2Jb\nc\u202ed"


def test_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_error("pip install 'adaptertune-deploy[cpu]'\nnow")
    assert capsys.readouterr().err == "error: pip install 'adaptertune-deploy[cpu]' now\n"


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_note(NASTY)
    console.print_error(NASTY)
    console.print_stopped(NASTY)
    console.print_line(NASTY)
    console.print_important(NASTY)
    console.print_next(NASTY)
    console.print_next(NASTY, why="overrule")
    printed = capsys.readouterr()
    assert printed.err == ("note: a\\x1b[2Jb\\nc\\u202ed\nerror: a\\x1b[2Jb c\\u202ed\na\\x1b[2Jb c\\u202ed\n")
    seen = "a\\x1b[2Jb\\nc\\u202ed\n"
    assert printed.out == f"{seen}{seen}next: {seen}overrule: {seen}"


def test_json_is_one_document_with_readable_letters(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"label": "pêche", "nasty": NASTY + "\x9b"})
    printed = capsys.readouterr().out
    assert "pêche" in printed
    assert json.loads(printed) == {"label": "pêche", "nasty": NASTY + "\x9b"}
    assert not {"\x1b", "\u202e", "\x9b"} & set(printed)


def test_what_standard_error_does_not_take_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        full = True

        def flush(self) -> None:
            if self.full:
                self.truncate(0)
                self.seek(0)
                raise OSError(errno.ENOSPC, "No space left on device")

    disk = Full()
    monkeypatch.setattr(sys, "stderr", disk)
    console.print_note("lost")
    disk.full = False
    console.print_note("kept")
    assert disk.getvalue() == "note: kept\n"


def test_a_pipe_is_never_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.print_line("word " * 100)
    console.print_note("word " * 100)
    printed = capsys.readouterr()
    assert (printed.out.count("\n"), printed.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("width", [120, 60])
def test_bars_are_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    for terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=terminal, width=width))
        with console.progress_bars() as progress:
            progress("train, epoch 1/2", 1, 4)
            progress("train, epoch 2/2", 4, 4)
            progress("export", 0, 1)
        assert ("train, epoch 2/2" in screen.getvalue()) is terminal
        assert ("4/4" in screen.getvalue()) is terminal
        assert ("export" in screen.getvalue()) is terminal


def test_where_lines_are_wanted_a_log_gets_one_for_each_kind_of_work(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bars(lines=True) as progress:
        for step in range(3):
            progress("digits: fold 1 of 2", step, 2)
        progress("digits: fold 1 of 2, answers", 0, 1)
        progress("serve [bold]\x1b", 0, 1)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "digits: fold 1 of 2\nserve [bold]\\x1b\n")


def test_a_terminal_gets_bars_even_so(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, color_system=None, width=120))
    with console.progress_bars(lines=True) as progress:
        progress("export", 2, 2)
    assert "2/2" in screen.getvalue()


def test_every_stage_of_a_training_has_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, color_system=None, width=120))
    stages = ["frozen features of train", "probe", "fold 1/3", "fold 2/3", "all images"]
    with console.progress_bars() as progress:
        for stage in stages:
            for step in range(3):
                progress(stage, step, 2)
    lines = screen.getvalue().splitlines()
    for stage in stages:
        last = [line for line in lines if stage in line][-1]
        assert "2/2" in last
        assert "left" in last


def test_a_terminal_gets_sentences_broken_between_words_and_commands_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    narrow = Console(file=screen, force_terminal=True, color_system=None, width=20)
    monkeypatch.setattr(console, "out", narrow)
    monkeypatch.setattr(console, "err", narrow)
    console.print_line("several rather long words")
    console.print_note("several rather long words")
    console.print_next("atd serve --adapters birds,cars")
    console.print_error("run it again: atd export --merge")
    assert [line.rstrip() for line in screen.getvalue().splitlines()] == [
        "several rather long",
        "words",
        "note: several rather",
        "long words",
        "next: atd serve --adapters birds,cars",
        "error: run it again: atd export --merge",
    ]
