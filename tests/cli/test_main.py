from __future__ import annotations

import re
import sys

import pytest

import adaptertune_deploy
from adaptertune_deploy.cli import main
from tests.cli.conftest import Atd


def test_version(atd: Atd) -> None:
    assert atd("--version").out == f"atd {adaptertune_deploy.__version__}\n"


def test_every_command_has_help_with_an_example(atd: Atd) -> None:
    commands = [command.name for command in main.app.registered_commands]
    assert commands == ["quickstart", "train", "evaluate", "export", "add", "predict", "serve"]
    for name in commands:
        done = atd(str(name), "--help")
        assert done.code == 0
        assert name == "quickstart" or re.search(rf"^\s*atd {name} ", done.out, re.MULTILINE), done.out


@pytest.mark.parametrize(("word", "nearest"), [("trian", "train"), ("exprot", "export")])
def test_a_mistyped_command_names_the_nearest(atd: Atd, word: str, nearest: str) -> None:
    done = atd(word)
    assert done.code == 2
    assert f"Did you mean '{nearest}'" in done.err


def stub(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def app() -> None:
        raise error

    monkeypatch.setattr(main, "app", app)


def test_a_full_disk_is_one_line(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, OSError(28, "No space left on device", "adapters/pets"))
    done = atd("train")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "adapters/pets: No space left on device" in done.err


def test_an_interrupt_ends_with_130(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, KeyboardInterrupt())
    assert atd("train")[0] == 130


def test_an_absent_library_names_its_extra(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adaptertune_deploy.export.exporter", None)
    done = atd("export", "--adapters", "birds")
    assert done.code == 1
    assert "pip install 'adaptertune-deploy[export]'" in done.err


def test_a_defect_keeps_its_traceback(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, ZeroDivisionError("a defect"))
    monkeypatch.setattr(sys, "argv", ["atd"])
    with pytest.raises(ZeroDivisionError):
        main.run()
