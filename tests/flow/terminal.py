"""A command on a terminal, where bars show how far it is: the moment at which a signal is to hit it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.flow.playing import atd_command, environment


class OnTerminal:
    """atd in a process whose standard error is a terminal; leaving the `with` block kills it if it still runs."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._terminal, inner = pty.openpty()
        variables = environment(torch=True, place=folder) | {"TERM": "xterm"}
        self.process = subprocess.Popen(
            atd_command(*arguments), cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=inner
        )
        os.close(inner)
        self.shown = ""

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Read what the terminal shows until it has shown `text`."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(end), f"never showed {text!r}: {self.shown[-2000:]}"

    def end(self, seconds: float = 60) -> int:
        """Read until the process has ended and return its exit code, negative for a signal that killed it."""
        end = time.monotonic() + seconds
        while self._read(end):
            pass
        return self.process.wait(max(1.0, end - time.monotonic()))

    def _read(self, end: float) -> bool:
        """Read what is there, waiting for it; False at the end of the process or of the time."""
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # what Linux answers when nobody holds the other end any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
