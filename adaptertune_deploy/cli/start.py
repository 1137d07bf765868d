"""Where the command begins: a signal is told in one line while the commands themselves are still being imported."""

from __future__ import annotations

import sys

from adaptertune_deploy.cli.terminal import interrupts
from adaptertune_deploy.core.errors import Interrupted


def start() -> None:
    """Import the commands and run the command line; see cli.main.run."""
    with interrupts.signals_raise():
        try:
            with interrupts.stoppable(lambda: "nothing was done"):
                from adaptertune_deploy.cli.main import run
        except Interrupted as interrupt:
            from adaptertune_deploy.cli.terminal.console import print_stopped

            print_stopped(str(interrupt))
            sys.exit(interrupt.exit_code)
        run()
