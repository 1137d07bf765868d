"""Whether this process is one of several that torchrun started; torch is not needed to know."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """This process among `size`.

    rank: from 0, over all machines.
    local_rank: from 0, on this machine.
    """

    rank: int
    size: int
    local_rank: int


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return what torchrun says of this process; None where it runs alone.

    Raises:
        UsageError: WORLD_SIZE names several processes, and what else torchrun sets is absent or makes no sense.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    absent = [name for name in NAMES if name not in environment]
    if absent:
        raise UsageError(
            f"WORLD_SIZE={environment['WORLD_SIZE']} asks for several processes, but {', '.join(absent)} is not set; "
            "start them by torchrun, or unset WORLD_SIZE"
        )
    try:
        rank, size, local = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except ValueError:
        rank, size, local = -1, 0, -1
    if not 0 <= rank < size or local < 0:
        said = ", ".join(f"{name}={environment[name]}" for name in NAMES[:3])
        raise UsageError(f"{said}: no places of processes; start them by torchrun, or unset WORLD_SIZE")
    return Launch(rank, size, local)


def on_signals(handler: signal.Handlers) -> None:
    """Let signals to stop do one thing in this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def check_shared(full: bool, option: str) -> None:
    """Check that several processes can do what was asked for.

    Args:
        full: whether full fine-tuning is a part of it, whose steps would exchange a whole backbone.
        option: which asked for that.

    Raises:
        UsageError: it is.
    """
    if full:
        raise UsageError(f"{option}: several processes train adapters only; start it without torchrun, or leave it out")
