from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import os, signal, sys

class Raises:
    def find_spec(self, name, path=None, target=None):
        if name == "{library}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Raises())
from adaptertune_deploy.cli.start import start
start()
"""


@pytest.mark.parametrize("library", ["typer", "rich.console", "http.client"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_the_commands_are_imported_is_one_line(name: str, library: str) -> None:
    code = CODE.format(library=library, signal=name)
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "stopped; nothing was done\n")
    assert done.returncode == 128 + signal.Signals[name]


@pytest.mark.parametrize("words", [["--version"], ["no-such-command"]])
def test_it_is_the_command(words: list[str]) -> None:
    code = "from adaptertune_deploy.cli.{}; {}()"
    ends = []
    for begin in ("start import start", "main import run"):
        text = code.format(begin, begin.split()[-1])
        done = subprocess.run([sys.executable, "-c", text, *words], capture_output=True, env=os.environ, check=False)
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends[0] == ends[1]
    assert ends[0][0] == (0 if words == ["--version"] else 2)
