from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import adaptertune_deploy
from adaptertune_deploy.cli import main
from adaptertune_deploy.core import openmp
from tests.cli.conftest import Atd

ROOT = Path(__file__).parents[2]


def test_version(atd: Atd) -> None:
    done = atd("--version")
    assert (done.code, done.out) == (0, f"atd {adaptertune_deploy.__version__}\n")


def stub(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def app(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", app)


def test_a_full_disk_is_one_line(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, OSError(28, "No space left on device", "adapters/pets"))
    done = atd("train")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "adapters/pets: No space left on device" in done.err


def test_a_system_without_threads_left_is_one_line(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, RuntimeError("can't start new thread"))
    done = atd("train")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "the system lets this process start no more threads; see ulimit -u" in done.err
    stub(monkeypatch, RuntimeError("a fault of ours"))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        atd("train")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_s_encoding_lacks_is_escaped(encoding: str, tmp_path: Path) -> None:
    for label in ("猫", "犬"):
        (tmp_path / "photos" / label).mkdir(parents=True)
    words = [sys.executable, "-m", "adaptertune_deploy", "data", "check", "--dataset", "photos"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert rb"\u732b" in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


ENDS = {
    "a usual end": ("console.print_stopped('stopped')", 0),
    "an error": ("raise core.errors.UsageError('wrong')", 2),
}
CODE = """
import adaptertune_deploy.core.errors
from adaptertune_deploy import core
from adaptertune_deploy.cli import main
from adaptertune_deploy.core import openmp
from adaptertune_deploy.cli.terminal import console

def app(**_):
    console.print_note("a note")
    logging.getLogger().error("a line")
    {end}

import logging
main.app = app
logging.basicConfig()
main.run()
"""


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("lost", ["full", "unread", "closed"])
def test_standard_error_that_takes_nothing_does_not_decide_the_exit_code(lost: str, end: str) -> None:
    code, expected = ENDS[end]
    with ExitStack() as stack:
        if lost == "unread":
            reader, error = os.pipe()
            os.close(reader)
        else:
            error = os.open("/dev/full", os.O_WRONLY)
        stack.callback(os.close, error)
        closing = "import os; os.close(2)" if lost == "closed" else ""
        command = [sys.executable, "-c", closing + CODE.format(end=code)]
        assert subprocess.run(command, stderr=error, cwd=ROOT, check=False).returncode == expected


def test_an_interrupt_before_a_command_begins(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, KeyboardInterrupt())
    done = atd("train")
    assert (done.code, done.out, done.err) == (130, "", "stopped; nothing was done\n")


def test_an_absent_library_names_its_extra(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adaptertune_deploy.export.plan", None)
    done = atd("export", "--adapters", "birds")
    assert done.code == 1
    assert "pip install 'adaptertune-deploy[export]'" in done.err


def test_a_defect_keeps_its_traceback(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, ZeroDivisionError("a defect"))
    monkeypatch.setattr(sys, "argv", ["atd"])
    with pytest.raises(ZeroDivisionError):
        main.run()


def test_threads_of_torch_wait_briefly(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (openmp.LOOKS, openmp.POLICY):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    atd("--version")
    assert os.environ[openmp.LOOKS] == str(openmp.FEW_LOOKS)


def test_torch_is_not_there_before_it_is_set() -> None:
    code = "import sys, adaptertune_deploy.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
