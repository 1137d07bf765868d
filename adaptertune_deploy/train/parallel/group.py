"""What the processes of one training tell each other, over gloo: less than a megabyte a step, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.train.parallel.launch import Launch

# Processes wait while the first decodes and measures. That another one is gone shows at once, by its connection.
PATIENCE = timedelta(days=7)
FAILURE = "adaptertune-deploy failure"


class LostError(TrainingError):
    """Another process of this training is gone."""


class Group:
    """The processes of a training, connected.

    Attributes:
        rank: of this one; 0 does what a process alone does.
        size: their number.
        local_rank: of this one on its machine.
    """

    def __init__(self, launch: Launch) -> None:
        """Wait until all have come.

        Raises:
            LostError: one did not.
        """
        self.rank, self.size, self.local_rank = launch.rank, launch.size, launch.local_rank
        with _lost():
            dist.init_process_group("gloo", timeout=PATIENCE)

    @property
    def part(self) -> tuple[int, int]:
        """This process's share of every batch; see data.batches.loader.training_loader."""
        return self.rank, self.size

    def send(self, value: object) -> None:
        """Hand a value from the first process to all others, which receive it."""
        with _lost():
            dist.broadcast_object_list([value], src=0)

    def receive(self) -> Any:
        """Return the next value that the first process sends."""
        held: list[Any] = [None]
        with _lost():
            dist.broadcast_object_list(held, src=0)
        return held[0]

    def counts(self, rows: int) -> list[int]:
        """Return every process's number of rows of a batch; all call this at the same place."""
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _lost():
            dist.all_gather(found, torch.tensor([rows]))
        return [int(one) for one in found]

    def mean(self, parameters: Sequence[nn.Parameter], loss: Tensor, counts: Sequence[int]) -> Tensor:
        """Make gradients and loss those of the whole batch in every process; returns the loss.

        Args:
            parameters: with gradients of the mean loss of this process's rows; None where it has no row.
            loss: that mean.
            counts: rows of every process.
        """
        share = counts[self.rank] / sum(counts)
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = torch.cat([part.reshape(-1).float() for part in (*parts, loss)]) * share
        summed = flat.cpu()
        with _lost():
            dist.all_reduce(summed)
        flat = summed.to(flat.device)
        place = 0
        for parameter in parameters:
            parameter.grad = flat[place : place + parameter.numel()].view_as(parameter).to(parameter.dtype)
            place += parameter.numel()
        return flat[place]

    def fail(self, line: str) -> None:
        """Leave a line that says why this process ends, for the first one to find."""
        _store().set(FAILURE, f"process {self.rank} of {self.size}: {line}")

    def close(self) -> None:
        """Give the connections back."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


@contextmanager
def _lost() -> Iterator[None]:
    """Turn gloo's errors into one line: what another process left, where it left something."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(_reason()) from error


def _reason() -> str:
    try:
        if _store().check([FAILURE]):
            return str(_store().get(FAILURE).decode())
    except (RuntimeError, ValueError):  # the store is gone too, or never came
        pass
    return "another process of this training ended; what torchrun prints below says which"
