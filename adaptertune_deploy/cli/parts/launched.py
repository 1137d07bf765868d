"""A command in several processes of torchrun: the first runs it, the others help in its trainings and end here."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from adaptertune_deploy.train.parallel.launch import Launch


def first_process(full: bool, option: str) -> Launch | None:
    """Return this process's place, the first; None where it runs alone. Another one helps and exits.

    Args:
        full: see train.parallel.launch.check_shared.
        option: see there.

    Raises:
        UsageError: several processes can't train so, or torchrun did not start them.
        Exit: from a process that helped.
    """
    from adaptertune_deploy.train.parallel.launch import check_shared, launched, on_signals

    launch = launched()
    if launch is None:
        return None
    if launch.rank:
        on_signals(signal.SIG_DFL)  # ended while torch loads, it says no word either
        from adaptertune_deploy.train.shared.help import help_train

        raise typer.Exit(help_train(launch))
    check_shared(full, option)
    return launch
